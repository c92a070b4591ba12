"""trialogue: `open_session` for sound, `open_agent_session` for handoffs."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from peers import trio_loop
from peers.cast import AFTER, BEFORE, HAND_OVER, HERE_I_AM, MODES, STILL_ME, TURNS
from peers.driving import Stage, main, versions
from trialogue import (
    Agent,
    ChatContext,
    Handoff,
    OpenAIRealtime,
    RunContext,
    SessionOptions,
    TrialogueError,
    function_tool,
    open_agent_session,
    open_session,
)
from trialogue.realtime import link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from peers.driving import Heard
    from trialogue import RealtimeSession

WRITTEN = SessionOptions(output_modalities=("text",))


class Ours:
    """A session without agents."""

    def __init__(self, session: RealtimeSession) -> None:
        self._session = session

    async def reply(self, heard: Heard) -> None:
        async with self._session.open_reply() as reply:
            async for pcm in reply.audio():
                heard(pcm)

    async def push(self, pcm: bytes) -> None:
        self._session.push_audio(pcm)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ours]:
    model = OpenAIRealtime("gpt-realtime", api_key="local", base_url=url)
    async with open_session(model) as session:
        yield Ours(session)


class After(Agent):
    """Takes over, and speaks first."""

    name = "after"
    instructions = AFTER

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    async def on_enter(self, ctx: RunContext) -> None:
        """Speak, and then end the conversation."""
        self.said = (await ctx.session.generate_reply()).text
        ctx.session.end(now=True)


class Before(Agent):
    """Is told to hand over, and does."""

    name = "before"
    instructions = BEFORE

    def __init__(self, after: After, *, copied: bool) -> None:
        super().__init__()
        self.after = after
        self.copied = copied

    async def on_enter(self, ctx: RunContext) -> None:
        """Have the model call the tool."""
        await ctx.session.realtime.send_message(HAND_OVER)
        await ctx.session.generate_reply()

    @function_tool
    async def hand_over(self) -> Handoff:
        """Hand the conversation over."""
        return Handoff(self.after, context="keep" if self.copied else "fresh")


async def handoff(url: str, mode: str) -> bool:
    """Hand over once; whether the words after it were heard."""
    model = OpenAIRealtime(
        "gpt-realtime",
        api_key="local",
        base_url=url,
        options=WRITTEN,
        capabilities={"mutable_instructions": mode.startswith("reuse")},
    )
    turns = ChatContext()
    for turn in range(1, TURNS + 1):
        turns = turns.add_message("user", f"This is question {turn}.")
        turns = turns.add_message("assistant", f"This is answer {turn}.")
    after = After()
    try:
        async with open_agent_session(model, chat_ctx=turns) as session:
            await session.run(Before(after, copied=mode.endswith("copied")))
    except TrialogueError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return after.said in {HERE_I_AM, STILL_ME}


def about() -> dict[str, Any]:
    """Which versions, and which engine it has chosen."""
    engine = getattr(link, "ENGINE", "trio-websocket")
    found = versions("trialogue", "trio", engine, "orjson", "pybase64")
    return {**found, "engine": engine}


if __name__ == "__main__":
    main(Stage(trio_loop, opened, handoff, MODES), about)
