"""Delegating: a nested agent that is current for a while and gives back a value.

It runs in the task that asks for it, so that whatever ends that task ends it as well.
Meanwhile the agent that asked is suspended: its tools work on, but nothing is said,
answered or handed over on its behalf until it is current again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from trialogue.agents.agent import Agent, Handoff, name_of
from trialogue.agents.answering import leave_outputs
from trialogue.agents.delegation import Delegation, end_of
from trialogue.agents.events import DelegationStarted
from trialogue.agents.handoff import BUDGET, Transition, configuration_of, why_fresh
from trialogue.agents.preparing import Prepared, prepare
from trialogue.agents.results import declared_result
from trialogue.agents.run_context import current_call, current_scope
from trialogue.errors import ConfigurationError, DelegationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.replies import Turn

__all__ = ["Delegating"]

ResultT = TypeVar("ResultT")


class Delegating:
    """Carries out the delegations of one session."""

    def __init__(self, session: AgentSession) -> None:
        self._session = session

    async def delegate(self, agent: Agent[ResultT]) -> ResultT:
        """See `AgentSession.delegate`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._session.realtime.check_open()
        self._check_agent(agent)
        parent = self._asking_scope()
        self._check_not_running(agent)
        requested = trio.current_time()
        call = current_call.get()
        with parent.waiting(call):
            await parent.turnstile.acquire()
        try:
            self._check_not_running(agent)
            prepared = await prepare(self._session, Handoff(agent))
            await self._may_begin(parent)
            delegation = Delegation(parent, declared_result(agent), requested)
            with parent.waiting(call):
                value: ResultT = await self._carry_out(delegation, prepared)
        finally:
            parent.turnstile.release()
        return value

    # --- what is asked for ---------------------------------------------------

    @staticmethod
    def _check_agent(agent: object) -> None:
        if isinstance(agent, Agent):
            return
        msg = f"delegate() needs an agent, not {agent!r}"
        made = getattr(agent, "__origin__", agent)  # `Agent[bool]` without `()`
        if isinstance(made, type) and issubclass(made, Agent):
            name = made.__name__
            msg = f"delegate() needs an agent, not the class {name}; pass {name}()"
        raise ConfigurationError(msg)

    def _asking_scope(self) -> AgentScope:
        """Return the scope on whose behalf the running task delegates."""
        scope, task = current_scope.get(), trio.lowlevel.current_task()
        if scope is None or not scope.encloses(task):
            msg = (
                "delegate() gives its value to the hook or tool of an agent that is "
                "current, and is called from outside of one (a detached tool and a "
                "task in session.nursery are outside, too); call it in on_enter or in "
                'a tool without on_handoff="detach", or use session.handoff(agent)'
            )
            raise DelegationError(msg)
        if scope.session is not self._session:
            msg = f"{scope.name} runs in another session; use that: ctx.session"
            raise DelegationError(msg)
        if scope.turnstile.statistics().owner is task:
            msg = (
                "an instructions function cannot delegate; do it in on_enter or a tool"
            )
            raise DelegationError(msg)
        self._check_stays(scope)
        return scope

    @staticmethod
    def _check_stays(scope: AgentScope) -> None:
        if scope.leaving:
            done = "completed" if scope.completed else "handed over"
            msg = f"{scope.name} has {done} and can no longer delegate"
            raise DelegationError(msg)

    def _check_not_running(self, agent: Agent[Any]) -> None:
        if self._session.running.runs(agent):
            name = name_of(agent)
            msg = (
                f"{name} is running already and cannot be delegated to; pass another "
                f"instance: {type(agent).__name__}()"
            )
            raise DelegationError(msg)

    async def _may_begin(self, parent: AgentScope) -> None:
        """Wait until the parent is agreed upon and its present response is complete.

        Raises:
            DelegationError: it is being left.
        """
        slot = self._session.realtime.replying.slot

        def ready() -> bool:
            wanted = self._session.realtime.wanted
            return parent.stands and wanted is not None and wanted.verdict.is_set()

        with trio.move_on_after(BUDGET):
            await self._session.changed.until(
                lambda: (
                    parent.leaving
                    or (ready() and slot.active is None and slot.posted is None)
                )
            )
        await self._session.changed.until(lambda: parent.leaving or ready())
        self._check_stays(parent)

    # --- away and back -------------------------------------------------------

    async def _carry_out(self, delegation: Delegation, prepared: Prepared) -> Any:
        first = Transition(prepared, speaks=True)
        first.config = delegation.config = configuration_of(
            prepared, None, ready=True, deadline=delegation.began + BUDGET
        )
        transition: Transition | None = first
        parent = delegation.parent
        self._session.publish(DelegationStarted(parent.name, prepared.name))
        with self._suspended(delegation) as held:
            models = (held.model, prepared.model)
            if not all(model.capabilities.open_calls for model in models):
                first.outputs = parent.calls.put_off()
            while transition is not None:
                transition = await self._session.running.stage_one(
                    transition, delegation
                )
        return delegation.value

    @contextmanager
    def _suspended(self, delegation: Delegation) -> Iterator[Configuration]:
        """Suspend the parent in this step; bring it back in the one that leaves.

        Yields the configuration that it had.
        """
        realtime, parent = self._session.realtime, delegation.parent
        held, turn = realtime.wanted, realtime.replying.slot.turn
        assert held is not None
        parent.suspended = True
        realtime.replying.hold_back(held)
        error: BaseException | None = None
        try:
            yield held
        except BaseException as raised:
            error = raised
            raise
        finally:
            last = self._session.scope
            if last is not None and last is not parent:
                self._session.running.abandon(last, "the delegation ended")
            self._session.scope = parent
            parent.suspended = False
            if self._goes_on(parent):
                self._bring_back(delegation, held, turn)
            else:
                leave_outputs(realtime, delegation.outputs)
                realtime.replying.let_go(held, None)
            name = "" if last is None else last.name
            self._session.publish(end_of(delegation, name, error))
            self._session.changed.pulse()
            del error  # else this frame and the exception would keep each other

    def _goes_on(self, parent: AgentScope) -> bool:
        """Whether the parent is current again, rather than ending as well.

        What would be wanted for it would come between whoever is next and the server.
        """
        over = self._session.realtime.over or self._session.running.stopped
        return not over and not any(scope.ends for scope in parent.lineage())

    def _bring_back(
        self, delegation: Delegation, held: Configuration, turn: Turn | None
    ) -> None:
        """One batch makes the parent's configuration true; nobody waits for that."""
        realtime, parent = self._session.realtime, delegation.parent
        config = held.edited(
            owner=parent, epoch=object(), ready=True, amends=False, base=None
        )
        parent.transition.config = config
        fresh = why_fresh(realtime, config, None) is not None
        realtime.supervisor.commit(config, fresh=fresh)
        if turn is not None and turn.open:
            # Its tools are still at work: the slot stays with them, as it was.
            realtime.replying.slot.turn = turn
        realtime.activate(config, delegation.outputs)
        realtime.replying.let_go(held, config)
        parent.resume()
