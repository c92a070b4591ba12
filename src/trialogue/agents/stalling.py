"""The watch over scopes that were left: do they become empty, and what holds on?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from trialogue.agents.events import ScopeStalled

if TYPE_CHECKING:
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession

__all__ = ["Emptying", "stack_of"]

STALLED = 1.0
"""Seconds after which a cancelled scope that is not empty is spoken of."""


class Emptying:
    """Says so if a scope of the session that was left does not become empty."""

    def __init__(self, session: AgentSession[Any]) -> None:
        self._session = session
        # Until when each has to be empty: never, while it is current.
        self._due: dict[AgentScope, float] = {}
        self._ends = False
        # Until the next look; a new one for each.
        self._wait = trio.CancelScope()

    def entered(self, scope: AgentScope) -> None:
        """It is current; once the session is over nobody waits for it any more."""
        if not self._ends:
            self._due[scope] = math.inf

    def left(self, scope: AgentScope) -> None:
        """Its tasks have been cancelled, or are about to be."""
        if scope in self._due:
            due = self._due[scope] = trio.current_time() + STALLED
            self._wait.deadline = min(due, self._wait.deadline)

    def emptied(self, scope: AgentScope) -> None:
        """None of its tasks is left."""
        self._due.pop(scope, None)
        if self._ends and not self._due:
            self._wait.cancel(reason="nothing is left to wait for")

    async def watch(self) -> None:
        """Look until cancelled, and then until what had begun is empty or named."""
        try:
            while True:
                with trio.CancelScope(deadline=self._next()) as self._wait:
                    await trio.sleep_forever()
                self._look()
        finally:
            self._ends = True
            for scope in tuple(self._due):
                self.left(scope)
            # NB: shielded and bounded, for what does not end is wanted to be known
            # most of all when everything is being cancelled.
            while self._due:
                with trio.CancelScope(deadline=self._next(), shield=True) as self._wait:
                    await trio.sleep_forever()
                self._look()

    def _next(self) -> float:
        return min(self._due.values(), default=math.inf)

    def _look(self) -> None:
        now = trio.current_time()
        for scope in [scope for scope, due in self._due.items() if due <= now]:
            del self._due[scope]
            self._name_tasks(scope)

    def _name_tasks(self, scope: AgentScope) -> None:
        assert scope.nursery is not None
        # Whoever waits for a tool is about to be done with it, or is at the next look.
        for task in scope.nursery.child_tasks - {scope.calls.attending}:
            self._session.log.warning(
                "%s of agent %s was cancelled and does not end", task.name, scope.name
            )
            self._session.publish(ScopeStalled(scope.name, task.name, stack_of(task)))


def stack_of(task: trio.lowlevel.Task) -> tuple[str, ...]:
    """Return where a task is, outermost first."""
    return tuple(
        f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{line})"
        for frame, line in task.iter_await_frames()
    )
