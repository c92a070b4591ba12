"""`python -m trialogue`, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from trialogue.demo import cli, conversation
from trialogue.demo.speech import LINES, clip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 60
MODES = ["reuse copy", "reuse empty", "fresh copy", "fresh empty"]
REAL = ("--model", "openai:gpt-realtime", "--base-url")
posix = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


def environment(key: str | None = None) -> dict[str, str]:
    found = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
    return found if key is None else {**found, "OPENAI_API_KEY": key}


def trialogue(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without a key."""
    return subprocess.run(
        [sys.executable, "-m", "trialogue", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment(),
        check=False,
    )


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program beside the test, and end it with the block."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answers(url: str) -> bool:
    """Whether anybody listens there."""
    address = urlsplit(url)
    try:
        socket.create_connection(("127.0.0.1", address.port or 0), timeout=1).close()
    except OSError:
        return False
    return True


def test_without_a_command_it_says_which_there_are() -> None:
    ran = trialogue()

    assert ran.returncode == 0
    assert "trialogue demo" in ran.stdout
    assert "trialogue serve" in ran.stdout


def test_an_unknown_command_is_refused() -> None:
    ran = trialogue("dance")

    assert ran.returncode == 2
    assert "no command 'dance'" in ran.stderr


@pytest.mark.behaviour("H1", "H2")
def test_the_table_has_a_row_for_each_way_of_handing_over(tmp_path: Path) -> None:
    """Over TCP, to a server in a process of its own, by that server's stamps."""
    path = tmp_path / "out.json"
    ran = trialogue(
        *("demo", "--table-only", "--rtt", "40", "--runs", "1", "--json", str(path))
    )
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]

    assert ran.returncode == 0, ran.stderr
    assert [row["mode"] for row in rows] == MODES
    assert [row["connections"] for row in rows] == [0, 0, 1, 1]
    # The update, the call's output, the reply; ten turns deleted, or replayed.
    assert [row["messages"] for row in rows] == [3, 23, 24, 2]
    assert [row["acknowledged"] for row in rows] == ["2/2", "22/22", "23/23", "1/1"]
    for row in rows:
        assert row["session_updates"] == 1
        assert row["connect_ms"] == 120
        trips = 40 if row["mode"].startswith("reuse") else 160
        assert trips <= row["handoff_ms"] <= row["reply_ms"] <= row["first_audio_ms"]
        assert row["acknowledged_ms"] >= trips
    assert "session.update -> conversation.item.create -> response.create" in ran.stdout


def test_a_withheld_acknowledgement_shows(tmp_path: Path) -> None:
    """The server took an update and did not say so: n is one less than m."""
    path = tmp_path / "out.json"
    trialogue(
        *("demo", "--table-only", "--rtt", "0", "--runs", "1", "--json", str(path)),
        *("--swallow", "session.updated"),
    )
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    counts = [map(int, row["acknowledged"].split("/")) for row in rows]

    assert [row["mode"] for row in rows] == MODES
    assert [asked - answered for answered, asked in counts] == [1, 1, 1, 1]


def test_a_real_model_needs_a_key_and_it_is_said_which() -> None:
    ran = trialogue("demo", "--model", "openai:gpt-realtime")

    assert ran.returncode == 2
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
    assert "OPENAI_API_KEY" in ran.stderr


def test_an_unknown_provider_is_named() -> None:
    ran = trialogue("demo", "--model", "acme:talker")

    assert ran.returncode == 2
    assert "acme:talker" in ran.stderr
    assert "openai:gpt-realtime" in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--base-url", "ws://127.0.0.1:1/v1/realtime"],
        ["--model", "openai:gpt-realtime", "--table-only"],
        ["--rtt", "-1"],
        ["--runs", "0"],
        ["--mute", "sunny_answer"],
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        cli.main(arguments)

    assert refused.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_the_path_of_a_real_model_runs_against_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the right key: a caller who says nothing is greeted all the same."""
    monkeypatch.setattr(conversation, "caller_pcm", lambda muted: bytes(4800))
    monkeypatch.setenv("OPENAI_API_KEY", "right")
    output = tmp_path / "conversation.wav"
    serve = ("-m", "trialogue", "serve", "--port", "0", "--script", "demo")
    with started(*serve, "--api-key", "right") as server:
        url = first_line(server).removeprefix("listening on ")
        code = cli.main([*REAL, url, "--output", str(output)])
    shown = capsys.readouterr().out

    assert code == 0
    assert f"Kelly    {LINES['kelly_greeting'].text}" in shown
    assert output.stat().st_size > 2 * len(clip("kelly_greeting"))
    # The table measures the local server; there is none of a real model.
    assert "reuse copy" not in shown


def test_a_wrong_key_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    serve = ("-m", "trialogue", "serve", "--port", "0", "--script", "demo")
    with started(*serve, "--api-key", "right") as server:
        url = first_line(server).removeprefix("listening on ")
        code = cli.main([*REAL, url, "--output", str(tmp_path / "conversation.wav")])
    told = capsys.readouterr().err

    assert code == 1
    assert len(told.splitlines()) == 1
    assert "wrong" not in told


@pytest.mark.parametrize(
    "arguments", [["--json", "{}/no/rows.json"], ["--output", "{}/no/sound.wav"]]
)
def test_a_file_that_cannot_be_written_is_found_out_first(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after half a minute of conversation."""
    code = cli.main([argument.format(tmp_path) for argument in arguments])
    captured = capsys.readouterr()

    assert code == 1
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert str(tmp_path) in captured.err


@posix
def test_a_server_that_does_not_come_up_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    code = cli.main(["--table-only"])

    assert code == 1
    assert "the local server's process did not come up" in capsys.readouterr().err


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """Have a program started here heed Ctrl-C, also where what runs the tests does not.

    A shell has what it starts in the background ignore it, and so do all its children.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@posix
@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_ends_it_at_once_and_quietly() -> None:
    with started("-m", "trialogue", "demo", "--table-only") as demo:
        assert first_line(demo)
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=30)

    assert demo.returncode == 130
    assert errors == "trialogue demo: stopped\n"


HOST = """
import trio
from trialogue.demo.server_process import local_server

async def main():
    async with local_server() as url:
        print(url, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@posix
def test_the_server_does_not_outlive_a_demo_that_was_killed() -> None:
    """Not even when there was no chance to say goodbye."""
    with started("-c", HOST) as host:
        url = first_line(host)
        assert answers(url)
        host.kill()
        host.wait(timeout=10)
    deadline = time.monotonic() + 10
    while answers(url):
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.05)
