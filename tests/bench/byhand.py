"""What a session does, by hand: configure, ask for a reply, take its sound."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from bench.raw import b64decode, b64encode, loads, open_raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bench.raw import RawLink

__all__ = ["INSTRUCTIONS", "append", "configured", "raw_spoken", "url_of"]

INSTRUCTIONS = "You are here to be measured. Speak until you are told otherwise."

UPDATE = json.dumps(
    {
        "type": "session.update",
        "session": {"type": "realtime", "instructions": INSTRUCTIONS, "tools": []},
    }
)
CREATE = '{"type":"response.create"}'
PATIENCE = 10.0


def url_of(port: int) -> str:
    """Where a server of ours is."""
    return f"ws://127.0.0.1:{port}/v1/realtime"


@asynccontextmanager
async def configured(
    port: int, plan: str, *, engine: str | None = None
) -> AsyncIterator[RawLink]:
    """Open a link whose session has its configuration."""
    async with open_raw(f"{url_of(port)}?model={plan}", engine=engine) as link:
        await _until(link, "session.created")
        await link.send(UPDATE)
        await _until(link, "session.updated")
        yield link


async def _until(link: RawLink, kind: str) -> None:
    with trio.fail_after(PATIENCE):
        while kind not in [loads(text)["type"] for text in await link.received()]:
            pass


async def raw_spoken(link: RawLink, on_audio: Callable[[bytes], Any]) -> None:
    """Ask for a reply and take its sound."""
    await link.send(CREATE)
    while True:
        for text in await link.received():
            event = loads(text)
            kind = event["type"]
            if kind == "response.output_audio.delta":
                on_audio(b64decode(event["delta"]))
            elif kind == "response.done":
                return


def append(pcm: bytes) -> str:
    """Return a frame of the microphone."""
    return f'{{"type":"input_audio_buffer.append","audio":"{b64encode(pcm)}"}}'
