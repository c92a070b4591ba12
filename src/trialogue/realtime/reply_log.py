"""What of a reply has arrived: bounded, in order, readable from several places.

Plain values; `streaming` puts waiting around them. A `Log` holds the pieces of all
messages of one reply. Each `Cursor` over it reads every piece once, at its own pace.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

__all__ = ["Cursor", "Log", "Piece"]

T = TypeVar("T", str, bytes)


@attrs.define(eq=False)
class Piece(Generic[T]):
    """One piece of one message.

    Attributes:
        end: where it ends in its message, in the units of the log.
        end_in_log: where it ends in the whole reply.
    """

    item_id: str
    value: T
    end: int
    end_in_log: int


class Log(Generic[T]):
    """The newest pieces, up to `limit` units; the oldest make room for what comes.

    Args:
        limit: in units.
        unit: the length of a unit: 1 for characters, 2 for PCM16 samples.

    Attributes:
        first: the number of the oldest piece that is held, from 0.
        total: units that have come.
        beginnings: how often it began anew.
        gone: changes with whatever is held no longer.
    """

    def __init__(self, limit: int, unit: int = 1) -> None:
        self.limit = limit
        self.unit = unit
        self.pieces: list[Piece[T]] = []
        self.first = 0
        self.total = 0
        self.beginnings = 0
        self.gone = 0
        self._totals: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._dropped_total = 0

    def __repr__(self) -> str:
        held = self.total - self._dropped_total
        return f"<Log {held} of at most {self.limit}>"

    def restart(self) -> None:
        """Forget everything: the reply is made anew."""
        self.pieces.clear()
        self._totals.clear()
        self._dropped.clear()
        self.first = self.total = self._dropped_total = 0
        self.beginnings += 1
        self.gone += 1

    def let_go(self) -> None:
        """Nobody will read any more: hold nothing, but know how much has come."""
        self.first += len(self.pieces)
        self.pieces.clear()
        self.gone += 1

    def append(self, item_id: str, value: T) -> None:
        """Add a piece; a piece longer than the whole bound stays until the next."""
        length = len(value) // self.unit
        if not length:
            return
        self.total += length
        end = self._totals[item_id] = self._totals.get(item_id, 0) + length
        self.pieces.append(Piece(item_id, value, end, self.total))
        while self.total - self._dropped_total > self.limit and len(self.pieces) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        gone = self.pieces.pop(0)
        self.first += 1
        self.gone += 1
        self._dropped[gone.item_id] = gone.end
        self._dropped_total = gone.end_in_log

    def received(self, item_id: str | None = None) -> int:
        """How much has arrived, of one message or of all."""
        return self.total if item_id is None else self._totals.get(item_id, 0)

    def dropped(self, item_id: str | None) -> int:
        """Where the oldest piece begins that is still held."""
        if item_id is None:
            return self._dropped_total
        return self._dropped.get(item_id, 0)


class Cursor(Generic[T]):
    """A place in a log, from the oldest piece on.

    Attributes:
        missed: units that had made room before they were read here.
    """

    def __init__(self, log: Log[T], item_id: str | None = None) -> None:
        self.missed = 0
        self._log: Log[T] = log
        self._item_id = item_id
        self._index = 0
        self._read_to = 0
        self._beginning = log.beginnings
        self._gone = -1

    def peek(self) -> Piece[T] | None:
        """Return the next piece, or None if it has not arrived."""
        log, wanted = self._log, self._item_id
        if log.gone != self._gone:
            self._follow()
        pieces, at = log.pieces, self._index - log.first
        while at < len(pieces):
            piece = pieces[at]
            if wanted is None or piece.item_id == wanted:
                return piece
            self._index += 1
            at += 1
        return None

    def _follow(self) -> None:
        """Go where the log has gone: on from what was dropped, or back to its start."""
        self._gone = self._log.gone
        if self._beginning != self._log.beginnings:
            self._beginning = self._log.beginnings
            self._index = self._read_to = self.missed = 0
        gone = self._log.dropped(self._item_id)
        if gone > self._read_to:
            self.missed += gone - self._read_to
            self._read_to = gone
        if self._index < self._log.first:
            self._index = self._log.first

    def take(self) -> Piece[T] | None:
        """Return the next piece and step past it."""
        piece = self.peek()
        if piece is not None:
            self._index += 1
            self._read_to = piece.end_in_log if self._item_id is None else piece.end
        return piece
