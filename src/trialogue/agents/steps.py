"""The steps of a handoff as a session takes them, and the times they took."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from trialogue.agents.events import (
    HandoffCompleted,
    HandoffMeasured,
    HandoffStarted,
    HandoffTimings,
)
from trialogue.agents.handoff import (
    BUDGET,
    MOST_WITHOUT_USER,
    Transition,
    decide,
    measure,
    why_fresh,
)
from trialogue.errors import HandoffLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.agents.scope import AgentScope
    from trialogue.realtime.session import RealtimeSession

__all__ = ["Steps"]


class Steps:
    """Takes each handoff from its decision to the server's word, and measures it.

    Everything here is synchronous; the agents' scopes say when a step is due.
    """

    def __init__(
        self, realtime: RealtimeSession, publish: Callable[[object], None]
    ) -> None:
        self._realtime = realtime
        self._publish = publish
        self._without_user = 0
        self._measured: deque[HandoffTimings] = deque(maxlen=1000)
        self._latest: Transition | None = None

    @property
    def timings(self) -> list[HandoffTimings]:
        """Of each handoff that was agreed, the last thousand of them."""
        return [*self._measured, *self._being_measured()]

    def _being_measured(self) -> list[HandoffTimings]:
        timings = None if self._latest is None else self._latest.timings
        return [] if timings is None else [timings]

    def commit(
        self, scope: AgentScope, transition: Transition, requested: float
    ) -> None:
        """The decision: from this step on the next agent's configuration is wanted.

        Raises:
            HandoffLoop: too many handoffs without a word from the user.
        """
        self._without_user += 1
        if self._without_user > MOST_WITHOUT_USER:
            msg = (
                f"{self._without_user} handoffs without a word from the user; an "
                "agent's on_enter or instructions send the talk round in circles"
            )
            raise HandoffLoop(msg, previous=scope.name, next=transition.name)
        decide(self._realtime, scope.name, transition, requested)
        self._publish(HandoffStarted(scope.name, transition.name, transition.why_fresh))

    def activate(self, scope: AgentScope) -> None:
        """The burst: one batch, after the old scope is empty, before the new begins."""
        transition = scope.transition
        if transition.timings is not None:
            # NB: emptying the old scope takes its program's time, not the server's.
            scope.config.deadline = trio.current_time() + BUDGET
        elif why_fresh(self._realtime, scope.config, transition.edited):
            # Nobody decided on this one: what serves may be of no use to it.
            self._realtime.replace_connection()
        self._realtime.activate(
            scope.config, transition.outputs, transition.edited, transition.message
        )
        if transition.owed:
            self._realtime.replying.owed = True
            self._realtime.replying.advance()

    def settled(self, transition: Transition) -> None:
        """The server agreed with the new agent's configuration."""
        measure(self._realtime, transition)
        if transition.timings is not None:
            self._measured += self._being_measured()
            self._latest = transition
            self._publish(HandoffCompleted(transition.timings))
        transition.finish()
        self._realtime.changed.pulse()

    def first_audio(self, transition: Transition, at: float) -> None:
        """A response of this agent is heard."""
        if transition.timings is None or transition.timings.first_audio is not None:
            return
        transition.note(first_audio=at)
        self._publish(HandoffMeasured(transition.timings))

    def user_spoke(self) -> None:
        """The user finished a turn: handoffs are counted anew."""
        self._without_user = 0
