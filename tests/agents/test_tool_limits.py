"""Tools that go too far: too often, too long, too much, and out of reach."""

from __future__ import annotations

import math
import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from delegating import Doing, endless, giving
from leftovers import tasks
from stage import (
    PROMPT,
    Greeter,
    Prompted,
    Weather,
    on_stage,
    outputs,
    prompted,
    running,
    speak,
    until,
)
from trialogue import (
    Agent,
    HandoffError,
    HandoffLoop,
    RunContext,
    ToolError,
    function_tool,
)
from trialogue.agents.events import (
    ApprovalRequested,
    ApprovalSettled,
    HandoffStarted,
    ToolFailed,
    ToolFinished,
    ToolStalled,
    ToolStarted,
)
from trialogue.realtime.notices import ReplyEnded, UserStartedSpeaking
from trialogue.testing import Call, Network, Say, Turn, reject

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = "not run: {} steps with tools in a row are the limit; tell the user"


class Bench(Prompted):
    """Tools that go too far."""

    def __init__(self) -> None:
        super().__init__()
        self.ran = 0
        self.cleaned: list[str] = []

    @function_tool
    async def step(self, ctx: RunContext) -> str:
        """Take a step."""
        self.ran += 1
        return f"step {self.ran}"

    @function_tool
    async def talk(self, ctx: RunContext) -> str:
        """Take a step, and say so."""
        self.ran += 1
        await ctx.session.generate_reply(instructions="Say: one moment.")
        return f"step {self.ran}"

    @function_tool(reply="none")
    async def note(self, ctx: RunContext) -> str:
        """Take a note."""
        self.ran += 1
        return "noted"

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer to a colleague."""
        self.ran += 1
        return Colleague(self)

    @function_tool
    async def for_ever(self, ctx: RunContext) -> str:
        """Never return."""
        await trio.sleep_forever()

    @function_tool(timeout=math.inf)
    async def patient(self, ctx: RunContext) -> str:
        """Return after two minutes."""
        await trio.sleep(120)
        return "patience"

    @function_tool(on_handoff="detach")
    async def detached(self, ctx: RunContext) -> str:
        """Return after two minutes, whoever is current."""
        await trio.sleep(120)
        return "detached"

    @function_tool
    async def asks(self, ctx: RunContext) -> str:
        """Ask somebody who takes two minutes."""

        async def late(ctx: RunContext) -> None:
            await trio.sleep(120)
            ctx.complete("an answer")

        return f"got {await ctx.session.delegate(Doing(late))}"

    @function_tool
    async def asks_and_stays(self, ctx: RunContext) -> str:
        """Ask somebody, and never return."""
        await ctx.session.delegate(Doing(giving(1)))
        await trio.sleep_forever()

    @function_tool(timeout=0.5)
    async def has_children(self, ctx: RunContext) -> str:
        """Start a few things, and wait for them."""
        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(self.child, f"child {n}")
        return "unreachable"

    async def child(self, name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cleaned.append(name)

    @function_tool
    async def ten_megabytes(self, ctx: RunContext) -> str:
        """Return very much."""
        return "x" * 10_000_000

    @function_tool
    async def explains_at_length(self, ctx: RunContext) -> str:
        """Say very much about why not."""
        raise ToolError("y" * 10_000_000)

    @function_tool
    async def broken_value(self, ctx: RunContext) -> object:
        """Return what cannot even be looked at."""

        class Broken(dict[str, object]):
            def items(self) -> Any:
                raise KeyError("4000123412341234")

        return Broken()

    @function_tool
    async def nested_error(self, ctx: RunContext) -> str:
        """Say why not, from inside of a nursery."""

        async def refuse() -> None:
            raise ToolError("the shelf is empty")

        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - it makes a group
            nursery.start_soon(refuse)
        return "unreachable"

    @function_tool(timeout=0.5, on_interrupt="cancel")
    async def fails_cleaning_up(self, ctx: RunContext, nested: bool) -> str:
        """Fail in a finally."""
        return await self.fail_cleaning_up(nested)

    @function_tool(on_interrupt="cancel")
    async def fails_when_stopped(self, ctx: RunContext, nested: bool) -> str:
        """Fail in a finally."""
        return await self.fail_cleaning_up(nested)

    async def fail_cleaning_up(self, nested: bool) -> str:
        async def work() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise RuntimeError("4000123412341234")

        if not nested:
            await work()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            nursery.start_soon(trio.sleep_forever)
        return "unreachable"

    @function_tool
    async def leave(self, ctx: RunContext) -> Agent:
        """Leave after a second."""
        await trio.sleep(1)
        return Weather()


class Colleague(Agent):
    """Has the same tools as somebody else."""

    instructions = "You are the colleague, and you have tools."

    def __init__(self, bench: Any) -> None:
        super().__init__(tools=[bench.step, bench.transfer_back])


class Pair(Bench):
    @function_tool
    async def transfer_back(self, ctx: RunContext) -> Agent:
        """Transfer back."""
        self.ran += 1
        return Pair()


def answers(stage: Any) -> list[str]:
    return [output for _, output in outputs(stage)]


def spoken(stage: Any) -> list[str]:
    return [e.outcome.text for e in stage.of(ReplyEnded) if e.outcome.text]


async def told(stage: Any, number: int) -> None:
    await until(lambda: len(outputs(stage)) == number, seconds=200)


def insatiable(tool: str = "step", calls: int = 1, *, obeys: bool = True) -> Any:
    """Call a tool whenever that is allowed, or always; at most 30 times."""
    left = iter(range(30))

    def brain(turn: Turn) -> Any:
        if next(left, None) is None:
            return Say("Nobody stops me.")
        if "one moment" in (turn.override or ""):
            return Say("One moment.")
        if turn.tool_choice == "none" and obeys:
            return Say("This is what I know.")
        return [Call(tool)] * calls

    return brain


# --- too often -----------------------------------------------------------------------


@pytest.mark.behaviour("T6")
@pytest.mark.parametrize("tool", ["step", "talk"])
@pytest.mark.parametrize("most", [None, 1, 5])
async def test_a_model_that_calls_on_and_on_is_stopped_and_told(
    autojump_clock: trio.testing.MockClock, most: int | None, tool: str
) -> None:
    """Three steps by default; then it is told, and asked to speak without tools."""
    settings: dict[str, Any] = {} if most is None else {"max_tool_steps": most}
    most = most or 3
    agent = Bench()
    async with on_stage(insatiable(tool), **settings) as stage:
        async with running(stage, agent):
            await until(lambda: spoken(stage)[-1:] == ["This is what I know."])
            await trio.sleep(60)
        assert agent.ran == most
        *run, limit = answers(stage)
        assert run == [f"step {n}" for n in range(1, most + 1)]
        assert limit.startswith(LIMIT.format(most))
        create = stage.sent("response.create")[-1].event["response"]
        assert create["tool_choice"] == "none"
        assert [e.outcome for e in stage.of(ToolFinished)][-1] == "StepLimitReached"
        assert len(stage.of(ToolStarted)) == most


@pytest.mark.behaviour("T6")
async def test_a_model_that_calls_although_it_may_not_is_left_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is told once more, and not asked again before the user has spoken."""
    agent = Bench()
    async with on_stage(insatiable(obeys=False)) as stage:
        async with running(stage, agent, seconds=300):
            await told(stage, 5)
            await trio.sleep(60)
            assert len(outputs(stage)) == len(stage.sent("response.create")) == 5
            assert agent.ran == 3
            report = await stage.session.send_message("Go on.")
            report.raise_for_failures()
            await stage.session.generate_reply()
            await told(stage, 10)
            await trio.sleep(60)
        assert agent.ran == 6
        assert len(stage.sent("response.create")) == 10


@pytest.mark.behaviour("T6")
async def test_the_limit_can_be_taken_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`max_tool_steps=None`."""
    agent = Bench()

    def brain(turn: Turn) -> Any:
        return Say("Done.") if turn.output == "step 20" else Call("step")

    async with on_stage(brain, max_tool_steps=None) as stage:
        async with running(stage, agent):
            await until(lambda: spoken(stage) == ["Done."])
        assert answers(stage)[-1] == "step 20"


@pytest.mark.behaviour("T6")
async def test_the_limit_holds_across_handoffs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two agents that send each other round: the calls of both are counted."""

    def brain(turn: Turn) -> Any:
        if turn.tool_choice == "none":
            return Say("This is what I know.")
        return Call("transfer_back" if "colleague" in turn.instructions else "transfer")

    agent = Pair()
    async with on_stage(brain) as stage:
        async with running(stage, agent):
            await until(lambda: spoken(stage)[-1:] == ["This is what I know."])
            await trio.sleep(30)
            assert isinstance(stage.session.agent, Colleague)
        assert len(stage.of(HandoffStarted)) == 3
        *handed_over, limit = answers(stage)
        assert handed_over == [
            "transferred to Colleague",
            "transferred to Pair",
            "transferred to Colleague",
        ]
        assert limit.startswith(LIMIT.format(3))


@pytest.mark.behaviour("T6")
async def test_calls_of_one_response_are_one_step(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And all calls beyond the limit are told."""
    agent = Bench()
    async with on_stage(insatiable(calls=4)) as stage:
        async with running(stage, agent):
            await until(lambda: spoken(stage) == ["This is what I know."])
        assert agent.ran == 12
        assert [a.startswith("not run") for a in answers(stage)] == [
            *[False] * 12,
            *[True] * 4,
        ]


@pytest.mark.behaviour("T6")
@pytest.mark.parametrize("between", ["user", "text", "words", "silence"])
async def test_steps_are_counted_in_a_row(
    autojump_clock: trio.testing.MockClock, between: str
) -> None:
    """What the user says, a reply without calls, and a call without one end the row."""

    def brain(turn: Turn) -> Any:
        if between == "silence":
            return Call("note")
        return Say("There.") if turn.output else Call("step")

    agent = Bench()
    async with on_stage(brain, microphone=True, max_tool_steps=1) as stage:
        assert stage.microphone is not None
        async with running(stage, agent):
            await told(stage, 1)
            for number in range(2, 5):
                await until(lambda: stage.session.realtime.replying.slot.idle)
                if between == "user":
                    words = stage.server.utterances.say(f"Number {number}.")
                    await speak(stage.microphone, words)
                else:
                    if between == "text":
                        await stage.session.send_message("Next.")
                    await stage.session.generate_reply()
                await told(stage, number)
        assert agent.ran == 4
        assert not any(a.startswith("not run") for a in answers(stage))


# --- too long ------------------------------------------------------------------------


@pytest.mark.behaviour("T7")
async def test_a_tool_that_times_out_leaves_no_task_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its children are cancelled and have cleaned up by the time the call is told."""
    agent, parts = Bench(), [Call("step")]

    def brain(turn: Turn) -> Any:
        return parts if PROMPT in (turn.override or "") else Say("Done.")

    async with on_stage(brain) as stage:
        async with running(stage, agent):
            await until(lambda: spoken(stage) == ["Done."])
            await until(lambda: not any(stage.session.realtime.open_work.values()))
            before = tasks()
            parts[0] = Call("has_children")
            await stage.session.generate_reply(instructions=PROMPT)
            await told(stage, 2)
            assert len(agent.cleaned) == 5
            await until(lambda: spoken(stage) == ["Done."] * 2)
            await until(lambda: not any(stage.session.realtime.open_work.values()))
            assert tasks() == before
        late = "the tool did not finish within 0.5 s and was stopped"
        assert answers(stage)[1] == late
        assert [e.outcome for e in stage.of(ToolFinished)] == ["Returned", "TimedOut"]
        assert not stage.of(ToolStalled)


@pytest.mark.behaviour("T7", "T1")
@pytest.mark.parametrize("seconds", [None, 10])
async def test_a_tool_that_never_ends_costs_its_own_call_an_error(
    autojump_clock: trio.testing.MockClock, seconds: float | None
) -> None:
    """After the time that the session allows; its siblings' results go with it."""
    settings: dict[str, Any] = {} if seconds is None else {"tool_timeout": seconds}
    allowed = seconds or 60
    brain = prompted(Call("step"), Call("for_ever"), then="Sorry.")
    async with on_stage(brain, **settings) as stage:
        async with running(stage, Bench()):
            await told(stage, 2)
            began = stage.server.connections[0].find("response.done")[0].time
            assert trio.current_time() == pytest.approx(began + allowed, abs=0.1)
            await until(lambda: spoken(stage) == ["Sorry."])
        late = f"the tool did not finish within {allowed} s and was stopped"
        assert answers(stage) == ["step 1", late]


@pytest.mark.behaviour("T7")
@pytest.mark.parametrize(
    ("tool", "output"),
    [("patient", "patience"), ("detached", "detached"), ("asks", "got an answer")],
)
async def test_the_sessions_limit_is_for_tools_that_say_nothing_else(
    autojump_clock: trio.testing.MockClock, tool: str, output: str
) -> None:
    """Not for those without limit, detached ones, and the time that one delegates."""
    async with on_stage(prompted(Call(tool), then="Done.")) as stage:
        async with running(stage, Bench(), seconds=300):
            await told(stage, 1)
        assert answers(stage) == [output]


@pytest.mark.behaviour("T7")
async def test_after_a_delegation_the_sessions_limit_holds_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(prompted(Call("asks_and_stays"), then="Done.")) as stage:
        async with running(stage, Bench(), seconds=300):
            await told(stage, 1)
            assert 60 < trio.current_time() < 70
        assert answers(stage) == ["the tool did not finish within 60 s and was stopped"]


# --- out of reach --------------------------------------------------------------------


class Blocking(Prompted):
    """Blocks in threads that nothing can cancel."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()
        self.ended = 0

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let the threads go at the end: the session's block waits for them."""
        try:
            yield
        finally:
            self.release.set()

    async def block(self) -> None:
        await trio.to_thread.run_sync(self.release.wait)
        self.ended += 1

    @function_tool(timeout=0.2)
    async def block_briefly(self, ctx: RunContext) -> str:
        """Block, with a time limit."""
        await self.block()
        return "released"

    @function_tool
    async def block_on(self, ctx: RunContext) -> Agent:
        """Block, and then want to hand over."""
        await self.block()
        return Bench()

    @function_tool(on_interrupt="cancel")
    async def block_until_interrupted(self, ctx: RunContext) -> str:
        """Block, unless the user speaks."""
        await self.block()
        return "released"

    @function_tool(on_handoff="detach", timeout=0.2)
    async def block_detached(self, ctx: RunContext) -> str:
        """Block, whoever is current."""
        await self.block()
        return "released"

    @function_tool
    async def quick(self, ctx: RunContext) -> str:
        """Return at once."""
        return "quick"


@pytest.mark.behaviour("T7", "T5")
@pytest.mark.parametrize("tool", ["block_briefly", "block_detached"])
async def test_a_tool_that_blocks_in_a_thread_costs_its_own_call_an_error(
    tool: str,
) -> None:
    """It is named after a second; the conversation goes on, and hands over (real time).

    Only the session's block waits for the thread.
    """
    agent = Blocking()
    brain = prompted(Call(tool), Call("quick"), then="Sorry.")
    async with on_stage(brain) as stage, running(stage, agent, seconds=60):
        with agent.released():
            began = trio.current_time()
            await told(stage, 2)
            assert 1.1 < trio.current_time() - began < 5
            (stalled,) = stage.of(ToolStalled)
            assert (stalled.agent, stalled.tool) == ("Blocking", tool)
            assert any("Blocking.block " in frame for frame in stalled.stack)
            await until(lambda: spoken(stage) == ["Sorry."])
            began = trio.current_time()
            await stage.session.handoff(Weather())
            assert isinstance(stage.session.agent, Weather)
            assert trio.current_time() - began < 5
            assert agent.ended == 0
    assert agent.ended == 1
    late = "the tool did not finish within 0.2 s and was stopped"
    assert answers(stage) == [late, "quick"]
    assert [e.outcome for e in stage.of(ToolFinished)] == ["TimedOut", "Returned"]


@pytest.mark.behaviour("T7", "H10")
async def test_a_tool_out_of_reach_is_answered_when_the_user_interrupts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A second after it was stopped; what it returns then hands nothing over."""

    class Stubborn(Prompted):
        @function_tool(on_interrupt="cancel")
        async def dig_in(self, ctx: RunContext) -> Agent:
            """Refuse to be cancelled."""
            with trio.CancelScope(shield=True):
                await trio.sleep(30)
            return Weather()

    agent = Stubborn()
    brain = prompted(Call("dig_in"), Say("Let me see. " * 30), then="Well?")
    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        async with running(stage, agent):
            await until(lambda: stage.output.pcm)
            async with trio.open_nursery() as nursery:
                words = stage.server.utterances.say("No, stay.")
                nursery.start_soon(speak, stage.microphone, words)
                await until(lambda: stage.of(UserStartedSpeaking))
                stopped_at = trio.current_time()
                await told(stage, 1)
                assert trio.current_time() == pytest.approx(stopped_at + 1, abs=0.05)
            await trio.sleep(40)
            assert stage.session.agent is agent
        assert answers(stage) == ["stopped: the user interrupted"]
        assert len(stage.of(ToolStalled)) == 1
        assert not stage.of(HandoffStarted)


@pytest.mark.behaviour("T7")
@pytest.mark.parametrize("tool", ["block_on", "block_detached"])
async def test_the_end_of_a_session_names_the_tool_that_it_waits_for(
    caplog: pytest.LogCaptureFixture, tool: str
) -> None:
    """`run` returns without it; the block is left when the thread has ended."""
    agent = Blocking()
    async with on_stage(prompted(Call(tool))) as stage:
        with agent.released():
            async with running(stage, agent, seconds=60):
                await until(lambda: stage.of(ToolStarted))
                if tool == "block_detached":
                    await until(lambda: stage.of(ToolStalled))
            assert agent.ended == 0
            await told(stage, 1)  # written in its own time
            ((_, output),) = outputs(stage)
            assert output.startswith(("stopped", "in progress", "the tool did not"))
            (stalled,) = stage.of(ToolStalled)
            assert stalled.tool == tool
            named = f"tool {tool} of agent Blocking was stopped and does not end"
            assert named in caplog.text
    assert agent.ended == 1


# --- too much, and failures in unlikely places ---------------------------------------


@pytest.mark.behaviour("T1", "T2")
@pytest.mark.parametrize(
    ("tool", "beginning"),
    [
        ("ten_megabytes", "the tool's result is too long to be sent (10000000 bytes"),
        ("explains_at_length", "yyyy"),
        ("broken_value", "the tool returned a value that cannot be sent"),
        ("nested_error", "the shelf is empty"),
    ],
)
async def test_a_strange_result_costs_its_own_call_an_error(
    autojump_clock: trio.testing.MockClock, tool: str, beginning: str
) -> None:
    """Its siblings' results are sent, the model goes on, and reads no internals."""
    brain = prompted(Call("step"), Call(tool), Call("step"), then="Sorry.")
    async with on_stage(brain) as stage:
        async with running(stage, Bench()):
            await until(lambda: spoken(stage) == ["Sorry."])
        first, strange, last = answers(stage)
        assert {first, last} == {"step 1", "step 2"}
        assert strange.startswith(beginning)
        assert len(strange) <= 256 * 1024
        assert "4000123412341234" not in str(list(stage.server.connections[0].entries))


@pytest.mark.behaviour("T2", "T7")
@pytest.mark.parametrize("nested", [False, True])
async def test_a_tool_that_fails_while_it_is_stopped_costs_its_own_call_an_error(
    autojump_clock: trio.testing.MockClock, nested: bool
) -> None:
    """At its own timeout: the failure is what its author has to know of."""
    failing = Call("fails_cleaning_up", {"nested": nested})
    async with on_stage(prompted(failing, Call("step"), then="Sorry.")) as stage:
        async with running(stage, Bench()):
            await until(lambda: spoken(stage) == ["Sorry."])
        assert answers(stage) == ["the tool failed with an internal error", "step 1"]
        (failed,) = stage.of(ToolFailed)
        assert isinstance(failed.error, ExceptionGroup if nested else RuntimeError)


@pytest.mark.behaviour("T2", "H7", "H13")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("by", ["handoff", "user", "end", "leave"])
async def test_a_tool_that_fails_while_its_agent_is_left_costs_nobody_anything(
    autojump_clock: trio.testing.MockClock, nested: bool, by: str
) -> None:
    """The handoff, the interruption and the end take place; `run` raises nothing."""
    failing = Call("fails_when_stopped", {"nested": nested})
    parts: list[Any] = [failing, Call("leave")] if by == "handoff" else [failing]
    brain = prompted(*parts, Say("Let me see. " * 20))
    with trio.fail_after(120):
        async with on_stage(brain, microphone=True) as stage:
            assert stage.microphone is not None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.session.run, Bench())
                await until(lambda: stage.of(ToolStarted))
                if by == "handoff":
                    await until(lambda: isinstance(stage.session.agent, Weather))
                    await until(lambda: stage.of(ReplyEnded)[-1].agent == "Weather")
                elif by == "user":
                    await until(lambda: stage.output.pcm)
                    words = stage.server.utterances.say("Wait.")
                    await speak(stage.microphone, words)
                    await told(stage, 1)
                elif by == "leave":
                    nursery.cancel_scope.cancel()
                stage.session.end(now=True)
            await until(lambda: outputs(stage))
            (failed,) = stage.of(ToolFailed)
            assert isinstance(failed.error, ExceptionGroup if nested else RuntimeError)
            assert answers(stage)[0] == "the tool failed with an internal error"
            assert stage.session.realtime.failure is None


@pytest.mark.behaviour("H7", "T9")
@pytest.mark.parametrize("soon", [False, True])
async def test_a_handoff_error_in_a_tool_costs_its_own_call_an_error(
    autojump_clock: trio.testing.MockClock, soon: bool
) -> None:
    """The agent goes on, and can be talked to."""

    class Confused(Prompted):
        @function_tool
        async def transfer(self, ctx: RunContext) -> str:
            """Transfer, in a way that cannot be."""
            wrong: Any = "Weather"
            if soon:
                ctx.session.handoff_soon(wrong)
            await ctx.session.handoff(wrong)
            return "unreachable"

    agent = Confused()
    async with on_stage(prompted(Call("transfer"), then="Sorry.")) as stage:
        async with running(stage, agent):
            await until(lambda: spoken(stage) == ["Sorry."])
            assert stage.session.agent is agent
            outcome = await stage.session.generate_reply()
            assert outcome.text == "Sorry."
        assert answers(stage) == ["handoff failed: it could not take over"]
        (failed,) = stage.of(ToolFailed)
        assert "needs an agent, not 'Weather'" in str(failed.error)


@pytest.mark.behaviour("H7", "T9")
async def test_a_delegate_that_the_server_refuses_costs_its_own_call_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Who asked for it is current again, and goes on."""

    class Asking(Prompted):
        @function_tool
        async def ask(self, ctx: RunContext) -> str:
            """Ask somebody."""
            return str(await ctx.session.delegate(Doing(endless, "child")))

    agent = Asking()
    faults = [reject("session.update", code="invalid_value", nth=2)]
    brain = prompted(Call("ask"), then="Sorry.")
    async with on_stage(brain, server={"faults": faults}) as stage:
        async with running(stage, agent):
            await until(lambda: spoken(stage) == ["Sorry."])
            assert stage.session.agent is agent
            assert stage.session.realtime.wanted is not None
            assert stage.session.realtime.wanted.instructions == agent.instructions
        assert answers(stage) == ["handoff failed: child could not take over"]
        (failed,) = stage.of(ToolFailed)
        assert isinstance(failed.error, HandoffError)


# --- any mix -------------------------------------------------------------------------


class Crowd(Bench):
    """Whatever tools do, for a time that they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.began: set[str] = set()

    async def work(self, ctx: RunContext, seconds: float) -> str:
        assert ctx.call is not None
        assert ctx.call.call_id not in self.began
        self.began.add(ctx.call.call_id)
        await trio.sleep(seconds)
        return f"worked {seconds:g} s"

    @function_tool
    async def plain(self, ctx: RunContext, seconds: float) -> str:
        """Work."""
        return await self.work(ctx, seconds)

    @function_tool(timeout=0.7)
    async def timed(self, ctx: RunContext, seconds: float) -> str:
        """Work in time."""
        return await self.work(ctx, seconds)

    @function_tool(on_handoff="finish")
    async def finishing(self, ctx: RunContext, seconds: float) -> str:
        """Work to the end."""
        return await self.work(ctx, seconds)

    @function_tool(on_handoff="detach", reply="required")
    async def detaching(self, ctx: RunContext, seconds: float) -> str:
        """Work on."""
        return await self.work(ctx, seconds)

    @function_tool(needs_approval=True)
    async def approved(self, ctx: RunContext, seconds: float) -> str:
        """Work if allowed."""
        return await self.work(ctx, seconds)

    @function_tool(needs_approval=True, on_handoff="detach", on_interrupt="cancel")
    async def approved_detaching(self, ctx: RunContext, seconds: float) -> str:
        """Work on if allowed."""
        return await self.work(ctx, seconds)

    @function_tool(on_interrupt="cancel")
    async def failing(self, ctx: RunContext, seconds: float) -> str:
        """Fail when stopped."""
        try:
            return await self.work(ctx, seconds)
        finally:
            if seconds > 1:
                raise RuntimeError("failed")

    @function_tool(timeout=0.4)
    async def digging_in(self, ctx: RunContext, seconds: float) -> str:
        """Refuse to be cancelled."""
        answer = ""
        with trio.CancelScope(shield=True):
            answer = await self.work(ctx, seconds)
        return answer

    @function_tool
    async def delegating(self, ctx: RunContext, seconds: float) -> str:
        """Ask somebody."""

        async def late(ctx: RunContext) -> None:
            await trio.sleep(seconds)
            ctx.complete(seconds)

        return f"got {await ctx.session.delegate(Doing(late)):g}"

    @function_tool
    async def leaving(self, ctx: RunContext, seconds: float) -> Agent:
        """Leave."""
        await self.work(ctx, seconds)
        return Weather()


KINDS = [
    *("plain", "timed", "finishing", "detaching", "approved", "approved_detaching"),
    *("failing", "digging_in", "delegating", "leaving"),
]


async def decide_at_random(stage: Any, rng: random.Random) -> None:
    """Settle what waits, in any order, or not at all."""
    async with stage.session.subscribe(ApprovalRequested) as requests:
        async for request in requests:
            await trio.sleep(rng.choice([0, 0.1, 0.6]))
            if request in stage.session.approvals and rng.random() < 0.8:
                if rng.random() < 0.5:
                    stage.session.approve(request.call_id)
                else:
                    stage.session.deny(request.call_id)


@pytest.mark.behaviour("T1", "T7", "G4", "H8")
@pytest.mark.parametrize("seed", range(30))
async def test_any_mix_of_tools_answers_each_call_once_and_leaves_nothing(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    """Whatever they do, whoever interrupts, hands over or ends the conversation."""
    rng = random.Random(seed)
    calls = [
        Call(kind, {"seconds": rng.choice([0, 0.1, 0.5, 0.9, 2.5, 6])})
        for kind in rng.choices(KINDS, k=rng.randint(1, 6))
    ]
    parts: list[Any] = [*calls]
    if rng.random() < 0.5:
        parts.insert(rng.randrange(len(parts) + 1), Say("Let me see. " * 10))
    speaks, leaves = rng.random() < 0.5, rng.random() < 0.4
    server = {"network": Network(one_way=rng.choice([0, 0.03, 0.2]))}
    agent, before = Crowd(), tasks()
    with trio.fail_after(300):
        async with on_stage(
            prompted(*parts), microphone=True, server=server, approval_timeout=4
        ) as stage:
            assert stage.microphone is not None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(decide_at_random, stage, rng)
                nursery.start_soon(stage.session.run, agent)
                await until(lambda: stage.session.realtime.settled)
                await trio.sleep(rng.choice([0.2, 0.5, 1, 2]))
                if speaks:
                    await speak(stage.microphone, stage.server.utterances.say("Hm."))
                if leaves:
                    await trio.sleep(rng.choice([0, 0.3, 1.7]))
                    stage.session.end(now=rng.random() < 0.5)
                await trio.sleep(60)
                nursery.cancel_scope.cancel()
            await trio.sleep(10)
            assert stage.session.approvals == ()
            assert not any(stage.session.realtime.open_work.values())
            done = stage.server.connections[-1].find("response.output_item.done")
            items = [entry.event["item"] for entry in done]
            called = [i["call_id"] for i in items if i["type"] == "function_call"]
            answered = [call_id for call_id, _ in outputs(stage)]
            assert len(called) >= len(calls) or speaks or leaves
            assert sorted(answered) == sorted(called)
            finished = [event.call_id for event in stage.of(ToolFinished)]
            assert sorted(finished) == sorted(called)
            requests = [event.call_id for event in stage.of(ApprovalRequested)]
            settled = [event.call_id for event in stage.of(ApprovalSettled)]
            assert sorted(settled) == sorted(requests)
            started = [event.call_id for event in stage.of(ToolStarted)]
            assert len(set(started)) == len(started)
            assert stage.server.protocol_errors == []
        assert tasks() == before
    assert stage.session.realtime.failure is None


class Ring(Agent[str]):
    """Hands over to the next of its kind, for ever."""

    instructions = "You are one of many."

    async def on_enter(self, ctx: RunContext) -> Agent[str]:
        return Ring()


class Tidy(Prompted):
    """Has tools that are stopped by another's failure, and take their time to end."""

    def __init__(self) -> None:
        super().__init__()
        self.tidied: list[str] = []

    @function_tool
    async def ask_round(self, ctx: RunContext) -> str:
        """Ask somebody who never answers."""
        return await ctx.session.delegate(Ring())

    @function_tool
    async def work(self, ctx: RunContext, seconds: float) -> None:
        """Work, and tidy up."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)
            self.tidied.append(f"{seconds}")


@pytest.mark.behaviour("T7", "H20")
async def test_tools_that_one_failure_ends_have_a_moment_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The first of them to end does not end the patience with the others."""
    agent = Tidy()
    calls = Call("work", {"seconds": 0.2}), Call("work", {"seconds": 0.8})
    brain = prompted(*calls, Call("ask_round"))
    async with on_stage(brain) as stage:
        with trio.fail_after(60), pytest.raises(HandoffLoop):
            await stage.session.run(agent)
        assert agent.tidied == ["0.2", "0.8"]
        assert not stage.of(ToolStalled)


@pytest.mark.behaviour("H3", "T7")
async def test_a_handoff_stops_the_tools_of_the_old_agent_and_waits_for_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As long as they tidy up, and no longer."""
    agent = Tidy()
    brain = prompted(*[Call("work", {"seconds": s}) for s in (0.1, 0.4)])
    async with on_stage(brain) as stage:
        async with running(stage, agent):
            await until(lambda: len(stage.of(ToolStarted)) == 2)
            await until(lambda: stage.session.realtime.settled)
            began = trio.current_time()
            await stage.session.handoff(Greeter())
            assert agent.tidied == ["0.1", "0.4"]
            assert trio.current_time() - began < 0.6
        assert not stage.of(ToolStalled)
