"""What the README promises is what the project does."""

from __future__ import annotations

import ast
import itertools
import json
import re
import tomllib
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from quality.rows import load_rows
from trialogue import OpenAIRealtime
from trialogue.testing import (
    Call,
    Mark,
    RealtimeServer,
    Reply,
    Say,
    Settings,
    Turn,
    quiet,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
KEYED = Settings(keys=frozenset({"sk-env"}))
DISTANCE = "About 384 000 kilometres."
START = "python3 -m venv .venv && .venv/bin/pip install -q 'nox[uv]' && .venv/bin/nox"


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_both_commands_start_from_nothing_but_python_and_pip() -> None:
    assert blocks("console") == [f"{START} -s demo\n", f"{START}\n"]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """The script takes the command by a pattern, which has to find exactly that one."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    found = re.search(r"sed -n 's/(\^.+?\$)/", script)
    assert found is not None
    pattern = found[1].replace(r"\(", "(").replace(r"\)", ")")

    assert re.findall(pattern, README, re.MULTILINE) == [START]


def programs() -> tuple[str, str]:
    """The two programs: one with agents, one with a session alone."""
    agents, alone, _ = blocks("python")
    return agents, alone


def test_the_test_of_the_example_passes() -> None:
    """As printed, with the agents of the first program."""
    tree = ast.parse(programs()[0])
    kinds = (ast.ClassDef, ast.Import, ast.ImportFrom)
    tree.body = [node for node in tree.body if isinstance(node, kinds)]
    names: dict[str, Any] = {"__name__": "test_weather"}
    for source in (ast.unparse(tree), blocks("python")[2]):
        exec(compile(source, "README.md", "exec", dont_inherit=True), names)

    names["test_sunny_tells_the_weather"]()


@pytest.mark.parametrize("program", programs(), ids=["agents", "alone"])
def test_each_example_is_one_program(program: str) -> None:
    compile(program, "README.md", "exec")


def test_the_example_holds_its_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As printed, but for where the model is: a caller's WAV in, the agents' WAV out.

    The caller asks for the weather and names a city; what the agents say is found in
    the recording by its watermark.
    """
    server = RealtimeServer(forecaster, settings=KEYED)
    record(tmp_path / "caller.wav", caller(server))

    run_program(programs()[0], server, tmp_path, monkeypatch)

    assert order_of(server.heard(recorded(Path("agents.wav")))) == [
        "You are Kelly, a friendly greeter.",
        "You are Sunny, a weather specialist.\n\n"
        "Introduce yourself and ask which city.",
        "You are Sunny, a weather specialist.",
    ]
    (connection,) = server.connections
    outputs = [
        entry.event["item"]["output"]
        for entry in connection.find("conversation.item.create", "in")
    ]
    assert outputs == ["transferred to Weather", "It is sunny in Oslo."]
    assert '"voice": "marin"' in json.dumps(
        connection.find("session.update", "in")[0].event
    )


def test_the_example_without_agents_asks_and_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As printed: the question goes out, the answer is played whole, and printed."""
    server = RealtimeServer(astronomer, settings=KEYED)

    run_program(programs()[1], server, tmp_path, monkeypatch)

    assert capsys.readouterr().out == f"{DISTANCE}\n"
    assert order_of(server.heard(recorded(Path("answer.wav")))) == [
        "Answer in one sentence."
    ]
    (connection,) = server.connections
    question, answer = (held.item for held in connection.conversation)
    assert (question.type, answer.type) == ("message", "message")
    assert not connection.find("conversation.item.truncate", "in")
    assert not connection.find("response.cancel", "in")


def astronomer(turn: Turn) -> Reply:
    """Knows one thing."""
    return Say(DISTANCE if "moon" in turn.user_text else "I do not know.")


def run_program(
    program: str,
    server: RealtimeServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run it as it is printed, in a folder of its own, against this server."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setattr("trialogue.OpenAIRealtime", served_by(server))
    monkeypatch.setattr("trio.run", served_run(server))
    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})


def forecaster(turn: Turn) -> Reply:
    """Transfers for the weather, looks it up for a city, and reads the result."""
    if turn.output is None and "weather" in turn.user_text and not turn.override:
        return [Say("One moment."), Call("transfer_to_weather")]
    if turn.output is None and "Oslo" in turn.user_text:
        return Call("lookup_weather", {"location": "Oslo"})
    return Say(turn.output or "Hello, I am Sunny. Which city?")


def caller(server: RealtimeServer) -> bytes:
    """Two sentences, with time in between to be answered."""
    say = server.utterances.say
    return (
        quiet(500)
        + say("What is the weather?")
        + quiet(6000)
        + say("In Oslo, please.")
        + quiet(1000)
    )


def served_by(server: RealtimeServer) -> Callable[..., OpenAIRealtime]:
    """OpenAIRealtime, where the API is this server."""

    def model(*args: Any, **options: Any) -> OpenAIRealtime:
        options["base_url"] = "ws://localhost/v1/realtime"
        return OpenAIRealtime(*args, connect=server.connect, **options)

    return model


def served_run(server: RealtimeServer) -> Callable[..., None]:
    """`trio.run`, with the server beside the program and no time spent waiting."""
    run = trio.run

    async def served(main: Callable[[], Awaitable[None]]) -> None:
        with trio.fail_after(120):
            async with server.serving():
                await main()

    def patched(main: Callable[[], Awaitable[None]]) -> None:
        run(served, main, clock=trio.testing.MockClock(autojump_threshold=0))

    return patched


def record(path: Path, pcm: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", "not compressed"))
        file.writeframes(pcm)


def recorded(path: Path) -> bytes:
    with wave.open(str(path), "rb") as file:
        return file.readframes(file.getnframes())


def order_of(marks: list[tuple[Mark, str, tuple[str, ...]]]) -> list[str]:
    """The instructions under which was spoken, without repeats in a row."""
    spoken = [instructions for _, instructions, _ in marks]
    return [text for text, _ in itertools.groupby(spoken)]


def test_the_interpreters_of_the_classifiers_start_at_the_required_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    versions = [
        found[1]
        for line in project["project"]["classifiers"]
        if (found := re.search(r"Python :: (3\.\d+)", line))
    ]

    assert project["project"]["requires-python"] == f">={versions[0]}"
    assert versions == ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.parametrize("kind", ["covered", "mutated"])
def test_an_expected_row_stands_once(kind: str) -> None:
    expected = getattr(load_rows(ROOT), kind)

    assert len(expected) == len(set(expected))
