"""PCM at other rates than the server's own 24 kHz: by the nearest sample."""

from __future__ import annotations

from array import array
from typing import Final

__all__ = ["OWN_RATE", "Rate"]

OWN_RATE: Final = 24000


class Rate:
    """A stream of 16 bit samples from one rate to another.

    It counts samples over all pieces, so that nothing is lost or gained by how the
    stream is cut; half a sample waits for its other half.

    Args:
        source: samples per second as they come.
        target: samples per second as they go.

    Attributes:
        target: as above.
    """

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self.target = target
        self._came = 0
        self._rest = b""

    def __call__(self, pcm: bytes) -> bytes:
        """Return the next piece of the stream at the target rate."""
        if self._source == self.target:
            return pcm
        data = self._rest + pcm
        whole = len(data) // 2 * 2
        self._rest = data[whole:]
        samples = array("h", data[:whole])
        start = self._gone
        came, self._came = self._came, self._came + len(samples)
        places = range(start, self._gone)
        return array(
            "h",
            (samples[place * self._source // self.target - came] for place in places),
        ).tobytes()

    @property
    def _gone(self) -> int:
        """How many samples went: all whose place in the source has come."""
        return -(-self._came * self.target // self._source)
