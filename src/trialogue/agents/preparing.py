"""Everything about an agent that can fail, done while nothing has been sent (H21)."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import attrs

from trialogue.agents.agent import Agent, Handoff, name_of
from trialogue.agents.run_context import RunContext
from trialogue.dialects.commands import UpdateSession
from trialogue.dialects.options import SessionOptions
from trialogue.errors import ConfigurationError
from trialogue.realtime.model import RealtimeModel
from trialogue.tools import Toolset, ToolSpec, collect

if TYPE_CHECKING:
    from trialogue.agents.session import AgentSession

__all__ = ["Prepared", "as_handoff", "prepare"]


@attrs.frozen
class Prepared:
    """An agent with everything resolved that its configuration needs."""

    handoff: Handoff
    name: str
    instructions: str
    tools: Toolset
    specs: tuple[ToolSpec, ...]
    options: SessionOptions
    model: RealtimeModel

    @property
    def agent(self) -> Agent:
        """The agent itself."""
        return self.handoff.agent


def as_handoff(value: object) -> Handoff | None:
    """Return the handoff that a returned value means, or None if it means none.

    Raises:
        ConfigurationError: it looks like a handoff but names no agent to hand over to.
    """
    if isinstance(value, Agent):
        return Handoff(value)
    if isinstance(value, Handoff) and isinstance(value.agent, Agent):
        return value
    target: object = value.agent if isinstance(value, Handoff) else value
    is_class = isinstance(target, type) and issubclass(target, Agent)
    if not is_class and not isinstance(value, Handoff):
        return None
    shown = getattr(target, "__name__", repr(target))
    msg = f"a handoff needs an agent, not {shown}; return an instance: {shown}()"
    raise ConfigurationError(msg)


async def prepare(session: AgentSession, handoff: Handoff) -> Prepared:
    """Resolve an agent's instructions, tools and options, and try their conversion.

    Raises:
        ConfigurationError: no instructions, two tools of one name, a schema that cannot
            be made, a context policy that does not exist.
        ConversionError: the instructions or the tools are beyond the limits.
        Exception: whatever the agent's own instructions function raised.
    """
    agent = handoff.agent
    if handoff.context not in {"keep", "fresh"}:
        msg = f'unknown context policy {handoff.context!r}; use "keep" or "fresh"'
        raise ConfigurationError(msg)
    tools = collect(agent.tools, owner=agent)
    model = agent.model or session.model
    prepared = Prepared(
        handoff,
        name_of(agent),
        await _instructions(session, agent),
        tools,
        tuple(tool.spec for tool in tools.values()),
        model.options.merged(agent.options or SessionOptions()),
        model,
    )
    update = UpdateSession(prepared.instructions, prepared.specs, prepared.options)
    session.realtime.limits.check(update)
    model.dialect().encode(update, event_id="prepare")
    return prepared


def _is_method(given: Any) -> bool:
    takes_self = inspect.isfunction(given)
    return takes_self and len(inspect.signature(given).parameters) > 1


async def _instructions(session: AgentSession, agent: Agent) -> str:
    # NB: a plain function given as a class attribute takes the context alone; looked
    # up through the instance it would be bound as a method.
    given: Any = vars(agent).get("instructions")
    if given is None:
        given = inspect.getattr_static(type(agent), "instructions", None)
        if isinstance(given, staticmethod):
            given = given.__func__
        elif isinstance(given, property) or _is_method(given):
            given = agent.instructions
    if callable(given):
        given = given(RunContext(session, agent))
        if inspect.isawaitable(given):
            given = await given
    if not isinstance(given, str):
        msg = (
            f"agent {name_of(agent)!r} has no instructions; give it text or a function "
            "of the context that returns text"
        )
        raise ConfigurationError(msg)
    return given
