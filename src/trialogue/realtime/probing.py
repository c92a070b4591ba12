"""What an answer passed over is looked for, since the server may never have got it.

Answers keep the order of what was asked. One that is missing was lost on its way to us,
or what it would have answered was lost on its way there. Nothing is repeated on a
guess, for a server may take an item twice: asking for the item tells which it was.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

import attrs

from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.conversation.order import ROOT
from trialogue.dialects.commands import (
    CreateItem,
    Creation,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
)
from trialogue.realtime.requests import Request, RequestState, item_of

if TYPE_CHECKING:
    from trialogue.conversation.changes import Change
    from trialogue.conversation.record import Record
    from trialogue.realtime.connection import Connection

__all__ = ["Probe", "cannot_tell", "imply", "is_held", "is_missing"]


class Session(Protocol):
    """What this module needs of the session."""

    record: Record

    def tell(self, change: Change) -> None: ...


@attrs.frozen
class Probe:
    """The subject of a retrieval: what was asked, and never answered.

    Attributes:
        again: the server would not say when it was asked before.
    """

    request: Request
    again: bool = False


def imply(session: Session, connection: Connection, answered: Request) -> None:
    """An answer was read: settle what was asked before it, and look for its traces."""
    view = connection.view
    assert view is not None
    passed = connection.ledger.pass_over(answered)
    made = {item_of(r.command): r for r in passed if isinstance(r.command, Creation)}
    for request in passed:
        item_id = item_of(request.command)
        match request.command:
            case TruncateItem():
                # Cutting at the same place twice is the same as once.
                connection.post([connection.encode(request.command, subject=request)])
            case DeleteItem() if item_id in made and _follows(made[item_id], request):
                _replace_again(session, connection, request, made.pop(item_id))
            case DeleteItem() if _makes(answered, item_id):
                _is_gone(session, connection, request)
            case DeleteItem() if _made_again(connection, item_id):
                pass  # the answer to that, whatever it is, tells what the server holds
            case DeleteItem():
                _look(connection, request)
            case _ if (
                item_id in made and connection.view and item_id in connection.view
            ):
                connection.ledger.settle(request, RequestState.IMPLIED)
            case _ if item_id in made:
                _look(connection, request)
            case _:
                pass  # together with the deletion of what it replaces, above


def _follows(creation: Request, deletion: Request) -> bool:
    return creation.number > deletion.number


def _look(connection: Connection, request: Request, *, again: bool = False) -> None:
    item_id = item_of(request.command)
    assert item_id is not None
    look = RetrieveItem(item_id)
    connection.post([connection.encode(look, subject=Probe(request, again))])


def _makes(request: Request, item_id: str | None) -> bool:
    command = request.command
    return isinstance(command, Creation) and command.item_id == item_id


def _made_again(connection: Connection, item_id: str | None) -> bool:
    """Whether an item of the same id was asked for since."""
    return any(_makes(request, item_id) for request in connection.ledger)


def _replace_again(
    session: Session, connection: Connection, old: Request, new: Request
) -> None:
    """Neither half was answered: which of the two the server holds cannot be seen."""
    again = _creation(session, connection, new)
    if again is None:
        _is_gone(session, connection, old)
        connection.ledger.settle(new, RequestState.UNANSWERED)
    else:
        halves = (old.command, old), (again, new)
        connection.post([connection.encode(c, subject=first) for c, first in halves])


def _is_gone(session: Session, connection: Connection, request: Request) -> None:
    assert connection.view is not None
    assert isinstance(request.command, DeleteItem)
    session.tell(session.record.deleted(connection.view, request.command.item_id))
    connection.ledger.settle(request, RequestState.IMPLIED)


def is_held(session: Session, connection: Connection, probe: Probe) -> None:
    """The server holds the item that was asked for, or asked to be deleted."""
    request, view = probe.request, connection.view
    assert view is not None
    match request.command:
        case DeleteItem(item_id=item_id) if not session.record.is_local(item_id):
            connection.post([connection.encode(request.command, subject=request)])
        case DeleteItem():  # and made again since: the answer to that tells
            connection.ledger.settle(request, RequestState.IMPLIED)
        case command:
            assert isinstance(command, Creation)
            session.tell(session.record.confirmed(view, command.item_id))
            connection.ledger.settle(request, RequestState.IMPLIED)


def is_missing(session: Session, connection: Connection, probe: Probe) -> None:
    """The server does not hold it: what should have made it was lost."""
    request = probe.request
    if isinstance(request.command, DeleteItem):
        _is_gone(session, connection, request)
        return
    again, view = _creation(session, connection, request), connection.view
    item_id = item_of(request.command)
    if again is None:
        connection.ledger.settle(request, RequestState.UNANSWERED)
        if view is not None and item_id is not None and item_id in view.leaving:
            session.tell(session.record.forget([item_id]))  # as it was asked to be
    else:
        connection.post(
            [
                connection.encode(again, subject=request),
                # They were refused for want of it.
                *(
                    connection.encode(output, subject="again")
                    for output in _outputs(session, connection, again)
                ),
            ]
        )


def cannot_tell(connection: Connection, probe: Probe) -> None:
    """The server would not say: it is asked once more, and then not any longer."""
    if probe.again:
        connection.ledger.settle(probe.request, RequestState.UNANSWERED)
    else:
        _look(connection, probe.request, again=True)


def _creation(
    session: Session, connection: Connection, request: Request
) -> Creation | None:
    """What makes the item now, or None if nobody wants it any more."""
    command, record, view = request.command, session.record, connection.view
    assert view is not None
    assert isinstance(command, Creation)
    item_id = command.item_id
    if not record.is_local(item_id) or item_id in view.leaving:
        return None
    return attrs.evolve(command, after=_anchor(record, connection, item_id))


def _outputs(
    session: Session, connection: Connection, command: Creation
) -> list[CreateItem]:
    """What makes the outputs of a call that the server does not hold either."""
    call = command.item if isinstance(command, CreateItem) else None
    if not isinstance(call, FunctionCall):
        return []
    assert connection.view is not None
    return [
        CreateItem(item, after=call.id)
        for item in session.record.items
        if isinstance(item, FunctionCallOutput)
        and item.call_id == call.call_id
        and item.id not in connection.view
    ]


def _anchor(record: Record, connection: Connection, item_id: str) -> str | None:
    """Behind what the item belongs; None where it goes last."""
    view, ids = connection.view, record.ids
    assert view is not None
    before = list(takewhile(lambda other: other != item_id, ids))
    if not any(other in view for other in ids[len(before) + 1 :]):
        return None
    return next((other for other in reversed(before) if other in view), ROOT)
