"""The program on LiveKit Agents: ``python livekit.py URL ROW FOLDER``.

An `AgentSession` with the openai plugin, without a room, as its documentation has it. A
handoff is a tool that returns the next agent, which asks for a reply as it is entered.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import asyncio  # noqa: TID251 - LiveKit Agents runs on it
import sys
import time
from pathlib import Path
from typing import Any

# This file has the name of a package, and so have the folders of the tests: they are
# looked at last.
sys.path.pop(0)
sys.path.append(str(Path(__file__).resolve().parents[1]))

import aiohttp
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice import io
from livekit.plugins import openai

from faults.cast import COMPLAINTS, DESK, REFUNDS, SLOW_SECONDS, THREAD_SECONDS
from faults.peer_parts import Talk, beside, run
from faults.rows import Row, row_of

RATE = 24_000


class Entered(Agent):
    """Notes that it is current, as soon as it is entered.

    `AgentSession.current_agent` would say so as soon as a handoff is asked for, while
    the previous agent is let finish.
    """

    async def on_enter(self) -> None:
        """Note it."""
        self.session.userdata.current(type(self).__name__.lower())


class Speaker(Entered):
    """Takes over, and speaks first."""

    async def on_enter(self) -> None:
        """Speak."""
        await super().on_enter()
        self.session.generate_reply()


class Refunds(Speaker):
    """Whom the tool hands over to."""


class Complaints(Speaker):
    """Whom the program hands over to, or another tool."""


class Desk(Entered):
    """Answers, and hands over."""

    def __init__(self, row: Row, other: Any) -> None:
        super().__init__(instructions=DESK)
        self.row = row
        self.other = other

    @function_tool
    async def transfer_to_refunds(self) -> Agent:
        """Transfer to whoever gives money back."""
        if self.row.variant == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        context = self.chat_ctx.copy(exclude_instructions=True)
        # A connection is kept if the next agent's model is the very same object.
        options = {} if self.other is None else {"llm": self.other}
        return Refunds(instructions=REFUNDS, chat_ctx=context, **options)

    @function_tool
    async def transfer_to_complaints(self) -> Agent:
        """Transfer to whoever hears complaints."""
        context = self.chat_ctx.copy(exclude_instructions=True)
        return Complaints(instructions=COMPLAINTS, chat_ctx=context)

    @function_tool
    async def look_up(self) -> str:
        """Look something up, for a long time."""
        if self.row.variant == "thread":
            await asyncio.to_thread(time.sleep, THREAD_SECONDS)
        else:
            await asyncio.sleep(THREAD_SECONDS)
        return "nothing was found"


class Ears(io.AudioInput):
    """The caller's microphone."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(label="microphone")
        self._talk = talk

    async def __anext__(self) -> Any:
        pcm = await self._talk.sound.get()
        return rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2)


class Loudspeaker(io.AudioOutput):
    """Plays in real time, and says how far it came."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(
            label="loudspeaker",
            capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=RATE,
        )
        self._talk = talk
        self._segment = 0.0
        self._playing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: Any) -> None:
        """Take a piece of sound."""
        await super().capture_frame(frame)
        if not self._segment:
            self.on_playback_started(created_at=time.time())
        self._segment += frame.duration
        self._talk.loudspeaker.play(bytes(frame.data))

    def flush(self) -> None:
        """Play to the end."""
        super().flush()
        if self._segment:
            self._playing = asyncio.create_task(self._play(self._segment))

    async def _play(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, self._talk.loudspeaker.end - time.monotonic()))
        self._finish(seconds, interrupted=False)

    def clear_buffer(self) -> None:
        """Stop."""
        if self._playing is not None:
            self._playing.cancel()
        if self._segment:
            rest = max(0.0, self._talk.loudspeaker.end - time.monotonic())
            self._talk.loudspeaker.clear()
            self._finish(max(0.0, self._segment - rest), interrupted=True)

    def _finish(self, played: float, *, interrupted: bool) -> None:
        self._segment, self._playing = 0.0, None
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


async def hold(url: str, row: Row, talk: Talk) -> None:
    """Hold the conversation, until it is over or the program is told to leave."""
    async with aiohttp.ClientSession() as http_session:

        def make_model() -> Any:
            return openai.realtime.RealtimeModel(
                model="gpt-realtime",
                base_url=url.removesuffix("/realtime"),
                api_key="local",
                http_session=http_session,
            )

        # Else it is deaf while an agent begins to speak: echo cancellation learns then.
        session = AgentSession(
            llm=make_model(), aec_warmup_duration=None, userdata=talk
        )
        session.input.audio = Ears(talk)
        session.output.audio = Loudspeaker(talk)

        def failed(event: Any) -> None:
            inner = getattr(event.error, "error", event.error)
            talk.told.append(type(inner).__name__)

        def closed(event: Any) -> None:
            if event.error is not None:
                talk.error = type(event.error).__name__
            talk.over.set()

        session.on("error", failed)
        session.on("close", closed)
        other = make_model() if row.variant == "fresh" else None

        async def hand_over() -> None:
            session.update_agent(Complaints(instructions=COMPLAINTS))

        await session.start(Desk(row, other))
        try:
            await beside(talk, hand_over)
        finally:
            await session.aclose()


def main() -> None:
    """Run the program."""
    url, row, folder = sys.argv[1], row_of(sys.argv[2]), Path(sys.argv[3])
    asyncio.run(run(folder, lambda talk: hold(url, row, talk)))


if __name__ == "__main__":
    main()
