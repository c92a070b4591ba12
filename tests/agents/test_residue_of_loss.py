"""A connection that was lost long ago keeps nothing alive of what came after it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import Greeter, Weather, on_stage, until
from trialogue.agents.scope import AgentScope
from trialogue.testing import Call, Say, Turn, cut

if TYPE_CHECKING:
    from stage import Stage


def back_and_forth(turn: Turn) -> Any:
    """Whoever is asked for the other one hands over; the other one says hello."""
    sunny = "Sunny" in turn.instructions
    if turn.override is None and "other" in turn.user_text and turn.output is None:
        return Call("transfer_to_greeter" if sunny else "transfer_to_weather")
    return Say("Hello.", ms=40)


async def hand_over(stage: Stage, number: int) -> None:
    realtime = stage.session.realtime
    edited = stage.session.chat_ctx.add_message("user", f"The other one ({number}).")
    await stage.session.update_chat_ctx(edited)
    await stage.session.generate_reply()
    target = Weather if number % 2 else Greeter
    await until(lambda: isinstance(stage.session.agent, target))
    await until(lambda: len(stage.session.handoffs) == number)
    await until(lambda: not any(realtime.open_work.values()))
    await stage.session.wait_for_playout()


def scopes() -> int:
    gc.collect()
    return sum(isinstance(thing, AgentScope) for thing in gc.get_objects())


@pytest.mark.behaviour("H11")
async def test_handoffs_after_a_lost_connection_leave_no_residue(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What ended the connection is remembered; the agents since then are not."""
    seen: list[int] = []
    async with on_stage(back_and_forth) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.session.run, Greeter())
        await hand_over(stage, 1)
        stage.server.inject(cut(before="session.updated"))
        await stage.session.update_instructions("You are Sunny, and brief.")
        await until(lambda: len(stage.server.connections) == 2)
        await until(lambda: stage.session.realtime.settled)
        for number in range(2, 122):
            await hand_over(stage, number)
            if number in {51, 121}:
                stage.events.clear()
                seen.append(scopes())
        stage.session.end()
    assert seen[1] - seen[0] <= 1
