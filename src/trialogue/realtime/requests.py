"""A request to the server, what became of it, and what is told of that."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trialogue.dialects.commands import (
    Command,
    CreateItem,
    CreateUserAudio,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
)
from trialogue.dialects.dialect import AnswerKey
from trialogue.dialects.events import ErrorReported
from trialogue.errors import SessionUpdateError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Request",
    "RequestReport",
    "RequestState",
    "UpdateReport",
    "changes_items",
    "item_of",
    "report_on",
]


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
