"""WebSocket frames as a server reads and writes them, and a line that takes time.

Standard library only, and no more than the benchmark needs: clients that behave.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio  # noqa: TID251 - the neutral server runs on it
    from collections.abc import Callable

__all__ = [
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "Line",
    "accepted",
    "framed",
    "unframed",
]

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accepted(request: bytes) -> bytes:
    """Return the answer to an upgrade request. No extension, no subprotocol."""
    headers = dict(
        line.split(b":", 1) for line in request.split(b"\r\n")[1:] if b":" in line
    )
    named = {name.strip().lower(): value.strip() for name, value in headers.items()}
    digest = hashlib.sha1(named[b"sec-websocket-key"] + MAGIC, usedforsecurity=False)
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
    ) % base64.b64encode(digest.digest())


def framed(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a frame as servers send it, not masked."""
    size, first = len(payload), 128 | opcode
    if size < 126:
        return struct.pack(">BB", first, size) + payload
    if size < 2**16:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload


def unframed(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the (opcode, payload) of the whole frames of a client, and the rest.

    A continuation counts as a frame of its own: nobody here sends one.
    """
    found, at, end = [], 0, len(buffer)
    while end - at >= 2:
        size, head = buffer[at + 1] & 127, 2
        if size == 126:
            size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
        start = at + head + 4
        if end < start + size:
            break
        mask = buffer[start - 4 : start]
        payload = buffer[start : start + size]
        found.append((buffer[at] & 15, _unmasked(payload, mask)))
        at = start + size
    return found, buffer[at:]


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    xored = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return xored.to_bytes(size, "little")


class Line:
    """One direction of a network: what is put in comes out later, in order.

    Args:
        seconds: how long it takes; with 0 it comes out at once, in the call.
        arrived: takes what comes out.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        arrived: Callable[[Any], None],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._arrived = arrived
        self._under_way: deque[tuple[float, Any]] = deque()

    def put(self, item: Any) -> None:
        if not self._seconds:
            self._arrived(item)
            return
        due = self._loop.time() + self._seconds
        self._under_way.append((due, item))
        if len(self._under_way) == 1:
            self._loop.call_at(due, self._deliver)

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= self._loop.time():
            self._arrived(self._under_way.popleft()[1])
        if self._under_way:
            self._loop.call_at(self._under_way[0][0], self._deliver)
