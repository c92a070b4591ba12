"""The newest records of one kind, found by a key, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Shelf"]

RecordT = TypeVar("RecordT")


class Shelf(Generic[RecordT]):
    """Records in the order in which they were put; beyond `most` the oldest leaves.

    Changes are only noted; a record is made anew when somebody asks for it.

    Attributes:
        omitted: how many have left.
    """

    def __init__(self, most: int) -> None:
        self.omitted = 0
        self._most = most
        self._records: OrderedDict[Any, RecordT] = OrderedDict()
        self._changes: dict[Any, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: object) -> bool:
        return key in self._records

    def get(self, key: object) -> RecordT | None:
        """The record of that key, if it is there."""
        if key in self._changes:
            self._apply(key)
        return self._records.get(key)

    def put(self, key: object, record: RecordT) -> None:
        """Add a record, or replace that of the same key in its place."""
        self._changes.pop(key, None)
        self._records[key] = record
        if len(self._records) > self._most:
            oldest, _ = self._records.popitem(last=False)
            self._changes.pop(oldest, None)
            self.omitted += 1

    def change(self, key: object, **changes: Any) -> bool:
        """Change fields of a record; False if there is none of that key."""
        if key not in self._records:
            return False
        noted = self._changes.get(key)
        if noted is None:
            self._changes[key] = changes
        else:
            noted.update(changes)
        return True

    def change_newest(self, **changes: Any) -> None:
        """Change fields of the record that was put last, if there is one."""
        if self._records:
            self.change(next(reversed(self._records)), **changes)

    def key_of(self, wanted: Callable[[RecordT], bool]) -> Any:
        """The key of the newest record for which this is true, or None."""
        self._apply_all()
        pairs = reversed(self._records.items())
        return next((key for key, record in pairs if wanted(record)), None)

    def newest(self) -> RecordT | None:
        """The record that was put last."""
        return self.get(next(reversed(self._records))) if self._records else None

    def all(self) -> tuple[RecordT, ...]:
        """All records, the oldest first."""
        self._apply_all()
        return tuple(self._records.values())

    def _apply_all(self) -> None:
        for key in tuple(self._changes):
            self._apply(key)

    def _apply(self, key: Any) -> None:
        changed: RecordT = attrs.evolve(
            cast("Any", self._records[key]), **self._changes.pop(key)
        )
        self._records[key] = changed
