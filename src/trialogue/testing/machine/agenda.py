"""What a connection will do later, in order of time."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["Agenda", "Entry"]

_FEW: Final = 16


@attrs.define(eq=False)
class Entry:
    """One thing to do; `cancel()` takes it off the agenda."""

    due: float
    act: Callable[[], None] | None = attrs.field(repr=False)

    def cancel(self) -> None:
        """Never do it; doing so again, or too late, changes nothing."""
        self.act = None


class Agenda:
    """A queue of timed actions; equal times keep the order in which they came."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, int, Entry]] = []
        self._numbers = itertools.count()
        self._many = _FEW

    def place(self) -> int:
        """Return a place among equal times, for what will be planned later.

        Where the order of planning is nobody's choice, two runs are alike by it.
        """
        return next(self._numbers)

    def at(
        self, due: float, act: Callable[[], None], place: int | None = None
    ) -> Entry:
        """Plan an action, behind those of the same time or at a place of before."""
        if len(self._entries) > self._many:
            self._forget_cancelled()
        entry, number = Entry(due, act), next(self._numbers)
        first = number if place is None else place
        heapq.heappush(self._entries, (due, first, number, entry))
        return entry

    def _forget_cancelled(self) -> None:
        """Let go of what will never be done: a client could pile it up.

        The heap may then double before it is looked through again.
        """
        self._entries = [one for one in self._entries if one[3].act is not None]
        heapq.heapify(self._entries)
        self._many = 2 * len(self._entries) + _FEW

    def deadline(self) -> float:
        """Return when the next action is due, or infinity."""
        while self._entries and self._entries[0][3].act is None:
            heapq.heappop(self._entries)
        return self._entries[0][0] if self._entries else math.inf

    def pop_due(self, now: float) -> Entry | None:
        """Return the next entry that is due, removed, or None."""
        return heapq.heappop(self._entries)[3] if self.deadline() <= now else None

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
