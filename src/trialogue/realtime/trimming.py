"""The oldest turns leave a conversation that has grown beyond its bound.

They leave the record and the server together, so that the one keeps saying what the
other holds; in batches, so that it does not happen in every turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from trialogue.conversation.trimming import overdue
from trialogue.dialects.commands import DeleteItem
from trialogue.realtime.notices import HistoryTrimmed
from trialogue.realtime.requests import item_of

if TYPE_CHECKING:
    from trialogue.conversation.changes import Change
    from trialogue.conversation.record import Record
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.limits import Limits
    from trialogue.realtime.replying import Replying
    from trialogue.realtime.supervisor import Supervisor

__all__ = ["Trimming"]

REMAINING: Final = 0.9
"""What remains of the bound, so that a batch is worth its while."""
BATCH: Final = 200
"""Items that leave at once, about."""


class Session(Protocol):
    """What this module needs of the session."""

    limits: Limits
    record: Record
    replying: Replying
    supervisor: Supervisor

    @property
    def connection(self) -> Connection | None: ...

    def publish(self, event: object) -> None: ...

    def tell(self, change: Change) -> None: ...


class Trimming:
    """Keeps the record of one session within `most` items; None is no bound."""

    def __init__(self, session: Session, most: int | None) -> None:
        self._session = session
        self._most = most
        self._tried = 0

    def look(self) -> None:
        """Have the oldest turns leave if there are too many items; never waits.

        Not while a response is made, nor while items are on their way to a server.
        """
        most, count = self._most, len(self._session.record)
        if most is None or count <= most:
            self._tried = 0
        elif self._may_leave() and not self._would_be_in_vain(count, most):
            self._tried = count
            self._trim(most)

    def _would_be_in_vain(self, count: int, most: int) -> bool:
        """Whether nothing could leave, or was let go, the last time.

        It is tried again once the conversation is another tenth longer.
        """
        step = max(1, round(most * (1 - REMAINING)))
        return self._tried <= count < self._tried + step

    def _may_leave(self) -> bool:
        session, connection = self._session, self._session.connection
        if session.replying.slot.active is not None:
            return False
        if connection is None or not connection.live:
            return True
        agreed = connection.config is not None and connection.view is not None
        if not agreed or session.supervisor.replacing or connection.view is None:
            return False
        # One batch after the other, and nothing while items are on their way.
        leaving = any(i in session.record for i in connection.view.leaving)
        moving = any(item_of(r.command) is not None for r in connection.ledger)
        return not leaving and not moving

    def _trim(self, most: int) -> None:
        record = self._session.record
        # What the outbox takes has a bound, too, and others need room in it.
        batch = min(BATCH, max(1, self._session.limits.outbox_frames // 4))
        ids = overdue(record.items, int(most * REMAINING), most=batch)
        if ids:
            remaining = len(record) - len(ids)
            self._session.publish(HistoryTrimmed(ids, remaining))
            self._have_leave(ids)

    def _have_leave(self, ids: tuple[str, ...]) -> None:
        """The server deletes what it holds, and says so; the rest leaves here."""
        record, connection = self._session.record, self._session.connection
        asked: list[str] = []
        if connection is not None and connection.live and connection.view is not None:
            if connection.model.capabilities.mutable_chat_context:
                asked = [item_id for item_id in ids if item_id in connection.view]
            for item_id in asked:
                record.delete_requested(connection.view, item_id)
            connection.post([connection.encode(DeleteItem(i)) for i in asked])
        leaving = set(asked)
        self._session.tell(record.forget(i for i in ids if i not in leaving))
