"""The program on the OpenAI Agents SDK: ``python openai_agents.py URL ROW FOLDER``.

Two `RealtimeAgent`s and a handoff of its own, run by a `RealtimeRunner`, as its
documentation has it. It makes no new connection for one that is lost.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import asyncio  # noqa: TID251 - the SDK runs on it
import sys
from pathlib import Path
from typing import Any

# The folders of the tests are named like other packages: they are looked at last.
sys.path.pop(0)
sys.path.append(str(Path(__file__).resolve().parents[1]))

from agents.realtime import RealtimeAgent, RealtimeRunner

from faults.cast import COMPLAINTS, DESK, REFUNDS
from faults.peer_parts import Talk, beside, run
from faults.rows import Row, row_of


async def listen(session: Any, talk: Talk) -> None:
    """Note what the program is told, and play what is said."""
    async for event in session:
        match event.type:
            case "error":
                talk.told.append(f"error({type(event.error).__name__})")
            case "agent_start":
                talk.current(event.agent.name)
            case "handoff":
                talk.current(event.to_agent.name)
            case "audio":
                talk.loudspeaker.play(event.audio.data)
            case "audio_interrupted":
                talk.loudspeaker.clear()


async def send(session: Any, talk: Talk) -> None:
    """Send what the microphone hears."""
    while True:
        await session.send_audio(await talk.sound.get())


async def guarded(talk: Talk, job: Any) -> None:
    """The conversation is over if this is, or fails."""
    try:
        await job
    except Exception as error:
        talk.error = type(error).__name__
    talk.over.set()


async def hold(url: str, row: Row, talk: Talk) -> None:
    """Hold the conversation, until it is over or the program is told to leave."""
    refunds = RealtimeAgent(name="refunds", instructions=REFUNDS)
    complaints = RealtimeAgent(name="complaints", instructions=COMPLAINTS)
    handoffs = [refunds, complaints] if row.variant == "two" else [refunds]
    desk = RealtimeAgent(name="desk", instructions=DESK, handoffs=handoffs)
    config = {
        "url": f"{url}?model=gpt-realtime",
        "api_key": "local",
        "initial_model_settings": {"model_name": "gpt-realtime"},
    }
    # Without this it would send traces to OpenAI, and complain that it has no key.
    runner = RealtimeRunner(desk, config={"tracing_disabled": True})
    talk.current("desk")
    async with await runner.run(model_config=config) as session:

        async def hand_over() -> None:
            await session.update_agent(complaints)
            talk.current("complaints")

        await beside(
            talk,
            hand_over,
            guarded(talk, listen(session, talk)),
            guarded(talk, send(session, talk)),
        )


def main() -> None:
    """Run the program."""
    url, row, folder = sys.argv[1], row_of(sys.argv[2]), Path(sys.argv[3])
    asyncio.run(run(folder, lambda talk: hold(url, row, talk)))


if __name__ == "__main__":
    main()
