"""For type checkers only: what `run_agent` and its turns give."""

from __future__ import annotations

from typing import Any, assert_type

import attrs

from trialogue import Agent, AgentSession
from trialogue.events import HandoffTimings, ToolFinished
from trialogue.testing import (
    AgentRun,
    Call,
    Exchange,
    ModelReply,
    Rule,
    Say,
    ToolCall,
    Turn,
    in_virtual_time,
    run_agent,
)


@attrs.define
class Basket:
    orders: int = 0


class Desk(Agent):
    instructions = "You sell."


async def check_the_types_of_a_run() -> None:
    async with run_agent(Desk()) as run:
        assert_type(run, AgentRun[None])
    async with run_agent(
        Desk(), [Rule("Yes.")], replies=["Hello."], userdata=Basket(), seed=1
    ) as shop:
        assert_type(shop, AgentRun[Basket])
        assert_type(shop.userdata.orders, int)
        assert_type(shop.session, AgentSession[Basket])
        turn = await shop.say("Hi.", ["One", Call("a")], lambda turn: turn.user_text)
        assert_type(turn, Exchange)
        assert_type(turn.called("a", b=1), ToolCall)
        assert_type(turn.said("x", agent=Desk), ModelReply)
        assert_type(turn.handed_off_to(Desk), HandoffTimings)
        assert_type(turn.of(ToolFinished), list[ToolFinished])
        assert_type(turn.replies[0].prompt, Turn)
        async with shop.exchange(Say("Hi.")) as exchange:
            assert_type(exchange, Exchange)
        await shop.say("Hi.", 7)  # type: ignore[arg-type]  # pyright: ignore
        await shop.write(7)  # type: ignore[arg-type]  # pyright: ignore


@in_virtual_time
async def a_test(tmp_path: str) -> int:
    return len(tmp_path)


def check_the_type_of_a_test() -> None:
    assert_type(a_test("x"), int)
    a_test(7)  # type: ignore[arg-type]  # pyright: ignore
    _: Any = a_test
