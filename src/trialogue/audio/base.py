"""What sound is inside trialogue, and what a source and a sink of it must do.

All audio inside the library is PCM16, signed, little endian, mono, 24 kHz. Positions
and lengths are counted in samples; a chunk is a `bytes` object of whole samples.

`AudioInput` and `AudioOutput` are protocols: any class with these methods will do.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from trialogue.errors import ConfigurationError

__all__ = [
    "SAMPLE_RATE",
    "SAMPLE_WIDTH",
    "AudioInput",
    "AudioOutput",
    "sample_count",
    "samples_to_ms",
]

SAMPLE_RATE = 24_000
"""Samples per second of all audio inside the library."""

SAMPLE_WIDTH = 2
"""Bytes per sample."""


def sample_count(pcm: bytes) -> int:
    """How many samples `pcm` holds.

    Raises:
        ConfigurationError: `pcm` ends in the middle of a sample.
    """
    count, odd = divmod(len(pcm), SAMPLE_WIDTH)
    if odd:
        raise ConfigurationError(
            f"a chunk of {len(pcm)} bytes ends in the middle of a sample: PCM16 has"
            " two bytes per sample. Join the bytes with trialogue.audio.Rechunker"
            " before you pass them on."
        )
    return count


def samples_to_ms(samples: int) -> int:
    """Whole milliseconds in `samples`, rounded down: never past the audio."""
    return samples * 1000 // SAMPLE_RATE


@runtime_checkable
class AudioInput(Protocol):
    """Where the user's sound comes from: a microphone, a file, a call."""

    async def receive(self) -> bytes:
        """Wait for the next chunk and return it.

        A checkpoint. Cancelling it loses no audio: the next call returns the chunk
        that the cancelled one would have returned.

        Raises:
            trio.EndOfChannel: the input has ended. Every later call raises it too.
            trio.ClosedResourceError: the input was closed with `aclose`.
        """
        ...

    async def aclose(self) -> None:
        """Release the source. Closing twice is harmless."""
        ...


@runtime_checkable
class AudioOutput(Protocol):
    """Where the agents' sound goes: a loudspeaker, a file, a call.

    The sink counts what it has really played, and nothing else in the library guesses
    it. `played <= written` holds always. One task writes at a time.
    """

    async def write(self, pcm: bytes) -> None:
        """Hand `pcm` over, to be played after everything written before.

        Waits while more than the sink's own buffer, which is bounded in seconds, is
        unplayed. A checkpoint. A cancelled write has taken nothing of `pcm` or, if the
        sink took it before the cancellation was delivered, all of it; `written` tells
        which. If `clear` is called while a write waits, that write returns and its
        `pcm` is dropped: nothing handed over before a clear is heard after it.

        Raises:
            ConfigurationError: `pcm` ends in the middle of a sample.
            trio.ClosedResourceError: the output was closed.
        """
        ...

    def clear(self) -> None:
        """Drop everything that was not played; the sound stops at once.

        Synchronous. Afterwards `written == played`.
        """
        ...

    @property
    def written(self) -> int:
        """Samples taken, minus those dropped by `clear`: the next sample's position."""
        ...

    @property
    def played(self) -> int:
        """Samples really played, as the sink reports them. Gaps do not count."""
        ...

    async def wait_played(self, position: int) -> None:
        """Wait until `played >= position`, or until a `clear` dropped it.

        Returns after a checkpoint if `position` is already played or not yet written,
        so look at `played` afterwards.

        Raises:
            trio.ClosedResourceError: the output was closed, before or meanwhile.
        """
        ...

    async def drain(self) -> None:
        """Wait until everything written is played or dropped.

        Raises:
            trio.ClosedResourceError: the output was closed, before or meanwhile.
        """
        ...

    async def aclose(self) -> None:
        """Stop the sound and release the sink; `drain` first to let it play out.

        Closing twice is harmless.
        """
        ...
