"""The one true record of a conversation, and the reducer that keeps it.

Every method is synchronous and total: whatever the order of the calls, and whatever
they name, nothing raises and no announced item is lost (S22). Each returns a `Change`
that says what became of the record, for the session to publish.

A record grows with its conversation until somebody has its oldest items leave (see
`trialogue.conversation.trimming`); `replay_plan` is bounded for itself, and so is what
is learned about items that are never announced. The class is long because it has a
method for each kind of report; what they do is done by `Entries` (the values) and
`Places` (the order).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trialogue.conversation.context import ChatContext, Origin
from trialogue.conversation.entries import Entries, Step
from trialogue.conversation.heard import Heard
from trialogue.conversation.items import (
    AudioPending,
    FunctionCall,
    Item,
    Message,
)
from trialogue.conversation.order import ROOT
from trialogue.conversation.parts import (
    speak,
    speak_out,
    transcribe,
    transcribed,
    untranscribable,
)
from trialogue.conversation.places import Places
from trialogue.conversation.replay import Replay, plan_replay
from trialogue.conversation.units import answered
from trialogue.conversation.view import View

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from trialogue.conversation.changes import Change

__all__ = ["Record"]


class Record:
    """The items of one conversation, whatever connections it was held over.

    Methods that take a `View` report what that connection's server said; once the view
    is closed they change nothing. Transcripts and text name their item alone, so that a
    transcript which the old connection still delivers finds its turn.

    Attributes:
        version: grows with every change.
    """

    def __init__(self, *, early_limit: int = 64) -> None:
        self.version = 0
        self._entries = Entries(early_limit)
        self._places = Places(self._entries)
        self._opened = 0
        self._views: list[View] = []
        self._snapshot: ChatContext | None = None
        self._identity = object()

    def __repr__(self) -> str:
        local = len(self._entries.local)
        return f"<Record version={self.version} items={len(self)} local={local}>"

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._entries

    # What the record says

    @property
    def items(self) -> tuple[Item, ...]:
        """The items in order; of an interrupted reply only what was heard."""
        shown = map(self._entries.shown, self._places.order)
        return tuple(item for item in shown if item is not None)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the items, in order."""
        return self._places.ids

    def get(self, item_id: str) -> Item | None:
        """Return the item as the record shows it, or None."""
        return self._entries.shown(item_id)

    def snapshot(self) -> ChatContext:
        """Return the conversation as it is now, to read or to edit."""
        if self._snapshot is None or self._snapshot.version != self.version:
            items = self.items
            origin = Origin(self._identity, items)
            self._snapshot = ChatContext(items, self.version, origin)
        return self._snapshot

    def base_of(self, edited: ChatContext) -> ChatContext:
        """Return what `edited` is to be compared with.

        That is the snapshot of this record it was derived from. A context made by hand,
        loaded, or taken from another conversation replaces the history: its base is the
        record as it is now (S4).
        """
        if edited.origin is None or edited.origin.source is not self._identity:
            return self.snapshot()
        return ChatContext(edited.origin.items, edited.version, edited.origin)

    def open_calls(self) -> tuple[FunctionCall, ...]:
        """Return the calls that have no output, in order."""
        items = self.items
        outputs = answered(items)
        return tuple(
            item
            for item in items
            if isinstance(item, FunctionCall) and item.call_id not in outputs
        )

    def is_local(self, item_id: str) -> bool:
        """Whether the item is on its way to a server, which was not seen to hold it."""
        return item_id in self._entries.local

    def pending_local(self) -> tuple[Item, ...]:
        """Return the items that are on their way to a server, in order."""
        return tuple(item for item in self.items if item.id in self._entries.local)

    def replay_plan(
        self,
        *,
        max_items: int | None = None,
        max_tokens: int | None = None,
        running: Collection[str] = (),
    ) -> Replay:
        """Return what a fresh connection has to be given; see `plan_replay`.

        Args:
            max_items, max_tokens: the budget; None is no bound.
            running: ids of calls (`call_id`) that will still be answered. They are
                replayed without an output; other open calls are left out.
        """
        return plan_replay(
            self.items, max_items=max_items, max_tokens=max_tokens, running=running
        )

    # Connections

    def open_view(self) -> View:
        """Return the view of a new connection, whose server holds nothing."""
        self._opened += 1
        view = View(self._opened)
        self._views.append(view)
        return view

    def view_of_all(self) -> View:
        """Return a view that holds every item, to merge an edit while no server does.

        It is a copy: it does not follow the record and need not be closed.
        """
        view = View(0)
        for item_id in self.ids:
            view.order.append(item_id)
        return view

    def close_view(self, view: View) -> Change:
        """The connection is no longer the conversation's; transcripts still count.

        An item that its server was asked to delete, and did not answer for, is deleted:
        no later connection is given it.
        """
        if view not in self._views:
            return self._finish()
        for item_id in view.leaving:
            self._delete(item_id)
        self._places.release(view, view.reserved)
        view.closed = True
        self._views.remove(view)
        if not self._views:
            self._entries.nothing_under_way()
        return self._finish()

    # What a server says of its items

    def item_announced(
        self,
        view: View,
        item: Item,
        previous_item_id: str | None = None,
        previous_known: bool = True,
    ) -> Change:
        """The server holds the item, behind `previous_item_id`.

        None means first where the server holds nothing yet. Otherwise the item keeps
        the place that the record has for it, or goes last with a warning (S13). One
        that was deleted before its announcement came stays deleted.
        """
        gone = item.id in view.unannounced and item.id not in view
        overtaken = gone and item.id not in self._entries.local
        view.unannounced.discard(item.id)
        if not (view.closed or overtaken):
            if item.id in self._entries.local:
                # The answer to the deletion of what it replaces may have been lost.
                view.order.discard(item.id)
                view.given.add(item.id)
            first = previous_known and self._entries.sent_first(item.id)
            newest = self._entries.settle(item.id)
            if newest:
                self._entries.absorb(item)
            self._places.place(
                view, item, previous_item_id, previous_known, first=first
            )
            if newest:
                self._places.align(view, item.id)
        return self._finish()

    def confirmed(self, view: View, item_id: str) -> Change:
        """The server is known to hold an item of ours, though it did not announce it.

        Because it refused it as a duplicate (S12), or because it never announces any.
        """
        entry = self._entries.get(item_id)
        if entry is not None and not view.closed:
            self._entries.settle(item_id)
            self._places.place(view, entry.item, None, False)
            self._places.align(view, item_id)
        return self._finish()

    def item_done(
        self,
        view: View,
        item: Item,
        previous_item_id: str | None = None,
        previous_known: bool = False,
    ) -> Change:
        """The item is final. An item never announced joins now; a deleted one does not.

        What replaces an item here takes nothing from the one that is being replaced.
        """
        ours = item.id in self._entries.local or item.id in view.given
        replaced = ours and item.id in view
        if not (view.closed or replaced or self._entries.is_gone(item.id)):
            if item.id not in view:
                view.unannounced.add(item.id)
            self._entries.local.pop(item.id, None)
            self._entries.absorb(item, done=True)
            self._places.place(view, item, previous_item_id, previous_known)
            self._places.align(view, item.id)
        return self._finish()

    def deleted(self, view: View, item_id: str) -> Change:
        """The server no longer holds the item."""
        if not view.closed:
            local = self._entries.local.get(item_id)
            if local is not None and (item_id in view or item_id not in view.leaving):
                local.replaces = None  # gone for good; what replaces it is to come
                view.order.discard(item_id)
            else:
                if item_id not in self._entries:
                    view.unannounced.add(item_id)  # that is still to come, if at all
                view.forget(item_id)
                self._delete(item_id)
        return self._finish()

    def truncated(
        self,
        view: View,
        item_id: str,
        content_index: int,
        audio_end_ms: int,
        *,
        on_purpose: bool = False,
    ) -> Change:
        """The server cut the item's audio. What `set_heard` said before stands.

        A cut that the program asked for counts if it is shorter than that.
        """
        if not view.closed:
            heard = Heard(max(0, audio_end_ms), content_index=content_index)
            self._entries.set_heard(item_id, heard, override=False)
            if on_purpose:
                self._entries.shorten(item_id, heard)
        return self._finish()

    # Turns of the user

    def speech_started(self, view: View, item_id: str | None) -> Change:
        """Reserve the place where a turn began, for when its item comes (U1)."""
        if not view.closed:
            self._places.reserve(view, item_id)
        return self._finish()

    def speech_abandoned(self, view: View, item_id: str | None = None) -> Change:
        """Turns that were begun will not be committed: drop their places.

        Args:
            item_id: the turn, or None for every turn that is open.
        """
        self._places.release(view, view.reserved if item_id is None else [item_id])
        return self._finish()

    def committed(
        self, view: View, item_id: str, previous_item_id: str | None = None
    ) -> Change:
        """The turn's audio is a user item now.

        It joins the record at once, so that the turn is not lost if the connection ends
        before the item is announced. Its place is behind `previous_item_id`, else where
        the turn began, else last.
        """
        if not view.closed and item_id not in view:
            message = Message(item_id, "user", (AudioPending(),))
            view.unannounced.add(item_id)
            known = previous_item_id is not None
            self._entries.absorb(message)
            self._places.place(view, message, previous_item_id, known)
            self._places.align(view, item_id)
        return self._finish()

    def transcript_delta(
        self, item_id: str, content_index: int, text: str, cumulative: bool = False
    ) -> Change:
        """More interim text of a turn; it never changes a final transcript (U2)."""
        return self._learn(
            item_id,
            content_index,
            lambda part: transcribe(part, text, cumulative=cumulative),
        )

    def transcript_done(self, item_id: str, content_index: int, text: str) -> Change:
        """The turn's transcript, whenever it comes; the first one stands (S15)."""
        return self._learn(item_id, content_index, lambda part: transcribed(part, text))

    def transcript_failed(
        self, item_id: str, content_index: int, reason: str = ""
    ) -> Change:
        """The turn will have no transcript, unless one comes after all."""
        return self._learn(
            item_id, content_index, lambda part: untranscribable(part, reason)
        )

    # Words of the model

    def output_text(
        self, item_id: str, content_index: int, text: str, spoken: bool = False
    ) -> Change:
        """More of what the model says; with `spoken`, of what its audio says.

        Nothing is added once the part or the item is complete.
        """
        if not self._entries.takes_text(item_id, content_index):
            return self._finish()
        return self._learn(
            item_id, content_index, lambda part: speak(part, text, spoken=spoken)
        )

    def output_text_ended(
        self, item_id: str, content_index: int, text: str, spoken: bool = False
    ) -> Change:
        """The whole text of a part of what the model says."""
        if self._entries.is_ours(item_id):
            return self._finish()
        self._entries.end_part(item_id, content_index)
        return self._learn(
            item_id, content_index, lambda part: speak_out(part, text, spoken=spoken)
        )

    # What only a client knows

    def set_agent(self, item_id: str, name: str) -> Change:
        """Note which agent a message or call is of; it may be announced later."""
        self._entries.set_agent(item_id, name)
        return self._finish()

    def set_heard(
        self,
        item_id: str,
        ms: int,
        text_heard: str | None = None,
        *,
        received_ms: int | None = None,
        content_index: int = 0,
    ) -> Change:
        """Note how far an interrupted reply was heard; the record shows only that (R9).

        Args:
            ms: the position in the audio of the part.
            text_heard: the words heard, if known; else they are cut in proportion to
                `ms` of `received_ms`, see `trialogue.conversation.heard`.
            received_ms: how much audio of the part had arrived.
            content_index: the part that was playing.
        """
        heard = Heard(max(0, ms), text_heard, received_ms, content_index)
        self._entries.set_heard(item_id, heard, override=True)
        return self._finish()

    # Items made here

    def add_local(
        self, item: Item, after: str | None = None, *, here: str | None = None
    ) -> Change:
        """Add an item made here, which no server is known to hold yet.

        An item of an id that is already here replaces it: the old one is expected to be
        deleted at the server, which will not delete the new one here.

        Args:
            after: the id it follows; None (or an unknown id) for last, "root" for
                first.
            here: the id it follows in the record, if that is another one, which the
                server was never given.
        """
        self._add_local(item, after, here)
        return self._finish()

    def replayed(self, item_ids: Iterable[str]) -> None:
        """Items of the record are on their way to a server that lacks them."""
        for item_id in item_ids:
            self._entries.replayed(item_id)

    def drop_local(self, item_id: str, *, keep: bool = False) -> Change:
        """The item made here was refused. What it should have replaced is back.

        With `keep` it stays local if it is not on its way once more: the next
        connection is given it.
        """
        local = self._entries.local.get(item_id)
        if keep and local is not None and len(local.under_way) == 1:
            return self._finish()
        if local is not None and self._entries.settle(item_id, taken=False):
            if local.replaces is not None:
                self._entries.put(item_id, local.replaces)
            elif not any(item_id in view for view in self._views):
                self._delete(item_id)
            for view in self._views:
                self._places.align(view, item_id)
        return self._finish()

    def delete_requested(self, view: View, item_id: str) -> None:
        """This server was asked to delete the item; edits no longer build on it."""
        if item_id in view or item_id in self._entries:
            view.leaving.add(item_id)

    def delete_refused(self, view: View, item_id: str) -> None:
        """This server keeps the item that it was asked to delete."""
        view.leaving.discard(item_id)

    def forget(self, item_ids: Iterable[str]) -> Change:
        """Delete items that no server has to be told about."""
        for item_id in item_ids:
            self._delete(item_id)
        return self._finish()

    def withheld(self, item_ids: Iterable[str]) -> None:
        """These items stay here: no server is given them until a later connection."""
        for item_id in item_ids:
            self._entries.local.pop(item_id, None)

    def restore(self, snapshot: ChatContext) -> Change:
        """Bring back the items of a snapshot that were deleted since, in their places.

        They count as made here until a server holds them. Items that joined or changed
        since stay as they are.
        """
        anchor: str = ROOT
        for item in snapshot.items:
            if item.id not in self._entries:
                self._add_local(item, anchor)
            anchor = item.id
        return self._finish()

    def _learn(self, item_id: str, content_index: int, step: Step) -> Change:
        self._entries.learn(item_id, content_index, step)
        return self._finish()

    def _add_local(
        self, item: Item, after: str | None, here: str | None = None
    ) -> None:
        for view in self._views:  # what leaves, if anything, is the item it replaces
            view.leaving.discard(item.id)
        self._places.move(item.id, after if here is None else here)
        self._entries.add_local(item, after)

    def _delete(self, item_id: str) -> None:
        if item_id in self._entries:
            self._places.order.discard(item_id)
        self._entries.delete(item_id)

    def _finish(self) -> Change:
        change = self._entries.journal.close(self._entries.shown)
        if change:
            self.version += 1
            self._snapshot = None  # what left lives on only in snapshots somebody has
        return attrs.evolve(change, version=self.version)
