"""Our client against a server that is not ours: `python aimock.py FOLDER`.

The folder is where npm has installed `@copilotkit/aimock`. It only writes. The
conversation is that of the other clients: a tool call, and a handoff to an agent who
speaks first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from interop.cast import ASK_ORDER, DESK, GREETING, ORDERS, REFUNDS, WANT_MONEY
from interop.processes import NotAsExpected, serving
from interop.relay import Relay
from interop.seen import problems
from trialogue import (
    Agent,
    OpenAIRealtime,
    RunContext,
    SessionOptions,
    TrialogueError,
    function_tool,
    open_agent_session,
)
from trialogue.events import ReplyEnded

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS: Final = 60.0
FIXTURES: Final = Path(__file__).resolve().parent / "aimock.json"
PROGRAM: Final = Path("node_modules", "@copilotkit", "aimock", "dist", "cli.js")


class Refunds(Agent):
    """Takes over, and speaks first."""

    name = "refunds"
    instructions = REFUNDS

    async def on_enter(self, ctx: RunContext) -> None:
        """Speak."""
        await ctx.session.generate_reply()


class Desk(Agent):
    """Answers, and hands over."""

    name = "desk"
    instructions = DESK

    @function_tool
    async def look_up(self, order: int) -> str:
        """Say where an order is."""
        return ORDERS[order]

    @function_tool
    async def transfer_to_refunds(self) -> Agent:
        """Transfer to whoever gives money back."""
        return Refunds()


async def talk(url: str) -> None:
    """Hold the conversation, and demand that the second agent has greeted."""
    model = OpenAIRealtime(
        "gpt-realtime",
        api_key="local",
        base_url=url,
        options=SessionOptions(output_modalities=("text",)),
    )
    heard = ""
    with trio.fail_after(SECONDS):
        async with open_agent_session(model) as session, trio.open_nursery() as nursery:
            nursery.start_soon(session.run, Desk())
            async with session.subscribe(ReplyEnded) as replies:
                for words, agent in ((ASK_ORDER, "desk"), (WANT_MONEY, "refunds")):
                    await session.realtime.send_message(words)
                    await session.generate_reply()
                    while True:
                        reply = await replies.receive()
                        heard = reply.outcome.text
                        if heard and reply.agent == agent:
                            break
                    print(f"{agent}: {heard}")
            session.end()
    if heard != GREETING:
        raise NotAsExpected(f"the second agent said {heard!r}")


async def converse(folder: Path) -> Relay:
    """Start the server, and hold the conversation through a relay."""
    command = [
        *("node", str(folder / PROGRAM), "--port", "0"),
        *("--fixtures", str(FIXTURES), "--strict"),
    ]
    async with serving(command) as url:
        relay = Relay(url.replace("http", "ws", 1) + "/v1/realtime")
        async with relay.serving() as near:
            await talk(near)
    return relay


def main(arguments: Sequence[str]) -> int:
    """Return 1, and say why, if it did not go well."""
    print("--- aimock, text", flush=True)
    try:
        relay = trio.run(converse, Path(arguments[0]))
        found = problems(relay.frames, modality="text")
        if found:
            raise NotAsExpected("; ".join(found))
    except (NotAsExpected, TrialogueError, trio.TooSlowError) as error:
        print(f"FAILED: {error!r}", flush=True)
        return 1
    print(f"ok: {len(relay.frames)} frames, and all of it went over the wire")
    print(f"the relay gave {relay.repaired} responses their metadata", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
