"""What many handoffs, and late answers, leave behind: nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import trio

from leftovers import QUIET, counted, tasks
from stage import Greeter, Weather, on_stage, until
from trialogue.agents.events import (
    HandoffFailed,
    HandoffStarted,
)
from trialogue.realtime.notices import ErrorNotice
from trialogue.testing import (
    Call,
    Network,
    Say,
    Turn,
    late,
    silence,
    silent_connect,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stage import Stage

WARMING_UP = 130
"""Handoffs until every bounded memory (256 spoken items are the longest) is full."""
HANDOFFS = WARMING_UP + 100


def back_and_forth(turn: Turn) -> Any:
    """Whoever is asked for the other one hands over; the other one says hello."""
    name = "Sunny" if "Sunny" in turn.instructions else "Kelly"
    if turn.override is None and "other" in turn.user_text and turn.output is None:
        other = "transfer_to_greeter" if name == "Sunny" else "transfer_to_weather"
        return [Say("One moment.", ms=60), Call(other)]
    return Say(f"{name} here.", ms=60)


async def written(stage: Stage, words: str) -> None:
    """Write something as the user, and ask for the reply."""
    edited = stage.session.chat_ctx.add_message("user", words)
    report = await stage.session.update_chat_ctx(edited)
    report.raise_for_failures()
    await stage.session.generate_reply()


@pytest.mark.behaviour("H11")
async def test_a_hundred_handoffs_back_and_forth_leave_no_residue(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Tasks, table and objects are after a hundred as before; the record is exact."""
    seen: list[tuple[int, dict[str, int], Counter[str]]] = []
    async with on_stage(back_and_forth) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.session.run, Greeter())
        for number in range(1, HANDOFFS + 1):
            await one_more(stage, number)
            if number in {WARMING_UP, HANDOFFS}:
                stage.events.clear()
                seen.append((tasks(), stage.session.realtime.open_work, counted()))
        stage.session.end()
    early, final = seen
    assert final[0] == early[0]
    assert final[1] == QUIET
    assert final[2] - early[2] == Counter()
    assert len(stage.server.connections) == 1
    assert len(stage.sent("session.update")) == 1 + HANDOFFS
    kinds = [type(item).__name__ for item in stage.session.chat_ctx]
    spoken = ["Message", "Message", "FunctionCall", "FunctionCallOutput", "Message"]
    assert kinds == spoken * HANDOFFS
    held = [item.id for item in stage.server.connections[0].conversation]
    assert held == [item.id for item in stage.session.chat_ctx]


async def one_more(stage: Stage, number: int) -> None:
    """Ask for the other agent, and wait until it has said hello and all is quiet."""
    realtime = stage.session.realtime
    target = Weather if number % 2 else Greeter
    await written(stage, f"The other one, please ({number}).")
    await until(lambda: isinstance(stage.session.agent, target))
    await until(lambda: len(stage.session.handoffs) == number)
    await until(lambda: not any(realtime.open_work.values()))
    await stage.session.wait_for_playout()
    await trio.testing.wait_all_tasks_blocked()  # whoever has just been woken


# --- the reference trace -------------------------------------------------------------


def is_output(event: Mapping[str, Any]) -> bool:
    """Whether a server event announces a tool output."""
    return bool(event.get("item", {}).get("type") == "function_call_output")


@pytest.mark.behaviour("H23")
async def test_an_output_acknowledged_late_stalls_no_handoff(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """5.5 s late: one round trip all the same; call and output once, and in order."""
    faults = [
        late(f"conversation.item.{kind}", seconds=5.5, match=is_output)
        for kind in ("added", "done")
    ]
    network = Network(one_way=0.03)
    async with on_stage(
        back_and_forth, server={"faults": faults, "network": network}
    ) as stage:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.session.run, Greeter())
                await one_more(stage, 1)
                heard_at = stage.session.handoffs[0].first_audio
                await trio.sleep(10)
                stage.session.end()
    (timings,) = stage.session.handoffs
    assert heard_at is not None
    assert heard_at - timings.committed < 0.060 + 0.060  # a round trip, and thinking
    assert not stage.of(HandoffFailed)
    assert not stage.of(ErrorNotice)
    (connection,) = stage.server.connections
    assert len(connection.find("response.created")) == 2
    for items in (
        [held.item for held in connection.conversation],
        stage.session.chat_ctx,
    ):
        kinds = [type(item).__name__ for item in items]
        assert kinds[1:] == ["Message", "FunctionCall", "FunctionCallOutput", "Message"]
    assert stage.session.realtime.open_work == QUIET


@pytest.mark.behaviour("H23")
async def test_an_output_acknowledged_after_the_next_handoff_changes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The acknowledgement comes when the agent it was for is gone, and is back."""
    faults = [
        late(f"conversation.item.{kind}", seconds=5.5, match=is_output)
        for kind in ("added", "done")
    ]
    async with on_stage(back_and_forth, server={"faults": faults}) as stage:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.session.run, Greeter())
                for number in (1, 2, 3):
                    await one_more(stage, number)
                assert trio.current_time() < 5
                await trio.sleep(10)
                stage.session.end()
    kinds = [type(item).__name__ for item in stage.session.chat_ctx]
    spoken = ["Message", "Message", "FunctionCall", "FunctionCallOutput", "Message"]
    assert kinds == spoken * 3
    held = [item.id for item in stage.server.connections[0].conversation]
    assert held == [item.id for item in stage.session.chat_ctx]
    assert len(stage.server.connections) == 1


@pytest.mark.behaviour("H23")
async def test_a_server_that_falls_silent_costs_a_handoff_five_seconds_in_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Every connection is silent at the update: the old agent is back after 5 s."""
    faults = [silence(before="session.update", nth=2), silent_connect(times=10, skip=1)]
    async with on_stage(back_and_forth, server={"faults": faults}) as stage:
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.session.run, Greeter())
                await written(stage, "The other one, please.")
                await until(lambda: stage.of(HandoffStarted))
                began = trio.current_time()
                await until(lambda: stage.of(HandoffFailed))
                assert trio.current_time() - began <= 5.0 + 0.01
                assert isinstance(stage.session.agent, Greeter)
                stage.session.end(now=True)
