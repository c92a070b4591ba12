"""Handoffs among other calls: parallel, conflicting, cancelled, detached."""

from __future__ import annotations

import random
from typing import Any

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
    speak,
    until,
)
from trialogue import Agent, RunContext, ToolError, function_tool
from trialogue.agents.events import (
    HandoffDiscarded,
    HandoffStarted,
    ScopeStalled,
    ToolFinished,
    ToolStalled,
)
from trialogue.realtime.notices import ReplyEnded, UserStartedSpeaking
from trialogue.testing import Call, Network, Say


class Worker(Prompted):
    """Works, and hands over, in any time it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, float] = {}

    @function_tool
    async def work(self, ctx: RunContext, name: str, seconds: float) -> str:
        """Work."""
        await trio.sleep(seconds)
        self.done[name] = trio.current_time()
        return f"{name} is done"

    @function_tool
    async def refuse(self, ctx: RunContext, name: str, seconds: float) -> str:
        """Work in vain."""
        await trio.sleep(seconds)
        self.done[name] = trio.current_time()
        msg = f"{name} is done"
        raise ToolError(msg)

    @function_tool(on_handoff="finish")
    async def finish(self, ctx: RunContext, name: str, seconds: float) -> str:
        """Work to the end."""
        await trio.sleep(seconds)
        self.done[name] = trio.current_time()
        return f"{name} is done"

    @function_tool(on_handoff="detach")
    async def detach(self, ctx: RunContext, name: str, seconds: float) -> str:
        """Work on, whoever is current."""
        await trio.sleep(seconds)
        self.done[name] = trio.current_time()
        return f"{name} is done"

    @function_tool
    async def transfer(self, ctx: RunContext, seconds: float) -> Agent:
        """Transfer to the weather."""
        await trio.sleep(seconds)
        return Weather()

    @function_tool
    async def transfer_to_greeter(self, ctx: RunContext, seconds: float) -> Agent:
        """Transfer to the greeter."""
        await trio.sleep(seconds)
        return Greeter()

    @function_tool(on_interrupt="cancel")
    async def fickle_transfer(self, ctx: RunContext, seconds: float) -> Agent:
        """Transfer, unless the user speaks first."""
        await trio.sleep(seconds)
        return Weather()

    @function_tool(on_interrupt="cancel")
    async def stubborn_transfer(self, ctx: RunContext, seconds: float) -> Agent:
        """Transfer, unless the user speaks first; finds out late."""
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        return Weather()


def works(tool: str, name: str, seconds: float) -> Call:
    return Call(tool, {"name": name, "seconds": seconds})


def goes(tool: str, seconds: float = 0) -> Call:
    return Call(tool, {"seconds": seconds})


def answers(stage: Any) -> list[str]:
    return [output for _, output in outputs(stage)]


async def new_agent_spoke(stage: Any, agent: type[Agent] = Weather) -> None:
    await until(lambda: isinstance(stage.session.agent, agent))

    def spoken() -> bool:
        return [e.agent for e in stage.of(ReplyEnded)][-1:] == [agent.__name__]

    await until(spoken)


# --- any mix -----------------------------------------------------------------------


@pytest.mark.behaviour("H8")
@pytest.mark.parametrize("seed", range(24))
async def test_a_handoff_among_parallel_tools_answers_each_call_once(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    """Finished calls keep their results, the others are stopped; one handoff."""
    rng = random.Random(seed)
    seconds = [rng.choice([0, 0.01, 0.2, 0.5, 1, 2]) for _ in range(rng.randint(2, 6))]
    calls = [
        works(rng.choice(["work", "refuse", "finish"]), f"tool {n}", s)
        for n, s in enumerate(seconds)
    ]
    at = rng.randrange(len(calls) + 1)
    calls.insert(at, goes("transfer", rng.choice([0, 0.2, 0.5, 1])))
    if rng.random() < 0.5:
        calls.append(goes("transfer", rng.choice([0, 1])))
    agent = Worker()
    network = Network(one_way=rng.choice([0, 0.03, 0.2]))
    async with on_stage(prompted(*calls), server={"network": network}) as stage:
        async with running(stage, agent):
            await new_agent_spoke(stage)
            await trio.sleep(10)
        assert len(stage.of(HandoffStarted)) == 1
        assert [call_id for call_id, _ in outputs(stage)] == called(stage)
        names = iter(f"tool {n}" for n in range(len(seconds)))
        for call, output in zip(calls, answers(stage), strict=True):
            if call.name == "transfer":
                expected = "transferred to Weather"
            else:
                name = next(names)
                expected = f"{name} is done"
                expected = expected if name in agent.done else "stopped: handed off"
            assert output == expected, call
        sent = [entry.type for entry in stage.sent()]
        burst = sent[sent.index("session.update", 1) :]
        assert burst == [
            "session.update",
            *["conversation.item.create"] * len(calls),
            "response.create",
        ]


def called(stage: Any) -> list[str]:
    """Return the ids of all calls that the server made, in order."""
    done = stage.server.connections[-1].find("response.output_item.done")
    items = [entry.event["item"] for entry in done]
    return [item["call_id"] for item in items if item["type"] == "function_call"]


@pytest.mark.behaviour("H8")
@pytest.mark.parametrize("seconds", [(0, 1), (1, 0), (1, 1)])
async def test_the_same_target_twice_is_one_handoff(
    autojump_clock: trio.testing.MockClock, seconds: tuple[float, float]
) -> None:
    """Both calls read "transferred", and the agent enters once."""
    calls = [goes("transfer", s) for s in seconds]
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, Worker()):
            await new_agent_spoke(stage)
            await trio.sleep(10)
        assert answers(stage) == ["transferred to Weather"] * 2
        assert len(stage.of(HandoffStarted)) == 1
        assert len(stage.sent("session.update")) == 2


@pytest.mark.behaviour("H9")
@pytest.mark.parametrize("seconds", [(0, 0), (0, 1), (1, 0), (2.5, 0.1)])
@pytest.mark.parametrize("sibling_seconds", [0, 4])
async def test_two_targets_in_one_response_are_a_conflict_and_the_old_agent_stays(
    autojump_clock: trio.testing.MockClock,
    seconds: tuple[float, float],
    sibling_seconds: float,
) -> None:
    """Both calls are told, the sibling goes on to its end, one reply follows."""
    first, second = seconds
    calls = [
        goes("transfer", first),
        works("work", "sibling", sibling_seconds),
        goes("transfer_to_greeter", second),
    ]
    agent = Worker()
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, agent):
            await until(lambda: len(outputs(stage)) == 3)
            await trio.sleep(10)
            assert stage.session.agent is agent
        told, sibling, told_too = answers(stage)
        assert told == told_too
        assert told.startswith("no handoff: Weather and Greeter were asked for")
        assert sibling == "sibling is done"
        assert [call_id for call_id, _ in outputs(stage)] == called(stage)
        assert not stage.of(HandoffStarted)
        assert len(stage.sent("session.update")) == 1
        assert len(stage.sent("response.create")) == 2


async def test_an_agent_returned_after_the_decision_changes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its sibling hands over first; the late one is an event and nothing else."""

    class Hasty(Worker):
        @function_tool(on_handoff="finish")
        async def late(self, ctx: RunContext) -> object:
            """Return an agent without having announced it."""
            await trio.sleep(1)
            return Greeter()

    async with on_stage(prompted(Call("late"), goes("transfer"))) as stage:
        async with running(stage, Hasty()):
            await new_agent_spoke(stage)
            await trio.sleep(10)
        (discarded,) = stage.of(HandoffDiscarded)
        assert discarded.next == "Greeter"
        assert len(stage.of(HandoffStarted)) == 1
        assert answers(stage)[1] == "transferred to Weather"
        assert answers(stage)[0] == "handoff failed: it came too late"


# --- the user interrupts -----------------------------------------------------------


@pytest.mark.behaviour("H10")
@pytest.mark.parametrize("tool", ["fickle_transfer", "stubborn_transfer"])
async def test_a_tool_that_the_user_cancelled_hands_nothing_over(
    autojump_clock: trio.testing.MockClock, tool: str
) -> None:
    """It reads that it was stopped, even if it returned an agent all the same."""
    brain = prompted(goes(tool, 1), Say("Let me see. " * 30))
    agent = Worker()
    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        async with running(stage, agent):
            await until(lambda: stage.output.pcm)
            await speak(stage.microphone, stage.server.utterances.say("No, stay."))
            await until(lambda: outputs(stage))
            await trio.sleep(10)
            assert stage.session.agent is agent
        assert stage.of(UserStartedSpeaking)
        assert answers(stage) == ["stopped: the user interrupted"]
        assert not stage.of(HandoffStarted)


@pytest.mark.behaviour("H10")
async def test_a_tool_that_returned_an_agent_hands_over_although_the_user_speaks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Once returned there is nothing to cancel: the agent is still being prepared."""

    class Careful(Weather):
        def __init__(self) -> None:
            super().__init__(instructions=self.look_up)

        @staticmethod
        async def look_up(ctx: RunContext) -> str:
            await trio.sleep(2)
            return "You are Sunny, and careful."

    class ToCareful(Worker):
        @function_tool(on_interrupt="cancel")
        async def hand_over(self, ctx: RunContext) -> Agent:
            """Transfer to an agent that takes its time."""
            return Careful()

    brain = prompted(Call("hand_over"), Say("Let me see. " * 30))
    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        async with running(stage, ToCareful()):
            await until(lambda: stage.output.pcm)
            await speak(stage.microphone, stage.server.utterances.say("Hm."))
            await new_agent_spoke(stage, Careful)
        assert stage.of(UserStartedSpeaking)
        assert answers(stage) == ["transferred to Careful"]


# --- what outlives the decision ----------------------------------------------------


async def test_a_tool_may_finish_its_work_before_the_handoff(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`on_handoff="finish"`: the new agent enters when it has finished."""
    agent = Worker()
    calls = [works("finish", "booking", 2), goes("transfer", 0.5)]
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, agent):
            await new_agent_spoke(stage)
        assert answers(stage) == ["booking is done", "transferred to Weather"]
        update = stage.sent("session.update")[1]
        assert update.time == pytest.approx(agent.done["booking"], abs=0.01)


async def test_a_tool_that_does_not_finish_is_stopped_after_three_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The handoff waits for it no longer than that."""
    calls = [works("finish", "booking", 60), goes("transfer", 0.5)]
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, Worker()):
            await new_agent_spoke(stage)
        assert answers(stage) == ["stopped: handed off", "transferred to Weather"]
        timings = stage.session.handoffs[0]
        update = stage.sent("session.update")[1]
        assert update.time == pytest.approx(timings.committed + 3.0, abs=0.01)


@pytest.mark.behaviour("T8")
async def test_a_detached_tool_survives_the_handoff_and_its_result_is_a_note(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The call reads "in progress"; the new agent is given the result, and speaks."""
    calls = [works("detach", "booking", 20), goes("transfer")]
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, Worker()):
            await new_agent_spoke(stage)
            spoken = len(stage.of(ReplyEnded))
            await until(lambda: len(stage.of(ReplyEnded)) > spoken)
            assert isinstance(stage.session.agent, Weather)
        assert answers(stage) == [
            "in progress: the result will follow",
            "transferred to Weather",
        ]
        (note,) = [
            entry.event["item"]
            for entry in stage.sent("conversation.item.create")
            if entry.event["item"]["type"] == "message"
        ]
        assert note["role"] == "system"
        assert "booking is done" in note["content"][0]["text"]
        assert stage.of(ReplyEnded)[-1].agent == "Weather"


async def test_a_detached_tool_without_a_handoff_answers_like_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where its agent stays, its call gets its result."""
    async with on_stage(prompted(works("detach", "booking", 5))) as stage:
        async with running(stage, Worker()):
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
        assert answers(stage) == ["booking is done"]


# --- what refuses to end -----------------------------------------------------------


@pytest.mark.behaviour("T7", "H3")
async def test_a_tool_that_ignores_cancellation_is_named_and_left_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After a second the new agent enters without it; what it returns is dropped."""

    class Stubborn(Worker):
        @function_tool
        async def dig_in(self, ctx: RunContext) -> Agent:
            """Refuse to be cancelled."""
            with trio.CancelScope(shield=True):
                await trio.sleep(8)
            self.done["dig_in"] = trio.current_time()
            return Greeter()

    agent = Stubborn()
    async with on_stage(prompted(goes("transfer", 0.5), Call("dig_in"))) as stage:
        async with running(stage, agent):
            await until(lambda: stage.of(ToolStalled))
            stalled_at = trio.current_time()
            await new_agent_spoke(stage)
            assert not agent.done
            await trio.sleep(20)
            assert agent.done
            assert isinstance(stage.session.agent, Weather)
        (timings,) = stage.session.handoffs
        # Its sibling may hand over as well, and so was waited for.
        assert stalled_at == pytest.approx(timings.committed + 1.0, abs=0.05)
        (stalled,) = stage.of(ToolStalled)
        assert (stalled.agent, stalled.tool) == ("Stubborn", "dig_in")
        assert any("dig_in" in frame for frame in stalled.stack)
        assert not stage.of(ScopeStalled)
        assert answers(stage) == ["transferred to Weather", "stopped: handed off"]
        assert [event.outcome for event in stage.of(ToolFinished)] == [
            "Transferred",
            "HandedOff",
        ]


@pytest.mark.behaviour("H3")
async def test_a_hook_that_ignores_cancellation_is_named_and_the_handoff_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An event names it and its place after 1 s; nobody enters before it ends."""

    class Stubborn(Worker):
        async def on_enter(self, ctx: RunContext) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(8)
            self.done["on_enter"] = trio.current_time()

    agent = Stubborn()
    async with on_stage() as stage:
        async with running(stage, agent), trio.open_nursery() as nursery:
            await until(lambda: stage.session.agent is agent)
            nursery.start_soon(stage.session.handoff, Weather())
            await until(lambda: stage.of(ScopeStalled))
            stalled_at = trio.current_time()
            assert stage.session.agent is agent
            await new_agent_spoke(stage)
        (stalled,) = stage.of(ScopeStalled)
        (timings,) = stage.session.handoffs
        assert stalled_at == pytest.approx(timings.committed + 1.0, abs=0.05)
        assert (stalled.agent, stalled.task) == ("Stubborn", "Stubborn.on_enter")
        assert any("on_enter" in frame for frame in stalled.stack)
        assert timings.burst_written is not None
        assert timings.burst_written >= agent.done["on_enter"]
