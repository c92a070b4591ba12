"""Minting ephemeral keys: what is asked, what comes back, and what can go wrong."""

from __future__ import annotations

import json
import ssl
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
import trustme

from stage import model_of
from trialogue import (
    UNCHANGED,
    AzureRealtime,
    ClientSecret,
    ConfigurationError,
    ConnectionLost,
    ConnectRefused,
    ConversionError,
    OpenAIRealtime,
    ProtocolError,
    Secret,
    ServerError,
    SessionOptions,
    ToolSpec,
    create_client_secret,
    open_session,
)
from trialogue.testing import RealtimeServer, Settings, refuse_upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "sk-proj-0123456789abcdef"
GOOD = json.dumps({"value": "ek_1", "expires_at": 1600, "session": {}}).encode()
TOOL = ToolSpec(
    name="hang_up", description="", parameters={"type": "object", "properties": {}}
)


class Line:
    """A peer in memory that reads one request and answers with these bytes."""

    def __init__(self, answer: bytes, *, stays: bool = False) -> None:
        self.answer = answer
        self.stays = stays
        self.request = b""
        self.dials = 0
        self.nursery: trio.Nursery
        self.client: trio.abc.Stream

    async def connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dials += 1
        self.client, server = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, server)
        return self.client

    async def _serve(self, stream: trio.abc.Stream) -> None:
        while not self._complete():
            data = await stream.receive_some()
            if not data:
                return
            self.request += data
        if self.answer:
            await stream.send_all(self.answer)
        if self.stays:
            await trio.sleep_forever()
        await stream.aclose()

    def _complete(self) -> bool:
        head, end, body = self.request.partition(b"\r\n\r\n")
        if not end:
            return False
        [length] = [
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ]
        return len(body) >= length


@asynccontextmanager
async def answering(answer: bytes, *, stays: bool = False) -> AsyncIterator[Line]:
    line = Line(answer, stays=stays)
    async with trio.open_nursery() as line.nursery:
        yield line
        line.nursery.cancel_scope.cancel()


def response(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (
        status.encode(),
        len(body),
        body,
    )


async def minted(line: Line, **options: Any) -> ClientSecret:
    model = OpenAIRealtime(api_key=KEY, connect=line.connect)
    return await create_client_secret(model, **options)


# --- against the local server ---------------------------------------------------------


@pytest.mark.parametrize("manner", ["openai", "azure"])
async def test_secret_opens_a_session_that_begins_with_what_was_attached(
    manner: str, autojump_clock: trio.testing.MockClock
) -> None:
    settings = Settings(keys=frozenset([KEY]), wall=lambda: 1000.0)
    async with RealtimeServer(settings=settings).serving() as server:

        def model(key: str | Secret) -> OpenAIRealtime | AzureRealtime:
            if manner == "openai":
                return model_of(server, api_key=key)
            given: dict[str, Any] = {"api_key" if key == KEY else "token": key}
            return AzureRealtime(
                "gpt-realtime",
                endpoint="http://localhost",
                connect=server.connect,
                **given,
            )

        secret = await create_client_secret(
            model(KEY),
            expires_after=60,
            instructions="You are Kelly.",
            tools=[TOOL],
            options=SessionOptions(voice="cedar"),
        )
        assert secret.expires_at == 1060
        assert secret.session["instructions"] == "You are Kelly."
        assert secret.value.reveal().startswith("ek_")
        async with open_session(model(secret.value)) as session:
            assert (await session.generate_reply()).text
        [created] = server.connections[0].find("session.created")
        begun = created.event["session"]
        assert begun["instructions"] == "You are Kelly."
        assert [tool["name"] for tool in begun["tools"]] == ["hang_up"]
        assert begun["audio"]["output"]["voice"] == "cedar"


@pytest.mark.behaviour("C1", "X1")
async def test_wrong_key_is_refused_and_not_quoted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    settings = Settings(keys=frozenset(["another"]))
    async with RealtimeServer(settings=settings).serving() as server:
        with pytest.raises(ConnectRefused, match="HTTP 401") as caught:
            await create_client_secret(model_of(server, api_key=KEY))
        assert (caught.value.status, server.dials) == (401, 1)
    assert KEY not in "".join(traceback.format_exception(caught.value))


async def test_refused_settings_are_the_providers_error_with_its_code(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with RealtimeServer().serving() as server:
        with pytest.raises(ServerError, match=r"HTTP 400: Tool names") as caught:
            await create_client_secret(model_of(server), tools=[TOOL, TOOL])
    assert caught.value.code == "invalid_value"
    assert not caught.value.recoverable


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_overloaded_provider_may_be_asked_again(
    status: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with RealtimeServer(faults=[refuse_upgrade(status)]).serving() as server:
        with pytest.raises(ConnectionLost, match=f"HTTP {status}") as caught:
            await create_client_secret(model_of(server))
        assert type(caught.value) is ConnectionLost
        assert (await create_client_secret(model_of(server))).expires_at


@pytest.mark.behaviour("C1")
async def test_key_of_a_function_that_was_refused_is_fetched_once_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    keys = iter(["old", "new"])
    settings = Settings(keys=frozenset(["new"]))
    async with RealtimeServer(settings=settings).serving() as server:
        model = model_of(server, api_key=lambda: next(keys))
        assert (await create_client_secret(model)).expires_at
        assert server.dials == 2


@pytest.mark.behaviour("X2")
async def test_minting_over_tls_checks_the_certificate() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with RealtimeServer().serving() as server:
        await server.listen(ssl_context=context)
        model = OpenAIRealtime(api_key=KEY, base_url=server.url, ssl_context=trusting)
        assert (await create_client_secret(model)).expires_at
        wary = OpenAIRealtime(api_key=KEY, base_url=server.url)
        with pytest.raises(ConnectRefused, match="certificate of 127"):
            await create_client_secret(wary)


# --- the request ----------------------------------------------------------------------


async def test_request_says_what_the_protocol_wants() -> None:
    async with answering(response(GOOD)) as line:
        model = OpenAIRealtime(
            "gpt-realtime",
            voice="marin",
            api_key=KEY,
            organization="org-1",
            project="proj-1",
            safety_identifier="user-1",
            base_url="wss://p.test/v1/realtime?v=1",
            connect=line.connect,
        )
        await create_client_secret(model, instructions="Be brief.", tools=UNCHANGED)
    head, _, body = line.request.decode().partition("\r\n\r\n")
    first, *rest = head.split("\r\n")
    assert first == "POST /v1/realtime/client_secrets?v=1 HTTP/1.1"
    headers = {name.lower(): value for name, value in (h.split(": ", 1) for h in rest)}
    assert headers["host"] == "p.test"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj-1"
    assert headers["openai-safety-identifier"] == "user-1"
    asked = json.loads(body)
    assert asked["expires_after"] == {"anchor": "created_at", "seconds": 600}
    session = asked["session"]
    assert (session["type"], session["model"]) == ("realtime", "gpt-realtime")
    assert session["instructions"] == "Be brief."
    assert "tools" not in session
    assert session["audio"]["output"] == {"voice": "marin"}


@pytest.mark.parametrize("seconds", [9, 7201, 10.5, True, -1])
async def test_time_to_live_is_checked_before_anything_is_sent(seconds: Any) -> None:
    async with answering(response(GOOD)) as line:
        with pytest.raises(ConfigurationError, match="10 to 7200"):
            await minted(line, expires_after=seconds)
        assert line.dials == 0
        for bound in (10, 7200):
            await minted(line, expires_after=bound)


async def test_option_out_of_its_range_is_refused_before_anything_is_sent() -> None:
    async with answering(response(GOOD)) as line:
        with pytest.raises(ConversionError, match="speed"):
            await minted(line, options=SessionOptions(speed=9.0))
        assert line.dials == 0


# --- the answer -----------------------------------------------------------------------


@pytest.mark.behaviour("X1")
async def test_secret_is_shown_by_nothing_but_its_own_value() -> None:
    inside = {"type": "realtime", "client_secret": {"value": "ek_1", "expires_at": 9}}
    body = json.dumps({"value": "ek_1", "expires_at": 9, "session": inside}).encode()
    async with answering(response(body)) as line:
        secret = await minted(line)
    assert secret.value == Secret("ek_1")
    assert "ek_1" not in repr(secret)
    assert secret.session == {"type": "realtime"}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"value": ""}',
        b'{"value": 7}',
        b'{"value": "ek_1"}',
        b'{"value": "ek_1", "expires_at": 9, "session": 7}',
    ],
)
async def test_answer_that_is_no_secret_is_a_protocol_error(body: bytes) -> None:
    async with answering(response(body)) as line:
        with pytest.raises(ProtocolError) as caught:
            await minted(line)
    assert "ek_1" not in str(caught.value)


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("key", [KEY, "0123456789abcdef"])
async def test_refusal_that_quotes_the_key_is_shown_without_it(key: str) -> None:
    body = json.dumps({"error": {"code": "odd", "message": f"for {key}, no"}}).encode()
    async with answering(response(body, "400 Bad Request")) as line:
        model = OpenAIRealtime(api_key=key, connect=line.connect)
        with pytest.raises(ServerError, match=r"for \[key\], no") as caught:
            await create_client_secret(model)
    assert caught.value.code == "odd"
    assert key not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("length", range(0, len(response(GOOD)), 7))
async def test_peer_that_hangs_up_early_may_be_asked_again(length: int) -> None:
    async with answering(response(GOOD)[:length]) as line:
        with pytest.raises(ConnectionLost, match="hung up") as caught:
            await minted(line)
    assert type(caught.value) is ConnectionLost


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"SSH-2.0-x\r\n\r\n", "not answer like an HTTP server"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 200_000, "not answer like an HTTP server"),
        (response(b"", "404 Not Found"), "HTTP 404.*the URL"),
        (response(b"", "302 Found"), "HTTP 302"),
        (response(b"x" * (2**20 + 1)), "over 1048576 bytes"),
    ],
    ids=["other protocol", "endless head", "404", "302", "endless body"],
)
async def test_answer_that_another_try_would_not_change_is_a_refusal(
    answer: bytes, complaint: str
) -> None:
    async with answering(answer, stays=True) as line:
        with pytest.raises(ConnectRefused, match=complaint):
            await minted(line)


@pytest.mark.behaviour("X3")
async def test_informational_answers_and_chunks_are_read() -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with answering(b"HTTP/1.1 103 Hints\r\n\r\n" + head + chunks) as line:
        assert (await minted(line)).expires_at == 1600


async def test_answer_that_never_comes_ends_at_the_deadline_and_closes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with answering(b"", stays=True) as line:
        with pytest.raises(ConnectionLost, match=r"no answer .* within 3 s"):
            await minted(line, timeout=3)
        assert trio.current_time() == 3
        with pytest.raises(trio.ClosedResourceError):
            await line.client.receive_some(1)


async def test_port_where_nothing_listens_may_be_tried_again() -> None:
    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("nobody there")

    model = OpenAIRealtime(api_key=KEY, connect=connect)
    with pytest.raises(ConnectionLost, match="could not connect to api"):
        await create_client_secret(model)
