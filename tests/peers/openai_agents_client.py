"""openai-agents: a `RealtimeSession` of `RealtimeRunner`, with its default settings."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.realtime import RealtimeAgent, RealtimeRunner

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from peers import asyncio_loop
from peers.cast import AFTER, BEFORE, HAND_OVER, HERE_I_AM, MODES, STILL_ME
from peers.driving import Stage, main, versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from peers.driving import Heard


class Theirs:
    """A session that is open; whoever iterates over it is told all that happens."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def reply(self, heard: Heard) -> None:
        await self._session.send_message("Speak.")
        async for event in self._session:
            match event.type:
                case "audio":
                    heard(event.audio.data)
                case "agent_end":
                    return
                case "error":
                    sys.exit(f"the session reports an error: {event.error}")

    async def push(self, pcm: bytes) -> None:
        await self._session.send_audio(pcm)


async def running(url: str, agent: Any, modality: str) -> Any:
    config = {
        "url": f"{url}?model=gpt-realtime",
        "api_key": "local",
        "initial_model_settings": {
            "model_name": "gpt-realtime",
            "output_modalities": [modality],
        },
    }
    # Without this it would send traces to OpenAI, and complain that it has no key.
    runner = RealtimeRunner(agent, config={"tracing_disabled": True})
    return await runner.run(model_config=config)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Theirs]:
    agent = RealtimeAgent(name="agent", instructions=BEFORE)
    async with await running(url, agent, "audio") as session:
        yield Theirs(session)


async def handoff(url: str, mode: str) -> bool:
    """Hand over once; whether the words after it were heard.

    The session cannot be given a conversation to begin with: it is one turn long.
    """
    assert mode == MODES[0]
    after = RealtimeAgent(name="after", instructions=AFTER)
    before = RealtimeAgent(name="before", instructions=BEFORE, handoffs=[after])
    async with await running(url, before, "text") as session:
        await session.send_message(HAND_OVER)
        async for event in session:
            if event.type in {"history_added", "history_updated"}:
                said = spoken(event)
                if said & {HERE_I_AM, STILL_ME}:
                    return True
    return False


def spoken(event: Any) -> set[str]:
    """Return what agents have said to the end, of all that the event shows."""
    items = event.history if event.type == "history_updated" else [event.item]
    return {
        str(getattr(content, "text", None))
        for item in items
        if item.type == "message" and item.role == "assistant"
        if item.status == "completed"
        for content in item.content
    }


def about() -> dict[str, Any]:
    """Which versions it runs on."""
    return versions("openai-agents", "openai", "websockets", "pydantic")


if __name__ == "__main__":
    main(Stage(asyncio_loop, opened, handoff, MODES[:1]), about)
