"""What hooks and tools are given, and where a task finds out whose it is."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic

import attrs

from trialogue.agents.delegation import complete
from trialogue.agents.userdata import UserDataT
from trialogue.agents.waiting import heard_to_the_end
from trialogue.conversation.items import FunctionCall

if TYPE_CHECKING:
    import trio

    from trialogue.agents.agent import Agent
    from trialogue.agents.calls import OpenCall
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession
    from trialogue.realtime.replies import Turn

__all__ = [
    "RunContext",
    "current_call",
    "current_scope",
    "current_turn",
    "scope_within",
    "turn_within",
]

current_scope: ContextVar[AgentScope | None] = ContextVar("current_scope", default=None)
"""The agent scope that the running task belongs to."""
current_turn: ContextVar[Turn | None] = ContextVar("current_turn", default=None)
"""The turn of the tool call that is running: its own replies do not wait for it."""
current_call: ContextVar[OpenCall | None] = ContextVar("current_call", default=None)
"""The tool call that is running."""


def scope_within(session: AgentSession) -> AgentScope | None:
    """Return the scope of this session's that the running task belongs to, or None.

    A tool may work on another session: there it is anybody, and nothing waits for it.
    """
    scope = current_scope.get()
    return scope if scope is not None and scope.session is session else None


def turn_within(session: AgentSession) -> Turn | None:
    """Return the turn of this session's that the running task works for, or None."""
    turn = current_turn.get()
    owner: AgentScope | None = None if turn is None else turn.response.owner
    return turn if owner is not None and owner.session is session else None


@attrs.frozen
class RunContext(Generic[UserDataT]):
    """The surroundings of a hook or a tool call.

    Annotate it with the type of what the program gave to the session,
    `ctx: RunContext[MyData]`, and type checkers know `ctx.userdata`.

    Attributes:
        session: the agent session.
        agent: the agent it runs for.
        call: the call being answered; None in `on_enter` and `on_exit`.
    """

    session: AgentSession[UserDataT]
    agent: Agent
    call: FunctionCall | None = None
    _scope: AgentScope | None = attrs.field(default=None, repr=False)

    @property
    def userdata(self) -> UserDataT:
        """What the program gave to `open_agent_session(userdata=…)`."""
        return self.session.userdata

    async def wait_for_playout(self) -> bool:
        """Wait until what was said up to now has been heard, or was cut.

        In a tool that is what the model said in the response that called it, so that an
        agent can announce what it then does; in a hook, everything.

        Returns:
            Whether all of it was heard to its end; it was not if the user cut it short.
        """
        turn = None if self.call is None else current_turn.get()
        items = None if turn is None else turn.response.items
        return await heard_to_the_end(self.session.playout, items)

    @property
    def nursery(self) -> trio.Nursery:
        """The agent's own nursery: what is started here ends with the agent.

        For work that outlives a handoff use `ctx.session.nursery`.
        """
        scope = self._scope
        if scope is None or scope.nursery is None or scope.closed:
            msg = "this agent's scope is over; start it in ctx.session.nursery"
            raise RuntimeError(msg)
        return scope.nursery

    def complete(self, value: Any = None) -> None:
        """Give `session.delegate` its value; synchronous, once, by the agent asked for.

        The hook or tool that calls this may go on to its end (three seconds at most);
        then the agent's scope is left, what still runs in it is cancelled, and whoever
        delegated goes on with the value. Speech that was generated plays to its end,
        and nothing more is asked for.

        Raises:
            DelegationError: the agent was not delegated to, has completed or handed
                over, or the value is not of the type that it declares (`Agent[bool]`).
        """
        complete(self._scope, self.call, value)
