"""A program on LiveKit Agents: an `AgentSession` with two agents, without a room.

Usage: livekit_client.py URL MODALITY FOLDER, as `run.py` starts it.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import asyncio  # noqa: TID251 - LiveKit Agents runs on it
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice import io
from livekit.plugins import openai

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
from interop.microphone import RATE, Microphone


class Refunds(Agent):
    """Takes over, and speaks first."""

    def __init__(self, context: Any) -> None:
        super().__init__(instructions=REFUNDS, chat_ctx=context)

    async def on_enter(self) -> None:
        """Speak."""
        self.session.generate_reply()


class Desk(Agent):
    """Answers, and hands over."""

    def __init__(self) -> None:
        super().__init__(instructions=DESK)

    @function_tool
    async def look_up(self, order: int) -> str:
        """Say where an order is."""
        return ORDERS[order]

    @function_tool
    async def transfer_to_refunds(self) -> Agent:
        """Transfer to whoever gives money back."""
        return Refunds(self.chat_ctx.copy(exclude_instructions=True))


class Ears(io.AudioInput):
    """The caller's microphone."""

    def __init__(self, microphone: Microphone) -> None:
        super().__init__(label="microphone")
        self._microphone = microphone

    async def __anext__(self) -> Any:
        pcm = await self._microphone.read()
        return rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2)


class Loudspeaker(io.AudioOutput):
    """Plays in real time, and says how far it came."""

    def __init__(self) -> None:
        super().__init__(
            label="loudspeaker",
            capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=RATE,
        )
        self.seconds = 0.0
        """What has come to be played."""
        self._segment = 0.0
        self._started = 0.0
        self._playing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: Any) -> None:
        """Take a piece of sound."""
        await super().capture_frame(frame)
        if not self._segment:
            self._started = time.time()
            self.on_playback_started(created_at=self._started)
        self._segment += frame.duration
        self.seconds += frame.duration

    def flush(self) -> None:
        """Play to the end."""
        super().flush()
        if self._segment:
            self._playing = asyncio.create_task(self._play(self._segment))

    async def _play(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, self._started + seconds - time.time()))
        self._finish(seconds, interrupted=False)

    def clear_buffer(self) -> None:
        """Stop."""
        if self._playing is not None:
            self._playing.cancel()
        if self._segment:
            played = min(self._segment, time.time() - self._started)
            print(f"interrupted after {played * 1000:.0f} ms")
            self._finish(played, interrupted=True)

    def _finish(self, played: float, *, interrupted: bool) -> None:
        self._segment, self._playing = 0.0, None
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


class Program:
    """The caller, and what happens in the session."""

    def __init__(self, session: Any, modality: str, folder: Path) -> None:
        self.session = session
        self.modality = modality
        self.microphone = Microphone(folder)
        self.loudspeaker = Loudspeaker()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.told = modality == "text"
        if modality == "audio":
            session.input.audio = Ears(self.microphone)
            session.output.audio = self.loudspeaker
        session.on("agent_state_changed", self.state_changed)
        session.on("conversation_item_added", self.item_added)
        session.on("function_tools_executed", self.tools_executed)
        session.on("error", self.failed)

    def say(self, sentence: str) -> None:
        """Write, or speak and leave it to the server to find the turn's end."""
        if self.modality == "audio":
            self.microphone.say(sentence)
        else:
            self.session.generate_reply(user_input=sentence)

    def state_changed(self, event: Any) -> None:
        """Listen to the story for a while, and interrupt it."""
        if event.new_state == "speaking" and not self.told:
            self.told = True
            asyncio.get_running_loop().call_later(LISTENS, self.say, ASK_ORDER)

    def item_added(self, event: Any) -> None:
        """Hear what an agent has said, and go on with the conversation."""
        item = event.item
        if item.type == "agent_handoff":
            print(f"handoff: {item.old_agent_id} -> {item.new_agent_id}")
            self.loudspeaker.seconds = 0.0
        elif item.role == "assistant":
            print(f"heard: {item.text_content}")
            if item.text_content == ANSWER:
                self.say(WANT_MONEY)
            elif item.text_content == GREETING and not self.over.done():
                self.over.set_result(None)

    def tools_executed(self, event: Any) -> None:
        """Tell of the calls."""
        for call in event.function_calls:
            print(f"call: {call.name}({call.arguments})")

    def failed(self, event: Any) -> None:
        """End: the session reports an error."""
        if not self.over.done():
            self.over.set_exception(SystemExit(f"an error: {event.error}"))


async def main(url: str, modality: str, folder: Path) -> None:
    """Connect, and hold the conversation."""
    async with aiohttp.ClientSession() as http_session:
        model = openai.realtime.RealtimeModel(
            model="gpt-realtime",
            base_url=url.removesuffix("/realtime"),
            api_key="local",
            modalities=[modality],
            http_session=http_session,
        )
        # Else it is deaf while an agent begins to speak: echo cancellation learns then.
        session = AgentSession(llm=model, aec_warmup_duration=None)
        program = Program(session, modality, folder)
        await session.start(Desk())
        program.say(ASK_ORDER if program.told else STORY)
        try:
            await program.over
        finally:
            await session.aclose()
    if modality == "audio" and not program.loudspeaker.seconds:
        sys.exit("the second agent was read, but not heard")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
