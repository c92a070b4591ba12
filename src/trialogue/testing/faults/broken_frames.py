"""Frames that no server may send, byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BROKEN_FRAMES", "BrokenFrame", "beginning_of"]

BrokenFrame: TypeAlias = Literal[
    "utf8",
    "json",
    "array",
    "opcode",
    "rsv",
    "masked",
    "continuation",
    "ping",
    "truncated",
    "oversized",
]

_TEXT: Final = 0x01
_FIN: Final = 0x80
_SHORT: Final = 125
_TWO_BYTES: Final = 0xFFFF


def _head(first: int, length: int) -> bytes:
    """Return the first bytes of a frame that is not masked (RFC 6455, 5.2)."""
    if length <= _SHORT:
        return bytes([first, length])
    if length <= _TWO_BYTES:
        return bytes([first, 126]) + length.to_bytes(2, "big")
    return bytes([first, 127]) + length.to_bytes(8, "big")


def _text(payload: bytes) -> bytes:
    return _head(_FIN | _TEXT, len(payload)) + payload


def beginning_of(text: str, count: int) -> bytes:
    """Return a first fragment of a text message, of so many bytes; more is to come."""
    payload = text.encode()[:count]
    return _head(_TEXT, len(payload)) + payload


BROKEN_FRAMES: Final[Mapping[BrokenFrame, bytes]] = {
    # A message, but no text.
    "utf8": _text(b'{"type": "\xc3\x28"}'),
    # Messages that are text, but no event.
    "json": _text(b'{"type": "session.upd'),
    "array": _text(b"[]"),
    # Frames that RFC 6455 does not allow.
    "opcode": bytes([_FIN | 0x03, 0]),
    "rsv": bytes([_FIN | 0x40 | _TEXT, 2]) + b"{}",
    "masked": bytes([_FIN | _TEXT, 0x80 | 2]) + bytes(4) + b"{}",
    "continuation": bytes([_FIN, 2]) + b"{}",
    "ping": _head(_FIN | 0x09, _SHORT + 1) + bytes(_SHORT + 1),
    # Frames that do not end: whatever follows is taken for the rest of them.
    "truncated": _head(_FIN | _TEXT, 1 << 16) + b'{"type": ',
    "oversized": _head(_FIN | _TEXT, 1 << 40) + b'{"type": ',
}

assert set(BROKEN_FRAMES) == set(get_args(BrokenFrame))
