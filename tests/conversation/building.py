"""Short names for items, and a server that applies operations as the protocol says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.conversation import (
    ROOT,
    AudioPending,
    AudioTranscribed,
    ChatContext,
    Create,
    Delete,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Operation,
    Record,
    TextContent,
    View,
)
from trialogue.conversation.diff import diff, merge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialogue.conversation import ItemStatus, Role


def text(item_id: str, words: str = "words", role: Role = "user") -> Message:
    return Message(item_id, role, (TextContent(words),))


def spoken(item_id: str, words: str | None = "words", role: Role = "user") -> Message:
    """A message of sound, of which nobody knows the words if they are None."""
    part = AudioPending() if words is None else AudioTranscribed(words)
    return Message(item_id, role, (part,))


def reply(item_id: str, status: ItemStatus = "in_progress") -> Message:
    """A reply as it is announced: nothing said so far."""
    return Message(item_id, "assistant", (), status=status)


def call(item_id: str, call_id: str, arguments: str = "{}") -> FunctionCall:
    return FunctionCall(item_id, call_id, "look_up", arguments)


def output(item_id: str, call_id: str, result: str = "done") -> FunctionCallOutput:
    return FunctionCallOutput(item_id, call_id, result)


def words(item: Item | None) -> str:
    assert isinstance(item, Message)
    return item.text


class Server:
    """A conversation as a provider keeps it, and the record that is told about it."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.items: dict[str, Item] = {}
        self.order: list[str] = []
        self.refused: list[Operation] = []
        self.record = Record()
        self.view: View = self.record.open_view()
        for item in items:
            self.add(item)

    @property
    def context(self) -> ChatContext:
        return ChatContext(tuple(self.items[i] for i in self.order))

    def add(self, item: Item, after: str | None = None) -> None:
        """Take an item, from whomever it comes, and announce it."""
        place = self._place(after)
        self.order.insert(place, item.id)
        self.items[item.id] = item
        previous = self.order[place - 1] if place else None
        self.record.item_announced(self.view, item, previous)
        self.record.item_done(self.view, item, previous, True)

    def apply(self, operations: Iterable[Operation]) -> None:
        """Carry out what can be carried out, as the protocol's server does."""
        for operation in operations:
            match operation:
                case Delete(item_id) if item_id in self.items:
                    self.order.remove(item_id)
                    del self.items[item_id]
                    self.record.deleted(self.view, item_id)
                case Create(item, after) if item.id not in self.items and (
                    after in (None, ROOT) or after in self.items
                ):
                    self.add(item, after)
                case _:
                    self.refused.append(operation)

    def plan(self, edited: ChatContext) -> tuple[Operation, ...]:
        """What `update_chat_ctx` would send for the edit."""
        return merge(diff(self.record.base_of(edited), edited), self.record, self.view)

    def post(self, edited: ChatContext) -> tuple[Operation, ...]:
        """Plan the edit and note it in the record as on its way."""
        operations = self.plan(edited)
        for operation in operations:
            match operation:
                case Delete(item_id):
                    self.record.delete_requested(self.view, item_id)
                case Create(item, after):
                    self.record.add_local(item, after)
        return operations

    def _place(self, after: str | None) -> int:
        if after is None:
            return len(self.order)
        return 0 if after == ROOT else self.order.index(after) + 1
