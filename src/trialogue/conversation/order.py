"""An ordered set of ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ROOT", "Order"]

ROOT: Final = "root"
"""The anchor that stands in front of the first item."""


class Order:
    """Ids in the order of a conversation, each at most once."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._members: set[str] = set()

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def discard(self, item_id: str) -> None:
        if item_id in self._members:
            self._members.discard(item_id)
            self._ids.remove(item_id)

    def append(self, item_id: str) -> None:
        """Put the id last, wherever it stood before."""
        self.discard(item_id)
        self._put(len(self._ids), item_id)

    def prepend(self, item_id: str) -> None:
        """Put the id first, wherever it stood before."""
        self.discard(item_id)
        self._put(0, item_id)

    def put(self, item_id: str, after: str | None) -> None:
        """Put the id behind `after`; first for `ROOT`, last for None or unknown."""
        if after == ROOT:
            self.prepend(item_id)
        elif after is None:
            self.append(item_id)
        else:
            self.put_after(item_id, after)

    def put_before(self, item_id: str, successor: str) -> None:
        """Put the id right before `successor`, which is here."""
        self.discard(item_id)
        self._put(self._ids.index(successor), item_id)

    def put_after(
        self, item_id: str, anchor: str, *, over: Callable[[str], bool] | None = None
    ) -> None:
        """Put the id behind `anchor`, and behind all that follows while `over` says so.

        The id goes last if the anchor is not here.
        """
        if anchor not in self._members or anchor == item_id:
            self.append(item_id)
            return
        self.discard(item_id)
        at = self._ids.index(anchor) + 1
        while over is not None and at < len(self._ids) and over(self._ids[at]):
            at += 1
        self._put(at, item_id)

    def before(self, first: str, second: str) -> bool:
        """Whether both are here, in this order."""
        if first not in self._members or second not in self._members:
            return False
        return self._ids.index(first) < self._ids.index(second)

    def nearest_before(self, item_id: str, accept: Callable[[str], bool]) -> str | None:
        """Return the closest accepted id in front of `item_id`, which is here."""
        ahead = self._ids[: self._ids.index(item_id)]
        return next((i for i in reversed(ahead) if accept(i)), None)

    def nearest_after(self, item_id: str, accept: Callable[[str], bool]) -> str | None:
        """Return the closest accepted id behind `item_id`, which is here."""
        rest = self._ids[self._ids.index(item_id) + 1 :]
        return next((i for i in rest if accept(i)), None)

    def _put(self, at: int, item_id: str) -> None:
        self._ids.insert(at, item_id)
        self._members.add(item_id)
