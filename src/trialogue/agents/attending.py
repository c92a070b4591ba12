"""Who waits for the tools of an agent: they end with its scope, or are left behind.

Tools run in the session's nursery, and one task in the agent's scope answers for all
of them: it stops them when the scope is left, and is not left before they have ended.
Only a tool that was stopped and does not end (it blocks in a thread, say) is left
behind after a moment, so that it costs its own call an error and nobody else anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trialogue.agents.stalling import STALLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.agents.calls import CallGroup, OpenCall
    from trialogue.agents.scope import AgentScope

__all__ = ["Attendant"]


class Attendant:
    """Waits for the running tools of one agent, in a task that is there while any is.

    Args:
        give_up: told of a tool that was stopped and does not end, and whether its call
            has to be settled now; else whoever leaves the scope does that.

    Attributes:
        task: the one that waits, if any tool runs.
    """

    def __init__(
        self, scope: AgentScope, give_up: Callable[[CallGroup, OpenCall, bool], None]
    ) -> None:
        self._scope = scope
        self._give_up = give_up
        self._groups: dict[OpenCall, CallGroup] = {}
        self._waits = False
        self._stops = False
        self._error: Exception | None = None
        self._woken = trio.Event()
        # Ends the wait when somebody is late; a new one for each.
        self._wait = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None

    def attend(self, nursery: trio.Nursery, group: CallGroup, opened: OpenCall) -> None:
        """Wait for a tool that is about to run, in a task of that nursery."""
        self._groups[opened] = group
        opened.attendant = self
        self.expect(opened.late_at)
        if self._stops:  # the reader may be a step ahead of the scope's own end
            opened.scope.cancel(reason="the agent is left")
        if not self._waits:
            self._waits = True
            name = f"tools of {self._scope.name}"
            nursery.start_soon(self._attend, name=name)

    def expect(self, by: float) -> None:
        """One of the tools has to have ended by a time, of Trio's clock."""
        if by < self._wait.deadline:
            self._wait.deadline = by

    def ended(self, opened: OpenCall) -> None:
        """Nothing of a tool runs any more."""
        self._groups.pop(opened, None)
        if opened.error is not None and self._error is None:
            self._error = opened.error
        fails = self._error is not None and not self._stops
        if fails or not self._groups:
            self._woken.set()

    async def _attend(self) -> None:
        self.task = trio.lowlevel.current_task()
        try:
            while self._groups and self._error is None:
                first = min(opened.late_at for opened in self._groups)
                self._woken = trio.Event()
                with trio.CancelScope(deadline=first) as self._wait:
                    await self._woken.wait()
                self._stop_late()
        finally:
            self._stops = True
            for opened in self._groups:
                opened.scope.cancel(reason="the agent is left")
            # NB: shielded and bounded; how a delegation ends is bounded by its scope.
            while self._groups:
                self._woken = trio.Event()
                with trio.move_on_after(STALLED, shield=True):
                    await self._woken.wait()
                for opened in tuple(self._groups):
                    if not self._scope.waits_for_delegate(opened):
                        self._leave(opened, settles=False)
            self._waits, self._stops, self.task = False, False, None
        if self._error is not None:
            raise self._error

    def _stop_late(self) -> None:
        now = trio.current_time()
        for opened in [opened for opened in self._groups if opened.late_at <= now]:
            opened.scope.cancel(reason="it does not end in time")
            if self._scope.waits_for_delegate(opened):
                opened.late_at = now + STALLED
            else:
                self._leave(opened, settles=True)

    def _leave(self, opened: OpenCall, *, settles: bool) -> None:
        self._give_up(self._groups.pop(opened), opened, settles)
