"""The local server as a program, in a process of its own."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme
from trio_websocket import ConnectionClosed, wrap_client_stream

from by_hand import DOOR, TARGET, UPGRADE, dialled
from trialogue.errors import ConfigurationError
from trialogue.testing import RealtimeServer, Say, Turn, Utterances
from trialogue.testing.serve import collecting_rarely, load_script, main, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run it; give the process, and the address that it announces."""
    command = [sys.executable, "-m", "trialogue", "serve", "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            assert line.startswith("listening on "), process.stderr.read()
            yield process, line.removeprefix("listening on ").strip()
        finally:
            process.kill()


def port_of(url: str) -> int:
    return int(url.split(":")[2].split("/")[0])


def ended(process: subprocess.Popen[str]) -> tuple[int, float]:
    """Send SIGTERM; return the exit status, and how long it took."""
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status = process.wait(20)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    return status, time.monotonic() - begin


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


# --- scenarios ------------------------------------------------------------------------


def test_the_program_does_what_a_scenario_says(tmp_path: Path) -> None:
    scenario = tmp_path / "faults.toml"
    scenario.write_text(
        """
        [settings]
        instructions = "From a file."

        [[faults]]
        do = "swallow"
        event = "session.updated"

        [[faults]]
        do = "close"
        code = 4321
        after = "input_audio_buffer.cleared"
        """
    )

    async def talk(port: int) -> tuple[list[str], str, Any]:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with dialled(None, DOOR, stream) as client:
            created = await client.read()
            await client.update()
            await client.send("input_audio_buffer.clear")
            kinds = [(await client.read())["type"]]
            with pytest.raises(ConnectionClosed) as closed:
                await client.read()
        return kinds, created["session"]["instructions"], closed.value.reason

    with program("--faults", str(scenario)) as (process, url):
        kinds, instructions, reason = trio.run(talk, port_of(url))
        assert ended(process)[0] == 0
    assert kinds == ["input_audio_buffer.cleared"]
    assert instructions == "From a file."
    assert reason.code == 4321


# --- its end --------------------------------------------------------------------------


def test_a_signal_closes_live_connections_with_1001() -> None:
    async def talk(process: subprocess.Popen[str], port: int) -> Any:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with dialled(None, DOOR, stream) as client:
            await client.read()
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                await client.read()
        return closed.value.reason

    with program() as (process, url):
        reason = trio.run(talk, process, port_of(url))
        assert (reason.code, reason.reason) == (1001, "the server is going away")
        assert process.wait(20) == 0


def test_a_signal_ends_it_though_clients_do_not_read(tmp_path: Path) -> None:
    """One is in the middle of a long answer, one does not answer, one never asked."""
    script = tmp_path / "script.py"
    script.write_text(
        "from trialogue.testing import Say\n"
        "def brain(turn):\n    return Say('All of it.', ms=120_000)\n"
    )
    scenario = tmp_path / "faults.toml"
    scenario.write_text("[settings.pace]\nburst = 1000000\n")
    whole = 120_000 * 48 * 4 // 3

    async def talk(process: subprocess.Popen[str], port: int) -> tuple[int, float, int]:
        text = b'{"type":"response.create"}'
        ask = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
        streams = []
        for sent in (UPGRADE % TARGET + ask, UPGRADE % TARGET, b"GET"):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            streams.append(stream)
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await stream.send_all(sent)
        await trio.sleep(1)
        status, seconds = ended(process)
        received = 0
        with suppress(trio.BrokenResourceError):
            while data := await streams[0].receive_some():
                received += len(data)
        for stream in streams:
            await trio.aclose_forcefully(stream)
        return status, seconds, received

    arguments = ("--script", str(script), "--faults", str(scenario))
    with program(*arguments) as (process, url):
        status, seconds, received = trio.run(talk, process, port_of(url))
    assert status == 0
    assert seconds < 10
    assert 0 < received < whole  # it was stuck in the answer


# --- TLS ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certificate(authority: trustme.CA, folder: Path, *, together: bool) -> list[str]:
    """Write a certificate and its key, in one file or in two; return the options."""
    issued = authority.issue_cert("127.0.0.1")
    cert, key = folder / "cert.pem", folder / "key.pem"
    if together:
        issued.private_key_and_cert_chain_pem.write_to_path(cert)
        return ["--tls-cert", str(cert)]
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    return ["--tls-cert", str(cert), "--tls-key", str(key)]


@pytest.mark.parametrize("together", [True, False])
def test_the_program_serves_tls(
    authority: trustme.CA, tmp_path: Path, together: bool
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def talk(port: int) -> str:
        async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
            await plain.send_all(UPGRADE % TARGET)
            with pytest.raises((trio.BrokenResourceError, EOFError)):  # noqa: PT012
                while b"101" not in (data := await plain.receive_some()):
                    if not data:
                        raise EOFError
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", port, ssl_context=context, https_compatible=True
        )
        async with dialled(None, DOOR, stream) as client:
            return str((await client.read())["type"])

    with program(*certificate(authority, tmp_path, together=together)) as served:
        process, url = served
        assert url.startswith("wss://127.0.0.1:")
        assert trio.run(talk, port_of(url)) == "session.created"
        assert ended(process)[0] == 0


def test_the_collector_of_the_process_is_as_before_when_it_has_served(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = gc.get_threshold()
    with collecting_rarely():
        assert gc.get_threshold() > before
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refusal(capsys, "--port", str(taken.getsockname()[1]))
    assert gc.get_threshold() == before
    assert not gc.get_freeze_count()


# --- what cannot be -------------------------------------------------------------------


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the last line that it ends with, and see that the status is 2."""
    try:
        status = main(arguments)
    except SystemExit as refused:  # by argparse
        status = int(str(refused.code))
    assert status == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    return shown.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--port", "many"), "--port: expected a port from 0 to 65535, got 'many'"),
        (("--port", "70000"), "--port: expected a port from 0 to 65535, got '70000'"),
        (("--latency", "-1"), "--latency: expected milliseconds, 0 or more, got '-1'"),
        (("--latency", "nan"), "--latency: expected milliseconds, 0 or more"),
        (("--latency", "soon"), "--latency: expected milliseconds, 0 or more"),
        (("--script", "dance"), "serve: no script 'dance'"),
        (("--faults", "none.toml"), "none.toml"),
        (("--tls-key", "key.pem"), "serve: --tls-key needs --tls-cert"),
        (("--tls-cert", "none.pem"), "in none.pem: [Errno 2] No such file"),
        (("--host", "256.0.0.1"), "serve: "),
        (("--log", "/no/such/folder/log"), "/no/such/folder/log"),
    ],
)
def test_a_bad_value_is_named(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in refusal(capsys, *arguments)


def test_a_mistake_in_a_scenario_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[faults]]\ndo = "swalow"\n')
    line = refusal(capsys, "--faults", str(path))
    assert line.startswith(f"serve: {path}: [[faults]] 1: do: ")
    assert line.endswith("(did you mean 'swallow'?)")


def test_files_that_hold_no_certificate_are_named(
    capsys: pytest.CaptureFixture[str], authority: trustme.CA, tmp_path: Path
) -> None:
    nothing, cert = tmp_path / "nothing.pem", tmp_path / "cert.pem"
    nothing.write_text("nothing")
    authority.issue_cert("x").cert_chain_pems[0].write_to_path(cert)
    for options in (
        ("--tls-cert", str(nothing)),
        ("--tls-cert", str(cert)),
        ("--tls-cert", str(cert), "--tls-key", str(nothing)),
    ):
        line = refusal(capsys, *options)
        assert "no certificate with its key (PEM, without password) in" in line
        assert options[-1] in line


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with program() as (_, url):
        assert refusal(capsys, "--port", str(port_of(url))).startswith("serve: ")
