"""The request table: what the server owes, and who waits for it.

Two halves. The `Ledger` of a connection keeps an entry until the server has answered,
a later answer implies it, or the connection ends. A `Tracker` is a waiter's handle on
entries, scoped by a `with`: it cannot outlive its block, and losing interest removes
nothing from the ledger. Without that separation a late answer to one update would be
taken for the answer to the next.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trialogue.dialects.commands import Creation, DeleteItem
from trialogue.dialects.events import ErrorClass
from trialogue.realtime.blaming import (
    at_fault,
    names,
    points_at_one,
    suspects,
    was_seen,
)
from trialogue.realtime.requests import (
    Request,
    RequestState,
    changes_items,
    item_of,
    report_on,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trialogue.dialects.dialect import AnswerKey
    from trialogue.dialects.events import ErrorReported
    from trialogue.realtime.requests import UpdateReport

__all__ = ["Ledger", "Tracker"]

REMEMBERED = 256
"""Answers that were passed over, and may still come."""


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
        return next(
            (r for r in self if r.answer == key and was_seen(r)),
            None,
        )

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
        request = at_fault(error, self._owed.values(), ordered=self._ordered)
        if request is not None:
            if error.error_class is ErrorClass.DUPLICATE:
                self._not_deleted(request, error)
            good = error.error_class in _AS_ASKED and not request.blocked
            state = RequestState.ACKNOWLEDGED if good else RequestState.REJECTED
            self.settle(request, state, error)
            if isinstance(request.command, DeleteItem) and not good:
                self._block(request.command.item_id)
        if request is None or not points_at_one(error):
            for entry in suspects(error, self._owed.values()):
                entry.doubt = error
        return request

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
            if isinstance(entry.command, DeleteItem) and names(entry) == item_id:
                self._refuse(entry, entry.doubt or error)
                request.blocked = True

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

    def owed_since(self) -> float:
        """When the oldest that is unanswered was written; infinity if there is none."""
        oldest = next(iter(self._owed.values()), None)
        written = None if oldest is None else oldest.written_at
        return float("inf") if written is None else written

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


_AS_ASKED = frozenset({ErrorClass.DUPLICATE, ErrorClass.BENIGN})


def _replaces(new: Request, old: Request) -> bool:
    """Whether an item of the same id was taken, which shows that the old one went."""
    deleted = isinstance(old.command, DeleteItem) and isinstance(new.command, Creation)
    return deleted and item_of(new.command) == item_of(old.command)
