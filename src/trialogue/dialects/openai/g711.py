"""G.711 µ-law and A-law, and linear resampling between 8 kHz and 24 kHz.

Pure Python over lookup tables, made when first used. `Decoder` and `Encoder` keep the
state of one stream, so that its chunks join without clicks wherever they were cut.
"""

from __future__ import annotations

import sys
from array import array
from functools import cache
from typing import Final, Literal, TypeAlias, final

__all__ = ["Decoder", "Encoder", "Law", "decode", "encode"]

Law: TypeAlias = Literal["pcmu", "pcma"]
"""pcmu: µ-law. pcma: A-law. Both 8 kHz, one byte a sample."""

_STEP: Final = 3
"""24 kHz / 8 kHz."""


def _expand_mu(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _compress_mu(sample: int) -> int:
    """Code a 14 bit sample."""
    mask = 0x7F if sample < 0 else 0xFF
    magnitude = min(abs(sample), 8158) + 33
    segment = max(0, magnitude.bit_length() - 6)
    return (segment << 4 | (magnitude >> (segment + 1) & 0x0F)) ^ mask


def _expand_a(code: int) -> int:
    code ^= 0x55
    magnitude = (code & 0x0F) << 4
    segment = (code & 0x70) >> 4
    magnitude += 8 if segment == 0 else 0x108
    magnitude <<= max(0, segment - 1)
    return magnitude if code & 0x80 else -magnitude


def _compress_a(sample: int) -> int:
    """Code a 13 bit sample."""
    mask = 0x55 if sample < 0 else 0xD5
    magnitude = ~sample if sample < 0 else sample
    segment = max(0, magnitude.bit_length() - 5)
    return (segment << 4 | (magnitude >> max(1, segment) & 0x0F)) ^ mask


@cache
def _decoding(law: Law) -> tuple[int, ...]:
    expand = _expand_mu if law == "pcmu" else _expand_a
    return tuple(map(expand, range(256)))


@cache
def _encoding(law: Law) -> tuple[int, bytes]:
    """Return how many low bits a sample loses, and the codes by what is left of it."""
    drop, compress = (2, _compress_mu) if law == "pcmu" else (3, _compress_a)
    size = 1 << (16 - drop)
    signed = (index - size if index >= size // 2 else index for index in range(size))
    return drop, bytes(map(compress, signed))


def decode(law: Law, data: bytes) -> array[int]:
    """Return the samples of coded audio, at its own 8 kHz."""
    table = _decoding(law)
    return array("h", [table[code] for code in data])


def encode(law: Law, samples: array[int]) -> bytes:
    """Return the codes of 16 bit samples, at their own 8 kHz."""
    drop, table = _encoding(law)
    mask = len(table) - 1
    return bytes([table[sample >> drop & mask] for sample in samples])


def _to_pcm(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _from_pcm(pcm: bytes) -> array[int]:
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


@final
class Decoder:
    """One stream of G.711 as PCM16 24 kHz: three samples for each one that comes in."""

    def __init__(self, law: Law) -> None:
        self._law: Law = law
        self._last: int | None = None

    def __repr__(self) -> str:
        return f"<Decoder {self._law}>"

    def feed(self, data: bytes) -> bytes:
        """Return PCM16 of this chunk, on a straight line from sample to sample."""
        samples = decode(self._law, data)
        out = array("h", bytes(2 * _STEP * len(samples)))
        last = self._last
        for index, sample in enumerate(samples):
            base = sample if last is None else last
            rise = sample - base
            at = _STEP * index
            out[at] = base + rise // 3
            out[at + 1] = base + 2 * rise // 3
            out[at + 2] = sample
            last = sample
        self._last = last
        return _to_pcm(out)


@final
class Encoder:
    """One stream of PCM16 24 kHz as G.711: the mean of three samples makes one.

    What is left of a chunk (up to five bytes) waits for the next one.
    """

    def __init__(self, law: Law) -> None:
        self._law: Law = law
        self._rest = b""

    def __repr__(self) -> str:
        return f"<Encoder {self._law} rest={len(self._rest)}>"

    def feed(self, pcm: bytes) -> bytes:
        """Return the codes of this chunk; b"" if it does not fill one sample."""
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % (2 * _STEP)
        self._rest = pcm[whole:]
        samples = _from_pcm(pcm[:whole])
        thirds = zip(samples[::3], samples[1::3], samples[2::3], strict=True)
        return encode(self._law, array("h", [(a + b + c) // 3 for a, b, c in thirds]))

    def reset(self) -> None:
        """Forget what waits: the buffer that it belonged to was dropped."""
        self._rest = b""
