"""An agent's scope: entering it, starting five tools in it, and cancelling all of it.

What is measured is what a session does itself, whoever answers at the other end: the
scope's nursery and its first tasks, the configuration that is encoded and posted, five
calls dispatched to five running tools; then, from the cancellation, the end of every
task and the outcome of every call.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING

import trio
import trio.testing

from bench.figures import Figures
from stage import model_of
from trialogue import Agent, Handoff, RunContext, function_tool
from trialogue.agents.handoff import Transition, configuration_of
from trialogue.agents.opening import open_agent_session
from trialogue.agents.preparing import Prepared, prepare
from trialogue.agents.scope import AgentScope
from trialogue.conversation.items import FunctionCall
from trialogue.realtime.replies import Response
from trialogue.testing import RealtimeServer, Settings

if TYPE_CHECKING:
    from trialogue.agents.session import AgentSession

__all__ = ["measure"]

BUDGET = 0.001
CALLS = 5
PATIENCE = 30.0


class Busy(Agent):
    """Has a tool that never ends by itself."""

    instructions = "You are busy."

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0
        self.entered, self.all_inside = trio.Event(), trio.Event()

    async def on_enter(self, ctx: RunContext) -> None:
        self.entered.set()

    @function_tool
    async def work(self, ctx: RunContext, number: int) -> None:
        """Work."""
        self.inside += 1
        if self.inside == CALLS:
            self.all_inside.set()
        await trio.sleep_forever()


async def measure(times: int) -> Figures:
    """Enter and cancel so many scopes, on one session; the first does not count."""
    taken: list[float] = []
    settings = Settings(oddities=False)
    async with (
        RealtimeServer(settings=settings).serving() as server,
        # Nobody speaks in between: to a session it is one row of steps with tools.
        open_agent_session(model_of(server), max_tool_steps=None) as session,
    ):
        following = Transition(await prepare(session, Handoff(Busy())))
        for number in range(times + 1):
            prepared = await prepare(session, Handoff(Busy()))
            taken.append(await _enter_and_cancel(session, prepared, following, number))
            with trio.fail_after(PATIENCE):
                await session.changed.until(lambda: session.realtime.settled)
        session.scope = None
    name = f"scope: entered, {CALLS} tools started, all cancelled"
    return Figures(name, tuple(taken[1:]), BUDGET)


async def _enter_and_cancel(
    session: AgentSession, prepared: Prepared, following: Transition, number: int
) -> float:
    agent = prepared.agent
    assert isinstance(agent, Busy)
    transition = Transition(prepared)
    config = configuration_of(prepared, None, ready=True, deadline=math.inf)
    calls = [
        FunctionCall(
            f"item_{number}_{n}", f"call_{number}_{n}", "work", '{"number": 1}'
        )
        for n in range(CALLS)
    ]
    async with trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        began = perf_counter()
        scope = AgentScope(session, transition)
        transition.config, config.owner = config, scope
        session.scope = scope
        nursery.start_soon(scope.run)
        await agent.entered.wait()
        assert scope.nursery is not None
        response = Response(f"resp_{number}", 1, config)
        for call in calls:
            scope.calls.dispatch(response, call)
        with trio.fail_after(PATIENCE):
            await agent.all_inside.wait()
        # As a handoff does: the calls' outcomes are the next agent's to send.
        scope.decision = following
        scope.nursery.cancel_scope.cancel()
        await scope.emptied.wait()
        ended = perf_counter()
    assert scope.closed
    assert not scope.calls.open
    following.outputs.clear()
    return ended - began
