"""What happened in a stretch of a conversation, and what a test may demand of it.

No waiting: what is asked about is over, or is told as far as it has come.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from trialogue.agents.agent import Agent, name_of
from trialogue.agents.events import (
    HandoffCompleted,
    HandoffFailed,
    HandoffTimings,
    ToolFailed,
    ToolFinished,
    ToolStarted,
)
from trialogue.conversation.items import Message
from trialogue.realtime.notices import ItemChanged, ReplyStarted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trialogue.testing.chronicle import Chronicle
    from trialogue.testing.observed import ModelReply, ToolCall

__all__ = ["Happenings"]

T = TypeVar("T")
AgentName: TypeAlias = str | Agent | type[Agent]


class Happenings:
    """A stretch of a conversation; the methods that demand raise `AssertionError`."""

    def __init__(self, chronicle: Chronicle, begin: int = 0) -> None:
        self._chronicle = chronicle
        self._begin = begin
        self._end: int | None = None

    def __str__(self) -> str:
        return "\n".join(self._lines()) or "nothing happened"

    # --- what happened -------------------------------------------------------

    @property
    def events(self) -> Sequence[Any]:
        """The events (see `trialogue.events`), in order."""
        return self._chronicle.events()[self._begin : self._end]

    def of(self, kind: type[T]) -> list[T]:
        """Return the events of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def calls(self) -> list[ToolCall]:
        """The calls of the model, in the order in which they were run or refused."""
        first = {
            event.call_id: event
            for event in reversed(self.events)
            if isinstance(event, ToolStarted | ToolFinished)
        }
        return [self._chronicle.call(event) for event in reversed(first.values())]

    @property
    def replies(self) -> list[ModelReply]:
        """The model's responses that began here, in order."""
        return [self._chronicle.reply(event) for event in self.of(ReplyStarted)]

    @property
    def handoffs(self) -> list[HandoffTimings]:
        """The handoffs that the server has agreed with, in order.

        The timings are those that are known by now.
        """
        measured = self._chronicle.timings
        agreed = [event.timings for event in self.of(HandoffCompleted)]
        return [measured.get((one.next, one.requested), one) for one in agreed]

    # --- what a test demands -------------------------------------------------

    def called(self, tool: str, /, **arguments: Any) -> ToolCall:
        """Demand that a tool was run, with at least these arguments; return the call.

        An argument matches if it equals what the model gave, as parsed from JSON.
        Arguments that are not named may be anything. If several calls match, it is the
        first.
        """
        __tracebackhide__ = True
        calls = self.calls
        for call in calls:
            if call.tool == tool and not _objections(call, arguments):
                return call
        given = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
        raise self._failure(
            f"{tool}({given}) was not run",
            [f"{call}{_told(_objections(call, arguments, tool))}" for call in calls],
            "no tool was called",
        )

    def not_called(self, tool: str | None = None) -> None:
        """Demand that a tool was not called, run or not; without a name, that none was.

        Raises:
            AssertionError: it was.
        """
        __tracebackhide__ = True
        calls = [str(call) for call in self.calls if tool in (None, call.tool)]
        if calls:
            what = "a tool" if tool is None else tool
            raise self._failure(f"{what} was called, and should not have been", calls)

    def handed_off_to(self, agent: AgentName) -> HandoffTimings:
        """Demand a handoff to an agent; return its timings.

        Args:
            agent: its name, its class, or itself; names are what counts.
        """
        __tracebackhide__ = True
        name = _name(agent)
        handoffs = self.handoffs
        for timings in handoffs:
            if timings.next == name:
                return timings
        failed = self.of(HandoffFailed)
        raise self._failure(
            f"nobody handed over to {name}",
            [
                *(f"{h.previous} handed over to {h.next}" for h in handoffs),
                *(f"the handoff to {f.next} failed: {f.message}" for f in failed),
            ],
            "there was no handoff",
        )

    def not_handed_off(self) -> None:
        """Demand that nobody handed over.

        Raises:
            AssertionError: somebody did.
        """
        __tracebackhide__ = True
        handoffs = [f"{h.previous} handed over to {h.next}" for h in self.handoffs]
        if handoffs:
            raise self._failure("nobody should have handed over", handoffs)

    def said(
        self, pattern: str | re.Pattern[str], *, agent: AgentName | None = None
    ) -> ModelReply:
        """Demand that something matching was said or written; return that reply.

        Args:
            pattern: searched for in each reply's text; one given as text disregards
                case.
            agent: who is to have said it: a name, a class, or an agent.
        """
        __tracebackhide__ = True
        found, replies = self._saying(pattern, agent)
        if found:
            return found[0]
        who = "" if agent is None else f" by {_name(agent)}"
        raise self._failure(
            f"nothing matching {_source(pattern)!r} was said{who}",
            [_quoted(reply) for reply in replies],
            "nothing was said",
        )

    def not_said(
        self, pattern: str | re.Pattern[str], *, agent: AgentName | None = None
    ) -> None:
        """Demand that nothing matching was said or written; see `said`.

        Raises:
            AssertionError: it was.
        """
        __tracebackhide__ = True
        found, _ = self._saying(pattern, agent)
        if found:
            raise self._failure(
                f"something matching {_source(pattern)!r} was said",
                [_quoted(reply) for reply in found],
            )

    def _saying(
        self, pattern: str | re.Pattern[str], agent: AgentName | None
    ) -> tuple[list[ModelReply], list[ModelReply]]:
        wanted = _compiled(pattern)
        replies = [reply for reply in self.replies if reply.text]
        name = None if agent is None else _name(agent)
        matching = [
            reply
            for reply in replies
            if wanted.search(reply.text) and name in (None, reply.agent)
        ]
        return matching, replies

    def _failure(
        self, what: str, instead: Sequence[str], nothing: str = ""
    ) -> AssertionError:
        shown = [f"  {line}" for line in instead] or [f"  {nothing}"]
        course = [f"  {line}" for line in self._lines()]
        rest = ["what happened:", *course] if course else []
        return AssertionError("\n".join([what, *shown, *rest]))

    def _lines(self) -> Iterator[str]:
        """The course of things, a line each."""
        ends = {
            event.response_id: reply
            for event in self.of(ReplyStarted)
            if (reply := self._chronicle.reply(event)).text
        }
        for event in self.events:
            match event:
                case ItemChanged("added", item_id, Message(role="user") as message):
                    yield f"user: {self._chronicle.words_of(item_id) or message.text}"
                case ReplyStarted(response_id=key) if key in ends:
                    yield _quoted(ends[key])
                case ToolFinished():
                    yield f"{event.agent}: {self._chronicle.call(event)}"
                case ToolFailed(tool=tool, error=error):
                    yield f"{event.agent}: {tool} raised {error!r}"
                case HandoffCompleted(timings):
                    yield f"{timings.previous} handed over to {timings.next}"
                case HandoffFailed():
                    yield f"the handoff to {event.next} failed: {event.message}"


def _objections(
    call: ToolCall, arguments: Mapping[str, Any], tool: str | None = None
) -> list[str]:
    """Why a call is not the one that is demanded; `tool` alone if it is another."""
    if tool is not None and call.tool != tool:
        return []
    missing = object()
    wrong = [
        f"{name} is {call.arguments[name]!r}, not {value!r}"
        if name in call.arguments
        else f"{name} is not given"
        for name, value in arguments.items()
        if call.arguments.get(name, missing) != value
    ]
    return wrong if call.ran else ["it was not run", *wrong]


def _told(objections: Sequence[str]) -> str:
    return f"   <- {', '.join(objections)}" if objections else ""


def _compiled(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE) if isinstance(pattern, str) else pattern


def _name(agent: AgentName) -> str:
    if isinstance(agent, str):
        return agent
    return agent.name or agent.__name__ if isinstance(agent, type) else name_of(agent)


def _source(pattern: str | re.Pattern[str]) -> str:
    return pattern if isinstance(pattern, str) else pattern.pattern


def _quoted(reply: ModelReply) -> str:
    cut = f" [cut after {reply.heard_ms} ms]" if reply.cut else ""
    return f"{reply.agent}: {reply.text}{cut}"
