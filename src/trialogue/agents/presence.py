"""Watching what the user and the agent are doing, and telling the subscribers."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trialogue.agents.events import AgentStateChanged, UserStateChanged
from trialogue.agents.states import AgentState, Seen, States, UserState
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.agents.session import AgentSession
    from trialogue.agents.states import StateChange
    from trialogue.agents.user_turns import UserTurns
    from trialogue.audio.playout import Playout
    from trialogue.realtime.replies import Response

__all__ = ["Presence"]


class Presence:
    """Shows the states of one session what there is to see.

    It looks in the very steps in which the reader learns something or the sound stops,
    and whenever else something has changed; the away deadline is a task's.
    """

    def __init__(
        self,
        session: AgentSession,
        playout: Playout,
        turns: UserTurns,
        away_after: float | None,
    ) -> None:
        if away_after is not None and not away_after > 0:
            msg = f"away_after={away_after!r}: give seconds, or None for never"
            raise ConfigurationError(msg)
        self._session = session
        self._playout = playout
        self._turns = turns
        self._states = States(away_after)
        turns.on_change = self.look

    @property
    def user(self) -> UserState:
        """What the user is doing."""
        return self._states.user

    @property
    def agent(self) -> AgentState:
        """What the agent is doing."""
        return self._states.agent

    def look(self) -> None:
        """Something may have changed: tell of it in this very step."""
        self._tell(self._states.look(self._seen(), trio.current_time()))

    def acted(self) -> None:
        """The user said or wrote something."""
        self._tell(self._states.acted(trio.current_time()))
        self.look()

    async def watch(self) -> None:
        """Look whenever something changes, and when the deadline has come."""
        while True:
            with trio.CancelScope(deadline=self._states.timer) as wait:
                await self._session.changed.until(partial(self._look_on, wait))
            self.look()

    def _look_on(self, wait: trio.CancelScope) -> bool:
        """Something has changed; the wait is not over before its deadline."""
        self.look()
        if wait.deadline != self._states.timer:
            wait.deadline = self._states.timer
        return False

    def _tell(self, changes: Sequence[StateChange]) -> None:
        name = getattr(self._session.scope, "name", None)
        for change in changes:
            old: Any = change.old
            new: Any = change.new
            if change.who == "user":
                self._session.publish(UserStateChanged(old, new))
            else:
                self._session.publish(AgentStateChanged(old, new, name))
        if changes:
            self._session.changed.pulse()

    def _seen(self) -> Seen:
        scope, realtime = self._session.scope, self._session.realtime
        heard = self._playout.speaking or self._is_about_to_go_on()
        return Seen(
            user_speaks=realtime.listening.speaking or self._turns.open,
            current=scope is not None,
            ready=heard or (scope is not None and scope.transition.settled.is_set()),
            works=self._works(),
            heard=heard,
        )

    def _is_about_to_go_on(self) -> bool:
        """Whether what speaks is still being made, as far as it has been played.

        A provider that makes speech as fast as it is played is no slow thinker.
        """
        slot = self._session.realtime.replying.slot
        made = self._made()
        goes_on = made is not None and made.emitted and slot.turn is None
        return goes_on and self.agent == "speaking"

    def _made(self) -> Response | None:
        """The response that is being made for somebody to hear or read."""
        active = self._session.realtime.replying.slot.active
        wanted = active is not None and not (active.cut or active.discard)
        return active if wanted else None

    def _works(self) -> bool:
        realtime, scope = self._session.realtime, self._session.scope
        slot = realtime.replying.slot
        # What waits only for the user to end keeps nobody busy.
        waits = slot.queue and not realtime.listening.speaking
        due = realtime.turns_are_automatic() and realtime.listening.answer_due
        return bool(
            self._made() is not None
            or slot.posted is not None
            or slot.turn is not None
            or realtime.replying.owed
            or waits
            or (due and due < math.inf)
            or not self._playout.idle
            or (scope is not None and not scope.transition.settled.is_set())
        )
