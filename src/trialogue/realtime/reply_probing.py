"""Whether a request for a reply was lost, or refused by an error that names nothing.

The provider answers in order. So it is asked for something behind the reply: the answer
to that comes after `response.created`, or shows that there will be none. Nothing is
taken for lost by a clock alone: a provider that needs long for a reply, and answers the
question behind it only afterwards, is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from trialogue.conversation.items import (
    FunctionCall,
    FunctionCallOutput,
    Message,
    TextContent,
)
from trialogue.dialects.commands import CreateResponse, RetrieveItem
from trialogue.realtime.replies import Reply
from trialogue.realtime.requests import Request, RequestState

if TYPE_CHECKING:
    from trialogue.conversation.items import Item
    from trialogue.conversation.record import Record
    from trialogue.dialects.events import ErrorReported
    from trialogue.realtime.connection import Connection

__all__ = ["Behind", "ReplyProbing"]


@attrs.frozen
class Behind:
    """The subject of a retrieval that was asked for behind a reply."""

    request: Request


class Session(Protocol):
    """What this module needs of the session."""

    record: Record

    def new_item_id(self, prefix: str) -> str: ...


class Asking(Protocol):
    """What this module needs of whoever asks for replies."""

    def refused(
        self, connection: Connection, reply: Reply, error: ErrorReported, *, told: bool
    ) -> None: ...

    def ask_anew(self, reply: Reply) -> None: ...


class ReplyProbing:
    """Looks for the replies of one session that were asked for and do not begin."""

    def __init__(self, session: Session, asking: Asking) -> None:
        self._session = session
        self._asking = asking

    def patience(self, connection: Connection) -> float:
        """How long a reply may take to begin until it is looked for."""
        timing = connection.timing
        return min(timing.reply_look, timing.reply_start)

    def overdue(self, connection: Connection, request: Request) -> bool:
        """A request was not answered in time; True if it is given more."""
        return _reply_of(request) is not None and self._look(connection, request)

    def doubted(self, connection: Connection, error: ErrorReported) -> None:
        """An error named nothing: it may be about a reply that was asked for."""
        for request in connection.ledger:
            if request.doubt is error and _reply_of(request) is not None:
                self._look(connection, request)

    def _look(self, connection: Connection, request: Request) -> bool:
        """Ask for something behind it, once on each connection."""
        reply, can = _reply_of(request), connection.model.capabilities
        assert reply is not None
        if reply.looked_for == connection.generation or not connection.live:
            return False
        reply.looked_for = connection.generation
        request.patience = connection.timing.reply_start
        if can.ordered and can.acknowledges_updates:
            command = RetrieveItem(self._something(connection))
            connection.post([connection.encode(command, subject=Behind(request))])
        return True

    def _something(self, connection: Connection) -> str:
        """Return the id of an item that is small, or of none: that is answered too."""
        view = connection.view
        for item in reversed(self._session.record.items):
            if view is not None and item.id in view and _is_small(item):
                return item.id
        return self._session.new_item_id("item")

    def passed_over(self, connection: Connection, request: Request) -> None:
        """What was asked behind it has been answered."""
        reply, doubt = _reply_of(request), request.doubt
        if request.state is not RequestState.PENDING or reply is None:
            return
        if doubt is not None:
            connection.ledger.settle(request, RequestState.REJECTED, doubt)
            self._asking.refused(connection, reply, doubt, told=True)
        else:
            connection.ledger.settle(request, RequestState.UNANSWERED)
            self._asking.ask_anew(reply)


def _reply_of(request: Request) -> Reply | None:
    asked = isinstance(request.command, CreateResponse)
    return request.subject if asked and isinstance(request.subject, Reply) else None


def _is_small(item: Item) -> bool:
    """Whether it comes without sound or a picture."""
    match item:
        case FunctionCall() | FunctionCallOutput():
            return True
        case Message(content=content):
            return all(isinstance(part, TextContent) for part in content)
        case _:
            return False
