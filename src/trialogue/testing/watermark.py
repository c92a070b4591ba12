"""Audio that says under which configuration it was made.

Every 10 ms frame (240 samples at 24 kHz) carries, in the lowest bit of each sample, a
mark: a hash of the instructions and tool names in force, the number of the item it
belongs to, and its own number within that item. A frame can be read on its own, at any
sample offset; a checksum over all its bits tells whether it is whole. So a test can
decode whatever was played and see what was made under the wrong configuration, missing,
repeated or out of order. The bit is inaudible, and speech can carry it as well as a
tone.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from array import array
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FRAME_SAMPLES", "Mark", "config_hash", "decode", "embed", "encode", "tone"]

FRAME_SAMPLES: Final = 240
RATE: Final = 24000

_SYNC: Final = bytes((0xD5, 0x3C, 0xA9, 0x17))
_BODY: Final = struct.Struct(">8sII")
_CRC: Final = struct.Struct(">I")
_BITS: Final = (len(_SYNC) + _BODY.size + _CRC.size) * 8
_OWN: Final = _BITS - 64  # where a mark's number and checksum begin
_VALUES: Final = bytes.maketrans(b"01", b"\0\1")
_CLEAR: Final = bytes(value & 0xFE for value in range(256))
_LOWEST: Final = bytes(value & 1 for value in range(256))
_OTHER: Final = bytes(value ^ 1 for value in range(256))
_DIGITS: Final = b"01" + bytes(254)
_KEPT: Final = 2 * RATE * 30  # bytes of what is kept at most, each


_BITS_OF: Final = [
    bytes(byte >> shift & 1 for shift in range(7, -1, -1)) for byte in range(256)
]


def _bits(data: bytes) -> bytes:
    return b"".join([_BITS_OF[byte] for byte in data])


def _bytes(bits: bytes) -> bytes:
    return int(bits.translate(_DIGITS), 2).to_bytes(len(bits) // 8, "big")


_SYNC_BITS: Final = _bits(_SYNC)


@attrs.frozen
class Mark:
    """What one frame says about itself.

    Attributes:
        config: the hash of the configuration it was made under (see `config_hash`).
        item: the number of its item, counted by the server over all connections.
        seq: its number within the item, from 0.
        position: where it begins in what was decoded, in samples.
    """

    config: str
    item: int
    seq: int
    position: int = attrs.field(default=0, eq=False)


def config_hash(instructions: str, tool_names: Iterable[str]) -> str:
    """Return the 16 hex digits that stand for instructions and tool names."""
    text = json.dumps([instructions, sorted(tool_names)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _tone_period() -> bytes:
    samples = (int(3000 * math.sin(2 * math.pi * 300 * n / RATE)) for n in range(80))
    return array("h", samples).tobytes()


def tone(samples: int) -> bytes:
    """Return that many samples of a 300 Hz tone, 16 bit."""
    return (_kept_tone if 2 * samples <= _KEPT else _tone)(samples)


def _tone(samples: int) -> bytes:
    period = _tone_period()
    return (period * (samples * 2 // len(period) + 1))[: samples * 2]


_kept_tone = lru_cache(maxsize=8)(_tone)


def encode(config: str, samples: int, *, item: int = 0, first: int = 0) -> bytes:
    """Return marked audio of that many samples; a partial last frame has no mark."""
    return embed(tone(samples), config, item=item, first=first)


def embed(pcm: bytes, config: str, *, item: int = 0, first: int = 0) -> bytes:
    """Return the audio with a mark in each whole frame, numbered from `first`."""
    mark = _kept if len(pcm) <= _KEPT else _marked
    out = bytearray(mark(bytes(pcm), config, first))
    size = 2 * FRAME_SAMPLES
    end = len(out) // size * size
    for position in _differing(item):
        plane = slice(2 * position, end, size)
        out[plane] = out[plane].translate(_OTHER)
    return bytes(out)


def _differing(item: int) -> list[int]:
    """Return which bits of a mark differ between that item and item 0.

    They are the same in all marks: a difference of checksums is the checksum of the
    difference, whatever else is in what was summed up.
    """
    frame = bytes(2 * FRAME_SAMPLES)
    none, that = (_BODY.pack(bytes(8), number, 0) for number in (0, item))
    checks = (zlib.crc32(frame, zlib.crc32(body)) for body in (none, that))
    bits = _bits(bytes(len(_SYNC)) + that + _CRC.pack(next(checks) ^ next(checks)))
    return [position for position, bit in enumerate(bits) if bit]


def _marked(pcm: bytes, config: str, first: int) -> bytes:
    """Mark the audio as that of item 0."""
    out = bytearray(pcm)
    size, begin = FRAME_SAMPLES * 2, bytes.fromhex(config) + bytes(4)
    # All of a mark but its number and its checksum is the same in every frame.
    constant = int.from_bytes((_SYNC_BITS + _bits(begin)).ljust(FRAME_SAMPLES, b"\0"))
    begun = zlib.crc32(begin)
    last, rest, head, base, tail, lows = b"", b"", b"", 0, b"", list[bytes]()
    for number, offset in enumerate(range(0, len(pcm) - size + 1, size), first):
        frame = pcm[offset : offset + size]
        if frame != last:  # those of a tone are all alike
            clear = frame[::2].translate(_CLEAR)
            last, rest = frame, clear + frame[1::2]
            low = (int.from_bytes(clear) | constant).to_bytes(FRAME_SAMPLES)
            head, tail = low[:_OWN], low[_BITS:]
            base = int.from_bytes(low[_OWN:_BITS])
        crc = zlib.crc32(rest, zlib.crc32(number.to_bytes(4), begun))
        digits = f"{number << 32 | crc:0{_BITS - _OWN}b}".encode().translate(_VALUES)
        lows += head, (base | int.from_bytes(digits)).to_bytes(_BITS - _OWN), tail
    count = len(lows) // 3
    out[: count * size : 2] = b"".join(lows)
    return bytes(out)


#: The same sentence under the same configuration is said again and again.
_kept = lru_cache(maxsize=8)(_marked)


def decode(pcm: bytes) -> list[Mark]:
    """Return the marks of all whole frames, in order.

    Silence, unmarked audio and frames that are cut, or altered in any bit, give none.
    """
    low, high = pcm[: len(pcm) // 2 * 2 : 2], pcm[1::2]
    bits = low.translate(_LOWEST)
    marks: list[Mark] = []
    at = bits.find(_SYNC_BITS)
    while at != -1:
        end = at + FRAME_SAMPLES
        mark = _read(bits[at:end], low[at:end], high[at:end], at)
        if mark is not None:
            marks.append(mark)
        at = bits.find(_SYNC_BITS, at + 1 if mark is None else end)
    return marks


def _read(bits: bytes, low: bytes, high: bytes, at: int) -> Mark | None:
    if len(bits) < FRAME_SAMPLES or any(bits[_BITS:]):
        return None
    data = _bytes(bits[:_BITS])[len(_SYNC) :]
    body, (crc,) = data[: _BODY.size], _CRC.unpack(data[_BODY.size :])
    if crc != _checksum(body, low.translate(_CLEAR), high):
        return None
    config, item, seq = _BODY.unpack(body)
    return Mark(config.hex(), item, seq, at)


def _checksum(body: bytes, low: bytes, high: bytes) -> int:
    return zlib.crc32(high, zlib.crc32(low, zlib.crc32(body)))
