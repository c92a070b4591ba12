"""Classify what a user says beside the conversation, which does not notice.

While the answer to a message is spoken, a second reply is asked for out of band: it
reads the conversation, is in no turn, and leaves no trace in it.

With a key, against the real service; without one, or with --local, a local server that
knows these three sentences:

    OPENAI_API_KEY=... python examples/classify.py
    python examples/classify.py --local
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trialogue import OpenAIRealtime, RealtimeSession, open_session
from trialogue.testing import Reply, Turn, open_realtime_server

SENTENCES = (
    "My invoice is twice as high as last month.",
    "The app closes as soon as I open it.",
    "Do you have an office in Oslo?",
)
CLASSIFY = (
    "Classify the last message of the user. Answer with exactly one word: billing, "
    "technical or other."
)


async def topic_of_last(session: RealtimeSession) -> str:
    outcome = await session.generate_reply(
        out_of_band=True,
        instructions=CLASSIFY,
        replace=True,
        tools=[],
        output_modalities=("text",),
        metadata={"purpose": "topic"},
    )
    return outcome.text.strip().lower()


async def serve(session: RealtimeSession, sentence: str) -> None:
    """Answer, and classify, at the same time."""
    print(f"user: {sentence}")
    report = await session.send_message(sentence)
    report.raise_for_failures()

    async def classify() -> None:
        print(f"  topic: {await topic_of_last(session)}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(classify)
        answer = await session.generate_reply()
    print(f"assistant: {answer.text}")


def scripted(turn: Turn) -> Reply:
    """What the local server's model says."""
    if turn.metadata is None or turn.metadata.get("purpose") != "topic":
        return "Let me look into that."
    topics = {"invoice": "billing", "app": "technical"}
    known = (topic for word, topic in topics.items() if word in turn.user_text)
    return next(known, "other")


@asynccontextmanager
async def open_model(local: bool) -> AsyncIterator[OpenAIRealtime]:
    if not local:
        yield OpenAIRealtime("gpt-realtime")
        return
    async with open_realtime_server(scripted, port=0) as server:
        yield OpenAIRealtime(api_key="any", base_url=server.url)


async def main(local: bool) -> None:
    async with (
        open_model(local) as model,
        open_session(model, instructions="Answer in one sentence.") as session,
    ):
        for sentence in SENTENCES:
            await serve(session, sentence)
        print(f"{len(session.chat_ctx)} items in the conversation")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Classify beside a conversation.")
    parser.add_argument("--local", action="store_true", help="needs no key")
    given = parser.parse_args()
    trio.run(main, given.local or "OPENAI_API_KEY" not in os.environ)
