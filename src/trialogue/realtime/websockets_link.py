"""Links by the sans-I/O protocol of `websockets`, and all that knows that package.

The protocol is driven here, on a Trio stream, so that a message costs no task switch:
whoever receives reads the stream itself, as much as has come at once, and takes all the
messages in it. Nothing of websockets' own network code is used.

While nobody receives, a task of the link reads in their place, so that pings are
answered and the end is noticed; it may be a second late where somebody has just
received. It stops at `_MOST_WAITING` messages that nobody takes: then the peer has to
wait, and its pings as well.
"""

# Types are checked with the package, and without: it is an extra's.
# pyright: reportMissingImports=false

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Final, final

import trio
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI
from websockets.version import version

from trialogue.errors import ConnectionLost
from trialogue.realtime.link_engine import CloseFrame, Link, Upgrade
from trialogue.realtime.upgrade import refusal, status_in

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["WebSocketsLink"]

_OLDEST: Final = 15
_MOST_WAITING: Final = 256  # as many as trio-websocket reads ahead
_MOST_AT_ONCE: Final = 32  # messages, until another task gets its turn
_STANDS_IN_AFTER: Final = 1.0  # seconds
_STATUS_LINE_LENGTH: Final = len(b"HTTP/1.1 401")

if int(version.partition(".")[0]) < _OLDEST:
    raise ImportError(f"websockets {version} is too old: {_OLDEST} or later is needed")

# NB: at level DEBUG the protocol would log the request with its key, and the words of
# both sides (X1); a logger that stands alone logs nothing. What passes is told by the
# session's wire log.
_SILENT: Final = logging.Logger("trialogue.realtime.websockets_link", logging.CRITICAL)


@final
class WebSocketsLink(Link):
    """A link that is read by whoever receives, and by a stand-in while nobody does."""

    package = "websockets"
    _stream: trio.abc.Stream
    _protocol: ClientProtocol
    _limit: int

    def __init__(self, host: str) -> None:
        super().__init__(host)
        # What came:
        self._waiting: deque[str] = deque()
        self._size = 0  # characters in them
        self._at_once = 0
        self._partial: bytearray | None = None  # of a message in fragments
        self._partial_is_text = False
        self._over = False  # nothing more can be read
        self._failed = False  # over a message: those behind it do not count
        self._leaving = False  # nobody takes any more messages
        # Who reads:
        self._reading = False
        self._received = False  # since the stand-in last looked
        self._progress: trio.Event | None = None
        self._owing = trio.Event()
        # What goes:
        self._lock = trio.Lock()
        self._out: list[bytes] = []
        self._broken = False  # a send was cut short, by cancellation or a fault
        self._ping_numbers = count(1)
        self._pings: list[bytes] = []  # that are not answered yet, in order

    # --- sending -------------------------------------------------------------

    async def send(self, *texts: str) -> None:
        if self._ended:
            raise self._lost()
        protocol = self._protocol
        for text in texts:
            protocol.send_text(text.encode())
        self._out += protocol.data_to_send()
        await self._flush()

    async def ping(self) -> None:
        if self._ended:
            raise self._lost()
        payload = b"%d" % next(self._ping_numbers)
        self._pings.append(payload)
        try:
            self._protocol.send_ping(payload)
            self._out += self._protocol.data_to_send()
            await self._flush()
            while payload in self._pings:
                if self._over or self._protocol.state is not State.OPEN:
                    raise self._lost()
                await self._advance()
        finally:
            if payload in self._pings:
                self._pings.remove(payload)

    async def _flush(self) -> None:
        """Write what is to be written, behind what is being written.

        Raises:
            ConnectionLost: the stream is broken.
        """
        try:
            self._lock.acquire_nowait()  # the other way is a checkpoint even if free
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            if self._broken:
                raise self._lost()
            out, self._out = self._out, []
            data = out[0] if len(out) == 1 else b"".join(out)
            if data:
                await self._write(data)
        finally:
            self._lock.release()

    async def _write(self, data: bytes) -> None:
        # NB: whatever followed a frame that was cut short would be read as its rest, or
        # refused by TLS. What has come can still be read.
        try:
            await self._stream.send_all(data)
        except Exception as fault:
            self._broken, self._fault = True, fault
            raise self._lost() from fault
        except BaseException:
            self._broken = True
            raise

    # --- receiving -----------------------------------------------------------

    async def receive(self) -> str:
        self._received = True
        if self._waiting and self._at_once < _MOST_AT_ONCE:
            self._at_once += 1
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await self._wait_for_messages()
        return self._take()

    async def receive_many(self) -> Sequence[str]:
        self._received = True
        await self._wait_for_messages()
        if len(self._waiting) > _MOST_AT_ONCE:
            return [self._take() for _ in range(_MOST_AT_ONCE)]
        texts, self._waiting, self._size = self._waiting, deque(), 0
        self._wake()
        return texts

    async def _wait_for_messages(self) -> None:
        """Wait until there is a message; other tasks get their turn."""
        self._at_once = 0
        if self._waiting:
            await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._over or self._protocol.state is not State.OPEN:
                await trio.lowlevel.checkpoint()
                raise self._lost()
            await self._advance()
        self._received = True

    def _take(self) -> str:
        text = self._waiting.popleft()
        self._size -= len(text)
        self._wake()
        return text

    @property
    def _full(self) -> bool:
        return len(self._waiting) >= _MOST_WAITING or self._size >= self._limit

    async def _advance(self) -> None:
        """Read what has come, or wait until whoever reads has done so."""
        if self._reading or self._full:
            if self._progress is None:
                self._progress = trio.Event()
            await self._progress.wait()
            return
        self._reading = True
        try:
            data = await self._stream.receive_some()
        except Exception as fault:
            self._fault = fault
            data = b""
        finally:
            self._reading = False
            self._wake()
        self._feed(data)

    def _wake(self) -> None:
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    def _feed(self, data: bytes | bytearray) -> None:
        protocol = self._protocol
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
            self._over = True
            self._alive.cancel()
        self._digest()

    def _digest(self) -> None:
        """Take what the protocol has made of what came."""
        for event in self._protocol.events_received():
            if isinstance(event, Frame):  # else it is the answer to the upgrade
                if event.opcode is Opcode.TEXT and event.fin:  # as nearly all are
                    self._take_in(event.data, is_text=True)
                else:
                    self._sort(event)
        owed = self._protocol.data_to_send()
        if owed:
            self._out += owed
            self._owing.set()

    def _sort(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self._take_in(frame.data, is_text=opcode is Opcode.TEXT)
            else:
                self._partial = bytearray(frame.data)
                self._partial_is_text = opcode is Opcode.TEXT
        elif opcode is Opcode.CONT:
            whole = self._partial
            assert whole is not None, "the protocol checks the order"
            whole += frame.data
            if frame.fin:
                self._partial = None
                self._take_in(whole, is_text=self._partial_is_text)
        elif opcode is Opcode.PONG:
            payload = bytes(frame.data)
            if payload in self._pings:  # it answers those before it, too
                del self._pings[: self._pings.index(payload) + 1]

    def _take_in(self, data: bytes | bytearray | memoryview, *, is_text: bool) -> None:
        if self._leaving or self._failed:
            return
        try:
            text = str(data, "utf-8", "strict" if is_text else "replace")
        except UnicodeDecodeError:
            self._fail(1007, "a text message that is not UTF-8")
            return
        if len(text) > self._limit:
            limit = f"the limit is {self._limit}"
            self._fail(1009, f"a message of {len(text)} characters: {limit}")
            return
        self._waiting.append(text)
        self._size += len(text)

    def _fail(self, code: int, why: str) -> None:
        """End the link over a message; what came behind it is not looked at."""
        self._failed = True
        self._partial = None
        self._protocol.fail(code, why)

    # --- opening -------------------------------------------------------------

    async def start(
        self, stream: trio.abc.Stream, upgrade: Upgrade, service: trio.Nursery
    ) -> None:
        self._stream = stream
        self._limit = upgrade.max_message_size
        self._protocol = _protocol(upgrade)
        status = None
        garbled = False
        try:
            await stream.send_all(_request(upgrade, self._protocol))
            head = b""
            while self._protocol.state is State.CONNECTING and not garbled:
                data = await stream.receive_some()
                if len(head) < _STATUS_LINE_LENGTH:
                    head += bytes(data[:_STATUS_LINE_LENGTH])
                    status = status_in(head)
                if not data or (status or 0) >= HTTPStatus.OK:
                    break  # refused: the rest may take its time, or never come
                self._protocol.receive_data(data)
                garbled = self._protocol.handshake_exc is not None
        except Exception as fault:
            raise refusal(self._host, status, garbled=False) from fault
        if garbled or self._protocol.state is State.CONNECTING:
            raise refusal(self._host, status, garbled=garbled)
        self._opened = True
        self._digest()  # frames may have come with the answer, the last one among them
        service.start_soon(self._stand_in)

    async def _stand_in(self) -> None:
        """Send what the protocol owes; read while nobody receives."""
        while not self._over:
            if self._owing.is_set():
                self._owing = trio.Event()
                with suppress(ConnectionLost):  # what has come can still be read
                    await self._flush()
            elif self._received:
                self._received = False
                with trio.move_on_after(_STANDS_IN_AFTER):
                    await self._owing.wait()
            else:
                await self._advance()

    # --- the end -------------------------------------------------------------

    async def _close(self) -> None:
        protocol = self._protocol
        if self._closed_here:
            self._leaving = True
            self._waiting.clear()
            self._size = 0
            protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._out += protocol.data_to_send()
        with suppress(ConnectionLost):
            await self._flush()  # this end's Close, or the answer to the peer's
            while self._closed_here and not self._over and protocol.close_rcvd is None:
                await self._advance()

    @property
    def _ended(self) -> bool:
        return self._broken or self._over or self._protocol.state is not State.OPEN

    @property
    def _close_frame(self) -> CloseFrame | None:
        protocol = self._protocol
        frame = protocol.close_rcvd
        if frame is None and not self._closed_here:
            frame = protocol.close_sent
        if frame is None or not self._opened:
            return None
        return CloseFrame(int(frame.code), frame.reason or None)


def _protocol(upgrade: Upgrade) -> ClientProtocol:
    return ClientProtocol(
        WebSocketURI(secure=False, host=upgrade.host, port=80, path="", query=""),
        subprotocols=[Subprotocol(name) for name in upgrade.subprotocols] or None,
        # It counts bytes, of which a character has up to four.
        max_size=4 * upgrade.max_message_size,
        logger=_SILENT,
    )


def _request(upgrade: Upgrade, protocol: ClientProtocol) -> bytes:
    """The upgrade request.

    It is written here because websockets would have the Host header as its own URL
    has it, and other headers as UTF-8. It has no extension: compression costs more
    than sending sound as it is.
    """
    given = [
        (name, value.encode("ascii"))
        for name, value in protocol.connect().headers.raw_items()
        if name != "Host"
    ]
    fields = [
        (b"Host", upgrade.host.encode("ascii")),
        *((name.encode("ascii"), value) for name, value in given),
        *upgrade.headers,
    ]
    lines = [b"GET %s HTTP/1.1" % upgrade.resource.encode("ascii")]
    lines += [b"%s: %s" % field for field in fields]
    return b"\r\n".join([*lines, b"", b""])
