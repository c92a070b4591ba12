"""Everything about an agent that can fail, done while nothing has been sent (H21)."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import attrs

from trialogue.agents.agent import Agent, Handoff, check_agent, name_of
from trialogue.agents.guardrails import Guardrail, gather
from trialogue.agents.policies import edit_made_by, made_ahead
from trialogue.agents.run_context import RunContext
from trialogue.conversation.context import ChatContext
from trialogue.conversation.items import Message, TextContent
from trialogue.dialects.commands import CreateItem, UpdateSession
from trialogue.dialects.options import SessionOptions
from trialogue.errors import ConfigurationError
from trialogue.realtime.model import RealtimeModel
from trialogue.realtime.syncing import creation
from trialogue.tools import ToolsByName, ToolSpec

if TYPE_CHECKING:
    from trialogue.agents.session import AgentSession
    from trialogue.dialects.commands import Command

__all__ = ["Prepared", "as_handoff", "prepare"]


@attrs.frozen
class Prepared:
    """An agent with everything resolved that its configuration needs.

    Attributes:
        note: the message that it finds, if it is left one.
        edited: what a context policy of the program's own made of the conversation.
        guardrails: those of the session, and its own.
    """

    handoff: Handoff
    name: str
    instructions: str
    tools: ToolsByName
    specs: tuple[ToolSpec, ...]
    options: SessionOptions
    model: RealtimeModel
    note: Message | None = None
    edited: ChatContext | None = None
    guardrails: tuple[Guardrail, ...] = ()

    @property
    def agent(self) -> Agent:
        """The agent itself."""
        return self.handoff.agent


def as_handoff(value: object) -> Handoff | None:
    """Return the handoff that a returned value means, or None if it means none.

    Raises:
        ConfigurationError: it is the class of an agent.
    """
    if isinstance(value, Handoff):
        return value
    if isinstance(value, Agent):
        return Handoff(value)
    if isinstance(value, type) and issubclass(value, Agent):
        check_agent(value)  # the slip that everybody makes once
    return None


async def prepare(session: AgentSession, handoff: Handoff) -> Prepared:
    """Resolve an agent and what it finds, and try their conversion.

    Raises:
        ConfigurationError: an agent that is running already, no instructions, two tools
            or guardrails of one name, a schema that cannot be made.
        ToolSetError: a tool set that it lists could not be opened.
        ConversionError: the instructions, the tools, the note or what the context
            policy made are beyond the limits, or have no form in the protocol.
        Exception: whatever the agent's instructions function or the policy raised.
    """
    agent = handoff.agent
    session.running.check_free(agent)
    tools = await session.tool_sets.tools_of(agent)
    model = agent.model or session.model
    prepared = Prepared(
        handoff,
        name_of(agent),
        await _instructions(session, agent),
        tools,
        tuple(tool.spec for tool in tools.values()),
        model.options.merged(agent.options or SessionOptions()),
        model,
        _note(session, handoff),
        await made_ahead(handoff.context, session.chat_ctx),
        gather(session.guarding.everywhere, agent.guardrails, owner=agent),
    )
    _check_heard(prepared)
    _try(session, prepared)
    return prepared


def _check_heard(prepared: Prepared) -> None:
    """Refuse to check what the user says where nobody writes it down."""
    heard = [g.name for g in prepared.guardrails if g.place == "input"]
    if heard and prepared.options.transcription is None:
        msg = (
            f"{prepared.name} has the input guardrail {heard[0]!r}, which reads what "
            "the user says, and transcription=None: leave the transcription on"
        )
        raise ConfigurationError(msg)


def _note(session: AgentSession, handoff: Handoff) -> Message | None:
    if handoff.note is None or not handoff.note.strip():
        return None  # a message without a word is never sent
    item_id = session.realtime.new_item_id("msg")
    return Message(item_id, "system", (TextContent(handoff.note),))


def _try(session: AgentSession, prepared: Prepared) -> None:
    """Convert everything that will be sent, and send nothing."""
    realtime, dialect = session.realtime, prepared.model.dialect()
    commands: list[Command] = [
        UpdateSession(prepared.instructions, prepared.specs, prepared.options)
    ]
    if prepared.note is not None:
        commands.append(CreateItem(prepared.note))
    if prepared.edited is not None:
        edit = edit_made_by(prepared.edited)
        made = {*edit.inserted, *edit.replaced, *edit.moved}
        sound_of = realtime.listening.sound_of
        commands += [creation(i, None, sound_of) for i in edit.target if i.id in made]
    for command in commands:
        realtime.limits.check(command)
        encoded = dialect.encode(command, event_id="prepare")
        realtime.limits.check_frame(encoded.text)


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
