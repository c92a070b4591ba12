"""What a session measures of itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from stage import (
    Weather,
    collecting,
    on_stage,
    realtime_stage,
    running,
    speak,
    until,
)
from trialogue import (
    Durations,
    Metrics,
    ResponseMetrics,
    TranscriptionUsage,
    WireLog,
)
from trialogue.dialects.events import Usage
from trialogue.realtime.metrics import KEPT, Meter, Series
from trialogue.realtime.notices import ReplyEnded
from trialogue.testing import (
    Fail,
    Network,
    Pause,
    Say,
    Stop,
    Utterances,
    cut,
    late,
    quiet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FAR = {"network": Network(one_way=0.05)}


def of_responses(events: list[Any]) -> list[ResponseMetrics]:
    return [event for event in events if isinstance(event, ResponseMetrics)]


# --- series -----------------------------------------------------------------------


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_a_summary_lies_within_what_was_measured(seconds: list[float]) -> None:
    """Median and 95th percentile are values that occurred."""
    series = Series()
    for value in seconds:
        series.add(value)
    told = series.summary()
    assert (told.count, told.last) == (len(seconds), seconds[-1])
    assert told.mean == pytest.approx(sum(seconds) / len(seconds))
    assert told.p50 in seconds
    assert told.p95 in seconds
    assert sum(value <= told.p95 for value in seconds) >= 0.95 * len(seconds)
    assert sum(value <= told.p50 for value in seconds) >= 0.5 * len(seconds)


def test_percentiles_follow_the_newest_and_memory_is_bounded() -> None:
    """What was slow long ago is in the mean, and no longer in the median."""
    series = Series()
    for value in [100.0] * KEPT + [1.0] * KEPT:
        series.add(value)
    assert series.summary() == Durations(2 * KEPT, 1.0, 50.5, 1.0, 1.0)
    assert Series().summary() == Durations()


# --- replies ----------------------------------------------------------------------


async def test_a_new_session_has_measured_nothing_but_its_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Zeros and None, and one connection: three round trips of 100 ms."""
    async with realtime_stage(server=FAR) as (_, session):
        told = session.metrics
        assert told.connections == {"first": 1}
        assert told.connect.count == 1
        assert told.connect.last == pytest.approx(0.3)
        zero = Metrics(connections=told.connections, connect=told.connect)
        assert attrs.evolve(told, messages=0, bytes=0) == zero


async def test_the_time_to_first_audio_counts_from_the_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Per reply in its event, and over all of them in the snapshot."""
    async with (
        realtime_stage(lambda turn: Say("Hello.", ms=2000), server=FAR) as (_, session),
        collecting(session) as events,
    ):
        await until(lambda: session.settled)
        began = trio.current_time()
        for _ in range(3):
            await session.generate_reply()
        took = trio.current_time() - began
        told, metrics = session.metrics, of_responses(events)
        assert told.first_audio.count == 3
        assert told.first_audio.last == metrics[-1].first_audio
        assert all(0.1 <= (m.first_audio or 0) < 0.5 for m in metrics)
        assert sum(m.seconds for m in metrics) <= took
        assert told.responses == {"completed": 3}
        assert told.turn_to_audio == Durations()
        assert told.seconds >= took


@pytest.mark.behaviour("R13")
async def test_usage_is_told_per_response_and_in_total_cancelled_ones_included(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """By modality, cached tokens among them; the server's numbers, added up."""
    async with (
        realtime_stage(
            lambda turn: [Say("A story."), Pause(9)], instructions="Be brief. " * 40
        ) as (server, session),
        collecting(session) as events,
    ):
        await session.generate_reply()
        with trio.move_on_after(2):
            await session.generate_reply()
        await until(lambda: len(of_responses(events)) == 2)
        told, metrics = session.metrics, of_responses(events)
        assert [m.outcome for m in metrics] == ["completed", "interrupted"]
        spent = [m.usage for m in metrics if m.usage is not None]
        assert len(spent) == 2
        assert told.usage == session.usage == sum(spent, Usage())
        done = [
            e.event["response"] for e in server.connections[0].find("response.done")
        ]
        assert told.usage.input_tokens == sum(r["usage"]["input_tokens"] for r in done)
        assert told.usage.output_audio_tokens > 0
        assert told.usage.cached_text_tokens == 64
        assert told.responses == {"completed": 1, "interrupted": 1}


async def test_the_metrics_of_a_response_come_right_before_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever waits for `ReplyEnded` has been told already."""
    async with (
        realtime_stage(lambda turn: "Hello.") as (_, session),
        session.subscribe(ResponseMetrics, ReplyEnded) as events,
    ):
        await session.generate_reply()
        first, second = events.receive_nowait(), events.receive_nowait()
    assert isinstance(first, ResponseMetrics)
    assert isinstance(second, ReplyEnded)
    assert first.response_id == second.response_id
    assert first.usage == second.outcome.usage


async def test_responses_are_counted_by_their_outcome(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Failed, incomplete and lost ones, too."""
    replies: Iterator[Any] = iter(
        [Fail("server_error"), Stop(), Say("Now it is lost.", ms=3000)]
    )
    faults = [cut(after="response.output_audio.delta", nth=3)]
    async with realtime_stage(
        lambda turn: next(replies, "Hello."), server={"faults": faults}
    ) as (_, session):
        with pytest.raises(Exception, match="failed"):
            await session.generate_reply()
        assert (await session.generate_reply()).outcome == "incomplete"
        await session.generate_reply()
        await until(lambda: session.metrics.reconnects == 1)
        told = session.metrics.responses
        assert told == {"failed": 1, "incomplete": 1, "lost": 1, "completed": 1}


# --- turns ------------------------------------------------------------------------


async def test_the_time_from_the_users_turn_to_the_answer_is_measured(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """From where the provider set the turn's end: the way there and back, and a bit."""
    utterances = Utterances()
    speech = utterances.say("What is the weather?", 1000)
    async with on_stage(
        lambda turn: Say("Sunny.", ms=500),
        microphone=True,
        server={"utterances": utterances, **FAR},
    ) as stage:
        assert stage.microphone is not None
        async with running(stage, Weather()):
            await until(lambda: stage.session.metrics.responses == {"completed": 1})
            await stage.session.wait_for_playout()
            before = trio.current_time()
            await speak(stage.microphone, speech + quiet(2000))
            await until(lambda: stage.session.metrics.responses == {"completed": 2})
        told = stage.session.metrics
        answers = [e for e in stage.of(ResponseMetrics) if e.turn_to_audio is not None]
        (answer,) = answers
        assert told.turn_to_audio == Durations(1, *[answer.turn_to_audio] * 4)
        assert answer.turn_to_audio is not None
        assert 0.1 < answer.turn_to_audio < 0.2
        assert answer.first_audio is None
        assert answer.agent == "Weather"
        assert trio.current_time() > before + 1


async def test_what_transcribing_the_user_costs_is_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As the server said it, once per turn."""
    utterances = Utterances()
    speech = utterances.say("What is the weather?", 1000)
    async with on_stage(microphone=True, server={"utterances": utterances}) as stage:
        assert stage.microphone is not None
        async with running(stage, Weather()):
            await stage.session.wait_for_playout()
            await speak(stage.microphone, speech + quiet(2000))
            kind = "conversation.item.input_audio_transcription.completed"
            await until(lambda: stage.server.connections[0].find(kind))
            await until(lambda: stage.session.metrics.transcription.turns == 1)
        (done,) = stage.server.connections[0].find(kind)
        spent = done.event["usage"]
        assert stage.session.metrics.transcription == TranscriptionUsage(
            1, spent["input_tokens"], spent["output_tokens"], spent["input_tokens"]
        )


@pytest.mark.behaviour("R7")
def test_a_price_in_seconds_is_added_up_and_nonsense_is_nothing() -> None:
    """Some models are charged by duration; some providers write what they like."""
    nothing: Any = None
    meter = Meter(nothing, nothing)
    for usage in (
        {"type": "duration", "seconds": 1.5},
        {"type": "duration", "seconds": 2},
        {"input_tokens": "many", "seconds": None, "input_token_details": 3},
        {"input_tokens": True, "seconds": float("inf"), "output_tokens": -5},
        None,
    ):
        meter.transcribed(usage)
    assert meter.transcription == TranscriptionUsage(turns=5, seconds=3.5)


# --- connections and requests -----------------------------------------------------


async def test_connections_are_counted_by_why_they_took_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """First, lost, restarted."""
    async with realtime_stage(server=FAR) as (server, session):
        await until(lambda: session.settled)
        await session.restart()
        server.inject(cut(before="response.create"))
        await session.generate_reply()
        told = session.metrics
        assert told.connections == {"first": 1, "restart": 1, "reconnect": 1}
        assert (told.reconnects, told.rotations) == (1, 0)
        assert told.connect.count == 3
        assert told.connect.p95 == pytest.approx(0.3)


async def test_requests_are_timed_by_kind_from_written_to_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A round trip each; what was never answered is not among them."""
    async with realtime_stage(server=FAR) as (server, session):
        await until(lambda: session.settled)
        await session.generate_reply()
        await session.update_instructions("Be brief.")
        server.inject(late("session.updated", seconds=3))
        report = await session.update_instructions("Be briefer.", ack_timeout=1)
        assert not report.ok
        told = session.metrics.requests
        assert set(told) == {"UpdateSession", "CreateResponse"}
        assert told["UpdateSession"].count == 2
        assert told["UpdateSession"].p95 == pytest.approx(0.1, abs=0.01)
        assert told["CreateResponse"].last == pytest.approx(0.1, abs=0.05)


async def test_messages_and_their_bytes_are_counted_over_all_connections(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As many as the server read; in bytes, not in characters."""
    wire_log = WireLog(texts=True, logger="wire", level=logging.ERROR)
    async with realtime_stage(instructions="Sei höflich: 你好", wire_log=wire_log) as (
        server,
        session,
    ):
        await session.generate_reply()
        await session.restart()
        read = [e for c in server.connections for e in c.entries if e.direction == "in"]
        told: list[Any] = [r for r in caplog.records if r.name == "wire"]
        told = [r for r in told if r.trialogue_direction == ">"]
        assert session.metrics.messages == len(read) == len(told)
        characters = sum(record.trialogue_size for record in told)
        configured = [r for r in told if "höflich" in r.getMessage()]
        # ö takes a byte more than one, each of the two others two more.
        assert session.metrics.bytes == characters + 5 * len(configured)
        assert len(configured) >= 2


async def test_a_snapshot_does_not_change_any_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is a value of its own; the next one has moved on."""
    async with realtime_stage() as (_, session):
        await session.generate_reply()
        before = session.metrics
        kept = attrs.asdict(before)
        await session.generate_reply()
        assert attrs.asdict(before) == kept
        assert session.metrics.responses == {"completed": 2}
