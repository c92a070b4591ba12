"""How a call can end, and what the model is told about it.

Every call has exactly one outcome, and every outcome has a text (T1). The text of an
exception that the program did not address to the model is never part of it (T2).
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, assert_never

import attrs

from trialogue._codec import dumps
from trialogue.tools.plain import NotPlain, to_plain

__all__ = [
    "MAX_OUTPUT_BYTES",
    "BadArguments",
    "Blocked",
    "Conflict",
    "Crashed",
    "Denied",
    "Failed",
    "HandedOff",
    "HandoffFailed",
    "InProgress",
    "Interrupted",
    "NoReply",
    "Returned",
    "StepLimitReached",
    "TimedOut",
    "ToolOutcome",
    "Transferred",
    "UnknownTool",
    "failure",
    "render",
]

MAX_OUTPUT_BYTES: Final = 256 * 1024
"""How long the text of one outcome may be, in bytes of UTF-8 (X3)."""


@attrs.frozen
class NoReply:
    """Return it from a tool to give the model a result without asking it to speak."""

    value: Any = None


@attrs.frozen
class Returned:
    """The tool returned. A `NoReply` is taken apart: `Returned.of`.

    Attributes:
        value: what it returned.
        wants_reply: False if the tool asked that nothing be said about it.
    """

    value: Any
    wants_reply: bool = True

    @classmethod
    def of(cls, value: Any) -> Returned:
        """Make the outcome of a tool that returned `value`."""
        if isinstance(value, NoReply):
            return cls(value.value, wants_reply=False)
        return cls(value)


@attrs.frozen
class Failed:
    """The tool raised `ToolError`; its text is for the model, verbatim."""

    message: str


@attrs.frozen
class Crashed:
    """The tool raised something else; the model is told nothing about it (T2)."""

    error: BaseException


@attrs.frozen
class UnknownTool:
    """The model called a tool that there is not."""

    name: str
    known: tuple[str, ...]


@attrs.frozen
class BadArguments:
    """The arguments do not fit; the message is that of an `ArgumentsError`."""

    message: str


@attrs.frozen
class Denied:
    """The call needed approval and was given none; the reason is for the model."""

    reason: str = ""


@attrs.frozen
class StepLimitReached:
    """The call was not run: so many responses in a row have called tools."""

    most: int


@attrs.frozen
class TimedOut:
    """The tool took longer than its own timeout and was cancelled."""

    seconds: float


@attrs.frozen
class Interrupted:
    """The user interrupted, and the call was cancelled for it."""


@attrs.frozen
class HandedOff:
    """The agent handed off: the call was not run, or was cancelled while it ran."""

    started: bool = False


@attrs.frozen
class Transferred:
    """The tool returned an agent, which has taken over."""

    to: str


@attrs.frozen
class HandoffFailed:
    """The tool returned an agent, which could not take over."""

    reason: str


@attrs.frozen
class Conflict:
    """Calls of one response handed off to different agents; none took over."""

    targets: tuple[str, ...]


@attrs.frozen
class Blocked:
    """A guardrail tripped.

    Attributes:
        what: it was the "call", so that the tool was not run; the "result", which is
            withheld; or the "reply" that the call is part of, which was stopped.
        message: what the model is told instead of a plain sentence.
    """

    what: Literal["call", "result", "reply"]
    message: str | None = None


@attrs.frozen
class InProgress:
    """The tool goes on; its result follows as a note."""


ToolOutcome: TypeAlias = (
    Returned
    | Failed
    | Crashed
    | UnknownTool
    | BadArguments
    | Denied
    | StepLimitReached
    | TimedOut
    | Interrupted
    | HandedOff
    | Transferred
    | HandoffFailed
    | Conflict
    | Blocked
    | InProgress
)


def render(outcome: ToolOutcome, *, max_bytes: int = MAX_OUTPUT_BYTES) -> str:
    """Return the text for the model, at most `max_bytes` of UTF-8.

    A returned `str`, and what has the form of text (a date, an enum member of one), is
    sent as it is, anything else as JSON (None as `null`): attrs classes, dataclasses
    and containers included. A value without a JSON form, and one whose text is too
    long, become an error text (half a JSON document would mislead); other texts that
    are too long are cut, with a notice.
    `failure` tells the program about the former.
    """
    if isinstance(outcome, Returned):
        text, problem = _returned(outcome.value, max_bytes)
        return text if problem is None else problem
    return _cut(_sentence(outcome), max_bytes)


def failure(outcome: ToolOutcome, *, max_bytes: int = MAX_OUTPUT_BYTES) -> str | None:
    """Say for the program, not the model, what a tool's author has to repair, or None.

    That is a crash (the class of its exception; its text may hold what the user said)
    and a value that cannot be sent.
    """
    match outcome:
        case Crashed(error=error):
            return f"the tool raised {type(error).__qualname__}"
        case Returned(value=value):
            return _returned(value, max_bytes)[1]
        case _:
            return None


def _returned(value: Any, max_bytes: int) -> tuple[str, str | None]:
    """Return the text of a value, and the problem if it cannot be sent."""
    if isinstance(value, NoReply):
        value = value.value
    try:
        plain = to_plain(value)
        text = plain if isinstance(plain, str) else dumps(plain)
    except NotPlain as error:
        return "", _unsendable(error.type_name)
    except Exception:  # integers beyond what the codec takes; a property that raises
        return "", _unsendable(type(value).__qualname__)
    size = len(text.encode())
    if size <= max_bytes:
        return text, None
    return "", (
        f"the tool's result is too long to be sent ({size} bytes, at most "
        f"{max_bytes}); ask for less"
    )


def _unsendable(type_name: str) -> str:
    return (
        f"the tool returned a value that cannot be sent (type {type_name}); "
        "return str or JSON-able data"
    )


def _sentence(
    outcome: Failed
    | Crashed
    | UnknownTool
    | BadArguments
    | Denied
    | StepLimitReached
    | TimedOut
    | Interrupted
    | HandedOff
    | Transferred
    | HandoffFailed
    | Conflict
    | Blocked
    | InProgress,
) -> str:
    match outcome:
        case Failed(message=message):
            return message or "the tool failed"
        case Crashed():
            return "the tool failed with an internal error"
        case UnknownTool(name=name, known=known):
            return _unknown(name, known)
        case BadArguments(message=message):
            return f"the arguments are wrong: {message}"
        case Denied(reason=reason):
            return f"not approved: {reason}" if reason else "not approved"
        case StepLimitReached(most=most):
            return (
                f"not run: {most} steps with tools in a row are the limit; tell the "
                "user what you know, and go on when the user has spoken"
            )
        case TimedOut(seconds=seconds):
            return f"the tool did not finish within {seconds:g} s and was stopped"
        case Interrupted():
            return "stopped: the user interrupted"
        case HandedOff(started=started):
            return f"{'stopped' if started else 'not run'}: handed off"
        case Transferred(to=to):
            return f"transferred to {to}"
        case HandoffFailed(reason=reason):
            return f"handoff failed: {reason}"
        case Conflict(targets=targets):
            agents = " and ".join(targets)
            return (
                f"no handoff: {agents} were asked for at the same time; "
                "choose one and transfer to it"
            )
        case Blocked(what=what, message=message):
            return message or _BLOCKED[what]
        case InProgress():
            return "in progress: the result will follow"
        case _:
            assert_never(outcome)


_BLOCKED: Final = {
    "call": "not run: this call is not allowed",
    "result": "the tool has run, but its result is withheld: it is not allowed",
    "reply": "not run: the reply that it is part of was stopped",
}


def _unknown(name: str, known: tuple[str, ...]) -> str:
    there = f"the tools are: {', '.join(known)}" if known else "there are no tools"
    return f"there is no tool {_cut(name, 100)!r}; {there}"


_CUT_NOTICE = " [cut]"


def _cut(text: str, max_bytes: int) -> str:
    """Make a text sendable and bound it, never splitting a character."""
    data = text.encode("utf-8", "replace")
    if len(data) > max_bytes:
        kept = data[: max(0, max_bytes - len(_CUT_NOTICE))]
        return kept.decode("utf-8", "ignore") + _CUT_NOTICE
    return data.decode()
