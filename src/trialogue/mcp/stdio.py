"""A server that is a process: JSON-RPC in lines, over its standard input and output.

The package has a transport of this kind. This one bounds a line before it is parsed,
and has the process gone within the time that leaving a session may take.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

import trio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from trialogue.mcp.lines import Lines, LineTooLong
from trialogue.mcp.secrets import revealed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from trialogue.mcp.connection import Connection
    from trialogue.mcp.servers import MCPServerStdio

__all__ = ["process_transport"]

GRACE: Final = 0.5
"""Seconds for a process to end by itself, then to be terminated, then to be killed."""
MOST_GARBAGE: Final = 1000
"""Lines of a connection that are no messages; with more it is no server."""


class _Incoming:
    """Messages of the server, as the package takes them."""

    def __init__(self, channel: trio.MemoryReceiveChannel[SessionMessage]) -> None:
        self._channel = channel

    async def receive(self) -> SessionMessage | Exception:
        return await self._channel.receive()

    async def aclose(self) -> None:
        await self._channel.aclose()

    def __aiter__(self) -> _Incoming:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._channel.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Outgoing:
    """Takes messages for the server. What is no JSON fails here, in its own task."""

    def __init__(self, channel: trio.MemorySendChannel[bytes]) -> None:
        self._channel = channel

    async def send(self, item: SessionMessage, /) -> None:
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        await self._channel.send(text.encode() + b"\n")

    async def aclose(self) -> None:
        await self._channel.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


@asynccontextmanager
async def process_transport(
    server: MCPServerStdio, connection: Connection
) -> AsyncIterator[tuple[_Incoming, _Outgoing]]:
    """Run the process around a block; nothing is left of it afterwards.

    Raises:
        OSError: the program cannot be started.
    """
    environment = await revealed(server.env, within=server.open_timeout)
    process = await trio.lowlevel.open_process(
        [server.command, *server.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**get_default_environment(), **environment},
        cwd=server.cwd,
        start_new_session=sys.platform != "win32",
    )
    try:
        to_session, incoming = trio.open_memory_channel[SessionMessage](0)
        outgoing, to_process = trio.open_memory_channel[bytes](0)
        async with trio.open_nursery() as nursery:
            lines = Lines(server.max_message_bytes)
            nursery.start_soon(_read, process, lines, to_session, connection)
            nursery.start_soon(_write, process, to_process, connection)
            yield _Incoming(incoming), _Outgoing(outgoing)
            nursery.cancel_scope.cancel()
        await _ask_to_end(process)
    finally:
        # Also when there is no time for anything else, because this is cancelled.
        with trio.move_on_after(GRACE, shield=True):
            await _kill(process)


async def _read(
    process: trio.Process,
    lines: Lines,
    to_session: trio.MemorySendChannel[SessionMessage],
    connection: Connection,
) -> None:
    assert process.stdout is not None
    garbage = 0
    with to_session:  # closed, it tells the requests under way that they are lost
        try:
            async for chunk in process.stdout:
                for line in lines.feed(bytes(chunk)):
                    message = _message_in(line)
                    if message is not None:
                        await to_session.send(message)
                    elif line.strip():
                        garbage += 1
                if garbage > MOST_GARBAGE:
                    connection.end("it wrote what is no message to its standard output")
                    return
        except LineTooLong:
            size = f"more than {connection.server.max_message_bytes} bytes"
            connection.end(f"it wrote a message of {size}")
            return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    connection.end("its process ended, or closed its standard output")


def _message_in(line: bytes) -> SessionMessage | None:
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None  # a `print` that was left in, for one
    return SessionMessage(message)


async def _write(
    process: trio.Process,
    to_process: trio.MemoryReceiveChannel[bytes],
    connection: Connection,
) -> None:
    assert process.stdin is not None
    with to_process:
        try:
            async for data in to_process:
                await process.stdin.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            connection.end("its process closed its standard input")


# --- the end of the process --------------------------------------------------------


async def _ask_to_end(process: trio.Process) -> None:
    """Let it end by itself, at the end of its input or of what it is told."""
    assert process.stdin is not None
    await process.stdin.aclose()
    with trio.move_on_after(GRACE) as patience:
        await process.wait()
    if patience.cancelled_caught:
        _signal(process, signal.SIGTERM)
        with trio.move_on_after(GRACE):
            await process.wait()


async def _kill(process: trio.Process) -> None:
    """Have it gone, unless it is, and close what is left of it here."""
    if process.returncode is None:
        _signal(process, KILL)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        await pipe.aclose()
    await process.wait()


if sys.platform == "win32":
    KILL: Any = signal.SIGTERM  # which is as hard there

    def _signal(process: trio.Process, number: int) -> None:
        process.kill()

else:
    KILL: Any = signal.SIGKILL

    def _signal(process: trio.Process, number: int) -> None:
        """Signal the whole group: what the server has started ends with it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
