"""Push to talk: the program says where a turn begins and ends, nobody detects it.

With a key, against the real service, one WAV file (16 bit, mono, 24 kHz) for each time
that the button is held; the answers are written to a file as they are played:

    OPENAI_API_KEY=... python examples/push_to_talk.py --answers answers.wav a.wav b.wav

Without a key, or with --local, a local server answers, and a script holds the button:
twice, the second time in the middle of the first answer, which stops for it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from trialogue import (
    Message,
    OpenAIRealtime,
    RealtimeSession,
    ReplyStream,
    SessionOptions,
    open_session,
)
from trialogue.audio import (
    SAMPLE_RATE,
    AudioInput,
    AudioOutput,
    NullOutput,
    PcmInput,
    WavInput,
    WavOutput,
)
from trialogue.testing import Utterances, open_realtime_server

MANUAL = SessionOptions(turn_detection=None)


@attrs.frozen
class Press:
    """The button is held once.

    Attributes:
        microphone: what is said meanwhile.
        after: seconds since the last answer began; None to wait for its end.
    """

    microphone: AudioInput
    after: float | None = None


async def converse(
    session: RealtimeSession, presses: Sequence[Press], speaker: AudioOutput
) -> None:
    async with trio.open_nursery() as nursery:
        answer: Answer | None = None
        for press in presses:
            if answer is not None:
                await answer.let_play(press.after)
                answer.stop()
            await hold(session, press.microphone)
            answer = Answer(session, speaker)
            nursery.start_soon(answer.play)


async def hold(session: RealtimeSession, microphone: AudioInput) -> None:
    """From pressing the button to letting it go: one turn."""
    try:
        while True:
            session.push_audio(await microphone.receive())
    except trio.EndOfChannel:
        report = await session.commit_audio()
        report.raise_for_failures()
    finally:
        await microphone.aclose()


class Answer:
    """One answer, which can be stopped while it plays."""

    def __init__(self, session: RealtimeSession, speaker: AudioOutput) -> None:
        self._session = session
        self._speaker = speaker
        self._scope = trio.CancelScope()
        self._begun = trio.Event()
        self._over = trio.Event()

    async def let_play(self, seconds: float | None) -> None:
        """Wait until so much of it was played, or for its end."""
        await self._begun.wait()
        with trio.move_on_after(float("inf") if seconds is None else seconds):
            await self._over.wait()

    def stop(self) -> None:
        self._scope.cancel()

    async def play(self) -> None:
        try:
            with self._scope:
                async with self._session.open_reply() as reply:
                    await self._play(reply)
        finally:
            self._begun.set()
            self._over.set()

    async def _play(self, reply: ReplyStream) -> None:
        speaker, begin = self._speaker, self._speaker.written
        try:
            async for pcm in reply.audio():
                self._begun.set()
                await speaker.write(pcm)
            await speaker.drain()
        finally:
            speaker.clear()
            # What a loudspeaker has played is less than what it was given.
            reply.heard((speaker.played - begin) * 1000 / SAMPLE_RATE)


def show(session: RealtimeSession) -> None:
    for item in session.chat_ctx:
        if isinstance(item, Message):
            cut = "" if item.heard_ms is None else f" [cut at {item.heard_ms} ms]"
            print(f"{item.role}: {item.text}{cut}")


@asynccontextmanager
async def open_model(
    local: bool, utterances: Utterances
) -> AsyncIterator[OpenAIRealtime]:
    if not local:
        yield OpenAIRealtime("gpt-realtime", voice="marin")
        return
    async with open_realtime_server(port=0, utterances=utterances) as server:
        yield OpenAIRealtime(api_key="any", base_url=server.url)


async def main(given: argparse.Namespace) -> None:
    known = Utterances()
    presses = [Press(WavInput(path)) for path in given.turns] or [
        Press(PcmInput(known.say("What is the weather like in Oslo today?"))),
        Press(PcmInput(known.say("No, in Bergen.")), after=0.5),
    ]
    speaker = NullOutput() if given.answers is None else WavOutput(given.answers)
    local = given.local or "OPENAI_API_KEY" not in os.environ
    async with (
        open_model(local, known) as model,
        open_session(model, instructions="Answer briefly.", options=MANUAL) as session,
    ):
        await converse(session, presses, speaker)
        show(session)
    await speaker.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Push to talk.")
    parser.add_argument("turns", nargs="*", help="what is said, a WAV file for each")
    parser.add_argument("--answers", help="where to write the answers, a WAV file")
    parser.add_argument("--local", action="store_true", help="needs no key")
    trio.run(main, parser.parse_args())
