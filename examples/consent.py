"""Consent by delegation: nothing is recorded before the user has agreed to it.

The host delegates to an agent that only asks for consent, with its own instructions and
tool, and goes on with what that agent gives back: True or False.

With a key, against the real service:

    OPENAI_API_KEY=... python examples/consent.py yes

Without one, or with --local, against a local server with a scripted model. What the
user says is given on the command line, one message after the other.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from trialogue import (
    Agent,
    OpenAIRealtime,
    RunContext,
    SessionOptions,
    function_tool,
    open_agent_session,
)
from trialogue.events import ReplyEnded
from trialogue.testing import Call, Reply, Turn, open_realtime_server

WRITTEN = SessionOptions(output_modalities=("text",))


class Consent(Agent[bool]):
    instructions = (
        "Ask whether the conversation may be recorded. Answer questions about that. As "
        "soon as the user has agreed or refused, call record_consent."
    )

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply()

    @function_tool
    async def record_consent(self, ctx: RunContext, given: bool) -> None:
        """Write down whether the user has agreed.

        Args:
            given: True only after a clear yes.
        """
        ctx.complete(given)


class Host(Agent):
    instructions = "You are a host. Call start_recording when the user wants that."

    @function_tool
    async def start_recording(self, ctx: RunContext) -> str:
        """Record the conversation from now on."""
        if not await ctx.session.delegate(Consent()):  # a bool, by Agent[bool]
            return "The user does not want to be recorded."
        print("  (recording)")
        return "The conversation is being recorded."


def scripted(turn: Turn) -> Reply:
    """What the local server's model says."""
    if turn.output is not None:
        return turn.output
    if "start_recording" in turn.tools:
        return Call("start_recording") if "record" in turn.user_text else "Welcome."
    if turn.user_text.lower().rstrip(".") in {"yes", "no"}:
        given = turn.user_text.lower().startswith("yes")
        return Call("record_consent", {"given": given})
    return "May I record our conversation? Please say yes or no."


@asynccontextmanager
async def open_model(local: bool) -> AsyncIterator[OpenAIRealtime]:
    if not local:
        yield OpenAIRealtime("gpt-realtime", options=WRITTEN)
        return
    async with open_realtime_server(scripted, port=0) as server:
        yield OpenAIRealtime(api_key="any", base_url=server.url, options=WRITTEN)


async def main(local: bool, messages: Sequence[str]) -> None:
    async with (
        open_model(local) as model,
        open_agent_session(model) as session,
        session.subscribe(ReplyEnded) as replies,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.run, Host())
        waiting = ["Please record our conversation.", *messages]
        while waiting:
            print(f"user: {waiting[0]}")
            report = await session.send_message(waiting.pop(0))
            report.raise_for_failures()
            nursery.start_soon(session.generate_reply)
            async for reply in replies:
                if reply.outcome.text:  # else it only called a tool
                    print(f"{reply.agent}: {reply.outcome.text}")
                    break
        session.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Recorded only with consent.")
    parser.add_argument("messages", nargs="+", help='what the user says, such as "yes"')
    parser.add_argument("--local", action="store_true", help="needs no key")
    given = parser.parse_args()
    trio.run(main, given.local or "OPENAI_API_KEY" not in os.environ, given.messages)
