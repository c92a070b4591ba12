"""A program on the `openai` package. Its handoff is a `session.update` of its own.

Usage: openai_client.py URL MODALITY FOLDER, as `run.py` starts it.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - the package's realtime client is made for it
import json
import sys
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from interop.cast import (
    ANSWER,
    ASK_ORDER,
    DESK,
    GREETING,
    LISTENS,
    LOOK_UP,
    ORDERS,
    REFUNDS,
    STORY,
    TRANSFER,
    WANT_MONEY,
)
from interop.microphone import Microphone

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": LOOK_UP,
        "description": "Say where an order is.",
        "parameters": {
            "type": "object",
            "properties": {"order": {"type": "integer"}},
            "required": ["order"],
        },
    },
    {
        "type": "function",
        "name": TRANSFER,
        "description": "Transfer to whoever gives money back.",
        "parameters": {"type": "object", "properties": {}},
    },
]


class Program:
    """The caller, the two agents and their tools, on one connection."""

    def __init__(self, connection: Any, modality: str, microphone: Microphone) -> None:
        self.connection = connection
        self.modality = modality
        self.microphone = microphone
        self.heard = 0
        """Bytes of the voice that is heard."""
        self.story = ""
        """The item that is told, and interrupted."""

    async def talk(self) -> None:
        """Ask, be answered, ask for the money, be handed over and greeted."""
        await self.configure(DESK, TOOLS)
        await self.say(STORY if self.modality == "audio" else ASK_ORDER)
        async for event in self.connection:
            match event.type:
                case "error":
                    sys.exit(f"the server answered an error: {event.error.message}")
                case "response.output_audio.delta":
                    self.heard += len(event.delta) * 3 // 4
                    if not self.story:
                        self.story = event.item_id
                        loop = asyncio.get_running_loop()
                        loop.call_later(LISTENS, self.microphone.say, ASK_ORDER)
                case "input_audio_buffer.speech_started" if self.story and self.heard:
                    await self.cut()
                case "response.output_text.done":
                    if await self.hears(event.text):
                        return
                case "response.output_audio_transcript.done":
                    if await self.hears(event.transcript):
                        return
                case "response.function_call_arguments.done":
                    print(f"call: {event.name}({event.arguments})")
                case "response.done":
                    for item in event.response.output or ():
                        if item.type == "function_call":
                            await self.call(item)
        sys.exit("the connection ended before the second agent had spoken")

    async def configure(self, instructions: str, tools: list[dict[str, Any]]) -> None:
        """Have another agent speak from now on."""
        session: dict[str, Any] = {
            "type": "realtime",
            "output_modalities": [self.modality],
            "instructions": instructions,
            "tools": tools,
        }
        await self.connection.session.update(session=session)

    async def say(self, sentence: str) -> None:
        """Write, or speak and leave it to the server to find the turn's end."""
        if self.modality == "audio":
            self.microphone.say(sentence)
            return
        content = [{"type": "input_text", "text": sentence}]
        item = {"type": "message", "role": "user", "content": content}
        await self.connection.conversation.item.create(item=item)
        await self.connection.response.create()

    async def cut(self) -> None:
        """Stop the loudspeaker, and say how much of the item it has played."""
        played = min(self.heard // 48, int(LISTENS * 1000))
        self.heard = 0
        print(f"interrupted after {played} ms")
        await self.connection.conversation.item.truncate(
            item_id=self.story, content_index=0, audio_end_ms=played
        )

    async def hears(self, words: str) -> bool:
        """Go on with the conversation; return whether it is over."""
        print(f"heard: {words}")
        if words == ANSWER:
            self.heard = 0
            await self.say(WANT_MONEY)
        return words == GREETING

    async def call(self, item: Any) -> None:
        """Run a tool, or hand over, and have the model go on."""
        if item.name == LOOK_UP:
            output = ORDERS[json.loads(item.arguments)["order"]]
        elif item.name == TRANSFER:
            await self.configure(REFUNDS, [])
            output = "You have taken over."
        else:
            sys.exit(f"there is no tool {item.name}")
        answer = {
            "type": "function_call_output",
            "call_id": item.call_id,
            "output": output,
        }
        await self.connection.conversation.item.create(item=answer)
        await self.connection.response.create()


async def listen(connection: Any, microphone: Microphone) -> None:
    """Send what the microphone hears."""
    import base64

    while True:
        audio = base64.b64encode(await microphone.read()).decode()
        await connection.input_audio_buffer.append(audio=audio)


async def main(url: str, modality: str, folder: Path) -> None:
    """Connect, and hold the conversation."""
    base = url.removesuffix("/realtime")
    client = AsyncOpenAI(api_key="local", websocket_base_url=base)
    microphone = Microphone(folder)
    async with client.realtime.connect(model="gpt-realtime") as connection:
        program = Program(connection, modality, microphone)
        microphoning = asyncio.create_task(
            listen(connection, microphone) if modality == "audio" else asyncio.sleep(0)
        )
        try:
            await program.talk()
        finally:
            microphoning.cancel()
    if modality == "audio" and not program.heard:
        sys.exit("the second agent was read, but not heard")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
