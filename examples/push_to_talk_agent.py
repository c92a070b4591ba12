"""Push to talk with agents: a button says where a turn begins, and stops the agent.

With a key, against the real service, one WAV file (16 bit, mono, 24 kHz) for each time
that the button is held; what the agents say is written to a file as it is played:

    OPENAI_API_KEY=... python examples/push_to_talk_agent.py --answers answers.wav \\
        a.wav b.wav

Without a key, or with --local, a local server answers, and a script holds the button:
twice, the second time in the middle of the first answer, which stops for it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from trialogue import (
    Agent,
    AgentSession,
    Message,
    OpenAIRealtime,
    SessionOptions,
    open_agent_session,
)
from trialogue.audio import AudioInput, NullOutput, PcmInput, WavInput, WavOutput
from trialogue.events import AgentState, AgentStateChanged
from trialogue.testing import Utterances, open_realtime_server


class Guide(Agent):
    instructions = "Answer briefly."
    options = SessionOptions(turn_detection=None)  # the button finds the turns


async def converse(session: AgentSession, presses: Sequence[AudioInput]) -> None:
    for number, microphone in enumerate(presses):
        if number:  # in the middle of the answer to the press before
            await until(session, "speaking")
            await trio.sleep(0.5)
        await hold(session, microphone)
    await until(session, "listening")
    session.end()


async def hold(session: AgentSession, microphone: AudioInput) -> None:
    """From pressing the button to letting it go: one turn."""
    await session.start_user_turn()  # whoever speaks stops
    try:
        while True:
            session.push_audio(await microphone.receive())
    except trio.EndOfChannel:
        await session.commit_user_turn()  # and whoever is current answers
    finally:
        await microphone.aclose()


async def until(session: AgentSession, state: AgentState) -> None:
    """Wait until the agent does that."""
    async with session.subscribe(AgentStateChanged) as changes:
        while session.agent_state != state:
            await changes.receive()


def show(session: AgentSession) -> None:
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
    presses: list[AudioInput] = [WavInput(path) for path in given.turns]
    if not presses:
        said = ("What is the weather like in Oslo today?", "No, in Bergen.")
        presses = [PcmInput(known.say(words)) for words in said]
    speaker = NullOutput() if given.answers is None else WavOutput(given.answers)
    local = given.local or "OPENAI_API_KEY" not in os.environ
    async with (
        open_model(local, known) as model,
        open_agent_session(model, audio=(None, speaker)) as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.run, Guide())
        await until(session, "listening")
        await converse(session, presses)
        show(session)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Push to talk, with agents.")
    parser.add_argument("turns", nargs="*", help="what is said, a WAV file for each")
    parser.add_argument("--answers", help="where to write the answers, a WAV file")
    parser.add_argument("--local", action="store_true", help="needs no key")
    trio.run(main, parser.parse_args())
