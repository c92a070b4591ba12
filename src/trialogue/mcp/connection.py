"""One connection to an MCP server: it begins, carries calls, and ends for good.

It lives in one task. Each request has a task of its own inside that, so that whoever
gives up a call leaves at once, whatever the server or the package does about it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import mcp_types as types
import trio
from mcp import Client, MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from trialogue._version import __version__
from trialogue.errors import ConfigurationError, ToolError, ToolSetError
from trialogue.mcp.http import http_transport
from trialogue.mcp.servers import (
    MCPServer,
    MCPServerStdio,
    MCPServerStreamableHttp,
)
from trialogue.mcp.stdio import process_transport

if TYPE_CHECKING:
    from mcp.client import IncomingMessage, Transport

__all__ = ["Connection", "Forgotten"]

CLOSING: Final = 1.8
"""Seconds in which a connection has to end; a session's end has two, in all."""
MOST_LISTED: Final = 2000
"""Tools of one listing that are looked at, those that are filtered out included."""
MOST_PAGES: Final = 100
PATIENCE: Final = 2
"""Calls in a row that may time out without anything being heard of the server."""

LOST: Final = (
    "the tool's server was lost before it answered; whether the call was carried out "
    "is not known"
)


class Forgotten(Exception):
    """The server does not know this connection any more; nothing was carried out."""


@attrs.define(eq=False)
class _Request:
    """One call: what becomes of it is here when `done` is set."""

    name: str
    arguments: dict[str, Any]
    result: dict[str, Any] | None = None
    error: Exception | None = None
    done: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define(eq=False)
class Connection:
    """One connection to a server.

    Attributes:
        tools: what the server listed last, as plain JSON.
        settled: it is connected, or is not going to be.
        ended: it is over, and nothing of it is left.
        begun: its task is started.
        live: it takes calls.
        was_live: it has taken calls.
        why: it is to end, in our words.
        error: what it ended with, if it was not told to.
        forgotten: set by the transport: the server has dropped this session.
    """

    server: MCPServer
    changed: Callable[[], None]
    tools: list[dict[str, Any]] = attrs.field(factory=list)
    settled: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    begun: bool = False
    live: bool = False
    was_live: bool = False
    why: str | None = None
    error: Exception | None = None
    forgotten: bool = False
    _leave: trio.Event = attrs.field(factory=trio.Event)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _requests: trio.Nursery | None = None
    _client: Client | None = None
    _heard_at: float = -math.inf
    _silent_at: float = -math.inf
    _unheard: int = 0

    def end(self, why: str) -> None:
        """It is to end, in bounded time; synchronous, the first reason counts."""
        self.live = False
        if not self._leave.is_set():
            self.why = why
            self._leave.set()
            deadline = trio.current_time() + CLOSING
            self._scope.deadline = min(self._scope.deadline, deadline)

    async def run(self) -> None:
        """Connect, list the tools, carry calls until `end`, disconnect.

        Nothing but a cancellation comes out of it.
        """
        self._scope.deadline = trio.current_time() + self.server.open_timeout
        try:
            with self._scope:
                # NB: the requests are outside of the client. The package shields, for
                # seconds, the word to a server that a request is given up; what ends
                # that is the end of the transport.
                async with trio.open_nursery() as self._requests:
                    async with self._connected() as self._client:
                        await self.list_tools()
                        await self._carry_calls()
                    self._requests.cancel_scope.cancel(reason=self.why)
        except BaseExceptionGroup as group:
            # What breaks while it is cancelled is not to come out beside that.
            cancelled, rest = group.split(trio.Cancelled)
            if rest is not None and not isinstance(rest, ExceptionGroup):
                raise
            self.error = rest
            if cancelled is not None:
                raise cancelled from None
        except Exception as error:
            self.error = error
        finally:
            self.live = False
            self._requests = self._client = None
            if self.why is None:
                late = f"it did not connect within {self.server.open_timeout:g} s"
                self.why = late if self._scope.cancelled_caught else "it was lost"
            self.settled.set()
            self.ended.set()

    def _connected(self) -> Client:
        transport: Transport
        match self.server:
            case MCPServerStdio() as server:
                transport = process_transport(server, self)
            case MCPServerStreamableHttp() as server:
                transport = http_transport(server, self)
            case other:
                msg = f"{other!r} is none of the kinds of MCP servers that there are"
                raise ConfigurationError(msg)
        return Client(
            transport,
            mode=self.server.mode,
            message_handler=self._hear,
            client_info=types.Implementation(name="trialogue", version=__version__),
            cache=None,
        )

    async def _carry_calls(self) -> None:
        """Be live until it is to end, or what carries it breaks."""
        if self._leave.is_set():
            return
        assert self._requests is not None
        self._scope.deadline = math.inf
        try:
            self._requests.start_soon(self._listen)
            self.live = self.was_live = True
            self.settled.set()
            await self._leave.wait()
        finally:
            self.live = False  # before the nursery closes, which takes no tasks then

    # --- what the server says by itself --------------------------------------

    async def _hear(self, message: IncomingMessage) -> None:
        self._was_heard()
        if isinstance(message, types.ToolListChangedNotification):
            self.changed()

    async def _listen(self) -> None:
        """Be told when the tools change, where that has to be asked for."""
        client = self._client
        assert client is not None
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        if tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self.changed()
        except Exception:
            # Then they are looked at when the server is connected to anew.
            return

    async def list_tools(self) -> None:
        """Have the server list its tools, page by page.

        Raises:
            ToolSetError: there are too many, or the pages have no end.
            Exception: whatever the package makes of what the server does.
        """
        assert self._client is not None
        tools: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._client.session.list_tools(
                params=types.PaginatedRequestParams(cursor=cursor)
            )
            tools += [_plain(tool) for tool in page.tools]
            if len(tools) > MOST_LISTED:
                self._refuse(f"it lists more than {MOST_LISTED} tools")
            cursor = page.next_cursor
            if cursor is None:
                self.tools = tools
                return
        self._refuse(f"its list of tools has more than {MOST_PAGES} pages")

    def _refuse(self, what: str) -> None:
        msg = f"MCP server {self.server.name!r}: {what}"
        raise ToolSetError(msg, tool_set=self.server.name)

    # --- calls ---------------------------------------------------------------

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool; return its result as plain JSON.

        Leaves in the step in which it is cancelled; the server is told beside that.

        Raises:
            ToolError: there is no result; the text is ours, the cause is not.
            Forgotten: the server does not know the connection; call on another one.
        """
        if self._requests is None or not self.live:
            raise Forgotten
        request = _Request(name, arguments)
        self._requests.start_soon(self._ask, request, name=f"MCP call {name}")
        try:
            await request.done.wait()
        finally:
            request.scope.cancel()
        if request.error is not None:
            raise self._problem(request.error) from request.error
        if request.result is None:
            raise ToolError(LOST)
        self._was_heard()
        return request.result

    async def _ask(self, request: _Request) -> None:
        assert self._client is not None
        try:
            with request.scope:
                # Not `call_tool`, which would check the result against the schema that
                # the server gave for it: regular expressions of a stranger's.
                result = await self._client.session.send_request(
                    types.CallToolRequest(
                        params=types.CallToolRequestParams(
                            name=request.name, arguments=request.arguments
                        )
                    ),
                    types.CallToolResult,
                )
                request.result = _plain(result)
        except Exception as error:
            request.error = error
        finally:
            request.done.set()

    def _problem(self, error: Exception) -> Exception:
        """Return what is raised for a call that failed, and draw the conclusions."""
        if self.forgotten:
            self.end("the server has forgotten the session")
            return Forgotten()
        gone = (trio.BrokenResourceError, trio.ClosedResourceError)
        if self.why is not None or isinstance(error, gone):
            return ToolError(LOST)
        if not isinstance(error, MCPError):
            return ToolError("the tool's server answered with what is no result")
        if error.code == types.CONNECTION_CLOSED:
            # NB: a server may use that code as well, and nothing is closed by that.
            if error.message == "Connection closed":
                self.end("it was lost")
            return ToolError(LOST)
        self._was_heard()
        return ToolError(f"the tool's server refused the call (error {error.code})")

    def _was_heard(self) -> None:
        self._heard_at = trio.current_time()
        self._unheard = 0

    def timed_out(self, began: float) -> None:
        """A call that began then was given up; a server that is mute is left."""
        now = trio.current_time()
        # Not one that ran beside the one before, which has said the same.
        if self._heard_at < began and began >= self._silent_at:
            self._unheard += 1
            self._silent_at = now
        if self._unheard >= PATIENCE:
            self.end("it did not answer any more")


def _plain(model: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = model.model_dump(
        by_alias=True, mode="json", exclude_none=True
    )
    return dumped
