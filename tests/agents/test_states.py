"""What the user and the agent are doing: the tables, and what a session tells (U5)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from stage import (
    Greeter,
    Line,
    Prompted,
    Stage,
    Weather,
    on_stage,
    prompted,
    running,
    transferring_brain,
    until,
)
from trialogue import ConfigurationError, RunContext, function_tool
from trialogue.agents.states import (
    AGENT_TRANSITIONS,
    USER_TRANSITIONS,
    AgentEvent,
    Seen,
    StateChange,
    States,
    UserEvent,
)
from trialogue.events import AgentStateChanged, UserStateChanged
from trialogue.testing import Call, Pace, Say, Settings, close

if TYPE_CHECKING:
    from collections.abc import Sequence

AWAY = 15.0
LEGAL: dict[str, set[tuple[str, str]]] = {
    "user": {(old, new) for (old, _), new in USER_TRANSITIONS.items()},
    "agent": {(old, new) for (old, _), new in AGENT_TRANSITIONS.items()},
}


# --- the tables ----------------------------------------------------------------------


@pytest.mark.behaviour("U5")
def test_the_tables_say_what_is_legal() -> None:
    """Written out once more, by hand: a change of the tables is a decision."""
    assert LEGAL["user"] == {
        ("listening", "speaking"),
        ("listening", "away"),
        ("speaking", "listening"),
        ("away", "speaking"),
        ("away", "listening"),
    }
    assert LEGAL["agent"] == {
        ("initializing", "listening"),
        ("listening", "thinking"),
        ("listening", "speaking"),
        ("listening", "initializing"),
        ("thinking", "speaking"),
        ("thinking", "listening"),
        ("thinking", "initializing"),
        ("speaking", "thinking"),
        ("speaking", "listening"),
        ("speaking", "initializing"),
    }
    assert {event for _, event in USER_TRANSITIONS} == set(UserEvent)
    assert {event for _, event in AGENT_TRANSITIONS} == set(AgentEvent)


seconds = st.sampled_from([0.0, 0.5, 5.0, 14.5, 15.0, 40.0])
sights = st.builds(
    Seen,
    user_speaks=st.booleans(),
    current=st.booleans(),
    ready=st.booleans(),
    works=st.booleans(),
    heard=st.booleans(),
)
happenings = st.lists(st.tuples(seconds, st.one_of(sights, st.just("acted"))))


@pytest.mark.behaviour("U5")
@given(happenings)
def test_whatever_is_seen_states_change_in_a_legal_order_only(
    script: Sequence[tuple[float, Any]],
) -> None:
    """Each change begins where the last one ended, and stands in the table."""
    states, now = States(AWAY), 0.0
    at = {"user": "listening", "agent": "initializing"}
    for passed, seen in script:
        now += passed
        changes = states.acted(now) if seen == "acted" else states.look(seen, now)
        for change in changes:
            assert change.old == at[change.who]
            assert (change.old, change.new) in LEGAL[change.who]
            at[change.who] = change.new
        assert at == {"user": states.user, "agent": states.agent}
        assert states.look(seen, now) == [] if isinstance(seen, Seen) else True
        assert now < states.timer


@pytest.mark.behaviour("U5")
@given(happenings)
def test_the_user_is_away_after_the_deadline_and_not_before(
    script: Sequence[tuple[float, Any]],
) -> None:
    """Counted from the last moment in which either side did anything."""
    states, now, last = States(AWAY), 0.0, 0.0
    seen = Seen()
    for passed, happened in script:
        now += passed
        active = happened == "acted"
        seen = seen if active else happened
        changes = states.acted(now) if active else states.look(seen, now)
        gone = StateChange("user", "listening", "away")
        if gone in changes:
            assert now - last >= AWAY
        busy = seen.user_speaks or not seen.current or seen.works or seen.heard
        if active or busy or any(change != gone for change in changes):
            last = now
        if states.user == "listening" and states.agent == "listening":
            assert states.timer <= last + AWAY


@pytest.mark.behaviour("U5")
def test_nobody_is_ever_away_without_a_deadline() -> None:
    states = States(None)
    present = Seen(current=True, ready=True)
    assert states.look(present, 0.0) == [
        StateChange("agent", "initializing", "listening")
    ]
    assert states.timer == math.inf
    assert states.look(present, 1e9) == []
    assert repr(states) == "<States user=listening agent=listening>"


# --- in a session --------------------------------------------------------------------


def user(stage: Stage) -> str:
    return stage.session.user_state


def agent(stage: Stage) -> str:
    return stage.session.agent_state


def changes(stage: Stage, kind: type[Any]) -> list[tuple[str, str]]:
    return [(event.old, event.new) for event in stage.of(kind)]


def chain(*states: str) -> list[tuple[str, str]]:
    return list(pairwise(states))


@pytest.mark.behaviour("U5")
async def test_a_spoken_turn_and_its_answer_go_through_every_state_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The agent's speaking lasts for as long as the loudspeaker plays."""
    async with (
        on_stage(microphone=True) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        assert (user(stage), agent(stage)) == (
            "listening",
            "initializing",
        )
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        times: dict[str, float] = {}

        async def note(kind: type[Any]) -> None:
            async with stage.session.subscribe(kind) as events:
                async for event in events:
                    times[f"{kind.__name__} {event.new}"] = trio.current_time()

        nursery.start_soon(note, AgentStateChanged)
        nursery.start_soon(note, UserStateChanged)
        async with running(stage, Greeter()):
            await until(lambda: agent(stage) == "listening")
            ends = line.say(stage.server.utterances.say("good morning", ms=800))
            await until(lambda: stage.output.pcm)
            assert agent(stage) == "speaking"
            await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert changes(stage, UserStateChanged) == chain(
        "listening", "speaking", "listening"
    )
    assert changes(stage, AgentStateChanged) == chain(
        *("initializing", "listening", "thinking", "speaking", "listening"),
        "initializing",
    )
    assert {event.agent for event in stage.of(AgentStateChanged)[:-1]} == {"Greeter"}
    (run,) = stage.output.runs
    assert times["UserStateChanged speaking"] == pytest.approx(ends - 0.8, abs=0.2)
    assert times["AgentStateChanged speaking"] == pytest.approx(run.time, abs=0.001)


@pytest.mark.behaviour("U5")
async def test_a_tool_is_thought_and_what_is_said_around_it_is_speech(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Prompted):
        @function_tool
        async def search(self, ctx: RunContext) -> str:
            """Search."""
            await trio.sleep(4)
            return "found"

    brain = prompted(Say("Let me see.", ms=500), Call("search"))
    async with on_stage(brain) as stage, running(stage, Slow()):
        await until(lambda: len(stage.output.runs) == 2)
        await trio.sleep(2)
        assert changes(stage, AgentStateChanged) == chain(
            *("initializing", "listening", "thinking", "speaking"),
            *("thinking", "speaking", "listening"),
        )


@pytest.mark.behaviour("U5")
async def test_speech_that_comes_in_drops_is_one_speech(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The loudspeaker runs dry within an item: the agent has not ended."""
    settings = Settings(pace=Pace(burst=0.5))
    brain = prompted(Say("Slowly does it.", ms=1000))
    async with (
        on_stage(brain, server={"settings": settings}) as stage,
        running(stage, Prompted()),
    ):
        await trio.sleep(8)
        assert len(stage.output.runs) > 1
        assert changes(stage, AgentStateChanged) == chain(
            "initializing", "listening", "thinking", "speaking", "listening"
        )


@pytest.mark.behaviour("U5", "U3")
async def test_a_user_who_breaks_in_is_listened_to(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The agent is not "thinking" of what nobody wants to hear any more."""
    settings = Settings(pace=Pace(burst=1.0))
    brain = prompted(Say("A very long story that goes on and on.", ms=4000))
    async with (
        on_stage(brain, microphone=True, server={"settings": settings}) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, Prompted()):
            await until(lambda: agent(stage) == "speaking")
            await trio.sleep(1)
            line.say(stage.server.utterances.say("stop it please", ms=1000))
            await until(lambda: user(stage) == "speaking")
            assert agent(stage) == "listening"
            await trio.sleep(6)
        nursery.cancel_scope.cancel()
    assert changes(stage, AgentStateChanged)[:-1] == chain(
        *("initializing", "listening", "thinking", "speaking", "listening"),
        *("thinking", "speaking", "listening"),
    )


@pytest.mark.behaviour("U5")
async def test_the_user_is_away_after_the_deadline_and_back_at_the_first_word(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """15 s after the last sound of either side; whatever the agent then says."""
    async with (
        on_stage(microphone=True) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, Weather()):
            await until(lambda: agent(stage) == "speaking")
            await until(lambda: agent(stage) == "listening")
            silent = trio.current_time()
            await until(lambda: user(stage) == "away")
            assert trio.current_time() - silent == pytest.approx(AWAY, abs=0.01)
            await stage.session.generate_reply()
            await stage.session.wait_for_playout()
            await trio.sleep(20)
            assert user(stage) == "away"
            line.say(stage.server.utterances.say("here I am", ms=800))
            await until(lambda: user(stage) == "speaking")
            await until(lambda: user(stage) == "listening")
            await trio.sleep(AWAY)
            assert user(stage) == "listening"
        nursery.cancel_scope.cancel()


@pytest.mark.behaviour("U5")
async def test_whatever_is_done_restarts_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A written message, and a reply; and what is written brings the user back."""
    async with on_stage(away_after=10) as stage, running(stage, Greeter()):
        await until(lambda: agent(stage) == "listening")
        await trio.sleep(8)
        await stage.session.send_message("Are you there?")
        await trio.sleep(8)
        assert user(stage) == "listening"
        await stage.session.generate_reply()
        await stage.session.wait_for_playout()
        await trio.sleep(9.9)
        assert user(stage) == "listening"
        await trio.sleep(0.2)
        assert user(stage) == "away"
        await stage.session.send_message("Sorry, I was out.")
        assert user(stage) == "listening"
        assert changes(stage, UserStateChanged) == chain(
            "listening", "away", "listening"
        )


@pytest.mark.behaviour("U5")
async def test_without_a_deadline_the_user_is_never_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(away_after=None) as stage, running(stage, Greeter(), 1e6):
        await trio.sleep(3000)
        assert user(stage) == "listening"
        assert stage.of(UserStateChanged) == []


@pytest.mark.behaviour("U5")
async def test_a_turn_whose_connection_is_lost_for_good_does_not_speak_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The microphone falls silent in the midst of a word: the turn is given up."""
    faults = [close(1011, after="input_audio_buffer.speech_started")]
    async with on_stage(server={"faults": faults}) as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        said = stage.server.utterances.say("good morning", ms=1000)
        stage.session.push_audio(said[: len(said) // 2])
        await until(lambda: user(stage) == "speaking")
        await until(lambda: user(stage) == "listening")
        assert agent(stage) != "initializing"


@pytest.mark.behaviour("U5")
async def test_a_handoff_is_thought_and_the_next_agent_is_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Transferring(Greeter):
        async def on_enter(self, ctx: RunContext) -> None:
            await ctx.session.generate_reply(instructions="Please transfer.")

    def brain(turn: Any) -> Any:
        if "Please transfer" in (turn.override or "") and turn.output is None:
            return [Say("One moment.", ms=300), Call("transfer_to_weather")]
        return transferring_brain(turn)

    async with on_stage(brain) as stage, running(stage, Transferring()):
        await until(lambda: len(stage.heard_under()) == 2)
        await trio.sleep(3)
        told = [(e.new, e.agent) for e in stage.of(AgentStateChanged)]
        assert told[0] == ("listening", "Transferring")
        assert told[-2:] == [("speaking", "Weather"), ("listening", "Weather")]
        assert "initializing" not in dict(told[1:])


@pytest.mark.behaviour("U5")
async def test_a_second_run_begins_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage() as stage:
        for _ in range(2):
            with trio.move_on_after(2):
                await stage.session.run(Greeter())
            await trio.sleep(30)
            assert agent(stage) == "initializing"
            assert user(stage) == "listening", "nobody waits for the user"
        assert changes(stage, AgentStateChanged) == 2 * [
            ("initializing", "listening"),
            ("listening", "initializing"),
        ]


@pytest.mark.parametrize("keyword", [{"away_after": 0}, {"barge_in": "nobody"}])
async def test_a_keyword_that_means_nothing_is_refused_before_anything_is_opened(
    autojump_clock: trio.testing.MockClock, keyword: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(keyword))):
        async with on_stage(**keyword):
            pytest.fail("it was opened")
