"""The server's end of a WebSocket reads frames alike, however they are cut."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, TextMessage

from trialogue.testing.websocket import (
    Binary,
    Closed,
    Frame,
    Malformed,
    Pinged,
    Ponged,
    ServerSocket,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
MASK = b"\x11\x82\xf3\x04"


def frame(first: int, payload: bytes, *, size: bytes | None = None) -> bytes:
    """Return a masked frame; `size` replaces the bytes of its length."""
    if size is None:
        count = len(payload)
        size = (
            bytes([128 | count])
            if count < 126
            else struct.pack(">BH", 254, count)
            if count < 2**16
            else struct.pack(">BQ", 255, count)
        )
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([first]) + size + MASK + masked


TEXTS = ["", "short", "ä" * 90, "x" * 125, "x" * 126, "y" * 65535, "z" * 65536]
CONVERSATION: list[tuple[bytes, Sequence[Frame]]] = [
    *[(frame(0x81, text.encode()), [Text(text)]) for text in TEXTS[:6]],
    (frame(0x89, b"ping"), [Pinged(b"ping")]),
    (frame(0x8A, b"pong"), [Ponged()]),
    (frame(0x81, b"between"), [Text("between")]),
    (frame(0x01, b"in ") + frame(0x89, b"") + frame(0x80, b"two"), [Pinged(b"")]),
    (b"", [Text("in two")]),
    (frame(0x82, b"12"), [Binary(2)]),
    (frame(0x81, TEXTS[6].encode()), [Text(TEXTS[6])]),
    (frame(0x81, b"last"), [Text("last")]),
    (frame(0x88, struct.pack(">H", 1000) + b"bye"), [Closed(1000, "bye")]),
]
"""What a client sends, and how it is read."""


async def read(data: bytes, cuts: list[int]) -> list[Frame]:
    """Return the frames of what comes in pieces, up to the end."""
    client, server = trio.testing.memory_stream_pair()
    socket, found = ServerSocket(server), list[Frame]()
    await client.send_all(UPGRADE)
    assert await socket.request() is not None
    await socket.accept(None)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                    await client.send_all(data[begin:end])
                    await trio.testing.wait_all_tasks_blocked()
                await client.aclose()

            nursery.start_soon(send)
            while not found or not isinstance(found[-1], (Closed, Malformed)):
                found.append(await socket.receive())
    return found


@pytest.mark.parametrize("step", [1_000_000, 65_536, 7_001, 997])
async def test_frames_are_read_alike_however_they_are_cut(step: int) -> None:
    """Plain ones and others, in one piece and in many."""
    data = b"".join(sent for sent, _ in CONVERSATION)
    cuts = list(range(step, len(data), step))

    frames = await read(data, cuts)

    assert frames == [one for _, read in CONVERSATION for one in read]


async def test_a_head_is_read_wherever_it_is_cut() -> None:
    """Byte by byte, so that no part of a length or a mask is at hand with another."""
    data = frame(0x81, b"x" * 200) + frame(0x81, b"y") + frame(0x89, b"z")

    assert await read(data, list(range(1, len(data)))) == [
        *(Text("x" * 200), Text("y"), Pinged(b"z"), Closed(1006))
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        frame(0x81, b"\xff"),
        frame(0x81, b"\xed\xa0\x80"),
        frame(0xC1, b"{}"),
        frame(0x83, b""),
        frame(0x80, b"of nothing"),
        frame(0x81, b"short", size=struct.pack(">BH", 254, 5)),
        frame(0x89, b"x" * 126),
        b"\x81\x02{}",
        frame(0x81, b"", size=struct.pack(">BQ", 255, 2**63)),
    ],
)
async def test_what_is_no_frame_is_malformed(wrong: bytes) -> None:
    """What came before it was read; nothing follows it."""
    data = frame(0x81, b"before") + wrong + frame(0x81, b"behind")

    before, end = await read(data, [])

    assert before == Text("before")
    assert isinstance(end, Malformed)


@pytest.mark.parametrize("text", TEXTS)
async def test_texts_are_written_as_wsproto_writes_them(text: str) -> None:
    client, server = trio.testing.memory_stream_pair()
    socket = ServerSocket(server)
    await client.send_all(UPGRADE)
    await socket.request()
    await socket.accept(None)
    await client.receive_some()
    other = WSConnection(ConnectionType.SERVER)
    other.receive_data(UPGRADE)
    assert len(list(other.events())) == 1
    other.send(AcceptConnection())
    await socket.send_text(text, "and more")
    written = other.send(TextMessage(data=text)) + other.send(
        TextMessage(data="and more")
    )

    assert await client.receive_some() == written
