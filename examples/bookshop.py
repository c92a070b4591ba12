"""A bookshop on the telephone: three agents, somebody else's tools, and two safeguards.

The clerk's tools are those of an MCP server, which is a process of its own. Money goes
back only when somebody at the shop approves. And when the cashier promises what nobody
can promise, a guardrail cuts it short. What happened is written down as one page:

    python examples/bookshop.py report.html

A local server plays the model and a caller is put together from noise, so that neither
a key nor a microphone is needed. It needs the extra: `pip install 'trialogue[mcp]'`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import trio

from trialogue import (
    Agent,
    AgentSession,
    Handoff,
    OpenAIRealtime,
    RunContext,
    Trip,
    function_tool,
    open_agent_session,
    output_guardrail,
)
from trialogue.audio import NullOutput
from trialogue.events import ApprovalRequested, GuardrailTripped, ReplyEnded
from trialogue.mcp import MCPServerStdio
from trialogue.testing import (
    Call,
    Pace,
    Reply,
    Settings,
    Turn,
    Utterances,
    open_realtime_server,
    quiet,
)

SERVER = str(Path(__file__).with_name("mcp_books_server.py"))
BOOKS = MCPServerStdio(sys.executable, [SERVER], name="books")
CHUNK = 960
"""Bytes of 20 ms of sound."""


@output_guardrail
async def no_promises(ctx: RunContext, text: str) -> Trip | None:
    if "promise" in text.lower():
        return Trip("a promise", say="Say that you cannot be certain.")
    return None


class Cashier(Agent):
    instructions = "You give money back. Promise nothing."
    guardrails = (no_promises,)

    @function_tool(needs_approval=True)
    async def refund(self, title: str, euros: int) -> str:
        """Give money back for a book."""
        return f"{euros} euros for {title} are on their way."


class Clerk(Agent):
    instructions = "You know where the books stand. Money is the cashier's affair."
    tools = (BOOKS,)

    @function_tool
    async def to_cashier(self) -> Handoff:
        """Transfer a customer who wants money back."""
        return Handoff(Cashier(), speech="finish")


class Reception(Agent):
    instructions = "You find out what a customer wants, and transfer."

    @function_tool
    async def to_clerk(self) -> Agent:
        """Transfer a customer who looks for a book."""
        return Clerk()


async def at_the_shop(ctx: RunContext, request: ApprovalRequested) -> bool:
    """Decides on refunds; here in a second, and always in the customer's favour."""
    print(f"  ({request.tool} {request.arguments}?)")
    await trio.sleep(1)
    return True


CALLER = {
    "I am looking for Emma.": "Clerk",
    "I want my money back for Ulysses.": "Cashier",
    "Will it be there tomorrow?": "Cashier",
}
"""What the caller says, and who answers it in the end."""


def scripted(turn: Turn) -> Reply:
    """What the local server's model does."""
    if "cannot be certain" in turn.instructions:
        return "I cannot be certain."
    if turn.output is not None and not turn.output.startswith("transferred"):
        return turn.output
    if "find out" in turn.instructions:
        return ["One moment.", Call("to_clerk")]
    if "books stand" in turn.instructions and "Emma" in turn.user_text:
        return Call("find_book", {"title": "Emma"})
    if "books stand" in turn.instructions:
        return ["The cashier will see to it.", Call("to_cashier")]
    if "money back" in turn.user_text:
        return Call("refund", {"title": "Ulysses", "euros": 30})
    return "I promise. It will be there tomorrow at noon, and not a single day later."


async def speak(session: AgentSession, pcm: bytes) -> None:
    """Say something at the pace of speech, and wait for a while."""
    began = trio.current_time()
    for at in range(0, len(pcm), CHUNK):
        session.push_audio(pcm[at : at + CHUNK])
        await trio.sleep_until(began + (at + CHUNK) / 48_000)


async def main(page: trio.Path | None) -> None:
    known = Utterances()
    settings = Settings(pace=Pace(burst=1))  # no faster than it is heard
    async with (
        open_realtime_server(
            scripted, port=0, settings=settings, utterances=known
        ) as server,
        open_agent_session(
            OpenAIRealtime(api_key="any", base_url=server.url),
            audio=(None, NullOutput()),
            approve=at_the_shop,
        ) as session,
        session.subscribe(ReplyEnded, GuardrailTripped) as events,
        trio.open_nursery() as nursery,
    ):
        await session.open_tool_set(BOOKS)  # nobody waits for its start later
        nursery.start_soon(session.run, Reception())
        for words, answers in CALLER.items():
            print(f"caller: {words}")
            await speak(session, known.say(words) + quiet(800))
            async for event in events:
                match event:
                    case GuardrailTripped(guardrail=name, reason=reason):
                        print(f"  ({name}: {reason})")
                    case ReplyEnded(agent=agent, outcome=outcome) if outcome.text:
                        cut = "" if outcome.outcome == "completed" else " [cut]"
                        print(f"{agent}: {outcome.text}{cut}")
                        if agent == answers and not cut:
                            break
            await session.wait_for_playout()
        session.end()
    if page is not None:
        await page.write_text(session.report().to_html(), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A bookshop on the telephone.")
    parser.add_argument("page", nargs="?", type=trio.Path, help="where it is reported")
    trio.run(main, parser.parse_args().page)
