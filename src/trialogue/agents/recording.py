"""Keeping the record of a conversation while it is held, in bounded memory.

No waiting and no tasks in here: `Recorder` is given each event with its moment, and is
told by the playout what is heard. What becomes of an event stands in the table of
`trialogue.agents.recorded`; one that the table does not name becomes a note.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trialogue._version import __version__
from trialogue.agents.recorded import TABLE, unknown
from trialogue.records.entries import (
    AgentRecord,
    ConnectionRecord,
    DelegationRecord,
    End,
    HandoffRecord,
    ItemRecord,
    NoteRecord,
    ReplyRecord,
    SessionRecord,
    SpeechRecord,
    ToolRecord,
    TurnRecord,
)
from trialogue.records.items import ItemTrace, item_record
from trialogue.records.report import Report
from trialogue.records.shelf import Shelf
from trialogue.records.wording import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialogue.agents.session import AgentSession
    from trialogue.conversation.context import ChatContext
    from trialogue.conversation.items import Item
    from trialogue.realtime.metrics import Metrics

__all__ = ["ITEMS", "MOST", "Recorder", "recorded"]

MOST: Final = 1000
"""Entries that are kept of each list."""
ITEMS: Final = 4000
"""Items of which is known when they came; those that have left are among them."""
_WORDED: Final = {"arguments", "output", "text"}
"""Fields whose keys were struck out when they were taken down."""


class Recorder:
    """What has happened in one conversation, up to now."""

    def __init__(self, session_id: str, wall: Callable[[], float]) -> None:
        self._id = session_id
        self._wall = wall
        self._zero = 0.0
        self._began = 0.0
        self._end: End | None = None
        self._error: str | None = None
        self._number = 0
        self._traces: OrderedDict[str, ItemTrace] = OrderedDict()
        self._lost_traces = 0
        self.turns = Shelf[TurnRecord](MOST)
        self.agents = Shelf[AgentRecord](MOST)
        self.speech = Shelf[SpeechRecord](MOST)
        self.replies = Shelf[ReplyRecord](MOST)
        self.tools = Shelf[ToolRecord](MOST)
        self.handoffs = Shelf[HandoffRecord](MOST)
        self.delegations = Shelf[DelegationRecord](MOST)
        self.connections = Shelf[ConnectionRecord](MOST)
        self.errors = Shelf[NoteRecord](MOST)
        self.notes = Shelf[NoteRecord](MOST)
        self.current: int | None = None
        self.turn: int | None = None
        self.waiting: list[tuple[str, int]] = []

    # --- what is told --------------------------------------------------------

    def begin(self, now: float) -> None:
        """The session begins to open; all moments count from here."""
        self._zero = now
        self._began = self._wall()

    def observe(self, event: object, now: float, voice: float | None = None) -> None:
        """Something was published.

        Args:
            voice: when the user's voice began or ended, if the event tells of that.
        """
        take = TABLE.get(type(event), unknown)
        if take is not None:
            take(self, event, self.since(now))
            if voice is not None:
                self._voice(self.since(voice))

    def _voice(self, at: float) -> None:
        turn = None if self.turn is None else self.turns.get(self.turn)
        if turn is not None and turn.noticed_end is None:
            before = max((t.ended or 0.0 for t in self.turns.all()[-2:-1]), default=0.0)
            self.turns.change(self.turn, began=min(turn.began, max(at, before)))
        elif turn is not None:
            self.turns.change(self.turn, ended=max(turn.began, at))

    def spoken(self, item_id: str, response_id: str, agent: str | None) -> None:
        """The first sound of a message has come; what was cut stays as it was."""
        if item_id in self.speech:
            return
        record = SpeechRecord(item_id=item_id, response_id=response_id, agent=agent)
        self.speech.put(item_id, record)

    def speech_began(self, item_id: str, now: float) -> None:
        """It begins to be heard."""
        at = self.since(now)
        record = self.speech.get(item_id)
        if record is None or record.began is not None:
            return
        self.speech.change(item_id, began=at)
        turn, reply = self.turns.newest(), self.replies.get(record.response_id)
        if turn is None or turn.ended is None or turn.answered is not None:
            return
        if reply is not None and reply.began >= turn.ended:  # else it was under way
            self.turns.change_newest(answered=at, answered_by=record.agent)

    def speech_ended(
        self, item_id: str, now: float, *, cut: bool = False, heard_ms: int = 0
    ) -> None:
        """It was heard to its end, or cut."""
        record = self.speech.get(item_id)
        if record is None or record.began is None or record.ended is not None:
            return
        changes: dict[str, Any] = {"ended": max(record.began, self.since(now))}
        if cut:
            changes |= {"interrupted": True, "heard_ms": heard_ms}
        self.speech.change(item_id, **changes)

    def finish(self, now: float, end: End, error: str | None = None) -> None:
        """The session is over; what still goes on ends here."""
        at = self.since(now)
        if error is not None:
            note = NoteRecord(at=at, kind="SessionFailed", text=error, level="error")
            self.note(note)
        self.agent_left(at)
        for said in self.speech.all():
            self.speech_ended(said.item_id, now, cut=True)
        for connection in self.connections.all():
            if connection.ended is None:
                self.connections.change(connection.generation, ended=at)
        self._end, self._error = end, error

    # --- for the table -------------------------------------------------------

    def since(self, moment: float) -> float:
        """Seconds since the session began to open."""
        return round(max(0.0, moment - self._zero), 4)

    def new_key(self) -> int:
        """A key for what has no name of its own."""
        self._number += 1
        return self._number

    def agent_entered(
        self, agent: str, at: float, *, previous: str | None = None
    ) -> None:
        """An agent is current; whoever was before is not."""
        self.agent_left(at)
        self.current = self.new_key()
        by = self.waiting[-1][0] if self.waiting else None
        self.agents.put(
            self.current,
            AgentRecord(agent=agent, began=at, previous=previous, delegated_by=by),
        )

    def agent_left(self, at: float) -> None:
        """Nobody is current."""
        if self.current is not None:
            self.agents.change(self.current, ended=at)
            self.current = None

    def note(self, note: NoteRecord, *, merge: bool = False) -> None:
        """Add a mark; with `merge` the same in a row is one, that counts."""
        shelf = self.notes if note.level == "info" else self.errors
        last = shelf.newest() if merge else None
        if last is not None and last.kind == note.kind:
            shelf.change_newest(text=note.text, count=last.count + 1)
        else:
            shelf.put(self.new_key(), note)

    def item_added(self, item_id: str, item: Item | None, at: float) -> None:
        """An item joined the conversation, or is another than before."""
        trace = self._traces.get(item_id)
        if trace is not None:
            trace.item, trace.left = item, None
            return
        self._traces[item_id] = ItemTrace(at, item)
        if len(self._traces) > ITEMS:
            _, old = self._traces.popitem(last=False)
            self._lost_traces += old.left is not None

    def item_left(self, item_id: str, at: float) -> None:
        """An item left the conversation; what is known of it is kept, cut."""
        trace = self._traces.get(item_id)
        if trace is not None and trace.item is not None:
            trace.left = item_record(trace.item, trace.at, at)
            trace.item = None

    # --- the report ----------------------------------------------------------

    def report(
        self, now: float, model: str, context: ChatContext, metrics: Metrics
    ) -> Report:
        """Everything up to now, as one value."""
        lists: dict[str, Shelf[Any]] = {
            "turns": self.turns,
            "agents": self.agents,
            "speech": self.speech,
            "replies": self.replies,
            "tools": self.tools,
            "handoffs": self.handoffs,
            "delegations": self.delegations,
            "connections": self.connections,
            "errors": self.errors,
            "notes": self.notes,
        }
        found = {name: tuple(map(_clean, each.all())) for name, each in lists.items()}
        heard = [said for said in found["speech"] if said.began is not None]
        found["speech"] = tuple(sorted(heard, key=lambda said: said.began))
        omitted = {name: each.omitted for name, each in lists.items() if each.omitted}
        if self._lost_traces:
            omitted["items"] = self._lost_traces
        return Report(
            session=SessionRecord(
                id=self._id,
                model=kept(model),
                library=__version__,
                began=round(self._began, 3),
                seconds=self.since(now),
                end=self._end,
                error=self._error,
            ),
            items=tuple(map(_clean, self._items(context))),
            metrics=attrs.evolve(metrics, seconds=round(metrics.seconds, 4)),
            omitted=omitted,
            **found,
        )

    def _items(self, context: ChatContext) -> Iterator[ItemRecord]:
        """The conversation in its order; what has left it, where its time puts it."""
        left = [trace.left for trace in self._traces.values() if trace.left is not None]
        for item in context:
            trace = self._traces.get(item.id)
            at = None if trace is None else trace.at
            while left and at is not None and (left[0].at or 0.0) < at:
                yield left.pop(0)
            yield item_record(item, at)
        yield from left


def _clean(record: Any) -> Any:
    """Strike keys out of every text, whoever wrote it (X1)."""
    changes = {
        name: clean
        for name in _names(record.__class__)
        if isinstance(value := getattr(record, name), str)
        and (clean := kept(value)) != value
    }
    return attrs.evolve(record, **changes) if changes else record


@cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in attrs.fields(cls) if f.name not in _WORDED)


@contextmanager
def recorded(session: AgentSession[Any]) -> Iterator[None]:
    """Note when the session begins to open, and how it ends."""
    recorder = session.recorder
    recorder.begin(trio.current_time())
    try:
        yield
    except BaseException as error:
        problem = _problem(error)
        end: End = "cancelled" if problem is None else "failed"
        recorder.finish(trio.current_time(), end, problem)
        raise
    else:
        recorder.finish(trio.current_time(), session.ending.how)
    finally:
        session.remember()


def _problem(error: BaseException) -> str | None:
    """What the session failed with, of several the first; None if it was cancelled."""
    if isinstance(error, BaseExceptionGroup):
        found = (_problem(each) for each in error.exceptions)
        return next((problem for problem in found if problem is not None), None)
    if isinstance(error, trio.Cancelled):
        return None
    return kept(f"{type(error).__name__}: {error}")
