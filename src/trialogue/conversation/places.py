"""The order of a record: where each item stands, here and at a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.conversation.changes import UnknownAnchor
from trialogue.conversation.items import Item, Message
from trialogue.conversation.order import Order
from trialogue.conversation.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trialogue.conversation.entries import Entries

__all__ = ["Places"]


class Places:
    """The places of a record's items, and those kept free for turns that are open.

    A view has the order of its server. The record has the items of all connections in
    one order that agrees with the server of the current one.
    """

    def __init__(self, entries: Entries) -> None:
        self.order = Order()
        self._entries = entries

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the items, in order."""
        return tuple(i for i in self.order if i in self._entries)

    def move(self, item_id: str, after: str | None) -> None:
        """Put the item behind `after`; see `Order.put`."""
        if item_id in self._entries:
            self._entries.journal.moved(item_id, self._entries.shown(item_id))
        self.order.put(item_id, after)

    def reserve(self, view: View, item_id: str | None) -> None:
        """Keep the last place free for a turn that begins now."""
        marker = _marker(view, item_id)
        if marker not in self.order:
            self.order.append(marker)
            view.reserved.append(marker)
            self.release(view, view.reserved[: -View.MAX_RESERVED])

    def release(self, view: View, markers: Iterable[str]) -> None:
        """Keep these places free no longer."""
        for marker in tuple(markers):
            if marker in view.reserved:
                view.reserved.remove(marker)
                if marker not in self._entries:
                    self.order.discard(marker)

    def place(
        self,
        view: View,
        item: Item,
        previous: str | None,
        known: bool,
        *,
        first: bool = False,
    ) -> None:
        """Give an item its place in the view.

        The server's word decides where it gives one, once: a repetition may name a
        predecessor that has got other followers since.

        Args:
            previous: the predecessor; None for first, or for unknown.
            known: the server named one, or None.
            first: the item was sent to go first, so None can be believed. Otherwise it
                is where the server holds nothing yet.
        """
        self._claim(view, item)
        if item.id in view and item.id not in view.guessed:
            return
        if previous is not None and self._holds(view, previous, item.id):
            view.order.put_after(item.id, previous)
            view.guessed.discard(item.id)
        elif item.id not in view:
            if known and previous is None and (first or not len(view)):
                view.order.prepend(item.id)
            else:
                self._guess(view, item.id, previous)

    def align(self, view: View, item_id: str) -> None:
        """Give the item a place in the record that agrees with the server's order."""
        if item_id not in view:
            return
        before, after = view.neighbours(item_id, self._stands_in(view))
        if (
            item_id in self.order
            and (before is None or self.order.before(before, item_id))
            and (after is None or self.order.before(item_id, after))
        ):
            return
        if item_id in self.order:
            self._entries.journal.moved(item_id, self._entries.shown(item_id))
        if before is not None:
            # Items that this server was never given stay with what they stand behind.
            local = self._entries.local
            self.order.put_after(
                item_id, before, over=lambda i: i not in view and i not in local
            )
        elif after is not None:
            self.order.put_before(item_id, after)
        else:
            self.order.append(item_id)

    def _claim(self, view: View, item: Item) -> None:
        """Take the place that was kept free since the turn began, if there is one."""
        unnamed = _marker(view, None)
        if item.id in view.reserved:
            view.reserved.remove(item.id)
        elif (
            unnamed in view.reserved
            and isinstance(item, Message)
            and item.role == "user"
            and item.id not in self.order
        ):
            self.order.put_before(item.id, unnamed)
            self.release(view, [unnamed])

    def _holds(self, view: View, previous: str, item_id: str) -> bool:
        """Whether the server holds the predecessor, as naming it proves.

        What announced the predecessor may have been lost.
        """
        if previous == item_id:
            return False
        if previous not in view and previous in self._entries:
            self._entries.local.pop(previous, None)
            self._follow_record(view, previous)
        return previous in view

    def _stands_in(self, view: View) -> Callable[[str], bool]:
        """Whether an item stands at the server where it stands here, as far as we know.

        What is to replace an item is here already, but the server has the old one.
        """
        local = self._entries.local
        return lambda i: i in view and i in self.order and i not in local

    def _guess(self, view: View, item_id: str, previous: str | None) -> None:
        placed = item_id in self.order
        if placed:
            self._follow_record(view, item_id)
        else:
            view.order.append(item_id)
        view.guessed.add(item_id)
        if previous is not None or not placed:
            self._entries.journal.warn(UnknownAnchor(item_id, previous))

    def _follow_record(self, view: View, item_id: str) -> None:
        """Give the item the place in the view that it has in the record."""
        before = self.order.nearest_before(item_id, self._stands_in(view))
        if before is None:
            view.order.prepend(item_id)
        else:
            view.order.put_after(item_id, before)


def _marker(view: View, item_id: str | None) -> str:
    """The name of a place kept free; a provider may not name the item in advance."""
    return f"\0turn {view.generation}" if item_id is None else item_id
