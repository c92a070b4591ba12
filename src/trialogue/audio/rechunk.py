"""Bytes in, whole samples out."""

from __future__ import annotations

from trialogue.audio.base import SAMPLE_WIDTH

__all__ = ["Rechunker"]


class Rechunker:
    """Joins arbitrary pieces of bytes into chunks that never split a sample.

    A network may cut audio anywhere. What follows the last whole sample (or the last
    whole chunk of `chunk_bytes`) is kept until the next `feed`.

    Args:
        chunk_bytes: return audio in multiples of this many bytes; by default a sample.
    """

    def __init__(self, *, chunk_bytes: int = SAMPLE_WIDTH) -> None:
        if chunk_bytes <= 0 or chunk_bytes % SAMPLE_WIDTH:
            raise ValueError(
                f"chunk_bytes is {chunk_bytes}; it must be a positive multiple of"
                f" {SAMPLE_WIDTH}"
            )
        self._unit = chunk_bytes
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return as many whole units as are complete with `data`, possibly none."""
        if not self._rest and not len(data) % self._unit:
            return bytes(data)
        joined = self._rest + data
        whole = len(joined) - len(joined) % self._unit
        self._rest = joined[whole:]
        return joined[:whole]

    def flush(self) -> bytes:
        """Return the whole samples that are kept, and forget half a sample."""
        rest, self._rest = self._rest, b""
        return rest[: len(rest) - len(rest) % SAMPLE_WIDTH]
