"""Interleavings that a reader of the code would not expect."""

# Agents give their instructions as text, one of the types that the base class allows.
# mypy: disable-error-code="mutable-override"

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from stage import Greeter, Prompted, on_stage, prompted, running, until
from trialogue import Agent, RunContext, function_tool
from trialogue.agents.events import HandoffStarted
from trialogue.testing import Call


class Quiet(Agent):
    instructions = "You are Mo, and you wait."


class Relay(Agent):
    instructions = "You pass everybody on."

    async def on_enter(self, ctx: RunContext) -> Agent:
        return Quiet()


async def test_a_handoff_settles_before_the_new_agent_hands_over_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever waits for the first is told, though on_enter returned an agent."""
    async with on_stage() as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        with trio.fail_after(10):
            timings = await stage.session.handoff(Relay())
        assert (timings.previous, timings.next) == ("Greeter", "Relay")
        assert timings.acknowledged is not None
        await until(lambda: len(stage.session.handoffs) == 2)
        assert stage.session.handoffs[1].next == "Quiet"
        assert stage.session.handoffs[1].committed >= timings.acknowledged


class Thorough(Prompted):
    """Has a tool that is let finish, so that its scope is emptied late."""

    said: str = ""

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Hand over."""
        return Quiet()

    @function_tool(on_handoff="finish")
    async def file_report(self, ctx: RunContext) -> str:
        """File the report."""
        await trio.sleep(1)
        self.said = (await ctx.session.generate_reply()).outcome
        return "filed"


async def test_a_reply_asked_for_while_a_scope_is_emptied_is_the_next_agents(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After the decision the program's reply waits for the new agent, not for ever."""
    brain: Any = prompted(Call("file_report"), Call("transfer"))
    agent = Thorough()
    async with on_stage(brain) as stage, running(stage, agent):
        await until(lambda: stage.of(HandoffStarted))
        assert stage.session.agent is agent
        with trio.fail_after(10):
            outcome = await stage.session.generate_reply(instructions="Say goodbye.")
        assert outcome.outcome == "completed"
        made = [r.override for r in stage.server.connections[0].responses]
        assert f"{Quiet.instructions}\n\nSay goodbye." in made
        assert agent.said == "interrupted"
