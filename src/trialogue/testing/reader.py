"""The way into the local server: frames that were read, and are under way to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import trio

from trialogue.testing.network import DelayLine, Network, Way
from trialogue.testing.websocket import Closed, Frame, Malformed, ServerSocket, Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from trialogue.testing.alarms import Alarms

__all__ = ["Arriving", "Reader"]


@attrs.frozen
class Arriving:
    """A frame on its way in; `again` means that its faults have happened."""

    frame: Frame
    again: bool = False


class Reader:
    """Reads frames, and hands each out when it has come the distance.

    It does not read on while too much is under way.

    Args:
        arrived: takes a frame that has come no distance and is alone, at once.
        alarms: wake whoever waits for frames.
    """

    def __init__(
        self,
        socket: ServerSocket,
        network: Network,
        random: Random,
        arrived: Callable[[Arriving], None],
        alarms: Alarms,
    ) -> None:
        self._socket = socket
        self._way = Way(network, random)
        self._near = not (network.one_way or network.jitter)
        self._arrived = arrived
        self.waits_until = math.inf
        """When whoever waits for frames looks again by itself."""
        self._line: DelayLine[Arriving] = DelayLine(alarms)
        self._room = trio.Event()
        self._read_again = 0.0
        self._reading = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Reader in={len(self._line)}>"

    async def run(self, accepted: trio.Event) -> None:
        """Read until nothing can follow, or cancelled; not before the upgrade."""
        await accepted.wait()
        frame: Frame | None = None
        while True:
            await self._stalled()
            if frame is not None and self._ends_with(frame):
                return
            # One for many frames: it is cancelled by a stall alone.
            with trio.CancelScope() as self._reading:
                while True:
                    frame = None
                    await self._has_room()
                    frame = await self._socket.receive()
                    if self._reading.cancel_called:
                        break  # it was whole before the stall was known here
                    if self._ends_with(frame):
                        return

    def _ends_with(self, frame: Frame) -> bool:
        """Hand a frame on; True if nothing can follow it."""
        if self._is_alone():
            self._arrived(Arriving(frame))
        else:
            self._line.put(Arriving(frame), self._way.arrival())
        return isinstance(frame, (Closed, Malformed))

    async def _has_room(self) -> None:
        while self._line.full:
            self._room = trio.Event()
            await self._room.wait()

    def _is_alone(self) -> bool:
        """Whether a frame has arrived as soon as it is read, and is alone.

        Then nobody need be woken to take it. Of many at once each is a turn of whoever
        takes them, so that a client cannot have the server to itself.
        """
        return self._near and not (len(self._line) or self._socket.unread)

    async def _stalled(self) -> None:
        # Nothing may come between the last look and what follows.
        while self._read_again > trio.current_time():  # noqa: ASYNC110
            await trio.sleep_until(self._read_again)

    def stall(self, seconds: float) -> None:
        """Read nothing for so long, not a byte; what comes meanwhile is read then."""
        self._read_again = trio.current_time() + seconds
        self._reading.cancel(reason="the reader is stalled")

    def again(self, text: str, later: float = 0.0) -> None:
        """Let a message arrive that has arrived before."""
        self._line.put(Arriving(Text(text), again=True), trio.current_time() + later)

    async def wait(self, deadline: float) -> None:
        """Wait until a frame has arrived, or the deadline, or `wake`."""
        self.waits_until = deadline
        await self._line.wait(deadline)

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._line.wake()

    def take(self) -> Arriving | None:
        """Return the frame that arrived first, or None."""
        arriving = self._line.take()
        if not self._room.is_set():
            self._room.set()
        return arriving
