"""An item in full, as the provider holds it: asked for, waited for, never for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from trialogue.conversation.items import Item
from trialogue.dialects.commands import RetrieveItem
from trialogue.errors import AnswerTimeout, ConnectionLost, ServerError
from trialogue.realtime.requests import RequestState

if TYPE_CHECKING:
    from trialogue.dialects.events import ItemRetrieved
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.requests import Request

__all__ = ["Retrieval", "RetrievedItem", "retrieve"]


@attrs.frozen
class RetrievedItem:
    """An item as the provider holds it.

    Attributes:
        item: the item, in neutral form.
        pcm: its audio as the provider processed it, PCM16 24 kHz mono; empty where it
            has none.
        data: the item in the provider's own form.
    """

    item: Item
    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    data: dict[str, Any] = attrs.field(repr=False)


@attrs.define(eq=False)
class Retrieval:
    """Where the answer to one `RetrieveItem` is put."""

    found: RetrievedItem | None = None

    def answer(self, event: ItemRetrieved) -> None:
        """The provider gave the item."""
        self.found = RetrievedItem(event.item, event.pcm, event.data)


class Session(Protocol):
    """What this module needs of the session."""

    @property
    def connection(self) -> Connection | None: ...

    async def agreement(self, deadline: float) -> bool: ...


async def retrieve(session: Session, item_id: str, seconds: float) -> RetrievedItem:
    """Ask for an item and wait; see `RealtimeSession.retrieve_item`."""
    deadline = trio.current_time() + seconds
    if not await session.agreement(deadline):
        msg = f"no connection served within {seconds:g} s; the item was not asked for"
        raise ConnectionLost(msg)
    connection = session.connection
    assert connection is not None
    retrieval = Retrieval()
    # Whoever waits longer than for other answers has the connection wait as well.
    patience = max(seconds, connection.timing.answer)
    command = RetrieveItem(item_id)
    request = connection.encode(command, patience=patience, subject=retrieval)
    connection.post([request])
    with (
        connection.ledger.expect(
            [request], lambda: connection.withdraw_requests([request])
        ) as pending,
        trio.CancelScope(deadline=deadline),
    ):
        await pending.settled()
    return _result(request, retrieval, seconds, gone=not connection.live)


def _result(
    request: Request, retrieval: Retrieval, seconds: float, *, gone: bool
) -> RetrievedItem:
    if retrieval.found is not None:
        return retrieval.found
    if request.error is not None:
        error = request.error
        raise ServerError(error.message, code=error.code, event_id=request.event_id)
    unwritten = request.state is RequestState.NOT_SENT
    if request.state is RequestState.LOST or (unwritten and gone):
        msg = "the connection ended before the item came; ask again on the next one"
        raise ConnectionLost(msg)
    msg = f"the item did not come within {seconds:g} s; give it a longer ack_timeout"
    raise AnswerTimeout(msg)
