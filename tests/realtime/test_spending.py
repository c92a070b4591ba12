"""What a conversation may cost, and how it ends when that is spent."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from stage import on_stage, prompted, realtime_stage, running, until
from trialogue import (
    Agent,
    ConfigurationError,
    RunContext,
    SessionClosed,
    SpendLimit,
    SpendLimitReached,
    SpendWarning,
)
from trialogue.dialects.events import Usage
from trialogue.realtime.notices import ReplyEnded, ReplyStarted
from trialogue.realtime.spending import Spending
from trialogue.testing import Call, Pause, Say

if TYPE_CHECKING:
    from trialogue.realtime.broadcast import Subscription


class Ledger:
    """Stands for a session: what it was told, and why it failed."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.failures: list[Any] = []

    def publish(self, event: object) -> None:
        self.events.append(event)

    def fail(self, error: Any) -> None:
        self.failures.append(error)


@pytest.mark.parametrize(
    "given", [{"tokens": 0}, {"seconds": -1.0}, {"audio_tokens": 0}, {"warn_at": 0.0}]
)
def test_a_limit_is_positive(given: dict[str, Any]) -> None:
    """A conversation that may cost nothing is a mistake."""
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        SpendLimit(**given)


def test_each_limit_is_warned_of_once_and_then_reached() -> None:
    """At the fraction that was asked for; the others go on."""
    ledger = Ledger()
    spending = Spending(ledger, SpendLimit(tokens=100, audio_tokens=50, warn_at=0.5))
    for tokens, audio in ((40, 0), (50, 24), (60, 25), (99, 49)):
        spending.spent(Usage(tokens - 10, 10, input_audio_tokens=audio))
    assert ledger.events == [
        SpendWarning("tokens", 100, 50),
        SpendWarning("audio_tokens", 50, 25),
    ]
    assert ledger.failures == []
    spending.spent(Usage(90, 9, input_audio_tokens=30, output_audio_tokens=21))
    (reached,) = ledger.failures
    assert (reached.kind, reached.limit, reached.spent) == ("audio_tokens", 50, 51)


async def _talk_until(limit: SpendLimit, events: list[Any], left: list[Any]) -> None:
    brain = lambda turn: Say("Hello there.", ms=1000)  # noqa: E731
    async with realtime_stage(brain, spend_limit=limit) as (_, session):
        left.append(session)
        async with session.subscribe(buffer=10_000) as told:
            try:
                while True:
                    await session.generate_reply()
            finally:
                _drain(told, events)


def _drain(told: Subscription[Any], events: list[Any]) -> None:
    with suppress(trio.WouldBlock):
        while True:
            events.append(told.receive_nowait())


@pytest.mark.parametrize("kind", ["tokens", "audio_tokens"])
async def test_the_response_that_goes_over_ends_the_session_with_a_typed_error(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    """It is settled and told of first; then no more work is accepted."""
    events: list[Any] = []
    left: list[Any] = []
    with trio.fail_after(600), pytest.raises(SpendLimitReached) as reached:
        await _talk_until(SpendLimit(**{kind: 500}), events, left)
    (session,) = left
    error, usage = reached.value, session.usage
    audio = usage.input_audio_tokens + usage.output_audio_tokens
    total = usage.input_tokens + usage.output_tokens
    assert (error.kind, error.limit) == (kind, 500)
    assert error.spent == (total if kind == "tokens" else audio) >= 500
    ended = [e for e in events if isinstance(e, ReplyEnded)]
    assert len(ended) == len([e for e in events if isinstance(e, ReplyStarted)]) > 1
    (warning,) = [e for e in events if isinstance(e, SpendWarning)]
    assert 400 <= warning.spent < 500
    with pytest.raises(SessionClosed):
        await session.generate_reply()
    with pytest.raises(SessionClosed):
        session.push_audio(bytes(960))


@pytest.mark.behaviour("R13")
async def test_a_response_that_is_cancelled_is_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What was interrupted has been paid for."""
    told: list[Any] = []
    with trio.fail_after(60), pytest.raises(SpendLimitReached):
        await _interrupted(told)
    assert told == []


async def _interrupted(told: list[Any]) -> None:
    async with realtime_stage(
        lambda turn: [Say("A story."), Pause(99)], spend_limit=SpendLimit(tokens=1)
    ) as (_, session):
        with trio.move_on_after(3):
            told.append(await session.generate_reply())
        await trio.sleep(3)
        told.append("went on")


async def _silent(limit: SpendLimit, events: list[Any]) -> None:
    async with (
        realtime_stage(spend_limit=limit) as (_, session),
        session.subscribe() as told,
    ):
        try:
            await trio.sleep(30)
        finally:
            _drain(told, events)


async def test_the_time_is_over_at_the_deadline_whatever_is_going_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Counted from the beginning of the block; the warning comes at its fraction."""
    events: list[Any] = []
    began = trio.current_time()
    with pytest.raises(SpendLimitReached, match="limit of 20 seconds") as reached:
        await _silent(SpendLimit(seconds=20), events)
    assert trio.current_time() - began == pytest.approx(20, abs=0.5)
    assert reached.value.kind == "seconds"
    assert [e for e in events if isinstance(e, SpendWarning)] == [
        SpendWarning("seconds", 20, 16)
    ]


async def test_a_session_that_ends_in_time_leaves_nothing_of_its_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The deadline is the block's: leaving the block is leaving it."""
    began = trio.current_time()
    async with realtime_stage(spend_limit=SpendLimit(seconds=1000)) as (_, session):
        assert (await session.generate_reply()).outcome == "completed"
    assert trio.current_time() - began < 20
    await trio.sleep(2000)
    assert session.failure is None


class Chatty(Agent):
    """Talks for ever."""

    instructions = "You are Kelly."

    async def on_enter(self, ctx: RunContext) -> None:
        while True:
            await ctx.session.generate_reply()


async def _agents(limit: SpendLimit, left: list[Any]) -> None:
    async with on_stage(lambda turn: "Hello there.", spend_limit=limit) as stage:
        left.append(stage.session)
        await stage.session.run(Chatty())


@pytest.mark.parametrize("limit", [{"tokens": 300}, {"seconds": 7.0}])
async def test_a_conversation_of_agents_ends_the_same_way(
    limit: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    """One typed error out of the block, and no agent left running."""
    left: list[Any] = []
    with trio.fail_after(600), pytest.raises(SpendLimitReached):
        await _agents(SpendLimit(**limit), left)
    (session,) = left
    assert session.agent is None
    assert session.usage == session.realtime.usage
    with pytest.raises(SessionClosed):
        await session.run(Chatty())


async def test_within_its_limit_a_conversation_is_not_touched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Tools, replies and the end are as without one."""
    limit = SpendLimit(tokens=10**9, audio_tokens=10**9, seconds=10**6)
    async with on_stage(prompted(Call("none")), spend_limit=limit) as stage:
        async with running(stage, Chatty()):
            await until(lambda: stage.session.metrics.responses.get("completed", 0) > 3)
            stage.session.end(now=True)
        assert stage.of(SpendWarning) == []
