"""Where and to whom the local server speaks which dialect (rules 65 and 66)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream

from trialogue.errors import ConfigurationError
from trialogue.testing import (
    RealtimeServer,
    Settings,
    open_realtime_server,
    swallow,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

KEY = {"api-key": "good"}
BEARER = {"authorization": "Bearer good"}
KEYS = frozenset(["good"])
OPENAI = "/v1/realtime?model=gpt-realtime"
V1 = "/openai/v1/realtime?model=gpt-realtime"
DATED = "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-realtime"
XAI = "/v1/realtime?model=grok-voice-latest"
BETA = {"openai-beta": "realtime=v1"}
NO_MODEL = 'Model "gpt-realtime" is not supported in realtime mode.'


@asynccontextmanager
async def dialled(
    server: RealtimeServer,
    resource: str,
    headers: dict[str, str],
    subprotocols: tuple[str, ...] = (),
) -> AsyncIterator[tuple[Any, Callable[[str], Any]]]:
    """Yield the WebSocket, and what reads up to the first event of a type."""

    async def until(kind: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        with trio.fail_after(60):
            while not events or events[-1]["type"] != kind:
                events.append(json.loads(await ws.get_message()))
        return events

    stream = await server.connect()
    async with stream, trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]
            "localhost",
            resource,
            subprotocols=list(subprotocols),
            extra_headers=[(k.encode(), v.encode()) for k, v in headers.items()],
        )
        yield ws, until
        nursery.cancel_scope.cancel()


async def exhaust(ws: Any) -> None:
    while True:
        await ws.get_message()


async def first_event(
    server: RealtimeServer,
    resource: str,
    headers: dict[str, str],
    subprotocols: tuple[str, ...] = (),
) -> dict[str, Any] | int:
    """Return the first event, or the HTTP status of the refusal."""
    try:
        async with dialled(server, resource, headers, subprotocols) as (ws, _):
            event: dict[str, Any] = json.loads(await ws.get_message())
            return event
    except BaseExceptionGroup as group:
        rejected, rest = group.split(ConnectionRejected)
        assert rest is None
        assert rejected is not None
        status = rejected.exceptions[0]
        assert isinstance(status, ConnectionRejected)
        return int(status.status_code)


def spoken(event: dict[str, Any] | int) -> str | int | None:
    """Return which dialect a first event is of, or what is wrong."""
    if isinstance(event, int):
        return event
    if event["type"] == "error":
        code: str | None = event["error"]["code"]
        return code or str(event["error"]["message"])
    session = event["session"]
    if "modalities" in session:
        return "beta"
    return "xai" if "voice" in session else "openai"


@pytest.mark.parametrize(
    ("dialect", "resource", "headers", "expected"),
    [
        ("openai", OPENAI, BEARER, "openai"),
        ("openai", OPENAI, BEARER | BETA, "beta_api_shape_disabled"),
        ("openai", V1, KEY, "openai"),
        ("openai", DATED, KEY, "beta"),
        ("openai", DATED, KEY | BETA, "beta"),
        ("openai", DATED, {"api-key": "bad"}, 401),
        ("azure", OPENAI, KEY, 404),
        ("azure", V1, KEY, "openai"),
        ("azure", V1, {}, 401),
        ("azure", DATED, BEARER, "beta"),
        ("azure", DATED.replace("gpt-realtime", "chat"), KEY, 404),
        ("beta", OPENAI, BEARER | BETA, "beta"),
        ("beta", OPENAI, BEARER, "beta"),
        ("beta", OPENAI, {}, "invalid_api_key"),
        ("beta", V1, KEY, 404),
        ("beta", DATED, KEY, "beta"),
        ("beta", DATED, {}, 401),
        ("xai", XAI, BEARER, "xai"),
        ("xai", OPENAI, BEARER, NO_MODEL),
        ("xai", XAI, {}, "Incorrect API key provided."),
        ("xai", V1, KEY, 404),
        ("xai", DATED, KEY, 404),
    ],
)
async def test_rules_65_66_dialect_is_chosen_by_settings_and_path(
    dialect: Any,
    resource: str,
    headers: dict[str, str],
    expected: str | int,
    autojump_clock: MockClock,
) -> None:
    """Beta dialect (legacy Azure) at its path, with its header; and each alone."""
    settings = Settings(dialect=dialect, keys=KEYS)
    async with open_realtime_server(settings=settings) as server:
        assert spoken(await first_event(server, resource, headers)) == expected


async def test_rule_65_beta_may_be_asked_for_by_subprotocol(
    autojump_clock: MockClock,
) -> None:
    """Beta dialect: browsers have no headers, and offer `openai-beta.realtime-v1`."""
    offered = ("realtime", "openai-insecure-api-key.good", "openai-beta.realtime-v1")
    for dialect, expected in (("beta", "beta"), ("openai", "beta_api_shape_disabled")):
        settings = Settings(dialect=dialect, keys=KEYS)  # type: ignore[arg-type]
        async with open_realtime_server(settings=settings) as server:
            assert spoken(await first_event(server, OPENAI, {}, offered)) == expected


async def test_rule_65_dated_azure_is_talked_to_by_its_own_names(
    autojump_clock: MockClock,
) -> None:
    """Legacy Azure: beta frames over the WebSocket, in the log, and for faults."""
    lost = swallow("conversation.item.created")
    async with (
        open_realtime_server(faults=[lost]) as server,
        dialled(server, DATED, KEY) as (ws, until),
    ):
        for kind in ("session.created", "conversation.created"):
            await until(kind)
        content = [{"type": "input_text", "text": "Hello."}]
        item = {"type": "message", "role": "user", "content": content}
        for event in (
            {"type": "session.update", "session": {"modalities": ["audio", "text"]}},
            {"type": "conversation.item.create", "item": item},
            {"type": "response.create"},
        ):
            await ws.send_message(json.dumps(event))
        events = await until("response.done")
        [connection] = server.connections
        created = connection.find("conversation.item.created", "out")
        delta = connection.find("response.audio.delta", "out")[0].event["delta"]
    assert [entry.note for entry in created] == ["drop", ""]
    assert delta.endswith(" bytes>")
    assert [event["type"] for event in events].count("conversation.item.created") == 1
    assert events[-1]["response"]["output"][0]["content"][0]["type"] == "audio"
    assert server.protocol_errors == []


async def test_rule_66_secret_is_minted_and_offered_as_a_subprotocol(
    autojump_clock: MockClock,
) -> None:
    """xAI: ephemeral secrets; browser subprotocol `xai-client-secret.<token>`."""
    body = json.dumps({"expires_after": {"seconds": 300}}).encode()
    head = (
        b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: Bearer good\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    statuses = {}
    for dialect in ("xai", "beta"):
        settings = Settings(dialect=dialect, keys=KEYS)
        async with open_realtime_server(settings=settings) as server:
            answer = b""
            async with await server.connect() as stream:
                await stream.send_all(head + body)
                while data := await stream.receive_some():
                    answer += data
            statuses[dialect] = int(answer.split()[1])
            if dialect == "xai":
                minted = json.loads(answer.partition(b"\r\n\r\n")[2])
                offered = (f"xai-client-secret.{minted['value']}",)
                event = await first_event(server, XAI, {}, offered)
                assert spoken(event) == "xai"
    assert statuses == {"xai": 200, "beta": 404}


async def test_rule_66_pings_come_while_nothing_else_does(
    autojump_clock: MockClock,
) -> None:
    """xAI: application event `{"type":"ping"}` from the server; and no client's is."""
    settings = Settings(dialect="xai")
    async with (
        open_realtime_server(settings=settings) as server,
        dialled(server, XAI, BEARER) as (ws, until),
    ):
        await until("conversation.created")
        start = trio.current_time()
        assert [event["type"] for event in await until("ping")] == ["ping"]
        assert trio.current_time() - start == pytest.approx(15)
        await ws.send_message('{"type": "ping"}')
        [wrong] = await until("error")
        assert wrong["error"]["param"] == "type"
        assert "'session.update'" in wrong["error"]["message"]


async def test_rule_66_session_ends_as_others_do(autojump_clock: MockClock) -> None:
    """xAI: session cap 60 min; pings do not prolong it."""
    settings = Settings(dialect="xai")
    async with (
        open_realtime_server(settings=settings) as server,
        dialled(server, XAI, BEARER) as (ws, _),
    ):
        with pytest.raises(ConnectionClosed):
            await exhaust(ws)
        assert trio.current_time() == pytest.approx(3600, abs=5)
        assert ws.closed.code == 1001


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        ("openai", "/v1/realtime"),
        ("azure", "/openai/v1/realtime"),
        ("beta", "/v1/realtime"),
        ("xai", "/v1/realtime"),
    ],
)
async def test_server_tells_the_usual_address_of_its_dialect(
    dialect: Any, path: str
) -> None:
    """Rules 65 and 66: `url` is one that the server answers at."""
    settings = Settings(dialect=dialect)
    async with open_realtime_server(settings=settings, port=0) as server:
        assert server.url == f"ws://127.0.0.1:{server.port}{path}"


def test_other_dialects_are_not_taken_for_one() -> None:
    """Rules 65 and 66: a name that is none is refused where it is given."""
    with pytest.raises(ConfigurationError, match="give one of 'openai', 'azure'"):
        Settings(dialect="google")  # type: ignore[arg-type]


def test_program_serves_in_a_dialect() -> None:
    """Rules 65 and 66: `python -m trialogue serve --dialect`."""
    source = str(Path(__file__).parents[3] / "src")
    environment = {**os.environ, "PYTHONPATH": source}
    command = [
        *(sys.executable, "-m", "trialogue", "serve", "--port", "0"),
        *("--dialect", "azure"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert line.rstrip().endswith("/openai/v1/realtime")


async def test_rule_65_a_surface_has_the_usual_voice_of_its_dialect(
    autojump_clock: MockClock,
) -> None:
    """Unless the server was given another."""
    for settings, voice in ((Settings(), "alloy"), (Settings(voice="sage"), "sage")):
        async with open_realtime_server(settings=settings) as server:
            created: Any = await first_event(server, DATED, KEY)
        assert created["session"]["voice"] == voice
