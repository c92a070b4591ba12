"""The bookkeeping behind `Playout`: which sample of which item went where.

No waiting and no tasks in here. Audio moves through three states: *queued* (ours),
*offered* (taken by the sink, not yet played) and *played*. Offered audio is kept, so
that a clear of the sink can be undone for the items that it was not meant for.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Literal, TypeAlias

import attrs

from trialogue.audio.base import SAMPLE_WIDTH, samples_to_ms
from trialogue.audio.rechunk import Rechunker

__all__ = ["Heard", "Interrupted", "InterruptedState", "Item", "Playlist"]

InterruptedState: TypeAlias = Literal["playing", "unheard", "done"]

_REMEMBERED = 256
"""How many items stay known after their end, for positions asked for late."""


@attrs.frozen
class Heard:
    """How much of an item was heard.

    Attributes:
        ms: whole milliseconds, rounded down; never more than was received.
        complete: the item had ended and all of it was played.
    """

    ms: int
    complete: bool


@attrs.frozen
class Interrupted:
    """What an interruption did to one item.

    Attributes:
        key: the key it was pushed with.
        item_id: the item.
        heard_ms: played before the interruption, never more than `received_ms`.
        received_ms: received before the interruption.
        state: "playing" if a part was heard (truncate it at `heard_ms`), "unheard" if
            nothing was (delete it), "done" if the whole item was (leave it alone).
    """

    key: Hashable
    item_id: str
    heard_ms: int
    received_ms: int
    state: InterruptedState


@attrs.define(eq=False)
class Item:
    """One item's audio. Counts are samples."""

    key: Hashable
    id: str
    received: int = 0
    queued: int = 0
    played: int = 0
    ended: bool = False
    full: bool = False
    cut: bool = False
    started_at: float | None = None
    reported_start: bool = False
    rest: Rechunker = attrs.field(factory=Rechunker)

    @property
    def complete(self) -> bool:
        """It ended of itself and all of it was heard."""
        return self.over and not self.cut and not self.full

    @property
    def over(self) -> bool:
        """Nothing of it will be played any more."""
        return self.cut or (self.ended and self.played == self.received)

    def cut_short(self) -> None:
        """Nothing more of it will be played, unless it is over anyway."""
        if not self.over:
            self.cut = True

    @property
    def heard(self) -> Heard:
        """What was heard of it, as far as it is accounted for."""
        return Heard(samples_to_ms(self.played), self.complete)

    def interrupted(self) -> Interrupted:
        """Say what an interruption in this moment does to it."""
        state: InterruptedState = "playing"
        if self.complete:
            state = "done"
        elif not self.played:
            state = "unheard"
        return Interrupted(
            key=self.key,
            item_id=self.id,
            heard_ms=samples_to_ms(self.played),
            received_ms=samples_to_ms(self.received),
            state=state,
        )


@attrs.define(eq=False)
class _Piece:
    """Consecutive samples of one item: those of `pcm` from `start` up to `end`."""

    item: Item
    pcm: bytes
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def head(self, most: int) -> bytes:
        """The first `most` samples, or all there are."""
        start, end = self.start, min(self.end, self.start + most)
        return self.pcm[start * SAMPLE_WIDTH : end * SAMPLE_WIDTH]

    def take(self, samples: int) -> _Piece:
        """Split the first `samples` off and return them."""
        middle = self.start + samples
        head = _Piece(self.item, self.pcm, self.start, middle)
        self.start = middle
        return head


class Playlist:
    """Items in the order of their audio, and how far each was played."""

    def __init__(self, position: int = 0) -> None:
        self._queue: deque[_Piece] = deque()
        self._offered: deque[_Piece] = deque()
        self._played = position  # the sink's, at the beginning of _offered
        self._end = position  # the sink's, behind _offered
        self._queued = 0
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._live: list[Item] = []
        self._pending: dict[Hashable, int] = {}

    def __repr__(self) -> str:
        return (
            f"<Playlist live={[item.id for item in self._live]}"
            f" queued={self.queued} offered={sum(map(len, self._offered))}>"
        )

    @property
    def queued(self) -> int:
        """Samples that the sink has not been offered."""
        return self._queued

    @property
    def held(self) -> int:
        """Samples that the sink holds and has not played, as far as it is known."""
        return self._end - self._played

    @property
    def end(self) -> int:
        """The sink's position behind all that it was offered."""
        return self._end

    @property
    def live(self) -> tuple[Item, ...]:
        """Items that are not over, and those whose end was not collected."""
        return tuple(self._live)

    def queued_for(self, key: Hashable) -> int:
        """Samples queued under one key."""
        return self._pending.get(key, 0)

    def find(self, item_id: str) -> Item | None:
        """The latest item of that id, if it is remembered."""
        return self._items.get(item_id)

    def item(self, key: Hashable, item_id: str) -> Item:
        """The item of that key and id, made if it is new."""
        known = self._items.get(item_id)
        if known is not None and known.key == key:
            return known
        item = self._items[item_id] = Item(key, item_id)
        self._items.move_to_end(item_id)
        self._live.append(item)
        self._forget_old()
        return item

    def add(self, item: Item, pcm: bytes) -> None:
        """Queue more of an item; one that had ended is open again."""
        if not pcm:
            return
        samples = len(pcm) // SAMPLE_WIDTH
        item.ended = False
        if item not in self._live:
            self._live.append(item)
        item.received += samples
        self._count(item, samples)
        self._queue.append(_Piece(item, pcm, 0, samples))

    def head(self, most: int) -> bytes:
        """The next samples to offer, at most `most` of them; nothing is moved."""
        parts = []
        for piece in self._queue:
            parts.append(piece.head(most))
            most -= len(piece)
            if most <= 0:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def offered(self, samples: int) -> None:
        """The sink took the first `samples` of the queue."""
        self._end += samples
        while samples > 0:
            piece = self._queue[0]
            count = piece.end - piece.start
            if count > samples:
                piece, count = piece.take(samples), samples
            else:
                self._queue.popleft()
            self._offered.append(piece)
            self._count(piece.item, -count)
            samples -= count

    def advance(self, position: int, now: Callable[[], float]) -> None:
        """The sink has played up to `position`, in samples; `now` tells the time."""
        while self._offered and position > self._played:
            piece = self._offered[0]
            item = piece.item
            step = min(piece.end - piece.start, position - self._played)
            self._played += step
            item.played += step
            piece.start += step
            if item.started_at is None:
                item.started_at = now()
            if piece.start == piece.end:
                self._offered.popleft()

    def has_news(self) -> bool:
        """Whether a beginning, or an end, was not collected."""
        for item in self._live:
            if item.over or (item.started_at is not None and not item.reported_start):
                return True
        return False

    def milestone(self, *, to_the_end: bool) -> int | None:
        """The sink's position at which there may be news, of what it was offered.

        It is where an item begins, or where one that has ended, or that another one
        follows, may be over. With `to_the_end` it is also where all has been played.
        """
        if not self._offered:
            return None
        first = self._offered[0].item
        if first.started_at is None:
            return self._played + 1
        if first.received - first.played - first.queued < self.held:
            return self._end_of_run(first)
        last = not first.queued and first.ended
        return self._end if last or (to_the_end and not self._queued) else None

    def _end_of_run(self, item: Item) -> int:
        end = self._played
        for piece in self._offered:
            if piece.item is not item:
                break
            end += len(piece)
        return end

    def started(self) -> Iterator[Item]:
        """Items that began to play since the last call, in order."""
        for item in self.live:
            if item.started_at is not None and not item.reported_start:
                item.reported_start = True
                yield item

    def finished(self) -> Iterator[Item]:
        """Items that came to their own end since the last call, in order."""
        for item in self.live:
            if item.over:
                self._live.remove(item)
                yield item

    def cut_all(self) -> list[Interrupted]:
        """Drop all that was not played, and say for each live item what was heard."""
        report = [item.interrupted() for item in self._live]
        for item in self._live:
            item.cut_short()
            item.queued = 0
        # An item that is over keeps its place: its end is still to be collected.
        self._live = [item for item in self._live if not item.cut]
        self._queue.clear()
        self._offered.clear()
        self._pending.clear()
        self._queued, self._end = 0, self._played
        return report

    def drop(self, item: Item) -> None:
        """Drop what is queued of one item."""
        for piece in self._queue:
            if piece.item is item:
                self._count(item, -len(piece))
        self._queue = deque(piece for piece in self._queue if piece.item is not item)
        item.cut_short()
        if item.cut and item in self._live:
            self._live.remove(item)

    def take_back(self) -> None:
        """The sink was cleared: queue again, in front, what it was offered."""
        for piece in self._offered:
            self._count(piece.item, len(piece))
        self._queue.extendleft(reversed(self._offered))
        self._offered.clear()
        self._end = self._played

    def is_next(self, item: Item, samples: int) -> bool:
        """Whether any of the first `samples` of the queue is of `item`."""
        for piece in self._queue:
            if samples <= 0:
                break
            if piece.item is item:
                return True
            samples -= len(piece)
        return False

    def is_offered(self, item: Item) -> bool:
        """Whether the sink holds samples of `item`."""
        return any(piece.item is item for piece in self._offered)

    def _count(self, item: Item, samples: int) -> None:
        """So many samples of an item came into the queue, or, negative, left it."""
        self._queued += samples
        item.queued += samples
        left = self._pending.get(item.key, 0) + samples
        if left:
            self._pending[item.key] = left
        else:
            del self._pending[item.key]

    def _forget_old(self) -> None:
        """Keep the index bounded; what is not over is never forgotten."""
        surplus = len(self._items) - len(self._live) - _REMEMBERED
        for item in list(self._items.values()) if surplus > 0 else ():
            if surplus > 0 and item not in self._live:
                del self._items[item.id]
                surplus -= 1
