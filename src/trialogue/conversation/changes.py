"""What one call to the record changed, as values that a session can publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    Item,
    Message,
)
from trialogue.conversation.parts import is_audio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Change", "Journal", "UnknownAnchor"]


@attrs.frozen
class UnknownAnchor:
    """An item was placed by a guess, because its predecessor is not known (S13).

    The item is in the record; only its place may differ from the server's.

    Attributes:
        item_id: the item that was placed.
        previous_item_id: the predecessor that nobody knows, or None if the server named
            none at all.
    """

    item_id: str
    previous_item_id: str | None


@attrs.frozen
class Change:
    """What became of the record; false if nothing did.

    An id stands in one of `added`, `updated` and `deleted`.

    Attributes:
        added: items that joined.
        updated: items whose value or place is another than before.
        deleted: items that left.
        transcribed: items of user turns whose transcript has just become final. An id
            stands here once in the life of its item, so each is one final transcript
            (U2). It is also in `added` or `updated`.
        warnings: items placed by a guess.
        version: the version of the record after this change.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    transcribed: tuple[str, ...] = ()
    warnings: tuple[UnknownAnchor, ...] = ()
    version: int = 0

    def as_edit(self) -> Change:
        """Return the same as a program's own doing: nobody's words became final."""
        return attrs.evolve(self, transcribed=())

    def __bool__(self) -> bool:
        return bool(self.added or self.updated or self.deleted or self.warnings)


class Journal:
    """What the items that one call touches were before it, to tell what it changed."""

    def __init__(self) -> None:
        self._before: dict[str, Item | None] = {}
        self._moved: set[str] = set()
        self._warnings: list[UnknownAnchor] = []

    def touch(self, item_id: str, before: Item | None) -> None:
        """Note an item's value before it changes; the first note of a call counts."""
        self._before.setdefault(item_id, before)

    def moved(self, item_id: str, value: Item | None) -> None:
        """Note that an item gets another place."""
        self.touch(item_id, value)
        self._moved.add(item_id)

    def warn(self, warning: UnknownAnchor) -> None:
        self._warnings.append(warning)

    def close(self, now: Callable[[str], Item | None]) -> Change:
        """Compare with the items as they are `now`, and begin anew."""
        added, updated, deleted, final = [], [], [], []
        for item_id, before in self._before.items():
            after = now(item_id)
            if before is None and after is not None:
                added.append(item_id)
            elif before is not None and after is None:
                deleted.append(item_id)
            elif before != after or (after is not None and item_id in self._moved):
                updated.append(item_id)
            if _is_final(after) and not _is_final(before):
                final.append(item_id)
        change = Change(
            added=tuple(added),
            updated=tuple(updated),
            deleted=tuple(deleted),
            transcribed=tuple(final),
            warnings=tuple(self._warnings),
        )
        self._before.clear()
        self._moved.clear()
        self._warnings.clear()
        return change


def _is_final(item: Item | None) -> bool:
    """Whether this is a spoken user turn all of whose words are known for good."""
    if not isinstance(item, Message) or item.role != "user":
        return False
    parts = [part for part in item.content if is_audio(part)]
    return any(isinstance(part, AudioTranscribed) for part in parts) and not any(
        isinstance(part, AudioPending) for part in parts
    )
