"""The programs in `examples/` do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from trialogue.demo.speech import clip
from trialogue.testing import config_hash, decode

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60


def run(example: str, *arguments: str | Path, typed: str = "", key: str = "") -> str:
    """Run a program to its end, and return what it printed."""
    environment = {**os.environ, "OPENAI_API_KEY": key}
    if not key:
        del environment["OPENAI_API_KEY"]
    ended = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / example, *arguments],
        env=environment,
        input=typed,
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=True,
        text=True,
    )
    return ended.stdout


def write(path: Path, pcm: bytes) -> None:
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(24_000)
        recording.writeframes(pcm)


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
    pause = bytes(12_000)
    write(caller, pause + clip("caller_city") + 2 * pause)
    serve = ["-m", "trialogue", "serve", "--port", "0", "--script", "demo"]
    serve += ["--log", str(log)]
    with subprocess.Popen(
        [sys.executable, *serve], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip().removeprefix("listening on ")
            run("two_agents.py", caller, agents, "--base-url", url, key="any")
        finally:
            server.kill()
    heard = list(dict.fromkeys(mark.config for mark in decode(read(agents))))
    asked = asked_for(log)

    assert asked.startswith("You are Sunny, a weather specialist.")
    assert heard == [
        config_hash("You are Kelly, a friendly greeter.", ["transfer_to_weather"]),
        config_hash(asked, ["lookup_weather"]),
    ]


def test_a_written_chat_answers_each_line() -> None:
    """Without a key it asks the local server, which repeats what it is told."""
    lines = run("text_chat.py", typed="Hello there.\nHow are you?\n").splitlines()

    assert lines[:2] == ["You said: Hello there.", "You said: How are you?"]
    assert re.fullmatch(r"\([1-9]\d* tokens\)", lines[2])
    assert len(lines) == 3


@pytest.mark.behaviour("U6", "U3")
@pytest.mark.parametrize("program", ["push_to_talk.py", "push_to_talk_agent.py"])
def test_the_button_stops_an_answer_that_is_cut_where_it_was_heard(
    tmp_path: Path, program: str
) -> None:
    """The second press falls half a second into the first answer."""
    answers = tmp_path / "answers.wav"
    lines = run(program, "--local", "--answers", answers).splitlines()
    cut = re.fullmatch(r"assistant: (.*) \[cut at (\d+) ms\]", lines[1])

    assert lines[0] == "user: What is the weather like in Oslo today?"
    assert cut is not None
    assert 300 <= int(cut[2]) < 2500
    assert len(cut[1]) < len("You said: What is the weather like in Oslo today?")
    assert lines[2:] == ["user: No, in Bergen.", "assistant: You said: No, in Bergen."]
    assert len({mark.item for mark in decode(read(answers))}) == 2


@pytest.mark.parametrize("program", ["push_to_talk.py", "push_to_talk_agent.py"])
def test_a_recorded_turn_is_answered(tmp_path: Path, program: str) -> None:
    """Each file is one turn; what is said in it, the local server cannot know."""
    turn = tmp_path / "turn.wav"
    write(turn, clip("caller_city"))
    lines = run(program, "--local", turn).splitlines()

    assert [line.partition(":")[0] for line in lines] == ["user", "assistant"]
    assert lines[1] == "assistant: Hello."


def test_what_is_said_is_classified_and_the_conversation_does_not_notice() -> None:
    """Six items: what the user said, and the answers."""
    lines = run("classify.py", "--local").splitlines()
    topics = [line.partition(": ")[2] for line in lines if line.startswith("  topic")]
    answers = [line for line in lines if line.startswith("assistant")]

    assert topics == ["billing", "technical", "other"]
    assert answers == ["assistant: Let me look into that."] * 3
    assert lines[-1] == "6 items in the conversation"


def test_a_caller_is_passed_from_triage_to_whoever_can_help() -> None:
    """Three agents in a program of sixty lines."""
    source = (EXAMPLES / "triage.py").read_text(encoding="utf-8")

    assert run("triage.py").splitlines() == [
        "caller: My invoice is too high.",
        "Billing: You have paid twice; the money comes back.",
        "caller: And my router hums.",
        "Support: Somebody repairs it tomorrow.",
    ]
    assert len(source.splitlines()) <= 60
    assert max(map(len, source.splitlines())) <= 88


@pytest.mark.behaviour("G20", "G23")
def test_two_agents_share_the_tools_of_an_mcp_server() -> None:
    """The server is another process, which one session starts once."""
    pytest.importorskip("mcp_types", reason="the package `mcp`, 2.3, is missing")

    assert run("mcp_tools.py").splitlines() == [
        "customer: Where is Emma?",
        "Clerk: Emma is on shelf 4.",
        "customer: Only that? How many have you got?",
        "Owner: 3",
    ]
