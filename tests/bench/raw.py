"""The floor: the same work by hand on the same engine, without the library.

A raw link has two methods. `send` sends text messages, in one piece where the engine
can do that; `received` waits for messages and returns those that are at hand.
Everything that the library does beyond that is left out: no types, no checks, no
record, no requests, no bounds.

`engine_in_use` asks the library on which engine it stands: the one place to change when
there is another one. Nothing else here imports the library, so that the memory of a
process can be compared.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "EXTRA",
    "RAW",
    "RawLink",
    "b64decode",
    "b64encode",
    "engine_in_use",
    "loads",
    "open_raw",
    "versions",
]

Text: TypeAlias = "str | bytes | bytearray"

_QUEUE = 256
_MOST = 16 * 2**20
_READ = 65536
HEADERS = (("Authorization", "Bearer local"),)


class RawLink(Protocol):
    """An open connection."""

    async def send(self, *texts: str) -> None: ...

    async def received(self) -> Sequence[Text]: ...


# --- the codec: what `_codec` takes, called without it --------------------------------


def _codec() -> tuple[Callable[[Any], Any], Callable[[Any], bytes], Any]:
    if importlib.util.find_spec("orjson") and importlib.util.find_spec("pybase64"):
        import orjson
        import pybase64

        def fast(text: str) -> bytes:
            return pybase64.b64decode(text, validate=True)

        return orjson.loads, fast, pybase64.b64encode_as_string
    import binascii
    import json

    def decode(text: str) -> bytes:
        return binascii.a2b_base64(text, strict_mode=True)

    def encode(data: bytes) -> str:
        return binascii.b2a_base64(data, newline=False).decode("ascii")

    return json.loads, decode, encode


loads, b64decode, b64encode = _codec()


# --- trio-websocket, tuned as link.py tunes it ----------------------------------------


class _TrioWebsocket:
    def __init__(self, ws: Any) -> None:
        self._ws = ws

    async def send(self, *texts: str) -> None:
        for text in texts:
            await self._ws.send_message(text)

    async def received(self) -> Sequence[Text]:
        return (await self._ws.get_message(),)


@asynccontextmanager
async def _trio_websocket(host: str, port: int, path: str) -> AsyncIterator[RawLink]:
    from trio_websocket import wrap_client_stream

    async with (
        await trio.open_tcp_stream(host, port) as stream,
        trio.open_nursery() as nursery,
    ):
        ws = await wrap_client_stream(
            *(nursery, stream, f"{host}:{port}", path),
            extra_headers=[(name.encode(), value.encode()) for name, value in HEADERS],
            message_queue_size=_QUEUE,
            receive_buffer_size=None,
            max_message_size=_MOST,
        )
        yield _TrioWebsocket(ws)
        with trio.move_on_after(1):
            await ws.aclose()
        nursery.cancel_scope.cancel()


# --- the sans-I/O protocol of websockets on a Trio stream -----------------------------


class _Websockets:
    def __init__(self, stream: trio.SocketStream, protocol: Any) -> None:
        self._stream, self._protocol = stream, protocol
        self._sending = trio.Lock()  # the microphone and who asks for a reply

    async def send(self, *texts: str) -> None:
        for text in texts:
            self._protocol.send_text(text.encode())
        await self.flush()

    async def flush(self) -> None:
        async with self._sending:
            await self._stream.send_all(b"".join(self._protocol.data_to_send()))

    async def received(self) -> Sequence[Text]:
        while True:
            # All messages here are whole: no server of ours sends fragments.
            messages = [frame.data for frame in await self.events()]
            if messages:
                return messages

    async def events(self) -> Any:
        data = await self._stream.receive_some(_READ)
        if not data:
            raise trio.EndOfChannel
        self._protocol.receive_data(data)
        return self._protocol.events_received()


@asynccontextmanager
async def _websockets(host: str, port: int, path: str) -> AsyncIterator[RawLink]:
    # By name: type checkers need not have it, as it is optional.
    client: Any = importlib.import_module("websockets.client")
    parse_uri = importlib.import_module("websockets.uri").parse_uri

    async with await trio.open_tcp_stream(host, port) as stream:
        uri = parse_uri(f"ws://{host}:{port}{path}")
        protocol = client.ClientProtocol(uri, max_size=_MOST)
        raw = _Websockets(stream, protocol)
        request = protocol.connect()
        for name, value in HEADERS:
            request.headers[name] = value
        protocol.send_request(request)
        await raw.flush()
        first: list[Any] = []
        while not first:
            first = list(await raw.events())
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc
        yield _Early(raw, [frame.data for frame in first[1:]]) if first[1:] else raw
        protocol.send_close(1000)
        with trio.move_on_after(1):
            await raw.flush()


class _Early:
    """Messages that came with the answer to the upgrade, then the rest."""

    def __init__(self, raw: _Websockets, early: list[Text]) -> None:
        self._raw, self._early = raw, early
        self.send = raw.send

    async def received(self) -> Sequence[Text]:
        early, self._early = self._early, []
        return early or await self._raw.received()


# --- which of them --------------------------------------------------------------------

RAW: dict[str, Callable[[str, int, str], AbstractAsyncContextManager[RawLink]]] = {
    "trio-websocket": _trio_websocket,
    "websockets": _websockets,
}


@cache
def engine_in_use() -> str:
    """Return what the library's links are made of: the name of the package."""
    from trialogue.realtime import link

    engine: str = getattr(link, "ENGINE", "trio-websocket")
    return engine


EXTRA = "fast" if importlib.util.find_spec("orjson") else "plain"
"""How trialogue is installed here: with its extra `fast`, or without."""


def open_raw(
    url: str, *, engine: str | None = None
) -> AbstractAsyncContextManager[RawLink]:
    """Open a raw link to a `ws://` URL, on the engine that the library uses."""
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}"
    return RAW[engine or engine_in_use()](parts.hostname or "", parts.port or 80, path)


def versions() -> dict[str, str]:
    """Return what is installed of that of which times depend on."""
    found = {}
    for name in ("trio", engine_in_use(), "orjson", "pybase64", "attrs", "cattrs"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
