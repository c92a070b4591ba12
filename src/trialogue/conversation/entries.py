"""The values of a record: what is known of each item, wherever it stands."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from trialogue.conversation.changes import Journal
from trialogue.conversation.heard import Heard, heard_part_of
from trialogue.conversation.items import Content, FunctionCall, Item, Message
from trialogue.conversation.merging import merge_item
from trialogue.conversation.order import ROOT
from trialogue.conversation.stash import Stash, join_parts

__all__ = ["Entries", "Entry", "Local", "Step"]

REMEMBERED_DELETIONS: Final = 256

Step: TypeAlias = Callable[[Content | None], Content]
"""What happens to a content part; see `trialogue.conversation.parts`."""


def _shown(entry: Entry) -> Item:
    if entry.heard is None:
        return entry.item
    return heard_part_of(entry.item, entry.heard)


@attrs.frozen
class Entry:
    """One item.

    Attributes:
        item: the item in full, as the server told it.
        heard: how far it was heard, if it was interrupted.
        left: what a cut that the program asked for left of its audio.
        done: the server called it final.
        ours: it was made here; what a reply of its id still says is not of it.
        ended: indices of the parts whose text is whole.
        shown: the item with only what was heard of it.
    """

    item: Item
    heard: Heard | None = None
    left: Heard | None = None
    done: bool = False
    ours: bool = False
    ended: frozenset[int] = frozenset()
    shown: Item = attrs.field(
        init=False, default=attrs.Factory(_shown, takes_self=True)
    )


@attrs.frozen
class UnderWay:
    """A creation that is on its way to a server.

    Attributes:
        after: its anchor.
        entry: what it creates.
    """

    after: str | None
    entry: Entry


@attrs.define(eq=False)
class Local:
    """An item that no server of today was seen to hold as it is now.

    It was made or changed here, or a fresh server is being given it.

    Attributes:
        replaces: the entry that it replaces, as long as a server may hold that.
        under_way: each creation that is on its way, oldest first. An item can be
            changed while it is under way; the last one to arrive is the one that the
            record holds.
    """

    replaces: Entry | None = None
    under_way: list[UnderWay] = attrs.field(factory=list)


class Entries:
    """Items by id, with what is known of items that are not here yet, or no longer.

    Attributes:
        journal: notes every change.
        local: items that were made here, by id.
    """

    def __init__(self, early_limit: int) -> None:
        self.journal = Journal()
        self.local: dict[str, Local] = {}
        self._entries: dict[str, Entry] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._early = Stash(early_limit)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, item_id: str) -> Entry | None:
        return self._entries.get(item_id)

    def shown(self, item_id: str) -> Item | None:
        """Return the item as the record shows it, or None."""
        entry = self._entries.get(item_id)
        return None if entry is None else entry.shown

    def is_gone(self, item_id: str) -> bool:
        """Whether the item was deleted; what is still said of it counts for nothing."""
        return item_id in self._gone

    def put(self, item_id: str, entry: Entry) -> None:
        self.journal.touch(item_id, self.shown(item_id))
        self._gone.pop(item_id, None)
        self._entries[item_id] = entry

    def delete(self, item_id: str) -> None:
        self._early.drop(item_id)
        self.local.pop(item_id, None)
        if item_id not in self._entries:
            return
        self.journal.touch(item_id, self.shown(item_id))
        del self._entries[item_id]
        self._gone[item_id] = None
        while len(self._gone) > REMEMBERED_DELETIONS:
            self._gone.popitem(last=False)

    def add_local(self, item: Item, after: str | None) -> None:
        """Put an item made here, on its way to a server."""
        local = self.local.setdefault(item.id, Local(self.get(item.id)))
        entry = Entry(item, ours=True)
        local.under_way.append(UnderWay(after, entry))
        self.put(item.id, entry)

    def replayed(self, item_id: str) -> None:
        """An item that is here already is on its way to another server."""
        entry = self._entries.get(item_id)
        if entry is not None:
            local = self.local.setdefault(item_id, Local())
            local.under_way = local.under_way or [UnderWay(None, entry)]

    def sent_first(self, item_id: str) -> bool:
        """Whether the creation that is answered next was to go first."""
        local = self.local.get(item_id)
        ways = () if local is None else local.under_way[:1]
        return any(way.after == ROOT for way in ways)

    def settle(self, item_id: str, *, taken: bool = True) -> bool:
        """A creation was answered; return whether no other is on its way.

        If none is, the item is no longer local. Otherwise what the server took is
        what the others replace.
        """
        local = self.local.get(item_id)
        if local is not None:
            answered, local.under_way = local.under_way[:1], local.under_way[1:]
            if local.under_way:
                if taken and answered:
                    local.replaces = answered[0].entry
                return False
            del self.local[item_id]
        return True

    def nothing_under_way(self) -> None:
        """The last connection ended: local items are here, and nowhere else."""
        for item_id, local in self.local.items():
            local.replaces = None
            local.under_way = [UnderWay(None, self._entries[item_id])]

    def absorb(self, item: Item, *, done: bool = False) -> None:
        """Join what a server says of an item with what is known of it."""
        entry = self._entries.get(item.id)
        if entry is None:
            entry = Entry(item, done=done)
        else:
            merged = merge_item(entry.item, item)
            entry = attrs.evolve(entry, item=merged, done=entry.done or done)
        self.put(item.id, entry)
        self._join_early(item.id)

    def learn(self, item_id: str, content_index: int, step: Step) -> None:
        """Take a content part one step further, or keep that for when it comes."""
        entry = self._entries.get(item_id)
        if entry is None:
            if not self.is_gone(item_id):
                self._learn_early(item_id, content_index, step)
        elif isinstance(entry.item, Message):
            content = list(entry.item.content)
            if 0 <= content_index < len(content):
                content[content_index] = step(content[content_index])
                item = attrs.evolve(entry.item, content=tuple(content))
                self.put(item_id, attrs.evolve(entry, item=item))
            else:
                self._learn_early(item_id, content_index, step)
            self._join_early(item_id)

    def end_part(self, item_id: str, content_index: int) -> None:
        """The text of the part is whole."""
        entry = self._entries.get(item_id)
        if entry is not None:
            ended = entry.ended | {content_index}
            self._entries[item_id] = attrs.evolve(entry, ended=ended)

    def takes_text(self, item_id: str, content_index: int) -> bool:
        """Whether the model may still add to the part."""
        entry = self._entries.get(item_id)
        whole = entry is not None and (entry.done or content_index in entry.ended)
        return not whole and not self.is_ours(item_id)

    def is_ours(self, item_id: str) -> bool:
        """Whether the item was made here."""
        entry = self._entries.get(item_id)
        return entry is not None and entry.ours

    def set_agent(self, item_id: str, name: str) -> None:
        entry = self._entries.get(item_id)
        if entry is None:
            if not self.is_gone(item_id):
                self._early.of(item_id).agent = name
        elif isinstance(entry.item, Message | FunctionCall):
            item = attrs.evolve(entry.item, agent=name)
            self.put(item_id, attrs.evolve(entry, item=item))

    def set_heard(self, item_id: str, heard: Heard, *, override: bool) -> None:
        entry = self._entries.get(item_id)
        if entry is not None:
            heard = heard if entry.left is None else heard.at_most(entry.left)
            if override or entry.heard is None:
                self.put(item_id, attrs.evolve(entry, heard=heard))
        elif not self.is_gone(item_id):
            early = self._early.of(item_id)
            if override or early.heard is None:
                early.heard = heard

    def shorten(self, item_id: str, cut: Heard) -> None:
        """The item's audio was cut on purpose, it may be before what was heard."""
        entry = self._entries.get(item_id)
        if entry is not None:
            left = cut if entry.left is None else entry.left.at_most(cut)
            self._entries[item_id] = attrs.evolve(entry, left=left)
            if entry.heard is not None:
                self.set_heard(item_id, entry.heard, override=True)

    def _learn_early(self, item_id: str, content_index: int, step: Step) -> None:
        early = self._early.of(item_id)
        early.keep(content_index, step(early.parts.get(content_index)))

    def _join_early(self, item_id: str) -> None:
        """Let what was learned early join the item, as far as it has room for it."""
        early = self._early.get(item_id)
        entry = self._entries.get(item_id)
        if early is None or entry is None:
            return
        item = join_parts(entry.item, early)
        heard = entry.heard if early.heard is None else early.heard
        self.put(item_id, attrs.evolve(entry, item=item, heard=heard))
        if not early.parts:
            self._early.drop(item_id)
