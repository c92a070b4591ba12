"""A copy of a conversation that knows only what the subscribers are told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trialogue.realtime.notices import ItemChanged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialogue.conversation.context import ChatContext
    from trialogue.conversation.items import Item

__all__ = ["Mirror"]


class Mirror:
    """Applies each `ItemChanged`, and says where the conversation is another.

    Begin with the conversation as it was when the events began.
    """

    def __init__(self, context: ChatContext, events: Iterable[Any] = ()) -> None:
        self.items: dict[str, Item] = {item.id: item for item in context}
        self.problems: list[str] = []
        for event in events:
            self.apply(event)

    def apply(self, event: Any) -> None:
        """Take note of an event, if it is about an item."""
        if not isinstance(event, ItemChanged):
            return
        known = event.item_id in self.items
        if known == (event.change == "added"):
            self.problems.append(f"{event.change} {event.item_id}, known: {known}")
        if event.item is None:
            self.items.pop(event.item_id, None)
        else:
            self.items[event.item_id] = event.item

    def differences(self, context: ChatContext) -> list[str]:
        """Say what nobody was told of, or what was told and is not so."""
        real = {item.id: item for item in context}
        ids = [*real, *(i for i in self.items if i not in real)]
        return self.problems + [
            f"told {self.items.get(i)}, is {real.get(i)}"
            for i in ids
            if self.items.get(i) != real.get(i)
        ]
