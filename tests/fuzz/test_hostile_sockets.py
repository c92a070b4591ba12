"""No client can break the local server over its WebSocket, nor spoil it for others."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import attrs
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import wrap_client_stream

import hostile
from fuzzing import fuzzed
from hostile import Event, Frame, Spoiled, Wait
from hostile_values import NOISE
from trialogue.testing import RealtimeServer, Say

if TYPE_CHECKING:
    import pytest

UPGRADE = (
    b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: localhost\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer key\r\n\r\n"
)
POST = b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: x\r\n"
KEY = [(b"authorization", b"Bearer key")]
HEADS = [
    *(UPGRADE, UPGRADE, UPGRADE, UPGRADE, UPGRADE[:-2], UPGRADE.replace(b"13", b"8")),
    *(b"", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 200),
    *(b"x" * 70_000, UPGRADE.replace(b"gpt", b"\xff"), UPGRADE.replace(b"key", b"")),
    POST + b"Authorization: Bearer k\r\nContent-Length: 2\r\n\r\n{}",
    POST + b"Authorization: Bearer k\r\nContent-Length: -1\r\n\r\n",
    POST + b"Authorization: Bearer k\r\nContent-Length: 99999999999\r\n\r\n{",
    POST + b"Authorization: Bearer k\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    POST + b"Authorization: Bearer k\r\nContent-Length: 400\r\n\r\n" + b"[" * 400,
]
"""How a connection begins; every second one as it should."""


@attrs.frozen
class Bytes:
    """Bytes on the wire, as they are."""

    data: bytes = attrs.field(repr=lambda data: f"{data[:40]!r} ({len(data)})")


def frame(
    opcode: int, payload: bytes, *, last: bool = True, masked: bool = True
) -> bytes:
    """Return a frame as clients send it; the mask is zero."""
    size, mask = len(payload), 128 * masked
    head = bytes([opcode | 128 * last])
    if size < 126:
        head += bytes([size | mask])
    elif size < 2**16:
        head += struct.pack(">BH", 126 | mask, size)
    else:
        head += struct.pack(">BQ", 127 | mask, size)
    return head + bytes(4) * masked + payload


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
WIRE = [
    *(
        frame(PING, b""),
        frame(PING, b"x" * 126),
        frame(PONG, b"late"),
        b"",
        b"\xff" * 9,
    ),
    *(frame(BINARY, b"\0" * 999), frame(BINARY, b"", last=False), frame(0, b"x")),
    *(frame(TEXT, b"{", last=False), frame(TEXT, b"\xff\xfe"), frame(TEXT, b"")),
    *(frame(TEXT, b"{}", masked=False), frame(3, b"x"), frame(TEXT | 64, b"{}")),
    *(frame(CLOSE, b""), frame(CLOSE, b"\x03"), frame(CLOSE, b"\x03\xe8\xff")),
    *(frame(CLOSE, struct.pack(">H", 1000)), frame(CLOSE, struct.pack(">H", 999))),
    frame(TEXT, b"x" * 70_000)[:-1],
    struct.pack(">BBQ", 129, 255, 2**62) + bytes(4),
    frame(TEXT, b'{"type":"response.create"}')[:9],
]
_bytes = st.builds(Bytes, st.sampled_from(WIRE) | st.binary(max_size=40))
_said = st.sampled_from(NOISE).map(Frame)
_steps = st.lists(st.one_of(hostile.step, hostile.step, _said, _bytes), max_size=12)


def spoken(step: Any) -> bytes:
    """Return what a step puts on the wire."""
    match step:
        case Event(data):
            text = json.dumps(hostile.resolved(data, lambda ref: f"a_{ref.kind}"))
        case Spoiled(Event(data)):
            event = hostile.resolved(data, lambda ref: f"a_{ref.kind}")
            text = hostile.written(hostile.spoiled(event, step))
        case Frame(text):
            pass
        case Bytes(data):
            return data
        case _:
            return frame(BINARY, b"\0")
    return frame(TEXT, text.encode("utf-8", "surrogatepass"))


async def hostilely(server: RealtimeServer, head: bytes, steps: list[Any]) -> None:
    """Send all of it, read what comes, and be gone without a word."""
    stream = await server.connect()

    async def read() -> None:
        while await stream.receive_some(65536):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            await stream.send_all(head)
            for step in steps:
                if isinstance(step, Wait):
                    await trio.sleep(step.seconds)
                else:
                    await stream.send_all(spoken(step))
            await trio.sleep(1)
        except trio.BrokenResourceError:
            pass  # it was hung up on
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)


async def decently(server: RealtimeServer) -> list[str]:
    """Ask for a response, and return the types of what came."""
    kinds: list[str] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            stream: Any = await server.connect()
            path = "/v1/realtime?model=gpt-realtime"
            ws = await wrap_client_stream(
                nursery, stream, "localhost", path, extra_headers=KEY
            )
            await ws.send_message('{"type":"response.create"}')
            while "response.done" not in kinds:
                kinds.append(json.loads(await ws.get_message())["type"])
            await ws.aclose()
    return kinds


def test_no_bytes_break_the_server(pytestconfig: pytest.Config) -> None:
    """Meanwhile, and afterwards, others are served as if nothing had happened."""

    @fuzzed(pytestconfig, usually=60, share=0.1)
    @given(st.lists(st.tuples(st.sampled_from(HEADS), _steps), min_size=1, max_size=2))
    def play(clients: list[tuple[bytes, list[Any]]]) -> None:
        async def main() -> None:
            async with (
                RealtimeServer(lambda turn: Say("Hi.")).serving() as server,
                trio.open_nursery() as nursery,
            ):
                for head, steps in clients:
                    nursery.start_soon(hostilely, server, head, steps)
                assert (await decently(server))[-1] == "response.done"
                await trio.sleep(100)
                assert "error" not in await decently(server)
                await trio.sleep(10)
                assert server.live == []

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    play()
