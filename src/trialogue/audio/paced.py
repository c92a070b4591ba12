"""Sources that yield recorded audio at the pace at which a microphone would."""

from __future__ import annotations

from abc import ABC, abstractmethod

import trio

from trialogue.audio.base import SAMPLE_RATE, SAMPLE_WIDTH, sample_count

__all__ = ["PacedInput", "PcmInput"]


class PacedInput(ABC):
    """An `AudioInput` over something that can be read at once. A base class.

    A chunk is returned when its last sample would have been recorded. The deadlines are
    absolute, counted from the first `receive`, so that a late reader catches up and the
    pace does not drift.

    Args:
        chunk_ms: milliseconds per chunk; the last one may be shorter.
        realtime: False returns chunks as fast as they are asked for.
    """

    def __init__(self, *, chunk_ms: int = 20, realtime: bool = True) -> None:
        self._chunk = max(1, chunk_ms * SAMPLE_RATE // 1000)
        self._realtime = realtime
        self._started: float | None = None
        self._position = 0
        self._next: bytes | None = None
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} {state} position={self._position}>"

    @abstractmethod
    def read(self, samples: int) -> bytes:
        """Return the next `samples` samples; fewer only at the end, then none."""

    @property
    def started_at(self) -> float | None:
        """Trio's time of the first sample, or None before the first `receive`."""
        return self._started

    @property
    def position(self) -> int:
        """Samples returned so far."""
        return self._position

    async def receive(self) -> bytes:
        """Wait until the next chunk is due. See `AudioInput.receive`."""
        self._refuse_if_closed()
        if self._next is None:
            self._next = self.read(self._chunk)
        await self._until_due(self._position + sample_count(self._next))
        self._refuse_if_closed()
        if not self._next:
            raise trio.EndOfChannel
        chunk, self._next = self._next, None
        self._position += sample_count(chunk)
        return chunk

    async def aclose(self) -> None:
        """Release the source; a `receive` that waits raises `ClosedResourceError`."""
        if not self._closed:
            self._closed = True
            self.release()
        await trio.lowlevel.checkpoint()

    def release(self) -> None:  # noqa: B027 - not every source holds something
        """Called once, when the input is closed."""

    async def _until_due(self, position: int) -> None:
        if not self._realtime:
            await trio.lowlevel.checkpoint()
            return
        if self._started is None:
            self._started = trio.current_time()
        await trio.sleep_until(self._started + position / SAMPLE_RATE)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"{type(self).__name__} is closed")


class PcmInput(PacedInput):
    """An `AudioInput` that yields `pcm` at real-time pace, then ends.

    Raises:
        ConfigurationError: `pcm` ends in the middle of a sample.
    """

    def __init__(
        self, pcm: bytes, *, chunk_ms: int = 20, realtime: bool = True
    ) -> None:
        super().__init__(chunk_ms=chunk_ms, realtime=realtime)
        sample_count(pcm)
        self._pcm = pcm
        self._read = 0

    def read(self, samples: int) -> bytes:
        start, self._read = self._read, self._read + samples * SAMPLE_WIDTH
        return self._pcm[start : self._read]
