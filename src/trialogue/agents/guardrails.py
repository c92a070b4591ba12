"""Guardrails: a program's own checks of what is said, heard, called and answered.

What is here are descriptions. `Guarding` runs those of speech, `guarded_calls` those of
tools.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Iterable
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, final, overload

import attrs

from trialogue.agents.agent import check_agent
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from trialogue.agents.agent import Agent, Handoff

__all__ = [
    "Check",
    "Guardrail",
    "Place",
    "Trip",
    "gather",
    "input_guardrail",
    "output_guardrail",
    "tool_input_guardrail",
    "tool_output_guardrail",
]

Place: TypeAlias = Literal["input", "output", "tool_input", "tool_output"]
"""What is checked: the user's words, an agent's, a call's arguments, its output."""

TIMEOUT = 3.0
DEBOUNCE = 100


def _a_reason(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        msg = f"Trip.reason is {value!r}; say in a few words what was found"
        raise ConfigurationError(msg)


def _words(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        msg = f"Trip.{attribute.name} is {value!r}; expected text, or None"
        raise ConfigurationError(msg)


def _whom(_: object, __: object, value: Any) -> None:
    if value is not None:
        check_agent(getattr(value, "agent", value))


@attrs.frozen
class Trip:
    """What a guardrail returns when something must not be.

    Attributes:
        reason: what was found, for the program: the model is never told.
        say: instructions for a reply in place of the one that is cut; None asks for no
            such reply.
        handoff: who takes over, an agent or a `Handoff`; None for nobody.
        refusal: what the model reads in place of a call's output, from a guardrail of
            tools; None for a plain sentence.
        cut: stop the reply, at the server and where it is played. False lets it be
            heard: for a guardrail that only watches.

    Raises:
        ConfigurationError: no reason, a class in place of an agent, or both `say` and
            `handoff` (the new agent speaks for itself).
    """

    reason: str = attrs.field(validator=_a_reason)
    say: str | None = attrs.field(default=None, kw_only=True, validator=_words)
    handoff: Agent | Handoff | None = attrs.field(
        default=None, kw_only=True, validator=_whom
    )
    refusal: str | None = attrs.field(default=None, kw_only=True, validator=_words)
    cut: bool = attrs.field(default=True, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.say is not None and self.handoff is not None:
            msg = (
                "Trip takes say or handoff, not both: give the new agent its words "
                "with Handoff(agent, note=...)"
            )
            raise ConfigurationError(msg)


Check: TypeAlias = Callable[..., Awaitable[Trip | None]]
"""`async (ctx, what) -> Trip | None`; in a class, with `self` before."""


@final
@attrs.frozen(eq=False, repr=False)
class Guardrail:
    """A check, where it is made, and how often. Made by the decorators.

    In an agent's class it is a method: each instance has its own.

    Attributes:
        check: the function.
        place: what it is given: the "output" of the agents' speech, the user's "input",
            "tool_input" or "tool_output".
        name: how events and logs call it.
        timeout: seconds after which a check that has not returned counts as a trip.
        debounce_text_length: how many characters an agent says between two checks.
        sentence_ends: whether the end of a sentence is checked as well.
        tools: the names of the tools whose calls are checked; None for all.
    """

    check: Check
    place: Place
    name: str
    timeout: float = TIMEOUT
    debounce_text_length: int = DEBOUNCE
    sentence_ends: bool = True
    tools: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"<Guardrail {self.name!r} of {self.place}>"

    def __get__(self, instance: object, owner: type | None = None) -> Guardrail:
        if instance is None:
            return self
        return attrs.evolve(self, check=MethodType(self.check, instance))

    def concerns(self, tool: str) -> bool:
        """Whether calls of this tool are checked."""
        return self.tools is None or tool in self.tools

    def check_callable(self) -> None:
        """Refuse a check that cannot be called with a context and what it is about.

        Raises:
            ConfigurationError: it takes other parameters.
        """
        try:
            inspect.signature(self.check).bind(None, None)
        except TypeError:
            takes = inspect.signature(self.check)
            msg = (
                f"the guardrail {self.name!r} takes {takes}; a check takes the context "
                "and what it is about, and in an agent's class `self` before them"
            )
            raise ConfigurationError(msg) from None


class _Decorator(Protocol):
    def __call__(self, check: Check, /) -> Guardrail: ...


@overload
def output_guardrail(check: Check, /) -> Guardrail: ...
@overload
def output_guardrail(
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    debounce_text_length: int = DEBOUNCE,
    sentence_ends: bool = True,
) -> _Decorator: ...
def output_guardrail(
    check: Check | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    debounce_text_length: int = DEBOUNCE,
    sentence_ends: bool = True,
) -> Guardrail | _Decorator:
    """Check what agents say, while they say it: `async (ctx, text) -> Trip | None`.

    `text` is all that is known of the message by then. It is checked again when
    `debounce_text_length` more characters have come, when a sentence ends, and when the
    message ends, one check at a time; sound is not held back for it. Replies out of
    band are the program's own and are not checked.

    Args:
        check: the function, when the decorator is used bare.
        name: how events and logs call it; the function's name by default.
        timeout: seconds after which a check that has not returned counts as a trip.
        debounce_text_length: how many new characters make a check due.
        sentence_ends: False leaves out the checks at the ends of sentences.

    Raises:
        ConfigurationError: not an async function of two parameters, no name, a timeout
            or a length that is not above 0.
    """
    options = {
        "timeout": timeout,
        "debounce_text_length": debounce_text_length,
        "sentence_ends": sentence_ends,
    }
    return _made("output", check, name, options)


@overload
def input_guardrail(check: Check, /) -> Guardrail: ...
@overload
def input_guardrail(
    *, name: str | None = None, timeout: float = TIMEOUT
) -> _Decorator: ...
def input_guardrail(
    check: Check | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
) -> Guardrail | _Decorator:
    """Check what the user says or writes: `async (ctx, text) -> Trip | None`.

    `text` is the final transcript of a turn, or the text of a message that
    `send_message` adds. The reply to it begins beside the check; a trip cuts it.

    Args:
        check: the function, when the decorator is used bare.
        name: how events and logs call it; the function's name by default.
        timeout: seconds after which a check that has not returned counts as a trip.

    Raises:
        ConfigurationError: as for `output_guardrail`.
    """
    return _made("input", check, name, {"timeout": timeout})


@overload
def tool_input_guardrail(check: Check, /) -> Guardrail: ...
@overload
def tool_input_guardrail(
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    tools: Iterable[str] | None = None,
) -> _Decorator: ...
def tool_input_guardrail(
    check: Check | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    tools: Iterable[str] | None = None,
) -> Guardrail | _Decorator:
    """Check a call before its tool runs: `async (ctx, arguments) -> Trip | None`.

    `arguments` is the object that the model wrote, a dict of the check's own, and
    `ctx.call` the call. The tool waits for the check; after a trip it is not run, and
    the model reads a refusal.

    Args:
        check: the function, when the decorator is used bare.
        name: how events and logs call it; the function's name by default.
        timeout: seconds after which a check that has not returned counts as a trip.
        tools: the names of the tools it is for; None for all.

    Raises:
        ConfigurationError: as for `output_guardrail`, or `tools` that are no names.
    """
    return _made("tool_input", check, name, {"timeout": timeout, "tools": tools})


@overload
def tool_output_guardrail(check: Check, /) -> Guardrail: ...
@overload
def tool_output_guardrail(
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    tools: Iterable[str] | None = None,
) -> _Decorator: ...
def tool_output_guardrail(
    check: Check | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float = TIMEOUT,
    tools: Iterable[str] | None = None,
) -> Guardrail | _Decorator:
    """Check what a tool gave before the model reads it: `async (ctx, output)`.

    `output` is the text that would be sent, of a result or of a `ToolError`, and
    `ctx.call` the call. After a trip the model reads a refusal in its place.

    Args:
        check: the function, when the decorator is used bare.
        name: how events and logs call it; the function's name by default.
        timeout: seconds after which a check that has not returned counts as a trip.
        tools: the names of the tools it is for; None for all.

    Raises:
        ConfigurationError: as for `tool_input_guardrail`.
    """
    return _made("tool_output", check, name, {"timeout": timeout, "tools": tools})


def _made(
    place: Place, check: Check | None, name: str | None, options: dict[str, Any]
) -> Guardrail | _Decorator:
    what = f"@{place}_guardrail"

    def decorate(check: Check, /) -> Guardrail:
        _check_function(what, check)
        called = getattr(check, "__name__", type(check).__name__)
        return Guardrail(check, place, called if name is None else name, **options)

    if name is not None and (not isinstance(name, str) or not name.strip()):
        msg = f"{what}: name={name!r}; give a name, or leave it out"
        raise ConfigurationError(msg)
    _check_number(what, "timeout", options["timeout"])
    if place == "output":
        _check_number(what, "debounce_text_length", options["debounce_text_length"])
    if "tools" in options:
        options["tools"] = _tool_names(what, options["tools"])
    return decorate if check is None else decorate(check)


def _check_function(what: str, check: object) -> None:
    if isinstance(check, Guardrail):
        msg = f"{what}: {check!r} is a guardrail already; decorate its function"
        raise ConfigurationError(msg)
    called = getattr(type(check), "__call__", None)  # noqa: B004 - of its class
    if not (inspect.iscoroutinefunction(check) or inspect.iscoroutinefunction(called)):
        named = getattr(check, "__qualname__", repr(check))
        msg = (
            f"{what}: {named} is not an async function; make it one (async def), and "
            "move blocking work to a thread: await trio.to_thread.run_sync(...)"
        )
        raise ConfigurationError(msg)


def _check_number(what: str, option: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = option != "timeout" and not isinstance(value, int)
    if not number or whole or not (value > 0 and math.isfinite(value)):
        unit = "seconds" if option == "timeout" else "characters"
        msg = f"{what}: {option}={value!r} is not a number of {unit} above 0"
        raise ConfigurationError(msg)


def _tool_names(what: str, tools: Any) -> frozenset[str] | None:
    if tools is None:
        return None
    names = None if isinstance(tools, str | bytes) else tools
    if not isinstance(names, Iterable):
        msg = f"{what}: tools={tools!r}; give the names of tools: tools=[...]"
        raise ConfigurationError(msg)
    found = frozenset(names)
    wrong = [name for name in found if not isinstance(name, str)]
    if wrong or not found:
        shown = "no name" if not found else repr(wrong[0])
        msg = f"{what}: tools has {shown}; give the names that the model calls them by"
        raise ConfigurationError(msg)
    return found


def gather(
    everywhere: Iterable[object], own: object = (), *, owner: object = None
) -> tuple[Guardrail, ...]:
    """Return the session's guardrails, the methods of an agent, and its further ones.

    Raises:
        ConfigurationError: no list, a thing that is no guardrail, a check that cannot
            be called, or two of one name in one place.
    """
    methods = () if owner is None else _methods(owner)
    found: dict[tuple[str, str], Guardrail] = {}
    for guardrail in (*_listed(everywhere), *methods, *_listed(own)):
        guardrail.check_callable()
        key = guardrail.place, guardrail.name
        if key in found:
            msg = (
                f"two guardrails of {guardrail.place} are called {guardrail.name!r}; "
                "those of the session hold for every agent and are not repeated, and "
                "name=... tells others apart"
            )
            raise ConfigurationError(msg)
        found[key] = guardrail
    return tuple(found.values())


def _listed(given: object) -> Iterable[Guardrail]:
    if not isinstance(given, Iterable) or isinstance(given, str):
        msg = f"guardrails is a list of guardrails, not {given!r}; write [...]"
        raise ConfigurationError(msg)
    for one in given:
        if not isinstance(one, Guardrail):
            named = getattr(one, "__qualname__", repr(one))
            msg = (
                f"{named} is no guardrail; decorate it: @output_guardrail, "
                "@input_guardrail, @tool_input_guardrail or @tool_output_guardrail"
            )
            raise ConfigurationError(msg)
        yield one


def _methods(owner: object) -> Iterable[Guardrail]:
    """The guardrails in an agent's class; what overrides one with None removes it."""
    attributes: dict[str, object] = {}
    for cls in reversed(type(owner).__mro__):
        attributes.update(vars(cls))
    for value in attributes.values():
        if isinstance(value, Guardrail):
            yield value.__get__(owner)
