"""What a user writes: an agent, and how it hands over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias

import attrs

from trialogue.agents.policies import ContextPolicy, check_policy
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    # NB: for type checkers alone, which bring it along: `Agent` without brackets is
    # `Agent[Any]`. At run time there is no such default before Python 3.13.
    from typing_extensions import TypeVar

    from trialogue.agents.guardrails import Guardrail
    from trialogue.agents.run_context import RunContext
    from trialogue.dialects.options import SessionOptions
    from trialogue.realtime.model import RealtimeModel

    # By an alias, for mypy takes an Any that is written out for a sign that overloads
    # (of `function_tool`) are ambiguous, and then knows nothing of a tool any more.
    Undeclared: TypeAlias = Any
    ResultT_co = TypeVar("ResultT_co", covariant=True, default=Undeclared)
else:
    from typing import TypeVar

    ResultT_co = TypeVar("ResultT_co", covariant=True)

__all__ = ["Agent", "Handoff", "Instructions", "check_agent", "name_of"]

Instructions: TypeAlias = (
    "str | Callable[[RunContext], str] | Callable[[RunContext], Awaitable[str]]"
)


class Agent(Generic[ResultT_co]):
    """One member of the cast: instructions, tools, and what it does on stage.

    Subclass it and give `instructions` and `@function_tool` methods, or make one with
    arguments. An agent is a description; nothing runs before it is current.

    One that is delegated to may declare what it gives back: after `class
    Consent(Agent[bool])` the result of `session.delegate(Consent())` is a `bool`.
    Without brackets it is anything.

    Attributes:
        instructions: text, or a function (async or not) of the context.
        name: how logs, events and the record call it; the class name by default.
        tools: further tools, beside the decorated methods, and tool sets (`ToolSet`).
        options: session options that differ while it is current.
        model: another model to run it on; that takes a connection of its own.
        guardrails: further ones, beside the decorated methods and the session's.
    """

    __trialogue_handoff__: ClassVar[bool] = True

    instructions: Instructions | None = None
    name: str = ""
    tools: Sequence[Any] = ()
    options: SessionOptions | None = None
    model: RealtimeModel | None = None
    guardrails: Sequence[Guardrail] = ()

    def __init__(
        self,
        instructions: Instructions | None = None,
        *,
        name: str | None = None,
        tools: Sequence[Any] | None = None,
        options: SessionOptions | None = None,
        model: RealtimeModel | None = None,
        guardrails: Sequence[Guardrail] | None = None,
    ) -> None:
        given = {
            "instructions": instructions,
            "name": name,
            "tools": tools,
            "options": options,
            "model": model,
            "guardrails": guardrails,
        }
        for attribute, value in given.items():
            if value is not None:
                setattr(self, attribute, value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {name_of(self)!r}>"

    async def on_enter(self, ctx: RunContext) -> Agent | Handoff | None:
        """Called when it becomes current. May return an agent to hand over at once.

        It is cancelled when the agent hands over; what it raises ends `run`.
        """
        return None

    async def on_exit(self, ctx: RunContext) -> None:
        """Called when it is no longer current and its scope is empty; bounded.

        Beside the handoff: if that fails the agent goes on without another `on_enter`,
        and this is called again when it leaves for good.
        """


def name_of(agent: Agent) -> str:
    """Return an agent's name, which defaults to that of its class."""
    return agent.name or type(agent).__name__


def check_agent(value: object) -> None:
    """Refuse what is no agent.

    Raises:
        ConfigurationError: it is none; of a class the message says how to make one.
    """
    if isinstance(value, Agent):
        return
    if isinstance(value, type) and issubclass(value, Agent):
        name = value.__name__
        msg = (
            f"a handoff needs an agent, not the class {name}; return an instance: "
            f"{name}()"
        )
    else:
        msg = f"a handoff needs an agent, not {value!r}"
    raise ConfigurationError(msg)


def _an_agent(_: object, __: object, value: Any) -> None:
    check_agent(value)


def _a_policy(_: object, __: object, value: Any) -> None:
    check_policy(value)


def _text(_: object, __: object, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        msg = f"Handoff.note is {value!r}; expected text for the new agent, or None"
        raise ConfigurationError(msg)


def _one_of(*words: str) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in words:
            expected = " or ".join(map(repr, words))
            msg = f"Handoff.{attribute.name} is {value!r}; expected {expected}"
            raise ConfigurationError(msg)

    return check


@attrs.frozen
class Handoff:
    """Return it from a tool, instead of the agent itself, to say how to hand over.

    Attributes:
        agent: who takes over.
        note: what the new agent should know and nobody has said: a system message at
            the end of the conversation, in the same batch. Blank for none.
        context: what the new agent finds of the conversation: "keep" all of it (nothing
            is sent), begin with a "fresh" one, keep the `last_turns(n)`, or what a
            function, async or not, makes of the snapshot that it is given.
        speech: let the old agent "finish" what it has said, or "cut" it.
        reply: "auto" asks the new agent to speak if its `on_enter` does not, "none"
            leaves it silent until the user speaks.

    Raises:
        ConfigurationError: a class in place of an agent, a policy or a word that there
            is not.
    """

    __trialogue_handoff__: ClassVar[bool] = True

    agent: Agent = attrs.field(validator=_an_agent)
    note: str | None = attrs.field(default=None, kw_only=True, validator=_text)
    # pyright widens the default of a field that has a validator to any string.
    context: ContextPolicy = attrs.field(  # pyright: ignore
        default="keep", kw_only=True, validator=_a_policy
    )
    speech: Literal["finish", "cut"] = attrs.field(  # pyright: ignore
        default="finish", kw_only=True, validator=_one_of("finish", "cut")
    )
    reply: Literal["auto", "none"] = attrs.field(  # pyright: ignore
        default="auto", kw_only=True, validator=_one_of("auto", "none")
    )
