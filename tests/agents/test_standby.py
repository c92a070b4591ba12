"""Fresh handoffs with a warm standby, and handoffs near a rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import (
    KELLY,
    SUNNY,
    Greeter,
    Weather,
    model_of,
    on_stage,
    running,
    transferring_brain,
    until,
)
from trialogue import Agent, RunContext, SessionOptions, Timing, function_tool
from trialogue.agents.events import HandoffCompleted, HandoffMeasured
from trialogue.realtime.notices import ConnectionOpened
from trialogue.testing import Call, Network, Say, Settings, Turn

if TYPE_CHECKING:
    from stage import Stage

FIXED = {"capabilities": {"mutable_instructions": False}}
"""A model that takes a fresh connection for each agent."""
FAR = Network(one_way=0.1)
ROUND_TRIP = 0.2
LIMIT = 600.0
DUE = LIMIT - Timing().rotate_before


class Caller(Greeter):
    """A greeter that the model makes transfer as soon as it enters."""

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Please transfer to weather.")


def eager(turn: Turn) -> Any:
    """Kelly transfers at once; Sunny speaks."""
    if "transfer" in (turn.override or "").lower() and turn.output is None:
        return [Say("One moment."), Call("transfer_to_weather")]
    return Say("Sunny here." if "Sunny" in turn.instructions else "Kelly here.")


async def hand_over(stage: Stage, agent: Agent, *, warm_up: float = 0.0) -> Any:
    """Run an agent that hands over as soon as it enters; return the timings."""
    await trio.sleep(warm_up)
    async with running(stage, agent):
        await until(lambda: stage.of(HandoffMeasured))
        await stage.session.wait_for_playout()
    return stage.of(HandoffMeasured)[-1].timings


@pytest.mark.behaviour("H1", "H2", "H14")
async def test_with_a_standby_a_fresh_handoff_costs_what_a_reused_one_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Decision to the new agent's response: one round trip each, for both modes."""
    took = {}
    for name, model, standby in (
        ("reused", {}, False),
        ("warm", FIXED, True),
        ("cold", FIXED, False),
    ):
        async with on_stage(
            eager, server={"network": FAR}, model=model, standby=standby
        ) as stage:
            timings = await hand_over(stage, Caller(), warm_up=5)
            assert timings.reused == (name == "reused")
            took[name] = timings.response_created - timings.committed
            assert stage.heard_under()[-1] == f"{SUNNY}\n\nIntroduce yourself."
            assert stage.server.protocol_errors == []
    assert took["reused"] == pytest.approx(ROUND_TRIP, abs=0.002)
    assert took["warm"] == pytest.approx(ROUND_TRIP, abs=0.002)
    assert took["cold"] == pytest.approx(4 * ROUND_TRIP, abs=0.002)


@pytest.mark.behaviour("H2")
async def test_a_standby_of_another_model_is_of_no_use_and_replaced(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The handoff dials its own model; from then on a spare of that one is kept."""
    async with on_stage(eager, server={"network": FAR}, standby=True) as stage:
        other = model_of(stage.server, options=SessionOptions(speed=1.2))

        class Elsewhere(Weather):
            model = other

        class Sends(Caller):
            @function_tool
            async def transfer_to_weather(self, ctx: RunContext) -> Agent:
                """Transfer."""
                return Elsewhere()

        timings = await hand_over(stage, Sends(), warm_up=5)
        taken = timings.response_created - timings.committed
        assert taken == pytest.approx(4 * ROUND_TRIP, abs=0.002)
        await trio.sleep(5)
        assert len(stage.server.live) == 2
        assert stage.session.realtime.model == other
        assert [e.reason for e in stage.of(ConnectionOpened)] == ["handoff"]


class There(Greeter):
    """Hands over when its tool, that takes its time, is called."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Please transfer to weather.")

    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Agent:
        """Transfer to the weather specialist."""
        await trio.sleep(self._seconds)
        return Weather()


@pytest.mark.behaviour("C3", "H1")
@pytest.mark.parametrize("before", [0.9, 0.7, 0.5, 0.3, 0.1, 0.0, -0.1, -0.5])
@pytest.mark.parametrize("fixed", [False, True], ids=["reuse", "fresh"])
async def test_a_handoff_at_any_moment_of_a_rotation_is_a_handoff(
    autojump_clock: trio.testing.MockClock, before: float, fixed: bool
) -> None:
    """Its decision falls before, while, or after the connections change."""
    settings = Settings(max_duration=LIMIT, wall=trio.current_time)
    async with on_stage(
        eager,
        server={"network": FAR, "settings": settings},
        model=FIXED if fixed else {},
        wall=trio.current_time,
    ) as stage:
        await trio.sleep_until(DUE + 0.8 - before - 6)
        async with running(stage, There(5)):
            await until(lambda: stage.of(HandoffMeasured))
            await stage.session.wait_for_playout()
            await until(lambda: len(stage.server.connections) > 1, LIMIT)
            await trio.sleep(5)
        assert [e.timings.next for e in stage.of(HandoffCompleted)] == ["Weather"]
        heard = stage.heard_under()
        assert heard == [
            f"{KELLY}\n\nPlease transfer to weather.",
            f"{SUNNY}\n\nIntroduce yourself.",
        ]
        held = [item.id for item in stage.server.connections[-1].conversation.items]
        assert held == [item.id for item in stage.session.chat_ctx]
        assert not any(c.find("error", "out") for c in stage.server.connections)


async def test_agents_talk_on_over_many_rotations(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Back and forth for an hour of ten-minute sessions."""
    settings = Settings(max_duration=LIMIT, wall=trio.current_time)
    async with on_stage(
        transferring_brain,
        server={"settings": settings},
        wall=trio.current_time,
        standby=True,
    ) as stage:
        async with running(stage, Greeter(), 4000):
            for _ in range(60):
                await trio.sleep(60)
                await stage.session.generate_reply()
        opened = [event.reason for event in stage.of(ConnectionOpened)]
        assert set(opened) == {"rotation"}
        assert len(opened) >= 7
        held = [item.id for item in stage.server.live[0].conversation.items]
        assert held == [item.id for item in stage.session.chat_ctx]
