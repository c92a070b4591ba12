"""Stopping what is said: where it is played, at the server, and in the record.

A spoken item is truncated at what was heard, or deleted where nothing was; neither
before its response has ended, for an item that is still being made cannot be edited.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

from trialogue.conversation.edits import Create, Delete
from trialogue.conversation.equivalence import is_spoken
from trialogue.conversation.items import FunctionCall, Message
from trialogue.conversation.order import ROOT
from trialogue.conversation.replay import plan_replay
from trialogue.dialects.commands import CancelResponse, DeleteItem, TruncateItem
from trialogue.realtime.syncing import Sync

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialogue.conversation.changes import Change
    from trialogue.conversation.edits import Operation
    from trialogue.conversation.items import Item
    from trialogue.conversation.record import Record
    from trialogue.conversation.view import View
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.hearing import Hearing
    from trialogue.realtime.listening import Listening
    from trialogue.realtime.replies import CutItem, Response, ResponseSlot

__all__ = ["Cutting"]


class Session(Protocol):
    """What this module needs of the session."""

    record: Record
    listening: Listening

    @property
    def connection(self) -> Connection | None: ...

    def tell(self, change: Change) -> None: ...


class Replying(Protocol):
    """What this module needs of the session's replies."""

    slot: ResponseSlot

    def of_item(self, item_id: str) -> Response | None: ...

    def items_of(self, response: Response) -> tuple[Item, ...]: ...


class Cutting:
    """Cuts responses of one session short."""

    def __init__(self, session: Session, replying: Replying, hearing: Hearing) -> None:
        self._session = session
        self._replying = replying
        self._hearing = hearing

    def cut(self, response: Response) -> None:
        """Stop a response: at the server by id, and where it is played."""
        self.stop(response)
        self._cut_items(response, self._hearing.cut(response))

    def stop(self, response: Response) -> None:
        """Have the server make no more of a response; what was made plays on."""
        connection = self._session.connection
        goes_on = response.running and not response.cut and not response.discard
        here = connection is not None and connection.generation == response.generation
        if goes_on and here and connection is not None:
            self.post(connection, [CancelResponse(response.id)])

    def cut_everything(self, *, force: bool = False) -> None:
        """The user speaks, or somebody interrupts: silence, cut at what was heard.

        A running response is left to its server, which stops it by itself under turn
        detection; `interrupt` cancels it too. What may not be interrupted stays,
        unless it is forced to stop.
        """
        active = self._replying.slot.active
        for item in self._hearing.cut(None, force=force):
            response = self._replying.of_item(item.item_id)
            if response is not None:
                self._cut_items(response, [item])
        stays = active is not None and not (force or active.interruptible)
        if active is not None and not active.discard and not stays:
            active.cut = True
            active.heard_ms = active.heard_ms or 0

    def leave(self, response: Response) -> None:
        """Its stream was left after its end: what nobody took was never heard."""
        items = self._hearing.leave(response)
        if items:
            response.cut = True
            self._cut_items(response, items)

    def _cut_items(self, response: Response, items: Iterable[CutItem]) -> None:
        items = list(items)
        response.cut = response.cut or response.running
        response.heard_ms = (response.heard_ms or 0) + sum(i.heard_ms for i in items)
        response.cut_items += items
        for item in items:
            self._session.tell(
                self._session.record.set_heard(
                    item.item_id, item.heard_ms, received_ms=item.received_ms
                )
            )
        connection = self._session.connection
        if not response.running and connection is not None:
            self.tidy(connection, response)

    def tidy(self, connection: Connection, response: Response) -> None:
        """Bring the server's view of an ended response to what was heard of it."""
        if response.out_of_band:
            return
        commands: list[Any] = []
        view = connection.view
        here = response.generation == connection.generation
        unheard = self._unheard(connection, response) if here else []
        known = {command.item_id for command in unheard}
        left = [i for i in response.cut_items if i.item_id not in known]
        given = [i for i in left if self._was_given(connection, i)]
        self._retell(connection, given)
        own = [i for i in left if here and i not in given and not response.discard]
        commands = [*unheard, *(self._heard(connection, i) for i in own)]
        response.cut_items.clear()
        commands = [c for c in commands if c is not None]
        commands += self._calls_cut_off(connection, response)
        if not connection.model.capabilities.mutable_chat_context:
            commands = []  # what was said cannot be taken back there
        for command in commands:
            if isinstance(command, DeleteItem) and view is not None:
                self._session.record.delete_requested(view, command.item_id)
        self.post(connection, commands)

    def _unheard(self, connection: Connection, response: Response) -> list[DeleteItem]:
        """Messages of which nothing was heard, nor will be: all, or the last ones.

        A server may go on to the next message before it reads that it is to stop.
        """
        view = connection.view
        hearing, cut = self._hearing, response.cut
        nothing = response.discard or (cut and hearing.unheard(response))
        return [
            DeleteItem(item.id)
            for item in self._replying.items_of(response)
            if isinstance(item, Message)
            and (nothing or (cut and not hearing.began(response, item.id)))
            and view
            and view.staying(item.id)
        ]

    def _calls_cut_off(
        self, connection: Connection, response: Response
    ) -> list[DeleteItem]:
        """Calls that were never whole: nobody will answer them, so they go."""
        view = connection.view
        return [
            DeleteItem(item.id)
            for item in self._replying.items_of(response)
            if isinstance(item, FunctionCall)
            and item.call_id not in response.calls
            and view
            and item.id in view
        ]

    def _was_given(self, connection: Connection, item: CutItem) -> bool:
        """Whether the server has it in words, or will: it was not spoken there."""
        view, record = connection.view, self._session.record
        given = view is not None and item.item_id in view.given
        return given or record.is_local(item.item_id)

    def _retell(self, connection: Connection, cut_items: Iterable[CutItem]) -> None:
        """This server was given the speech in words: it is given only those heard."""
        record, view = self._session.record, connection.view
        editable = connection.model.capabilities.mutable_chat_context
        if view is None or not connection.live or not editable:
            return
        for cut in cut_items:
            item = record.get(cut.item_id)
            if item is None or not is_spoken(item):
                continue  # gone, or written over: nothing of it was speech
            sync = Sync(self._in_fewer_words(view, cut.item_id))
            self.post(connection, sync.commands(self._session.listening.sound_of))
            sync.note(record, view, self._session.tell)

    def _in_fewer_words(self, view: View, item_id: str) -> tuple[Operation, ...]:
        record = self._session.record
        item = record.get(item_id)
        heard = () if item is None else plan_replay((item,)).items
        before = takewhile(lambda other: other != item_id, record.ids)
        held = [i for i in before if i in view or record.is_local(i)]
        anchor = held[-1] if held else ROOT
        return (Delete(item_id), *(Create(item, anchor) for item in heard))

    @staticmethod
    def _heard(connection: Connection, item: CutItem) -> Any:
        if item.heard_ms <= 0:
            return DeleteItem(item.item_id)
        if item.heard_ms >= item.received_ms and item.complete:
            return None
        if not connection.model.capabilities.message_truncation:
            return None
        return TruncateItem(item.item_id, min(item.heard_ms, item.received_ms))

    @staticmethod
    def post(connection: Connection, commands: Iterable[Any]) -> None:
        """Send commands that nobody waits for, if the connection still serves."""
        if connection.live:
            connection.post([connection.encode(command) for command in commands])
