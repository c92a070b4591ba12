"""What one connection's server holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trialogue.conversation.order import Order

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["View"]


class View:
    """The ids that one connection's server holds, in the server's order.

    Made by `Record.open_view`, changed by the record only. `order`, `guessed`,
    `reserved`, `leaving` and `unannounced` are the record's own bookkeeping.

    Attributes:
        generation: counts the views of one record from 1.
        given: ids of what the server holds because it was given it, not made there.
        closed: after `Record.close_view`, nothing that names this view counts any more.
    """

    MAX_RESERVED: Final = 8

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.closed = False
        self.order = Order()
        self.guessed: set[str] = set()
        self.reserved: list[str] = []
        self.leaving: set[str] = set()
        self.unannounced: set[str] = set()
        self.given: set[str] = set()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that the server holds, in its order."""
        return tuple(self.order)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.order

    def __len__(self) -> int:
        return len(self.order)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<View {self.generation} {state} held={len(self)}>"

    def staying(self, item_id: str) -> bool:
        """Whether the server holds the item and was not asked to delete it."""
        return item_id in self.order and item_id not in self.leaving

    def forget(self, item_id: str) -> None:
        """The server no longer holds the item."""
        self.order.discard(item_id)
        self.guessed.discard(item_id)
        self.leaving.discard(item_id)
        self.given.discard(item_id)

    def neighbours(
        self, item_id: str, accept: Callable[[str], bool]
    ) -> tuple[str | None, str | None]:
        """Return the nearest accepted ids in front of and behind `item_id`."""
        return (
            self.order.nearest_before(item_id, accept),
            self.order.nearest_after(item_id, accept),
        )
