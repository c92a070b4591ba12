"""The local server keeps the rule of back-pressure (protocol §16.64)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from trialogue._codec import b64encode
from trialogue.testing import Pace, Pause, Say, Settings, open_realtime_server
from trialogue.testing.speech import quiet, voice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.testing import Connection, LogEntry

MINUTES = 4
PACE = Pace(burst=1e9, delta_ms=(1000,))


async def deaf_stream(port: int) -> trio.SocketStream:
    """Connect with a receive buffer that is small, and stays small."""
    sock = trio.socket.socket()
    sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", port))
    return trio.SocketStream(sock)


async def send(ws: WebSocketConnection, kind: str, **fields: Any) -> None:
    await ws.send_message(json.dumps({"type": kind, **fields}))


async def test_rule_64_who_does_not_read_is_heard_all_the_same() -> None:
    """Backpressure: a client that stops reading must not block processing of its own
    audio or cancels.

    The sound is more than what sockets hold. Nothing of it is read until the server has
    heard the user, twice been stopped, and cleared its buffer; nothing of it is lost.
    """
    said, heard = trio.Event(), trio.Event()

    def watch(connection: Connection, entries: Sequence[LogEntry]) -> None:
        if connection.counts["out", "response.output_audio.delta"] >= MINUTES * 60:
            said.set()
        if any(entry.type == "input_audio_buffer.cleared" for entry in entries):
            heard.set()

    async with (
        open_realtime_server(
            lambda turn: [Say("a story", ms=MINUTES * 60_000), Pause(3600)],
            port=0,
            settings=Settings(pace=PACE, oddities=False),
            on_entry=watch,
        ) as server,
        await deaf_stream(server.port) as stream,
        trio.open_nursery() as nursery,
    ):
        ws = await wrap_client_stream(
            nursery,
            stream,
            "localhost",
            "/v1/realtime?model=gpt-realtime",
            extra_headers=[(b"authorization", b"Bearer key")],
            message_queue_size=1,
        )
        [connection] = server.connections
        await send(ws, "response.create")
        with trio.fail_after(30):
            await said.wait()
        audio = b64encode(voice("stop", 300) + quiet(300))
        await send(ws, "input_audio_buffer.append", audio=audio)
        await send(ws, "response.cancel")  # the answer to that turn
        await send(ws, "input_audio_buffer.clear")
        with trio.fail_after(30):
            await heard.wait()
        assert [r.reason for r in connection.responses] == [
            "turn_detected",
            "client_cancelled",
        ]
        assert len(connection.committed) == 1
        assert connection.closed is None
        read: list[str] = []
        with trio.fail_after(30):
            while not read or read[-1] != "input_audio_buffer.cleared":
                read.append(json.loads(await ws.get_message())["type"])
        sent = connection.types("out")
        assert read == sent[: sent.index("input_audio_buffer.cleared") + 1]
        await ws.aclose()
        nursery.cancel_scope.cancel()
