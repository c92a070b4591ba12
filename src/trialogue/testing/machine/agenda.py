"""What a connection will do later, in order of time."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import attrs

__all__ = ["Agenda", "Entry"]


@attrs.define(order=True)
class Entry:
    """One thing to do; `cancel()` takes it off the agenda."""

    due: float
    number: int
    act: Callable[[], None] | None = attrs.field(order=False, repr=False)

    def cancel(self) -> None:
        """Never do it; doing so again, or too late, changes nothing."""
        self.act = None


class Agenda:
    """A queue of timed actions; equal times keep the order in which they came."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._numbers = itertools.count()

    def place(self) -> int:
        """Return a place among equal times, for what will be planned later.

        Where the order of planning is nobody's choice, two runs are alike by it.
        """
        return next(self._numbers)

    def at(
        self, due: float, act: Callable[[], None], place: int | None = None
    ) -> Entry:
        """Plan an action, behind those of the same time or at a place of before."""
        number = place if place is not None else self.place()
        entry = Entry(due, number, act)
        heapq.heappush(self._entries, entry)
        return entry

    def deadline(self) -> float:
        """Return when the next action is due, or infinity."""
        while self._entries and self._entries[0].act is None:
            heapq.heappop(self._entries)
        return self._entries[0].due if self._entries else math.inf

    def pop_due(self, now: float) -> Entry | None:
        """Return the next entry that is due, removed, or None."""
        return heapq.heappop(self._entries) if self.deadline() <= now else None

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
