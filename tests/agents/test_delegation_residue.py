"""What many delegations and handoffs leave behind: nothing; and what they leave alone.

Nested and chained, by a seed, with a child that fails or is cancelled now and then.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from delegating import Doing
from leftovers import QUIET, counted, tasks
from stage import on_stage, until
from trialogue import Agent, RunContext, function_tool
from trialogue.agents.events import DelegationEnded, HandoffCompleted, HandoffStarted
from trialogue.realtime.notices import ErrorNotice
from trialogue.testing import Call, Say, Turn
from trialogue.testing.scheduling import seeded

if TYPE_CHECKING:
    from collections import Counter

    from stage import Stage

EACH = 100
"""Delegations and handoffs of each round; two rounds fill every bounded memory."""


class Odd(Exception):
    """What a child may raise."""


class Cast(Agent):
    """One of two who hand over to each other, and delegate by a seed."""

    def __init__(self, rng: random.Random, name: str) -> None:
        super().__init__(f"You are {name}, one of two.", name=name)
        self.rng = rng

    @function_tool
    async def delegate(self, ctx: RunContext) -> str:
        """Delegate to somebody."""
        return await self.somebody(ctx, 0)

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Hand over to the other one."""
        return Cast(self.rng, "Tick" if self.name == "Tock" else "Tock")

    async def somebody(self, ctx: RunContext, depth: int) -> str:
        """Delegate to a child that does one thing or another."""
        what = self.rng.choice(("gives", "gives", "speaks", "deeper", "chain", "fails"))
        child = Doing(self.doing(what, depth), f"{what} {depth}")
        limit = 0.0001 if self.rng.random() < 0.1 else 60
        with trio.move_on_after(limit):
            try:
                value: str = await ctx.session.delegate(child)
            except Odd:
                return "it failed"
            return value
        return "it took too long"

    def doing(self, what: str, depth: int) -> Any:
        async def act(ctx: RunContext) -> Agent | None:
            if what == "fails":
                raise Odd
            if what == "speaks":
                await ctx.session.generate_reply(instructions="Say who you are.")
            if what == "deeper" and depth < 3:
                ctx.complete(await self.somebody(ctx, depth + 1))
            elif what == "chain" and depth < 3:
                return Doing(self.doing("speaks", depth + 1), f"chained {depth}")
            else:
                ctx.complete(what)
            return None

        return act


def brain(turn: Turn) -> Any:
    """Whoever is told to do something does it; everybody else says a word."""
    told = turn.output is None and turn.override is None
    for tool in ("delegate", "transfer"):
        if told and tool in turn.tools and turn.user_text.startswith(tool):
            return [Say("One moment.", ms=60), Call(tool)]
    return Say("Well.", ms=60)


async def one_more(stage: Stage, words: str) -> None:
    """Have something done, and wait until all is quiet again."""
    session = stage.session
    await session.realtime.send_message(words)
    await session.generate_reply()
    with trio.fail_after(60):
        await session.changed.until(
            lambda: (
                not any(session.realtime.open_work.values())
                and session.scope is not None
                and session.scope.quiet
                and session.scope.stands
            )
        )
    await session.wait_for_playout()


def changes(stage: Stage) -> int:
    return len(stage.of(DelegationEnded)) + len(stage.of(HandoffStarted))


@pytest.mark.behaviour("H12", "H11")
@pytest.mark.parametrize("seed", [1])
async def test_a_hundred_delegations_and_handoffs_leave_no_residue(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    """Tasks, table and objects as before; what was said first is untouched."""
    rng = random.Random(seed)
    seen: list[tuple[int, dict[str, int], Counter[str]]] = []
    async with on_stage(brain) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, Cast(rng, "Tick"))
            await until(lambda: stage.session.scope is not None)
            await one_more(stage, "hello")
            first = [held.item.id for held in stage.server.live[0].conversation]
            for _ in range(3):
                rng.seed(seed)  # what is remembered of one round is as of the other
                with seeded(seed):
                    await many(stage, rng)
                seen.append((tasks(), stage.session.realtime.open_work, counted()))
            nursery.cancel_scope.cancel()
        early, final = seen[-2:]
        assert final[0] == early[0]
        assert final[1] == QUIET
        assert not stage.session.realtime.replying.aside
        # How a kept scope came to be cancelled is for the schedule to say.
        grown = final[2] - early[2]
        assert {kind for kind in grown if kind != "CancelReason"} == set()
        (connection,) = stage.server.connections
        held = [item.id for item in connection.conversation]
        assert held == [item.id for item in stage.session.chat_ctx]
        assert held[: len(first)] == first
        kinds = [e.type for e in stage.sent()]
        assert "conversation.item.delete" not in kinds
        made_here = stage.sent("conversation.item.create")
        spoken = [e for e in made_here if e.event["item"].get("role") == "assistant"]
        assert spoken == []
        (sound,) = [
            held.item for held in connection.conversation if held.item.id == first[1]
        ]
        assert [part.type for part in sound.content] == ["output_audio"]
        assert stage.server.protocol_errors == []


async def many(stage: Stage, rng: random.Random) -> None:
    """Delegate and hand over until enough of them have come to an end."""
    stage.events.clear()
    while changes(stage) < EACH:
        tool = "transfer" if rng.random() < 0.3 else "delegate"
        await one_more(stage, tool)
        await trio.testing.wait_all_tasks_blocked()
    ended = stage.of(DelegationEnded)
    assert {e.outcome for e in ended} == {"completed", "failed", "cancelled"}
    assert any(e.agent not in {"Tick", "Tock"} for e in ended)  # nested
    assert any(e.to.startswith("chained") for e in ended)
    assert len(stage.of(HandoffCompleted)) > EACH // 10
    assert not stage.of(ErrorNotice)
    stage.events.clear()
