"""The tools of one server for one session, over one connection after the other."""

from __future__ import annotations

import contextvars
import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from trialogue.errors import ConfigurationError, ToolError, ToolSetError
from trialogue.mcp.connection import Connection, Forgotten
from trialogue.mcp.listing import read
from trialogue.mcp.results import text_of
from trialogue.realtime.unwrapping import single
from trialogue.tools import ToolOptions
from trialogue.tools.declared import declared_tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from trialogue.mcp.listing import ListedTool, Listing
    from trialogue.mcp.servers import MCPServer
    from trialogue.tools.tool_set import AnyTool

__all__ = ["serving"]

log = logging.getLogger("trialogue.mcp")

RETRY_AFTER: Final = 1.0
"""Seconds after a connection that failed in which no other is tried."""
RELIST_EVERY: Final = 1.0
"""Seconds between two looks at a list of which the server says that it has changed."""
MOST_PROBLEMS: Final = 10
"""Lines that a listing may cause in the log."""
UNAVAILABLE: Final = "the tool is not available: its server cannot be reached"


@asynccontextmanager
async def serving(server: MCPServer) -> AsyncIterator[Sequence[AnyTool]]:
    """Hold the connection to a server around a block; yield its tools.

    Raises:
        ToolSetError: it cannot be connected to, or does not have the tools that it has
            to have.
        ConfigurationError: a credential is none.
    """
    with single():
        async with trio.open_nursery() as nursery:
            served = _Served(server, nursery)
            await served.begin()
            yield served.tools
            await served.close()
            nursery.cancel_scope.cancel(reason="the tool set is closed")


class _Served:
    """Calls the tools of a server; connects anew when that is necessary."""

    def __init__(self, server: MCPServer, nursery: trio.Nursery) -> None:
        self.tools: list[AnyTool] = []
        self._server = server
        self._nursery = nursery
        # A connection outlives the call that needs it, and is made in this context.
        self._context = contextvars.copy_context()
        self._dialling = trio.Lock()
        self._connection = self._new()
        self._failed_at = -math.inf
        self._changed = trio.Event()

    def _new(self) -> Connection:
        return Connection(self._server, self._note_change)

    def _note_change(self) -> None:
        self._changed.set()

    async def begin(self) -> None:
        """Connect for the first time.

        Raises:
            ToolSetError, ConfigurationError: see `serving`.
        """
        connection = await self._connect()
        if not connection.live:
            raise self._failure(connection)
        listing = self._read(connection)
        missing = self._missing(listing)
        if missing is not None:
            raise ToolSetError(missing, tool_set=self._server.name)
        self._take(listing)
        self._nursery.start_soon(self._follow)

    async def close(self) -> None:
        """End the connection, in the time that it has for that."""
        self._connection.end("the session ends")
        await self._connection.ended.wait()

    def _failure(self, connection: Connection) -> Exception:
        error = _innermost(connection.error)
        if isinstance(error, ConfigurationError | ToolSetError):
            return error
        what = connection.why if error is None else f"{type(error).__name__}"
        msg = f"MCP server {self._server.name!r} cannot be used: {what}"
        failed = ToolSetError(msg, tool_set=self._server.name)
        failed.__cause__ = error
        return failed

    # --- connections ---------------------------------------------------------

    async def _live(self) -> Connection:
        """Return a connection that takes calls.

        Raises:
            ToolError: there is none, and none can be made now.
        """
        async with self._dialling:
            if self._connection.live:
                return self._connection
            if trio.current_time() - self._failed_at < RETRY_AFTER:
                raise ToolError(UNAVAILABLE)
            connection = await self._connect()
            if not connection.live:
                raise ToolError(UNAVAILABLE) from connection.error
        self._take_again(connection)
        return connection

    async def _connect(self) -> Connection:
        """Begin another connection, and wait until it stands or has failed.

        Whoever gives up waiting leaves it to the next one.
        """
        connection = self._connection
        if connection.ended.is_set() or connection.why is not None:
            connection = self._connection = self._new()
        if not connection.begun:
            connection.begun = True
            self._context.run(self._nursery.start_soon, self._run, connection)
        await connection.settled.wait()
        return connection

    async def _run(self, connection: Connection) -> None:
        await connection.run()
        if not connection.was_live:
            self._failed_at = trio.current_time()
        log.info(
            "MCP server %s: connection over: %s", self._server.name, connection.why
        )

    # --- the tools -----------------------------------------------------------

    def _read(self, connection: Connection) -> Listing:
        server = self._server
        return read(
            connection.tools,
            prefix=server.name_prefix,
            allowed=server.allowed_tools,
            blocked=server.blocked_tools,
        )

    def _missing(self, listing: Listing) -> str | None:
        """Say what is wrong with a listing as a whole."""
        server = self._server
        if len(listing.tools) > server.max_tools:
            return (
                f"MCP server {server.name!r} lists {len(listing.tools)} tools, at most "
                f"{server.max_tools} are taken; name those to have in allowed_tools, "
                "or raise max_tools"
            )
        there = {tool.name for tool in listing.tools}
        for keyword, names in (
            ("allowed_tools", server.allowed_tools or ()),
            ("tool_options", server.tool_options),
        ):
            absent = sorted(set(names) - there)
            if absent:
                has = ", ".join(sorted(listing.names)[:50])[:1000]
                return (
                    f"MCP server {server.name!r} has no tool {absent[0]!r} that can be "
                    f"used, which {keyword} names; it lists: {has}"
                )
        return None

    def _take(self, listing: Listing) -> None:
        for problem in listing.problems[:MOST_PROBLEMS]:
            log.warning("MCP server %s: %s", self._server.name, problem)
        self.tools[:] = [self._tool(tool) for tool in listing.tools]

    def _take_again(self, connection: Connection) -> None:
        """Have the tools that the server lists now, unless it lies about them."""
        listing = self._read(connection)
        missing = self._missing(listing)
        if missing is None:
            self._take(listing)
        else:
            log.warning("its new list of tools is not taken: %s", missing)

    def _tool(self, tool: ListedTool) -> AnyTool:
        async def call(ctx: object, arguments: dict[str, Any]) -> str:
            return await self._call(tool.name, arguments)

        options = self._server.tool_options.get(tool.name, ToolOptions())
        return declared_tool(tool.spec, call, options)

    async def _follow(self) -> None:
        """Look at the list again when the server says that it has changed."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            connection = self._connection
            if connection.live:
                with trio.move_on_after(self._server.open_timeout):
                    await self._look_again(connection)
            await trio.sleep(RELIST_EVERY)

    async def _look_again(self, connection: Connection) -> None:
        try:
            await connection.list_tools()
        except Exception as error:
            name, kind = self._server.name, type(error).__name__
            log.warning("MCP server %s: its tools cannot be listed: %s", name, kind)
        else:
            self._take_again(connection)

    # --- calls ---------------------------------------------------------------

    async def _call(self, name: str, arguments: dict[str, Any]) -> str:
        server, began = self._server, trio.current_time()
        used: list[Connection] = []
        with trio.move_on_after(server.call_timeout):
            result = await self._result(name, arguments, used)
            return text_of(
                result,
                structured=server.use_structured_content,
                max_bytes=server.max_result_bytes,
            )
        for connection in used:
            connection.timed_out(began)
        msg = (
            f"the tool's server did not answer within {server.call_timeout:g} s; "
            "whether the call was carried out is not known"
        )
        raise ToolError(msg)

    async def _result(
        self, name: str, arguments: dict[str, Any], used: list[Connection]
    ) -> dict[str, Any]:
        for _ in range(2):
            connection = await self._live()
            used[:] = [connection]
            try:
                return await connection.call(name, arguments)
            except Forgotten:
                continue
        raise ToolError(UNAVAILABLE)


def _innermost(error: Exception | None) -> Exception | None:
    """Return the one exception in groups of one, which nurseries make on the way."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
