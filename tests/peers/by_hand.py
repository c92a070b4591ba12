"""The exchange of messages by hand, for the contestants that are no library.

`Wire` is one WebSocket that sends and receives JSON. What goes over it is what a
program would send that knows the protocol, and wants one thing: the next agent's reply
as soon as the network allows.
"""

from __future__ import annotations

import base64
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from peers.cast import AFTER, BEFORE, HAND_OVER, HERE_I_AM, MODES, STILL_ME, TURNS
from peers.driving import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from peers.driving import Heard, Loop

__all__ = ["Wire", "stage_of"]

CREATE = {"type": "response.create"}
TOOL = {
    "type": "function",
    "name": "hand_over",
    "description": "Hand over.",
    "parameters": {"type": "object", "properties": {}},
}


class Wire(Protocol):
    """An open WebSocket."""

    async def send(self, event: dict[str, Any]) -> None: ...

    async def receive(self) -> dict[str, Any]: ...


Dialled: TypeAlias = AbstractAsyncContextManager[Wire]


class ByHand:
    """A session: it reads, looks at the type, and decodes what is sound."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def reply(self, heard: Heard) -> None:
        wire = self._wire
        await wire.send(CREATE)
        while True:
            event = await wire.receive()
            kind = event["type"]
            if kind == "response.output_audio.delta":
                heard(base64.b64decode(event["delta"]))
            elif kind == "response.done":
                return

    async def push(self, pcm: bytes) -> None:
        audio = base64.b64encode(pcm).decode("ascii")
        await self._wire.send({"type": "input_audio_buffer.append", "audio": audio})


def message(role: str, text: str, number: int) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    item = {
        "id": f"mine_{number}",
        "type": "message",
        "role": role,
        "content": [{"type": kind, "text": text}],
    }
    return {"type": "conversation.item.create", "item": item}


def conversation() -> list[dict[str, Any]]:
    """Return what creates the conversation so far."""
    return [
        message(role, f"This is {what} {turn}.", 2 * turn + at)
        for turn in range(TURNS)
        for at, (role, what) in enumerate(
            (("user", "question"), ("assistant", "answer"))
        )
    ]


def update(instructions: str) -> dict[str, Any]:
    session = {
        "type": "realtime",
        "instructions": instructions,
        "tools": [TOOL],
        "output_modalities": ["text"],
    }
    return {"type": "session.update", "session": session}


async def words(wire: Wire) -> tuple[str, dict[str, Any]]:
    """Read a reply; return its words and its item."""
    said = ""
    while True:
        event = await wire.receive()
        if event["type"] == "response.output_text.delta":
            said += event["delta"]
        elif event["type"] == "response.done":
            return said, event["response"]["output"][0]


async def take_over(wire: Wire) -> bool:
    """Ask the next agent for its reply; whether words were heard."""
    await wire.send(CREATE)
    said, _ = await words(wire)
    return said in {HERE_I_AM, STILL_ME}


def stage_of(loop: Loop, dial: Callable[[str], Dialled]) -> Stage:
    """Return how everything is done over wires that are dialled like this."""

    @asynccontextmanager
    async def open_session(url: str) -> AsyncIterator[ByHand]:
        async with dial(url) as wire:
            await wire.receive()
            yield ByHand(wire)

    async def handoff(url: str, mode: str) -> bool:
        turns = conversation()
        async with dial(url) as wire:
            for event in (update(BEFORE), *turns, message("user", HAND_OVER, 99)):
                await wire.send(event)
            await wire.send(CREATE)
            _, call = await words(wire)
            item = {"type": "function_call_output", "call_id": call["call_id"]}
            output = {
                "type": "conversation.item.create",
                "item": {**item, "output": "transferred"},
            }
            if mode == "reuse copied":
                await wire.send(update(AFTER))
                await wire.send(output)
                return await take_over(wire)
            if mode == "reuse empty":
                await wire.send(update(AFTER))
                mine = [f"mine_{number}" for number in (*range(2 * TURNS), 99)]
                for item_id in (*mine, call["id"]):
                    delete = {"type": "conversation.item.delete", "item_id": item_id}
                    await wire.send(delete)
                return await take_over(wire)
            # The old connection is closed behind it.
            async with dial(url) as fresh:
                await fresh.send(update(AFTER))
                if mode == "fresh copied":
                    for event in (*turns, message("user", HAND_OVER, 99)):
                        await fresh.send(event)
                    await fresh.send({"type": "conversation.item.create", "item": call})
                    await fresh.send(output)
                return await take_over(fresh)

    return Stage(loop, open_session, handoff, MODES)
