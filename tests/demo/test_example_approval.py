"""The example of approval does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "approval.py"
SECONDS = 60
ASKED = "  pay 500 euros to Bob? (yes/no) "


def run(said: list[str], typed: str) -> list[str]:
    """Run it as a user without a key would, and return the lines it printed."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "--local", *said],
        env={name: os.environ[name] for name in os.environ if name != "OPENAI_API_KEY"},
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        input=typed,
        check=True,
        text=True,
    )
    return ended.stdout.splitlines()


@pytest.mark.behaviour("G1", "G2")
@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("yes\n", ["  (500 euros to Bob)", "bank: Bob was paid 500 euros."]),
        ("no\n", ["bank: not approved"]),
        ("", ["bank: not approved: the approval could not be obtained"]),
    ],
)
def test_much_is_only_paid_when_somebody_says_yes(
    typed: str, answer: list[str]
) -> None:
    """Little is paid without a question; an end of input is no yes."""
    lines = run(["Pay Ann 20 euros.", "And Bob 500 euros."], typed)

    assert lines[:4] == [
        "user: Pay Ann 20 euros.",
        "  (20 euros to Ann)",
        "bank: Ann was paid 20 euros.",
        "user: And Bob 500 euros.",
    ]
    asked, *rest = "\n".join(lines[4:]).removeprefix(ASKED).split("\n")
    assert lines[4].startswith(ASKED)
    assert [asked, *rest] == answer


@pytest.mark.behaviour("G3")
def test_what_may_never_be_paid_is_not_asked_about() -> None:
    lines = run(["Pay Eve 20000 euros."], "yes\n")

    told = "bank: not approved: so much is only paid at the counter"
    assert lines == ["user: Pay Eve 20000 euros.", told]
