"""The far end of a link, played one step at a time: for tests of the link.

It speaks WebSocket through wsproto, on any Trio stream, and does only what a test tells
it to; so it can also do what no decent server does.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, final

import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

if TYPE_CHECKING:
    import ssl

HANG_UP_AFTER = 600.0
"""Seconds until a peer gives up on a link that never leaves: the test then fails."""

SMALL_BUFFER = 4096
"""Bytes: of a socket that is soon full."""


@final
class Peer:
    """A server's end of one connection, and what it saw."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.wire = WSConnection(ConnectionType.SERVER)
        self.texts: list[str] = []
        self.close_code: int | None = None
        self.ended = False
        self.protocol_error: Exception | None = None
        self.headers: dict[bytes, bytes] = {}
        self._events: list[Event] = []
        self._partial = ""

    async def event(self) -> Event | None:
        """The next event, or None when the stream has ended, however it did."""
        while not self._events:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                self.ended = True
                return None
            try:
                self.wire.receive_data(bytes(data))
                self._events.extend(self.wire.events())
            except ProtocolError as exc:
                self.protocol_error = exc
                return None
        return self._note(self._events.pop(0))

    def _note(self, event: Event) -> Event:
        if isinstance(event, TextMessage):
            self._partial += event.data
            if event.message_finished:
                self.texts.append(self._partial)
                self._partial = ""
        elif isinstance(event, CloseConnection):
            self.close_code = int(event.code)
        elif isinstance(event, Request):
            self.headers = dict(event.extra_headers)
        return event

    async def send(self, *events: Event) -> None:
        await self.stream.send_all(b"".join(self.wire.send(event) for event in events))

    async def say(self, *texts: str) -> None:
        await self.send(*(TextMessage(data=text) for text in texts))

    async def accept(self) -> None:
        """Read the upgrade request and accept it."""
        assert isinstance(await self.event(), Request)
        await self.send(AcceptConnection())

    async def refuse(self, status: int, body: bytes | None = None) -> None:
        """Read the upgrade request and answer it with `status`."""
        assert isinstance(await self.event(), Request)
        headers = [(b"content-length", str(len(body)).encode())] if body else []
        await self.send(
            RejectConnection(
                status_code=status, headers=headers, has_body=body is not None
            )
        )
        if body is not None:
            await self.send(RejectData(data=body))

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self.send(CloseConnection(code=code, reason=reason))

    async def echo_forever(self) -> None:
        """Behave: echo texts, answer pings and the Close, read to the very end."""
        while (event := await self.event()) is not None:
            if isinstance(event, TextMessage) and event.message_finished:
                if self.wire.state is ConnectionState.OPEN:  # no Close right behind it
                    await self.say(self.texts[-1])
            else:
                await self._answer(event)

    async def read_to_end(self) -> None:
        """Behave, but say nothing."""
        while (event := await self.event()) is not None:
            await self._answer(event)

    async def _answer(self, event: Event) -> None:
        closing = self.wire.state is not ConnectionState.OPEN  # a Close right behind it
        if isinstance(event, Ping) and closing:
            return
        if isinstance(event, Ping | CloseConnection):
            with suppress(trio.BrokenResourceError):  # it may have left without waiting
                await self.send(event.response())

    async def wait_pong(self) -> None:
        while not isinstance(event := await self.event(), Pong):
            assert event is not None, "the link hung up instead"

    async def stay(self) -> None:
        """Leave the stream open, whatever the other end does, for a long time."""
        await trio.sleep(HANG_UP_AFTER)
        await self.stream.aclose()


Script = Callable[[Peer], Awaitable[Any]]


@asynccontextmanager
async def serving(
    script: Script, *, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[Peer]]]:
    """A TCP port of this machine, with small buffers, and the peers that came to it."""
    peers: list[Peer] = []

    async def handle(stream: trio.SocketStream) -> None:
        secured: trio.abc.Stream = stream
        if ssl_context is not None:
            secured = trio.SSLStream(
                stream, ssl_context, server_side=True, https_compatible=True
            )
        async with stream:
            peer = Peer(secured)
            peers.append(peer)
            await script(peer)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, [listener])
        yield listener.socket.getsockname()[1], peers
        nursery.cancel_scope.cancel()


@final
class Line:
    """One end of a memory stream to connect with, and the peer at the other."""

    def __init__(self, *, lockstep: bool = False) -> None:
        pair = (
            trio.testing.lockstep_stream_pair()
            if lockstep
            else trio.testing.memory_stream_pair()
        )
        self.stream: trio.abc.Stream = pair[0]
        self.peer = Peer(pair[1])
        self.handed_over = False

    async def connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.handed_over = True
        return self.stream

    async def is_closed(self) -> bool:
        """Whether the link closed the stream that it was given."""
        try:
            with trio.move_on_after(0.001):
                await self.stream.receive_some(1)
        except trio.ClosedResourceError:
            return True
        return False


@asynccontextmanager
async def playing(script: Script, *, lockstep: bool = False) -> AsyncIterator[Line]:
    """A line whose peer plays `script`; the script must have ended, or is cancelled."""
    line = Line(lockstep=lockstep)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(script, line.peer)
        yield line
        with trio.move_on_after(1):
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
