"""An agent's scope: its `on_enter`, its tool calls and its replies, in one nursery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trialogue.agents.answering import Answering
from trialogue.agents.events import AgentEntered, HandoffDiscarded
from trialogue.agents.handoff import Transition, failure
from trialogue.agents.preparing import as_handoff, prepare
from trialogue.agents.run_context import RunContext, current_scope
from trialogue.agents.speaking import ask_to_speak
from trialogue.agents.stalling import watch_emptying
from trialogue.errors import HandoffError
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from trialogue.agents.agent import Handoff
    from trialogue.agents.calls import OpenCall
    from trialogue.agents.session import AgentSession
    from trialogue.realtime.configuration import Configuration

__all__ = ["AgentScope"]

FINISHING = 3.0
"""Seconds that tools with `on_handoff="finish"` get."""


class AgentScope:
    """The time in which one agent is current; owns everything that ends with it."""

    def __init__(self, session: AgentSession, transition: Transition) -> None:
        self.session = session
        self.transition = transition
        self.agent = transition.agent
        self.name = transition.name
        self.tools = transition.prepared.tools
        self.nursery: trio.Nursery | None = None
        self.frozen = False
        self.closed = False
        self.asked = False
        self.entering = False
        self.decision: Transition | None = None
        self.handed_over = False
        self.error: HandoffError | None = None
        self.patience = trio.CancelScope()
        self.emptied = trio.Event()
        self.exited = trio.Event()
        self.calls = Answering(self)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "frozen" if self.frozen else "live"
        return f"<AgentScope {self.name!r} {state} calls={len(self.calls.open)}>"

    @property
    def config(self) -> Configuration:
        config = self.transition.config
        assert config is not None
        return config

    @property
    def quiet(self) -> bool:
        """Whether nothing of the agent's is under way."""
        return not self.entering and not self.calls.open

    @property
    def stands(self) -> bool:
        """Whether the server has agreed with it and it is not being left."""
        leaving = self.frozen or self.decision is not None or self.error is not None
        settled = self.transition.settled.is_set() and self.transition.error is None
        return settled and not leaving

    def encloses(self, task: trio.lowlevel.Task) -> bool:
        """Whether a task ends with this scope: it cannot wait for that."""
        nursery = task.parent_nursery
        while nursery is not None and nursery is not self.nursery:
            nursery = nursery.parent_task.parent_nursery
        return nursery is not None and not self.closed

    # --- life ----------------------------------------------------------------

    async def run(self) -> Transition | None:
        """Be current until a decision, the session's end, or an error.

        Returns the transition that was decided on, or None if the session ends. When it
        returns or raises, no task of the agent is left, and each of its calls has
        exactly one output.
        """
        try:
            with single():
                async with trio.open_nursery() as self.nursery:
                    try:
                        self._begin()
                        with self.patience:
                            await self.session.ending.wait()
                        self.nursery.cancel_scope.cancel(reason="the session ends")
                    finally:
                        # NB: the body ends before the nursery does; whoever starts a
                        # task from the reader looks at this first (core rule 2).
                        self.frozen = True
                        self.session.block.start_if_open(
                            watch_emptying, self.session, self
                        )
        finally:
            self.closed = True
            self.emptied.set()
            self.calls.close()
        if self.error is not None:
            raise self.error
        return self.decision

    def _begin(self) -> None:
        assert self.nursery is not None
        self.session.steps.activate(self)
        self.nursery.start_soon(self._settle, name=f"settle {self.name}")
        previous = self.transition.previous
        before = None if previous is None else previous.name
        self.session.publish(AgentEntered(self.name, before))
        if self.transition.enters:
            self.entering = True
            self.nursery.start_soon(self._enter, name=f"{self.name}.on_enter")

    async def _enter(self) -> None:
        current_scope.set(self)
        ctx = RunContext(self.session, self.agent, None, self)
        following = await self.agent.on_enter(ctx)
        self.entering = False
        target = as_handoff(following)
        if target is not None:
            await self.hand_over(target)
        elif self.transition.speaks and not self.asked:
            ask_to_speak(self.session, self)
        self.session.changed.pulse()

    async def _settle(self) -> None:
        """Wait for the server's agreement; without it this scope is not to be."""
        config, supervisor = self.config, self.session.realtime.supervisor
        with trio.CancelScope(deadline=config.deadline):
            await config.verdict.wait()
        if not config.verdict.is_set():
            late = HandoffError("the server did not agree in time", next=self.name)
            supervisor.give_up(config, late)
        if config.error is not None:
            error = failure(self.transition, config.error)
            self.transition.finish(error)
            raise error
        self.session.steps.settled(self.transition)
        self.calls.agreed()

    # --- handing over --------------------------------------------------------

    async def hand_over(self, handoff: Handoff) -> Transition | None:
        """Prepare a handoff and decide on it; None if it came too late.

        The one that made this scope current settles first.
        """
        requested = trio.current_time()
        prepared = await prepare(self.session, handoff)
        await self.transition.settled.wait()
        transition = Transition(
            prepared, previous=self.transition, speaks=handoff.reply == "auto"
        )
        return transition if self.decide(transition, requested) else None

    def decide(self, transition: Transition, requested: float) -> bool:
        """The handoff is decided in this step: from here on the epoch is the next's."""
        if not self.stands:
            self.session.publish(HandoffDiscarded(transition.name))
            return False
        assert self.nursery is not None
        try:
            self.session.steps.commit(self, transition, requested)
        except HandoffError as error:
            self.error = error
            self.frozen = True
            self.nursery.cancel_scope.cancel(reason=str(error))
            return False
        self.decision = transition
        self.handed_over = True
        if any(self._finishes(call) for call in self.calls.open):
            self.nursery.start_soon(self._finish_calls)
        else:
            self._leave()
        return True

    def _leave(self) -> None:
        assert self.nursery is not None
        assert self.decision is not None
        self.frozen = True
        reason = f"handoff: {self.name} -> {self.decision.name}"
        self.nursery.cancel_scope.cancel(reason=reason)

    @staticmethod
    def _finishes(call: OpenCall) -> bool:
        wants = call.tool is not None and call.tool.options.on_handoff == "finish"
        return wants and call.running

    async def _finish_calls(self) -> None:
        with trio.move_on_after(FINISHING):
            await self.session.changed.until(
                lambda: not any(self._finishes(call) for call in self.calls.open)
            )
        self._leave()
