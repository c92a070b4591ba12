"""Edits of the conversation: from an edited context to operations, and to a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from trialogue.conversation.diff import diff, forgotten, merge, reanchor
from trialogue.conversation.edits import Create, Delete, Operation
from trialogue.conversation.equivalence import is_untranscribed
from trialogue.conversation.order import ROOT
from trialogue.dialects.commands import (
    Command,
    CreateItem,
    CreateUserAudio,
    Creation,
    DeleteItem,
)
from trialogue.dialects.events import ErrorClass
from trialogue.realtime.requests import RequestState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from trialogue.conversation.changes import Change
    from trialogue.conversation.context import ChatContext
    from trialogue.conversation.items import Item
    from trialogue.conversation.record import Record
    from trialogue.conversation.view import View
    from trialogue.dialects.events import ErrorReported
    from trialogue.realtime.requests import Request

    SoundOf = Callable[[str], bytes | None]
    """Gives the sound of a committed turn, while it is kept."""
    Teller = Callable[[Change], None]
    """Tells the subscribers what became of the record."""

__all__ = ["Sync", "apply_here", "creation", "followers_of_missing", "plan_sync"]


@attrs.frozen
class Sync:
    """What has to be sent to bring one server to an edited conversation."""

    operations: tuple[Operation, ...]
    forgotten: tuple[str, ...] = ()
    behind: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """What a new item stands behind here, where the server was never given that."""

    def commands(self, sound_of: SoundOf) -> tuple[Command, ...]:
        """Return what carries out the operations; see `creation`."""
        return tuple(
            DeleteItem(operation.item_id)
            if isinstance(operation, Delete)
            else creation(operation.item, operation.after, sound_of)
            for operation in self.operations
        )

    def note(self, record: Record, view: View, tell: Teller) -> None:
        """Tell the record that these operations are on their way."""
        for operation in self.operations:
            if isinstance(operation, Delete):
                record.delete_requested(view, operation.item_id)
            else:
                item, after = operation.item, operation.after
                here = self.behind.get(item.id)
                tell(record.add_local(item, after, here=here).as_edit())
        tell(record.forget(self.forgotten))


def creation(item: Item, after: str | None, sound_of: SoundOf) -> Creation:
    """Return the command that adds an item.

    A turn of the user's without words goes as sound, while that is kept.
    """
    pcm = sound_of(item.id) if is_untranscribed(item) else None
    if pcm is None:
        return CreateItem(item, after)
    return CreateUserAudio(item.id, pcm, after)


def plan_sync(record: Record, view: View, edited: ChatContext) -> Sync:
    """Three-way merge: what the editor changed, applied to the record as it is now."""
    edit = diff(record.base_of(edited), edited)
    gone = forgotten(edit, record, view)
    operations = merge(edit, record, view)
    behind = _behind_withheld(operations, record, view, edited, gone)
    return Sync(operations, gone, behind)


def _behind_withheld(
    operations: Sequence[Operation],
    record: Record,
    view: View,
    edited: ChatContext,
    gone: Collection[str],
) -> dict[str, str]:
    """Say which creations stand behind an item that only the record has."""
    created = {o.item_id for o in operations if isinstance(o, Create)}
    behind: dict[str, str] = {}
    previous: str | None = None
    for item_id in edited.ids:
        if item_id in created and previous is not None:
            behind[item_id] = previous
        elif item_id in view or record.is_local(item_id):
            previous = None  # from here on the server knows as well
        elif item_id in record and item_id not in gone:
            previous = item_id
        if item_id in behind:
            previous = item_id
    return behind


def apply_here(record: Record, edited: ChatContext, tell: Teller) -> None:
    """Apply an edit while no connection serves; the next one is brought to it."""
    view = record.view_of_all()
    edit = diff(record.base_of(edited), edited)
    for operation in merge(edit, record, view):
        if isinstance(operation, Create):
            tell(record.add_local(operation.item, operation.after).as_edit())
        else:
            tell(record.forget([operation.item_id]))
    tell(record.forget(edit.deleted))
    record.close_view(view)


def followers_of_missing(
    requests: Sequence[Request],
    operations: Sequence[Operation],
    order: Collection[str],
    held: Collection[str],
) -> tuple[Create, ...]:
    """Return the creations to send again: those refused only for their predecessor.

    Args:
        requests: what was sent for `operations`, answered or not.
        order: the ids that the server held before, in order.
        held: the ids that it holds now.
    """
    refused = [
        (request.command, request.error)
        for request in requests
        if request.state is RequestState.REJECTED
        and isinstance(request.command, Creation)
    ]
    missing = {command.item_id for command, _ in refused}
    faulty = {c.item_id for c, error in refused if _at_fault_itself(c, error)}
    # An anchor may have vanished while the creation was on its way.
    anchors = {command.after for command, _ in refused} - {None, ROOT}
    missing |= {anchor for anchor in anchors if anchor and anchor not in held}
    return reanchor(operations, missing, faulty=faulty, order=order) if missing else ()


def _at_fault_itself(command: Creation, error: ErrorReported | None) -> bool:
    """Whether it would be refused behind any other item as well, as far as is known."""
    if error is None or command.after in error.refs:
        return False
    return bool(error.refs) or error.error_class is ErrorClass.PERMANENT
