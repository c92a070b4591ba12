"""Guardrails on what agents say: what they see, what they cut, what follows."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

from guarding import (
    Looked,
    Talker,
    finding,
    one_trip,
    paced,
    played,
    silent_since,
    spoken,
)
from leftovers import QUIET, tasks
from stage import (
    KELLY,
    SUNNY,
    Line,
    Stage,
    Weather,
    on_stage,
    outputs,
    prompted,
    running,
    until,
)
from trialogue import (
    Agent,
    Guardrail,
    Handoff,
    RunContext,
    SessionOptions,
    Trip,
    output_guardrail,
)
from trialogue.events import (
    AgentEntered,
    AgentTranscript,
    GuardrailTripped,
    HandoffStarted,
    ItemChanged,
    ReplyEnded,
    ToolFinished,
    ToolStarted,
)
from trialogue.testing import Call, Pause, Say, Turn

WORDS = "Good morning to you. The secret is in the cellar. Nobody else knows of it."
MS = 4000
SORRY = "Apologise for that."
SECRET = "card 4000123412341234"


def cancels(stage: Stage) -> list[str]:
    return [e.event["response_id"] for e in stage.sent("response.cancel")]


def truncations(stage: Stage) -> list[int]:
    sent = stage.sent("conversation.item.truncate")
    return [e.event["audio_end_ms"] for e in sent]


def deletions(stage: Stage) -> list[str]:
    return [e.event["item_id"] for e in stage.sent("conversation.item.delete")]


# --- what is seen ------------------------------------------------------------------


@pytest.mark.behaviour("G10")
async def test_it_sees_a_message_as_it_streams_and_whole_at_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """At the ends of sentences, and after so many letters, while it is being said."""
    looked = Looked()
    guard = finding("nothing", looked=looked, length=30)
    async with (
        on_stage(prompted(Say(WORDS, ms=MS)), server=paced(1.0)) as stage,
        running(stage, Talker(guard)),
    ):
        await until(lambda: stage.of(ReplyEnded))
    assert looked.texts[-1] == WORDS
    assert len(looked.texts) >= 3
    before = 0
    for text in looked.texts[:-1]:
        assert WORDS.startswith(text)
        new = text[before:]
        assert len(new) >= 30 or ". " in new
        before = len(text)
    assert played(stage) == [MS]
    assert not stage.of(GuardrailTripped)


@pytest.mark.behaviour("G10")
async def test_one_check_at_a_time_each_of_the_latest_text(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A slow one is not called again before it has returned, and then once."""
    looked = Looked()
    guard = finding("nothing", 1.5, looked, length=1)
    async with (
        on_stage(prompted(Say(WORDS, ms=MS)), server=paced(1.0)) as stage,
        running(stage, Talker(guard)),
    ):
        await until(lambda: WORDS in looked.texts and not looked.under_way)
    assert looked.most == 1
    assert 3 <= len(looked.texts) <= 5
    assert len(set(looked.texts)) == len(looked.texts)


@pytest.mark.behaviour("G10")
async def test_each_message_of_a_reply_is_seen_for_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two messages, two ends; neither is mixed with the other."""
    looked = Looked()
    brain = prompted(Say("The first one", ms=400), Say("the second one", ms=400))
    async with (
        on_stage(brain) as stage,
        running(stage, Talker(finding("x", looked=looked, length=100))),
    ):
        await until(lambda: stage.of(ReplyEnded))
    assert looked.texts == ["The first one", "the second one"]


@pytest.mark.behaviour("G10")
@pytest.mark.parametrize("burst", [1.0, 10.0])
async def test_neither_sound_nor_transcript_waits_for_a_check(
    autojump_clock: trio.testing.MockClock, burst: float
) -> None:
    """Every sample and every piece of text comes when it would without."""
    times = []
    for guards in ((), (finding("nothing", 2.0), finding("never", 9.0, name="two"))):
        began = trio.current_time()
        async with on_stage(prompted(Say(WORDS, ms=MS)), server=paced(burst)) as stage:
            async with running(stage, Talker(*guards)):
                await until(lambda: played(stage) == [MS])
            runs = [round(run.time - began, 6) for run in stage.output.runs]
            pieces = [event.text for event in stage.of(AgentTranscript)]
            times.append((runs, pieces, stage.output.pcm))
    assert times[0] == times[1]


@pytest.mark.behaviour("G10")
async def test_what_an_agent_writes_is_seen_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A trip stops the writing; what was read stays."""
    agent = Talker(finding("secret"))
    agent.options = SessionOptions(output_modalities=("text",))
    server = paced(text_ms=100)
    async with on_stage(prompted(Say(WORDS)), server=server) as stage:
        async with running(stage, agent):
            await until(lambda: stage.of(ReplyEnded))
            await trio.sleep(5)
        assert one_trip(stage).heard_ms == 0
        assert cancels(stage) == [one_trip(stage).response_id]
        ((text, _),) = spoken(stage)
        assert WORDS.startswith(text)
        assert "secret" in text
        assert "Nobody" not in text


@pytest.mark.behaviour("G10")
async def test_a_reply_out_of_band_is_the_programs_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """So that a check may ask the same model what it thinks of the words."""
    verdicts: list[str] = []

    @output_guardrail(sentence_ends=False)
    async def judge(ctx: RunContext, text: str) -> Trip | None:
        outcome = await ctx.session.generate_reply(
            instructions=f"Is this secret? {text}",
            out_of_band=True,
            output_modalities=("text",),
        )
        verdicts.append(outcome.text)
        return Trip("judged") if "yes" in outcome.text else None

    def brain(turn: Turn) -> Any:
        if "Is this" in (turn.override or ""):
            return Say("yes, a secret" if "secret" in (turn.override or "") else "no")
        return Say(WORDS, ms=MS)

    async with on_stage(brain) as stage, running(stage, Talker(judge)):
        await until(lambda: stage.of(GuardrailTripped))
        await trio.sleep(6)
    assert one_trip(stage).reason == "judged"
    assert verdicts == ["yes, a secret"]
    assert played(stage)[0] < MS


# --- what is cut -------------------------------------------------------------------


@pytest.mark.behaviour("G11")
@pytest.mark.parametrize(
    ("burst", "seconds", "whole"),
    [
        (10.0, 0.0, False),
        (10.0, 0.15, False),
        (10.0, 1.0, False),
        (10.0, 3.5, True),
        (1.0, 0.0, False),
        (1.0, 0.5, False),
    ],
    ids=["at once", "arriving", "playing", "last words", "made", "made on"],
)
@pytest.mark.parametrize("one_way", [0.0, 0.05])
async def test_a_trip_cuts_the_reply_at_what_was_heard(
    autojump_clock: trio.testing.MockClock,
    burst: float,
    seconds: float,
    whole: bool,
    one_way: float,
) -> None:
    """Silent in that step, cancelled by id while it is made, truncated at the rest."""
    agent = Talker(finding("secret", seconds, whole=whole))
    server = paced(burst, one_way)
    async with on_stage(prompted(Say(WORDS, ms=MS)), server=server) as stage:
        async with running(stage, agent):
            await until(lambda: stage.of(GuardrailTripped))
            now = trio.current_time()
            await trio.sleep(8)
            assert stage.session.realtime.open_work == QUIET
        trip = one_trip(stage)
        (ended,) = stage.of(ReplyEnded)
        made = stage.events.index(trip) < stage.events.index(ended)
        heard = sum(played(stage))
        assert heard < MS
        assert silent_since(stage) <= now
        assert trip.heard_ms == pytest.approx(heard, abs=20)
        (response,) = stage.server.connections[0].responses
        assert trip.response_id == response.id
        assert cancels(stage) == ([response.id] if made else [])
        if trip.heard_ms == 0:
            assert deletions(stage) == [trip.item_id]
            assert truncations(stage) == []
            assert spoken(stage) == []
        else:
            assert truncations(stage) == [trip.heard_ms]
            assert deletions(stage) == []
            assert [ms for _, ms in spoken(stage)] == [trip.heard_ms]
        assert stage.server.protocol_errors == []
        assert ended.outcome.outcome == ("interrupted" if made else "completed")
        assert agent.outcome == ended.outcome


@pytest.mark.behaviour("G11")
async def test_the_event_says_all_there_is_to_say(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And what is said to nobody but the program goes nowhere else."""
    agent = Talker(finding("secret", 0.5, name="no_secrets"))
    async with on_stage(prompted(Say(WORDS, ms=MS)), server=paced(1.0)) as stage:
        async with running(stage, agent):
            await until(lambda: stage.of(ReplyEnded))
        trip = one_trip(stage)
        assert (trip.guardrail, trip.place) == ("no_secrets", "output")
        assert (trip.reason, trip.agent) == ("said secret", "Talker")
        assert "secret" in trip.text
        assert WORDS.startswith(trip.text)
        (item,) = stage.session.chat_ctx.items
        assert (trip.item_id, trip.call_id, trip.error) == (item.id, None, None)
        assert trip.seconds == pytest.approx(0.5, abs=0.01)
        assert "secret" not in repr(trip).replace("said secret", "").replace(
            "no_secrets", ""
        )
        order = [
            type(e)
            for e in stage.events
            if isinstance(e, GuardrailTripped | ReplyEnded)
        ]
        assert order == [GuardrailTripped, ReplyEnded]
        assert "said secret" not in str(stage.sent())


@pytest.mark.behaviour("G11")
async def test_speech_that_the_user_cannot_interrupt_is_cut_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`allow_interruptions=False` is about the user."""

    class Notice(Talker):
        options = SessionOptions(turn_detection=None)

        async def on_enter(self, ctx: RunContext) -> None:
            await ctx.session.generate_reply(
                instructions="Use your tools.", allow_interruptions=False
            )

    async with (
        on_stage(prompted(Say(WORDS, ms=MS))) as stage,
        running(stage, Notice(finding("secret", 1.0))),
    ):
        await until(lambda: stage.of(GuardrailTripped))
        await trio.sleep(5)
    assert played(stage) == [pytest.approx(one_trip(stage).heard_ms, abs=20)]
    assert played(stage)[0] < MS


@pytest.mark.behaviour("G11")
async def test_a_trip_after_the_last_word_was_heard_cuts_nothing_and_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also where another reply plays by then: that is none of its business."""
    brain = prompted(Say(WORDS, ms=800), then="Something else, and much longer.")
    async with on_stage(brain) as stage:
        async with running(stage, Talker(finding("secret", 1.5, whole=True))):
            await until(lambda: played(stage) == [800])
            outcome = await stage.session.generate_reply()
            await until(lambda: stage.of(GuardrailTripped))
            assert played(stage)[1:] < [1000]
            await trio.sleep(5)
        assert outcome.outcome == "completed"
        assert (truncations(stage), cancels(stage), deletions(stage)) == ([], [], [])
        assert [ms for _, ms in spoken(stage)] == [None, None]
        assert one_trip(stage).heard_ms == 800
        assert len(played(stage)) == 2


@pytest.mark.behaviour("G11")
async def test_what_the_user_has_cut_is_not_cut_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The trip is told; the message stays as it was heard, truncated once."""
    async with on_stage(prompted(Say(WORDS, ms=MS))) as stage:
        async with running(stage, Talker(finding("secret", 1.5))):
            await until(lambda: stage.output.pcm)
            await trio.sleep(1)
            stage.session.interrupt()
            await until(lambda: stage.of(GuardrailTripped))
            await trio.sleep(5)
            assert stage.session.realtime.open_work == QUIET
        (at,) = truncations(stage)
        assert [ms for _, ms in spoken(stage)] == [at]
        assert one_trip(stage).heard_ms == at


@pytest.mark.behaviour("G11")
async def test_what_reads_a_reply_as_a_stream_is_cut_with_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The stream ends, and its outcome says so."""
    outcomes = []

    class Streaming(Talker):
        async def on_enter(self, ctx: RunContext) -> None:
            async with ctx.session.open_reply(instructions="Use your tools.") as reply:
                outcomes.append(await reply.outcome())

    async with (
        on_stage(prompted(Say(WORDS, ms=MS)), server=paced(1.0)) as stage,
        running(stage, Streaming(finding("secret", 0.5))),
    ):
        await until(lambda: outcomes)
    assert outcomes[0].outcome == "interrupted"
    assert outcomes[0].heard_ms == one_trip(stage).heard_ms


@pytest.mark.behaviour("G11", "T1")
async def test_the_calls_that_a_cut_reply_still_makes_are_not_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its first call had begun, and goes on; each has one output."""
    agent = Talker(finding("secret"))
    brain = prompted(
        Call("work", {"seconds": 2.0}), Say(WORDS, ms=200), Call("work"), Pause(1.0)
    )
    async with on_stage(brain, server=paced(one_way=0.2)) as stage:
        async with running(stage, agent):
            await until(lambda: len(outputs(stage)) == 2)
            await trio.sleep(5)
            assert stage.session.realtime.open_work == QUIET
        assert agent.ran == ["work"]
        assert [text for _, text in outputs(stage)] == [
            "worked",
            "not run: the reply that it is part of was stopped",
        ]
        finished = {e.outcome: e.seconds for e in stage.of(ToolFinished)}
        assert finished == {"Returned": pytest.approx(2.0, abs=0.1), "Blocked": None}
        assert len(stage.of(ToolStarted)) == 1
        assert len(stage.sent("response.create")) == 2
        assert spoken(stage)[-1] == ("Done.", None)


@pytest.mark.behaviour("G11")
async def test_a_guardrail_that_only_watches_lets_it_be_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It trips once, and another one may still cut."""
    watches = finding("secret", name="watches", cut=False)
    cuts = finding("cellar", 1.0, name="cuts")
    for guards, names in (
        ((watches,), ["watches"]),
        ((watches, cuts), ["watches", "cuts"]),
    ):
        async with on_stage(prompted(Say(WORDS, ms=MS))) as stage:
            async with running(stage, Talker(*guards)):
                await until(lambda: stage.of(GuardrailTripped))
                await trio.sleep(6)
            assert [trip.guardrail for trip in stage.of(GuardrailTripped)] == names
            assert (played(stage) == [MS]) == ("cuts" not in names)


# --- those that fail ---------------------------------------------------------------


def raising(error: BaseException) -> Guardrail:
    @output_guardrail
    async def broken(ctx: RunContext, text: str) -> Trip | None:
        await trio.sleep(0.1)
        raise error

    return broken


async def grouped(ctx: RunContext, text: str) -> Trip | None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise ValueError(SECRET)


async def wrong(ctx: RunContext, text: str) -> Trip | None:
    return True  # type: ignore[return-value]


async def half(ctx: RunContext, text: str) -> Trip | None:
    return Trip(SECRET, handoff=Weather)  # type: ignore[arg-type]


@pytest.mark.behaviour("G12")
@pytest.mark.parametrize(
    ("guard", "reason"),
    [
        (raising(ValueError(SECRET)), "it raised ValueError"),
        (raising(trio.TooSlowError(SECRET)), "it raised TooSlowError"),
        (output_guardrail(grouped), "it raised ExceptionGroup"),
        (output_guardrail(wrong), "it raised TypeError"),
        (output_guardrail(half), "it raised ConfigurationError"),
        (finding("x", 60.0, timeout=0.7), "it took longer than 0.7 s"),
    ],
    ids=["raises", "too slow", "a group", "not a trip", "a wrong trip", "overruns"],
)
async def test_a_guardrail_that_fails_has_tripped(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    guard: Guardrail,
    reason: str,
) -> None:
    """The reply is cut, the log has the traceback, the model learns nothing."""
    with caplog.at_level(logging.ERROR, logger="trialogue"):
        async with on_stage(prompted(Say(WORDS, ms=MS)), server=paced(1.0)) as stage:
            async with running(stage, Talker(guard)):
                await until(lambda: stage.of(GuardrailTripped))
                await trio.sleep(6)
                assert stage.session.realtime.open_work == QUIET
            assert sum(played(stage)) < 1500
            assert len(cancels(stage)) == 1
            trip = one_trip(stage)
            assert trip.reason == reason
            assert SECRET not in str(list(stage.server.connections[0].entries))
    logged = [record for record in caplog.records if record.exc_info]
    if "raised" in reason:
        assert trip.error is not None
        assert type(trip.error).__name__ in reason
        assert "the guardrail" in logged[0].getMessage()
        assert len(logged) == 1
    else:
        assert trip.error is None
        assert logged == []
        assert trip.seconds == pytest.approx(0.7, abs=0.01)


@pytest.mark.behaviour("G12")
async def test_a_check_that_refuses_to_end_has_not_let_it_pass(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What it says when its time is over counts for nothing."""

    @output_guardrail(timeout=0.5)
    async def deaf(ctx: RunContext, text: str) -> Trip | None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1.0)
        return None

    async with on_stage(prompted(Say(WORDS, ms=MS))) as stage:
        async with running(stage, Talker(deaf)):
            await until(lambda: stage.of(GuardrailTripped))
            await trio.sleep(5)
        assert one_trip(stage).reason == "it took longer than 0.5 s"
        assert played(stage)[0] < 2000


# --- what follows ------------------------------------------------------------------


@pytest.mark.behaviour("G13")
async def test_nothing_follows_a_trip_that_asks_for_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The agent stays, silent, and answers what comes next."""
    async with on_stage(prompted(Say(WORDS, ms=MS))) as stage:
        async with running(stage, Talker(finding("secret", 1.0))):
            await until(lambda: stage.of(GuardrailTripped))
            await trio.sleep(20)
            assert len(stage.sent("response.create")) == 1
            outcome = await stage.session.generate_reply()
        assert outcome.text == "Done."
        assert outcome.outcome == "completed"


@pytest.mark.behaviour("G13")
@pytest.mark.parametrize("burst", [1.0, 10.0])
async def test_other_words_follow_a_trip_that_asks_for_them(
    autojump_clock: trio.testing.MockClock, burst: float
) -> None:
    """Right behind the cut, of the same agent, and guarded like all that it says."""
    looked = Looked()
    guard = finding("secret", 0.5, looked, say=SORRY)
    brain = prompted(Say(WORDS, ms=MS), then="I am sorry about that.")
    async with on_stage(brain, server=paced(burst)) as stage:
        async with running(stage, Talker(guard)):
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
            await trio.sleep(5)
        _first, second = stage.sent("response.create")
        assert SORRY in second.event["response"]["instructions"]
        assert KELLY in second.event["response"]["instructions"]
        cut, said = spoken(stage)
        assert said == ("I am sorry about that.", None)
        assert cut[1] == one_trip(stage).heard_ms
        assert "I am sorry about that." in looked.texts
        gap = stage.output.runs[1].time - stage.output.runs[0].end
        assert gap < 0.5


@pytest.mark.behaviour("G13")
async def test_other_words_are_all_that_follows_the_calls_of_the_reply(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """They wait for no tool, and its output brings no further reply."""
    agent = Talker(finding("secret", say=SORRY))
    brain = prompted(Call("work", {"seconds": 4.0}), Say(WORDS, ms=MS))
    async with on_stage(brain, server=paced(1.0)) as stage:
        async with running(stage, agent):
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
            assert outputs(stage) == []
            await trio.sleep(10)
        assert [text for _, text in outputs(stage)] == ["worked"]
        assert len(stage.sent("response.create")) == 2


@pytest.mark.behaviour("G13", "H2")
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("burst", [1.0, 10.0])
async def test_a_trip_may_hand_over(
    autojump_clock: trio.testing.MockClock, fresh: bool, burst: float
) -> None:
    """At once; what the old agent was saying is cut, and the new one speaks."""
    guard = finding("secret", 0.5, handoff=Handoff(Weather(), note="Be careful."))
    model = {"capabilities": {"mutable_instructions": False}} if fresh else {}

    def brain(turn: Turn) -> Any:
        return Say(WORDS, ms=MS) if "Kelly" in turn.instructions else Say("Sunny.")

    async with on_stage(brain, server=paced(burst, 0.02), model=model) as stage:
        async with running(stage, Talker(guard)):
            await until(lambda: isinstance(stage.session.agent, Weather))
            await until(lambda: spoken(stage)[-1:] == [("Sunny.", None)])
            await trio.sleep(5)
            assert stage.session.realtime.open_work == QUIET
        trip = one_trip(stage)
        kelly, sunny = stage.heard_under()
        assert kelly.startswith(KELLY)
        assert sunny.startswith(SUNNY)
        assert played(stage)[0] == pytest.approx(trip.heard_ms, abs=20)
        (started,) = stage.of(HandoffStarted)
        assert started.next == "Weather"
        assert len(stage.server.connections) == (2 if fresh else 1)
        kinds = (GuardrailTripped, HandoffStarted)
        order = [type(e) for e in stage.events if isinstance(e, kinds)]
        assert order == list(kinds)


@pytest.mark.behaviour("G13")
@pytest.mark.parametrize("where", ["session", "agent", "method"])
async def test_where_a_guardrail_stands(
    autojump_clock: trio.testing.MockClock, where: str
) -> None:
    """For all agents, for one, or in its class, where it knows its instance."""

    class Careful(Talker):
        word = "secret"

        @output_guardrail
        async def own(self, ctx: RunContext, text: str) -> Trip | None:
            assert ctx.agent is self
            return Trip("own") if self.word in text else None

    guard = finding("secret", name="own")
    agent = {"session": Talker(), "agent": Talker(guard), "method": Careful()}[where]
    everywhere = [guard] if where == "session" else []
    brain = prompted(Say(WORDS, ms=MS))
    async with on_stage(brain, guardrails=everywhere) as stage, running(stage, agent):
        await until(lambda: stage.of(GuardrailTripped))
    assert one_trip(stage).guardrail == "own"


@pytest.mark.behaviour("G13")
async def test_the_first_of_several_decides(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The others' checks of that reply end, and nothing follows twice."""
    slow = Looked()
    guards = (
        finding("secret", 0.5, name="first", say=SORRY),
        finding("secret", 0.5, slow, name="second", say=SORRY),
        finding("secret", 3.0, slow, name="third", handoff=Weather()),
    )
    async with on_stage(prompted(Say(WORDS, ms=MS)), server=paced()) as stage:
        async with running(stage, Talker(*guards)):
            await until(lambda: stage.of(GuardrailTripped))
            await trio.sleep(10)
        assert one_trip(stage).guardrail in {"first", "second"}
        assert slow.cancelled >= 1
        assert len(stage.sent("response.create")) == 2
        assert [e.agent for e in stage.of(AgentEntered)] == ["Talker"]


@pytest.mark.behaviour("G13")
@pytest.mark.parametrize("trip", [{"say": SORRY}, {"handoff": Weather()}])
async def test_nothing_follows_the_end(
    autojump_clock: trio.testing.MockClock, trip: dict[str, Any]
) -> None:
    """A conversation that is being ended ends, without other words or agents."""
    guard = finding("secret", 1.0, **trip)
    brain, server = prompted(Say(WORDS, ms=MS)), paced(1.0, one_way=0.1)
    async with on_stage(brain, server=server) as stage:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.session.run, Talker(guard))
                await until(lambda: stage.output.pcm)
                stage.session.end()
        assert played(stage)[0] < MS
        assert len(stage.sent("response.create")) == 1
        assert [e.agent for e in stage.of(AgentEntered)] == ["Talker"]


@pytest.mark.behaviour("G13")
async def test_an_apology_that_trips_is_not_apologised_for_without_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Three times, until the user says something; then it may be tried again."""
    guard = finding("secret", say=SORRY)
    agent = Talker(guard)
    agent.options = SessionOptions(turn_detection=None)
    async with (
        on_stage(lambda turn: Say(WORDS, ms=MS)) as stage,
        running(stage, agent),
    ):
        await until(lambda: len(stage.of(GuardrailTripped)) == 4)
        await trio.sleep(20)
        assert len(stage.sent("response.create")) == 4
        assert stage.session.realtime.open_work == QUIET
        await stage.session.send_message("and now?")
        await stage.session.generate_reply()
        await trio.sleep(20)
        assert len(stage.sent("response.create")) == 8


@pytest.mark.behaviour("G13")
async def test_other_words_give_way_to_what_the_user_says_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An answer to the user is better than an excuse."""
    guard = finding("secret", 1.0, say=SORRY)
    brain = prompted(Say(WORDS, ms=MS), then="Fine.")
    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        line = Line(stage.microphone)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.run)
            async with running(stage, Talker(guard)):
                await until(lambda: stage.output.pcm)
                await trio.sleep(0.6)
                line.say(stage.server.utterances.say("hold on", ms=1500))
                await until(lambda: stage.of(GuardrailTripped))
                await trio.sleep(8)
                assert stage.session.realtime.open_work == QUIET
            nursery.cancel_scope.cancel()
        said = [text for text, _ in spoken(stage)]
        assert said[1:] == ["Fine."]
        assert len(stage.sent("response.create")) == 1


@pytest.mark.behaviour("G17")
async def test_a_check_under_way_ends_with_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is cancelled, no event comes of it, and no task stays."""
    before = tasks()
    looked = Looked()
    async with (
        on_stage(prompted(Say(WORDS, ms=300))) as stage,
        running(stage, Talker(finding("secret", 15.0, looked))),
    ):
        await until(lambda: played(stage) == [300])
    assert looked.cancelled == 1
    assert not stage.of(GuardrailTripped)
    assert tasks() == before


@pytest.mark.behaviour("G17")
async def test_a_check_that_fails_while_it_is_cancelled_ends_nothing_else(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises in its own clean-up is logged, and no session's failure."""

    @output_guardrail(timeout=60)
    async def careless(ctx: RunContext, text: str) -> Trip | None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError(SECRET)

    with caplog.at_level(logging.ERROR, logger="trialogue"):
        async with (
            on_stage(prompted(Say(WORDS, ms=300))) as stage,
            running(stage, Talker(careless)),
        ):
            await until(lambda: played(stage) == [300])
    assert "the guardrail careless failed" in caplog.text


async def test_the_record_has_all_that_was_heard_and_tells_of_the_cut(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What was said before stays whole; what was cut is updated, never lost."""
    brain = prompted(
        Say("Good morning.", ms=600), Say("The secret is out now.", ms=3000)
    )
    async with on_stage(brain) as stage:
        async with running(stage, Talker(finding("secret", 1.5))):
            await until(lambda: stage.of(GuardrailTripped))
            await trio.sleep(3)
        first, second = spoken(stage)
        assert first == ("Good morning.", None)
        assert "The secret is out now.".startswith(second[0])
        assert second[1] == pytest.approx(played(stage)[1], abs=20)
        changed = [e.change for e in stage.of(ItemChanged)]
        assert "deleted" not in changed


class Human(Agent):
    """Takes over, and says so."""

    instructions = "You are a human."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Take over.")


@pytest.mark.behaviour("G13")
async def test_nobody_takes_over_from_himself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A guardrail of the session that hands over to whoever is there only cuts."""
    guard = finding("secret", 0.3, handoff=Human())
    async with on_stage(lambda turn: Say(WORDS, ms=MS), guardrails=[guard]) as stage:
        async with running(stage, Talker()):
            await until(lambda: len(stage.of(GuardrailTripped)) == 2)
            await trio.sleep(5)
            assert isinstance(stage.session.agent, Human)
        assert [e.agent for e in stage.of(GuardrailTripped)] == ["Talker", "Human"]
        assert len(stage.of(HandoffStarted)) == 1
        assert all(ms < MS for ms in played(stage))
