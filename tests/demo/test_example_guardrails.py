"""The example of guardrails does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "guardrails.py"
SECONDS = 60


@pytest.mark.behaviour("G13")
def test_a_promise_is_taken_back_and_a_lawyer_is_for_the_desk() -> None:
    """Run as a user without a key would; a harmless question is answered."""
    said = ["Hello.", "Will it be here tomorrow?", "I will ask my lawyer."]
    ended = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "--local", *said],
        env={name: os.environ[name] for name in os.environ if name != "OPENAI_API_KEY"},
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=True,
        text=True,
    )
    assert ended.stdout.splitlines() == [
        "user: Hello.",
        "Clerk: Good morning. What can I do for you?",
        "user: Will it be here tomorrow?",
        "  (no_promises: a promise)",
        "Clerk: I cannot be certain.",
        "user: I will ask my lawyer.",
        "  (lawyers: a lawyer)",
        "Desk: A person will call you.",
    ]
