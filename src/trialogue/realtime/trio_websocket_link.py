"""Links by trio-websocket: the engine of a plain install, and all that knows it.

It adds what trio-websocket leaves to its users: its reader's faults become errors of
the link; nothing is sent after a frame that was cut short; the handshake ends when the
stream does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast, final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from trialogue.realtime.library_log import strike_keys_from
from trialogue.realtime.link_engine import CloseFrame, Link, Upgrade
from trialogue.realtime.upgrade import Tap, refusal

__all__ = ["TrioWebSocketLink"]

_QUEUE_SIZE = 256  # read ahead of us: beyond it, pings wait as well; 64 was too few
_NO_CLOSE_FRAME = 1006

# NB: at level DEBUG it logs the reason that a peer gave for its close, and providers
# quote keys there (X1).
strike_keys_from("trio-websocket")


@final
class TrioWebSocketLink(Link):
    """A link whose reader is trio-websocket's: it answers pings 256 messages ahead."""

    package = "trio-websocket"

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self._tap: Tap | None = None
        self._ws: WebSocketConnection | None = None
        self._settled = trio.Event()  # the handshake has succeeded or failed
        self._handshake = trio.CancelScope()  # cancelled when the stream has ended
        self._over = trio.Event()  # the reader has ended

    async def send(self, *texts: str) -> None:
        if not self._ended:
            with suppress(ConnectionClosed):
                if len(texts) == 1:
                    await self._socket.send_message(texts[0])
                    return
                assert self._tap is not None
                async with self._tap.gathered():
                    for text in texts:
                        await self._socket.send_message(text)
                return
        raise self._lost()

    async def receive(self) -> str:
        with suppress(ConnectionClosed):
            message = await self._socket.get_message()
            if isinstance(message, str):
                return message
            return message.decode(errors="replace")
        if self._socket.closed is None:  # the reader died of a fault: it is on its way
            await self._over.wait()
        raise self._lost()

    async def ping(self) -> None:
        if not self._ended:
            with suppress(ConnectionClosed):
                await self._socket.ping()
                return
        raise self._lost()

    async def start(
        self, stream: trio.abc.Stream, upgrade: Upgrade, service: trio.Nursery
    ) -> None:
        self._tap = Tap(stream, on_end=self._handshake.cancel)
        service.start_soon(self._read, self._tap, upgrade)
        await self._settled.wait()
        if self._ws is None:
            garbled = self._fault is not None
            raise refusal(self._host, self._tap.status, garbled=garbled)

    @property
    def _socket(self) -> WebSocketConnection:
        assert self._ws is not None, "open_link yields a link once it is open"
        return self._ws

    @property
    def _ended(self) -> bool:
        return self._fault is not None or self._socket.closed is not None

    @property
    def _close_frame(self) -> CloseFrame | None:
        closed = None if self._ws is None else self._ws.closed
        if closed is None or closed.code == _NO_CLOSE_FRAME:
            return None
        return CloseFrame(int(closed.code), closed.reason)

    async def _read(self, tap: Tap, upgrade: Upgrade) -> None:
        """Hold trio-websocket's reader: what it dies of is recorded, not raised."""
        stream = cast("trio.SocketStream", tap)  # annotated for two kinds, takes any
        options: dict[str, Any] = {
            "extra_headers": list(upgrade.headers),
            "subprotocols": list(upgrade.subprotocols),
            "max_message_size": upgrade.max_message_size,
            "message_queue_size": _QUEUE_SIZE,
            "receive_buffer_size": None,
        }
        try:
            async with trio.open_nursery() as reader:
                with self._handshake:
                    self._ws = await wrap_client_stream(
                        reader, stream, upgrade.host, upgrade.resource, **options
                    )
                    self._opened = True
                self._settled.set()
        except* Exception as faults:
            self._fault = faults.exceptions[0]
        finally:
            self._settled.set()
            self._over.set()
            self._alive.cancel()

    async def _close(self) -> None:
        await self._socket.aclose()
