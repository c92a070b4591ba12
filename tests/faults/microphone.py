"""The caller's microphone: every 10 ms of it says its number, speech or silence."""

from __future__ import annotations

import time
from collections import deque

from faults.cast import FRAME_BYTES, MICROPHONE, clip
from trialogue.testing.watermark import embed

__all__ = ["Microphone"]

_MARKS: int = FRAME_BYTES // 480


class Microphone:
    """Gives a frame at a time, and notes where in them the sentences are.

    Attributes:
        frames: how many were given.
        said: of each sentence its name, its first and last mark, and when its last
            frame was given.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.said: list[tuple[str, int, int, float]] = []
        self._pending: deque[tuple[bytes, str | None]] = deque()

    def say(self, name: str) -> None:
        """The caller says this next."""
        sound = clip(name)
        pieces = range(0, len(sound), FRAME_BYTES)
        self._pending += (
            (sound[at : at + FRAME_BYTES], name if at == pieces[-1] else None)
            for at in pieces
        )

    def next(self) -> bytes:
        """Return the next frame, now."""
        sound, ends = self._pending.popleft() if self._pending else (b"", None)
        first = self.frames * _MARKS
        self.frames += 1
        if ends is not None:
            marks = len(clip(ends)) // 480
            last = first + _MARKS - 1
            self.said.append((ends, last - marks + 1, last, time.monotonic()))
        return embed(sound.ljust(FRAME_BYTES, b"\0"), MICROPHONE, first=first)
