"""A sink whose loudspeaker is Trio's clock.

Samples are laid on a time line, in ticks of one sample since the sink started: each
write begins where the previous one ends or, if that has passed, now. What lies behind
the clock has been played. Files and tests share this, so that a file in production and
a virtual clock in a test show the same positions.
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from trialogue.audio.base import SAMPLE_RATE, SAMPLE_WIDTH, sample_count
from trialogue.realtime.signal import Signal

__all__ = ["ClockedOutput"]

# Trio's clock is a float of up to 1e6 seconds, so a tick computed from it may come out
# some 1e-5 short; without the tolerance a sleep until tick n could wake at tick n - 1.
_TOLERANCE = 1e-3


@attrs.define(eq=False)
class _Scheduled:
    """Samples laid on the time line, the first of them at `tick`."""

    tick: int
    pcm: bytes

    @property
    def end(self) -> int:
        return self.tick + len(self.pcm) // SAMPLE_WIDTH


class ClockedOutput:
    """An `AudioOutput` that plays in real time on Trio's clock. A base class.

    Args:
        buffer_seconds: how much may be unplayed before `write` waits.
        realtime: False plays everything in the instant it is written.

    The time line starts when the object is made, if that happens inside `trio.run`,
    else with the first write. A subclass learns what was played, in order and without
    gaps in between, through `record`.
    """

    def __init__(self, *, buffer_seconds: float = 0.2, realtime: bool = True) -> None:
        self._buffer = round(buffer_seconds * SAMPLE_RATE)
        self._realtime = realtime
        self._origin = trio.current_time() if trio.lowlevel.in_trio_run() else None
        self._ahead: deque[_Scheduled] = deque()
        self._end = 0
        self._written = 0
        self._recorded = 0
        self._clears = 0
        self._closed = False
        self._signal = Signal()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return (
            f"<{type(self).__name__} {state}"
            f" played={self._recorded} written={self._written}>"
        )

    @property
    def started_at(self) -> float | None:
        """Trio's time of tick 0, or None before the start."""
        return self._origin

    @property
    def written(self) -> int:
        """Samples taken, minus those dropped by `clear`."""
        return self._written

    @property
    def played(self) -> int:
        """Samples that lie behind the clock."""
        if not self._closed:
            self._advance()
        return self._recorded

    async def write(self, pcm: bytes) -> None:
        """Take `pcm`, after waiting while more than the buffer is unplayed.

        A cancelled write has taken nothing. See `AudioOutput.write`.
        """
        count = sample_count(pcm)
        clears = self._clears  # before the checkpoint: a clear in it drops pcm too
        await trio.lowlevel.checkpoint()
        while self._written - self.played > self._buffer and clears == self._clears:
            self._refuse_if_closed()
            await self._sleep_until(self._end - self._buffer)
        self._refuse_if_closed()
        if count and clears == self._clears:
            self._take(bytes(pcm), count)

    def clear(self) -> None:
        """Drop everything that was not played, at once."""
        if self._closed:
            return
        self._drop_unplayed()
        self._clears += 1
        self._signal.pulse()

    async def wait_played(self, position: int) -> None:
        """Wait until `position` is played, or dropped. See `AudioOutput`."""
        clears = self._clears
        await trio.lowlevel.checkpoint()
        self._refuse_if_closed()
        while self.played < position <= self._written and clears == self._clears:
            await self._sleep_until(self._tick_of(position))
            self._refuse_if_closed()

    async def drain(self) -> None:
        """Wait until everything written is played or dropped."""
        await self.wait_played(self._written)

    async def aclose(self) -> None:
        """Stop at once; what was not played is dropped."""
        if not self._closed:
            self._drop_unplayed()
            self._closed = True
            self._signal.pulse()
            self.finish()
        await trio.lowlevel.checkpoint()

    def record(self, tick: int, pcm: bytes) -> None:
        """Called with what was played since the last call: `pcm`, from `tick` on.

        Synchronous, in order, each sample once. Ticks are samples since `started_at`.
        """

    def finish(self) -> None:
        """Called once, after the last `record`, when the sink is closed."""

    def time_of(self, tick: int) -> float:
        """Trio's time at which `tick` is played."""
        origin = trio.current_time() if self._origin is None else self._origin
        return origin + tick / SAMPLE_RATE

    def _now(self) -> int:
        if self._origin is None:
            self._origin = trio.current_time()
        elapsed = trio.current_time() - self._origin
        return int(elapsed * SAMPLE_RATE + _TOLERANCE)

    def _take(self, pcm: bytes, count: int) -> None:
        tick = max(self._end, self._now()) if self._realtime else self._now()
        self._end = tick + count
        self._written += count
        if self._realtime:
            self._ahead.append(_Scheduled(tick, pcm))
        else:
            self._recorded += count
            self.record(tick, pcm)

    def _advance(self) -> None:
        """Record what lies behind the clock; split the chunk that is being played."""
        if not self._ahead:
            return
        now = self._now()
        while self._ahead and self._ahead[0].tick < now:
            chunk = self._ahead[0]
            behind = chunk.pcm[: (now - chunk.tick) * SAMPLE_WIDTH]
            self._recorded += len(behind) // SAMPLE_WIDTH
            self.record(chunk.tick, behind)
            if chunk.end > now:
                chunk.pcm = chunk.pcm[len(behind) :]
                chunk.tick = now
            else:
                self._ahead.popleft()

    def _drop_unplayed(self) -> None:
        self._advance()
        self._ahead.clear()
        self._written = self._recorded
        self._end = 0

    def _tick_of(self, position: int) -> int:
        """The tick at whose beginning `played` reaches `position`, which lies ahead.

        There are no gaps ahead: a gap arises only where all before it was played.
        """
        return self._end - (self._written - position)

    async def _sleep_until(self, tick: int) -> None:
        """Wait for a tick of the clock, or for a clear or close before it."""
        clears = self._clears
        with trio.move_on_at(self.time_of(tick)):
            await self._signal.until(lambda: self._closed or clears != self._clears)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"{type(self).__name__} is closed")
