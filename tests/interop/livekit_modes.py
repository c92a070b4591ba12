"""How long LiveKit Agents takes to hand over, in its own four modes.

Usage: livekit_modes.py URL RUNS, as `modes.py` starts it. Prints JSON lines: how it was
measured, the mode, and seconds until the handoff was over, and until the reply began.

"session" is as LiveKit measures it itself, in its pull request 5229 and in the test
that came with it: a `RealtimeSession` gets new instructions and a conversation, then a
question, then it is to reply. "agents" is what a program does: a tool of an agent in an
`AgentSession` returns the next agent, which is to speak as soon as it is entered.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import asyncio  # noqa: TID251 - LiveKit Agents runs on it
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from livekit.agents import Agent, AgentSession, function_tool, llm
from livekit.plugins import openai

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from interop.cast import AFTER, BEFORE, HERE_I_AM, QUESTION, TURNS

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 30.0
MODES = [(reuse, copy) for reuse in (True, False) for copy in (True, False)]


def ten_turns() -> Any:
    """Return the conversation so far."""
    context = llm.ChatContext()
    for turn in range(1, TURNS + 1):
        context.add_message(role="user", content=f"This is question {turn}.")
        context.add_message(role="assistant", content=f"This is answer {turn}.")
    return context


async def words_of(generation: Any) -> str:
    """Return what a reply says, once it is complete."""
    words = ""
    async for message in generation.message_stream:
        async for text in message.text_stream:
            words += text
    return words


async def by_session(
    make_model: Callable[[], Any], *, reuse: bool, copy: bool
) -> tuple[float, float]:
    """Measure as LiveKit does."""
    loop = asyncio.get_running_loop()
    model = make_model()
    session = model.session()
    turns = ten_turns()
    try:
        if reuse:
            await session.update_chat_ctx(turns)
        start = loop.time()
        await session._update_session(
            instructions=AFTER, chat_ctx=turns.copy() if copy else llm.ChatContext()
        )
        handoff = loop.time() - start
        context = session.chat_ctx.copy()
        context.add_message(role="user", content=QUESTION)
        await session.update_chat_ctx(context)
        generation = await session.generate_reply()
        reply = loop.time() - start
        if await words_of(generation) != HERE_I_AM:
            sys.exit("the reply is not that of the second agent")
        return handoff, reply
    finally:
        await session.aclose()
        await model.aclose()


class After(Agent):
    """Takes over, and speaks first."""

    def __init__(self, stamps: dict[str, float], **options: Any) -> None:
        super().__init__(instructions=AFTER, **options)
        self.stamps = stamps

    async def on_enter(self) -> None:
        """Speak, and note when the server said that it does."""
        loop = asyncio.get_running_loop()
        self.stamps["entered"] = loop.time()
        self.realtime_llm_session.once(
            "generation_created",
            lambda event: self.stamps.setdefault("replying", loop.time()),
        )
        self.session.generate_reply()


class Before(Agent):
    """Is told to hand over, and does."""

    def __init__(self, stamps: dict[str, float], *, model: Any, copy: bool) -> None:
        super().__init__(instructions=BEFORE, chat_ctx=ten_turns())
        self.stamps = stamps
        self.next_model = model
        self.copy = copy

    async def on_enter(self) -> None:
        """Have the model call the tool."""
        self.session.generate_reply(user_input="Hand over now.")

    @function_tool
    async def hand_over(self) -> Agent:
        """Hand the conversation over."""
        options: dict[str, Any] = {}
        if self.next_model is not None:
            options["llm"] = self.next_model
        if self.copy:
            options["chat_ctx"] = self.chat_ctx.copy(exclude_instructions=True)
        self.stamps["returned"] = asyncio.get_running_loop().time()
        return After(self.stamps, **options)


async def by_agents(
    make_model: Callable[[], Any], *, reuse: bool, copy: bool
) -> tuple[float, float]:
    """Measure from the return of the tool that hands over."""
    stamps: dict[str, float] = {}
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    model = make_model()
    # The connection is kept if the next agent's model is the very same object.
    other = None if reuse else make_model()
    session = AgentSession(llm=model)

    def item_added(event: Any) -> None:
        if event.item.type == "message" and event.item.role == "assistant":
            heard.set_result(event.item.text_content)

    session.on("conversation_item_added", item_added)
    try:
        await session.start(Before(stamps, model=other, copy=copy))
        if await heard != HERE_I_AM:
            sys.exit("the reply is not that of the second agent")
    finally:
        await session.aclose()
        await model.aclose()
        if other is not None:
            await other.aclose()
    start = stamps["returned"]
    return stamps["entered"] - start, stamps["replying"] - start


async def main(url: str, runs: int) -> None:
    """Measure each mode in both ways."""
    async with aiohttp.ClientSession() as http_session:

        def make_model() -> Any:
            return openai.realtime.RealtimeModel(
                model="gpt-realtime",
                base_url=url.removesuffix("/realtime"),
                api_key="local",
                modalities=["text"],
                http_session=http_session,
            )

        # Not counted: the first one of a process imports, compiles and caches.
        await by_session(make_model, reuse=True, copy=True)
        for how, measure in (("session", by_session), ("agents", by_agents)):
            for reuse, copy in MODES:
                for _ in range(runs):
                    measured = measure(make_model, reuse=reuse, copy=copy)
                    handoff, reply = await asyncio.wait_for(measured, SECONDS)
                    row = {"how": how, "reuse": reuse, "copy": copy}
                    row |= {"handoff": handoff, "reply": reply}
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
