"""The program `examples/azure.py` does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from trialogue.testing import config_hash, decode

EXAMPLE = Path(__file__).parents[2] / "examples" / "azure.py"
SECONDS = 60


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it as a user without an account would."""
    account = {"AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"}
    return subprocess.run(
        [sys.executable, EXAMPLE, *arguments],
        env={name: value for name, value in os.environ.items() if name not in account},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("token", [False, True], ids=["key", "token"])
def test_it_greets_without_an_account(token: bool, tmp_path: Path) -> None:
    """The audio says under whose instructions it was made."""
    file, asked = tmp_path / "hello.wav", tmp_path / "asked"
    prints = f"open({str(asked)!r}, 'a').write('x'); print('token')"
    command = ["--token-command", f'{sys.executable} -c "{prints}"'] if token else []
    ended = run(file, "--local", *command)
    assert ended.returncode == 0, ended.stderr
    with wave.open(str(file)) as recording:
        heard = decode(recording.readframes(recording.getnframes()))
    instructions = "You are Kelly, a friendly greeter.\n\nSay hello in one sentence."
    assert {mark.config for mark in heard} == {config_hash(instructions, [])}
    assert (asked.read_text() if asked.exists() else "") == "x" * token


def test_without_an_endpoint_it_says_what_is_missing(tmp_path: Path) -> None:
    ended = run(tmp_path / "hello.wav")
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert "ConfigurationError: no Azure resource" in last
    assert "AZURE_OPENAI_ENDPOINT" in last
