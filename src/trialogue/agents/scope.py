"""An agent's scope: its `on_enter`, its tool calls and its replies, in one nursery."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import trio

from trialogue.agents.answering import Answering
from trialogue.agents.events import AgentEntered, HandoffDiscarded
from trialogue.agents.handoff import Transition, failure
from trialogue.agents.preparing import as_handoff, prepare
from trialogue.agents.run_context import (
    RunContext,
    current_call,
    current_scope,
    current_turn,
)
from trialogue.agents.speaking import ask_to_speak
from trialogue.errors import HandoffError
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialogue.agents.agent import Handoff
    from trialogue.agents.calls import OpenCall
    from trialogue.agents.delegation import Delegation
    from trialogue.agents.session import AgentSession
    from trialogue.conversation.items import FunctionCall
    from trialogue.realtime.configuration import Configuration

__all__ = ["AgentScope"]

FINISHING = 3.0
"""Seconds that tools with `on_handoff="finish"` get."""


class AgentScope:
    """The time in which one agent is current; owns everything that ends with it."""

    def __init__(
        self,
        session: AgentSession,
        transition: Transition,
        delegation: Delegation | None = None,
    ) -> None:
        self.session = session
        self.transition = transition
        self.delegation = delegation
        self.agent = transition.agent
        self.name = transition.name
        self.tools = transition.prepared.tools
        self.guardrails = transition.prepared.guardrails
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
        self.suspended = False
        self.turnstile = trio.StrictFIFOLock()
        self._delegating: list[OpenCall | None] = []
        self._enter_task: trio.lowlevel.Task | None = None
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
        entering = self.entering and None not in self._delegating
        return not entering and all(c in self._delegating for c in self.calls.open)

    @property
    def completed(self) -> bool:
        """Whether it has given the value for which it was delegated to."""
        return self.delegation is not None and self.delegation.completed

    @property
    def leaving(self) -> bool:
        """Whether it will not be current for much longer."""
        decided = self.decision is not None or self.error is not None
        return self.frozen or decided or self.completed

    @property
    def ends(self) -> bool:
        """Whether its nursery is about to end, or has."""
        cancelled = self.nursery is None or self.nursery.cancel_scope.cancel_called
        return self.frozen or self.closed or cancelled

    @property
    def stands(self) -> bool:
        """Whether the server has agreed with it and it is not being left."""
        settled = self.transition.settled.is_set() and self.transition.error is None
        return settled and not self.leaving and not self.suspended

    def lineage(self) -> Iterator[AgentScope]:
        """This scope, the one that delegated to it, and so on outwards."""
        yield self
        if self.delegation is not None:
            yield from self.delegation.parent.lineage()

    @property
    def root(self) -> AgentScope:
        """The outermost scope, which ends with the conversation."""
        return list(self.lineage())[-1]

    def encloses(self, task: trio.lowlevel.Task) -> bool:
        """Whether a task ends with this scope: it cannot wait for that."""
        current: trio.lowlevel.Task | None = task
        while current is not None and not self.calls.runs_in(current):
            nursery = current.parent_nursery
            if nursery is self.nursery:
                break
            current = None if nursery is None else nursery.parent_task
        return current is not None and not self.closed

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
                        if self.delegation is not None:
                            # It ends by a value, or with whoever delegated to it.
                            await trio.sleep_forever()
                        with self.patience:
                            await self.session.ending.wait()
                        self.nursery.cancel_scope.cancel(reason="the session ends")
                    finally:
                        # NB: the body ends before the nursery does; whoever starts a
                        # task from the reader looks at this first (core rule 2).
                        self.frozen = True
                        self.session.emptying.left(self)
        finally:
            self.closed = True
            self.emptied.set()
            self.session.emptying.emptied(self)
            self.calls.close()
        if self.error is not None:
            raise self.error
        return self.decision

    def _begin(self) -> None:
        assert self.nursery is not None
        self.session.emptying.entered(self)
        self.session.steps.activate(self)
        self.nursery.start_soon(self._settle, name=f"settle {self.name}")
        previous = self.transition.previous
        before = None if previous is None else previous.name
        if previous is None and self.delegation is not None:
            before = self.delegation.parent.name
        self.session.publish(AgentEntered(self.name, before))
        if self.transition.enters:
            self.entering = True
            self.nursery.start_soon(self._enter, name=f"{self.name}.on_enter")

    async def _enter(self) -> None:
        current_scope.set(self)
        current_turn.set(None)  # those of a tool that delegated are not its own
        current_call.set(None)
        self._enter_task = trio.lowlevel.current_task()
        ctx = RunContext(self.session, self.agent, None, self)
        following = await self.agent.on_enter(ctx)
        self.entering = False
        target = as_handoff(following)
        if target is not None:
            await self.hand_over(target)
        elif self.transition.speaks and not self.asked and not self.completed:
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
        await self.session.changed.until(
            lambda: self.transition.settled.is_set() and not self.suspended
        )
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
        self.calls.withdraw()
        if any(self._finishes(call) for call in self.calls.open):
            self.nursery.start_soon(self._finish_calls)
        else:
            self._leave()
        return True

    def _leave(self) -> None:
        assert self.nursery is not None
        self.frozen = True
        reason = f"{self.name} has completed"
        if self.decision is not None:
            reason = f"handoff: {self.name} -> {self.decision.name}"
        self.nursery.cancel_scope.cancel(reason=reason)

    @staticmethod
    def _finishes(call: OpenCall) -> bool:
        wants = call.tool is not None and call.tool.options.on_handoff == "finish"
        return wants and call.running

    async def _finish_calls(self, also: Callable[[], bool] = lambda: True) -> None:
        with trio.move_on_after(FINISHING):
            await self.session.changed.until(
                lambda: (
                    also() and not any(self._finishes(call) for call in self.calls.open)
                )
            )
        self._leave()

    # --- delegating, and being delegated to ----------------------------------

    @contextmanager
    def waiting(self, call: OpenCall | None) -> Iterator[None]:
        """A call, or a hook, waits for an agent that it delegates to."""
        self._delegating.append(call)
        try:
            with nullcontext() if call is None else call.conversing():
                yield
        finally:
            self._delegating.remove(call)

    def waits_for_delegate(self, call: OpenCall) -> bool:
        """Whether a call waits for an agent that it delegates to."""
        return call in self._delegating

    def resume(self) -> None:
        """It is current again: what waited for that goes on, in this step."""
        assert self.nursery is not None
        self.transition.settled = trio.Event()
        self.nursery.start_soon(self._settle_again, name=f"settle {self.name}")
        self.calls.agreed()

    async def _settle_again(self) -> None:
        config = self.config
        await config.verdict.wait()
        if config is not self.config:
            return  # it has delegated once more since
        if config.error is not None:
            what = f"{self.name} could not be restored after a delegation"
            error = HandoffError(f"{what}: {config.error}", next=self.name)
            raise error from config.error
        self.transition.settled.set()
        self.calls.agreed()
        self.session.changed.pulse()

    def complete(self, call: FunctionCall | None) -> None:
        """The value was given: leave as soon as whoever gave it has returned."""
        assert self.nursery is not None
        self.handed_over = True
        self.calls.withdraw()
        self.nursery.start_soon(self._finish_calls, self._giver_of_value(call))
        self.session.changed.pulse()

    def _giver_of_value(self, call: FunctionCall | None) -> Callable[[], bool]:
        """Return what tells whether the hook or tool has returned."""
        if call is not None:
            return lambda: self.calls.has_ended(call)
        if self.entering and self._enter_task is trio.lowlevel.current_task():
            return lambda: not self.entering
        return lambda: True
