"""The request table: what the server owes, and who waits for it.

Two halves. The `Ledger` of a connection keeps an entry until the server has answered,
a later answer implies it, or the connection ends. A `Tracker` is a waiter's handle on
entries, scoped by a `with`: it cannot outlive its block, and losing interest removes
nothing from the ledger. Without that separation a late answer to one update would be
taken for the answer to the next.
"""

from __future__ import annotations

import enum
import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trialogue.conversation.items import FunctionCallOutput
from trialogue.dialects.commands import (
    Command,
    CreateItem,
    CreateResponse,
    CreateUserAudio,
    Creation,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
    UpdateSession,
)
from trialogue.dialects.dialect import AnswerKey
from trialogue.dialects.events import ErrorClass, ErrorReported
from trialogue.errors import SessionUpdateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "Ledger",
    "Request",
    "RequestReport",
    "RequestState",
    "Tracker",
    "UpdateReport",
]

REMEMBERED = 256
"""Answers that were passed over, and may still come."""


class RequestState(enum.Enum):
    """How a request stands. Every one but PENDING is final for its waiter."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    IMPLIED = "implied"
    """Its own answer never came; a later one did, and the server did what was asked."""
    REJECTED = "rejected"
    UNANSWERED = "unanswered"
    NOT_SENT = "not_sent"
    LOST = "lost"


@attrs.define(eq=False)
class Request:
    """One frame of a batch, and what became of it.

    Attributes:
        subject: what the answer is for. Another request if this one repeats it: what
            becomes of this one becomes of that one.
        waited: somebody waits for the outcome, inside `Ledger.expect`.
        blocked: the item it was to replace was not deleted: a duplicate is no success.
        doubt: an error that may be about this request.
        number: its place among all that its server was asked.
    """

    command: Command
    event_id: str
    frame: str = attrs.field(repr=False)
    answer: AnswerKey | None
    patience: float
    subject: Any = None
    state: RequestState = RequestState.PENDING
    error: ErrorReported | None = None
    doubt: ErrorReported | None = None
    number: int = 0
    waited: bool = False
    blocked: bool = False
    written_at: float | None = None
    settled_at: float | None = None
    settled: trio.Event = attrs.field(factory=trio.Event, repr=False)

    @property
    def deadline(self) -> float:
        """When the server has had its time; unlimited while the frame is unwritten."""
        if self.written_at is None or self.state is not RequestState.PENDING:
            return float("inf")
        return self.written_at + self.patience

    @property
    def first(self) -> Request:
        """The request that this one repeats, or itself."""
        return self.subject.first if isinstance(self.subject, Request) else self

    def settle(self, state: RequestState, error: ErrorReported | None = None) -> None:
        """Fix the outcome. Only the first call counts (S6)."""
        if self.state is RequestState.PENDING:
            self.state, self.error = state, error
            self.settled_at = trio.current_time()
            self.settled.set()


@attrs.frozen
class RequestReport:
    """What became of one request.

    Attributes:
        kind: the command's name, for example "CreateItem".
        item_id: the item it was about, if any.
        code, message: the server's, where it was rejected.
    """

    kind: str
    state: RequestState
    item_id: str | None = None
    code: str | None = None
    message: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the server took it, as far as anybody can know."""
        return self.state in {RequestState.ACKNOWLEDGED, RequestState.IMPLIED}


@attrs.frozen
class UpdateReport:
    """What became of each request of an update, in the order they were sent."""

    requests: tuple[RequestReport, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the server took everything."""
        return all(request.ok for request in self.requests)

    @property
    def acknowledged(self) -> int:
        """How many the server confirmed in its own words."""
        acknowledged = RequestState.ACKNOWLEDGED
        return sum(request.state is acknowledged for request in self.requests)

    def __add__(self, other: UpdateReport) -> UpdateReport:
        return UpdateReport(self.requests + other.requests)

    def raise_for_failures(self) -> None:
        """Raise `SessionUpdateError` unless everything was taken."""
        bad = [request for request in self.requests if not request.ok]
        if bad:
            what = "; ".join(_tell(request) for request in bad)
            msg = f"the update was not taken in full: {what}"
            raise SessionUpdateError(msg, self)


def _tell(request: RequestReport) -> str:
    subject = f" of {request.item_id}" if request.item_id else ""
    why = f" ({request.code or request.message})" if request.message else ""
    return f"{request.kind}{subject}: {request.state.value}{why}"


def report_on(requests: Iterable[Request]) -> UpdateReport:
    """Say what became of each request up to now; a pending one is unanswered."""
    return UpdateReport(tuple(_report(request) for request in requests))


def _report(request: Request) -> RequestReport:
    state = request.state
    if state is RequestState.PENDING:
        state = RequestState.UNANSWERED
    error = request.error
    return RequestReport(
        kind=type(request.command).__name__,
        state=state,
        item_id=item_of(request.command),
        code=error.code if error else None,
        message=error.message if error else None,
    )


def item_of(command: Command) -> str | None:
    """Return the id of the item that a command is about, if any."""
    match command:
        case (
            CreateItem(item_id=item_id)
            | CreateUserAudio(item_id=item_id)
            | DeleteItem(item_id=item_id)
            | TruncateItem(item_id=item_id)
            | RetrieveItem(item_id=item_id)
        ):
            return item_id
        case _:
            return None


def changes_items(command: Command) -> bool:
    """Whether a command changes what the server holds: a retrieval only looks."""
    return item_of(command) is not None and not isinstance(command, RetrieveItem)


class Tracker:
    """A waiter's handle on requests, valid inside its `with` block."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self.requests = tuple(requests)

    async def settled(self) -> None:
        """Wait until every request has its outcome."""
        for request in self.requests:
            await request.settled.wait()

    def report(self) -> UpdateReport:
        """What became of each request; pending ones read "unanswered"."""
        return report_on(self.requests)


class Ledger:
    """What one connection's server owes, in the order it was asked."""

    def __init__(self, *, ordered: bool = True) -> None:
        self.late_answers = 0
        self.on_settled: Callable[[Request], None] | None = None
        self._ordered = ordered
        self._numbers = itertools.count(1)
        self._owed: dict[str, Request] = {}
        self._passed_over: dict[str, Request] = {}
        self._doubted: list[Request] = []
        self._late: list[AnswerKey] = []

    def __len__(self) -> int:
        return len(self._owed) + len(self._passed_over)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._owed.values()))

    def enter(self, request: Request) -> None:
        """Keep a request until it is answered."""
        request.number = next(self._numbers)
        self._owed[request.event_id] = request

    def withdraw(self, request: Request) -> None:
        """Take back a request that was never written."""
        self._owed.pop(request.event_id, None)
        request.settle(RequestState.NOT_SENT)

    def find(self, key: AnswerKey) -> Request | None:
        """Return the oldest request with this key that the server can have seen."""
        return self._first(lambda r: r.answer == key)

    def settle(
        self, request: Request, state: RequestState, error: ErrorReported | None = None
    ) -> None:
        """Strike a request off, with its outcome, and the one that it repeats."""
        self._owed.pop(request.event_id, None)
        self._passed_over.pop(request.event_id, None)
        if isinstance(request.subject, Request):
            self.settle(request.subject, state, error)
        pending = request.state is RequestState.PENDING
        request.settle(state, error)
        if pending and self.on_settled is not None:
            self.on_settled(request)
        for old in tuple(self._passed_over.values()):
            if _replaces(request, old) and old.number < request.number:
                self.settle(old, RequestState.IMPLIED)

    def answered(self, key: AnswerKey) -> Request | None:
        """Settle the oldest outstanding request with this key as acknowledged.

        Returns it, or None if nobody was asked: a late answer, which is harmless.
        """
        request = self.find(key)
        if request is None:
            self.late_answers += 1
        else:
            self.settle(request, RequestState.ACKNOWLEDGED)
        return request

    def pass_over(self, request: Request) -> list[Request]:
        """Strike off whatever was asked before `request`, whose own answer was read.

        Only item operations: a configuration counts when its echo was read. Returns
        what is still to be settled, for the server did it or never got it. An error
        that named nothing has cast doubt on what was then waiting, and what was in
        doubt is rejected (core rule 11).
        """
        # The deletion of what this replaces may have been passed over before.
        passed = [r for r in self._passed_over.values() if _replaces(request, r)]
        for entry in tuple(self._owed.values()) if self._ordered else ():
            if entry is request:
                break
            # NB: nothing but the item itself answers a retrieval.
            if not changes_items(entry.command) or entry.answer is None:
                continue
            if entry.doubt and not _replaces(request, entry):
                self._refuse(entry, entry.doubt)
            else:
                self._passed_over[entry.event_id] = self._owed.pop(entry.event_id)
                self._late = [*self._late, entry.answer][-REMEMBERED:]
                passed.append(entry)
        return passed

    def _refuse(self, request: Request, error: ErrorReported) -> None:
        request.doubt = error
        self.settle(request, RequestState.REJECTED, error)
        self._doubted.append(request)

    def creations_before(self, deletion: Request) -> list[Request]:
        """Return what should have made the item that a deletion did not find."""
        item_id = item_of(deletion.command)
        return [
            entry
            for entry in (*self._passed_over.values(), *self)
            if isinstance(entry.command, Creation)
            and item_of(entry.command) == item_id
            and entry.number < deletion.number
        ]

    def comes_late(self, key: AnswerKey) -> bool:
        """Whether this is the answer of something that a later one has passed over.

        Much may have become of the item since, so it says nothing any more. Say this
        of an answer once, and only if nothing outstanding waits for one like it.
        """
        late = key in self._late
        if late:
            self._late.remove(key)
        return late

    def take_doubted(self) -> list[Request]:
        """Return, once, the requests that were rejected without being named."""
        taken, self._doubted = self._doubted, []
        return taken

    def rejected(self, error: ErrorReported) -> Request | None:
        """Settle the request at fault and return it; None if none could be named.

        An item that is there already, or is gone already, is as it was asked to be:
        that request is acknowledged (S12, R3), and its report quotes the code.

        An error that names nothing while an update is outstanding counts against the
        update, and leaves a doubt on everything else that waits and may be meant.
        """
        request = self._at_fault(error)
        if request is not None:
            if error.error_class is ErrorClass.DUPLICATE:
                self._not_deleted(request, error)
            good = error.error_class in _AS_ASKED and not request.blocked
            state = RequestState.ACKNOWLEDGED if good else RequestState.REJECTED
            self.settle(request, state, error)
            if isinstance(request.command, DeleteItem) and not good:
                self._block(request.command.item_id)
        if request is None or not _points_at(error):
            self._doubt(error)
        return request

    def _at_fault(self, error: ErrorReported) -> Request | None:
        if error.event_id is not None:
            return self._owed.get(error.event_id)
        if error.refs:
            return (
                self._first(lambda r: _names(r) in error.refs and _fits(r, error))
                or self._first(lambda r: _leans_on(r, error) and _fits(r, error))
                or self._by_kind(error)
            )
        return self._by_kind(error) or self._update_meant_by(error)

    def _by_kind(self, error: ErrorReported) -> Request | None:
        # An item error that quotes an id has been looked for by that id; falling
        # back to "the oldest of its kind" would blame a bystander.
        kinds = {kind for kind in error.kinds if not (error.refs and kind in _ITEMS)}
        meant = [
            r
            for r in self._owed.values()
            if _kind(r) in kinds and _was_seen(r) and not _is_beside(r, error)
        ]
        # The oldest is next in line for an answer only where answers keep the order.
        return meant[0] if meant and (self._ordered or len(meant) == 1) else None

    def _update_meant_by(self, error: ErrorReported) -> Request | None:
        if error.kinds or error.error_class is ErrorClass.BENIGN:
            return None
        return self._first(lambda r: isinstance(r.command, UpdateSession))

    def _doubt(self, error: ErrorReported) -> None:
        if error.event_id is None and error.error_class is not ErrorClass.BENIGN:
            for entry in self._owed.values():
                if _was_seen(entry) and _fits(entry, error):
                    entry.doubt = error

    def _block(self, item_id: str) -> None:
        """The item stays: what was to take its place under its id cannot (S8)."""
        for entry in self:
            command = entry.command
            if isinstance(command, Creation) and command.item_id == item_id:
                entry.blocked = True

    def _not_deleted(self, request: Request, error: ErrorReported) -> None:
        """What a new item should have replaced is there: its deletion was refused."""
        item_id = item_of(request.command)
        for entry in (*self._passed_over.values(), *self):
            if entry is request:
                break
            if isinstance(entry.command, DeleteItem) and _names(entry) == item_id:
                self._refuse(entry, entry.doubt or error)
                request.blocked = True

    def _first(self, wanted: Callable[[Request], bool]) -> Request | None:
        seen = filter(_was_seen, self._owed.values())
        return next((r for r in seen if wanted(r)), None)

    def lose(self) -> None:
        """The connection ended: whatever is owed is lost."""
        for request in (*self, *self._passed_over.values()):
            written = request.written_at is not None
            self.settle(
                request, RequestState.LOST if written else RequestState.NOT_SENT
            )

    def deadline(self) -> float:
        """When the server has to have answered something at the latest."""
        return min((r.deadline for r in self._owed.values()), default=float("inf"))

    def overdue(self, now: float) -> list[Request]:
        """Return what should have been answered by now."""
        return [r for r in self._owed.values() if r.deadline <= now]

    @contextmanager
    def expect(
        self, requests: Iterable[Request], withdraw: Callable[[], None]
    ) -> Iterator[Tracker]:
        """Track requests inside a block; leaving it calls `withdraw`."""
        tracker = Tracker(requests)
        for request in tracker.requests:
            request.waited = True
        try:
            yield tracker
        finally:
            for request in tracker.requests:
                request.waited = False
            withdraw()


_ITEMS = frozenset({"item", "deleted", "truncated", "retrieved"})
_AS_ASKED = frozenset({ErrorClass.DUPLICATE, ErrorClass.BENIGN})


def _was_seen(request: Request) -> bool:
    """Whether the server can be speaking of it: nobody answers an unwritten frame."""
    return request.written_at is not None


def _replaces(new: Request, old: Request) -> bool:
    """Whether an item of the same id was taken, which shows that the old one went."""
    deleted = isinstance(old.command, DeleteItem) and isinstance(new.command, Creation)
    return deleted and item_of(new.command) == item_of(old.command)


def _points_at(error: ErrorReported) -> bool:
    """Whether the error itself tells its request from others."""
    return bool(error.event_id is not None or error.refs or error.kinds)


def _names(request: Request) -> str | None:
    if isinstance(request.command, CreateResponse):
        return request.command.key
    return item_of(request.command)


def _leans_on(request: Request, error: ErrorReported) -> bool:
    """Whether a new item needs what the error quotes: its anchor, or its call."""
    if error.error_class is ErrorClass.DUPLICATE:
        return False
    match request.command:
        case CreateItem(item=FunctionCallOutput(call_id=call_id)) if (
            call_id in error.refs
        ):
            return True
        case CreateItem(after=after) | CreateUserAudio(after=after):
            return after in error.refs
        case _:
            return False


def _is_beside(request: Request, error: ErrorReported) -> bool:
    """Whether it runs beside the conversation, and so can be in nobody's way."""
    command = request.command
    beside = isinstance(command, CreateResponse) and command.out_of_band
    return beside and error.error_class is ErrorClass.CONFLICT


def _kind(request: Request) -> str | None:
    return None if request.answer is None else request.answer[0]


def _fits(request: Request, error: ErrorReported) -> bool:
    kind = _kind(request)
    return not error.kinds or kind is None or kind in error.kinds
