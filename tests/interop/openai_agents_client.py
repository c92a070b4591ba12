"""A program on the OpenAI Agents SDK: two `RealtimeAgent`s, and a handoff of its own.

Usage: openai_agents_client.py URL MODALITY FOLDER, as `run.py` starts it.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import asyncio  # noqa: TID251 - the SDK runs on it
import sys
from pathlib import Path
from typing import Any

from agents.realtime import RealtimeAgent, RealtimeRunner

from agents import function_tool

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from interop.cast import (
    ANSWER,
    ASK_ORDER,
    DESK,
    GREETING,
    LISTENS,
    ORDERS,
    REFUNDS,
    STORY,
    WANT_MONEY,
)
from interop.microphone import Microphone


@function_tool
def look_up(order: int) -> str:
    """Say where an order is."""
    return ORDERS[order]


async def talk(session: Any, modality: str, microphone: Microphone) -> None:
    """Ask, be answered, ask for the money, be handed over and greeted."""

    async def say(sentence: str) -> None:
        if modality == "audio":
            microphone.say(sentence)
        else:
            await session.send_message(sentence)

    agent, heard, said = "", 0, set[str]()
    told = modality == "text"
    await say(ASK_ORDER if told else STORY)
    async for event in session:
        match event.type:
            case "error":
                sys.exit(f"the session reports an error: {event.error}")
            case "tool_end":
                print(f"call: {event.tool.name}({event.arguments}) -> {event.output}")
            case "handoff":
                agent, heard = event.to_agent.name, 0
                print(f"handoff: {event.from_agent.name} -> {agent}")
            case "audio":
                heard += len(event.audio.data)
                if not told:
                    told = True
                    loop = asyncio.get_running_loop()
                    loop.call_later(LISTENS, microphone.say, ASK_ORDER)
            case "audio_interrupted":
                print("interrupted")
            case "history_added" | "history_updated":
                for words in sorted(spoken(event) - said):
                    said.add(words)
                    print(f"heard: {words}")
                    if words == ANSWER:
                        await say(WANT_MONEY)
        if agent == "refunds" and GREETING in said and (heard or modality == "text"):
            return
    sys.exit("the session ended before the second agent had spoken")


def spoken(event: Any) -> set[str]:
    """Return what agents have said to the end, of all that the event shows."""
    items = event.history if event.type == "history_updated" else [event.item]
    return {
        str(getattr(content, "text", None) or getattr(content, "transcript", None))
        for item in items
        if item.type == "message" and item.role == "assistant"
        if item.status == "completed"
        for content in item.content
    }


async def listen(session: Any, microphone: Microphone) -> None:
    """Send what the microphone hears."""
    while True:
        await session.send_audio(await microphone.read())


async def main(url: str, modality: str, folder: Path) -> None:
    """Connect, and hold the conversation."""
    refunds = RealtimeAgent(name="refunds", instructions=REFUNDS)
    desk = RealtimeAgent(
        name="desk", instructions=DESK, tools=[look_up], handoffs=[refunds]
    )
    config = {
        "url": f"{url}?model=gpt-realtime",
        "api_key": "local",
        "initial_model_settings": {
            "model_name": "gpt-realtime",
            "output_modalities": [modality],
        },
    }
    microphone = Microphone(folder)
    # Without this it would send traces to OpenAI, and complain that it has no key.
    runner = RealtimeRunner(desk, config={"tracing_disabled": True})
    async with await runner.run(model_config=config) as session:
        microphoning = asyncio.create_task(
            listen(session, microphone) if modality == "audio" else asyncio.sleep(0)
        )
        try:
            await talk(session, modality, microphone)
        finally:
            microphoning.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
