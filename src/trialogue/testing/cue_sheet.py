"""Conversations by position: what the user says, and is answered, at which sample.

For clients whose audio says nothing to the server: a recording of noise, a codec, a
microphone that nobody speaks into. Whatever comes, at that position it is those words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

from trialogue.errors import ConfigurationError
from trialogue.testing.speech import Cue, Cues
from trialogue.testing.vad import (
    BYTES_PER_MS,
    SpeechStarted,
    SpeechStopped,
    VADEvent,
)

if TYPE_CHECKING:
    from trialogue.testing.script import AsyncReply, Brain, Reply, Turn

__all__ = ["CueDetector", "CueSheet", "replying"]


def _checked(_: object, __: object, cues: tuple[Cue, ...]) -> None:
    for cue in cues:
        if not 0 <= cue.start_ms < cue.end_ms:
            msg = f"a cue begins at 0 ms or later and ends behind that: {cue!r}"
            raise ConfigurationError(msg)
    for one, following in pairwise(cues):
        if following.start_ms < one.end_ms:
            msg = f"cues follow one another, in order: {one!r}, {following!r}"
            raise ConfigurationError(msg)


@attrs.frozen
class CueSheet:
    """The user's turns on a connection, by the position of its audio.

    With a turn detection the server says that speech started when `start_ms` of audio
    have come, and that it stopped, commits the turn and answers it when `end_ms` have;
    both positions are exact, and are those on the wire. Without one, the client
    commits, and a turn has the words of the cues whose middle it holds. Every
    connection begins the sheet anew. Give it to `RealtimeServer(cues=...)`.

    Raises:
        ConfigurationError: the cues are not in order, overlap, or have no length.
    """

    cues: tuple[Cue, ...] = attrs.field(validator=_checked)

    @classmethod
    def of(cls, *cues: Cue) -> CueSheet:
        """Make a sheet of cues, in order."""
        return cls(cues)

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        """See `Transcriber.transcribe`; the audio itself is not looked at."""
        return Cues(self.cues).transcribe(pcm, start_ms, end_ms)

    def detector(self, position_ms: Callable[[], float]) -> CueDetector:
        """Return the turn detection of one connection.

        Args:
            position_ms: tells how much of its audio has come.
        """
        return CueDetector(self.cues, position_ms)


@attrs.define(eq=False, repr=False)
class CueDetector:
    """Finds turns where the cues say they are; in place of an `EnergyVAD`."""

    _cues: tuple[Cue, ...]
    _position_ms: Callable[[], float]
    _next: int = attrs.field(default=0, init=False)
    _speaking: bool = attrs.field(default=False, init=False)

    def __repr__(self) -> str:
        return f"<CueDetector at cue {self._next} of {len(self._cues)}>"

    def start_at(self, count: int) -> None:
        """Skip the cues that began before the audio that has come, so many bytes."""
        self._speaking = False
        now = count / BYTES_PER_MS
        while self._next < len(self._cues) and self._cues[self._next].start_ms < now:
            self._next += 1

    def feed(self, pcm: bytes) -> list[VADEvent]:
        """Return what is decided by the position that is reached, in order."""
        found: list[VADEvent] = []
        while self._next < len(self._cues):
            cue = self._cues[self._next]
            due = cue.end_ms if self._speaking else cue.start_ms
            if self._position_ms() < due:
                break
            if self._speaking:
                found.append(SpeechStopped(due))
                self._next += 1
            else:
                found.append(SpeechStarted(due, due))
            self._speaking = not self._speaking
        return found

    def reset(self) -> None:
        """Forget an open turn: its cue is over."""
        if self._speaking:
            self._speaking = False
            self._next += 1


def replying(cues: Iterable[Cue], brain: Brain) -> Brain:
    """Return a brain that answers a user's turn as its cue says, all else as before."""
    in_order = sorted(cues, key=_middle)
    if all(cue.reply is None for cue in in_order):
        return brain

    def by_cue(turn: Turn) -> Reply | AsyncReply:
        cue = _cue_of(turn, in_order)
        if cue is None or cue.reply is None:
            return brain(turn)
        return cue.reply(turn) if callable(cue.reply) else cue.reply

    return by_cue


def _middle(cue: Cue) -> float:
    return (cue.start_ms + cue.end_ms) / 2


def _cue_of(turn: Turn, cues: list[Cue]) -> Cue | None:
    """Return the last cue in the user's speech that this response is to answer."""
    if turn.spoken_ms is None or not turn.in_conversation:
        return None
    start, end = turn.spoken_ms
    heard = [cue for cue in cues if start <= _middle(cue) < end]
    return heard[-1] if heard else None
