"""Who may talk to the local server: Azure's manner, client secrets, TLS."""

from __future__ import annotations

import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme
from trio_websocket import ConnectionRejected, wrap_client_stream

from trialogue.testing import RealtimeServer, Settings, open_realtime_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

KEY = "good"
V1 = "/openai/v1/realtime?model=gpt-realtime"
SECRETS = "/v1/realtime/client_secrets"


@asynccontextmanager
async def dialled(
    server: RealtimeServer,
    resource: str,
    headers: dict[str, str],
    stream: trio.abc.Stream | None = None,
) -> AsyncIterator[Any]:
    own = stream if stream is not None else await server.connect()
    async with own, trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery,
            own,  # type: ignore[arg-type]
            "localhost",
            resource,
            extra_headers=[(k.encode(), v.encode()) for k, v in headers.items()],
        )
        yield ws
        nursery.cancel_scope.cancel()


async def status(
    server: RealtimeServer, resource: str, headers: dict[str, str], *, tcp: bool
) -> int:
    """What an upgrade is answered with; 101 if it is done."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port) if tcp else None
    try:
        async with dialled(server, resource, headers, stream):
            return 101
    except BaseExceptionGroup as group:
        _, rest = group.split(ConnectionRejected)
        assert rest is None
        [rejected] = group.exceptions
        assert isinstance(rejected, ConnectionRejected)
        return int(rejected.status_code)


async def first_event(
    server: RealtimeServer, key: str, resource: str = "/v1/realtime?model=gpt-realtime"
) -> dict[str, Any]:
    bearer = {"authorization": f"Bearer {key}"}
    async with dialled(server, resource, bearer) as ws:
        event: dict[str, Any] = json.loads(await ws.get_message())
    return event


async def post(
    server: RealtimeServer,
    body: str = "{}",
    *,
    path: str = SECRETS,
    key: str = f"Authorization: Bearer {KEY}",
) -> tuple[int, Any]:
    """Post by hand; return the status and the JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{key}\r\nContent-Length: {len(body)}"
    answer = b""
    async with await server.connect() as stream:
        await stream.send_all(f"{head}\r\n\r\n".encode())
        await stream.send_all(body.encode())
        while data := await stream.receive_some():
            answer += data
    first, _, rest = answer.partition(b"\r\n")
    return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


# --- Azure's manner -------------------------------------------------------------------


@pytest.mark.behaviour("X4", "C1")
@pytest.mark.parametrize("tcp", [False, True], ids=["memory", "tcp"])
@pytest.mark.parametrize(
    ("resource", "headers", "expected"),
    [
        (V1, {"api-key": KEY}, 101),
        (V1, {"authorization": f"Bearer {KEY}"}, 101),
        (f"{V1}&api-key={KEY}", {}, 101),
        (V1, {}, 401),
        (V1, {"api-key": "bad"}, 401),
        (V1, {"authorization": "Bearer bad"}, 401),
        (f"{V1}&api-version=2025-04-01-preview", {"api-key": KEY}, 400),
        ("/openai/v1/realtime?model=chat", {"api-key": KEY}, 404),
        ("/openai/v1/realtime", {"api-key": KEY}, 404),
        ("/openai/realtime?deployment=gpt-realtime", {"api-key": "bad"}, 401),
        (
            "/openai/realtime?deployment=gpt-realtime&api-version=1",
            {"api-key": KEY},
            101,
        ),
        ("/v1/realtime?model=gpt-realtime", {}, 101),
    ],
)
async def test_azure_judges_before_the_upgrade(
    resource: str, headers: dict[str, str], expected: int, tcp: bool
) -> None:
    """And OpenAI behind it, as ever."""
    settings = Settings(keys=frozenset([KEY]))
    async with open_realtime_server(settings=settings, port=0) as server:
        assert await status(server, resource, headers, tcp=tcp) == expected
        assert len(server.connections) == (expected == 101)


# --- client secrets -------------------------------------------------------------------


async def test_secret_opens_sessions_that_begin_with_its_settings(
    autojump_clock: MockClock,
) -> None:
    session = {
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": "You are Kelly.",
        "audio": {"output": {"voice": "cedar"}},
    }
    settings = Settings(keys=frozenset([KEY]), wall=lambda: 1000.0)
    async with open_realtime_server(settings=settings) as server:
        code, minted = await post(server, json.dumps({"session": session}))
        assert (code, minted["expires_at"]) == (200, 1600)
        assert minted["value"].startswith("ek_")
        assert minted["session"]["instructions"] == "You are Kelly."
        for resource in ("/v1/realtime?model=gpt-realtime", "/v1/realtime"):
            created = await first_event(server, minted["value"], resource)
            assert created["type"] == "session.created"
            assert created["session"]["model"] == "gpt-realtime"
            assert created["session"]["instructions"] == "You are Kelly."
            assert created["session"]["audio"]["output"]["voice"] == "cedar"


@pytest.mark.behaviour("X4")
async def test_expired_or_unknown_secret_opens_nothing_and_ends_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_realtime_server() as server:
        asked = {"expires_after": {"anchor": "created_at", "seconds": 10}}
        _, minted = await post(server, json.dumps(asked))
        bearer = {"authorization": f"Bearer {minted['value']}"}
        resource = "/v1/realtime?model=gpt-realtime"
        async with dialled(server, resource, bearer) as ws:
            assert json.loads(await ws.get_message())["type"] == "session.created"
            await trio.sleep(10)
            for key in (minted["value"], "ek_made_up"):
                event = await first_event(server, key)
                assert event["error"]["code"] == "invalid_api_key"
                assert await status(server, V1, {"api-key": key}, tcp=False) == 401
            await ws.send_message('{"type": "input_audio_buffer.clear"}')
            assert "cleared" in await ws.get_message()


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("[]", "invalid_json", None),
        ("{", "invalid_json", None),
        ('{"expires_after": 9}', "invalid_type", "expires_after"),
        ('{"expires_after": {"anchor": "now"}}', "invalid_value", "anchor"),
        ('{"expires_after": {"seconds": 9}}', "integer_below_min_value", "seconds"),
        ('{"expires_after": {"seconds": 7201}}', "integer_above_max_value", "seconds"),
        ('{"expires_after": {"seconds": "x"}}', "invalid_type", "seconds"),
        ('{"session": {}}', "missing_required_parameter", "session.type"),
        ('{"session": {"type": "realtime", "x": 1}}', "unknown_parameter", "session.x"),
        (
            '{"session": {"type": "realtime", "audio": {"output": {"speed": 9}}}}',
            None,
            "session.audio.output.speed",
        ),
    ],
)
async def test_settings_are_judged_when_a_secret_is_minted(
    body: str, code: str | None, param: str | None, autojump_clock: MockClock
) -> None:
    async with open_realtime_server() as server:
        status, answer = await post(server, body)
    assert status == 400
    assert code in (None, answer["error"]["code"])
    assert str(answer["error"]["param"]).endswith(param or "None")


@pytest.mark.behaviour("X4")
async def test_secret_is_minted_for_a_key_at_its_place_only(
    autojump_clock: MockClock,
) -> None:
    azure = "/openai/v1/realtime/client_secrets"
    async with open_realtime_server() as server:
        _, minted = await post(server)
        ephemeral = f"Authorization: Bearer {minted['value']}"
        assert (await post(server, key="X: y"))[0] == 401
        assert (await post(server, key=ephemeral))[0] == 401
        assert (await post(server, path="/v1/other"))[0] == 404
        assert (await post(server, path=azure, key=f"api-key: {KEY}"))[0] == 200


async def test_what_is_no_http_request_gets_no_answer(
    autojump_clock: MockClock,
) -> None:
    for sent in (b"POST \r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        async with (
            open_realtime_server() as server,
            await server.connect() as stream,
        ):
            await stream.send_all(sent)
            assert await stream.receive_some() == b""


# --- TLS ------------------------------------------------------------------------------


async def test_server_listens_with_tls_where_it_has_a_certificate() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with open_realtime_server() as server:
        port = await server.listen(ssl_context=context)
        assert server.url == f"wss://127.0.0.1:{port}/v1/realtime"
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", port, ssl_context=client, https_compatible=True
        )
        bearer = {"authorization": "Bearer any"}
        resource = "/v1/realtime?model=gpt-realtime"
        async with dialled(server, resource, bearer, stream) as ws:
            assert json.loads(await ws.get_message())["type"] == "session.created"
