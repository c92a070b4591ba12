"""What was learned about items that nobody has announced yet."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import attrs

from trialogue.conversation.heard import Heard
from trialogue.conversation.items import (
    Content,
    FunctionCall,
    ImageContent,
    Item,
    Message,
    TextContent,
)
from trialogue.conversation.parts import is_audio, merge_part

__all__ = ["Early", "Stash", "join_parts"]

MAX_PARTS: Final = 16


@attrs.define(eq=False)
class Early:
    """What is known of one item before it is announced."""

    parts: dict[int, Content] = attrs.field(factory=dict)
    agent: str | None = None
    heard: Heard | None = None

    def keep(self, content_index: int, part: Content) -> None:
        if content_index in self.parts or len(self.parts) < MAX_PARTS:
            self.parts[content_index] = part


class Stash:
    """Early knowledge by item id: at most `limit` items, the oldest are dropped.

    The bound keeps a server that talks about items it never announces from growing this
    process; a real early transcript waits for its item a few hundred milliseconds.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._early: OrderedDict[str, Early] = OrderedDict()

    def get(self, item_id: str) -> Early | None:
        return self._early.get(item_id)

    def of(self, item_id: str) -> Early:
        """Return what is kept for the id, making room for it if it is new."""
        if item_id not in self._early:
            self._early[item_id] = Early()
            while len(self._early) > self._limit:
                self._early.popitem(last=False)
        return self._early[item_id]

    def drop(self, item_id: str) -> None:
        self._early.pop(item_id, None)


def join_parts(item: Item, early: Early) -> Item:
    """Put early parts into the item, as far as it has room for them.

    A part joins where the item has one at that index, or directly behind its last. What
    was used is taken out of `early`.
    """
    if isinstance(item, FunctionCall) and early.agent is not None:
        return attrs.evolve(item, agent=early.agent)
    if not isinstance(item, Message):
        return item
    content = list(item.content)
    for at in sorted(early.parts):
        if 0 <= at < len(content):
            content[at] = _join(early.parts.pop(at), content[at])
        elif at == len(content):
            content.append(early.parts.pop(at))
    agent = item.agent if early.agent is None else early.agent
    return attrs.evolve(item, content=tuple(content), agent=agent)


def _join(early: Content, announced: Content) -> Content:
    if is_audio(early) and isinstance(announced, TextContent | ImageContent):
        return announced
    return merge_part(early, announced)
