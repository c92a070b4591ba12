"""The run loop: one agent's scope after the other, until the conversation is over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import trio

from trialogue.agents.agent import Handoff, name_of
from trialogue.agents.answering import leave_outputs
from trialogue.agents.events import HandoffFailed
from trialogue.agents.handoff import Transition, configuration_of
from trialogue.agents.preparing import as_handoff, prepare
from trialogue.agents.restoring import restore
from trialogue.agents.run_context import RunContext
from trialogue.agents.scope import AgentScope
from trialogue.errors import ConfigurationError, HandoffError

if TYPE_CHECKING:
    from trialogue.agents.agent import Agent
    from trialogue.agents.session import AgentSession

__all__ = ["Running"]

EXIT = 5.0
"""Seconds that `on_exit` gets."""


class Running:
    """Runs the agents of one session.

    Attributes:
        active: a conversation is being held.
    """

    def __init__(
        self, session: AgentSession, on_handoff_error: Literal["restore", "raise"]
    ) -> None:
        self._session = session
        self._on_handoff_error = on_handoff_error
        self._loop = trio.CancelScope()
        self.active = False

    def current(self) -> AgentScope:
        """Return the scope of the agent that is current.

        Raises:
            HandoffError: none is.
            SessionClosed: the session takes no more work.
        """
        self._session.realtime.check_open()
        if self._session.scope is None or not self.active:
            msg = "no agent is running; start with session.run(agent)"
            raise HandoffError(msg)
        return self._session.scope

    def check_free(self, agent: Agent) -> None:
        """Refuse to begin with an agent that has begun and has not ended.

        An instance may serve several sessions at once, if it can.

        Raises:
            ConfigurationError: it is the agent that is current.
        """
        scope = self._session.scope
        if scope is not None and scope.agent is agent and self.active:
            name = name_of(agent)
            msg = (
                f"{name} is running already, and cannot take over from itself; hand "
                f"over to another agent, or to a new instance: {type(agent).__name__}()"
            )
            raise ConfigurationError(msg)

    def stop(self, reason: str) -> None:
        """The block is left: a run that was started outside of it ends as well."""
        self._loop.cancel(reason=reason)

    async def wait_stopped(self) -> None:
        """Wait for a `run` that was started outside of the block being left."""
        await self._session.changed.until(lambda: not self.active)

    async def run(self, agent: Agent) -> None:
        """See `AgentSession.run`."""
        self._session.realtime.check_open()
        if self.active:
            msg = "this session is already running an agent; use session.handoff(agent)"
            raise HandoffError(msg)
        self.active = True
        try:
            with trio.CancelScope() as self._loop:
                transition: Transition | None = await self._first(agent)
                while transition is not None:
                    transition = await self._stage_one(transition)
        finally:
            self.active = False
            self._abandon(self._session.scope)
            self._session.scope = None
            self._session.changed.pulse()

    def _abandon(self, scope: AgentScope | None) -> None:
        """The run is over: whoever waits for a handoff is told."""
        pending = () if scope is None else (scope.transition, scope.decision)
        for transition in pending:
            if transition is not None:
                msg = f"the run ended before {transition.name} had taken over"
                transition.finish(HandoffError(msg, next=transition.name))
        if scope is not None and scope.decision is not None:
            # Decided, and cut short before the next agent's burst could carry them.
            leave_outputs(self._session.realtime, scope.decision.outputs)
            config = scope.decision.config
            if config is not None and not config.ready:
                # Nobody will begin under it: a connection must not wait for that.
                supervisor = self._session.realtime.supervisor
                supervisor.give_up(config, HandoffError("the run has ended"))

    async def _first(self, agent: Agent) -> Transition:
        handoff = as_handoff(agent)
        if handoff is None or isinstance(agent, Handoff):
            msg = f"run() needs an agent, not {agent!r}"
            raise HandoffError(msg)
        return Transition(await prepare(self._session, handoff))

    async def _stage_one(self, transition: Transition) -> Transition | None:
        scope = AgentScope(self._session, transition)
        scope.patience.deadline = self._session.ending.by
        if transition.config is None:
            transition.config = configuration_of(
                transition.prepared, scope, ready=True, deadline=math.inf
            )
        transition.config.owner = scope
        self._session.scope = scope
        try:
            following = await scope.run()
            # Whoever keeps this scope (an old response, the error of a connection that
            # was lost) would keep with it all that come after.
            scope.decision = None
        except HandoffError as error:
            if error is not transition.error:
                raise
            following = self._return(transition, error)
        finally:
            self._session.block.start_if_open(self._exit, scope)
        if following is None and self._session.block.open:
            # Nothing follows that it could run beside; the session may be left next.
            await scope.exited.wait()
        return following

    async def _exit(self, scope: AgentScope) -> None:
        try:
            with trio.move_on_after(EXIT):
                await scope.agent.on_exit(RunContext(self._session, scope.agent))
        finally:
            scope.exited.set()

    def _return(self, failed: Transition, error: HandoffError) -> Transition:
        """A handoff failed: the previous agent goes on as if it had never left."""
        previous = failed.previous
        before = None if previous is None else previous.name
        self._session.publish(HandoffFailed(before, failed.name, str(error)))
        if previous is None or failed.restores or self._on_handoff_error == "raise":
            raise error
        return restore(self._session.realtime, previous, failed)
