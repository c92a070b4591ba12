"""Guardrails: what an agent may not say, what the user should not be answered.

A clerk that must not promise anything. When it does, it is cut short and takes it back;
when somebody speaks of a lawyer, a person takes over.

With a key, against the real service:

    OPENAI_API_KEY=... python examples/guardrails.py "Will it arrive tomorrow?"

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
    Handoff,
    OpenAIRealtime,
    RunContext,
    SessionOptions,
    Trip,
    input_guardrail,
    open_agent_session,
    output_guardrail,
)
from trialogue.events import GuardrailTripped, ReplyEnded
from trialogue.testing import Pace, Reply, Settings, Turn, open_realtime_server

WRITTEN = SessionOptions(output_modalities=("text",))
DESK = Agent("You are the complaints desk. Say that a person will call.", name="Desk")


@output_guardrail
async def no_promises(ctx: RunContext, text: str) -> Trip | None:
    if "promise" in text.lower():
        return Trip(
            "a promise", say="Say that you cannot be certain, and nothing else."
        )
    return None


@input_guardrail
async def lawyers(ctx: RunContext, text: str) -> Trip | None:
    return Trip("a lawyer", handoff=Handoff(DESK)) if "lawyer" in text else None


class Clerk(Agent):
    instructions = "You are a clerk who tells customers when their parcels arrive."
    guardrails = (no_promises, lawyers)


def scripted(turn: Turn) -> Reply:
    """What the local server's model says."""
    if "complaints" in turn.instructions:
        return "A person will call you."
    if "cannot be certain" in turn.instructions:
        return "I cannot be certain."
    if "tomorrow" in turn.user_text:
        return "I promise. You will have it by tomorrow at noon, or in the evening."
    return "Good morning. What can I do for you?"


@asynccontextmanager
async def open_model(local: bool) -> AsyncIterator[OpenAIRealtime]:
    if not local:
        yield OpenAIRealtime("gpt-realtime", options=WRITTEN)
        return
    settings = Settings(pace=Pace(text_ms=150))  # no faster than it could be spoken
    async with open_realtime_server(scripted, port=0, settings=settings) as server:
        yield OpenAIRealtime(api_key="any", base_url=server.url, options=WRITTEN)


async def main(local: bool, messages: Sequence[str]) -> None:
    async with (
        open_model(local) as model,
        open_agent_session(model) as session,
        session.subscribe(ReplyEnded, GuardrailTripped) as events,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.run, Clerk())
        for message in messages:
            print(f"user: {message}")
            report = await session.send_message(message)
            report.raise_for_failures()
            if session.agent is not DESK:  # who speaks as soon as it has taken over
                nursery.start_soon(session.generate_reply)
            async for event in events:
                match event:
                    case GuardrailTripped(guardrail=name, reason=reason):
                        print(f"  ({name}: {reason})")
                    case ReplyEnded(agent=agent, outcome=outcome):
                        if outcome.outcome == "completed":
                            print(f"{agent}: {outcome.text}")
                            break
        session.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A clerk that promises nothing.")
    parser.add_argument("messages", nargs="+", help="what the user says")
    parser.add_argument("--local", action="store_true", help="needs no key")
    given = parser.parse_args()
    trio.run(main, given.local or "OPENAI_API_KEY" not in os.environ, given.messages)
