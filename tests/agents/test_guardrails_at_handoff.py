"""Guardrails that trip while one agent hands over to another, and after that."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from guarding import Looked, Talker, finding, one_trip, paced, played, spoken
from leftovers import QUIET
from stage import KELLY, SUNNY, Stage, on_stage, outputs, running, until
from trialogue import Agent, Guardrail, RunContext, function_tool
from trialogue.events import (
    AgentEntered,
    GuardrailTripped,
    HandoffCompleted,
    HandoffDiscarded,
    HandoffStarted,
    ReplyEnded,
)
from trialogue.testing import Call, Say, Turn, cut

WORDS = "One moment. The secret is that I hand you over."
MS = 4000
HUMAN = "You are a human."


class Human(Agent):
    instructions = HUMAN

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Introduce yourself.")


class Sunny(Human):
    instructions = SUNNY


class Kelly(Talker):
    """Says words, and hands over in the same reply."""

    def __init__(self, *guardrails: Guardrail, takes: float = 0.0) -> None:
        super().__init__(*guardrails)
        self.takes = takes

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer to the weather specialist."""
        await trio.sleep(self.takes)
        return Sunny()

    @function_tool(on_handoff="finish")
    async def note(self, ctx: RunContext) -> str:
        """Write it down, whoever is current."""
        await trio.sleep(2)
        return "noted"


def transferring(*more: Any) -> Any:
    def brain(turn: Turn) -> Any:
        if "Kelly" in turn.instructions:
            first = turn.override and "Use your tools" in turn.override
            return [Say(WORDS, ms=MS), Call("transfer"), *more] if first else "Sorry."
        return Say("Sunny." if SUNNY in turn.instructions else "Human.", ms=1000)

    return brain


def fresh_model(fresh: bool) -> dict[str, Any]:
    return {"capabilities": {"mutable_instructions": False}} if fresh else {}


def words_on(stage: Stage) -> list[str]:
    """Return what agents have said, as the last server holds it."""
    held = stage.server.connections[-1].conversation.items
    found: list[str] = []
    for one in held:
        if getattr(one.item, "role", "") == "assistant":
            parts = [
                getattr(p, "transcript", None) or getattr(p, "text", "")
                for p in one.item.content
            ]
            found += [part or "" for part in parts]
    return found


@pytest.mark.behaviour("G14", "H17")
@pytest.mark.parametrize("fresh", [False, True], ids=["reused", "fresh"])
@pytest.mark.parametrize("trip", [{}, {"handoff": Human()}, {"say": "Apologise."}])
async def test_the_old_agents_words_are_cut_where_they_still_play(
    autojump_clock: trio.testing.MockClock, fresh: bool, trip: dict[str, Any]
) -> None:
    """After the commit: the new agent stays, is heard next, and nobody comes after."""
    guard = finding("secret", 1.5, whole=True, **trip)
    async with on_stage(
        transferring(), server=paced(one_way=0.02), model=fresh_model(fresh)
    ) as stage:
        async with running(stage, Kelly(guard)):
            await until(lambda: stage.of(GuardrailTripped))
            assert stage.of(HandoffCompleted)
            now = trio.current_time()
            await trio.sleep(8)
            assert stage.session.realtime.open_work == QUIET
            assert isinstance(stage.session.agent, Sunny)
        tripped = one_trip(stage)
        assert tripped.agent == "Kelly"
        old, new = played(stage)
        assert 1000 < old < 3000
        assert old == pytest.approx(tripped.heard_ms, abs=20)
        assert new == 1000
        assert stage.output.runs[0].time + old / 1000 <= now
        assert stage.output.runs[-1].end - now < 1.05  # no silence in between
        kelly, sunny = stage.heard_under()
        assert kelly.startswith(KELLY)
        assert sunny.startswith(SUNNY)
        assert [e.next for e in stage.of(HandoffStarted)] == ["Sunny"]
        assert [e.agent for e in stage.of(AgentEntered)] == ["Kelly", "Sunny"]
        discarded = ["Human"] if "handoff" in trip else []
        assert [e.next for e in stage.of(HandoffDiscarded)] == discarded
        # The record says what was heard, and so does the server that serves.
        cut, said = spoken(stage)
        assert cut[1] == tripped.heard_ms
        assert said == ("Sunny.", None)
        if fresh:
            assert cut[0] in words_on(stage)
            assert not any("hand you over" in words for words in words_on(stage))
        else:
            (truncate,) = stage.sent("conversation.item.truncate")
            assert truncate.event["audio_end_ms"] == tripped.heard_ms


@pytest.mark.behaviour("G14")
async def test_a_trip_between_the_decision_and_the_leaving_hands_over_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A tool still finishes under the old agent, whose handoff is decided."""
    guard = finding("secret", 1.0, whole=True, handoff=Human())
    async with on_stage(transferring(Call("note")), server=paced()) as stage:
        async with running(stage, Kelly(guard)):
            await until(lambda: stage.of(GuardrailTripped))
            assert stage.of(HandoffStarted)
            assert [e.agent for e in stage.of(AgentEntered)] == ["Kelly"]
            await until(lambda: spoken(stage)[-1][0] == "Sunny.")
            await trio.sleep(5)
            assert stage.session.realtime.open_work == QUIET
        assert [e.next for e in stage.of(HandoffStarted)] == ["Sunny"]
        assert [e.next for e in stage.of(HandoffDiscarded)] == ["Human"]
        assert [text for _, text in outputs(stage)] == ["transferred to Sunny", "noted"]
        assert played(stage)[0] == pytest.approx(one_trip(stage).heard_ms, abs=20)


@pytest.mark.behaviour("G14", "G13")
async def test_a_trip_before_the_decision_takes_the_tools_handoff_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The tool is still at work: its call is answered, and its agent never enters."""
    guard = finding("secret", 0.5, whole=True, handoff=Human())
    async with on_stage(transferring(), server=paced()) as stage:
        async with running(stage, Kelly(guard, takes=3.0)):
            await until(lambda: spoken(stage)[-1:] == [("Human.", None)])
            await trio.sleep(5)
            assert stage.session.realtime.open_work == QUIET
        assert [e.agent for e in stage.of(AgentEntered)] == ["Kelly", "Human"]
        assert [text for _, text in outputs(stage)] == ["stopped: handed off"]
        assert played(stage)[0] < MS


@pytest.mark.behaviour("G14", "G13", "H8")
@pytest.mark.parametrize("fresh", [False, True], ids=["reused", "fresh"])
async def test_one_agent_takes_over_whenever_the_trip_comes(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Around the commit, a hundredth of a second apart."""
    entered = set()
    for hundredths in range(0, 20, 2):
        seconds = hundredths / 100
        guard = finding("secret", seconds, handoff=Human(), whole=True)
        async with on_stage(
            transferring(), server=paced(one_way=0.03), model=fresh_model(fresh)
        ) as stage:
            async with running(stage, Kelly(guard, takes=0.05)):
                await until(lambda: stage.of(HandoffCompleted))
                await trio.sleep(10)
                assert stage.session.realtime.open_work == QUIET
            _, other = (e.agent for e in stage.of(AgentEntered))
            entered.add(other)
            assert len(stage.of(HandoffStarted)) == 1
            assert len(outputs(stage)) <= 1
            answered = [
                text
                for n in range(len(stage.server.connections))
                for _, text in outputs(stage, n)
            ]
            assert len(set(answered)) == 1, (seconds, answered)
            assert played(stage)[-1] == 1000
            assert len(played(stage)) == 1 or played(stage)[0] < MS
            assert stage.server.protocol_errors == []
    assert entered == {"Human", "Sunny"}


@pytest.mark.behaviour("G14", "H12")
async def test_the_words_of_an_agent_that_was_delegated_to_are_guarded_to_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It has given its value, and its last words still play."""
    values: list[Any] = []

    class Child(Agent):
        instructions = SUNNY

        async def on_enter(self, ctx: RunContext) -> None:
            await ctx.session.generate_reply(instructions="Use your tools.")
            ctx.complete("value")

    class Parent(Agent):
        instructions = KELLY

        async def on_enter(self, ctx: RunContext) -> None:
            values.append(await ctx.session.delegate(Child()))
            await ctx.session.generate_reply(instructions="Go on.")

    def brain(turn: Turn) -> Any:
        return Say(WORDS, ms=MS) if SUNNY in turn.instructions else Say("On.", ms=500)

    guard = finding("secret", 1.5, whole=True)
    async with on_stage(brain, server=paced(), guardrails=[guard]) as stage:
        async with running(stage, Parent()):
            await until(lambda: stage.of(GuardrailTripped))
            assert values == ["value"]
            await trio.sleep(5)
            assert stage.session.realtime.open_work == QUIET
        assert one_trip(stage).agent == "Child"
        child, parent = played(stage)
        assert child == pytest.approx(one_trip(stage).heard_ms, abs=20)
        assert child < 2500
        assert parent == 500


@pytest.mark.behaviour("G14", "H11")
async def test_a_check_that_outlives_its_agent_is_bounded_by_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The agent is gone, its speech is over: the check ends, and says so."""
    looked = Looked()
    guard = finding("secret", 99.0, looked, whole=True, timeout=6.0, say="Sorry.")
    async with on_stage(transferring(), server=paced()) as stage:
        async with running(stage, Kelly(guard)):
            await until(lambda: len(played(stage)) == 2)
            await trio.sleep(6)
            assert stage.session.realtime.open_work == QUIET
        assert looked.under_way == 0
        assert one_trip(stage).reason == "it took longer than 6 s"
        assert one_trip(stage).heard_ms == MS
        assert played(stage) == [MS, 1000]
        assert len(stage.of(ReplyEnded)) == 2


@pytest.mark.behaviour("H19", "G14")
async def test_what_is_asked_out_of_band_is_no_word_of_the_new_agents(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A check that asks the model does not speak for who takes over meanwhile."""

    class Silent(Agent):
        instructions = SUNNY

        async def on_enter(self, ctx: RunContext) -> None:
            outcome = await ctx.session.generate_reply(out_of_band=True)
            assert outcome.text == "Sunny."

    async with on_stage(transferring()) as stage:
        async with running(stage, Agent(KELLY)):
            await until(lambda: stage.session.realtime.settled)
            await stage.session.handoff(Silent())
            await until(lambda: spoken(stage) == [("Sunny.", None)])
            await trio.sleep(5)
        assert len(stage.sent("response.create")) == 2


@pytest.mark.behaviour("G11", "C2")
@pytest.mark.parametrize("seconds", [1.0, 3.0], ids=["at once", "later"])
async def test_a_trip_holds_on_the_next_connection_as_well(
    autojump_clock: trio.testing.MockClock, seconds: float
) -> None:
    """The one on which it was said is lost: the next is given what was heard of it."""
    guard = finding("secret", seconds, whole=True)
    server = paced(one_way=0.1) | {"faults": [cut(after="response.done")]}
    async with on_stage(
        lambda turn: Say("The secret is that there is none at all.", ms=MS),
        server=server,
    ) as stage:
        async with running(stage, Talker(guard)):
            await until(lambda: stage.of(GuardrailTripped))
            await trio.sleep(8)
            assert stage.session.realtime.open_work == QUIET
        tripped = one_trip(stage)
        assert len(stage.server.connections) == 2
        assert played(stage) == [pytest.approx(tripped.heard_ms, abs=20)]
        ((words, heard),) = spoken(stage)
        assert heard == tripped.heard_ms
        assert "at all" not in words
        assert words_on(stage) == ([words] if words else [])
