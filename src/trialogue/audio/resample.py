"""Other sample rates to 24 kHz, with the standard library only.

A windowed sinc, evaluated per output sample: about a tenth of a core in pure Python for
audio that arrives in real time. Good for recorded speech; not meant for many calls.
"""

from __future__ import annotations

import math
import struct
from operator import mul

from trialogue.audio.base import SAMPLE_RATE, SAMPLE_WIDTH
from trialogue.audio.rechunk import Rechunker
from trialogue.errors import ConfigurationError

__all__ = ["Resampler"]

_ZERO_CROSSINGS = 16
"""Of the sinc, on either side: stop band below -70 dB, 10 % transition band."""

_PASS_BAND = 0.92
_MOST_PHASES = 1024


class Resampler:
    """Converts a stream of PCM16 mono from `rate` to 24 kHz.

    The output does not depend on how the input is cut into chunks, which may end in
    the middle of a sample. It is not delayed: output sample k belongs to the same time
    as before, and is returned when the input that it needs, about 16 samples more, is
    there.

    Raises:
        ConfigurationError: `rate` is outside 4000 to 192000.
    """

    def __init__(self, rate: int) -> None:
        if not 4_000 <= rate <= 192_000:
            raise ConfigurationError(
                f"cannot resample from {rate} Hz; supported are 4000 to 192000 Hz"
            )
        common = math.gcd(rate, SAMPLE_RATE)
        self._up, self._down = SAMPLE_RATE // common, rate // common
        self._cutoff = _PASS_BAND * min(1.0, self._up / self._down)
        self._reach = math.ceil(_ZERO_CROSSINGS * max(1.0, self._down / self._up))
        self._phases: dict[int, tuple[float, ...]] = {}
        self._whole = Rechunker()
        self._input = [0] * self._reach
        self._first = -self._reach  # the input index of self._input[0]
        self._made = 0

    def feed(self, pcm: bytes) -> bytes:
        """Return the output that `pcm` completes."""
        self._append(self._whole.feed(pcm))
        return self._produce(self._first + len(self._input))

    def flush(self) -> bytes:
        """Return the rest of the output; the input has ended."""
        end = self._first + len(self._input)
        self._append(bytes((self._reach + 1) * SAMPLE_WIDTH))
        due = -(-end * self._up // self._down)  # rounded up
        out = self._produce(end + self._reach + 1)
        surplus = self._made - due
        return out[: len(out) - surplus * SAMPLE_WIDTH] if surplus > 0 else out

    def _append(self, pcm: bytes) -> None:
        self._input += struct.unpack(f"<{len(pcm) // SAMPLE_WIDTH}h", pcm)

    def _produce(self, end: int) -> bytes:
        """Make every output sample whose input lies wholly before input index `end`."""
        out: list[int] = []
        while True:
            base, phase = divmod(self._made * self._down, self._up)
            if base + self._reach >= end:
                break
            start = base - self._reach + 1 - self._first
            window = self._input[start : start + 2 * self._reach]
            value = round(sum(map(mul, self._taps(phase), window)))
            out.append(max(-32768, min(32767, value)))
            self._made += 1
        self._forget()
        return struct.pack(f"<{len(out)}h", *out)

    def _forget(self) -> None:
        """Drop the input that no later output needs."""
        needed = self._made * self._down // self._up - self._reach + 1
        surplus = needed - self._first
        if surplus > 0:
            del self._input[:surplus]
            self._first += surplus

    def _taps(self, phase: int) -> tuple[float, ...]:
        """The filter for an output sample `phase / up` after an input sample."""
        steps = min(self._up, _MOST_PHASES)
        index = phase * steps // self._up
        if index not in self._phases:
            self._phases[index] = self._design(index / steps)
        return self._phases[index]

    def _design(self, offset: float) -> tuple[float, ...]:
        distances = (n - offset for n in range(1 - self._reach, self._reach + 1))
        taps = [self._sinc(x) * self._window(x) for x in distances]
        gain = sum(taps)  # exactly one for a constant, whatever the phase
        return tuple(tap / gain for tap in taps)

    def _sinc(self, x: float) -> float:
        angle = math.pi * self._cutoff * x
        return math.sin(angle) / angle if angle else 1.0

    def _window(self, x: float) -> float:
        """Blackman's, over the filter's reach."""
        angle = math.pi * x / self._reach
        return 0.42 + 0.5 * math.cos(angle) + 0.08 * math.cos(2 * angle)
