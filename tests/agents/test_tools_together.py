"""Approvals, guardrails, limits, tool sets and handoffs, where they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from stage import Prompted, Weather, on_stage, outputs, prompted, running, until
from trialogue import (
    Agent,
    RunContext,
    function_tool,
)
from trialogue.agents.events import (
    ApprovalRequested,
)
from trialogue.testing import Call

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trialogue import Guardrail


async def needed_later(ctx: RunContext, arguments: dict[str, Any]) -> bool:
    await trio.sleep(2)
    return True


async def needed_at_last(ctx: RunContext, arguments: dict[str, Any]) -> bool:
    with trio.CancelScope(shield=True):
        await trio.sleep(10)
    return True


class Bank(Prompted):
    """Pays, once somebody has approved."""

    def __init__(self, *guardrails: Guardrail) -> None:
        super().__init__(guardrails=guardrails)
        self.paid: list[str] = []

    def pays(self, how: str) -> str:
        self.paid.append(how)
        return how

    @function_tool(needs_approval=True)
    async def pay(self, ctx: RunContext) -> str:
        """Pay."""
        return self.pays("pay")

    @function_tool(needs_approval=True, on_handoff="detach")
    async def pay_detached(self, ctx: RunContext) -> str:
        """Pay, whoever is current."""
        return self.pays("pay_detached")

    @function_tool(needs_approval=needed_later, on_handoff="detach")
    async def pay_later(self, ctx: RunContext) -> str:
        """Pay; it takes a while to find out whether somebody has to approve."""
        return self.pays("pay_later")

    @function_tool(needs_approval=needed_at_last)
    async def pay_last(self, ctx: RunContext) -> str:
        """Pay; it takes too long to find out."""
        return self.pays("pay_last")

    @function_tool
    async def balance(self, ctx: RunContext) -> str:
        """Look at the balance."""
        return self.pays("balance")

    @function_tool
    async def leave(self, ctx: RunContext) -> Agent:
        """Leave after a second."""
        await trio.sleep(1)
        return Weather()


def answers(stage: Any) -> list[str]:
    return [output for _, output in outputs(stage)]


async def test_nobody_is_asked_to_approve_a_call_whose_agent_has_left(
    autojump_clock: MockClock,
) -> None:
    bank = Bank()
    async with on_stage(prompted(Call("pay_later"), Call("leave"))) as stage:
        async with running(stage, bank):
            await until(lambda: isinstance(stage.session.agent, Weather))
            await trio.sleep(5)
            assert stage.session.approvals == ()
        assert not stage.of(ApprovalRequested)
        assert answers(stage) == ["not run: handed off", "transferred to Weather"]
        assert not bank.paid


async def test_nobody_is_asked_to_approve_a_call_that_was_given_up(
    autojump_clock: MockClock,
) -> None:
    asked: list[str] = []

    async def decide(ctx: RunContext, request: ApprovalRequested) -> bool:
        asked.append(request.tool)
        return True

    bank = Bank()
    brain = prompted(Call("pay_last"))
    async with on_stage(brain, approve=decide, approval_timeout=3) as stage:
        async with running(stage, bank):
            await until(lambda: answers(stage))
            await trio.sleep(20)
        assert answers(stage) == ["not approved: nobody decided within 3 s"]
        assert not asked
        assert not stage.of(ApprovalRequested)
        assert not bank.paid
