"""The local work of a handoff: from the tool's return to the burst that is written.

In between lie the preparation of the next agent, the decision, the end of the old
agent's scope, and the encoding and writing of one batch. The network has no part in it:
each tool returns when the response that called it has ended, so that nothing is waited
for. The server runs in the same process, and its own work is not counted unless it
comes between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from bench.figures import Figures
from stage import model_of
from trialogue import Agent, RunContext, SessionOptions, function_tool
from trialogue.agents.opening import open_agent_session
from trialogue.events import HandoffCompleted, ReplyEnded
from trialogue.testing import Call, Pace, RealtimeServer, Say, Settings, Turn

if TYPE_CHECKING:
    from trialogue.agents.session import AgentSession

__all__ = ["measure"]

BUDGET = 0.003
PATIENCE = 30.0
TEXT = SessionOptions(output_modalities=("text",))
PACE = Pace(think_ms=0, text_ms=0, rate_limits_ms=None)
RULES = " ".join(f"Rule {n}: be polite, be brief, and never guess." for n in range(40))


class Clerk(Agent):
    """An agent of the usual size: a page of instructions, and five tools."""

    def __init__(self, desk: int) -> None:
        super().__init__(f"You are the clerk of desk {desk}. {RULES}", name=f"{desk}")
        self.desk = desk

    @function_tool
    async def transfer(self, ctx: RunContext, reason: str) -> Agent:
        """Transfer to the next desk.

        Args:
            reason: why.
        """
        realtime = ctx.session.realtime
        await realtime.changed.until(lambda: realtime.replying.slot.active is None)
        return Clerk(self.desk + 1)

    @function_tool
    async def look_up(
        self, ctx: RunContext, number: int, detailed: bool = False
    ) -> str:
        """Look up an order."""
        return f"{number} {detailed}"

    @function_tool
    async def refund(self, ctx: RunContext, number: int, amount: float) -> str:
        """Refund a part of an order."""
        return f"{number} {amount}"

    @function_tool
    async def call_back(self, ctx: RunContext, when: str) -> str:
        """Have somebody call back."""
        return when

    @function_tool
    async def note(self, ctx: RunContext, text: str, tags: list[str]) -> str:
        """Put something down."""
        return f"{text} {tags}"


def brain(turn: Turn) -> Any:
    if turn.output is None:
        return Call("transfer", {"reason": "It is another desk's business."})
    return Say("How can I help?")


async def measure(times: int) -> Figures:
    """Hand over so many times, in one conversation; the first time does not count.

    What is made once in a process, the converters of the protocol's classes above all,
    is made in that one.
    """
    settings = Settings(pace=PACE, oddities=False)
    async with (
        RealtimeServer(brain, settings=settings).serving() as server,
        open_agent_session(model_of(server, options=TEXT)) as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.run, Clerk(1))
        await session.changed.until(lambda: session.scope and session.scope.stands)
        for _ in range(times + 1):
            await _hand_over(session)
        timings = session.handoffs[1:][-times:]
        session.end(now=True)
    written = [
        one.burst_written - one.requested
        for one in timings
        if one.burst_written is not None
    ]
    assert len(written) == min(times, 999)
    return Figures("handoff: tool returned -> burst written", tuple(written), BUDGET)


async def _hand_over(session: AgentSession) -> None:
    """The user asks for it; then wait until the new agent has said its first words."""
    async with session.subscribe(HandoffCompleted, ReplyEnded) as events:
        await session.realtime.send_message("I need another desk.")
        with trio.fail_after(PATIENCE):
            await session.generate_reply()
            agreed = False
            async for event in events:
                agreed = agreed or isinstance(event, HandoffCompleted)
                if agreed and isinstance(event, ReplyEnded) and event.outcome.text:
                    return
