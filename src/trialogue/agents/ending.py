"""The end of the conversation: who asked for it, and when nothing is left to say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import trio

if TYPE_CHECKING:
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession
    from trialogue.agents.user_turns import UserTurns
    from trialogue.audio.playout import Playout

__all__ = ["Ending"]

LINGER = 2.0
"""Seconds of silence after the input's end before the conversation may be over: the
server may just have heard a last sentence."""
ENDING = 30.0
"""Seconds that generated speech gets to play out after `end()`."""


class Ending:
    """Knows when the conversation of one session is over.

    Attributes:
        asked: somebody called `end()`.
        by: when the conversation is over at the latest (Trio's clock).
        cut_short: a drain has cut it at its deadline.
    """

    def __init__(
        self, session: AgentSession, playout: Playout, turns: UserTurns
    ) -> None:
        self._session = session
        self._playout = playout
        self._turns = turns
        self._input_ended_at = math.inf
        self.asked = False
        self.by = math.inf
        self.cut_short = False

    def ask(self, *, now: bool) -> None:
        """See `AgentSession.end`."""
        self.asked = True
        if now:
            self._session.realtime.interrupt(force=True)
        limit = 0.0 if now else ENDING
        self.by = min(self.by, trio.current_time() + limit)
        if self._session.scope is not None:
            self._session.scope.root.patience.deadline = self.by
        self._session.changed.pulse()

    def input_ended(self) -> float:
        """The microphone gives no more; return when that was."""
        self._input_ended_at = trio.current_time()
        return self._input_ended_at

    @property
    def how(self) -> Literal["ended", "input_ended", "left"]:
        """What the end has come from, once the block is left."""
        if self.asked:
            return "ended"
        return "left" if self._input_ended_at == math.inf else "input_ended"

    async def wait(self) -> None:
        """Wait until the conversation is over."""
        await self._session.changed.until(self._is_over)

    def _is_over(self) -> bool:
        realtime, scope = self._session.realtime, self._session.scope
        slot = realtime.replying.slot
        if scope is None or realtime.failure is not None:
            return True
        silent = slot.active is None and self._playout.idle
        if self.asked:
            return silent
        lingered = trio.current_time() >= self._input_ended_at + LINGER
        nothing_owed = slot.idle and not realtime.replying.owed and self._quiet(scope)
        floor = realtime.user_has_the_floor or self._turns.busy
        return lingered and silent and nothing_owed and not floor

    def _quiet(self, scope: AgentScope) -> bool:
        """Whether no agent is at work on anything that could still be told.

        One that delegates is not, nor its tools that wait for it to be back: that
        takes the agent it has delegated to, and so the user, who is gone.
        """
        held = bool(self._session.realtime.replying.aside)
        above = [other for other in scope.lineage() if other is not scope]
        return scope.quiet and all(held or other.quiet for other in above)
