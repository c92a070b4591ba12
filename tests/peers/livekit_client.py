"""livekit-agents and its plugin openai: a `RealtimeSession`, and for handoffs an
`AgentSession`, without a room, with the default settings."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import asyncio  # noqa: TID251 - LiveKit Agents runs on it
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool, llm
from livekit.plugins import openai

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from peers import asyncio_loop
from peers.cast import (
    AFTER,
    BEFORE,
    FRAME,
    HAND_OVER,
    HERE_I_AM,
    MODES,
    RATE,
    STILL_ME,
    TURNS,
)
from peers.driving import Stage, main, versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from peers.driving import Heard


class Shared:
    """The HTTP session that all connections of the process share."""

    http: Any = None

    @classmethod
    def model(cls, url: str, modality: str) -> Any:
        if cls.http is None:
            # As many connections as are asked for: by default it holds a hundred.
            connector = aiohttp.TCPConnector(limit=0)
            cls.http = aiohttp.ClientSession(connector=connector)
        return openai.realtime.RealtimeModel(
            model="gpt-realtime",
            base_url=url.removesuffix("/realtime"),
            api_key="local",
            modalities=[modality],
            http_session=cls.http,
        )


class Theirs:
    """A session that is open."""

    def __init__(self, session: Any) -> None:
        self._session = session
        # As it comes from a track: ready-made.
        self._frame = rtc.AudioFrame(FRAME, RATE, 1, len(FRAME) // 2)

    async def reply(self, heard: Heard) -> None:
        generation = await self._session.generate_reply()
        async for message in generation.message_stream:
            async for frame in message.audio_stream:
                heard(frame.data.cast("B"))

    async def push(self, pcm: bytes) -> None:
        self._session.push_audio(self._frame)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Theirs]:
    model = Shared.model(url, "audio")
    session = model.session()
    try:
        yield Theirs(session)
    finally:
        await session.aclose()
        await model.aclose()


class After(Agent):
    """Takes over, and speaks first."""

    def __init__(self, **options: Any) -> None:
        super().__init__(instructions=AFTER, **options)

    async def on_enter(self) -> None:
        """Speak."""
        self.session.generate_reply()


class Before(Agent):
    """Is told to hand over, and does."""

    def __init__(self, mode: str, model: Any, turns: Any) -> None:
        super().__init__(instructions=BEFORE, chat_ctx=turns)
        self.mode = mode
        self.next_model = model

    async def on_enter(self) -> None:
        """Have the model call the tool."""
        self.session.generate_reply(user_input=HAND_OVER)

    @function_tool
    async def hand_over(self) -> Agent:
        """Hand the conversation over."""
        options: dict[str, Any] = {}
        # The connection is kept if the next agent's model is the very same object.
        if self.next_model is not None:
            options["llm"] = self.next_model
        if self.mode.endswith("copied"):
            options["chat_ctx"] = self.chat_ctx.copy(exclude_instructions=True)
        return After(**options)


async def handoff(url: str, mode: str) -> bool:
    """Hand over once; whether the words after it were heard."""
    turns = llm.ChatContext()
    for turn in range(1, TURNS + 1):
        turns.add_message(role="user", content=f"This is question {turn}.")
        turns.add_message(role="assistant", content=f"This is answer {turn}.")
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    model = Shared.model(url, "text")
    other = Shared.model(url, "text") if mode.startswith("fresh") else None
    session = AgentSession(llm=model)

    def item_added(event: Any) -> None:
        item = event.item
        if item.type == "message" and item.role == "assistant" and not heard.done():
            heard.set_result(item.text_content)

    session.on("conversation_item_added", item_added)
    try:
        await session.start(Before(mode, other, turns))
        return await heard in {HERE_I_AM, STILL_ME}
    finally:
        await session.aclose()
        await model.aclose()
        if other is not None:
            await other.aclose()


def about() -> dict[str, Any]:
    """Which versions it runs on."""
    return versions("livekit-agents", "livekit-plugins-openai", "livekit", "aiohttp")


if __name__ == "__main__":
    main(Stage(asyncio_loop, opened, handoff, MODES), about)
