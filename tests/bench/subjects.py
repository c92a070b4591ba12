"""Sessions as a program opens them, and outputs and microphones that count.

Where `raw.py` does the work by hand, these do it with the library.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from time import process_time
from typing import TYPE_CHECKING, Any

import trio

from bench.byhand import INSTRUCTIONS, url_of
from trialogue import (
    Agent,
    OpenAIRealtime,
    RunContext,
    open_agent_session,
    open_session,
)
from trialogue.audio import NullOutput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialogue import AgentSession, RealtimeSession

__all__ = [
    "CountingOutput",
    "Speaker",
    "agent_session",
    "realtime_session",
    "spoken",
]


def model_at(port: int, plan: str) -> OpenAIRealtime:
    return OpenAIRealtime(plan, api_key="local", base_url=url_of(port))


class CountingOutput(NullOutput):
    """Plays everything in the instant it is written, and calls what waits for it."""

    def __init__(self, on_write: Any) -> None:
        super().__init__(realtime=False)
        self._on_write = on_write

    async def write(self, pcm: bytes) -> None:
        self._on_write(pcm)
        await super().write(pcm)


class Speaker(Agent):
    """Speaks once, when told to."""

    instructions = INSTRUCTIONS

    def __init__(self) -> None:
        super().__init__()
        self.asked = trio.Event()
        self.spoken = trio.Event()
        self.used = 0.0

    async def on_enter(self, ctx: RunContext) -> None:
        await self.asked.wait()
        self.used = process_time()
        await ctx.session.generate_reply()
        self.spoken.set()


@asynccontextmanager
async def realtime_session(port: int, plan: str) -> AsyncIterator[RealtimeSession]:
    """A session that has been configured: what is pushed is sent."""
    model = model_at(port, plan)
    async with open_session(model, instructions=INSTRUCTIONS) as session:
        with trio.fail_after(10):
            await session.changed.until(lambda: session.settled)
        yield session


@asynccontextmanager
async def agent_session(
    port: int, plan: str, on_write: Any
) -> AsyncIterator[tuple[AgentSession[None], Speaker]]:
    """A session whose agent waits for its word, and speaks into a null output."""
    speaker, output = Speaker(), CountingOutput(on_write)
    async with (
        open_agent_session(model_at(port, plan), audio=(None, output)) as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.run, speaker)
        with trio.fail_after(10):
            await session.changed.until(lambda: session.realtime.settled)
        yield session, speaker
        session.end(now=True)


async def spoken(session: RealtimeSession, on_audio: Any) -> None:
    """Ask for a reply and take its sound."""
    async with session.open_reply() as reply:
        async for pcm in reply.audio():
            on_audio(pcm)
