"""The microphone of a session without agents: held, sent whole, committed, dropped."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, model_of, realtime_stage, until
from trialogue.dialects.options import ServerVAD, SessionOptions, Transcription
from trialogue.errors import ServerError, SubscriberLagged
from trialogue.realtime.notices import (
    AudioDropped,
    ErrorNotice,
    ItemChanged,
    RateLimitsUpdated,
    ReplyEnded,
    ReplyStarted,
    UserIdle,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserTranscript,
)
from trialogue.realtime.opening import open_session
from trialogue.realtime.requests import RequestState
from trialogue.testing import (
    Network,
    RealtimeServer,
    Say,
    Utterances,
    cut,
    late,
    quiet,
    refuse_connect,
    silence,
    voice,
)

if TYPE_CHECKING:
    from trialogue.realtime.session import RealtimeSession

MANUAL = SessionOptions(turn_detection=None)
SECOND = 48_000


def noise(ms: int, seed: int = 1) -> bytes:
    """Return audio of which no two stretches are equal."""
    return random.Random(seed).randbytes(ms * 48)


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=400)


async def settle(session: RealtimeSession) -> None:
    await until(lambda: session.settled and not session.open_work["owed"])


def chunks(pcm: bytes, seed: int) -> list[bytes]:
    """Cut audio into pieces of odd sizes, through samples as well."""
    rng, pieces = random.Random(seed), []
    while pcm:
        size = rng.choice([1, 3, 100, 959, 4801])
        pieces.append(pcm[:size])
        pcm = pcm[size:]
    return pieces


# --- held until it may be heard ------------------------------------------------


@pytest.mark.behaviour("H5")
async def test_audio_before_the_first_configuration_is_held_then_sent_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing leaves before `session.updated` was read; then all of it, once."""
    pcm = noise(2000)
    server = RealtimeServer(short, network=Network(one_way=0.25))
    async with (
        server.serving(),
        open_session(model_of(server), options=MANUAL) as session,
    ):
        for piece in chunks(pcm[: len(pcm) // 2], 1):
            session.push_audio(piece)
        await until(lambda: session.settled)
        for piece in chunks(pcm[len(pcm) // 2 :], 2):
            session.push_audio(piece)
        assert (await session.commit_audio()).ok
        [turn] = server.connections[0].committed
        assert turn.pcm == pcm
        connection = server.connections[0]
        updated = connection.find("session.updated", "out")[0].time
        first = connection.find("input_audio_buffer.append", "in")[0].time
        assert first >= updated + 0.5  # its way to us and back


async def test_a_sample_split_between_two_calls_is_put_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pcm = noise(500)
    async with realtime_stage(short, options=MANUAL) as (server, session):
        for at in range(0, len(pcm), 333):
            session.push_audio(pcm[at : at + 333])
            await trio.sleep(0.001)
        await session.commit_audio()
        assert server.connections[0].committed[0].pcm == pcm


# --- manual turns --------------------------------------------------------------


@pytest.mark.behaviour("U6", "H5")
async def test_a_commit_carries_exactly_what_was_pushed_before_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Audio goes on in the same step as the commit, and belongs to the next turn."""
    turns = [noise(700, 1), noise(300, 2), noise(1500, 3)]
    network = Network(one_way=0.1)
    async with realtime_stage(short, options=MANUAL, server={"network": network}) as (
        server,
        session,
    ):
        async with trio.open_nursery() as nursery:
            for pcm in turns:
                for piece in chunks(pcm, 5):
                    session.push_audio(piece)
                nursery.start_soon(session.commit_audio)
                # The commit notes its place when it begins to run.
                await trio.testing.wait_all_tasks_blocked()
        await settle(session)
        assert [t.pcm for t in server.connections[0].committed] == turns
        assert len(session.chat_ctx) == 3
        assert not server.connections[0].responses  # manual: asked for, or not at all
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("U6")
async def test_clear_drops_what_was_pushed_and_leaves_no_residue(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Push to talk: a take that is thrown away is in no later turn."""
    network = Network(one_way=0.1)
    async with realtime_stage(short, options=MANUAL, server={"network": network}) as (
        server,
        session,
    ):
        session.push_audio(noise(900, 1))
        report = await session.clear_audio()
        assert [r.state for r in report.requests] == [RequestState.ACKNOWLEDGED]
        kept = noise(400, 2)
        session.push_audio(kept)
        assert (await session.commit_audio()).ok
        assert [t.pcm for t in server.connections[0].committed] == [kept]
        assert len(session.chat_ctx) == 1


@pytest.mark.behaviour("R3", "U6")
@pytest.mark.parametrize("pushed_ms", [0, 40])
async def test_an_empty_commit_is_an_error_under_manual_turns(
    autojump_clock: trio.testing.MockClock, pushed_ms: int
) -> None:
    """ServerError with the provider's code, in its caller; the session goes on."""
    async with realtime_stage(short, options=MANUAL) as (server, session):
        async with collecting(session) as events:
            session.push_audio(noise(pushed_ms))
            with pytest.raises(ServerError) as caught:
                await session.commit_audio()
            assert caught.value.code == "input_audio_buffer_commit_empty"
            assert not [e for e in events if isinstance(e, ErrorNotice)]
        rest = noise(500, 4)
        session.push_audio(rest)
        assert (await session.commit_audio()).ok
        [turn] = server.connections[0].committed
        assert turn.pcm.endswith(rest)


@pytest.mark.behaviour("R3")
async def test_an_empty_commit_is_a_race_under_turn_detection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Turn detection committed first: nothing is raised, nothing published."""
    async with realtime_stage(short) as (_, session):
        await settle(session)
        async with collecting(session) as events:
            report = await session.commit_audio()
            assert not report.ok
            await trio.sleep(1)
            assert not [e for e in events if isinstance(e, ErrorNotice)]


async def test_a_commit_that_was_cancelled_is_whole_or_not_at_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However it ended, the next turn holds what is left, and only that."""
    network = Network(one_way=0.1)
    async with realtime_stage(short, options=MANUAL, server={"network": network}) as (
        server,
        session,
    ):
        await until(lambda: session.settled)
        first, second = noise(500, 1), noise(500, 2)
        session.push_audio(first)
        with trio.move_on_after(0.05):
            await session.commit_audio()
        session.push_audio(second)
        await session.commit_audio()
        await settle(session)
        committed = [turn.pcm for turn in server.connections[0].committed]
        assert committed in ([first, second], [first + second])


# --- through an outage ---------------------------------------------------------


@pytest.mark.behaviour("C4", "H5")
async def test_audio_pushed_during_an_outage_reaches_the_next_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A turn spoken before, in and after the gap: every sample once, in order."""
    pcm = noise(9_000)
    async with realtime_stage(short, options=MANUAL) as (server, session):
        await settle(session)
        server.inject(
            cut(after="input_audio_buffer.append", nth=100), refuse_connect(3)
        )
        for at in range(0, len(pcm), 960):
            session.push_audio(pcm[at : at + 960])
            await trio.sleep(0.02)
        assert (await session.commit_audio()).ok
        assert len(server.connections) == 2
        [turn] = server.connections[1].committed
        assert turn.pcm == pcm
        assert not server.connections[0].committed


@pytest.mark.behaviour("C4")
async def test_beyond_its_bound_the_oldest_audio_is_dropped_and_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An outage of 40 s: ten are dropped and announced, the last thirty arrive."""
    pcm = noise(40_000)
    async with realtime_stage(short, options=MANUAL) as (server, session):
        await settle(session)
        async with collecting(session) as events:
            server.inject(cut(before="session.update"), refuse_connect(2))
            await session.update_instructions("Drop now.", ack_timeout=1.0)
            for at in range(0, len(pcm), 9600):
                session.push_audio(pcm[at : at + 9600])
            await settle(session)
            assert (await session.commit_audio()).ok
            [turn] = server.connections[-1].committed
            assert turn.pcm == pcm[10 * SECOND :]
            dropped = [e for e in events if isinstance(e, AudioDropped)]
            assert sum(e.seconds for e in dropped) == pytest.approx(10.0)
            assert dropped[-1].total_seconds == pytest.approx(10.0)


async def test_what_a_live_connection_has_been_sent_is_not_counted_as_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two minutes into an open microphone, without an outage: nothing is lost."""
    async with realtime_stage(short) as (server, session):
        async with collecting(session) as events:
            for _ in range(1200):
                session.push_audio(quiet(100))
                await trio.sleep(0.1)
            assert not [e for e in events if isinstance(e, AudioDropped)]
        assert len(server.connections[0].audio) == 120 * SECOND


# --- events --------------------------------------------------------------------


async def test_a_spoken_turn_is_told_from_its_beginning_to_its_answers_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Start, stop, item, transcript, reply: each once, in a sensible order."""
    clips = Utterances()
    pcm = clips.say("What is the weather?", 900)
    options = SessionOptions(turn_detection=ServerVAD(), transcription=Transcription())
    async with realtime_stage(short, options=options, server={"utterances": clips}) as (
        _,
        session,
    ):
        async with collecting(session) as events:
            await settle(session)
            session.push_audio(quiet(400) + pcm + quiet(900))
            await until(lambda: [e for e in events if isinstance(e, ReplyEnded)])
            await trio.sleep(1)
        told = (UserStartedSpeaking, UserStoppedSpeaking, ReplyStarted, ReplyEnded)
        assert [type(e) for e in events if isinstance(e, told)] == list(told)
        finals = [e for e in events if isinstance(e, UserTranscript) and e.final]
        assert [e.text for e in finals] == ["What is the weather?"]
        added = [e for e in events if isinstance(e, ItemChanged)]
        assert [e.item_id for e in added if e.change == "added"] == list(
            session.chat_ctx.ids
        )
        assert finals[0].item_id == session.chat_ctx.ids[0]


async def test_a_subscriber_gets_its_kinds_and_never_holds_the_session_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One that never reads drops the oldest and counts; a strict one is told."""
    async with (
        realtime_stage(short) as (_, session),
        session.subscribe(ReplyEnded) as replies,
        session.subscribe(buffer=2) as slow,
        session.subscribe(buffer=2, on_overflow="raise") as strict,
    ):
        for _ in range(3):
            with trio.fail_after(30):
                await session.generate_reply()
        ends = [replies.receive_nowait() for _ in range(3)]
        assert [e.outcome.outcome for e in ends] == ["completed"] * 3
        with pytest.raises(trio.WouldBlock):
            replies.receive_nowait()
        assert slow.missed > 0
        kept = [slow.receive_nowait(), slow.receive_nowait()]
        assert isinstance(kept[-1], ReplyEnded)
        with pytest.raises(SubscriberLagged) as lagged:
            await strict.receive()
        assert lagged.value.missed == slow.missed


async def test_audio_of_a_turn_with_a_late_transcript_is_replayed_as_sound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The connection drops before the words came: the next one gets the audio."""
    pcm = voice("Something nobody transcribed yet.", 800)
    async with realtime_stage(short, options=MANUAL) as (server, session):
        await settle(session)
        kind = "conversation.item.input_audio_transcription.completed"
        server.inject(late(kind, seconds=60.0))
        session.push_audio(pcm)
        await session.commit_audio()
        server.inject(cut(before="session.update"))
        await session.update_instructions("Drop now.", ack_timeout=1.0)
        await settle(session)
        [item] = list(server.connections[-1].conversation)
        assert bytes(item.pcm) == pcm
        assert session.chat_ctx.ids == (item.id,)


# --- what the server tells besides ----------------------------------------------


async def test_a_user_who_says_nothing_is_told_of_and_spoken_to(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The idle timeout: an event, a silent turn, and the model speaks."""
    patient = SessionOptions(turn_detection=ServerVAD(idle_timeout_ms=5000))
    async with (
        realtime_stage(short, options=patient) as (server, session),
        collecting(session) as events,
    ):
        await session.generate_reply()
        for _ in range(400):
            session.push_audio(quiet(20))
            await trio.sleep(0.02)
        [idle] = [e for e in events if isinstance(e, UserIdle)]
        assert [turn.by for turn in server.connections[0].committed] == ["idle"]
        assert idle.item_id == server.connections[0].committed[0].item_id
        assert [r.asked_by for r in server.connections[0].responses][1] == "idle"


async def test_what_is_left_of_the_limits_is_an_event(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        realtime_stage(short) as (_, session),
        collecting(session) as events,
    ):
        await session.generate_reply()
        await until(lambda: any(isinstance(e, RateLimitsUpdated) for e in events), 5)
        [told] = [e for e in events if isinstance(e, RateLimitsUpdated)]
        assert "tokens" in {limit.name for limit in told.limits}
        assert all(
            (limit.remaining or 0) <= (limit.limit or 0) for limit in told.limits
        )


# --- a server that has died without a word --------------------------------------


@pytest.mark.behaviour("C4", "C5", "H5")
@pytest.mark.parametrize("pause", [0.5, 5.0, 12.0])
async def test_what_is_said_to_a_server_that_has_died_is_answered_by_the_next(
    autojump_clock: trio.testing.MockClock, pause: float
) -> None:
    """It is found out up to half a minute later; the sentence is whole all the same."""
    utterances = Utterances()
    said = utterances.say("Is anybody there?", 1200)
    async with (
        realtime_stage(short, server={"utterances": utterances}) as (server, session),
        collecting(session) as events,
    ):
        await session.generate_reply()
        await trio.sleep(3)
        server.inject(
            silence(before="input_audio_buffer.append", pongs=False, connection=0)
        )
        line = quiet(round(pause * 1000)) + said + quiet(30_000)
        for at in range(0, len(line), 960):
            session.push_audio(line[at : at + 960])
            await trio.sleep(0.02)
        [turn] = server.connections[1].committed
        assert turn.pcm.count(said) == 1
        assert [r.status for r in server.connections[1].responses] == ["completed"]
        words = [e.text for e in events if isinstance(e, UserTranscript) and e.final]
        assert words == ["Is anybody there?"]
        assert session.listening.ring.dropped == 0
