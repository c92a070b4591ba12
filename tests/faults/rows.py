"""The faults, as data: a row each.

What strikes is of `trialogue.testing.faults`; when, the steps of the handoff say. The
programs of other projects are put through the same rows, but for those that can mean
nothing to them, which say why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from faults.aim import STEPS, Aim
from faults.cast import SLOW_SECONDS, THREAD_SECONDS
from trialogue.testing import (
    ConnectFault,
    Fault,
    cut,
    fail_response,
    half_open,
    late,
    lose,
    reject,
    silence,
    silent_connect,
    stall,
    swallow,
)

__all__ = ["BASELINES", "QUICK", "ROWS", "Row", "row_of"]

Faults: TypeAlias = Callable[[Aim], Iterable[Fault | ConnectFault]]
Deed: TypeAlias = Literal["speak", "leave", "hand over"]
Side: TypeAlias = Literal["reads", "writes", "both"]

OUTAGE: Final = 3.0
"""Seconds for which nobody listens after a drop."""
STALL: Final = 1.5
LONG_STALL: Final = 4.0

_NO_FRESH: Final = {
    "openai-agents": "a handoff never takes a fresh connection",
}
_NO_SIBLING: Final = {
    "openai-agents": "a call of a handoff waits for no other",
}
_NO_SLOW: Final = {
    "openai-agents": "its handoff is declared, no tool of the program's runs in it",
}


def _none(aim: Aim) -> tuple[Fault, ...]:
    return ()


@attrs.frozen(kw_only=True)
class Row:
    """One thing that goes wrong, once, in one conversation.

    Attributes:
        name: what goes wrong.
        group: what it is about.
        faults: what strikes, given the frames of the handoff; planned as the model
            calls the tool.
        variant: how the program differs: "fresh" (the next agent takes another
            connection), "slow" (its tool takes its time), "sibling" (a second tool,
            which can be cancelled), "thread" (a second tool that works in a thread and
            heeds no cancellation), "two" (the model asks for two different agents at
            once).
        lasts: seconds of the fault itself, which are no stall.
        outage: seconds for which no connection can be made, from the moment at which
            one drops, or from the call where none does.
        at: the step at which the caller, or the program, does something.
        does: what that is: the caller speaks, the program leaves the session, or hands
            over by itself, to another agent than the tool.
        goes_on: the agent who should be current in the end.
        not_for: the clients to which the row can mean nothing, and why.
    """

    name: str
    group: str
    faults: Faults = _none
    variant: str = ""
    lasts: float = 0.0
    outage: float = 0.0
    at: str | None = None
    does: Deed | None = None
    goes_on: str = "refunds"
    not_for: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def baseline(self) -> str:
        """The row whose delays are those without a fault."""
        return "nothing, fresh connection" if self.variant == "fresh" else "nothing"


def _row(group: str, name: str, faults: Faults = _none, **more: Any) -> Row:
    return Row(name=name, group=group, faults=faults, **more)


# --- nothing goes wrong ---------------------------------------------------------------

BASELINES: Final = (
    _row("none", "nothing"),
    _row("none", "nothing, fresh connection", variant="fresh", not_for=_NO_FRESH),
)

# --- the burst ------------------------------------------------------------------------

_GOOD: Final = "invalid_value"
"""A rejection for good; another attempt would be answered the same."""


def _rejected(kind: str, what: str, code: str, null_id: bool) -> Faults:
    return lambda aim: [
        reject(kind, code=code, null_id=null_id, match=getattr(aim, what))
    ]


def _late_update(seconds: float) -> Faults:
    return lambda aim: [late("session.updated", seconds=seconds, match=aim.update)]


def _rejections(
    group: str, kind: str, what: str, codes: Mapping[str, str], **more: Any
) -> Sequence[Row]:
    return [
        _row(
            group,
            f"{kind} rejected {words}, {'no ' if null_id else ''}event_id",
            _rejected(kind, what, code, null_id),
            **(more | ({"goes_on": "desk"} if code == _GOOD else {})),
        )
        for words, code in codes.items()
        for null_id in (False, True)
    ]


_UPDATE: Final = (
    _row(
        "update",
        "session.updated lost",
        lambda aim: [swallow("session.updated", match=aim.update)],
    ),
    *(
        _row(
            "update",
            f"session.updated {seconds:g} s late",
            _late_update(seconds),
            lasts=seconds,
        )
        for seconds in (1.0, 3.0)
    ),
    _row(
        "update",
        "session.update lost",
        lambda aim: [lose("session.update", match=aim.update)],
    ),
    *_rejections(
        "update",
        "session.update",
        "update",
        {"for now": "server_error", "for good": _GOOD},
    ),
)

_OUTPUT: Final = (
    _row(
        "output",
        "the output's acknowledgement lost",
        lambda aim: [
            swallow("conversation.item.added", match=aim.output),
            swallow("conversation.item.done", match=aim.output),
        ],
    ),
    _row(
        "output",
        "the output's acknowledgement 1 s late",
        lambda aim: [
            late("conversation.item.added", seconds=1, match=aim.output),
            late("conversation.item.done", seconds=1, match=aim.output),
        ],
        lasts=1.0,
    ),
    _row(
        "output",
        "the output lost",
        lambda aim: [lose("conversation.item.create", match=aim.output)],
    ),
    *_rejections(
        "output",
        "conversation.item.create",
        "output",
        {"for now": "server_error"},
    ),
)

_REPLY: Final = (
    _row(
        "reply",
        "response.create lost",
        lambda aim: [lose("response.create", match=aim.create)],
    ),
    *_rejections("reply", "response.create", "create", {"for now": "server_error"}),
    _row(
        "reply",
        "response.created lost",
        lambda aim: [swallow("response.created", match=aim.of_reply)],
    ),
    _row("reply", "the reply begins, and fails", lambda aim: [fail_response()]),
    _row(
        "reply",
        "the reply's response.done lost",
        lambda aim: [swallow("response.done", match=aim.of_reply)],
    ),
)

# --- the connection -------------------------------------------------------------------

_AT: Final[dict[str, Callable[[Aim], dict[str, Any]]]] = {
    "response.done of the call": lambda aim: {
        "before": "response.done",
        "match": aim.of_call,
    },
    "session.update": lambda aim: {"before": "session.update", "match": aim.update},
    "the output": lambda aim: {
        "before": "conversation.item.create",
        "match": aim.output,
    },
    "response.create": lambda aim: {"before": "response.create", "match": aim.create},
    "session.updated": lambda aim: {"before": "session.updated", "match": aim.update},
    "the output's acknowledgement": lambda aim: {
        "before": "conversation.item.added",
        "match": aim.output,
    },
    "response.created": lambda aim: {
        "before": "response.created",
        "match": aim.of_reply,
    },
    "response.output_item.added": lambda aim: {
        "before": "response.output_item.added",
        "match": aim.of_reply,
    },
    "the first sound": lambda aim: {
        "before": "response.output_audio.delta",
        "match": aim.of_reply,
    },
    "the fourth sound": lambda aim: {
        "before": "response.output_audio.delta",
        "match": aim.of_reply,
        "nth": 4,
    },
    "response.output_audio.done": lambda aim: {
        "before": "response.output_audio.done",
        "match": aim.of_reply,
    },
    "response.output_item.done": lambda aim: {
        "before": "response.output_item.done",
        "match": aim.of_reply,
    },
    "response.done": lambda aim: {"before": "response.done", "match": aim.of_reply},
}


def _cut_at(where: Callable[[Aim], dict[str, Any]]) -> Faults:
    return lambda aim: [cut(**where(aim))]


_DROPS: Final = tuple(
    _row("drop", f"dropped at {name}", _cut_at(where)) for name, where in _AT.items()
)
_OUTAGES: Final = tuple(
    _row(
        "outage",
        f"dropped at {name}, refused for {OUTAGE:g} s",
        _cut_at(where),
        outage=OUTAGE,
        lasts=OUTAGE,
    )
    for name, where in _AT.items()
)


def _stalled(kind: str, what: str, side: Side, seconds: float) -> Faults:
    return lambda aim: [
        stall(after=kind, seconds=seconds, side=side, match=getattr(aim, what))
    ]


_STALLS: Final[tuple[tuple[str, str, Side, float], ...]] = (
    ("session.update", "update", "reads", STALL),
    ("response.create", "create", "reads", STALL),
    ("session.update", "update", "reads", LONG_STALL),
    ("response.created", "of_reply", "writes", STALL),
    ("response.output_audio.delta", "of_reply", "writes", STALL),
    ("session.update", "update", "both", LONG_STALL),
)

_DEAF: Final = (
    _row(
        "half-open",
        "half-open before session.update",
        lambda aim: [half_open(before="session.update", match=aim.update)],
    ),
    _row(
        "half-open",
        "half-open before response.create",
        lambda aim: [half_open(before="response.create", match=aim.create)],
    ),
    _row(
        "half-open",
        "half-open after response.created",
        lambda aim: [half_open(after="response.created", match=aim.of_reply)],
    ),
    _row(
        "half-open",
        "half-open in the reply's sound",
        lambda aim: [
            half_open(after="response.output_audio.delta", match=aim.of_reply, nth=4)
        ],
    ),
    _row(
        "half-open",
        "silent from session.update on, pings answered",
        lambda aim: [silence(before="session.update", match=aim.update)],
    ),
    *(
        _row(
            "stall",
            f"{side} stalled for {seconds:g} s after {kind}",
            _stalled(kind, what, side, seconds),
            lasts=seconds,
        )
        for kind, what, side, seconds in _STALLS
    ),
)

# --- tools ----------------------------------------------------------------------------

_TOOLS: Final = (
    _row(
        "tool",
        "a slow tool hands over",
        variant="slow",
        lasts=SLOW_SECONDS,
        not_for=_NO_SLOW,
    ),
    _row(
        "tool",
        "a slow tool beside the one that hands over",
        variant="sibling",
        not_for=_NO_SIBLING,
    ),
    _row(
        "tool",
        "a tool beside it, in a thread, that heeds no cancellation",
        variant="thread",
        not_for=_NO_SIBLING,
    ),
    _row(
        "tool",
        "the session left while such a tool runs",
        variant="thread",
        at="created",
        does="leave",
        lasts=THREAD_SECONDS,
        not_for=_NO_SIBLING,
    ),
)

# --- the caller, the program ----------------------------------------------------------

_SPEECH: Final = tuple(
    _row("speech", f"the caller speaks as {words}", at=step, does="speak")
    for step, words in STEPS.items()
)
_TWO: Final = (
    _row(
        "two handoffs",
        "two different agents asked for in one response",
        variant="two",
        goes_on="desk",
    ),
    *(
        _row(
            "two handoffs",
            f"the program hands over too, as {STEPS[step]}",
            at=step,
            does="hand over",
            goes_on="complaints",
        )
        for step in ("call", "update", "created")
    ),
)
_CLOSE: Final = tuple(
    _row("close", f"the session left as {words}", at=step, does="leave")
    for step, words in STEPS.items()
)

# --- a handoff that takes a fresh connection ------------------------------------------

_FRESH: Final = tuple(
    attrs.evolve(row, group="fresh", variant="fresh", not_for=_NO_FRESH)
    for row in (
        _row(
            "fresh",
            "fresh: session.updated lost",
            lambda aim: [swallow("session.updated", match=aim.update)],
        ),
        _row(
            "fresh",
            "fresh: session.update rejected for now",
            _rejected("session.update", "update", "server_error", False),
        ),
        _row(
            "fresh",
            "fresh: session.update rejected for good",
            _rejected("session.update", "update", _GOOD, False),
            goes_on="desk",
        ),
        _row(
            "fresh", "fresh: dropped at session.update", _cut_at(_AT["session.update"])
        ),
        _row(
            "fresh",
            "fresh: dropped at response.created",
            _cut_at(_AT["response.created"]),
        ),
        _row(
            "fresh",
            "fresh: response.create lost",
            lambda aim: [lose("response.create", match=aim.create)],
        ),
        _row(
            "fresh",
            "fresh: half-open before session.update",
            lambda aim: [half_open(before="session.update", match=aim.update)],
        ),
        _row(
            "fresh",
            f"fresh: connections refused for {OUTAGE:g} s",
            outage=OUTAGE,
            lasts=OUTAGE,
        ),
        _row(
            "fresh", "fresh: one upgrade never answered", lambda aim: [silent_connect()]
        ),
    )
)

ROWS: Final = (
    *BASELINES,
    *_UPDATE,
    *_OUTPUT,
    *_REPLY,
    *_DROPS,
    *_OUTAGES,
    *_DEAF,
    *_TOOLS,
    *_SPEECH,
    *_TWO,
    *_CLOSE,
    *_FRESH,
)
"""All of them; the first is what the others are compared with."""

QUICK: Final = (
    "nothing",
    "dropped at response.create",
    "the session left as the update is read",
)
"""The rows of the quick subset."""


def row_of(name: str) -> Row:
    """Return the row of that name.

    Raises:
        KeyError: there is none.
    """
    return {row.name: row for row in ROWS}[name]
