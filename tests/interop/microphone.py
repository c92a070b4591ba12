"""The caller's microphone, for programs on asyncio: it is never still."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what the clients of other projects run on
from collections import deque
from typing import TYPE_CHECKING, Final

from interop.cast import CLIPS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FRAME_MS", "RATE", "Microphone"]

RATE: Final = 24_000
FRAME_MS: Final = 50
_FRAME_BYTES: Final = RATE * 2 * FRAME_MS // 1000


class Microphone:
    """Silence in real time, and the caller's sentences when they are to be said."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending: deque[bytes] = deque()
        self._due: float | None = None

    def say(self, sentence: str) -> None:
        """The caller says this next."""
        pcm = (self._folder / CLIPS[sentence]).read_bytes()
        self._pending.extend(
            pcm[at : at + _FRAME_BYTES] for at in range(0, len(pcm), _FRAME_BYTES)
        )

    async def read(self) -> bytes:
        """Return the next 50 ms, once they are over."""
        loop = asyncio.get_running_loop()
        self._due = FRAME_MS / 1000 + (loop.time() if self._due is None else self._due)
        await asyncio.sleep(max(0.0, self._due - loop.time()))
        return self._pending.popleft() if self._pending else bytes(_FRAME_BYTES)
