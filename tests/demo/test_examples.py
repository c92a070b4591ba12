"""The programs in `examples/` do what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

from trialogue.demo.speech import clip
from trialogue.testing import config_hash, decode

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_agents.py"
SECONDS = 60


def write_caller(path: Path) -> None:
    """A caller who asks about the weather, and then listens."""
    pause = bytes(12_000)
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(24_000)
        recording.writeframes(pause + clip("caller_city") + 2 * pause)


def read(path: Path) -> bytes:
    with wave.open(str(path)) as recording:
        pcm: bytes = recording.readframes(recording.getnframes())
    return pcm


def asked_for(log: Path) -> str:
    """The instructions of the one reply that was asked for, by `on_enter`."""
    entries = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    events = [entry["event"] for entry in entries if entry["direction"] == "in"]
    (create,) = [event for event in events if event["type"] == "response.create"]
    asked: str = create["response"]["instructions"]
    return asked


def test_two_agents_are_heard_one_after_the_other(tmp_path: Path) -> None:
    """Each in its own words: the audio says under whose configuration it was made."""
    caller, agents = tmp_path / "caller.wav", tmp_path / "agents.wav"
    log = tmp_path / "log.jsonl"
    write_caller(caller)
    serve = ["-m", "trialogue", "serve", "--port", "0", "--script", "demo"]
    serve += ["--log", str(log)]
    with subprocess.Popen(
        [sys.executable, *serve], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip().removeprefix("listening on ")
            subprocess.run(
                [sys.executable, EXAMPLE, caller, agents, "--base-url", url],
                env={**os.environ, "OPENAI_API_KEY": "any"},
                timeout=SECONDS,
                check=True,
            )
        finally:
            server.kill()
    heard = list(dict.fromkeys(mark.config for mark in decode(read(agents))))
    asked = asked_for(log)

    assert asked.startswith("You are Sunny, a weather specialist.")
    assert heard == [
        config_hash("You are Kelly, a friendly greeter.", ["transfer_to_weather"]),
        config_hash(asked, ["lookup_weather"]),
    ]
