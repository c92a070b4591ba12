"""The link: one WebSocket connection, and the only module that knows trio-websocket.

A link is text in, text out, ping and close. It adds what trio-websocket leaves to its
users: the stream is ours and always closed; leaving takes at most `close_timeout`,
whatever the peer does; the peer gets a Close frame also when the program is cancelled;
nothing is ever sent after a frame that was cut short; every failure is one typed error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast, final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from trialogue._redaction import without_keys
from trialogue.errors import ConnectionLost
from trialogue.realtime.library_log import strike_keys_from
from trialogue.realtime.services import open_services
from trialogue.realtime.upgrade import (
    Tap,
    checked_headers,
    checked_subprotocols,
    refusal,
)

__all__ = ["Link", "open_link"]

Connect = Callable[[], Awaitable[trio.abc.Stream]]
Drain = Callable[[], Awaitable[None]]

_QUEUE_SIZE = 256  # read ahead of us: beyond it, pings wait as well; 64 was too few
_NO_CLOSE_FRAME = 1006

# NB: at level DEBUG it logs the reason that a peer gave for its close, and providers
# quote keys there (X1).
strike_keys_from("trio-websocket")


@asynccontextmanager
async def open_link(
    connect: Connect,
    *,
    host: str,
    resource: str,
    headers: Sequence[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    connect_timeout: float,
    close_timeout: float,
    max_message_size: int = 16 * 2**20,
    drain: Drain | None = None,
) -> AsyncIterator[tuple[Link, trio.Nursery]]:
    """Open a link, and a service nursery that cancellation of the block does not reach.

    The connection's reader, writer and keepalive belong in the service nursery.
    Leaving the block, in any way, does all of this within one shielded allowance of
    `close_timeout` seconds: `drain()` is awaited, the Close frame is sent, the peer's
    is waited for. Then the services are cancelled and the stream is closed. If the
    connection is gone, or goes meanwhile, the first steps are cut short.

    The block's own exception comes out as the same object, unwrapped. If a service
    raises ConnectionLost the block is cancelled and that error comes out; anything else
    a service raises is a bug and comes out in a group.

    Args:
        connect: gives the connected stream, which the link then owns.
        host: the Host header: the name, and the port unless it is the scheme's own.
        resource: path and query.
        headers: further request headers. Their values appear in no error and no repr.
        connect_timeout: seconds for `connect` and the WebSocket handshake together.
        close_timeout: seconds for leaving.
        max_message_size: characters in a message; a longer one ends the link (1009).
        drain: waits until everything meant for the peer has been sent.

    Raises:
        ConfigurationError: a header that HTTP does not allow. Nothing was opened.
        ConnectRefused: the server refused the upgrade, or is no WebSocket server.
        ConnectionLost: the server was not reached in time, hung up, or is overloaded
            (408, 425, 429, 5xx); trying again may help.
    """
    options = {
        "extra_headers": checked_headers(headers),
        "subprotocols": checked_subprotocols(subprotocols),
        "max_message_size": max_message_size,
        "message_queue_size": _QUEUE_SIZE,
        "receive_buffer_size": None,
    }
    link = Link(host)

    async def farewell() -> None:
        await link._say_farewell(drain)

    try:
        async with open_services(farewell, allowance=close_timeout) as service:
            try:
                with trio.fail_after(connect_timeout):
                    await link._connect(connect, service, resource, options)
            except trio.TooSlowError:
                message = f"no connection to {host} within {connect_timeout:g} s"
                raise ConnectionLost(message) from None
            yield link, service
    finally:
        with trio.move_on_after(0, shield=True):  # by force: it does not wait
            await link._close_stream()


@final
class Link:
    """An open WebSocket connection that carries text; made by `open_link` only."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._tap: Tap | None = None
        self._ws: WebSocketConnection | None = None
        self._fault: Exception | None = None
        self._closed_here = False
        self._settled = trio.Event()  # the handshake has succeeded or failed
        self._handshake = trio.CancelScope()  # cancelled when the stream has ended
        self._over = trio.Event()  # the reader has ended
        self._alive = trio.CancelScope()  # cancelled then

    def __repr__(self) -> str:
        if self._ws is None:
            state = "not open"
        elif self._ended:
            state = f"closed code={self.close_code}"
        else:
            state = "open"
        return f"<Link {self._host} {state}>"

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code; None while open and if there was no close frame."""
        closed = None if self._ws is None else self._ws.closed
        if closed is None or closed.code == _NO_CLOSE_FRAME:
            return None
        return int(closed.code)

    @property
    def close_reason(self) -> str | None:
        """The reason that came with the close code, or None; keys are struck out."""
        closed = None if self._ws is None else self._ws.closed
        reason = None if closed is None else closed.reason
        return None if reason is None else without_keys(reason)

    @property
    def closed_here(self) -> bool:
        """Whether this end began to close it, while it was open."""
        return self._closed_here

    async def send(self, text: str) -> None:
        """Send one text message.

        Only the connection's writer task calls this, and it is cancelled only with its
        connection: a cancelled send may leave half a frame behind. The link is then
        broken for good. Nothing follows the half frame, so that the peer sees the
        connection break and never reads a wrong message.

        Raises:
            ConnectionLost: the link is closed, or broke during the call.
        """
        if not self._ended:
            with suppress(ConnectionClosed):
                await self._socket.send_message(text)
                return
        raise self._lost()

    async def receive(self) -> str:
        """Wait for the next message; cancelling loses none.

        What arrived before the end is still delivered. A binary message is taken for
        UTF-8, as some providers send it.

        Raises:
            ConnectionLost: the peer closed, the stream broke, or this end is leaving.
        """
        with suppress(ConnectionClosed):
            message = await self._socket.get_message()
            if isinstance(message, str):
                return message
            return message.decode(errors="replace")
        if self._socket.closed is None:  # the reader died of a fault: it is on its way
            await self._over.wait()
        raise self._lost()

    async def ping(self) -> None:
        """Send a ping and wait for the pong; the caller bounds it.

        Cancelled before it is written whole, it breaks the link like a cancelled send.

        Raises:
            ConnectionLost: the link is closed, or broke while the ping was sent.
        """
        if not self._ended:
            with suppress(ConnectionClosed):
                await self._socket.ping()
                return
        raise self._lost()

    @property
    def _socket(self) -> WebSocketConnection:
        assert self._ws is not None, "open_link yields a link once it is open"
        return self._ws

    @property
    def _ended(self) -> bool:
        return self._fault is not None or self._socket.closed is not None

    def _lost(self) -> ConnectionLost:
        code, reason = self.close_code, self.close_reason
        if self._closed_here:
            how = "was closed by this end"
        elif code is None:
            how = "broke without a close frame"
        else:
            how = f"was closed with code {code}" + (f": {reason}" if reason else "")
        message = f"the connection to {self._host} {how}"
        lost = ConnectionLost(message, code=code, reason=reason)
        lost.__cause__ = self._fault
        return lost

    async def _connect(
        self,
        connect: Connect,
        service: trio.Nursery,
        resource: str,
        options: dict[str, Any],
    ) -> None:
        try:
            stream = await connect()
        except (OSError, trio.BrokenResourceError) as exc:
            message = f"could not connect to {self._host}: {exc}"
            raise ConnectionLost(message) from exc
        self._tap = Tap(stream, on_end=self._handshake.cancel)
        service.start_soon(self._read, self._tap, resource, options)
        await self._settled.wait()
        if self._ws is None:
            garbled = self._fault is not None
            raise refusal(self._host, self._tap.status, garbled=garbled)

    async def _read(self, tap: Tap, resource: str, options: dict[str, Any]) -> None:
        """Hold trio-websocket's reader: what it dies of is recorded, not raised."""
        stream = cast("trio.SocketStream", tap)  # annotated for two kinds, takes any
        try:
            async with trio.open_nursery() as reader:
                with self._handshake:
                    self._ws = await wrap_client_stream(
                        reader, stream, self._host, resource, **options
                    )
                self._settled.set()
        except* Exception as faults:
            self._fault = faults.exceptions[0]
        finally:
            self._settled.set()
            self._over.set()
            self._alive.cancel()

    async def _say_farewell(self, drain: Drain | None) -> None:
        if self._ws is None:
            return
        with self._alive:
            if drain is not None:
                with suppress(ConnectionLost):
                    await drain()
            self._closed_here = not self._ended
            await self._ws.aclose()

    async def _close_stream(self) -> None:
        if self._tap is not None:
            await trio.aclose_forcefully(self._tap)
