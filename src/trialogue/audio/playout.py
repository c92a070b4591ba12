"""One queue of the agents' speech in front of a sink, and what was heard of it.

Speech arrives faster than it is played, in pieces, item after item. `Playout` keeps it
until the sink has room, maps the sink's own position back to items (A3), and can stop
at any moment and say what the user heard of what (U3).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable

import attrs
import trio

from trialogue.audio.base import SAMPLE_RATE, AudioOutput, sample_count
from trialogue.audio.playlist import Heard, Interrupted, Item, Playlist
from trialogue.realtime.signal import Signal

__all__ = ["AudioRefused", "Heard", "Interrupted", "Playout"]

_CHUNK = SAMPLE_RATE // 50
"""Samples per write: 20 ms, so that little is in the sink when it is cleared."""

_LITTLE = SAMPLE_RATE // 10
"""Samples: while the sink holds less than these 100 ms it is given as many at once."""


@attrs.frozen
class AudioRefused:
    """Audio came in beyond the bound and was not taken.

    Attributes:
        key: the key it was pushed with.
        item_id: the item, which is cut here: what follows of it is refused too, so
            that positions within it stay true.
        samples: how many samples this piece had.
    """

    key: Hashable
    item_id: str
    samples: int


class Playout:
    """The queue between replies and an `AudioOutput`.

    Run `run` in a nursery; everything else is synchronous except the waits. All of it
    belongs to one Trio run.

    Args:
        output: the sink. The playout is its only writer; it does not close it.
        max_seconds_per_reply: how much unplayed audio one key may have queued.
        max_seconds: the same for all keys together.
        on_started: called with an item's id when its first sample has been played.
        on_finished: called with an item's id when it has ended and all of it was
            played. Not called for an item that was interrupted or discarded.
        on_refused: called when a push was refused for want of room.

    `on_started` and `on_finished` are called from the task that runs `run`,
    `on_refused` from `push`. They may call back into the playout; what they raise
    propagates.
    """

    def __init__(
        self,
        output: AudioOutput,
        *,
        max_seconds_per_reply: float = 600,
        max_seconds: float = 1800,
        on_started: Callable[[str], None] | None = None,
        on_finished: Callable[[str], None] | None = None,
        on_refused: Callable[[AudioRefused], None] | None = None,
    ) -> None:
        self.on_started = on_started
        self.on_finished = on_finished
        self.on_refused = on_refused
        self._output = output
        self._max_per_key = round(max_seconds_per_reply * SAMPLE_RATE)
        self._max = round(max_seconds * SAMPLE_RATE)
        self._list = Playlist(output.written)
        self._offer: tuple[int, int] | None = None  # position, samples of a write
        self._cuts = 0
        self._refused = 0
        self._running = False
        self._waiting_to_idle = 0
        self._nap: trio.CancelScope | None = None  # around the wait for a milestone
        # NB: of each change only those are told whom it may concern: a task that is
        # woken to see nothing new costs more than all the rest of a piece of sound.
        self._audio = Signal()  # there is something to feed
        self._news = Signal()  # there is something to report, or to wait for
        self._changed = Signal()  # an item is over, or the playout idle

    def __repr__(self) -> str:
        state = "idle" if self.idle else "playing"
        return f"<Playout {state} pending={self.pending_seconds:.2f}s {self._list!r}>"

    # -- feeding

    def push(self, key: Hashable, item_id: str, pcm: bytes) -> bool:
        """Queue more audio of an item; never waits.

        Pieces are played in the order in which they are pushed. A piece may end in the
        middle of a sample; the half is kept for the next piece (A2).

        Args:
            key: names the reply that the audio belongs to, for the bound and for the
                caller's own use, such as (connection generation, response id).
            item_id: the item. The same id under another key is another item.
            pcm: PCM16, 24 kHz, mono.

        Returns:
            False if nothing was queued, since the item was interrupted or discarded, or
            the bound is reached (then `on_refused` is told as well).
        """
        item = self._list.item(key, item_id)
        if item.cut:
            return False
        whole = item.rest.feed(pcm)
        if item.full or not self._has_room(key, sample_count(whole)):
            self._refuse(item, sample_count(whole))
            return False
        self._list.add(item, whole)
        self._audio.pulse()
        return True

    def end_item(self, item_id: str) -> None:
        """No more audio of this item will come; unknown ids are passed over."""
        item = self._list.find(item_id)
        if item is not None:
            item.ended = True
            self._ended()

    def end_reply(self, key: Hashable) -> None:
        """No more audio will come under this key: ends all of its items."""
        for item in self._list.live:
            if item.key == key:
                item.ended = True
        self._ended()

    def _ended(self) -> None:
        """An item has ended; that may be long after it was played."""
        self._news.pulse()
        if self._nap is not None and self._list.has_news():
            self._nap.cancel()
        self._changed.pulse()

    # -- stopping

    def interrupt(self, *, spare: Container[str] = ()) -> list[Interrupted]:
        """Stop the sound at once and drop everything that was not played.

        Synchronous: when it returns the sink is silent, and what is pushed for these
        items afterwards is refused.

        Args:
            spare: the ids of items that play on, without a sample missing or doubled.

        Returns:
            What was heard of each item that had not been played to its end, in playing
            order: truncate what was "playing", delete what was "unheard".
        """
        self._observe()
        stopped = [item for item in self._list.live if item.id not in spare]
        if len(stopped) < len(self._list.live):
            report = [item.interrupted() for item in stopped]
            for item in stopped:
                self.discard(item.id)
            return report
        self._clear_sink()
        report = self._list.cut_all()
        self._pulse()
        return report

    def discard(self, item_id: str) -> Heard:
        """Drop what was not played of one item; the others play on.

        What is pushed for it afterwards is refused. Unknown ids are passed over.

        Returns:
            What was heard of it.
        """
        item = self._list.find(item_id)
        if item is None:
            return Heard(0, False)
        self._observe()
        offer = 0 if self._offer is None else self._offer[1]
        if self._list.is_next(item, offer) or self._list.is_offered(item):
            self._clear_sink()
            self._list.take_back()
        self._list.drop(item)
        self._pulse()
        return item.heard

    # -- looking

    def knows(self, item_id: str) -> bool:
        """Whether audio of this item came, and it is not long over."""
        return self._list.find(item_id) is not None

    def position(self, item_id: str) -> Heard:
        """How much of an item was heard until now, as the sink reports it.

        Nothing was heard of an item that is unknown; the last few hundred items that
        are over are still known.
        """
        self._observe()
        item = self._list.find(item_id)
        return Heard(0, False) if item is None else item.heard

    def first_audio_time(self, item_id: str) -> float | None:
        """Trio's time at which the item was first seen playing, or None."""
        self._observe()
        item = self._list.find(item_id)
        return None if item is None else item.started_at

    @property
    def pending_seconds(self) -> float:
        """Seconds of audio that are queued or in the sink, and not played."""
        unplayed = self._output.written - self._output.played
        return (self._list.queued + unplayed) / SAMPLE_RATE

    @property
    def refused_seconds(self) -> float:
        """Seconds of audio that were refused for want of room, in all."""
        return self._refused / SAMPLE_RATE

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and the sink has played all it was given.

        An item that has not ended but of which nothing is at hand does not count: the
        provider may never end it.
        """
        return not self._list.queued and self._output.played >= self._output.written

    @property
    def speaking(self) -> bool:
        """Whether an item has begun to be heard and has not ended.

        Also while the sink has run out of it, until more of it comes or it ends.
        """
        self._observe()
        live = self._list.live
        return any(item.started_at is not None and not item.over for item in live)

    @property
    def unplayed(self) -> tuple[str, ...]:
        """The ids of the items that are not over, in playing order."""
        self._observe()
        return tuple(item.id for item in self._list.live if not item.over)

    async def wait_idle(self) -> None:
        """Wait until the playout is idle. Needs `run` to be running."""
        await trio.lowlevel.checkpoint()
        self._waiting_to_idle += 1
        try:
            self._news.pulse()
            await self._changed.until(lambda: self.idle)
        finally:
            self._waiting_to_idle -= 1

    async def wait_item(self, item_id: str) -> Heard:
        """Wait until an item was played to its end, interrupted or discarded.

        Returns at once for an unknown item. Needs `run` to be running.
        """
        await trio.lowlevel.checkpoint()
        item = self._list.find(item_id)
        if item is None:
            return Heard(0, False)
        await self._changed.until(lambda: item.over)
        return item.heard

    # -- the task

    async def run(self) -> None:
        """Feed the sink and watch its position, until cancelled.

        Cancelling it stops the feeding, not the sound that the sink already has; no
        sample is lost or doubled, and `run` may be called again. An error of the sink
        propagates.
        """
        if self._running:
            raise RuntimeError("this playout is already running; one task runs it")
        self._running = True
        alone: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed)
                nursery.start_soon(self._watch)
        except BaseExceptionGroup as group:
            if len(group.exceptions) != 1:
                raise
            alone = group.exceptions[0]
        finally:
            self._running = False
        if alone is not None:  # raised out here, so that its context stays its own
            try:
                raise alone
            finally:
                del alone

    async def _feed(self) -> None:
        while True:
            await self._audio.until(self._has_audio)
            await self._write(self._next_chunk())

    def _has_audio(self) -> int:
        return self._list.queued

    def _next_chunk(self) -> bytes:
        """What to offer now: more at once while the sink is about to run dry."""
        self._observe()
        self._check_dropped(self._list.end)
        return self._list.head(_LITTLE if self._list.held < _LITTLE else _CHUNK)

    async def _write(self, chunk: bytes) -> None:
        """Write the head of the queue, and move it on if the sink has taken it."""
        self._offer = (self._output.written, sample_count(chunk))
        cuts = self._cuts
        try:
            await self._output.write(chunk)
        finally:
            # After a cut the sink has dropped the chunk, and interrupt has seen to it.
            if cuts == self._cuts:
                self._settle_offer()
                self._offer = None
                if self._has_news():
                    self._news.pulse()

    async def _watch(self) -> None:
        while True:
            await self._news.until(self._has_news)
            milestone = self._milestone()
            if milestone is not None and not self._list.has_news():
                self._check_dropped(milestone)
                with trio.CancelScope() as self._nap:
                    await self._output.wait_played(milestone)
            self._report()

    def _has_news(self) -> bool:
        return self._list.has_news() or self._milestone() is not None

    def _milestone(self) -> int | None:
        return self._list.milestone(to_the_end=self._waiting_to_idle > 0)

    def _check_dropped(self, position: int) -> None:
        if position > self._output.written:
            raise RuntimeError(
                f"{self._output!r} dropped audio that its playout had written. Use"
                " Playout.interrupt or Playout.discard, not the output's clear."
            )

    def _report(self) -> None:
        """Bring the items up to date and tell the hooks."""
        self._observe()
        for item in self._list.started():
            if self.on_started is not None:
                self.on_started(item.id)
        over = list(self._list.finished())
        for item in over:
            if self.on_finished is not None:
                self.on_finished(item.id)
        if over or self.idle:
            self._changed.pulse()

    def _pulse(self) -> None:
        """Something was cut: everybody looks again."""
        self._audio.pulse()
        self._news.pulse()
        self._changed.pulse()

    # -- shared

    def _observe(self) -> None:
        self._settle_offer()
        if self._list.held:
            self._list.advance(self._output.played, trio.current_time)
            if not self._list.held:
                self._changed.pulse()  # it may be idle, and nothing is left to watch

    def _settle_offer(self) -> None:
        """If the sink has taken the chunk that is being written, account for it."""
        if self._offer is not None and self._output.written > self._offer[0]:
            self._list.offered(self._offer[1])
            self._offer = None

    def _clear_sink(self) -> None:
        self._observe()
        self._output.clear()
        self._list.advance(self._output.played, trio.current_time)
        self._offer = None
        self._cuts += 1

    def _has_room(self, key: Hashable, samples: int) -> bool:
        return (
            self._list.queued_for(key) + samples <= self._max_per_key
            and self._list.queued + samples <= self._max
        )

    def _refuse(self, item: Item, samples: int) -> None:
        """Cut the item's tail: a hole in it would make its positions a lie."""
        self._refused += samples
        item.full = True
        if self.on_refused is not None:
            self.on_refused(AudioRefused(item.key, item.id, samples))
