"""What recorded callers say: transcripts found in the audio itself, or by position.

The local server has no speech recogniser. It is told which clips exist and what is
said in them, and finds the clips by their samples in what it received: mute a sentence
and it is gone from the conversation.
"""

from __future__ import annotations

import hashlib
import math
import random
from array import array
from typing import Final, Protocol

import attrs

from trialogue.testing.script import Brain, Reply
from trialogue.testing.vad import BYTES_PER_MS, FRAME_BYTES, level

__all__ = ["Cue", "Cues", "FirstOf", "Transcriber", "Utterances", "quiet", "voice"]

_ANCHOR_BYTES: Final = 64
_ANCHORS: Final = 60
_AUDIBLE: Final = 300.0
#: With this share of its anchors found, a clip counts as heard in full.
_WHOLE: Final = 0.85


class Transcriber(Protocol):
    """Knows what is said in a stretch of the user's audio."""

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        """Return the text of one committed turn, or "" if nothing is known.

        Args:
            pcm: the turn's audio, 16 bit, 24 kHz, mono.
            start_ms: where it begins on the connection's sample clock.
            end_ms: where it ends there.
        """
        ...


@attrs.frozen
class Cue:
    """Words by their position on the sample clock of their connection.

    Attributes:
        start_ms: where they begin, in ms of the audio that came on the connection.
        end_ms: where they end.
        text: the words.
        reply: what the model answers them; None leaves that to the brain.
    """

    start_ms: int
    end_ms: int
    text: str
    reply: Reply | Brain | None = attrs.field(default=None, kw_only=True)

    @classmethod
    def at_samples(
        cls,
        start: int,
        end: int,
        text: str,
        *,
        reply: Reply | Brain | None = None,
        rate: int = 24_000,
    ) -> Cue:
        """Give the position in samples, 8000 a second with G.711; in whole ms at last.

        Raises:
            ValueError: there is no such rate.
        """
        if rate <= 0:
            raise ValueError(f"a rate is a number of samples per second, not {rate}")
        return cls(start * 1000 // rate, -(-end * 1000 // rate), text, reply=reply)


@attrs.frozen
class Cues:
    """Transcripts by position. A turn gets the texts whose middle it holds."""

    cues: tuple[Cue, ...]

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        """See `Transcriber.transcribe`; the audio itself is not looked at."""
        middle = ((cue, (cue.start_ms + cue.end_ms) / 2) for cue in self.cues)
        return " ".join(cue.text for cue, at in middle if start_ms <= at < end_ms)


@attrs.frozen
class _Clip:
    text: str
    anchors: tuple[tuple[int, bytes], ...]  # position in the clip, samples there

    def found_in(self, pcm: bytes) -> tuple[int, str] | None:
        """Return where it begins in the audio, and the words that are there."""
        places: dict[int, list[int]] = {}
        for number, (position, samples) in enumerate(self.anchors):
            at = _find(pcm, samples)
            if at != -1:
                places.setdefault(at - position, []).append(number)
        if not places:
            return None
        offset, hits = max(places.items(), key=lambda found: len(found[1]))
        words = self._words(hits)
        return (offset, words) if words else None

    def _words(self, hits: list[int]) -> str:
        """A turn that holds a part of the clip gets that part of its words."""
        if len(hits) >= _WHOLE * len(self.anchors):
            return self.text
        words = self.text.split()
        scale = len(words) / len(self.anchors)
        return " ".join(words[round(hits[0] * scale) : round((hits[-1] + 1) * scale)])


def _find(pcm: bytes, samples: bytes) -> int:
    """Return the first whole-sample position of the samples, or -1."""
    at = pcm.find(samples)
    while at % 2 == 1 and at != -1:
        at = pcm.find(samples, at + 1)
    return at


@attrs.define(eq=False, repr=False)
class Utterances:
    """Transcripts by content: clips that are known, found by their very samples.

    It does not matter what comes before or after a clip in the audio, or on which
    connection and when it is heard.
    """

    _clips: list[_Clip] = attrs.field(factory=list, init=False)

    def __repr__(self) -> str:
        return f"<Utterances {[clip.text for clip in self._clips]!r}>"

    def add(self, pcm: bytes, text: str) -> None:
        """Make a clip known.

        Raises:
            ValueError: there is nothing audible in it to know it by.
        """
        anchors = _anchors(pcm)
        if not anchors:
            raise ValueError("the clip has no audible stretch to know it by")
        self._clips.append(_Clip(text, anchors))

    def say(self, text: str, ms: int = 800) -> bytes:
        """Make up the audio of a sentence, make it known, and return it."""
        pcm = voice(text, ms)
        if not any(clip.text == text for clip in self._clips):
            self.add(pcm, text)
        return pcm

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        """See `Transcriber.transcribe`; several clips are joined in order."""
        found = (clip.found_in(pcm) for clip in self._clips)
        return " ".join(words for _, words in sorted(hit for hit in found if hit))


def _anchors(pcm: bytes) -> tuple[tuple[int, bytes], ...]:
    """Return short stretches of samples, spread over what can be heard."""
    offsets = range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)
    loud = [at for at in offsets if level(pcm[at : at + FRAME_BYTES]) >= _AUDIBLE]
    step = max(len(loud) / _ANCHORS, 1.0)
    picked = (loud[int(n * step)] for n in range(math.ceil(len(loud) / step)))
    return tuple((at, pcm[at : at + _ANCHOR_BYTES]) for at in picked)


def voice(text: str, ms: int = 800) -> bytes:
    """Return loud, noise-like audio that is the same for the same text, and unique."""
    seed = hashlib.sha256(text.encode()).digest()
    source = random.Random(seed)  # noise, not secrets
    count = ms * BYTES_PER_MS // 2
    return array("h", (source.randint(-6000, 6000) for _ in range(count))).tobytes()


def quiet(ms: int) -> bytes:
    """Return that much digital silence."""
    return bytes(ms * BYTES_PER_MS)


@attrs.frozen
class FirstOf:
    """Asks several transcribers; the first that knows something answers."""

    transcribers: tuple[Transcriber, ...]

    def transcribe(self, pcm: bytes, start_ms: int, end_ms: int) -> str:
        """See `Transcriber.transcribe`."""
        texts = (one.transcribe(pcm, start_ms, end_ms) for one in self.transcribers)
        return next((text for text in texts if text), "")
