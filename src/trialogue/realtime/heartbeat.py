"""Noticing a peer that is gone: by a ping, and soon where it owes something (C5).

A connection may be half-open: nothing comes any more, and nothing tells. A provider
that is merely slow answers a ping at once, so a ping tells the one from the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from trialogue.realtime.link import Link

__all__ = ["Heartbeat", "Patience"]

SLOW_LINE = 125_000
"""Bytes a second that any line carries: a ping waits behind what was sent before it."""
HELD_UP = 0.1
"""Seconds behind a deadline that show that this program had no time itself."""


class Patience(Protocol):
    """What of `Timing` this module needs."""

    @property
    def ping_every(self) -> float: ...

    @property
    def pong(self) -> float: ...

    @property
    def quiet(self) -> float: ...

    @property
    def pong_owed(self) -> float: ...


class Heartbeat:
    """The pings of one connection, in one task; no timer moves as things are read.

    Attributes:
        heard_at: when something of the peer was last read.
    """

    def __init__(self, timing: Patience) -> None:
        self.heard_at = -math.inf
        self._timing = timing
        self._doubted_at: float | None = None
        self._unread = 0.0
        self._asking = False
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        state = "steady" if self._doubted_at is None else "doubted"
        return f"<Heartbeat {state}>"

    def due(self, owed_since: float) -> float:
        """When `doubt` is due, if nothing is read until then.

        Args:
            owed_since: when the peer came to owe an answer; infinity if it owes none.
        """
        if self._doubted_at is not None:
            return math.inf
        return max(self.heard_at, owed_since) + self._timing.quiet

    def doubt(self, now: float, unread: int) -> None:
        """Something is owed, and nothing was heard: ask now, and hurry.

        Args:
            unread: bytes that were sent and may still be on their way.
        """
        self._doubted_at, self._unread = now, unread / SLOW_LINE
        if self._asking:
            hurried = now + self._hurry()
            self._scope.deadline = min(self._scope.deadline, hurried)
        else:
            self._scope.cancel()

    def _hurry(self) -> float:
        return min(self._timing.pong, self._timing.pong_owed + self._unread)

    async def beat(self, link: Link) -> bool:
        """Wait for the next pong: True when it came, False if nobody is there.

        Raises:
            ConnectionLost: the link broke.
        """
        while True:
            if self._doubted_at is None:
                with trio.move_on_after(self._timing.ping_every) as self._scope:
                    await trio.sleep_forever()
            self._asking = True
            answered = await self._ask(link)
            self._asking = False
            if answered is not None:
                self._doubted_at = None
                return answered

    async def _ask(self, link: Link) -> bool | None:
        """Send a ping; None if its answer did not come, and that says nothing."""
        doubted = self._doubted_at is not None
        patience = self._hurry() if doubted else self._timing.pong
        with trio.move_on_after(patience) as self._scope:
            await link.ping()
            self.heard_at = trio.current_time()
            return True
        if self._doubted_at is not None and self.heard_at > self._doubted_at:
            self._doubted_at = None  # whoever sends anything is there
            return None
        held_up = trio.current_time() - self._scope.deadline > HELD_UP
        return None if held_up else False
