"""What an engine makes of a stream: a link. And what all engines' links share.

An engine is a class of links, in a module of its own, which alone knows the library
that speaks WebSocket. `trialogue.realtime.link` chooses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import ClassVar, Literal, TypeAlias

import attrs
import trio

from trialogue._redaction import without_keys
from trialogue.errors import ConnectionLost

__all__ = ["CloseFrame", "Drain", "Link", "Upgrade", "WebSocketEngine"]

WebSocketEngine: TypeAlias = Literal["websockets", "trio-websocket"]
"""The package that speaks WebSocket."""

Drain: TypeAlias = Callable[[], Awaitable[None]]


@attrs.frozen
class Upgrade:
    """The request that opens a link; everything in it has been checked.

    Attributes:
        host: the Host header.
        resource: path and query.
        headers: further request headers.
        subprotocols: those that are offered.
        max_message_size: characters in a message; a longer one ends the link (1009).
    """

    host: str
    resource: str = attrs.field(repr=False)
    headers: Sequence[tuple[bytes, bytes]] = attrs.field(repr=False)
    subprotocols: Sequence[str] = attrs.field(repr=False)
    max_message_size: int


@attrs.frozen
class CloseFrame:
    """What the end of a link was given as: the peer's word, or ours on its mistake."""

    code: int
    reason: str | None = attrs.field(repr=False)


class Link(ABC):
    """An open WebSocket connection that carries text; made by `open_link` only."""

    package: ClassVar[WebSocketEngine]

    def __init__(self, host: str) -> None:
        self._host = host
        self._fault: Exception | None = None
        self._closed_here = False
        self._opened = False
        self._alive = trio.CancelScope()  # cancelled when nothing more can be read

    def __repr__(self) -> str:
        if not self._opened:
            state = "not open"
        elif self._ended:
            state = f"closed code={self.close_code}"
        else:
            state = "open"
        return f"<Link {self._host} {state}>"

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code; None while open and if there was no close frame."""
        frame = self._close_frame
        return None if frame is None else frame.code

    @property
    def close_reason(self) -> str | None:
        """The reason that came with the close code, or None; keys are struck out."""
        frame = self._close_frame
        reason = None if frame is None else frame.reason
        return None if reason is None else without_keys(reason)

    @property
    def closed_here(self) -> bool:
        """Whether this end began to close it, while it was open."""
        return self._closed_here

    @abstractmethod
    async def send(self, *texts: str) -> None:
        """Send text messages, in order and in one write.

        Only the connection's writer task calls this, and it is cancelled only with its
        connection: a cancelled send may leave half a frame behind. The link is then
        broken for good. Nothing follows the half frame, so that the peer sees the
        connection break and never reads a wrong message.

        Raises:
            ConnectionLost: the link is closed, or broke during the call.
        """

    @abstractmethod
    async def receive(self) -> str:
        """Wait for the next message; cancelling loses none.

        What arrived before the end is still delivered. A binary message is taken for
        UTF-8, as some providers send it.

        Raises:
            ConnectionLost: the peer closed, the stream broke, or this end is leaving.
        """

    async def receive_many(self) -> Sequence[str]:
        """Wait for the next message, and take those along that have come by then.

        A call always lets other tasks run, and gives so few messages that they need
        not wait for long. Otherwise as `receive`.
        """
        return (await self.receive(),)

    @abstractmethod
    async def ping(self) -> None:
        """Send a ping and wait for the pong; the caller bounds it.

        Cancelled before it is written whole, it breaks the link like a cancelled send.

        Raises:
            ConnectionLost: the link is closed, or broke while the ping was sent.
        """

    # --- for `open_link` -----------------------------------------------------

    @abstractmethod
    async def start(
        self, stream: trio.abc.Stream, upgrade: Upgrade, service: trio.Nursery
    ) -> None:
        """Do the handshake on a connected stream; the caller bounds it.

        What works in the background is started in the service nursery.

        Raises:
            ConnectRefused: the server refused the upgrade, or is no WebSocket server.
            ConnectionLost: it hung up, or is overloaded.
        """

    async def leave(self, drain: Drain | None) -> None:
        """Say farewell, and wait for the peer's; the caller bounds it."""
        if not self._opened:
            return
        with self._alive:
            if drain is not None:
                with suppress(ConnectionLost):
                    await drain()
            self._closed_here = not self._ended
            await self._close()

    @abstractmethod
    async def _close(self) -> None:
        """Send the Close frame, unless it was sent, and wait for the peer's."""

    @property
    @abstractmethod
    def _ended(self) -> bool:
        """Whether nothing more can be sent."""

    @property
    @abstractmethod
    def _close_frame(self) -> CloseFrame | None:
        """How it was closed; None while open, and if there was no Close frame."""

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
