"""What an answer passed over is looked for, since the server may never have got it.

Answers keep the order of what was asked. One that is missing was lost on its way to us,
or what it would have answered was lost on its way there. Nothing is repeated on a
guess, for a server may take an item twice: asking for the item tells which it was.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

import attrs

from trialogue.conversation.order import ROOT
from trialogue.dialects.commands import (
    Creation,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
)
from trialogue.realtime.ledger import Request, item_of

if TYPE_CHECKING:
    from trialogue.conversation.changes import Change
    from trialogue.conversation.record import Record
    from trialogue.realtime.connection import Connection

__all__ = ["Probe", "imply", "is_held", "is_missing"]


class Session(Protocol):
    """What this module needs of the session."""

    record: Record

    def tell(self, change: Change) -> None: ...


@attrs.frozen
class Probe:
    """The subject of a retrieval: what was asked, and never answered."""

    command: Creation | DeleteItem


def imply(session: Session, connection: Connection, answered: Request) -> None:
    """An answer was read: settle what was asked before it, and look for its traces."""
    view = connection.view
    assert view is not None
    for request in connection.ledger.imply(answered):
        command = request.command
        if isinstance(command, DeleteItem):
            session.tell(session.record.deleted(view, command.item_id))
        held = item_of(command) in view
        if isinstance(command, TruncateItem):
            # Cutting at the same place twice is the same as once.
            connection.post([connection.encode(command, subject=request.subject)])
        elif isinstance(command, Creation | DeleteItem) and not held:
            look = RetrieveItem(command.item_id)
            connection.post([connection.encode(look, subject=Probe(command))])


def is_held(session: Session, connection: Connection, probe: Probe) -> None:
    """The server holds the item that was asked for, or asked to be deleted."""
    command, view = probe.command, connection.view
    assert view is not None
    if isinstance(command, DeleteItem):
        again = DeleteItem(command.item_id)
        connection.post([connection.encode(again, subject="again")])
    else:
        session.tell(session.record.confirmed(view, command.item_id))


def is_missing(session: Session, connection: Connection, probe: Probe) -> None:
    """The server does not hold it: what should have made it was lost."""
    command, record = probe.command, session.record
    if isinstance(command, DeleteItem) or not record.is_local(command.item_id):
        return
    again = attrs.evolve(command, after=_anchor(record, connection, command.item_id))
    connection.post([connection.encode(again, subject="again")])


def _anchor(record: Record, connection: Connection, item_id: str) -> str | None:
    """Behind what the item belongs; None where it goes last."""
    view, ids = connection.view, record.ids
    assert view is not None
    before = list(takewhile(lambda other: other != item_id, ids))
    if not any(other in view for other in ids[len(before) + 1 :]):
        return None
    return next((other for other in reversed(before) if other in view), ROOT)
