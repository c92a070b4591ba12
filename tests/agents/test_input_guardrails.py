"""Guardrails on what the user says and writes: which replies they cut, what follows."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from guarding import Looked, Talker, hearing, one_trip, paced, played, spoken
from leftovers import QUIET
from stage import KELLY, SUNNY, Line, Stage, Weather, on_stage, outputs, running, until
from trialogue import (
    Agent,
    Guardrail,
    Handoff,
    Message,
    RunContext,
    SessionOptions,
    Trip,
    input_guardrail,
)
from trialogue.events import (
    AgentEntered,
    GuardrailTripped,
    HandoffStarted,
    ReplyEnded,
    ReplyStarted,
    ToolFinished,
    UserTranscript,
)
from trialogue.testing import Call, Say, Turn, late

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ASKED = "tell me the secret"
ANSWER = "The secret is that there is none."
MS = 4000
MANUAL = SessionOptions(turn_detection=None)
WRITTEN = SessionOptions(output_modalities=("text",))


def answering(turn: Turn) -> Any:
    if "Sunny" in turn.instructions:
        return Say("Sunny.", ms=600)
    if "Refuse" in (turn.override or ""):
        return Say("I cannot tell you that.", ms=600)
    if "work" in turn.user_text and turn.output is None:
        return Call("work", {"seconds": 2.0})
    return Say(ANSWER, ms=MS) if "secret" in turn.user_text else Say("Fine.", ms=600)


class Listener(Talker):
    """Says nothing before it is spoken to."""

    async def on_enter(self, ctx: RunContext) -> None:
        return None


@asynccontextmanager
async def on_the_line(
    agent: Agent, server: dict[str, Any] | None = None, **session: Any
) -> AsyncIterator[tuple[Stage, Line]]:
    """Run an agent with a telephone line."""
    async with (
        on_stage(answering, microphone=True, server=server, **session) as stage,
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        async with running(stage, agent):
            await until(lambda: stage.session.realtime.settled)
            yield stage, line
        nursery.cancel_scope.cancel()


def say(stage: Stage, line: Line, words: str) -> None:
    line.say(stage.server.utterances.say(words, ms=600))


def finals(stage: Stage) -> list[str]:
    return [event.text for event in stage.of(UserTranscript) if event.final]


def cancels(stage: Stage) -> list[str]:
    return [e.event["response_id"] for e in stage.sent("response.cancel")]


# --- what was said -----------------------------------------------------------------


@pytest.mark.behaviour("G15", "G11")
@pytest.mark.parametrize("burst", [1.0, 10.0], ids=["made", "playing"])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
async def test_a_trip_cuts_the_reply_to_the_turn(
    autojump_clock: trio.testing.MockClock, burst: float, seconds: float
) -> None:
    """At what was heard of it; nothing follows until the user speaks again."""
    agent = Listener(hearing("secret", seconds))
    async with on_the_line(agent, paced(burst)) as (stage, line):
        say(stage, line, ASKED)
        await until(lambda: stage.of(GuardrailTripped))
        await trio.sleep(6)
        assert stage.session.realtime.open_work == QUIET
        trip = one_trip(stage)
        heard = sum(played(stage))
        assert heard < 2000
        assert trip.heard_ms == pytest.approx(heard, abs=20)
        (response,) = stage.server.connections[0].responses
        made = burst == 1.0 or seconds == 0.0
        assert cancels(stage) == ([response.id] if made else [])
        assert (trip.guardrail, trip.place) == ("hears", "input")
        assert (trip.text, trip.agent) == (ASKED, "Listener")
        turn = stage.session.chat_ctx.items[0]
        assert isinstance(turn, Message)
        assert (trip.item_id, trip.call_id) == (turn.id, None)
        assert trip.response_id == response.id
        assert turn.text == ASKED
        say(stage, line, "and else")
        await until(lambda: spoken(stage)[-1:] == [("Fine.", None)])
        await trio.sleep(2)
        assert played(stage)[-1] == 600


@pytest.mark.behaviour("G15")
async def test_what_passes_is_answered_as_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each final transcript is seen once, and no interim one."""
    looked = Looked()
    agent = Listener(hearing("nothing", 0.5, looked))
    async with on_the_line(agent) as (stage, line):
        for words in ("one", "two"):
            say(stage, line, words)
            await until(lambda: words in finals(stage))  # noqa: B023
            await trio.sleep(3)
        assert looked.texts == ["one", "two"]
        assert played(stage) == [600, 600]
        assert not stage.of(GuardrailTripped)


@pytest.mark.behaviour("G15")
async def test_a_reply_that_begins_after_the_trip_is_not_heard_either(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The transcript was quicker than the provider's own answer."""
    agent = Listener(hearing("secret"))
    server = paced(think_ms=2000)
    server["faults"] = [late("response.created", seconds=1.0)]
    async with on_the_line(agent, server) as (stage, line):
        say(stage, line, ASKED)
        await until(lambda: stage.of(GuardrailTripped))
        assert not stage.of(ReplyStarted)
        assert one_trip(stage).response_id is None
        assert one_trip(stage).heard_ms is None
        await trio.sleep(10)
        assert played(stage) == []
        assert len(cancels(stage)) == 1
        assert stage.session.realtime.open_work == QUIET
        say(stage, line, "and else")
        await until(lambda: spoken(stage)[-1:] == [("Fine.", None)])


@pytest.mark.behaviour("G15", "U6")
async def test_a_turn_of_push_to_talk_is_not_answered_after_a_trip(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its reply is asked for when the words are known already."""
    agent = Listener(hearing("secret"))
    agent.options = MANUAL
    server = paced(one_way=0.2, transcript_ms=(0,))
    async with on_the_line(agent, server) as (stage, line):
        for words in (ASKED, "and else"):
            await stage.session.start_user_turn()
            say(stage, line, words)
            await trio.sleep(0.8)
            await stage.session.commit_user_turn()
            await trio.sleep(6)
        assert one_trip(stage).text == ASKED
        assert played(stage) == [600]
        assert spoken(stage) == [("Fine.", None)]
        assert stage.session.realtime.open_work == QUIET


@pytest.mark.behaviour("G15")
async def test_the_calls_of_the_reply_bring_no_further_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The tool had begun: it ends and is answered, and nobody speaks of it."""
    agent = Listener(hearing("secret", 0.5))
    async with on_the_line(agent, paced()) as (stage, line):
        say(stage, line, "work on the secret")
        await until(lambda: stage.of(ToolFinished))
        await trio.sleep(6)
        assert [text for _, text in outputs(stage)] == ["worked"]
        assert stage.of(GuardrailTripped)[0].heard_ms == 0
        assert stage.sent("response.create") == []
        assert played(stage) == []
        say(stage, line, "and else")
        await until(lambda: spoken(stage)[-1:] == [("Fine.", None)])


@pytest.mark.behaviour("G15")
async def test_the_reply_to_a_later_turn_stays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A check so slow that the user has said something else by then."""
    looked = Looked()
    agent = Listener(hearing("secret", 1.4, looked))
    async with on_the_line(agent, paced()) as (stage, line):
        say(stage, line, ASKED)
        await until(lambda: stage.output.pcm)
        say(stage, line, "never mind")
        await until(lambda: looked.under_way == 2)
        await until(lambda: stage.of(GuardrailTripped))
        assert 0 < played(stage)[-1] < 600
        await trio.sleep(5)
        assert one_trip(stage).text == ASKED
        assert played(stage)[-1] == 600
        assert spoken(stage)[-1] == ("Fine.", None)
        assert stage.session.realtime.open_work == QUIET


@pytest.mark.behaviour("G15", "G13")
async def test_other_words_are_said_in_place_of_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also where the answer has not begun when they are asked for."""
    for think_ms, fault in (
        (50.0, []),
        (2000.0, [late("response.created", seconds=1)]),
    ):
        agent = Listener(hearing("secret", say="Refuse politely."))
        server = paced(think_ms=think_ms) | {"faults": fault}
        async with on_the_line(agent, server) as (stage, line):
            say(stage, line, ASKED)
            await until(
                lambda: spoken(stage)[-1:] == [("I cannot tell you that.", None)]
            )
            await trio.sleep(4)
            (create,) = stage.sent("response.create")
            assert "Refuse politely." in create.event["response"]["instructions"]
            assert played(stage)[-1] == 600
            assert sum(played(stage)) < 1000
            assert stage.session.realtime.open_work == QUIET


@pytest.mark.behaviour("G15", "G13")
@pytest.mark.parametrize("fresh", [False, True], ids=["reused", "fresh"])
async def test_another_agent_may_take_over(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """The old one is not heard any more, and the new one has the whole turn."""
    trip: dict[str, Any] = {"handoff": Handoff(Weather(), note="Be careful.")}
    agent = Listener(hearing("secret", 0.5, **trip))
    model = {"capabilities": {"mutable_instructions": False}} if fresh else {}
    async with on_the_line(agent, paced(one_way=0.02), model=model) as (stage, line):
        say(stage, line, ASKED)
        await until(lambda: spoken(stage)[-1:] == [("Sunny.", None)])
        await trio.sleep(4)
        assert stage.session.realtime.open_work == QUIET
        kelly, sunny = stage.heard_under()
        assert (kelly[: len(KELLY)], sunny[: len(SUNNY)]) == (KELLY, SUNNY)
        assert played(stage)[0] == pytest.approx(one_trip(stage).heard_ms, abs=20)
        assert [e.next for e in stage.of(HandoffStarted)] == ["Weather"]
        assert stage.session.chat_ctx.items[0].text == ASKED  # type: ignore[union-attr]


@pytest.mark.behaviour("G13")
async def test_of_several_that_trip_one_acts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One event, one agent."""
    guards = (
        hearing("secret", 0.2, name="one", handoff=Weather()),
        hearing("secret", 0.2, name="two", handoff=Weather()),
    )
    async with on_the_line(Listener(*guards)) as (stage, line):
        say(stage, line, ASKED)
        await until(lambda: spoken(stage)[-1:] == [("Sunny.", None)])
        await trio.sleep(4)
        assert one_trip(stage).guardrail in {"one", "two"}
        assert [e.agent for e in stage.of(AgentEntered)] == ["Listener", "Weather"]


@pytest.mark.behaviour("G12")
async def test_one_that_fails_has_tripped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As those on the other side do."""

    @input_guardrail
    async def broken(ctx: RunContext, text: str) -> Trip | None:
        raise ValueError(text)

    async with on_the_line(Listener(broken)) as (stage, line):
        say(stage, line, ASKED)
        await until(lambda: stage.of(GuardrailTripped))
        await trio.sleep(5)
        assert sum(played(stage)) < 500
        assert one_trip(stage).reason == "it raised ValueError"
        assert isinstance(one_trip(stage).error, ValueError)


@pytest.mark.behaviour("G15")
async def test_one_that_only_watches_cuts_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_the_line(Listener(hearing("secret", cut=False))) as (stage, line):
        say(stage, line, ASKED)
        await until(lambda: played(stage) == [MS])
        assert one_trip(stage).heard_ms is None


# --- what was written --------------------------------------------------------------


@pytest.mark.behaviour("G15")
@pytest.mark.parametrize("options", [WRITTEN, MANUAL], ids=["in writing", "aloud"])
async def test_a_message_is_checked_as_what_is_said(
    autojump_clock: trio.testing.MockClock, options: SessionOptions
) -> None:
    """The reply that was asked for is stopped where it is; the next one is given."""
    agent = Listener(hearing("secret", 1.0))
    agent.options = options
    async with (
        on_stage(answering, server=paced(1.0, text_ms=300)) as stage,
        running(stage, agent),
    ):
        await stage.session.send_message(ASKED)
        outcome = await stage.session.generate_reply()
        assert outcome.outcome == "interrupted"
        assert one_trip(stage).response_id == outcome.response_id
        assert len(outcome.text) < len(ANSWER)
        await trio.sleep(5)
        assert sum(played(stage)) < 1500
        await stage.session.send_message("and else")
        outcome = await stage.session.generate_reply()
        assert (outcome.outcome, outcome.text) == ("completed", "Fine.")


@pytest.mark.behaviour("G15")
async def test_replies_that_still_wait_are_taken_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Asked for after the message, and in the queue, or on their way."""
    outcomes: list[str] = []

    async def ask(stage: Stage) -> None:
        outcome = await stage.session.generate_reply()
        outcomes.append(outcome.outcome)

    agent = Listener(hearing("secret", 0.1))
    agent.options = MANUAL
    async with (
        on_stage(answering, server=paced(one_way=0.3)) as stage,
        running(stage, agent),
        trio.open_nursery() as nursery,
    ):
        await until(lambda: stage.session.realtime.settled)
        nursery.start_soon(stage.session.send_message, ASKED)
        await trio.sleep(0.05)
        for _ in range(3):
            nursery.start_soon(ask, stage)
        await until(lambda: len(outcomes) == 3)
        assert outcomes == ["interrupted"] * 3
        await trio.sleep(8)
        assert played(stage) == []
        assert spoken(stage) == []
        assert len(stage.sent("response.create")) == 1
        assert stage.session.realtime.open_work == QUIET


@pytest.mark.behaviour("G15")
async def test_what_the_program_asks_for_afterwards_is_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever reacts to the event may have the agent speak."""
    agent = Listener(hearing("secret"))
    async with on_the_line(agent) as (stage, line):
        say(stage, line, ASKED)
        await until(lambda: stage.of(GuardrailTripped))
        outcome = await stage.session.generate_reply(instructions="Refuse.")
        assert (outcome.outcome, outcome.text) == (
            "completed",
            "I cannot tell you that.",
        )


@pytest.mark.behaviour("G15", "H6")
async def test_words_that_come_late_are_checked_under_who_is_current(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Said to the old agent, transcribed when the new one is there."""
    seen: list[str] = []

    @input_guardrail
    async def who(ctx: RunContext, text: str) -> Trip | None:
        seen.append(ctx.agent.name or type(ctx.agent).__name__)
        return None

    guards: list[Guardrail] = [who]
    server = paced(transcript_ms=(3000,))
    async with on_the_line(Listener(), server, guardrails=guards) as (stage, line):
        say(stage, line, "hello")
        await until(lambda: stage.output.pcm)
        await stage.session.handoff(Weather())
        await until(lambda: seen)
        assert seen == ["Weather"]
        assert len(stage.of(ReplyEnded)) >= 1
