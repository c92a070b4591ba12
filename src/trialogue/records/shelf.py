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

    Attributes:
        omitted: how many have left.
    """

    def __init__(self, most: int) -> None:
        self.omitted = 0
        self._most = most
        self._records: OrderedDict[Any, RecordT] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: object) -> bool:
        return key in self._records

    def get(self, key: object) -> RecordT | None:
        """The record of that key, if it is there."""
        return self._records.get(key)

    def put(self, key: object, record: RecordT) -> None:
        """Add a record, or replace that of the same key in its place."""
        self._records[key] = record
        if len(self._records) > self._most:
            self._records.popitem(last=False)
            self.omitted += 1

    def change(self, key: object, **changes: Any) -> bool:
        """Change fields of a record; False if there is none of that key."""
        record = self._records.get(key)
        if record is None:
            return False
        changed: RecordT = attrs.evolve(cast("Any", record), **changes)
        self._records[key] = changed
        return True

    def change_newest(self, **changes: Any) -> None:
        """Change fields of the record that was put last, if there is one."""
        if self._records:
            self.change(next(reversed(self._records)), **changes)

    def key_of(self, wanted: Callable[[RecordT], bool]) -> Any:
        """The key of the newest record for which this is true, or None."""
        pairs = reversed(self._records.items())
        return next((key for key, record in pairs if wanted(record)), None)

    def newest(self) -> RecordT | None:
        """The record that was put last."""
        return next(reversed(self._records.values()), None)

    def all(self) -> tuple[RecordT, ...]:
        """All records, the oldest first."""
        return tuple(self._records.values())
