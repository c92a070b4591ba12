"""What a program gets wrong about delegation: a typed error, and nothing is sent."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, TypeVar

import attrs
import pytest
import trio
import trio.testing

from delegating import Caller, Doing, asks, done, endless, giving
from stage import on_stage, outputs, prompted, running, until
from trialogue import (
    Agent,
    ConfigurationError,
    DelegationError,
    RunContext,
    SessionClosed,
    TrialogueError,
    function_tool,
)
from trialogue.agents.events import DelegationEnded, DelegationStarted, ToolFailed
from trialogue.agents.results import declared_result, fits
from trialogue.testing import Call

# --- delegating -----------------------------------------------------------------------


async def refusal(agent: Any, call: Call | None = None, **session: Any) -> Any:
    """Return the error that a tool got for delegating to this, and what was sent."""
    caller = Caller(agent)
    calls = asks(0) if call is None else [call]
    async with on_stage(prompted(*calls)) as stage, running(stage, caller):
        await until(lambda: caller.errors)
        await until(lambda: not any(stage.session.realtime.open_work.values()))
        assert stage.session.agent is caller
    assert len(stage.sent("session.update")) == 1
    assert not stage.of(DelegationStarted)
    (error,) = caller.errors
    assert isinstance(error, TrialogueError)
    return error


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        (Doing, "not the class Doing; pass Doing()"),
        (Agent[bool], "not the class Agent; pass Agent()"),
        ("Doing", "needs an agent, not 'Doing'"),
        (Agent(name="mute"), "agent 'mute' has no instructions"),
    ],
)
async def test_what_is_no_agent_is_refused(
    autojump_clock: trio.testing.MockClock, agent: Any, told: str
) -> None:
    error = await refusal(agent)
    assert isinstance(error, ConfigurationError)
    assert told in str(error)


async def test_a_detached_tool_cannot_delegate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may outlive its agent, and then there is nobody to come back to."""
    error = await refusal(Doing(giving(1)), Call("ask_detached"))
    assert isinstance(error, DelegationError)
    assert 'a tool without on_handoff="detach"' in str(error)


async def test_nobody_delegates_from_outside_of_the_agents(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Neither the program, nor a task that an agent has started in the session."""
    errors: list[DelegationError] = []

    async def from_the_session(ctx: RunContext) -> None:
        with pytest.raises(DelegationError, match=r"use session\.handoff") as caught:
            await ctx.session.delegate(Doing(giving(1)))
        errors.append(caught.value)

    async def start(ctx: RunContext) -> None:
        ctx.session.nursery.start_soon(from_the_session, ctx)

    async with on_stage() as stage, running(stage, Doing(start)):
        await until(lambda: errors)
        with pytest.raises(DelegationError, match=r"use session\.handoff"):
            await stage.session.delegate(Doing(giving(1)))
        assert len(stage.sent("session.update")) == 1


async def test_an_agent_that_runs_already_cannot_be_delegated_to(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Neither oneself nor whoever waits further out; another instance can."""

    async def turn_back(ctx: RunContext) -> None:
        for agent in (inner, caller):
            with pytest.raises(DelegationError, match="is running already"):
                await ctx.session.delegate(agent)
        ctx.complete(await ctx.session.delegate(Doing(giving(1))))

    inner = Doing(turn_back, "inner")
    caller = Caller(inner)
    async with on_stage(prompted(*asks(0))) as stage, running(stage, caller):
        await done(stage, "Caller")
    assert caller.got == [1]


async def test_instructions_cannot_be_made_by_delegation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The turn to delegate is taken already, by the delegation that wants them."""

    async def ask(ctx: RunContext) -> str:
        value: str = await ctx.session.delegate(Doing(giving("Be kind.")))
        return value

    error = await refusal(Agent(ask))
    assert isinstance(error, DelegationError)
    assert "an instructions function cannot delegate" in str(error)


async def test_a_session_that_is_over_takes_no_delegation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage() as stage:
        pass
    with pytest.raises(SessionClosed):
        await stage.session.delegate(Doing(giving(1)))


async def test_another_session_is_not_delegated_through(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def cross(ctx: RunContext) -> None:
        with pytest.raises(DelegationError, match="runs in another session"):
            await other.session.delegate(Doing(giving(1)))
        crossed.set()

    crossed = trio.Event()
    async with (
        on_stage() as other,
        on_stage() as stage,
        running(stage, Doing(cross)),
    ):
        await crossed.wait()


# --- completing -----------------------------------------------------------------------


class Yes(Agent[bool]):
    """Completes with what it is given, and keeps what it is told about that."""

    instructions = "You are asking."

    def __init__(self, *values: Any) -> None:
        super().__init__()
        self.values = values
        self.errors: list[str] = []

    async def on_enter(self, ctx: RunContext) -> Agent | None:
        for value in self.values:
            try:
                ctx.complete(value)
            except DelegationError as error:
                self.errors.append(str(error))
        return None


async def completed(child: Any) -> list[Any]:
    caller = Caller(child)
    async with on_stage(prompted(*asks(0))) as stage, running(stage, caller):
        await done(stage, "Caller")
    return caller.got


async def test_a_value_of_another_type_is_refused_and_the_agent_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child = Yes("yes", None, 1, False)
    assert await completed(child) == [False]
    assert [e.partition(";")[0] for e in child.errors] == [
        f"Yes is to complete with bool, not with a value of type {kind}"
        for kind in ("str", "NoneType", "int")
    ]


async def test_completing_twice_is_refused_and_the_first_value_stands(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child = Yes(True, False)
    assert await completed(child) == [True]
    assert child.errors == ["Yes has completed already; complete() is called once"]


async def test_the_type_that_was_asked_for_binds_whoever_comes_in_its_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class HandingOver(Yes):
        async def on_enter(self, ctx: RunContext) -> Agent:
            return second

    async def complete(ctx: RunContext) -> None:
        with pytest.raises(DelegationError, match="is to complete with bool"):
            ctx.complete("yes")
        ctx.complete(True)

    second = Doing(complete, "second")
    assert await completed(HandingOver()) == [True]


async def test_who_has_handed_over_cannot_complete_any_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nor can anybody whose time is over; the next one can."""
    kept: list[RunContext] = []

    async def hand_over(ctx: RunContext) -> Agent:
        kept.append(ctx)
        return Doing(complete, "second")

    async def complete(ctx: RunContext) -> None:
        with pytest.raises(DelegationError, match="no longer current"):
            kept[0].complete(1)
        ctx.complete(2)

    assert await completed(Doing(hand_over, "first")) == [2]


async def test_completing_without_a_delegation_says_what_to_do(
    autojump_clock: trio.testing.MockClock,
) -> None:
    errors: list[str] = []

    async def complete(ctx: RunContext) -> None:
        with pytest.raises(DelegationError) as caught:
            ctx.complete(1)
        errors.append(str(caught.value))

    async with on_stage() as stage, running(stage, Doing(complete, "alone")):
        await until(lambda: errors)
    (error,) = errors
    assert error.startswith("alone was not delegated to")
    assert "session.delegate(agent)" in error


async def test_a_tool_that_completes_wrongly_has_failed_and_may_try_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As any tool that raises: the model is told no details, the program is."""

    class Choosing(Agent[int]):
        instructions = "You are choosing."

        async def on_enter(self, ctx: RunContext) -> None:
            await ctx.session.generate_reply(instructions="Choose.")

        @function_tool
        async def choose(self, ctx: RunContext, what: str) -> str:
            """Choose."""
            ctx.complete(len(what) if what == "again" else what)
            return "chosen"

    def brain(turn: Any) -> Any:
        if "choosing" in turn.instructions:
            what = "this" if turn.output is None else "again"
            return Call("choose", {"what": what})
        return prompted(*asks(0))(turn)

    caller = Caller(Choosing())
    async with on_stage(brain) as stage, running(stage, caller):
        await done(stage, "Caller")
    assert caller.got == [5]
    (failed,) = stage.of(ToolFailed)
    assert isinstance(failed.error, DelegationError)
    answered = [output for _, output in outputs(stage)]
    assert answered == ["the tool failed with an internal error", "chosen", "got 5"]
    (ended,) = stage.of(DelegationEnded)
    assert ended.outcome == "completed"


async def test_an_agent_that_has_completed_can_no_longer_delegate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def late(ctx: RunContext) -> None:
        ctx.complete(1)
        with pytest.raises(DelegationError, match="completed and can no longer"):
            await ctx.session.delegate(Doing(endless))

    assert await completed(Doing(late)) == [1]


# --- what is declared -----------------------------------------------------------------

T = TypeVar("T")


class Pick(Agent[T]):
    """Gives one of several."""


class PickInt(Pick[int]):
    """Gives a number."""


class Person(TypedDict):
    """A person."""

    name: str


@pytest.mark.parametrize(
    ("agent", "declared"),
    [
        (Agent("x"), Any),
        (Doing(giving(1)), Any),
        (Yes(), bool),
        (Agent[bool]("x"), bool),
        (Pick[int]("x"), int),
        (Pick("x"), Any),
        (PickInt("x"), int),
        (Agent[str | None]("x"), str | None),
    ],
)
def test_the_result_is_declared_by_class_or_instance(agent: Any, declared: Any) -> None:
    assert declared_result(agent) == declared


@attrs.frozen
class Address:
    """A place."""

    city: str


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        (Any, [1, None, "x"], []),
        (bool, [True], [1, "true", None]),
        (float, [1.0, 1], ["1"]),
        (None, [None], [0]),
        (str | None, ["x", None], [1]),
        (Literal["a", "b"], ["a"], ["c", 1]),
        (list[int], [[], [1]], [["1"], (1,)]),
        (dict[str, list[int]], [{"a": [1]}], [{1: [1]}, {"a": 1}]),
        (tuple[int, str], [(1, "a")], [(1,), ("a", 1)]),
        (tuple[int, ...], [(), (1, 2)], [("a",)]),
        (Address, [Address("Oslo")], [{"city": "Oslo"}]),
        (list[Address], [[Address("Oslo")]], [["Oslo"]]),
        (Person, [{"name": "Ada"}], [["Ada"]]),
        (T, [1, "x"], []),
    ],
)
def test_values_are_checked_as_far_as_can_be_told(
    declared: Any, good: list[Any], bad: list[Any]
) -> None:
    assert [value for value in good if not fits(value, declared)] == []
    assert [value for value in bad if fits(value, declared)] == []
