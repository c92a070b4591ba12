"""How much of what happened a server keeps for tests to look at."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

__all__ = ["Keeping", "Tail"]

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Keeping:
    """What of each connection, and how many connections; None keeps everything.

    A test of a few minutes looks at all of it. One that runs for a virtual day looks at
    things as they happen (`on_entry`, the brain), and keeps the tails.

    Attributes:
        entries: frames of the log.
        turns: turns that were committed, with their audio.
        responses: records of responses.
        audio_seconds: seconds of input audio.
        connections: connections that are over; those that live are all there.
    """

    entries: int | None = 200_000
    turns: int | None = None
    responses: int | None = None
    audio_seconds: float | None = None
    connections: int | None = None

    @classmethod
    def tails(cls) -> Keeping:
        """Keep little: what happened a moment ago, and no more."""
        return cls(entries=200, turns=8, responses=8, audio_seconds=60, connections=4)


class Tail(list[T], Generic[T]):
    """A list that forgets its oldest entries beyond a bound.

    Attributes:
        total: how many were ever appended.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self.total = 0
        self._most = most

    def append(self, thing: T) -> None:
        super().append(thing)
        self.total += 1
        if self._most is not None and len(self) > self._most:
            del self[0]
