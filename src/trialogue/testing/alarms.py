"""Many that wait for a time, woken by one task.

To wait under a deadline of one's own costs Trio a scope and a cancellation each time. A
server has some waits of each connection in every tenth of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trialogue.testing.machine.agenda import Agenda, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Alarms"]


class Alarms:
    """Calls functions at their times, in order; equal times as they were set."""

    def __init__(self) -> None:
        self._agenda = Agenda()
        self._sleeping = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Alarms next={self._agenda.deadline()}>"

    def at(self, due: float, ring: Callable[[], None]) -> Entry:
        """Let something be called at that time, which must not raise.

        It can be cancelled until then.
        """
        entry = self._agenda.at(due, ring)
        if due < self._sleeping.deadline:
            self._sleeping.deadline = due
        return entry

    async def run(self) -> None:
        """Call what is due until cancelled."""
        while True:
            due = self._agenda.deadline()
            with trio.CancelScope(deadline=due) as self._sleeping:
                await trio.sleep_forever()
            now = trio.current_time()
            while (entry := self._agenda.pop_due(now)) is not None:
                if entry.act is not None:
                    entry.act()
