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
from trialogue.agents.run_context import RunContext, current_scope, current_turn
from trialogue.agents.scope import AgentScope
from trialogue.errors import ConfigurationError, HandoffError, SessionClosed

if TYPE_CHECKING:
    from trialogue.agents.agent import Agent
    from trialogue.agents.delegation import Delegation
    from trialogue.agents.session import AgentSession

__all__ = ["Running"]

EXIT = 5.0
"""Seconds that `on_exit` gets."""
OVER = "end() has ended this session's conversation; open another session"


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
        self._held = False
        self.active = False

    @property
    def stopped(self) -> bool:
        """Whether the block was left: nobody follows whoever is current."""
        return self._loop.cancel_called

    def current(self) -> AgentScope:
        """Return the scope of the agent that is current.

        Raises:
            HandoffError: none is.
            SessionClosed: the session takes no more work, or `end()` was called.
        """
        self._session.realtime.check_open()
        if self._session.scope is None or not self.active:
            if self._session.ending.asked:
                raise SessionClosed(OVER)
            msg = "no agent is running; start with session.run(agent)"
            raise HandoffError(msg)
        return self._session.scope

    def check_free(self, agent: Agent) -> None:
        """Refuse to begin with an agent that has begun and has not ended.

        An instance may serve several sessions at once, if it can.

        Raises:
            ConfigurationError: it is the agent that is current, or one that waits for
                what it has delegated.
        """
        if self.runs(agent):
            name = name_of(agent)
            msg = (
                f"{name} is running already, and cannot take over from itself; hand "
                f"over to another agent, or to a new instance: {type(agent).__name__}()"
            )
            raise ConfigurationError(msg)

    def runs(self, agent: Agent) -> bool:
        """Whether an agent has begun and not ended."""
        current = self._session.scope if self.active else None
        return current is not None and any(s.agent is agent for s in current.lineage())

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
        if self._session.ending.asked:
            return await self._over()
        self.active = self._held = True
        try:
            with trio.CancelScope() as self._loop:
                transition: Transition | None = await self._first(agent)
                while transition is not None:
                    transition = await self.stage_one(transition)
        finally:
            self.active = False
            if self._session.scope is not None:
                self.abandon(self._session.scope, "the run ended")
            self._session.scope = None
            self._session.realtime.interrupt(force=True)  # nobody is there to speak
            self._session.changed.pulse()

    async def _over(self) -> None:
        """`end()` was called: another conversation takes another session.

        It may have been called in the moment before the first one began.
        """
        if self._held:
            raise SessionClosed(OVER)
        await trio.lowlevel.checkpoint()

    def abandon(self, scope: AgentScope, why: str) -> None:
        """No agent follows this one: whoever waits for a handoff is told."""
        if scope.completed:
            scope.transition.finish()  # it has, with or without the server's word
        for transition in (scope.transition, scope.decision):
            if transition is not None:
                msg = f"{why} before {transition.name} had taken over"
                transition.finish(HandoffError(msg, next=transition.name))
        if scope.decision is not None:
            # Decided, and cut short before the next agent's burst could carry them.
            leave_outputs(self._session.realtime, scope.decision.outputs)
            config = scope.decision.config
            if config is not None and not config.ready:
                # Nobody will begin under it: a connection must not wait for that.
                supervisor = self._session.realtime.supervisor
                supervisor.give_up(config, HandoffError(why))

    async def _first(self, agent: Agent) -> Transition:
        handoff = as_handoff(agent)
        if handoff is None or isinstance(agent, Handoff):
            msg = f"run() needs an agent, not {agent!r}"
            raise HandoffError(msg)
        return Transition(await prepare(self._session, handoff))

    async def stage_one(
        self, transition: Transition, delegation: Delegation | None = None
    ) -> Transition | None:
        """Let one agent be current; return who follows it, or None for nobody."""
        scope = AgentScope(self._session, transition, delegation)
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
            delegated = delegation is not None
            following = self._return(transition, error, delegated=delegated)
        finally:
            self._session.block.start_if_open(self._exit, scope)
        if following is None and delegation is None and self._session.block.open:
            # Nothing follows that it could run beside; the session may be left next.
            await scope.exited.wait()
        return following

    async def _exit(self, scope: AgentScope) -> None:
        # Of a child that ended this is called in the context of its caller.
        current_scope.set(None)
        current_turn.set(None)
        try:
            with trio.move_on_after(EXIT):
                await scope.agent.on_exit(RunContext(self._session, scope.agent))
        finally:
            scope.exited.set()

    def _return(
        self, failed: Transition, error: HandoffError, *, delegated: bool
    ) -> Transition:
        """A handoff failed: the previous agent goes on as if it had never left."""
        previous = failed.previous
        if previous is None and delegated:
            raise error  # to whoever delegated
        before = None if previous is None else previous.name
        self._session.publish(HandoffFailed(before, failed.name, str(error)))
        if previous is None or failed.restores or self._on_handoff_error == "raise":
            raise error
        return restore(self._session.realtime, previous, failed)
