"""From the bytes of a pipe to lines, none of them longer than it may be."""

from __future__ import annotations

__all__ = ["LineTooLong", "Lines"]


class LineTooLong(Exception):
    """A line is longer than allowed; nothing more is read from this pipe."""


class Lines:
    """Cuts what comes in pieces into lines; holds no more than one, and a piece."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a piece; return the lines that it completes, without their ends.

        Raises:
            LineTooLong: a line, complete or not, has more than the allowed bytes.
        """
        self._buffer += chunk
        lines: list[bytes] = []
        while (at := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:at])
            del self._buffer[: at + 1]
            self._searched = 0
            self._check(len(line))
            lines.append(line.rstrip(b"\r"))
        self._searched = len(self._buffer)
        self._check(self._searched)
        return lines

    def _check(self, size: int) -> None:
        if size > self._max:
            msg = f"a line has more than {self._max} bytes"
            raise LineTooLong(msg)
