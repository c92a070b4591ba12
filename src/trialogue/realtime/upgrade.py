"""The HTTP side of opening a link: the request's headers, and how it was refused.

Header values and the text of a refusal stay out of every message: the first hold the
key, and providers quote it in the second.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from http.client import responses
from typing import TYPE_CHECKING, final

import trio

from trialogue.errors import ConfigurationError, ConnectionLost, ConnectRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

__all__ = ["Tap", "checked_headers", "checked_subprotocols", "refusal", "status_in"]

# RFC 9110 §5.1 and §5.5
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = r"[\x21-\x7e\x80-\xff]"
_VALUE = re.compile(rf"(?:{_VISIBLE}(?:[\t\x20-\x7e\x80-\xff]*{_VISIBLE})?)?")
_RESERVED = re.compile(
    r"host|connection|upgrade|content-length|transfer-encoding|sec-websocket-.*",
    re.IGNORECASE,
)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)")
_STATUS_LINE_LENGTH = len(b"HTTP/1.1 401")


def checked_headers(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Encode request headers.

    Raises:
        ConfigurationError: HTTP does not allow one of them, or the handshake itself
            sets it. The value is not quoted.
    """
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError("a request header's name is not allowed in HTTP")
        if _RESERVED.fullmatch(name):
            raise ConfigurationError(
                f"the header {name} is set by the handshake itself"
            )
        if not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"the value of the header {name} has a character that HTTP does not "
                "allow; is there a newline or a space at its end?"
            )
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]


def checked_subprotocols(subprotocols: Sequence[str]) -> list[str]:
    """Check the names of subprotocols, which some providers use to carry a token.

    Raises:
        ConfigurationError: HTTP does not allow one of them. It is not quoted.
    """
    for number, name in enumerate(subprotocols, start=1):
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError(
                f"subprotocol {number} has a character that HTTP does not allow"
            )
    return list(subprotocols)


def refusal(host: str, status: int | None, *, garbled: bool) -> ConnectionLost:
    """Why a handshake failed, as an error that says whether to try again.

    Args:
        status: of the HTTP answer, or None if there was none.
        garbled: an answer came that is no WebSocket handshake.
    """
    if status is None or status < 200:
        if not garbled:
            return ConnectionLost(f"{host} hung up during the handshake")
        message = f"{host} does not answer like a WebSocket server; check the URL"
        return ConnectRefused(message, status=status)
    said = f"HTTP {status} {responses.get(status, '')}".rstrip()
    if status in (408, 425, 429) or status >= 500:
        message = f"{host} answered {said}; it may accept the connection later"
        return ConnectionLost(message, reason=said)
    message = f"{host} answered {said}; check the key, the model and the URL"
    return ConnectRefused(message, reason=said, status=status)


def status_in(head: bytes | bytearray) -> int | None:
    """The HTTP status that an answer begins with, or None."""
    found = _STATUS_LINE.match(head)
    return None if found is None else int(found[1])


@final
class Tap(trio.abc.Stream):
    """The stream of a link, watched: for trio-websocket.

    `on_end` is called when the stream can no longer be read or written: trio-websocket
    does not report that during the handshake. `status` is the HTTP status: it does not
    report a refusal whose body has no length either. And a send that was cut short, by
    cancellation or a fault, is the last one: whatever followed would be read as the
    rest of the cut frame, or refused by TLS.
    """

    def __init__(self, stream: trio.abc.Stream, *, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end = on_end
        self._head = b""
        self._cut = False
        self._held: bytearray | None = None

    def __repr__(self) -> str:
        return f"<Tap {'cut' if self._cut else 'whole'} of {self._stream!r}>"

    @property
    def status(self) -> int | None:
        """The HTTP status that the peer answered with, or None."""
        return status_in(self._head)

    @asynccontextmanager
    async def gathered(self) -> AsyncIterator[None]:
        """Hold back what is sent in this block, and send it in one piece at its end."""
        assert self._held is None, "one task sends, and one block at a time"
        self._held = bytearray()
        try:
            yield
        except Exception:
            self._held = None  # the connection is over
            raise
        except BaseException:  # cancelled: what was held back is missing for good
            self._cut = self._cut or bool(self._held)
            self._held = None
            raise
        held, self._held = self._held, None
        if held and not self._cut:
            await self.send_all(held)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._cut:
            raise trio.BrokenResourceError("an earlier send was cut short")
        if self._held is not None:
            self._held += data
            return
        try:
            await self._stream.send_all(data)
        except BaseException:
            self._cut = True
            self._on_end()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._on_end()
            raise
        if not data:
            self._on_end()
        elif len(self._head) < _STATUS_LINE_LENGTH:
            self._head += data[:_STATUS_LINE_LENGTH]
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()
