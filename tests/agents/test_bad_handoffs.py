"""Handoffs that cannot be meant: a typed error says what to do; nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

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
from trialogue import (
    Agent,
    ConfigurationError,
    Handoff,
    HandoffError,
    RunContext,
    SessionClosed,
    function_tool,
)
from trialogue.agents.events import HandoffStarted, ToolFailed
from trialogue.events import ReplyEnded
from trialogue.testing import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue import AgentSession

INSTANCE = r"a handoff needs an agent, not the class Weather; return an instance: Wea"
ITSELF = "is running already, and cannot take over from itself; hand over to another"
BAD: dict[str, tuple[Callable[[Agent], Any], type[Exception], str]] = {
    "class": (lambda me: Weather, ConfigurationError, INSTANCE),
    "itself": (lambda me: me, ConfigurationError, ITSELF),
    "itself-anew": (
        lambda me: Handoff(me, context="fresh"),
        ConfigurationError,
        r"or to a new instance: Target\(\)",
    ),
}
NO_AGENTS: dict[str, tuple[Callable[[Agent], Any], type[Exception], str]] = {
    "text": (lambda me: "Weather", HandoffError, "needs an agent, not 'Weather'"),
    "none": (lambda me: None, HandoffError, "needs an agent, not None"),
}


class Target(Prompted):
    """Returns from its tool, and from its `on_enter`, what it is told to."""

    def __init__(self, make: Callable[[Agent], Any], *, at_once: bool = False) -> None:
        super().__init__()
        self.make = make
        self.at_once = at_once

    async def on_enter(self, ctx: RunContext) -> Any:
        if self.at_once:
            return self.make(self)
        return await super().on_enter(ctx)

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent | Handoff:
        """Transfer."""
        made: Agent | Handoff = self.make(self)
        return made


@pytest.mark.behaviour("H7", "H21")
@pytest.mark.parametrize("name", BAD)
async def test_a_tool_that_returns_no_agent_to_hand_over_to_has_failed(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    """The model is told that the handoff failed, the program is told why."""
    make, kind, words = BAD[name]
    agent = Target(make)
    async with on_stage(prompted(Call("transfer"))) as stage:
        async with running(stage, agent):
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
            assert stage.session.agent is agent
        assert len(stage.sent("session.update")) == 1
        ((_, output),) = outputs(stage)
        assert output.startswith("handoff failed")
        (failed,) = stage.of(ToolFailed)
        with pytest.raises(kind, match=words):
            raise failed.error


@pytest.mark.behaviour("H7")
@pytest.mark.parametrize("name", BAD)
async def test_an_on_enter_that_returns_no_agent_to_hand_over_to_ends_the_run(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    """What it raises comes out of `run`, as itself."""
    make, kind, words = BAD[name]
    async with on_stage() as stage:
        with trio.fail_after(10), pytest.raises(kind, match=words):
            await stage.session.run(Target(make, at_once=True))
        assert stage.of(HandoffStarted) == []


async def hand_over(session: AgentSession, target: Any) -> None:
    await session.handoff(target)


async def hand_over_soon(session: AgentSession, target: Any) -> None:
    session.handoff_soon(target)


both_ways = pytest.mark.parametrize("way", [hand_over, hand_over_soon])


@pytest.mark.behaviour("H7", "H21")
@both_ways
@pytest.mark.parametrize("name", [*BAD, *NO_AGENTS])
async def test_from_outside_what_cannot_be_meant_raises_where_it_is_asked_for(
    autojump_clock: trio.testing.MockClock, way: Any, name: str
) -> None:
    """`handoff` and `handoff_soon`: the old agent goes on, nothing was sent."""
    make, kind, words = (BAD | NO_AGENTS)[name]
    agent = Target(make)
    async with on_stage(prompted("Hello.")) as stage, running(stage, agent):
        await until(lambda: stage.of(ReplyEnded))
        sent = len(stage.sent())
        with pytest.raises(kind, match=words):
            await way(stage.session, make(agent))
        await trio.sleep(1)
        assert stage.session.agent is agent
        assert len(stage.sent()) == sent


@both_ways
async def test_outside_of_a_run_there_is_nobody_to_hand_over(
    autojump_clock: trio.testing.MockClock, way: Any
) -> None:
    """Before it the error names `session.run`; after its end, another session."""
    async with on_stage() as stage:
        with pytest.raises(HandoffError, match=r"start with session\.run\(agent\)"):
            await way(stage.session, Weather())
        assert stage.sent() == []
        async with running(stage, Greeter()):
            await until(lambda: stage.session.realtime.settled)
        sent = len(stage.sent())
        with pytest.raises(SessionClosed, match="open another session"):
            await way(stage.session, Weather())
        assert len(stage.sent()) == sent


async def test_of_two_who_want_the_same_agent_the_second_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """By the time its turn has come that agent is running already."""
    told: list[ConfigurationError] = []
    target = Weather()

    async def want(session: AgentSession) -> None:
        try:
            await session.handoff(Handoff(target, reply="none"))
        except ConfigurationError as error:
            told.append(error)

    async with on_stage() as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(want, stage.session)
            nursery.start_soon(want, stage.session)
        assert stage.session.agent is target
        assert len(stage.of(HandoffStarted)) == 1
        assert [ITSELF in str(error) for error in told] == [True]


async def test_an_agent_that_has_ended_may_begin_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The same instance, back and forth; it runs only once at a time."""
    kelly, sunny = Greeter(), Weather()
    async with on_stage() as stage, running(stage, kelly):
        await until(lambda: stage.session.agent is kelly)
        for agent in (sunny, kelly, sunny):
            await stage.session.handoff(agent)
            assert stage.session.agent is agent


async def test_a_run_begins_with_an_agent_not_with_a_handoff(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """There is nobody yet who could leave a note."""
    handoff: Any = Handoff(Weather(), note="Hello.")
    async with on_stage() as stage:
        with pytest.raises(HandoffError, match=r"run\(\) needs an agent, not Handoff"):
            await stage.session.run(handoff)
        assert stage.sent() == []


@pytest.mark.behaviour("T9", "H7")
async def test_a_tool_that_awaits_a_handoff_is_told_to_return_the_agent(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait for its own end; the mistake costs its call, and is logged."""

    class Waits(Prompted):
        @function_tool
        async def transfer(self, ctx: RunContext) -> str:
            """Transfer."""
            await ctx.session.handoff(Weather())
            return "unreachable"

    agent = Waits()
    async with on_stage(prompted(Call("transfer"))) as stage:
        async with running(stage, agent, seconds=30):
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
            assert stage.session.agent is agent
        (failed,) = stage.of(ToolFailed)
        assert isinstance(failed.error, HandoffError)
        assert "return the agent (Weather)" in str(failed.error)
        assert failed.error.next == "Weather"
        assert "return the agent (Weather)" in caplog.text
        ((_, told),) = outputs(stage)
        assert told == "handoff failed: Weather could not take over"
        assert len(stage.sent("session.update")) == 1


async def test_a_handoff_asked_for_soon_happens_as_soon_as_it_can(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Synchronous, from a tool that then answers: the call gets its output first."""

    class Soon(Prompted):
        @function_tool
        async def transfer(self, ctx: RunContext) -> str:
            """Transfer."""
            ctx.session.handoff_soon(Handoff(Weather(), note="They wait."))
            return "one moment"

    async with on_stage(prompted(Call("transfer"))) as stage:
        async with running(stage, Soon()):
            await until(lambda: isinstance(stage.session.agent, Weather))
            await until(lambda: stage.session.realtime.replying.slot.idle)
        calls = [output for _, output in outputs(stage)]
        assert len(calls) == 1
        assert stage.session.handoffs[0].next == "Weather"
