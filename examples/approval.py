"""Approval: money is only paid when somebody at the keyboard has said yes.

Small sums are paid at once; a function of the arguments says which are not small. For
those the session asks a handler, which asks whoever runs this program. Meanwhile the
conversation goes on, and after 30 seconds without an answer nothing is paid.

With a key, against the real service:

    OPENAI_API_KEY=... python examples/approval.py "Pay Ann 20 euros." "And Bob 500."

Without one, or with --local, against a local server with a scripted model. What the
user says is given on the command line, one message after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from trialogue import (
    Agent,
    OpenAIRealtime,
    RunContext,
    SessionOptions,
    ToolError,
    function_tool,
    open_agent_session,
)
from trialogue.events import ApprovalRequested, ReplyEnded
from trialogue.testing import Call, Reply, Turn, open_realtime_server

WRITTEN = SessionOptions(output_modalities=("text",))


def is_much(ctx: RunContext, arguments: dict[str, Any]) -> bool:
    return bool(arguments["euros"] > 100)


class Bank(Agent):
    instructions = "You are a bank. Call pay when the user wants somebody to be paid."

    @function_tool(needs_approval=is_much)
    async def pay(self, ctx: RunContext, name: str, euros: int) -> str:
        """Pay somebody.

        Args:
            name: who is paid.
            euros: how much.
        """
        print(f"  ({euros} euros to {name})")
        return f"{name} was paid {euros} euros."


async def ask_at_the_keyboard(ctx: RunContext, request: ApprovalRequested) -> bool:
    """Decide on a call; it is refused as well if this takes too long, or raises."""
    asked = json.loads(request.arguments)
    if asked["euros"] > 10_000:
        raise ToolError("so much is only paid at the counter")  # the model reads this
    question = f"  pay {asked['euros']} euros to {asked['name']}? (yes/no) "
    # In a thread that is left to itself when nobody waits for the answer any more.
    answer = await trio.to_thread.run_sync(input, question, abandon_on_cancel=True)
    return answer.strip().lower() == "yes"


def scripted(turn: Turn) -> Reply:
    """What the local server's model says."""
    if turn.output is not None:
        return turn.output
    if wanted := re.search(r"(\w+) (\d+)", turn.user_text):
        return Call("pay", {"name": wanted[1], "euros": int(wanted[2])})
    return "Whom do you want to pay, and how much?"


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
        open_agent_session(
            model, approve=ask_at_the_keyboard, approval_timeout=30
        ) as session,
        session.subscribe(ReplyEnded) as replies,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.run, Bank())
        for message in messages:
            print(f"user: {message}")
            report = await session.send_message(message)
            report.raise_for_failures()
            nursery.start_soon(session.generate_reply)
            async for reply in replies:
                if reply.outcome.text:  # else it only called a tool
                    print(f"bank: {reply.outcome.text}")
                    break
        session.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Paid only when approved.")
    parser.add_argument("messages", nargs="+", help="what the user says")
    parser.add_argument("--local", action="store_true", help="needs no key")
    given = parser.parse_args()
    trio.run(main, given.local or "OPENAI_API_KEY" not in os.environ, given.messages)
