"""Approvals, guardrails, limits, tool sets and handoffs, where they meet."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from guarding import finding, hearing
from stage import Line, Prompted, Weather, on_stage, outputs, prompted, running, until
from trialogue import (
    Agent,
    ConfigurationError,
    RunContext,
    ToolSet,
    ToolSetError,
    function_tool,
    output_guardrail,
    tool_input_guardrail,
)
from trialogue.agents.events import (
    ApprovalRequested,
    ApprovalSettled,
    GuardrailTripped,
    ToolFinished,
    ToolNoted,
    ToolSetFailed,
)
from trialogue.realtime.notices import ReplyEnded
from trialogue.testing import Call, Say, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from trialogue import AnyTool, Guardrail, Trip


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


@pytest.mark.behaviour("G4")
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


@pytest.mark.behaviour("G2")
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


@pytest.mark.parametrize("tool", ["pay", "pay_detached"])
async def test_a_call_of_a_stopped_reply_is_not_left_waiting_for_approval(
    autojump_clock: MockClock, tool: str
) -> None:
    bank = Bank(finding("secret", seconds=2.0, whole=True))
    async with on_stage(prompted(Say("The secret.", ms=8000), Call(tool))) as stage:
        async with running(stage, bank):
            await until(lambda: stage.of(ApprovalRequested))
            await until(lambda: stage.of(GuardrailTripped))
            await trio.sleep(0.5)
            assert stage.session.approvals == ()
            await until(lambda: answers(stage))
        assert answers(stage) == ["not run: the reply that it is part of was stopped"]
        assert [e.outcome for e in stage.of(ApprovalSettled)] == ["withdrawn"]
        assert not bank.paid


async def test_a_call_of_a_stopped_reply_is_not_run_when_its_check_is_over(
    autojump_clock: MockClock,
) -> None:
    @tool_input_guardrail(timeout=10)
    async def slow(ctx: RunContext, arguments: Any) -> Trip | None:
        await trio.sleep(4)
        return None

    bank = Bank(finding("secret", seconds=2.0, whole=True), slow)
    brain = prompted(Say("The secret.", ms=8000), Call("balance"))
    async with on_stage(brain) as stage:
        async with running(stage, bank):
            await until(lambda: answers(stage))
        assert answers(stage) == ["not run: the reply that it is part of was stopped"]
        assert len(stage.of(ToolFinished)) == 1
        assert not bank.paid


async def test_a_call_for_a_turn_that_is_refused_is_not_left_waiting_for_approval(
    autojump_clock: MockClock,
) -> None:
    """Also when the reply that calls has long ended."""

    def brain(turn: Turn) -> Any:
        if "secret" in turn.user_text and turn.output is None:
            return Call("pay")
        return Say("Fine.", ms=600)

    class Listener(Bank):
        async def on_enter(self, ctx: RunContext) -> None:
            return None

    bank = Listener(hearing("secret", 2.5))
    async with (
        on_stage(brain, microphone=True) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, bank):
            await until(lambda: stage.session.realtime.settled)
            line.say(stage.server.utterances.say("tell me the secret", ms=600))
            await until(lambda: stage.of(ApprovalRequested))
            await until(lambda: stage.of(GuardrailTripped))
            await trio.sleep(0.5)
            assert stage.session.approvals == ()
            await until(lambda: answers(stage))
            await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert answers(stage) == ["not run: the reply that it is part of was stopped"]
    assert not bank.paid
    report = stage.session.report()
    assert [tool.outcome for tool in report.tools] == ["Blocked"]


async def test_a_check_of_speech_that_refuses_to_end_cuts_it_a_moment_after_its_time(
    autojump_clock: MockClock,
) -> None:
    """Once: what it says in the end counts for nothing."""

    @output_guardrail(timeout=1.0)
    async def deaf(ctx: RunContext, text: str) -> Trip | None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        return None

    async with on_stage(prompted(Say("Hello, how are you?", ms=8000))) as stage:
        async with running(stage, Bank(deaf)):
            await until(lambda: stage.of(GuardrailTripped))
            assert trio.current_time() < 4
            await trio.sleep(20)
        (tripped,) = stage.of(GuardrailTripped)
        assert tripped.reason == "it took longer than 1 s"


class Odd(ToolSet):
    """A set with a fault of one kind or another."""

    name = "odd"

    def __init__(self, tool: AnyTool, *, deaf: float = 0.0, limit: Any = 3.0) -> None:
        self.tools = [tool]
        self.deaf = deaf
        self.open_timeout = limit
        self.breaks = trio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[AnyTool]]:
        with trio.CancelScope(shield=True):
            await trio.sleep(self.deaf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            yield self.tools
            nursery.cancel_scope.cancel()

    async def _watch(self) -> None:
        await self.breaks.wait()
        raise OSError("the line is dead")


class Holder(Prompted):
    def __init__(self, *sets: Any) -> None:
        super().__init__(tools=list(sets))


@pytest.mark.behaviour("G21")
async def test_a_set_that_cannot_be_stopped_from_opening_is_waited_for_no_longer(
    autojump_clock: MockClock,
) -> None:
    @function_tool
    async def look(ctx: RunContext) -> str:
        """Look."""
        return "seen"

    odd = Odd(look, deaf=40.0)
    async with on_stage() as stage:
        began = trio.current_time()
        with pytest.raises(ToolSetError, match="did not open within 3 s"):
            await stage.session.run(Holder(odd))
        assert trio.current_time() - began == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("limit", [None, "10"])
async def test_a_set_whose_time_is_no_number_costs_its_own_agent_an_error(
    autojump_clock: MockClock, limit: Any
) -> None:
    @function_tool
    async def look(ctx: RunContext) -> str:
        """Look."""
        return "seen"

    async with on_stage() as stage, running(stage, Bank()):
        await until(lambda: stage.of(ReplyEnded))
        with pytest.raises(ConfigurationError, match="open_timeout"):
            await stage.session.handoff(Holder(Odd(look, limit=limit)))
        assert isinstance(stage.session.agent, Bank)


async def test_a_set_that_breaks_while_its_tool_waits_for_approval(
    autojump_clock: MockClock,
) -> None:
    odd: Odd

    @function_tool(needs_approval=True)
    async def look(ctx: RunContext) -> str:
        """Look."""
        if odd.breaks.is_set():
            raise trio.ClosedResourceError
        return "seen"

    odd = Odd(look)
    async with on_stage(prompted(Call("look"))) as stage:
        async with running(stage, Holder(odd)):
            await until(lambda: stage.of(ApprovalRequested))
            odd.breaks.set()
            await until(lambda: stage.of(ToolSetFailed))
            stage.session.approve(stage.session.approvals[0].call_id)
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
        assert answers(stage) == ["the tool failed with an internal error"]
        report = stage.session.report()
        assert len(report.tools) == 1


class Long(Prompted):
    @function_tool(on_handoff="detach")
    async def fetch(self, ctx: RunContext) -> str:
        """Fetch a lot."""
        await trio.sleep(5)
        return "x" * ctx.session.realtime.limits.max_output_bytes

    @function_tool
    async def leave(self, ctx: RunContext) -> Agent:
        """Leave after a second."""
        await trio.sleep(1)
        return Weather()


async def test_a_long_result_that_comes_as_a_note_costs_nobody_anything(
    autojump_clock: MockClock,
) -> None:
    """The note names the tool as well: together that is more than an item may have."""
    async with (
        on_stage(prompted(Call("fetch"), Call("leave"))) as stage,
        running(stage, Long()),
    ):
        await until(lambda: stage.of(ToolNoted))
        await trio.sleep(1)
        (noted,) = stage.of(ToolNoted)
        assert noted.note.startswith("Result of fetch: the tool's result is too long")
        assert isinstance(stage.session.agent, Weather)
