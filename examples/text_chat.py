"""A written conversation: each answer is printed word by word, while it is made.

With a key, against the real service:

    OPENAI_API_KEY=... python examples/text_chat.py

Without one, or with --local, against a local server that repeats what it is told:

    echo "Hello there." | python examples/text_chat.py --local

Each line is one message; the end of the input ends the conversation.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trialogue import OpenAIRealtime, SessionOptions, open_session
from trialogue.testing import open_realtime_server

WRITTEN = SessionOptions(output_modalities=("text",))


async def ask_for_line() -> str | None:
    """What the user writes next; None at the end."""
    try:
        # Abandoned when Ctrl-C cancels it: a thread cannot be stopped while it reads.
        return await trio.to_thread.run_sync(input, abandon_on_cancel=True)
    except EOFError:
        return None


async def chat(model: OpenAIRealtime) -> None:
    async with open_session(
        model, instructions="Answer in one or two sentences.", options=WRITTEN
    ) as session:
        while (line := await ask_for_line()) is not None:
            report = await session.send_message(line)
            report.raise_for_failures()
            # Leaving the block early, in whatever way, would stop the answer.
            async with session.open_reply() as reply:
                async for words in reply.text():
                    print(words, end="", flush=True)
            print()
        tokens = session.usage.input_tokens + session.usage.output_tokens
        print(f"({tokens} tokens)")


@asynccontextmanager
async def open_model(local: bool) -> AsyncIterator[OpenAIRealtime]:
    if not local:
        yield OpenAIRealtime("gpt-realtime")
        return
    async with open_realtime_server(port=0) as server:
        yield OpenAIRealtime(api_key="any", base_url=server.url)


async def main(local: bool) -> None:
    async with open_model(local) as model:
        await chat(model)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A written conversation.")
    parser.add_argument("--local", action="store_true", help="needs no key")
    given = parser.parse_args()
    trio.run(main, given.local or "OPENAI_API_KEY" not in os.environ)
