"""Calls that need approval: who decides, by when, and what the model reads."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest
import trio
import trio.testing

from stage import Prompted, Weather, on_stage, outputs, prompted, running, speak, until
from trialogue import (
    Agent,
    ApprovalError,
    ConfigurationError,
    RunContext,
    SessionClosed,
    ToolError,
    function_tool,
    open_agent_session,
)
from trialogue.agents.events import (
    AgentEntered,
    ApprovalRequested,
    ApprovalSettled,
    ToolFailed,
    ToolFinished,
    ToolStalled,
    ToolStarted,
)
from trialogue.realtime.notices import ReplyEnded, UserStartedSpeaking
from trialogue.testing import Call, Say, Turn

SECRET = "card 4000123412341234"


def expensive(ctx: RunContext, arguments: dict[str, Any]) -> bool:
    needed: bool = arguments["euros"] > 100
    arguments["euros"] = 0  # what a predicate does to them is its own affair
    return needed


async def expensive_later(ctx: RunContext, arguments: dict[str, Any]) -> bool:
    await trio.sleep(0.5)
    return expensive(ctx, arguments)


def fails(ctx: RunContext, arguments: dict[str, Any]) -> bool:
    raise RuntimeError(SECRET)


def forgets(ctx: RunContext, arguments: dict[str, Any]) -> Any:
    return None


async def never(ctx: RunContext, arguments: dict[str, Any]) -> bool:
    await trio.sleep_forever()


class Bank(Prompted):
    """Pays, once somebody has approved."""

    def __init__(self) -> None:
        super().__init__()
        self.paid: list[tuple[int, float]] = []

    def pays(self, euros: int) -> str:
        self.paid.append((euros, trio.current_time()))
        return f"paid {euros}"

    @function_tool(needs_approval=True)
    async def pay(self, ctx: RunContext, euros: int) -> str:
        """Pay."""
        return self.pays(euros)

    @function_tool(needs_approval=expensive)
    async def pay_some(self, ctx: RunContext, euros: int) -> str:
        """Pay; only much needs approval."""
        return self.pays(euros)

    @function_tool(needs_approval=expensive_later)
    async def pay_later(self, ctx: RunContext, euros: int) -> str:
        """Pay; it takes a while to find out."""
        return self.pays(euros)

    @function_tool(needs_approval=fails)
    async def pay_fails(self, ctx: RunContext, euros: int) -> str:
        """Pay; nobody can tell."""
        return self.pays(euros)

    @function_tool(needs_approval=forgets)
    async def pay_forgets(self, ctx: RunContext, euros: int) -> str:
        """Pay; nobody can tell either."""
        return self.pays(euros)

    @function_tool(needs_approval=never)
    async def pay_never(self, ctx: RunContext, euros: int) -> str:
        """Pay; it is never found out."""
        return self.pays(euros)

    @function_tool(needs_approval=True, timeout=1.0)
    async def pay_slowly(self, ctx: RunContext, euros: int) -> str:
        """Pay, in a second at most."""
        await trio.sleep(0.8)
        return self.pays(euros)

    @function_tool(needs_approval=True, on_interrupt="cancel")
    async def pay_unless_interrupted(self, ctx: RunContext, euros: int) -> str:
        """Pay, unless the user speaks."""
        return self.pays(euros)

    @function_tool(needs_approval=True, on_handoff="detach")
    async def pay_detached(self, ctx: RunContext, euros: int) -> str:
        """Pay, whoever is current."""
        return self.pays(euros)

    @function_tool(needs_approval=True, on_handoff="finish")
    async def pay_finishing(self, ctx: RunContext, euros: int) -> str:
        """Pay before the handoff."""
        return self.pays(euros)

    @function_tool
    async def balance(self, ctx: RunContext) -> str:
        """Look at the balance."""
        return self.pays(0)

    @function_tool(needs_approval=True)
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer to the weather, if somebody allows it."""
        return Weather()

    @function_tool
    async def leave(self, ctx: RunContext) -> Agent:
        """Leave after a second."""
        await trio.sleep(1)
        return Weather()


def pay(euros: int = 500, tool: str = "pay") -> Call:
    return Call(tool, {"euros": euros})


def answers(stage: Any) -> list[str]:
    return [output for _, output in outputs(stage)]


def settled(stage: Any) -> list[tuple[str, str]]:
    return [(e.outcome, e.reason) for e in stage.of(ApprovalSettled)]


async def requested(stage: Any, number: int = 1) -> ApprovalRequested:
    await until(lambda: len(stage.of(ApprovalRequested)) == number)
    request: ApprovalRequested = stage.of(ApprovalRequested)[-1]
    return request


async def replied(stage: Any, number: int = 2) -> None:
    await until(lambda: len(stage.of(ReplyEnded)) == number)


# --- who decides ---------------------------------------------------------------------


@pytest.mark.behaviour("G1", "T10")
async def test_a_call_is_run_when_the_program_approves_and_not_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The event says what is asked, and until when; the output is the tool's."""
    bank = Bank()
    async with on_stage(prompted(pay())) as stage:
        async with running(stage, bank):
            request = await requested(stage)
            asked_at = trio.current_time()
            assert list(stage.session.approvals) == [request]
            assert (request.agent, request.tool) == ("Bank", "pay")
            assert json.loads(request.arguments) == {"euros": 500}
            assert request.deadline == pytest.approx(asked_at + 60, abs=0.05)
            assert "500" not in repr(request)
            await trio.sleep(20)
            assert not bank.paid
            assert not stage.of(ToolStarted)
            stage.session.approve(request.call_id)
            assert not stage.session.approvals
            await replied(stage)
        ((_, paid_at),) = bank.paid
        assert paid_at == pytest.approx(asked_at + 20, abs=0.1)
        assert answers(stage) == ["paid 500"]
        assert settled(stage) == [("approved", "")]
        kinds = ApprovalRequested | ApprovalSettled | ToolStarted | ToolFinished
        assert [type(e) for e in stage.events if isinstance(e, kinds)] == [
            ApprovalRequested,
            ApprovalSettled,
            ToolStarted,
            ToolFinished,
        ]
        (finished,) = stage.of(ToolFinished)
        assert finished.seconds == pytest.approx(0, abs=0.1)


@pytest.mark.behaviour("G1")
@pytest.mark.parametrize("approves", [True, False])
async def test_a_handler_decides_on_each_call(
    autojump_clock: trio.testing.MockClock, approves: bool
) -> None:
    """It is given the context and the request, and may take its time."""
    seen: list[tuple[Any, str]] = []

    async def decide(ctx: RunContext[str], request: ApprovalRequested) -> bool:
        await trio.sleep(5)
        seen.append((ctx.userdata, ctx.call.call_id if ctx.call else ""))
        return approves

    bank = Bank()
    async with on_stage(prompted(pay()), approve=decide, userdata="Ann") as stage:
        async with running(stage, bank):
            await replied(stage)
        assert seen == [("Ann", stage.of(ApprovalRequested)[0].call_id)]
        assert answers(stage) == (["paid 500"] if approves else ["not approved"])
        assert [euros for euros, _ in bank.paid] == ([500] if approves else [])
        assert settled(stage) == [("approved" if approves else "denied", "")]


@pytest.mark.behaviour("G1")
@pytest.mark.parametrize("tool", ["pay_some", "pay_later"])
@pytest.mark.parametrize("euros", [100, 101])
async def test_a_function_of_the_arguments_says_which_calls_need_approval(
    autojump_clock: trio.testing.MockClock, tool: str, euros: int
) -> None:
    """Async or not; what the tool is given is what the model gave."""
    bank = Bank()
    async with on_stage(prompted(pay(euros, tool))) as stage:
        async with running(stage, bank):
            if euros > 100:
                request = await requested(stage)
                stage.session.approve(request.call_id)
            await replied(stage)
        assert answers(stage) == [f"paid {euros}"]
        assert len(stage.of(ApprovalRequested)) == (1 if euros > 100 else 0)


@pytest.mark.behaviour("G1")
@pytest.mark.parametrize("tool", ["pay_fails", "pay_forgets"])
async def test_a_predicate_that_fails_runs_nothing(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    tool: str,
) -> None:
    """As any fault of a tool's: logged, announced, and its text kept from the model."""
    bank = Bank()
    async with on_stage(prompted(pay(500, tool))) as stage:
        with caplog.at_level(logging.ERROR, logger="trialogue"):
            async with running(stage, bank):
                await replied(stage)
        assert not bank.paid
        assert answers(stage) == ["the tool failed with an internal error"]
        (failed,) = stage.of(ToolFailed)
        assert isinstance(failed.error, RuntimeError | TypeError)
        assert any(record.exc_info for record in caplog.records)


@pytest.mark.behaviour("G1", "G2")
async def test_a_predicate_that_never_ends_is_refused_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The deadline counts from the call."""
    bank = Bank()
    brain = prompted(pay(500, "pay_never"))
    async with on_stage(brain, approval_timeout=4) as stage:
        async with running(stage, bank):
            await replied(stage)
        assert not bank.paid
        assert answers(stage) == ["not approved: nobody decided within 4 s"]


@pytest.mark.behaviour("G1", "G2")
async def test_a_predicate_out_of_reach_is_refused_a_second_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is named, and what it says in the end counts for nothing."""

    async def digs_in(ctx: RunContext, arguments: dict[str, Any]) -> bool:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
        return False

    paid: list[int] = []

    @function_tool(needs_approval=digs_in)
    async def pay(euros: int) -> str:
        """Pay."""
        paid.append(euros)
        return "paid"

    class Till(Prompted):
        tools = (pay,)

    brain = prompted(Call("pay", {"euros": 5}))
    async with on_stage(brain, approval_timeout=4) as stage:
        async with running(stage, Till()):
            await replied(stage)
            asked = stage.server.connections[0].find("response.done")[0].time
            told = stage.sent("conversation.item.create")[0].time
            assert told == pytest.approx(asked + 5, abs=0.1)
            await trio.sleep(60)
        assert answers(stage) == ["not approved: nobody decided within 4 s"]
        assert [event.tool for event in stage.of(ToolStalled)] == ["pay"]
        assert not paid


# --- who does not --------------------------------------------------------------------


@pytest.mark.behaviour("G2", "T10")
@pytest.mark.parametrize(
    ("reason", "told"),
    [("over the limit", "not approved: over the limit"), ("", "not approved")],
)
async def test_a_denied_call_is_not_run_and_the_model_reads_why(
    autojump_clock: trio.testing.MockClock, reason: str, told: str
) -> None:
    """A plain output, and the model goes on."""
    bank = Bank()
    async with on_stage(prompted(pay())) as stage:
        async with running(stage, bank):
            request = await requested(stage)
            stage.session.deny(request.call_id, reason)
            await replied(stage)
        assert not bank.paid
        assert answers(stage) == [told]
        assert settled(stage) == [("denied", reason)]
        assert [e.outcome for e in stage.of(ToolFinished)] == ["Denied"]


@pytest.mark.behaviour("G2", "T10")
async def test_a_call_on_which_nobody_decides_is_refused_at_its_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And too late is too late."""
    bank = Bank()
    async with on_stage(prompted(pay()), approval_timeout=7.5) as stage:
        async with running(stage, bank):
            request = await requested(stage)
            await until(lambda: outputs(stage))
            assert trio.current_time() == pytest.approx(request.deadline, abs=0.05)
            with pytest.raises(ApprovalError, match="settled already: expired") as told:
                stage.session.approve(request.call_id)
            assert told.value.outcome == "expired"
            await replied(stage)
        assert not bank.paid
        assert answers(stage) == ["not approved: nobody decided within 7.5 s"]
        assert settled(stage) == [("expired", "")]


@pytest.mark.behaviour("G3")
async def test_a_handler_tells_the_model_why_by_a_tool_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its text is the reason, verbatim, and nothing has failed."""

    async def decide(ctx: RunContext, request: ApprovalRequested) -> bool:
        msg = "ask the user for another account"
        raise ToolError(msg)

    async with on_stage(prompted(pay()), approve=decide) as stage:
        async with running(stage, Bank()):
            await replied(stage)
        assert answers(stage) == ["not approved: ask the user for another account"]
        assert not stage.of(ToolFailed)


async def raises(ctx: RunContext, request: ApprovalRequested) -> bool:
    raise RuntimeError(SECRET)


async def raises_in_a_nursery(ctx: RunContext, request: ApprovalRequested) -> bool:
    async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - it makes a group
        nursery.start_soon(raises, ctx, request)
    return True


async def returns_nothing(ctx: RunContext, request: ApprovalRequested) -> Any:
    return None


async def returns_text(ctx: RunContext, request: ApprovalRequested) -> Any:
    return SECRET


def is_not_async(ctx: RunContext, request: ApprovalRequested) -> Any:
    return True


@pytest.mark.behaviour("G3")
@pytest.mark.parametrize(
    "handler",
    [raises, raises_in_a_nursery, returns_nothing, returns_text, is_not_async],
    ids=lambda handler: handler.__name__,
)
async def test_a_handler_with_a_fault_approves_nothing(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    handler: Any,
) -> None:
    """The traceback is logged, an event has the error, and the model none of it."""
    bank = Bank()
    async with on_stage(prompted(pay()), approve=handler) as stage:
        with caplog.at_level(logging.ERROR, logger="trialogue"):
            async with running(stage, bank):
                await replied(stage)
        assert not bank.paid
        assert answers(stage) == ["not approved: the approval could not be obtained"]
        (failed,) = stage.of(ToolFailed)
        assert "approval handler raised" in failed.problem
        nested = handler is raises_in_a_nursery
        expected = ExceptionGroup if nested else (RuntimeError, TypeError)
        assert isinstance(failed.error, expected)
        assert any(record.exc_info for record in caplog.records)
        assert "4000123412341234" not in str(list(stage.server.connections[0].entries))


@pytest.mark.behaviour("G3", "G2")
async def test_a_handler_that_overruns_approves_nothing_and_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It would have approved, a second too late."""
    ended: list[str] = []

    async def decide(ctx: RunContext, request: ApprovalRequested) -> bool:
        try:
            await trio.sleep(6)
        finally:
            ended.append("late" if trio.current_time() > request.deadline else "timely")
        return True

    bank = Bank()
    async with on_stage(prompted(pay()), approve=decide, approval_timeout=5) as stage:
        async with running(stage, bank):
            await replied(stage)
            await trio.sleep(10)
        assert not bank.paid
        assert answers(stage) == ["not approved: nobody decided within 5 s"]
        assert ended == ["timely"]


@pytest.mark.behaviour("G3", "T10")
async def test_a_handler_that_blocks_in_a_thread_holds_nothing_up() -> None:
    """The call is refused in time, and the handler is left to itself (real time)."""
    release = threading.Event()

    async def decide(ctx: RunContext, request: ApprovalRequested) -> bool:
        return await trio.to_thread.run_sync(release.wait)

    bank = Bank()
    async with (
        on_stage(prompted(pay()), approve=decide, approval_timeout=0.3) as stage,
        running(stage, bank, seconds=60),
    ):
        try:
            with trio.fail_after(10):
                await replied(stage)
            assert answers(stage) == ["not approved: nobody decided within 0.3 s"]
            assert not bank.paid
            assert not release.is_set()
            assert not stage.of(ToolStalled)  # nobody had to leave the call behind
        finally:
            release.set()  # or the session's block would wait for it


# --- once ----------------------------------------------------------------------------


@pytest.mark.behaviour("G4")
@pytest.mark.parametrize("first", ["approve", "deny"])
@pytest.mark.parametrize("second", ["approve", "deny"])
async def test_an_approval_is_settled_once(
    autojump_clock: trio.testing.MockClock, first: str, second: str
) -> None:
    """The second word is a typed error, and changes nothing."""
    bank = Bank()
    async with on_stage(prompted(pay())) as stage:
        async with running(stage, bank):
            request = await requested(stage)
            getattr(stage.session, first)(request.call_id)
            with pytest.raises(ApprovalError, match="settled already") as told:
                getattr(stage.session, second)(request.call_id)
            assert told.value.call_id == request.call_id
            assert (
                told.value.outcome == {"approve": "approved", "deny": "denied"}[first]
            )
            await replied(stage)
        assert len(bank.paid) == (first == "approve")
        assert len(settled(stage)) == 1


@pytest.mark.behaviour("G4")
async def test_a_call_that_nobody_knows_of_is_a_typed_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also one that needs no approval, and a reason that is no text."""
    async with on_stage(prompted(pay(), Call("balance"))) as stage:
        async with running(stage, Bank()):
            with pytest.raises(ApprovalError, match="'call_x' waits for approval"):
                stage.session.approve("call_x")
            request = await requested(stage)
            await until(lambda: stage.of(ToolStarted))
            other = stage.of(ToolStarted)[0].call_id
            with pytest.raises(ApprovalError, match="no call") as told:
                stage.session.deny(other)
            assert told.value.outcome is None
            wrong: Any = 404
            with pytest.raises(ConfigurationError, match="reason=404"):
                stage.session.deny(request.call_id, wrong)
            assert stage.session.approvals == (request,)
            stage.session.approve(request.call_id)
            await replied(stage)
        assert answers(stage) == ["paid 500", "paid 0"]


@pytest.mark.behaviour("G4")
async def test_the_program_may_be_faster_than_the_handler(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Which is cancelled then."""
    ended: list[float] = []

    async def decide(ctx: RunContext, request: ApprovalRequested) -> bool:
        try:
            await trio.sleep(30)
        finally:
            ended.append(trio.current_time())
        return False

    bank = Bank()
    async with on_stage(prompted(pay()), approve=decide) as stage:
        async with running(stage, bank):
            request = await requested(stage)
            await trio.sleep(2)
            stage.session.approve(request.call_id)
            at = trio.current_time()
            await replied(stage)
            await trio.sleep(40)
        assert ended == [at]
        assert answers(stage) == ["paid 500"]


@pytest.mark.behaviour("G4")
async def test_a_handler_may_use_the_sessions_own_methods(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What it returns then counts for nothing."""

    async def decide(ctx: RunContext, request: ApprovalRequested) -> Any:
        ctx.session.deny(request.call_id, "not today")

    async with on_stage(prompted(pay()), approve=decide) as stage:
        async with running(stage, Bank()):
            await replied(stage)
        assert answers(stage) == ["not approved: not today"]
        assert not stage.of(ToolFailed)


@pytest.mark.behaviour("G4", "T10")
@pytest.mark.parametrize(
    "tool", ["pay", "pay_detached", "pay_finishing", "pay_unless_interrupted"]
)
async def test_a_handoff_settles_what_waits_for_approval(
    autojump_clock: trio.testing.MockClock, tool: str
) -> None:
    """At once, whatever the tool's `on_handoff`: after the commit nobody runs it."""
    bank = Bank()
    async with on_stage(prompted(pay(500, tool), Call("leave"))) as stage:
        async with running(stage, bank):
            request = await requested(stage)
            await until(lambda: isinstance(stage.session.agent, Weather))
            assert settled(stage) == [("withdrawn", "")]
            with pytest.raises(ApprovalError, match="withdrawn"):
                stage.session.approve(request.call_id)
            await replied(stage)
            await trio.sleep(90)
        assert not bank.paid
        assert answers(stage) == ["not run: handed off", "transferred to Weather"]
        (timings,) = stage.session.handoffs
        entered = [e for e in stage.events if isinstance(e, AgentEntered)]
        assert [e.agent for e in entered] == ["Bank", "Weather"]
        assert timings.burst_written == pytest.approx(timings.committed, abs=0.05)
        messages = stage.sent("conversation.item.create")
        assert {e.event["item"]["type"] for e in messages} == {"function_call_output"}


@pytest.mark.behaviour("T10", "G1")
async def test_a_transfer_that_was_approved_hands_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(prompted(Call("transfer"))) as stage:
        async with running(stage, Bank()):
            request = await requested(stage)
            await trio.sleep(10)
            stage.session.approve(request.call_id)
            await until(lambda: isinstance(stage.session.agent, Weather))
            await replied(stage)
        assert answers(stage) == ["transferred to Weather"]


@pytest.mark.behaviour("G4")
@pytest.mark.parametrize("how", ["end", "leave"])
async def test_the_end_of_the_session_settles_what_waits(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    """Nothing is run, nobody waits, and a late word is refused."""
    bank = Bank()
    with trio.fail_after(120):
        async with on_stage(prompted(pay())) as stage:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.session.run, bank)
                request = await requested(stage)
                if how == "end":
                    stage.session.end()
                else:
                    nursery.cancel_scope.cancel()
            await trio.sleep(0.1)
            assert stage.session.approvals == ()
            assert settled(stage) == [("withdrawn", "")]
            with pytest.raises(ApprovalError, match="withdrawn"):
                stage.session.approve(request.call_id)
            assert answers(stage) == ["not run: handed off"]
    assert not bank.paid
    with pytest.raises(SessionClosed):
        stage.session.approve(request.call_id)


# --- nothing waits for it ------------------------------------------------------------


@pytest.mark.behaviour("T10", "G2", "G4")
@pytest.mark.parametrize("tool", ["pay", "pay_unless_interrupted"])
async def test_the_user_may_speak_and_interrupt_meanwhile(
    autojump_clock: trio.testing.MockClock, tool: str
) -> None:
    """Speech stops, the user is answered; the call waits on unless it opted out."""

    def brain(turn: Turn) -> Any:
        if turn.override:
            return [pay(500, tool), Say("One moment. " * 30)]
        return Say("Yes, I am here.")

    bank = Bank()
    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        async with running(stage, bank):
            request = await requested(stage)
            await until(lambda: stage.output.pcm)
            await speak(stage.microphone, stage.server.utterances.say("Still there?"))
            assert stage.of(UserStartedSpeaking)
            await replied(stage)
            assert stage.of(ReplyEnded)[0].outcome.outcome == "interrupted"
            if tool == "pay":
                assert stage.session.approvals == (request,)
                stage.session.approve(request.call_id)
            await until(lambda: outputs(stage))
            await trio.sleep(5)
        kept = tool == "pay"
        assert len(bank.paid) == kept
        told = "paid 500" if kept else "stopped: the user interrupted"
        assert answers(stage) == [told]
        assert settled(stage) == [("approved" if kept else "withdrawn", "")]


@pytest.mark.behaviour("T10", "T4")
async def test_other_calls_are_run_while_one_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both that need approval can be settled in any order; one reply answers all."""
    bank = Bank()
    brain = prompted(pay(500), Call("balance"), pay(700))
    async with on_stage(brain) as stage:
        async with running(stage, bank):
            await requested(stage, 2)
            await until(lambda: bank.paid)
            first, second = stage.session.approvals
            stage.session.approve(second.call_id)
            await until(lambda: len(bank.paid) == 2)
            await trio.sleep(5)
            assert not outputs(stage)
            stage.session.deny(first.call_id, "no")
            await replied(stage)
        assert [euros for euros, _ in bank.paid] == [0, 700]
        assert answers(stage) == ["not approved: no", "paid 0", "paid 700"]
        assert len(stage.sent("response.create")) == 2


@pytest.mark.behaviour("T10", "T7")
async def test_a_tools_own_time_begins_when_it_is_approved(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bank = Bank()
    async with on_stage(prompted(pay(500, "pay_slowly"))) as stage:
        async with running(stage, bank):
            request = await requested(stage)
            await trio.sleep(30)
            stage.session.approve(request.call_id)
            await replied(stage)
        assert answers(stage) == ["paid 500"]
        assert not stage.of(ToolStalled)


# --- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"approve": "yes"}, "approve='yes'"),
        ({"approval_timeout": 0}, "approval_timeout=0"),
        ({"approval_timeout": float("inf")}, "approval_timeout=inf"),
        ({"tool_timeout": -1}, "tool_timeout=-1"),
        ({"max_tool_steps": 0}, "max_tool_steps=0"),
        ({"max_tool_steps": 2.5}, "max_tool_steps=2.5"),
        ({"max_tool_steps": True}, "max_tool_steps=True"),
    ],
)
async def test_settings_of_tools_that_mean_nothing_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    """Before anything is dialled."""
    from trialogue import OpenAIRealtime

    with pytest.raises(ConfigurationError, match=message):
        async with open_agent_session(OpenAIRealtime(api_key="any"), **settings):
            pass
