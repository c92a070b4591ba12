"""Voice activity detection by energy, on a clock that counts samples (protocol §8).

Sans-IO and exact: the outcome depends on the samples alone, never on how they were cut
into chunks or when they came.
"""

from __future__ import annotations

import math
from array import array
from operator import mul
from typing import Final, TypeAlias

import attrs

__all__ = [
    "FRAME_BYTES",
    "FRAME_MS",
    "EnergyVAD",
    "SpeechStarted",
    "SpeechStopped",
    "VADEvent",
    "level",
]

BYTES_PER_MS: Final = 48
FRAME_MS: Final = 10
FRAME_BYTES: Final = FRAME_MS * BYTES_PER_MS
FRAME_SAMPLES: Final = FRAME_BYTES // 2

#: Of an upper byte: how large the square of such a sample is at least, in units of
#: 256 * 256, as far as a byte can say it.
_LEAST: Final = bytes(min(min(upper, 255 - upper) ** 2, 255) for upper in range(256))

#: This many loud frames in a row are speech; fewer are a click.
ONSET_FRAMES: Final = 3


@attrs.frozen
class SpeechStarted:
    """Voice was found. Positions are ms since the first sample of the connection.

    Attributes:
        start_ms: where the turn begins, prefix padding included.
        at_ms: the position of the sample that decided it.
    """

    start_ms: int
    at_ms: int


@attrs.frozen
class SpeechStopped:
    """Silence lasted long enough; `end_ms` includes the silence that was waited for."""

    end_ms: int


VADEvent: TypeAlias = SpeechStarted | SpeechStopped


def level(pcm: bytes) -> float:
    """Return the root mean square of 16 bit samples."""
    if not pcm.strip(b"\0"):
        return 0.0  # a line on which nobody speaks; most audio is that
    samples = array("h", pcm)
    return float((sum(map(mul, samples, samples)) / max(len(samples), 1)) ** 0.5)


@attrs.define(eq=False)
class EnergyVAD:
    """Finds turns in 16 bit, 24 kHz, mono PCM.

    Attributes:
        threshold: 0 to 1, a level between -60 and -20 dB of full scale.
        prefix_padding_ms: how far before the first loud frame a turn begins.
        silence_duration_ms: how long it must be quiet before a turn ends.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 200
    _gate: float = attrs.field(init=False, repr=False)
    _soft: bytes = attrs.field(init=False, repr=False)
    _enough: float = attrs.field(init=False, repr=False)
    _position: int = attrs.field(default=0, init=False)
    _floor_ms: int = attrs.field(default=0, init=False)
    _skip: int = attrs.field(default=0, init=False, repr=False)
    _rest: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _loud: int = attrs.field(default=0, init=False)
    _quiet: int = attrs.field(default=0, init=False)
    _speaking: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.tune(self.threshold, self.prefix_padding_ms, self.silence_duration_ms)

    def tune(
        self, threshold: float, prefix_padding_ms: int, silence_duration_ms: int
    ) -> None:
        """Change what it goes by; an open turn stays open, and ends by the new."""
        self.threshold = threshold
        self.prefix_padding_ms = prefix_padding_ms
        self.silence_duration_ms = silence_duration_ms
        self._gate = 32768 * 10 ** ((40 * threshold - 60) / 20)
        # The upper bytes of samples that are all below the gate, whatever the lower.
        most = math.ceil(self._gate / 256) - 1
        self._soft = bytes((*range(most), *range(256 - most, 256)))
        self._enough = self._gate**2 * FRAME_SAMPLES / 65536

    @property
    def speaking(self) -> bool:
        """Whether a turn is open."""
        return self._speaking

    def start_at(self, count: int) -> None:
        """Begin behind so many bytes, with the next whole frame on their clock.

        What comes before that frame is not listened to, and no turn begins there.
        """
        self._skip = -count % FRAME_BYTES
        self._position = self._floor_ms = (count + self._skip) // BYTES_PER_MS
        self._rest.clear()

    def feed(self, pcm: bytes) -> list[VADEvent]:
        """Take audio of any length and return what it decided, in order."""
        if self._skip:
            skipped = min(self._skip, len(pcm))
            pcm, self._skip = pcm[skipped:], self._skip - skipped
        self._rest += pcm
        whole = len(self._rest) - len(self._rest) % FRAME_BYTES
        frames = bytes(self._rest[:whole])
        del self._rest[:whole]
        upper = frames[1::2]
        quiet = not upper.translate(None, self._soft)  # mostly, and quickly found
        if quiet and not self._speaking:
            self._pass(whole // FRAME_BYTES)
            return []
        found: list[VADEvent] = []
        for offset in range(0, whole, FRAME_BYTES):
            loud = not quiet and self._is_loud(
                upper[offset // 2 : offset // 2 + FRAME_SAMPLES],
                frames[offset : offset + FRAME_BYTES],
            )
            event = self._frame(loud)
            if event is not None:
                found.append(event)
        return found

    def _is_loud(self, upper: bytes, frame: bytes) -> bool:
        """Whether its level reaches the gate; counted in full only where it is close.

        The upper bytes alone tell a least and a most of each sample.
        """
        if not upper.translate(None, self._soft):
            return False
        return (
            sum(upper.translate(_LEAST)) >= self._enough or level(frame) >= self._gate
        )

    def reset(self) -> None:
        """Forget an open turn; the clock goes on, and the next turn begins after it."""
        self._loud = self._quiet = 0
        self._speaking = False
        self._floor_ms = self._position

    def _pass(self, frames: int) -> None:
        """Take so many frames in which nobody speaks, as before them."""
        if frames:
            self._position += frames * FRAME_MS
            self._loud, self._quiet = 0, self._quiet + frames

    def _frame(self, loud: bool) -> VADEvent | None:
        self._position += FRAME_MS
        if loud:
            self._loud, self._quiet = self._loud + 1, 0
        else:
            self._loud, self._quiet = 0, self._quiet + 1
        if not self._speaking and self._loud >= ONSET_FRAMES:
            return self._start()
        if self._speaking and self._quiet * FRAME_MS >= self.silence_duration_ms:
            return self._stop()
        return None

    def _start(self) -> SpeechStarted:
        self._speaking = True
        onset = self._position - ONSET_FRAMES * FRAME_MS
        start = max(onset - self.prefix_padding_ms, self._floor_ms)
        return SpeechStarted(start, self._position)

    def _stop(self) -> SpeechStopped:
        self.reset()
        return SpeechStopped(self._position)
