"""Found by reading: what second sessions, late tasks and failing clean-ups do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from stage import (
    Greeter,
    Prompted,
    Weather,
    on_stage,
    outputs,
    prompted,
    running,
    until,
)
from trialogue import Agent, RunContext, function_tool
from trialogue.testing import Call, Say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trialogue.agents.session import AgentSession

# --- a tool that works on another session --------------------------------------------


class Consulting(Prompted):
    """Has a tool that does something in another conversation."""

    def __init__(
        self, other: AgentSession, act: Callable[[AgentSession], Awaitable[Any]]
    ) -> None:
        super().__init__()
        self.other, self.act = other, act
        self.result: Any = None

    @function_tool
    async def consult(self, ctx: RunContext) -> str:
        """Do it."""
        self.result = await self.act(self.other)
        return "consulted"


async def consulted(
    act: Callable[[AgentSession], Awaitable[Any]],
) -> tuple[Any, Agent | None]:
    """Return what came of an act on another session, and who was current there."""
    async with (
        on_stage(lambda turn: Say("Hello.")) as other,
        on_stage(prompted(Call("consult"))) as stage,
        running(other, Greeter()),
    ):
        await until(lambda: other.session.realtime.settled)
        agent = Consulting(other.session, act)
        async with running(stage, agent):
            await until(lambda: outputs(stage))
            assert stage.session.agent is agent
        assert [output for _, output in outputs(stage)] == ["consulted"]
        return agent.result, other.session.agent


async def replied(session: AgentSession) -> str:
    return (await session.generate_reply()).outcome


async def streamed(session: AgentSession) -> str:
    async with session.open_reply() as reply:
        return (await reply.outcome()).outcome


async def handed_over(session: AgentSession) -> str:
    return (await session.handoff(Weather())).next


async def handed_over_soon(session: AgentSession) -> str:
    session.handoff_soon(Weather())
    await until(lambda: session.handoffs)
    return session.handoffs[0].next


@pytest.mark.behaviour("C13")
@pytest.mark.parametrize("ask", [replied, streamed])
async def test_a_tool_may_have_another_sessions_agent_speak(
    autojump_clock: trio.testing.MockClock,
    ask: Callable[[AgentSession], Awaitable[str]],
) -> None:
    """There it is anybody: the reply is that session's own, made and heard."""
    outcome, _ = await consulted(ask)
    assert outcome == "completed"


@pytest.mark.behaviour("C13")
@pytest.mark.parametrize("hand_over", [handed_over, handed_over_soon])
async def test_a_tool_may_hand_over_in_another_session(
    autojump_clock: trio.testing.MockClock,
    hand_over: Callable[[AgentSession], Awaitable[str]],
) -> None:
    """It does not wait for itself there, and its own agent stays."""
    followed, current = await consulted(hand_over)
    assert followed == "Weather"
    assert type(current) is Weather
