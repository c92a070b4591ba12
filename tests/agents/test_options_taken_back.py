"""Options of one agent do not bind the next, whatever became of their update."""

from __future__ import annotations

import pytest

from stage import on_stage, running, until
from trialogue import Agent, RunContext, SessionOptions
from trialogue.realtime.requests import RequestState
from trialogue.testing import lose, swallow


class Successor(Agent):
    """Sets no options."""

    instructions = "You are the successor."


@pytest.mark.behaviour("H16")
@pytest.mark.parametrize("answered", [True, False], ids=["answered", "unanswered"])
async def test_option_of_one_agent_is_taken_back_for_the_next(
    answered: bool, autojump_clock: object
) -> None:
    """An update whose answer never came may have taken effect all the same."""
    faults = [] if answered else [swallow("session.updated", nth=2)]
    forced = SessionOptions(tool_choice="required", speed=1.2)
    async with (
        on_stage(lambda turn: "Hello.", server={"faults": faults}) as stage,
        running(stage, Agent(instructions="You are the first.")),
    ):
        realtime = stage.session.realtime
        await until(lambda: realtime.settled)
        report = await realtime.update_options(forced, ack_timeout=0.5)
        [request] = report.requests
        expected = RequestState.ACKNOWLEDGED if answered else RequestState.UNANSWERED
        assert request.state is expected
        await stage.session.handoff(Successor())
        [connection] = stage.server.connections
        has = connection.machine.session
        assert has.instructions == "You are the successor."
        assert has.tool_choice == "auto"
        assert has.audio
        assert has.audio.output
        assert has.audio.output.speed == 1.0


class Speaking(Successor):
    """Asks for a reply at once, which runs ahead of the update's answer."""

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")


@pytest.mark.behaviour("H16", "H4")
@pytest.mark.parametrize(
    ("options", "connections"),
    [(SessionOptions(tool_choice="required"), 1), (SessionOptions(speed=1.2), 2)],
    ids=["again", "fresh"],
)
async def test_update_that_was_lost_takes_back_in_the_end_as_it_should_have(
    options: SessionOptions, connections: int, autojump_clock: object
) -> None:
    """The server answers the reply that went ahead, and not the update.

    It is said again; but for the speed, fixed while that reply is spoken: there
    a fresh connection takes over.
    """
    faults = [lose("session.update", nth=2)]
    async with (
        on_stage(lambda turn: "Hello.", server={"faults": faults}) as stage,
        running(stage, Agent(instructions="You are the first.", options=options)),
    ):
        await until(lambda: stage.session.realtime.settled)
        await stage.session.handoff(Speaking())
        await until(lambda: stage.session.realtime.settled)
        assert len(stage.server.connections) == connections
        has = stage.server.connections[-1].machine.session
        assert has.instructions == "You are the successor."
        assert has.tool_choice == "auto"
        assert has.audio
        assert has.audio.output
        assert has.audio.output.speed == 1.0
