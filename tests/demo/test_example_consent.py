"""The example of consent by delegation does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "consent.py"
SECONDS = 60
ASKED = "Consent: May I record our conversation? Please say yes or no."


def run(*arguments: str) -> str:
    """Run it as a user without a key would, and return what it printed."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, *arguments],
        env={name: os.environ[name] for name in os.environ if name != "OPENAI_API_KEY"},
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=True,
        text=True,
    )
    return ended.stdout


@pytest.mark.behaviour("H12")
@pytest.mark.parametrize(
    ("said", "end"),
    [
        (["yes"], ["  (recording)", "Host: The conversation is being recorded."]),
        (["no"], ["Host: The user does not want to be recorded."]),
        (
            ["What for?", "yes"],
            ["  (recording)", "Host: The conversation is being recorded."],
        ),
    ],
)
def test_nothing_is_recorded_before_the_user_has_agreed(
    said: list[str], end: list[str]
) -> None:
    """The agent that asks stays until it has its answer; then the host is back."""
    lines = run("--local", *said).splitlines()

    assert lines[0] == "user: Please record our conversation."
    questions = [line for words in said for line in (ASKED, f"user: {words}")]
    assert lines[1:] == [*questions, *end]
