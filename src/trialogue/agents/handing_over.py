"""Handing over from outside of the agents: one at a time, in a moment of silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trialogue.agents.agent import name_of
from trialogue.agents.handoff import BUDGET, Transition, remedy
from trialogue.agents.preparing import as_handoff, prepare
from trialogue.agents.run_context import scope_within
from trialogue.errors import HandoffError

if TYPE_CHECKING:
    from trialogue.agents.agent import Agent, Handoff
    from trialogue.agents.events import HandoffTimings
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession

__all__ = ["HandingOver"]


class HandingOver:
    """Takes the handoffs that the program itself asks for."""

    def __init__(self, session: AgentSession) -> None:
        self._session = session
        self._turnstile = trio.Lock()

    async def hand_over(self, target: Agent | Handoff) -> HandoffTimings:
        """See `AgentSession.handoff`."""
        self._session.realtime.check_open()
        handoff = as_handoff(target)
        if handoff is None:
            msg = f"handoff() needs an agent, not {target!r}"
            raise HandoffError(msg)
        inside = scope_within(self._session)
        if inside is not None and inside.encloses(trio.lowlevel.current_task()):
            raise remedy(handoff.agent)
        async with self._turnstile:
            transition = await self._hand_over(handoff)
        if transition.error is not None:
            raise transition.error
        assert transition.timings is not None
        return transition.timings

    async def _hand_over(self, handoff: Handoff) -> Transition:
        requested = trio.current_time()
        scope = await self._standing()
        prepared = await prepare(self._session, handoff)
        while not scope.stands:  # preparing takes the program's own time
            scope = await self._standing()
        self._session.running.check_free(handoff.agent)  # another may have begun it
        transition = Transition(
            prepared, previous=scope.transition, speaks=handoff.reply == "auto"
        )
        if not scope.decide(transition, requested):
            assert scope.error is not None
            raise scope.error
        await transition.settled.wait()
        return transition

    async def _standing(self) -> AgentScope:
        """Wait for a scope that has settled and is not being left, and for silence."""
        while True:
            self._session.running.current()
            await self._session.changed.until(self._settled)
            scope = self._session.running.current()
            await self._silence_of(scope)
            if scope.stands:
                return scope

    def _settled(self) -> bool:
        scope = self._session.scope
        return scope is None or scope.stands

    async def _silence_of(self, scope: AgentScope) -> None:
        slot = self._session.realtime.replying.slot
        with trio.move_on_after(BUDGET):
            await self._session.changed.until(
                lambda: not scope.stands or slot.active is None
            )

    def soon(self, target: Agent | Handoff) -> None:
        """See `AgentSession.handoff_soon`."""
        scope = self._session.running.current()
        inside = scope_within(self._session)
        if inside is not None and inside.encloses(trio.lowlevel.current_task()):
            scope = inside  # which may wait for one that it has delegated to
        handoff = as_handoff(target)
        if handoff is None:
            msg = f"handoff_soon() needs an agent, not {target!r}"
            raise HandoffError(msg)
        self._session.running.check_free(handoff.agent)
        if scope.nursery is None or scope.frozen:
            msg = (
                f"{scope.name} is not current any more and hands nothing over; "
                "session.handoff(agent) waits for who comes after it"
            )
            raise HandoffError(msg, next=name_of(handoff.agent))
        scope.nursery.start_soon(scope.hand_over, handoff)
