"""A conversation as an immutable value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from trialogue.conversation import serialization
from trialogue.conversation.equivalence import has_content, same_meaning
from trialogue.conversation.items import (
    Content,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Role,
    TextContent,
    new_item_id,
)
from trialogue.conversation.order import ROOT
from trialogue.conversation.units import (
    is_system,
    is_user,
    last_whole,
    without_orphan_outputs,
)
from trialogue.errors import ConfigurationError

__all__ = ["ChatContext", "Origin"]

Say: TypeAlias = str | Content | Iterable[Content]


@attrs.frozen(eq=False)
class Origin:
    """The snapshot that an edited context was taken from, and the record it is of."""

    source: object
    items: tuple[Item, ...]


def _unique(_: object, __: object, items: tuple[Item, ...]) -> None:
    seen: set[str] = set()
    for at, item in enumerate(items):
        if item.id in seen:
            raise ConfigurationError(
                f"items[{at}].id: {item.id!r} stands twice in this context; every item"
                " needs an id of its own (leave the id out to get a fresh one)"
            )
        seen.add(item.id)


@attrs.frozen
class ChatContext:
    """The items of a conversation, in order. Every method returns a new context.

    `session.chat_ctx` gives a snapshot; edit it and hand the result to
    `update_chat_ctx`, which applies what you changed, and only that, to the
    conversation as it has become in the meantime. Two contexts are equal if their items
    are.

    Attributes:
        items: the items; ids are unique.
        version: the version of the record this is, or was derived from; 0 for a context
            made by hand.
        origin: the snapshot that edits are compared with, None for a context made by
            hand. A context derived from a snapshot keeps the origin of the snapshot.

    Raises:
        ConfigurationError: two items have one id.
    """

    items: tuple[Item, ...] = attrs.field(
        default=(), converter=tuple[Item, ...], validator=_unique
    )
    version: int = attrs.field(default=0, eq=False)
    origin: Origin | None = attrs.field(default=None, eq=False, repr=False)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __contains__(self, item_id: object) -> bool:
        return any(item.id == item_id for item in self.items)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the items, in order."""
        return tuple(item.id for item in self.items)

    def get(self, item_id: str) -> Item | None:
        """Return the item, or None if there is none of that id."""
        return next((item for item in self.items if item.id == item_id), None)

    def index_of(self, item_id: str) -> int:
        """Return the item's place, counted from 0.

        Raises:
            ConfigurationError: there is no such item.
        """
        for at, item in enumerate(self.items):
            if item.id == item_id:
                return at
        raise ConfigurationError(
            f"no item {item_id!r} in this context of {len(self.items)} items;"
            " take ids from its `ids`"
        )

    def add_message(
        self,
        role: Role,
        content: Say,
        *,
        id: str | None = None,  # noqa: A002 - the field's word for it
        agent: str | None = None,
    ) -> ChatContext:
        """Return this context with a message at its end.

        Args:
            role: who speaks.
            content: a text, one content part, or several.
            id: the item's id; a fresh one if not given.
            agent: the name of the agent that says it, for role "assistant".

        Raises:
            ConfigurationError: the id is taken, or the role is unknown.
        """
        if role not in ("system", "user", "assistant"):
            raise ConfigurationError(
                f"a message cannot have the role {role!r}: expected 'system', 'user' or"
                " 'assistant'"
            )
        item_id = new_item_id() if id is None else id
        return self.insert(Message(item_id, role, _content(content), agent=agent))

    def insert(self, item: Item, after: str | None = None) -> ChatContext:
        """Return this context with `item` behind `after`.

        Args:
            after: the id it follows; None for last, "root" for first.

        Raises:
            ConfigurationError: the item's id is taken, or there is no item `after`.
        """
        if after is None:
            at = len(self.items)
        else:
            at = 0 if after == ROOT else self.index_of(after) + 1
        return self._with((*self.items[:at], item, *self.items[at:]))

    def remove(self, item_id: str) -> ChatContext:
        """Return this context without the item.

        A call and its output belong together: update_chat_ctx removes the other half of
        a pair of which one half is gone.

        Raises:
            ConfigurationError: there is no such item.
        """
        at = self.index_of(item_id)
        return self._with(self.items[:at] + self.items[at + 1 :])

    def replace(self, item: Item) -> ChatContext:
        """Return this context with `item` in the place of the one of the same id.

        Raises:
            ConfigurationError: there is no item of that id.
        """
        at = self.index_of(item.id)
        return self._with((*self.items[:at], item, *self.items[at + 1 :]))

    def copy(
        self,
        *,
        exclude_function_calls: bool = False,
        exclude_system: bool = False,
        exclude_empty_message: bool = False,
        keep: Callable[[Item], bool] | None = None,
    ) -> ChatContext:
        """Return this context without what is excluded.

        Args:
            exclude_function_calls: leave out calls and their outputs.
            exclude_system: leave out system messages.
            exclude_empty_message: leave out messages without a word, a picture or
                untranscribed audio.
            keep: leave out every other item for which this is false.
        """

        def wanted(item: Item) -> bool:
            if exclude_function_calls and isinstance(
                item, FunctionCall | FunctionCallOutput
            ):
                return False
            if exclude_system and is_system(item):
                return False
            if exclude_empty_message and not has_content(item):
                return False
            return keep is None or keep(item)

        return self._with(tuple(item for item in self.items if wanted(item)))

    def truncate(self, max_items: int) -> ChatContext:
        """Return the last `max_items` items, never a call's output without its call.

        A leading system message is kept and counts as one of them. Fewer items remain
        where an output would have lost its call.

        Raises:
            ConfigurationError: `max_items` is negative.
        """
        if max_items < 0:
            raise ConfigurationError(
                f"max_items is {max_items}; expected 0 or more items to keep"
            )
        return self._with(last_whole(self.items, max_items))

    def last_turns(self, count: int) -> ChatContext:
        """Return the leading system messages and the last `count` user turns.

        A turn begins with a user message and holds what follows it. Items between the
        leading system messages and the first user message count as a turn of their own.

        Raises:
            ConfigurationError: `count` is negative.
        """
        if count < 0:
            raise ConfigurationError(
                f"count is {count}; expected 0 or more user turns to keep"
            )
        lead = self._leading_system()
        starts = [
            at
            for at in range(lead, len(self.items))
            if at == lead or is_user(self.items[at])
        ]
        begin = len(self.items) if count == 0 else lead
        if 0 < count < len(starts):
            begin = starts[-count]
        kept = self.items[:lead] + self.items[begin:]
        return self._with(without_orphan_outputs(kept, self.items))

    def is_equivalent(self, other: ChatContext) -> bool:
        """Whether both hold the same items in the same order, for a model.

        Ids, roles, words, pictures, names, arguments and outputs are compared; what is
        volatile (status, durations, interim transcripts, `agent`, `heard_ms`) is not.
        """
        return len(self.items) == len(other.items) and all(
            same_meaning(one, two)
            for one, two in zip(self.items, other.items, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` takes back.

        Raises:
            ConfigurationError: an `OpaqueItem` holds something that JSON cannot.
        """
        return serialization.dump(self.items)

    def to_json(self) -> str:
        """Return JSON text that `from_json` takes back; see `to_dict`."""
        return serialization.dump_text(self.items)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChatContext:
        """Return the context that `to_dict` was called on; its version is 0.

        Raises:
            ConfigurationError: the data is not of this format; the message names the
                place, as in `items[3].content[0].text`.
        """
        return cls(serialization.load(data))

    @classmethod
    def from_json(cls, text: str | bytes) -> ChatContext:
        """Return the context that `to_json` was called on; see `from_dict`."""
        return cls(serialization.load_text(text))

    def _with(self, items: tuple[Item, ...]) -> ChatContext:
        return attrs.evolve(self, items=items)

    def _leading_system(self) -> int:
        for at, item in enumerate(self.items):
            if not is_system(item):
                return at
        return len(self.items)


def _content(content: Say) -> tuple[Content, ...]:
    if isinstance(content, str):
        return (TextContent(content),)
    return tuple(content) if isinstance(content, Iterable) else (content,)
