"""The one true record of a conversation, and the reducer that keeps it.

Every method is synchronous and total: whatever the order of the calls, and whatever
they name, nothing raises and no announced item is lost (S22). Each returns a `Change`
that says what became of the record, for the session to publish.

A record holds the whole conversation; it is `replay_plan` that is bounded. What is
learned about items that are never announced is bounded too.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import attrs

from trialogue.conversation.changes import Change, Journal, UnknownAnchor
from trialogue.conversation.context import ChatContext, Origin
from trialogue.conversation.heard import Heard, heard_part_of
from trialogue.conversation.items import (
    AudioPending,
    Content,
    FunctionCall,
    Item,
    Message,
)
from trialogue.conversation.merging import merge_item
from trialogue.conversation.order import ROOT, Order
from trialogue.conversation.parts import (
    speak,
    speak_out,
    transcribe,
    transcribed,
    untranscribable,
)
from trialogue.conversation.replay import Replay, plan_replay
from trialogue.conversation.stash import Early, Stash, join_parts
from trialogue.conversation.units import answered
from trialogue.conversation.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

__all__ = ["Record"]

_REMEMBERED_DELETIONS: Final = 256


@attrs.frozen
class _Entry:
    """One item: in full as the server told it, and as the record shows it."""

    item: Item
    heard: Heard | None = None
    done: bool = False
    ended: frozenset[int] = frozenset()
    shown: Item = attrs.field(init=False)

    @shown.default
    def _show(self) -> Item:
        if self.heard is None:
            return self.item
        return heard_part_of(self.item, self.heard)


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
        self._entries: dict[str, _Entry] = {}
        self._order = Order()  # also holds places reserved for turns that are open
        self._local: dict[str, _Entry | None] = {}  # with what the item replaces
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._early = Stash(early_limit)
        self._journal = Journal()
        self._views = 0
        self._snapshot: ChatContext | None = None
        self._identity = object()

    def __repr__(self) -> str:
        return (
            f"<Record version={self.version} items={len(self)} local={len(self._local)}"
            f" early={len(self._early)}>"
        )

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
        return tuple(self._entries[i].shown for i in self._order if i in self._entries)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the items, in order."""
        return tuple(i for i in self._order if i in self._entries)

    def get(self, item_id: str) -> Item | None:
        """Return the item as the record shows it, or None."""
        entry = self._entries.get(item_id)
        return None if entry is None else entry.shown

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
        """Whether the item was made here and no server has been seen to hold it."""
        return item_id in self._local

    def pending_local(self) -> tuple[Item, ...]:
        """Return the items made here that no server was seen to hold, in order."""
        return tuple(self._entries[i].shown for i in self.ids if i in self._local)

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
        self._views += 1
        return View(self._views)

    def close_view(self, view: View) -> Change:
        """The connection is no longer the conversation's; transcripts still count.

        An item that its server was asked to delete, and did not answer for, is deleted:
        no later connection is given it.
        """
        if view.closed:
            return self._finish()
        for item_id in view.leaving:
            if item_id not in self._local:
                self._delete(item_id)
        self._abandon(view, view.reserved)
        view.closed = True
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
        the place that the record has for it, or goes last with a warning (S13).
        """
        if not view.closed:
            self._gone.pop(item.id, None)
            if item.id in self._local:
                # The answer to the deletion of what it replaces may have been lost.
                view.forget(item.id)
                del self._local[item.id]
            self._absorb(item)
            self._place(view, item, previous_item_id, previous_known)
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
        replaced = item.id in self._local and item.id in view
        if not view.closed and item.id not in self._gone and not replaced:
            self._local.pop(item.id, None)
            self._absorb(item, done=True)
            self._place(view, item, previous_item_id, previous_known)
        return self._finish()

    def deleted(self, view: View, item_id: str) -> Change:
        """The server no longer holds the item."""
        if not view.closed:
            held = item_id in view
            view.forget(item_id)
            if held and item_id in self._local:
                self._local[item_id] = None  # its replacement is still to come
            else:
                self._delete(item_id)
        return self._finish()

    def truncated(
        self, view: View, item_id: str, content_index: int, audio_end_ms: int
    ) -> Change:
        """The server cut the item's audio. What `set_heard` said before stands."""
        if not view.closed:
            heard = Heard(max(0, audio_end_ms), content_index=content_index)
            self._set_heard(item_id, heard, override=False)
        return self._finish()

    # Turns of the user

    def speech_started(self, view: View, item_id: str | None) -> Change:
        """Reserve the place where a turn began, for when its item comes (U1)."""
        marker = _marker(view, item_id)
        if not view.closed and marker not in self._order:
            self._order.append(marker)
            view.reserved.append(marker)
            self._abandon(view, view.reserved[: -View.MAX_RESERVED])
        return self._finish()

    def speech_abandoned(self, view: View, item_id: str | None = None) -> Change:
        """Turns that were begun will not be committed: drop their places.

        Args:
            item_id: the turn, or None for every turn that is open.
        """
        self._abandon(view, view.reserved if item_id is None else [item_id])
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
            self._gone.pop(item_id, None)
            message = Message(item_id, "user", (AudioPending(),))
            self._absorb(message)
            self._place(view, message, previous_item_id, previous_item_id is not None)
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
        entry = self._entries.get(item_id)
        if entry is not None and (entry.done or content_index in entry.ended):
            return self._finish()
        return self._learn(
            item_id, content_index, lambda part: speak(part, text, spoken=spoken)
        )

    def output_text_ended(
        self, item_id: str, content_index: int, text: str, spoken: bool = False
    ) -> Change:
        """The whole text of a part of what the model says."""
        entry = self._entries.get(item_id)
        if entry is not None:
            ended = entry.ended | {content_index}
            self._entries[item_id] = attrs.evolve(entry, ended=ended)
        return self._learn(
            item_id, content_index, lambda part: speak_out(part, text, spoken=spoken)
        )

    # What only a client knows

    def set_agent(self, item_id: str, name: str) -> Change:
        """Note which agent a message or call is of; it may be announced later."""
        entry = self._entries.get(item_id)
        if entry is None:
            if item_id not in self._gone:
                self._early.of(item_id).agent = name
        elif isinstance(entry.item, Message | FunctionCall):
            item = attrs.evolve(entry.item, agent=name)
            self._put(item_id, attrs.evolve(entry, item=item))
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
        self._set_heard(item_id, heard, override=True)
        return self._finish()

    # Items made here

    def add_local(self, item: Item, after: str | None = None) -> Change:
        """Add an item made here, which no server is known to hold yet.

        An item of an id that is already here replaces it: the old one is expected to be
        deleted at the server, which will not delete the new one here.

        Args:
            after: the id it follows; None (or an unknown id) for last, "root" for
                first.
        """
        replaced = self._entries.get(item.id)
        self._local.setdefault(item.id, replaced)
        self._gone.pop(item.id, None)
        if replaced is not None:
            self._journal.moved(item.id, replaced.shown)
        self._order.put(item.id, after)
        self._put(item.id, _Entry(item))
        return self._finish()

    def drop_local(self, item_id: str) -> Change:
        """The item made here was refused. What it should have replaced is back."""
        if item_id in self._local:
            replaced = self._local.pop(item_id)
            if replaced is None:
                self._delete(item_id)
            else:
                self._put(item_id, replaced)
        return self._finish()

    def delete_requested(self, view: View, item_id: str) -> None:
        """This server was asked to delete the item; edits no longer build on it."""
        if item_id in view:
            view.leaving.add(item_id)

    def delete_refused(self, view: View, item_id: str) -> None:
        """This server keeps the item that it was asked to delete."""
        view.leaving.discard(item_id)

    def forget(self, item_ids: Iterable[str]) -> Change:
        """Delete items that no server has to be told about."""
        for item_id in item_ids:
            self._local.pop(item_id, None)
            self._delete(item_id)
        return self._finish()

    def restore(self, snapshot: ChatContext) -> Change:
        """Bring back the items of a snapshot that were deleted since, in their places.

        They count as made here until a server holds them. Items that joined or changed
        since stay as they are.
        """
        anchor: str = ROOT
        for item in snapshot.items:
            if item.id not in self._entries:
                self._local[item.id] = None
                self._gone.pop(item.id, None)
                self._order.put(item.id, anchor)
                self._put(item.id, _Entry(item))
            anchor = item.id
        return self._finish()

    # How it is done

    def _finish(self) -> Change:
        change = self._journal.close(self.get)
        if change:
            self.version += 1
        return attrs.evolve(change, version=self.version)

    def _put(self, item_id: str, entry: _Entry) -> None:
        self._journal.touch(item_id, self.get(item_id))
        self._entries[item_id] = entry

    def _delete(self, item_id: str) -> None:
        self._early.drop(item_id)
        if item_id not in self._entries:
            return
        self._journal.touch(item_id, self.get(item_id))
        del self._entries[item_id]
        self._local.pop(item_id, None)
        self._order.discard(item_id)
        self._gone[item_id] = None
        while len(self._gone) > _REMEMBERED_DELETIONS:
            self._gone.popitem(last=False)

    def _absorb(self, item: Item, *, done: bool = False) -> None:
        """Join what the server says of an item with what is known of it."""
        entry = self._entries.get(item.id)
        if entry is None:
            self._put(item.id, _Entry(item, done=done))
        else:
            merged = merge_item(entry.item, item)
            self._put(
                item.id, attrs.evolve(entry, item=merged, done=entry.done or done)
            )
        self._join_early(item.id)

    def _join_early(self, item_id: str) -> None:
        early = self._early.get(item_id)
        if early is None:
            return
        entry = self._entries[item_id]
        item = join_parts(entry.item, early)
        heard = entry.heard if early.heard is None else early.heard
        self._put(item_id, attrs.evolve(entry, item=item, heard=heard))
        if not early.parts:
            self._early.drop(item_id)

    def _learn(
        self,
        item_id: str,
        content_index: int,
        step: Callable[[Content | None], Content],
    ) -> Change:
        """Take a content part one step further, wherever it is kept."""
        entry = self._entries.get(item_id)
        if entry is None:
            if item_id not in self._gone:
                self._learn_early(self._early.of(item_id), content_index, step)
        elif isinstance(entry.item, Message):
            content = list(entry.item.content)
            if 0 <= content_index < len(content):
                content[content_index] = step(content[content_index])
                item = attrs.evolve(entry.item, content=tuple(content))
                self._put(item_id, attrs.evolve(entry, item=item))
            else:
                self._learn_early(self._early.of(item_id), content_index, step)
            self._join_early(item_id)
        return self._finish()

    @staticmethod
    def _learn_early(
        early: Early, content_index: int, step: Callable[[Content | None], Content]
    ) -> None:
        early.keep(content_index, step(early.parts.get(content_index)))

    def _set_heard(self, item_id: str, heard: Heard, *, override: bool) -> None:
        entry = self._entries.get(item_id)
        if entry is not None:
            if override or entry.heard is None:
                self._put(item_id, attrs.evolve(entry, heard=heard))
        elif item_id not in self._gone:
            early = self._early.of(item_id)
            if override or early.heard is None:
                early.heard = heard

    # Places

    def _place(self, view: View, item: Item, previous: str | None, known: bool) -> None:
        """Give the item its place in the view, and in the record if that differs.

        The server's word decides where it gives one, once: a repetition may name a
        predecessor that has got other followers since.
        """
        self._claim(view, item)
        if item.id in view and item.id not in view.guessed:
            return
        if previous is not None and self._adopt(view, previous, item.id):
            view.order.put_after(item.id, previous)
            view.guessed.discard(item.id)
        elif item.id not in view:
            first = known and previous is None and not len(view)
            self._guess(view, item.id, previous, first=first)
        self._align(view, item.id)

    def _claim(self, view: View, item: Item) -> None:
        """Take the place that was reserved where the turn began, if there is one."""
        unnamed = _marker(view, None)
        if item.id in view.reserved:
            view.reserved.remove(item.id)
        elif (
            unnamed in view.reserved
            and isinstance(item, Message)
            and item.role == "user"
            and item.id not in self._order
        ):
            self._order.put_before(item.id, unnamed)
            self._abandon(view, [unnamed])

    def _adopt(self, view: View, previous: str, item_id: str) -> bool:
        """Whether the server holds the predecessor, as naming it proves.

        The answer that announced the predecessor may have been lost.
        """
        if previous == item_id:
            return False
        if previous not in view and previous in self._entries:
            self._local.pop(previous, None)
            self._put_where_record_says(view, previous)
        return previous in view

    def _guess(
        self, view: View, item_id: str, previous: str | None, *, first: bool
    ) -> None:
        placed = item_id in self._order
        if placed:
            self._put_where_record_says(view, item_id)
        else:
            view.order.append(item_id)
        if first:
            return
        view.guessed.add(item_id)
        if previous is not None or not placed:
            self._journal.warn(UnknownAnchor(item_id, previous))

    def _put_where_record_says(self, view: View, item_id: str) -> None:
        before = self._order.nearest_before(item_id, view.order.__contains__)
        if before is None:
            view.order.prepend(item_id)
        else:
            view.order.put_after(item_id, before)

    def _align(self, view: View, item_id: str) -> None:
        """Give the item a place in the record that agrees with the server's order."""
        before, after = view.neighbours(item_id, self._order.__contains__)
        if (
            item_id in self._order
            and (before is None or self._order.before(before, item_id))
            and (after is None or self._order.before(item_id, after))
        ):
            return
        if item_id in self._order:
            self._journal.moved(item_id, self.get(item_id))
        if before is not None:
            self._order.put_after(
                item_id,
                before,
                over=lambda i: i not in view and i not in self._local,
            )
        elif after is not None:
            self._order.put_before(item_id, after)
        else:
            self._order.append(item_id)

    def _abandon(self, view: View, markers: Iterable[str]) -> None:
        for marker in tuple(markers):
            if marker in view.reserved:
                view.reserved.remove(marker)
                if marker not in self._entries:
                    self._order.discard(marker)


def _marker(view: View, item_id: str | None) -> str:
    """The name of a reserved place; a provider may not name the item in advance."""
    return f"\0turn {view.generation}" if item_id is None else item_id
