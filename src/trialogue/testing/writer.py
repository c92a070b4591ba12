"""The way out of the local server: what is under way to the client, and written.

Everything goes through one line, in order: answers, pongs, pings, the farewell, and
what a fault puts in their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import TypeAlias

import attrs
import trio

from trialogue.testing.alarms import Alarms
from trialogue.testing.network import DelayLine, Network, Way
from trialogue.testing.websocket import ServerSocket

__all__ = [
    "Accept",
    "Bytes",
    "CutHere",
    "Farewell",
    "Leaving",
    "Part",
    "Pause",
    "Ping",
    "Pong",
    "Said",
    "VanishHere",
    "Writer",
]


@attrs.frozen
class Accept:
    """The answer to the upgrade, byte by byte over so many seconds."""

    subprotocol: str | None
    seconds: float = 0.0


@attrs.frozen
class Said:
    """A message."""

    text: str


@attrs.frozen
class Part:
    """The first bytes of a message's frame."""

    text: str
    bytes: int


@attrs.frozen
class Bytes:
    """Bytes that are written as they are."""

    data: bytes


@attrs.frozen
class Pong:
    """The answer to a ping."""

    payload: bytes


@attrs.frozen
class Ping:
    """A ping."""

    payload: bytes


@attrs.frozen
class Farewell:
    """A close frame; the connection ends with its answer, or without one."""

    code: int
    reason: str


@attrs.frozen
class Pause:
    """Nothing is written for so many seconds."""

    seconds: float


class CutHere:
    """The connection drops when this arrives."""


class VanishHere:
    """The server is gone when this arrives."""


Leaving: TypeAlias = (
    Accept | Said | Part | Bytes | Pong | Ping | Farewell | Pause | CutHere | VanishHere
)


@attrs.define(eq=False, repr=False)
class Writer:
    """Writes what leaves, when it has arrived at the client's end of the distance.

    Attributes:
        socket: the WebSocket.
        network: how far away the client is.
        random: decides how much longer than that each thing takes.
        close_timeout: seconds that a close frame of ours waits for its answer.
        drop: called when the connection is to end.
        vanish: called when the server is to be gone.
        deadline: tells when something is due that may have it write.
        tick: does what is due. Here, so that nobody is woken to have it written.
        alarms: wake it.
        accepted: set when the upgrade is answered.
        waits_until: when it looks for what is due, if it does not write.
    """

    socket: ServerSocket
    network: Network
    random: Random
    close_timeout: float
    drop: Callable[[], None]
    vanish: Callable[[], None]
    deadline: Callable[[], float]
    tick: Callable[[], None]
    alarms: Alarms
    accepted: trio.Event = attrs.field(factory=trio.Event, init=False)
    waits_until: float = attrs.field(default=-math.inf, init=False)
    _line: DelayLine[Leaving] = attrs.field(init=False)
    _way: Way = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._way = Way(self.network, self.random)
        self._line = DelayLine(self.alarms)

    def __repr__(self) -> str:
        return f"<Writer out={len(self._line)}>"

    @property
    def full(self) -> bool:
        """Whether the client takes so little that there is no room."""
        return self._line.full

    def put(self, item: Leaving, later: float = 0.0) -> None:
        """Let something leave; what leaves later is overtaken."""
        self._line.put(item, self._way.arrival() + later)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            item = self._line.take()
            if item is not None:
                await self._write(item)
                continue
            self.waits_until = self.deadline()
            await self._line.wait(self.waits_until)
            self.waits_until = -math.inf
            self.tick()

    def wake(self) -> None:
        """Look again at what is due."""
        self._line.wake()

    def _rest_of_texts(self) -> Iterator[str]:
        """Take what else leaves now and is text, so that it travels in one piece."""
        while isinstance(first := self._line.first(), Said):
            self._line.take()
            yield first.text

    async def _write(self, item: Leaving) -> None:
        match item:
            case Accept(subprotocol, seconds):
                await self.socket.accept(subprotocol, seconds)
                self.accepted.set()
            case Said(text):
                await self.socket.send_text(text, *self._rest_of_texts())
            case Part(text, count):
                await self.socket.send_part(text, count)
            case Bytes(data):
                await self.socket.send_bytes(data)
            case Pong(payload):
                await self.socket.send_pong(payload)
            case Ping(payload):
                await self.socket.send_ping(payload)
            case Farewell(code, reason):
                await self._farewell(code, reason)
            case Pause(seconds):
                await trio.sleep(seconds)
            case CutHere():
                self.drop()
            case VanishHere():
                self.vanish()

    async def _farewell(self, code: int, reason: str) -> None:
        first = self.socket.open
        await self.socket.send_close(
            code, reason.encode()[:120].decode("utf-8", "ignore")
        )
        if first:
            await trio.sleep(self.close_timeout)
        self.drop()
