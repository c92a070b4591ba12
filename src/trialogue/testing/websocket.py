"""The server's end of a WebSocket, over any Trio stream.

A thin layer over wsproto rather than a library with tasks of its own: the server must
be able to see a frame that is malformed, to stop in the middle of one, and not to read.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason, XorMaskerSimple
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Binary",
    "Closed",
    "Frame",
    "Malformed",
    "Pinged",
    "Ponged",
    "ServerSocket",
    "Text",
]

MAX_MESSAGE: Final = 32 * 2**20
MAX_HEAD: Final = 64 * 2**10
_CHUNK: Final = 65536
_END: Final = b"\r\n\r\n"
_NEVER_SENT: Final = (CloseReason.ABNORMAL_CLOSURE, CloseReason.TLS_HANDSHAKE_FAILED)
_CLOSE_REASON: Final = 123
_TEXT: Final = 0x81
_PLAIN: Final = (b"\x81", b"\x88", b"\x89", b"\x8a")  # whole: text, close, ping, pong


@attrs.frozen
class Text:
    """A text message."""

    text: str = attrs.field(repr=False)


@attrs.frozen
class Binary:
    """A binary message."""

    size: int


@attrs.frozen
class Pinged:
    """A ping that wants its pong."""

    payload: bytes


@attrs.frozen
class Ponged:
    """A pong."""


@attrs.frozen
class Closed:
    """A close frame; code 1006 where the stream ended without one."""

    code: int
    reason: str = ""


@attrs.frozen
class Malformed:
    """Something that is no WebSocket; nothing can follow it."""

    what: str


Frame: TypeAlias = Text | Binary | Pinged | Ponged | Closed | Malformed


class ServerSocket:
    """Reads and writes whole frames. It does not own the stream.

    One task may read while another writes; writing from two tasks at once is an error.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._ws = WSConnection(ConnectionType.SERVER)
        self._frames: deque[Frame] = deque()
        self._parts: list[str] = []
        self._size = 0
        self._early = b""
        self._plain = True
        self._pending = b""
        self.received = b""
        """What came before the connection was accepted, for who takes it for HTTP."""

    @property
    def open(self) -> bool:
        """Whether frames can still be sent."""
        return self._ws.state is ConnectionState.OPEN

    @property
    def unread(self) -> int:
        """How many frames came that nobody has received."""
        return len(self._frames)

    async def request(self) -> Request | None:
        """Return the upgrade request, or None if what came is none."""
        while _END not in self.received:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except trio.BrokenResourceError:
                return None
            self.received += data
            if not data or len(self.received) > MAX_HEAD:
                return None
        # NB: wsproto forgets what a client sends right behind its request; we keep it.
        head, _, self._early = self.received.partition(_END)
        try:
            self._ws.receive_data(head + _END)
        except RemoteProtocolError:
            return None
        return next((e for e in self._ws.events() if isinstance(e, Request)), None)

    async def accept(self, subprotocol: str | None, seconds: float = 0.0) -> None:
        """Complete the upgrade; to be done before anything is received.

        With `seconds` it takes them, and the answer comes byte by byte.
        """
        answer = self._ws.send(AcceptConnection(subprotocol=subprotocol))
        if seconds:
            for at in range(len(answer)):
                await trio.sleep(seconds / len(answer))
                await self._write(answer[at : at + 1])
        else:
            await self._write(answer)
        if self._early:
            self._feed(self._early)

    async def refuse(self, status: int, body: bytes = b"") -> None:
        """Answer the upgrade with an HTTP status."""
        head = RejectConnection(
            status_code=status,
            headers=[(b"content-length", b"%d" % len(body))],
            has_body=bool(body),
        )
        data = self._ws.send(head)
        if body:
            data += self._ws.send(RejectData(data=body))
        await self._write(data)

    async def receive(self) -> Frame:
        """Return the next frame; after `Closed` and `Malformed` there is none."""
        while not self._frames:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                return Closed(1006)
            self._feed(bytes(data))
        return self._frames.popleft()

    def _feed(self, data: bytes) -> None:
        if self._plain:
            data = self._take_plain(self._pending + data if self._pending else data)
        if data:
            self._feed_wsproto(data)

    def _take_plain(self, data: bytes) -> bytes:
        """Take whole, short texts, which most frames are, without wsproto: it is slow.

        Control frames are wsproto's. So is everything from the first frame on that is
        neither: it is returned, and there is no way back.
        """
        at = 0
        while self.open and (frame := _plain_frame(data, at)) is not None:
            start, end = frame
            if end > len(data):
                self._pending = data[at:]
                return b""
            if data[at] != _TEXT:
                self._feed_wsproto(data[at:end])
            elif (text := _unmasked(data, start, end)) is not None:
                self._frames.append(Text(text))
            else:
                break
            at = end
        self._plain, self._pending = False, b""
        return data[at:]

    def _feed_wsproto(self, data: bytes) -> None:
        try:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._take(event)
        except (RemoteProtocolError, LocalProtocolError) as error:
            self._frames.append(Malformed(str(error)))

    def _take(self, event: Event) -> None:
        match event:
            case TextMessage():
                self._text(event)
            case BytesMessage():
                if event.message_finished:
                    self._frames.append(Binary(len(event.data)))
            case Ping():
                self._frames.append(Pinged(bytes(event.payload)))
            case Pong():
                self._frames.append(Ponged())
            case CloseConnection():
                self._frames.append(self._closing(event))

    def _text(self, event: TextMessage) -> None:
        self._parts.append(event.data)
        self._size += len(event.data)
        if self._size > MAX_MESSAGE:
            self._frames.append(Malformed(f"a message of over {MAX_MESSAGE} bytes"))
        elif event.message_finished:
            self._frames.append(Text("".join(self._parts)))
            self._parts, self._size = [], 0

    def _closing(self, event: CloseConnection) -> Frame:
        # NB: wsproto reports a frame it cannot parse as a close as well; only a real
        # close frame has changed its state by now.
        if self._ws.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            return Malformed(f"{event.code} {event.reason}")
        return Closed(event.code, event.reason or "")

    async def send_text(self, *texts: str) -> None:
        """Send text messages, a frame each, in one piece."""
        if self.open:
            await self._write(b"".join([_text_frame(text.encode()) for text in texts]))

    async def send_ping(self, payload: bytes) -> None:
        """Send a ping."""
        await self._send(Ping(payload=payload))

    async def send_pong(self, payload: bytes) -> None:
        """Answer a ping."""
        await self._send(Pong(payload=payload))

    async def send_close(self, code: int, reason: str = "") -> None:
        """Send a close frame, as the first word or as the answer.

        Any code will do, and 1005 is a frame without one.
        """
        if code in _NEVER_SENT and self.open:
            # NB: wsproto would send 1000 in its place.
            payload = code.to_bytes(2, "big") + reason.encode()[:_CLOSE_REASON]
            self._ws.send(CloseConnection(code=1000))
            await self._write(bytes([0x88, len(payload)]) + payload)
            return
        await self._send(
            CloseConnection(code=code, reason=reason)
            if code != CloseReason.NO_STATUS_RCVD
            else CloseConnection(code=CloseReason.NO_STATUS_RCVD)
        )

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, frames or not, unless closing has begun."""
        if self.open:
            await self._write(data)

    async def send_part(self, text: str, count: int) -> None:
        """Send the first bytes of a text message, and leave it at that."""
        await self._send(TextMessage(data=text), count)

    async def _send(self, event: Event, count: int | None = None) -> None:
        try:
            data = self._ws.send(event)
        except LocalProtocolError:
            return  # closing has begun: there is nothing left to say
        await self._write(data[:count])

    async def _write(self, data: bytes) -> None:
        # The peer may be gone; the reader finds that out, and ends the connection.
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()


def _plain_frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of a frame begins and ends; None if it is not plain.

    A frame of which not even that has come ends behind the data.
    """
    first, second, start = data[at : at + 1], data[at + 1 : at + 2], at + 6
    if not second:
        return (start, len(data) + 1) if first in _PLAIN or not first else None
    size = second[0] - 0x80
    if first not in _PLAIN or size < 0:
        return None
    if size < 126:
        return start, start + size
    if size > 126 or first[0] != _TEXT:
        return None
    if len(data) < at + 4:
        return start, len(data) + 1
    size = int.from_bytes(data[at + 2 : at + 4], "big")
    return (start + 2, start + 2 + size) if size >= 126 else None


def _unmasked(data: bytes, start: int, end: int) -> str | None:
    """Return the text of a payload, or None if it is none."""
    try:
        return _apply_mask(data[start:end], data[start - 4 : start]).decode()
    except UnicodeDecodeError:
        return None


def _in_python(data: bytes, mask: bytes) -> bytes:
    return bytes(XorMaskerSimple(mask).process(bytearray(data)))


def _masker() -> Callable[[bytes, bytes], bytes]:
    """Return the fastest that is installed: in Python it is 1/25 of a busy server."""
    try:
        from websockets.speedups import apply_mask
    except ImportError:
        return _in_python
    return apply_mask


_apply_mask = _masker()


def _text_frame(payload: bytes) -> bytes:
    """Return the frame that wsproto would make: a server's are whole and not masked."""
    size = len(payload)
    if size < 126:
        head = bytes((0x81, size))
    elif size < 2**16:
        head = b"\x81\x7e" + size.to_bytes(2, "big")
    else:
        head = b"\x81\x7f" + size.to_bytes(8, "big")
    return head + payload
