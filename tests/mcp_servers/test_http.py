"""MCP servers over HTTP that die, hang and lie: here, behind a real socket."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import h11
import pytest
import trio

from trialogue import ConfigurationError, Secret, ToolError, ToolSetError
from trialogue.mcp import MCPServerStreamableHttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialogue import AnyTool

pytest.importorskip("mcp_types", reason="the package `mcp`, 2.3 or later, is missing")

# The package leaves the generators of an HTTP body where it has read enough of it, and
# Trio, which closes them then, warns of that.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*was garbage collected before it had been exhausted:ResourceWarning"
)
TOOLS = ("echo", "mute", "giant", "bomb", "endless", "away", "broken", "header", "cut")
LOST = "error: the tool's server was lost before it answered"
PATIENT = 30.0


@attrs.define(eq=False)
class Web:
    """An HTTP server that does with a call what the name of the tool says.

    Attributes:
        session: the id that it gives out and knows; a new one is a restart.
        down: it accepts nothing.
        seen: (method, session id, authorization) of each message.
    """

    session: str = "one"
    down: bool = False
    status: int = 200
    port: int = 0
    seen: list[tuple[str, str, str]] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def handle(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = h11.Connection(h11.SERVER)
            while not self.down:
                if not await self._answer(stream, connection):
                    return
                connection.start_next_cycle()

    async def _answer(
        self, stream: trio.SocketStream, connection: h11.Connection
    ) -> bool:
        headers: dict[str, str] = {}
        method, body = "", b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                method = event.method.decode()
                headers = {k.decode(): v.decode() for k, v in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        if method != "POST":
            await self._send(stream, connection, 405, b"")
            return True
        message = json.loads(body)
        session = headers.get("mcp-session-id", "")
        authorization = headers.get("authorization", "")
        self.seen.append((message["method"], session, authorization))
        if self.down:
            return False
        return await self._say(stream, connection, message, session)

    async def _say(
        self, stream: Any, connection: Any, message: dict[str, Any], session: str
    ) -> bool:
        method, params = message["method"], message.get("params") or {}
        if self.status != 200:
            await self._send(stream, connection, self.status, b"who are you?")
            return True
        if session not in ("", self.session):
            await self._send(stream, connection, 404, b"")
            return True
        if "id" not in message:
            await self._send(stream, connection, 202, b"")
            return True
        extra: list[tuple[str, str]] = []
        result: Any = None
        match method:
            case "initialize":
                extra = [("mcp-session-id", self.session)]
                result = {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "web", "version": "1"},
                }
            case "tools/list":
                schema = {"type": "object"}
                result = {"tools": [{"name": n, "inputSchema": schema} for n in TOOLS]}
            case "tools/call":
                return await self._call(stream, connection, message)
            case _:
                error = {"code": -32601, "message": "no such method"}
                answer = {"jsonrpc": "2.0", "id": message["id"], "error": error}
                await self._send(stream, connection, 200, json.dumps(answer).encode())
                return True
        await self._result(stream, connection, message, result, extra)
        return True

    async def _call(
        self, stream: Any, connection: Any, message: dict[str, Any]
    ) -> bool:
        words = json.dumps(message["params"].get("arguments", {}))
        match message["params"]["name"]:
            case "mute":
                await trio.sleep_forever()
            case "giant":
                words = "x" * 2_000_000
            case "bomb":
                extra = [("content-encoding", "gzip")]
                await self._send(
                    stream, connection, 200, b"\x1f\x8b" + bytes(99), extra
                )
                return True
            case "endless":
                await self._send_endlessly(stream, connection)
            case "away":
                extra = [("location", "http://127.0.0.2:1/elsewhere")]
                await self._send(stream, connection, 307, b"", extra)
                return True
            case "broken":
                await self._send(stream, connection, 200, b"{'not': json")
                return True
            case "cut":
                return False
        result = {"content": [{"type": "text", "text": words}]}
        await self._result(stream, connection, message, result, [])
        return True

    async def _result(
        self,
        stream: Any,
        connection: Any,
        message: dict[str, Any],
        result: Any,
        extra: list[tuple[str, str]],
    ) -> None:
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        body = json.dumps(answer).encode()
        await self._send(stream, connection, 200, body, extra)

    async def _send(
        self,
        stream: Any,
        connection: Any,
        status: int,
        body: bytes,
        extra: Sequence[tuple[str, str]] = (),
    ) -> None:
        headers = [("content-length", str(len(body)))]
        headers += [("content-type", "application/json"), *extra]
        response = h11.Response(status_code=status, headers=headers)
        data = connection.send(response)
        data += connection.send(h11.Data(data=body))
        await stream.send_all(data + connection.send(h11.EndOfMessage()))

    async def _send_endlessly(self, stream: Any, connection: Any) -> None:
        """One event without an end."""
        headers = [("content-type", "text/event-stream")]
        response = h11.Response(status_code=200, headers=headers)
        await stream.send_all(connection.send(response))
        await stream.send_all(connection.send(h11.Data(data=b"data: ")))
        while True:
            data = connection.send(h11.Data(data=b"x" * 10_000))
            await stream.send_all(data)


@asynccontextmanager
async def web() -> AsyncIterator[Web]:
    """Listen on this machine."""
    made = Web()

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await made.handle(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            return

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        made.port = listeners[0].socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, handle, listeners)
        with trio.fail_after(PATIENT):  # noqa: ASYNC100 - around the test
            yield made
        nursery.cancel_scope.cancel()


def at(server: Web, **options: Any) -> MCPServerStreamableHttp:
    return MCPServerStreamableHttp(server.url, name="web", **options)


async def call(tools: Sequence[AnyTool], name: str, /, **arguments: Any) -> str:
    """Call a tool as a session does; what the model is told."""
    (tool,) = [tool for tool in tools if tool.name == name]
    try:
        return str(await tool.invoke(None, arguments))
    except ToolError as error:
        return f"error: {error}"


@pytest.mark.behaviour("G24")
async def test_a_server_that_has_forgotten_the_session_is_asked_again() -> None:
    """It was started anew between two calls: nobody notices."""
    async with web() as server, at(server).open() as tools:
        assert await call(tools, "echo", a=1) == '{"a": 1}'
        server.session = "two"
        assert await call(tools, "echo", a=2) == '{"a": 2}'
        calls = [seen for seen in server.seen if seen[0] == "tools/call"]
    assert [session for _, session, _ in calls] == ["one", "one", "two"]


@pytest.mark.behaviour("G24")
async def test_a_server_that_goes_down_is_connected_to_when_it_is_up_again() -> None:
    """What is called meanwhile is answered with an error."""
    async with web() as server, at(server).open() as tools:
        told = [await call(tools, "cut")]
        server.down = True
        told += [await call(tools, "echo") for _ in range(3)]
        server.down = False
        await trio.sleep(1.1)
        assert await call(tools, "echo") == "{}"
    assert told[0].startswith(LOST)
    assert all(answer.startswith("error: the tool") for answer in told)


@pytest.mark.behaviour("G25")
async def test_a_call_without_an_answer_costs_its_time_and_no_other() -> None:
    answered: list[str] = []
    async with web() as server, at(server, call_timeout=0.6).open() as tools:

        async def ask_beside() -> None:
            await trio.sleep(0.3)
            answered.append(await call(tools, "echo"))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_beside)
            told = await call(tools, "mute")
        assert told.startswith("error: the tool's server did not answer within 0.6 s")
        await trio.sleep(1.5)  # that its request is given up hurts nobody
        assert await call(tools, "echo") == "{}"
        assert trio.current_time() - began < 5
    assert answered == ["{}"]


@pytest.mark.behaviour("G26", "G28")
async def test_what_a_server_should_not_send_costs_its_call_alone() -> None:
    """Too long, compressed, without an end, from elsewhere, no JSON."""
    async with web() as server, at(server).open() as tools:
        for name in ("giant", "bomb", "endless", "away", "broken"):
            told = await call(tools, name)
            assert told.startswith("error: the tool's server"), name
            assert not any(word in told for word in ("elsewhere", "gzip", "pydantic"))
            assert await call(tools, "echo") == "{}"
        sessions = {method for method, _, _ in server.seen if method == "initialize"}
        assert len(sessions) == 1


@pytest.mark.behaviour("G21", "G26")
@pytest.mark.parametrize("status", [401, 500, 404, 302])
async def test_a_server_that_refuses_is_a_typed_error(status: int) -> None:
    async with web() as server:
        server.status = status
        with pytest.raises(ToolSetError, match="'web' cannot be used"):
            async with at(server).open():
                pytest.fail("it is not open")


@pytest.mark.behaviour("G28")
async def test_headers_are_sent_fetched_anew_and_never_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A token that a function returns is asked for with each connection."""
    tokens = iter(["Bearer first-4711", "Bearer second-4711"])

    async def token() -> Secret:
        await trio.lowlevel.checkpoint()
        return Secret(next(tokens))

    with caplog.at_level(logging.DEBUG):
        async with web() as server:
            source = at(server, headers={"Authorization": token})
            async with source.open() as tools:
                server.session = "two"
                assert await call(tools, "echo") == "{}"
    seen = list(dict.fromkeys(authorization for _, _, authorization in server.seen))
    assert seen == ["Bearer first-4711", "Bearer second-4711"]
    assert "4711" not in caplog.text
    plain = at(server, headers={"Authorization": "Bearer 4711"})
    assert "4711" not in repr(plain)


@pytest.mark.behaviour("G28")
async def test_a_header_that_cannot_be_sent_is_refused_without_being_quoted() -> None:
    async with web() as server:
        source = at(server, headers={"Authorization": "Bearer 4711\nX: y"})
        with pytest.raises(ConfigurationError, match="'Authorization'") as caught:
            async with source.open():
                pytest.fail("it is not open")
    assert "4711" not in str(caught.value)
