"""The two servers that `serving` compares: the local server, and next to nothing.

``raw`` is a Trio server that does no more than any server must: it reads WebSocket
frames through wsproto, their JSON and the base64 of their audio, and when it is asked
for a reply it sends the events that the local server sent, when that would send them,
from audio and objects that lie ready. What is due at the same time goes out in one
piece.

Both have the garbage collector as `python -m trialogue serve` does.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.load import REPLY_S, THINK_S
from bench.sender import written
from trialogue._codec import b64decode, b64encode, dumps, loads
from trialogue.testing import Pace, Say, Settings, Turn
from trialogue.testing.serve import collecting_rarely, serve

TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom."
PACE = Pace(burst=1, delta_ms=(100,), think_ms=THINK_S * 1000, rate_limits_ms=None)


def brain(turn: Turn) -> Say:
    return Say(TEXT, ms=round(REPLY_S * 1000))


async def served() -> None:
    """The local server, as `python -m trialogue serve` has it."""
    async with trio.open_nursery() as nursery:
        settings = Settings(pace=PACE)
        server = await nursery.start(partial(serve, brain=brain, settings=settings))
        print(server.port, flush=True)


async def raw(recorded: Path) -> None:
    """Next to nothing."""
    script: dict[str, Any] = json.loads(await trio.Path(recorded).read_text())
    greeting = b"".join(_frame(event, None) for event in script["greeting"])
    steps = [
        (at, [(event, _sound(event)) for event in events])
        for at, events in script["steps"]
    ]
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(partial(_talk, greeting, steps), listeners)


Event = dict[str, Any]


def _sound(event: Event) -> bytes | None:
    """Return what a frame of audio says."""
    if event["type"] != "response.output_audio.delta":
        return None
    return b64decode(event["delta"])


def _frame(event: Event, sound: bytes | None) -> bytes:
    if sound is not None:
        event = {**event, "delta": b64encode(sound)}
    return written(dumps(event).encode())


async def _talk(
    greeting: bytes,
    steps: list[tuple[float, list[tuple[Event, bytes | None]]]],
    stream: trio.SocketStream,
) -> None:
    ws = WSConnection(ConnectionType.SERVER)
    asked = trio.Event()

    async def reply() -> None:
        nonlocal asked
        while True:
            await asked.wait()
            asked = trio.Event()
            began = trio.current_time()
            for at, events in steps:
                if began + at > trio.current_time():
                    await trio.sleep_until(began + at)
                frames = [_frame(event, sound) for event, sound in events]
                await stream.send_all(b"".join(frames))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reply)
            parts: list[str] = []
            async for data in stream:
                ws.receive_data(bytes(data))
                for event in ws.events():
                    match event:
                        case Request():
                            answer = ws.send(AcceptConnection())
                            await stream.send_all(answer + greeting)
                        case TextMessage():
                            parts.append(event.data)
                            if event.message_finished:
                                read = loads("".join(parts))
                                parts.clear()
                                if read["type"] == "response.create":
                                    asked.set()
                                else:
                                    b64decode(read["audio"])
                        case CloseConnection():
                            break
            nursery.cancel_scope.cancel()
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


if __name__ == "__main__":
    with collecting_rarely():
        if sys.argv[1:] == ["serve"]:
            trio.run(served)
        else:
            trio.run(raw, Path(sys.argv[2]))
