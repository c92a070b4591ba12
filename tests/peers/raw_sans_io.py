"""The sans-I/O protocol of `websockets` on a Trio stream, orjson, by hand."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import sys
from collections import deque
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from peers import trio_loop
from peers.by_hand import stage_of
from peers.driving import main, versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READ = 65536


class Wire:
    """A protocol, and the stream that carries it. One task reads, any may write."""

    def __init__(self, stream: trio.SocketStream, protocol: ClientProtocol) -> None:
        self._stream = stream
        self._protocol = protocol
        self._ready: deque[bytes] = deque()
        self._sending = trio.Lock()

    async def flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if not data:
            return
        try:
            self._sending.acquire_nowait()  # as a rule: it is no checkpoint
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            await self._stream.send_all(data)
        finally:
            self._sending.release()

    async def read(self) -> None:
        """Wait for data; keep the text that came, whole: nobody here fragments."""
        self._protocol.receive_data(bytes(await self._stream.receive_some(READ)))
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._ready.append(bytes(event.data))
        await self.flush()

    async def send(self, event: dict[str, Any]) -> None:
        self._protocol.send_text(orjson.dumps(event))
        await self.flush()

    async def receive(self) -> Any:
        while not self._ready:
            await self.read()
        return orjson.loads(self._ready.popleft())


@asynccontextmanager
async def dial(url: str) -> AsyncIterator[Wire]:
    address = f"{url}?model=gpt-realtime"
    where = urlsplit(address)
    assert where.hostname is not None
    assert where.port is not None
    async with await trio.open_tcp_stream(where.hostname, where.port) as stream:
        protocol = ClientProtocol(parse_uri(address))
        wire = Wire(stream, protocol)
        protocol.send_request(protocol.connect())
        await wire.flush()
        while protocol.state.name == "CONNECTING":
            await wire.read()
        yield wire


if __name__ == "__main__":
    main(stage_of(trio_loop, dial), lambda: versions("trio", "websockets", "orjson"))
