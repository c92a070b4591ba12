"""What an editor wants of a conversation, and what has to be sent for it."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from trialogue.conversation.items import Item

__all__ = ["Create", "Delete", "Edit", "Operation"]


@attrs.frozen
class Delete:
    """Have the server delete the item."""

    item_id: str


@attrs.frozen
class Create:
    """Have the server add the item.

    Attributes:
        after: the id it follows; "root" for first, None for last.
    """

    item: Item
    after: str | None = None

    @property
    def item_id(self) -> str:
        """The id of the item."""
        return self.item.id


Operation: TypeAlias = Delete | Create


@attrs.frozen
class Edit:
    """The difference between a snapshot and what an editor made of it.

    False if there is none. An id stands in one of `deleted`, `inserted`, `replaced` and
    `moved`; those of the last three are in the order of `target`.

    Attributes:
        deleted: items that the editor took out.
        inserted: items that the editor put in.
        replaced: items whose content the editor changed.
        moved: items that have to be taken out and put in again elsewhere, the fewest
            that bring about the order.
        target: the items as they should stand.
        seen: ids of everything that the editor knew of.
    """

    deleted: tuple[str, ...]
    inserted: tuple[str, ...]
    replaced: tuple[str, ...]
    moved: tuple[str, ...]
    target: tuple[Item, ...]
    seen: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.deleted or self.inserted or self.replaced or self.moved)
