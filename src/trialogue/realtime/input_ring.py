"""The microphone's recent past, addressed by absolute sample.

The session appends; the writer of whichever connection is live reads at its own
cursor. What was not committed to a turn is kept, so that a fresh connection can be
given the open turn from its start; beyond the bound the oldest is dropped and counted.
"""

from __future__ import annotations

import attrs

__all__ = ["SAMPLE_RATE", "AudioClock", "InputRing"]

SAMPLE_RATE = 24_000
_WIDTH = 2
SPANS = 256
"""Interruptions of the microphone that are remembered on one connection."""


class InputRing:
    """PCM16 24 kHz mono, the last `seconds` of it. Positions count samples from 0."""

    def __init__(self, seconds: float = 30.0) -> None:
        self.start = 0
        self.dropped = 0
        self._limit = round(seconds * SAMPLE_RATE) * _WIDTH
        self._buffer = bytearray()
        self._odd = b""

    @property
    def end(self) -> int:
        """The position after the newest sample."""
        return self.start + len(self._buffer) // _WIDTH

    def append(self, pcm: bytes) -> None:
        """Add audio. A sample split between two calls is put together (A2)."""
        pcm = self._odd + pcm
        whole = len(pcm) - len(pcm) % _WIDTH
        self._odd = pcm[whole:]
        self._buffer += pcm[:whole]

    def trim(self, needed_from: int) -> int:
        """Forget what exceeds the bound; return how many needed samples that cost."""
        excess = len(self._buffer) - self._limit
        if excess <= 0:
            return 0
        first_kept = max(needed_from, self.start)
        del self._buffer[:excess]
        self.start += excess // _WIDTH
        lost = max(0, self.start - first_kept)
        self.dropped += lost
        return lost

    def read(self, position: int, most: int) -> bytes:
        """Return up to `most` samples from `position`, without those that are gone."""
        begin = max(0, position - self.start)
        end = max(begin, position + most - self.start)
        return bytes(self._buffer[begin * _WIDTH : end * _WIDTH])

    def slice(self, begin: int, end: int) -> bytes:
        """Return what is still kept of a span."""
        return self.read(begin, end - begin)


@attrs.define(eq=False)
class AudioClock:
    """Translates a connection's audio milliseconds to positions in the ring.

    The provider counts what was appended on its connection. The spans differ from a
    plain offset when the ring had to drop what was not yet sent. Only so many are kept:
    what lies further back than the latest of them can be no turn that is still open.
    """

    spans: list[tuple[int, int]] = attrs.field(factory=list)
    sent: int = 0

    def wrote(self, position: int, samples: int) -> None:
        """Note that samples from `position` were appended."""
        if not self.spans or position != self.position(self.sent):
            self.spans.append((self.sent, position))
            del self.spans[:-SPANS]
        self.sent += samples

    def position(self, sent: int) -> int:
        """Where the `sent`-th appended sample stands in the ring."""
        base, origin = 0, 0
        for at, position in self.spans:
            if at > sent:
                break
            base, origin = at, position
        return origin + sent - base

    def at_ms(self, ms: float) -> int:
        """Where a moment of the connection's clock stands in the ring."""
        return self.position(int(ms * SAMPLE_RATE) // 1000)
