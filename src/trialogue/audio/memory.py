"""Inputs and outputs in memory, for tests and for programs without devices."""

from __future__ import annotations

import attrs
import trio

from trialogue.audio.base import SAMPLE_RATE, SAMPLE_WIDTH, sample_count
from trialogue.audio.clocked import ClockedOutput
from trialogue.errors import ConfigurationError

__all__ = ["MemoryInput", "MemoryOutput", "NullOutput", "PlayedAudio"]


class MemoryInput:
    """An `AudioInput` that yields what the program pushes into it.

    Args:
        max_chunks: how many chunks may wait to be received. Nothing is dropped: `push`
            refuses and `send` waits beyond it.
    """

    def __init__(self, *, max_chunks: int = 1000) -> None:
        self._send, self._receive = trio.open_memory_channel[bytes](max_chunks)

    def push(self, pcm: bytes) -> None:
        """Queue `pcm` without waiting.

        Raises:
            trio.WouldBlock: `max_chunks` are already waiting; nothing was queued.
            ConfigurationError: `pcm` ends in the middle of a sample.
        """
        sample_count(pcm)
        self._send.send_nowait(pcm)

    async def send(self, pcm: bytes) -> None:
        """Queue `pcm`, waiting for room. Cancelled, it has queued nothing."""
        sample_count(pcm)
        await self._send.send(pcm)

    def end(self) -> None:
        """End the input: after what is queued, `receive` raises `EndOfChannel`."""
        self._send.close()

    async def receive(self) -> bytes:
        """Wait for the next chunk. See `AudioInput.receive`."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """Close both ends; what is queued is dropped."""
        self._send.close()
        await self._receive.aclose()


@attrs.frozen
class PlayedAudio:
    """An unbroken run of samples that was played, its first one at `time`.

    Attributes:
        time: Trio's time of the first sample.
        pcm: the samples.
    """

    time: float
    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")

    @property
    def end(self) -> float:
        """Trio's time at which the last sample had been played."""
        return self.time + len(self.pcm) / (SAMPLE_RATE * SAMPLE_WIDTH)


class MemoryOutput(ClockedOutput):
    """An `AudioOutput` that plays on Trio's clock and keeps what it played, and when.

    Args:
        realtime: False plays everything in the instant it is written.
        buffer_seconds: how much may be unplayed before `write` waits.
        max_seconds: how much played audio is kept. Beyond it `write` raises
            `ConfigurationError`, since a test that looks at half of it would lie.
    """

    def __init__(
        self,
        *,
        realtime: bool = True,
        buffer_seconds: float = 0.2,
        max_seconds: float = 3600,
    ) -> None:
        super().__init__(buffer_seconds=buffer_seconds, realtime=realtime)
        self._max_seconds = max_seconds
        self._runs: list[tuple[int, bytearray]] = []

    @property
    def pcm(self) -> bytes:
        """Everything played until now, without the gaps."""
        return b"".join(run.pcm for run in self.runs)

    @property
    def runs(self) -> tuple[PlayedAudio, ...]:
        """What was played until now: one entry per unbroken run, in order."""
        _ = self.played  # brings the record up to the present
        return tuple(
            PlayedAudio(self.time_of(tick), bytes(pcm)) for tick, pcm in self._runs
        )

    async def write(self, pcm: bytes) -> None:
        """Take `pcm`. See `AudioOutput.write`."""
        if self.written > self._max_seconds * SAMPLE_RATE:
            raise ConfigurationError(
                f"MemoryOutput keeps {self._max_seconds:g} s of audio and that is"
                " played. Use NullOutput, WavOutput, or a larger max_seconds."
            )
        await super().write(pcm)

    def record(self, tick: int, pcm: bytes) -> None:
        if self._runs:
            start, run = self._runs[-1]
            if start + len(run) // SAMPLE_WIDTH == tick:
                run += pcm
                return
        self._runs.append((tick, bytearray(pcm)))


class NullOutput(ClockedOutput):
    """An `AudioOutput` that plays on Trio's clock and keeps nothing.

    For a session whose sound nobody listens to: positions, barge-in and the end of a
    reply behave as with a loudspeaker.
    """
