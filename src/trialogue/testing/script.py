"""What the scripted model says: brains, which turn a `Turn` into a reply.

A brain is any callable that takes a `Turn` and returns parts; `Rules` is one made of
data. It is called once per response, when the response begins, and must not block: one
that has to wait is a coroutine function, or an asynchronous generator of parts.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any, Final, Literal, TypeAlias, TypeGuard, cast

import attrs

from trialogue.dialects.openai.wire.items import Item

__all__ = [
    "AskedBy",
    "AsyncReply",
    "Brain",
    "Call",
    "Fail",
    "Part",
    "Pause",
    "Reply",
    "Rule",
    "Rules",
    "Say",
    "Stop",
    "Turn",
    "echo",
    "is_async",
    "parts_of",
]

AskedBy: TypeAlias = Literal["client", "vad", "idle"]


@attrs.frozen
class Say:
    """A message, spoken or written as the response's modality demands.

    Attributes:
        text: its text or transcript.
        audio: its sound as 16 bit, 24 kHz PCM; None makes a tone.
        ms: how long the tone is; None makes it as long as the text needs.
    """

    text: str
    audio: bytes | None = attrs.field(default=None, repr=False)
    ms: int | None = None

    @property
    def length_ms(self) -> int:
        """How long it sounds."""
        if self.audio is not None:
            return len(self.audio) // 48
        return self.ms if self.ms is not None else max(300, 60 * len(self.text))


def _json(arguments: str | Mapping[str, Any]) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(dict(arguments))


@attrs.frozen
class Call:
    """A function call. Arguments that are text are sent as they are, valid or not."""

    name: str
    arguments: str = attrs.field(default="{}", converter=_json)
    call_id: str | None = None


@attrs.frozen
class Pause:
    """Nothing, for a while."""

    seconds: float


@attrs.frozen
class Fail:
    """The response fails here."""

    code: str
    message: str = "The server had an error while processing your request."
    type: str = "server_error"


@attrs.frozen
class Stop:
    """The response is left incomplete here."""

    reason: Literal["content_filter", "max_output_tokens"] = "content_filter"


_PARTS: Final = (Say, Call, Pause, Fail, Stop)
Part: TypeAlias = Say | Call | Pause | Fail | Stop
Reply: TypeAlias = Sequence[Part | str] | Part | str
AsyncReply: TypeAlias = Awaitable[Reply] | AsyncIterator[Part | str]
"""What a coroutine function returns when called, or an asynchronous generator."""


@attrs.frozen(kw_only=True)
class Turn:
    """All that the model could know when it begins a response.

    Attributes:
        items: its context, oldest first: the conversation, or the response's own input.
        said: the same as (role, text), with what was heard in the user's audio even if
            it was not transcribed for the client.
        instructions: those in force for this response.
        override: the response's own instructions, or None.
        tools: the names of the functions in force.
        tool_choice: "auto", "none", "required" or the name of a function.
        user_text: what the user said or wrote last, or "".
        output: the output of the last item, if that answers a call, else None.
        asked_by: who began the response.
        metadata: what the client attached to it.
        connection: the index of the connection, counted by the server.
        ordinal: how many responses were begun on this connection before.
        agent: the name of the agent that asks, where that is known (`run_agent` knows
            it, a server alone does not), else None.
        in_conversation: False for an out-of-band response.
        response_id: what the response will be called.
        spoken_ms: where the last item begins and ends in the connection's audio, in ms,
            if it is a turn that the user spoke there, else None.
    """

    items: tuple[Item, ...] = ()
    said: tuple[tuple[str, str], ...] = ()
    instructions: str = ""
    override: str | None = None
    tools: tuple[str, ...] = ()
    tool_choice: str = "auto"
    user_text: str = ""
    output: str | None = None
    asked_by: AskedBy = "client"
    metadata: Mapping[str, str] | None = None
    connection: int = 0
    ordinal: int = 0
    agent: str | None = None
    in_conversation: bool = True
    response_id: str = ""
    spoken_ms: tuple[int, int] | None = None


Brain: TypeAlias = Callable[[Turn], Reply | AsyncReply]


def is_async(reply: object) -> TypeGuard[AsyncReply]:
    """Whether it has to be awaited, or iterated asynchronously."""
    return isinstance(reply, (Awaitable, AsyncIterator))


def parts_of(reply: Reply | AsyncReply) -> tuple[Part, ...]:
    """Return a reply as parts; a bare string is said.

    Raises:
        TypeError: there is something in it that a model cannot do; or it is a
            coroutine, where nobody can wait for it.
    """
    if is_async(reply):
        if inspect.iscoroutine(reply):
            reply.close()
        msg = (
            "a brain that is a coroutine function or an asynchronous generator works "
            "in a RealtimeServer only; here a reply has to be there at once"
        )
        raise TypeError(msg)
    if isinstance(reply, (str, *_PARTS)):
        return (_part(reply),)
    return tuple(map(_part, cast("Sequence[Part | str]", reply)))


def _part(value: object) -> Part:
    if isinstance(value, str):
        return Say(value)
    if isinstance(value, _PARTS):
        return value
    names = ", ".join(kind.__name__ for kind in _PARTS)
    msg = f"a reply is made of text and of {names}, not of {value!r}"
    raise TypeError(msg)


def echo(turn: Turn) -> Reply:
    """Say something short about what was heard."""
    return Say(f"You said: {turn.user_text}" if turn.user_text else "Hello.")


def _pattern(value: str | re.Pattern[str] | None) -> re.Pattern[str] | None:
    return re.compile(value, re.IGNORECASE) if isinstance(value, str) else value


@attrs.frozen
class Rule:
    """One line of a script. Conditions that are None always hold.

    Attributes:
        reply: the parts, or a function that makes them of the turn, asynchronous or
            not.
        agent: the name of the agent, where that is known (see `Turn.agent`), else a
            text that the instructions in force contain.
        user: a pattern searched for in what the user said last; it does not hold while
            a tool output waits to be answered, unless `output` is given as well.
        output: a pattern searched for in the tool output that waits.
        override: a text that the response's own instructions contain.
        asked_by: who began the response.
    """

    reply: Reply | Brain
    agent: str | None = attrs.field(default=None, kw_only=True)
    user: re.Pattern[str] | None = attrs.field(
        default=None, kw_only=True, converter=_pattern
    )
    output: re.Pattern[str] | None = attrs.field(
        default=None, kw_only=True, converter=_pattern
    )
    override: str | None = attrs.field(default=None, kw_only=True)
    asked_by: AskedBy | None = attrs.field(default=None, kw_only=True)

    def matches(self, turn: Turn) -> bool:
        """Whether every condition holds."""
        return (
            self._is_for(turn)
            and (self.override is None or self.override in (turn.override or ""))
            and self.asked_by in (None, turn.asked_by)
            and self._hears(turn)
        )

    def _is_for(self, turn: Turn) -> bool:
        if self.agent is None or turn.agent is not None:
            return self.agent in (None, turn.agent)
        return self.agent in turn.instructions

    def _hears(self, turn: Turn) -> bool:
        if self.output is not None:
            if turn.output is None or not self.output.search(turn.output):
                return False
        elif self.user is not None and turn.output is not None:
            return False
        return self.user is None or bool(self.user.search(turn.user_text))

    def parts(self, turn: Turn) -> tuple[Part, ...]:
        """Return the reply for this turn."""
        return parts_of(self.answer(turn))

    def answer(self, turn: Turn) -> Reply | AsyncReply:
        """Return the reply for this turn, as it is."""
        return self.reply(turn) if callable(self.reply) else self.reply


@attrs.frozen
class Rules:
    """A brain made of rules: the first that matches, and whose tools exist, answers.

    A rule whose reply calls a function that is not in force, or with `tool_choice`
    "none" any function, is passed over: a model cannot call what it was not given. What
    an asynchronous reply will call is not known before, and not looked at.
    """

    rules: tuple[Rule, ...]
    default: Brain = echo

    @classmethod
    def of(cls, *rules: Rule, default: Brain = echo) -> Rules:
        """Make a brain of rules, in order."""
        return cls(rules, default)

    def __call__(self, turn: Turn) -> Reply | AsyncReply:
        """Return the reply of the first rule that applies, else the default's."""
        for rule in self.rules:
            if rule.matches(turn):
                reply = rule.answer(turn)
                if is_async(reply):
                    return reply
                parts = parts_of(reply)
                if _possible(parts, turn):
                    return parts
        return self.default(turn)


def _possible(parts: Iterable[Part], turn: Turn) -> bool:
    calls = [part.name for part in parts if isinstance(part, Call)]
    return not calls or (
        turn.tool_choice != "none" and all(name in turn.tools for name in calls)
    )
