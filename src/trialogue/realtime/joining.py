"""Sound that came at once is handed on in one piece.

Whatever a piece of sound costs on its way to whoever hears it, five of 20 ms that are
read in one go cost no more than one of 100 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trialogue.realtime.input_ring import SAMPLE_RATE

if TYPE_CHECKING:
    from trialogue.dialects.events import OutputAudio

__all__ = ["MOST", "Joining"]

MOST: Final = SAMPLE_RATE // 10 * 2
"""Bytes of what is joined, 100 ms: a piece that was handed out counts as heard."""


class Joining:
    """Holds the beginning of a piece while the reader goes through what has come."""

    def __init__(self) -> None:
        self._first: OutputAudio | None = None
        self._rest: list[bytes] = []
        self._size = 0

    def add(self, sound: OutputAudio) -> OutputAudio | None:
        """Hold one more; return what was held if this does not go on from there."""
        first, size = self._first, len(sound.pcm)
        if (
            first is not None
            and self._size + size <= MOST
            and sound.item_id == first.item_id
            and sound.response_id == first.response_id
            and sound.content_index == first.content_index
        ):
            self._rest.append(sound.pcm)
            self._size += size
            return None
        before = self.take()
        self._first, self._size = sound, size
        return before

    def take(self) -> OutputAudio | None:
        """Return what is held, in one piece, and hold nothing."""
        first = self._first
        if first is not None:
            self._first = None
            if self._rest:
                first.pcm = b"".join((first.pcm, *self._rest))
                self._rest.clear()
        return first
