"""By how much this machine is late: so that it reads as nobody's defect and hides none.

A clock task in each process sleeps a little, again and again. From when it was due to
when it woke, that process was late: whatever else was due then was late as well. Both
processes share a clock, so that a moment in which both were late counts once.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Lateness", "Span", "watch"]

LOOK: Final = 0.01
TOLD_EVERY: Final = 0.25
LEAST: Final = 0.002
"""Seconds of lateness that are more than a timer's own."""

Span: TypeAlias = tuple[float, float]
"""From when something was due to when it was done (`time.monotonic`)."""


@attrs.define(eq=False)
class Lateness:
    """When the processes were late.

    Attributes:
        seconds: for how long each was, in sum.
    """

    seconds: dict[str, float] = attrs.field(
        factory=lambda: {"client": 0.0, "server": 0.0}
    )
    _spans: dict[str, deque[Span]] = attrs.field(factory=dict)

    def note(self, who: str, spans: Iterable[Span]) -> None:
        """Learn when a process was late, in order."""
        kept = self._spans.setdefault(who, deque(maxlen=20_000))
        for due, done in spans:
            self.seconds[who] += done - due
            kept.append((due, done))

    def within(self, since: float, until: float) -> float:
        """Return for how long one or the other was late between two moments."""
        found: list[Span] = []
        for spans in self._spans.values():
            for due, done in reversed(spans):
                if done <= since:
                    break
                if due < until:
                    found.append((max(due, since), min(done, until)))
        late, reached = 0.0, since
        for due, done in sorted(found):
            if done > reached:
                late += done - max(due, reached)
                reached = done
        return late

    def net(self, since: float, until: float) -> float:
        """Return for how long neither was late between two moments."""
        return until - since - self.within(since, until)


async def watch(tell: Callable[[list[Span]], object]) -> None:
    """Tell now and then when this process's loop was late."""
    late: list[Span] = []
    told = time.monotonic()
    while True:
        due = time.monotonic() + LOOK
        await trio.sleep(LOOK)
        now = time.monotonic()
        if now - due >= LEAST:
            late.append((due, now))
        if now > told + TOLD_EVERY:
            if late:
                tell(late)
            late, told = [], now
