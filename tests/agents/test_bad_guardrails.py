"""What a program gets wrong about guardrails: a typed error before anything is sent."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from stage import Greeter, Weather, model_of, on_stage, running, until
from trialogue import (
    Agent,
    ConfigurationError,
    Guardrail,
    Handoff,
    RunContext,
    SessionOptions,
    Trip,
    input_guardrail,
    open_agent_session,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from trialogue.testing import RealtimeServer

if TYPE_CHECKING:
    import trio.testing

MAKERS: list[Any] = [
    output_guardrail,
    input_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
]


async def check(ctx: RunContext, text: Any) -> Trip | None:
    return None


def blocking(ctx: RunContext, text: Any) -> Trip | None:
    return None


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout=0 is not a number of seconds above 0"),
        ({"timeout": -1.5}, "timeout=-1.5 is not"),
        ({"timeout": float("inf")}, "timeout=inf is not"),
        ({"timeout": float("nan")}, "timeout=nan is not"),
        ({"timeout": None}, "timeout=None is not"),
        ({"timeout": True}, "timeout=True is not"),
        ({"timeout": "3"}, "timeout='3' is not"),
        ({"name": ""}, "name=''; give a name"),
        ({"name": 7}, "name=7; give a name"),
    ],
)
def test_an_option_that_can_mean_nothing_is_refused_by_the_decorator(
    make: Any, options: dict[str, Any], words: str
) -> None:
    """Named, with the place, as soon as it is written."""
    with pytest.raises(ConfigurationError) as caught:
        make(**options)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"@{make.__name__}: ")


@pytest.mark.parametrize("length", [0, -1, 1.5, True, None, float("inf")])
def test_a_length_is_a_whole_number_above_0(length: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a number of characters"):
        output_guardrail(debounce_text_length=length)


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ("pay", "give the names of tools: tools="),
        ([], "tools has no name"),
        ([check], "tools has <function check"),
        (7, "give the names of tools"),
    ],
)
@pytest.mark.parametrize("make", MAKERS[2:], ids=lambda make: make.__name__)
def test_the_tools_of_a_guardrail_are_names(make: Any, tools: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(tools=tools)
    assert words in str(caught.value)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("function", [blocking, None, "check", output_guardrail(check)])
def test_a_check_is_an_async_function(make: Any, function: Any) -> None:
    """The message says what to do with one that blocks."""
    with pytest.raises(ConfigurationError) as caught:
        make()(function)
    words = "is a guardrail already" if isinstance(function, Guardrail) else "async def"
    assert words in str(caught.value)


def test_what_can_be_awaited_in_other_ways_is_a_check_too() -> None:
    """An object with an async call, a function with some of its arguments."""

    class Judge:
        async def __call__(self, ctx: RunContext, text: str) -> Trip | None:
            return None

    async def longer(strict: bool, ctx: RunContext, text: str) -> Trip | None:
        return None

    assert output_guardrail(Judge()).name == "Judge"
    assert output_guardrail(functools.partial(longer, True)).name == "partial"
    assert output_guardrail(name="mine")(check).name == "mine"
    assert repr(output_guardrail(check)) == "<Guardrail 'check' of output>"


@pytest.mark.parametrize(
    ("trip", "words"),
    [
        ({"reason": ""}, "Trip.reason is ''"),
        ({"reason": None}, "Trip.reason is None"),
        ({"say": ""}, "Trip.say is ''"),
        ({"say": 7}, "Trip.say is 7"),
        ({"refusal": "  "}, "Trip.refusal is '  '"),
        ({"handoff": Weather}, "return an instance: Weather()"),
        ({"handoff": "Weather"}, "needs an agent, not 'Weather'"),
        ({"say": "Sorry.", "handoff": Weather()}, "say or handoff, not both"),
    ],
)
def test_a_trip_that_can_mean_nothing_is_refused(
    trip: dict[str, Any], words: str
) -> None:
    made: dict[str, Any] = {"reason": "found"} | trip
    with pytest.raises(ConfigurationError) as caught:
        Trip(**made)
    assert words in str(caught.value)


def test_a_trip_takes_an_agent_or_a_handoff() -> None:
    agent = Weather()
    assert Trip("found", handoff=agent).handoff is agent
    assert Trip("found", handoff=Handoff(agent)).handoff == Handoff(agent)


WRONG: list[tuple[Any, str]] = [
    (output_guardrail(check), "guardrails is a list of guardrails, not <Guardrail"),
    ("check", "guardrails is a list of guardrails, not 'check'"),
    (7, "guardrails is a list of guardrails, not 7"),
    ([check], "check is no guardrail; decorate it: @output_guardrail"),
    ([None], "None is no guardrail"),
    (
        [output_guardrail(check), output_guardrail(check)],
        "two guardrails of output are called 'check'",
    ),
]


@pytest.mark.parametrize(("given", "words"), WRONG)
async def test_a_session_refuses_them_before_it_is_opened(
    autojump_clock: trio.testing.MockClock, given: Any, words: str
) -> None:
    """Nothing is dialled."""
    async with RealtimeServer().serving() as server:
        with pytest.raises(ConfigurationError) as caught:
            async with open_agent_session(model_of(server), guardrails=given):
                pytest.fail("it was opened")
        assert server.dials == 0
    assert words in str(caught.value)


class Unbound:
    @output_guardrail
    async def method(self, ctx: RunContext, text: str) -> Trip | None:
        return None


class Clerk(Agent):
    """Has a guardrail of its own."""

    instructions = "You are a clerk."

    @output_guardrail
    async def own(self, ctx: RunContext, text: str) -> Trip | None:
        return None


async def short(ctx: RunContext) -> Trip | None:
    return None


class Shorter(Clerk):
    short = input_guardrail(short)


class Without(Clerk):
    own = None  # type: ignore[assignment]


async def own(ctx: RunContext, text: str) -> Trip | None:
    return None


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        *(
            (lambda given=given: Agent("x", guardrails=given), words)
            for given, words in WRONG
        ),
        (lambda: Agent("x", guardrails=[Unbound.method]), "in an agent's class `self`"),
        (lambda: Shorter(), "'short' takes ()"),
        (lambda: Clerk(guardrails=[output_guardrail(own)]), "are called 'own'"),
        (
            lambda: Agent("x", guardrails=[output_guardrail(name="everywhere")(check)]),
            "those of the session hold for every agent",
        ),
        (
            lambda: Agent(
                "x",
                guardrails=[input_guardrail(check)],
                options=SessionOptions(transcription=None),
            ),
            "leave the transcription on",
        ),
    ],
)
async def test_an_agent_is_refused_with_them_before_anything_is_sent(
    autojump_clock: trio.testing.MockClock, agent: Any, words: str
) -> None:
    """By `run`, and by a handoff, which leaves the agent that there is."""
    everywhere = [output_guardrail(name="everywhere")(check)]
    async with on_stage(guardrails=everywhere) as stage:
        with pytest.raises(ConfigurationError) as caught:
            await stage.session.run(agent())
        assert words in str(caught.value)
        assert stage.sent() == []
        async with running(stage, Greeter()):
            await until(lambda: stage.session.realtime.settled)
            before = len(stage.sent())
            with pytest.raises(ConfigurationError):
                await stage.session.handoff(agent())
            assert len(stage.sent()) == before
            assert isinstance(stage.session.agent, Greeter)


async def test_the_same_check_may_stand_in_several_places(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Events say which; and a class may take away what another one has."""
    guards = [make(check) for make in MAKERS]
    async with (
        on_stage(guardrails=guards) as stage,
        running(stage, Without(guardrails=[output_guardrail(own)])),
    ):
        await until(lambda: stage.session.realtime.settled)
