"""The local server as a program, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_client_stream

from trialogue.errors import ConfigurationError
from trialogue.testing import RealtimeServer, Say, Turn, Utterances
from trialogue.testing.serve import load_script, serve

SOURCE = Path(__file__).parents[2] / "src"
KEY = [(b"authorization", b"Bearer key")]


async def ask(
    port: int, resource: str, *frames: dict[str, Any]
) -> list[dict[str, Any]]:
    """Send frames and return what came until the server closed or said nothing."""
    seen: list[dict[str, Any]] = []
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream, trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery, stream, "127.0.0.1", resource, extra_headers=KEY
        )
        for frame in frames:
            await ws.send_message(json.dumps(frame))
        try:
            with trio.move_on_after(0.5):
                while True:
                    seen.append(json.loads(await ws.get_message()))
        except ConnectionClosed:
            pass
        await ws.aclose()
        nursery.cancel_scope.cancel()
    return seen


def test_the_program_listens_logs_and_ends_on_a_signal(tmp_path: Path) -> None:
    log, script = tmp_path / "log.jsonl", tmp_path / "script.py"
    script.write_text("def brain(turn):\n    return 'From a file.'\n")
    command = [
        *(sys.executable, "-m", "trialogue.testing.serve", "--port", "0"),
        *("--latency", "10", "--log", str(log), "--script", str(script)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on ws://127.0.0.1:")
            port = int(line.split(":")[2].split("/")[0])
            update = {"type": "session.update", "session": {"type": "realtime"}}
            seen = trio.run(
                ask, port, "/v1/realtime?model=gpt-realtime", update, update
            )
            swallowed = trio.run(
                ask,
                port,
                "/v1/realtime?model=gpt-realtime&swallow=session.updated",
                update,
                update,
            )
            frames = trio.run(ask, port, "/debug/log")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert [event["type"] for event in seen] == [
        "session.created",
        "session.updated",
        "session.updated",
    ]
    assert len(swallowed) == 2
    written = [json.loads(line) for line in log.read_text().splitlines()]
    assert written == frames
    assert [entry["note"] for entry in frames if entry["connection"] == 1].count(
        "drop"
    ) == 1


@pytest.mark.parametrize("options", [(), ("--oddities",)], ids=["plain", "oddities"])
def test_the_program_makes_no_event_up_unless_it_is_told_to(
    options: tuple[str, ...],
) -> None:
    """The Agents SDK reports an event that it does not know as an error."""
    command = [sys.executable, "-m", "trialogue.testing.serve", "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split(":")[2].split("/")[0])
            resource = "/v1/realtime?model=gpt-realtime"
            seen = trio.run(ask, port, resource, {"type": "response.create"})
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    types = [event["type"] for event in seen]
    assert "response.created" in types
    assert ("response.mood.updated" in types) is bool(options)


async def test_started_in_a_nursery_it_gives_back_the_server() -> None:
    async with trio.open_nursery() as nursery:
        server: RealtimeServer = await nursery.start(serve)
        [created] = await ask(server.port, "/v1/realtime?model=gpt-realtime")
        nursery.cancel_scope.cancel()
    assert created["type"] == "session.created"


async def test_other_paths_are_not_found() -> None:
    async with trio.open_nursery() as nursery:
        server: RealtimeServer = await nursery.start(serve)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(
                b"GET /v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert b" 404 " in await stream.receive_some()
        nursery.cancel_scope.cancel()


def test_scripts_by_name_and_by_file(tmp_path: Path) -> None:
    made = tmp_path / "made.py"
    made.write_text(
        "def make_brain(utterances):\n"
        "    utterances.say('hello')\n"
        "    return lambda turn: turn.user_text.upper()\n"
    )
    utterances = Utterances()
    assert load_script(str(made), utterances)(Turn(user_text="x")) == "X"
    assert "hello" in repr(utterances)
    assert load_script("echo", utterances)(Turn()) == Say("Hello.")
    with pytest.raises(ConfigurationError, match=r"no script 'dance'.*echo"):
        load_script("dance", utterances)
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(ConfigurationError, match="neither brain"):
        load_script(str(empty), utterances)
