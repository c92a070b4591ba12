"""A connection is replaced before its end: dialled first, switched while nobody speaks.

Also a restart on request, and a spare connection that is kept warm.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import Prompted as PromptedAgent
from stage import (
    collecting,
    model_of,
    on_stage,
    outputs,
    prompted,
    realtime_stage,
    running,
    until,
)
from trialogue import RunContext, function_tool
from trialogue.dialects.options import SessionOptions
from trialogue.errors import ConnectionLost, SessionClosed
from trialogue.realtime.connection import Timing
from trialogue.realtime.lifetime import Lifetime
from trialogue.realtime.notices import (
    AudioDropped,
    ConnectionEnded,
    ConnectionOpened,
    ErrorNotice,
    UserTranscript,
)
from trialogue.realtime.opening import open_session
from trialogue.testing import (
    Call,
    CancelAtStep,
    Network,
    Pace,
    RealtimeServer,
    Say,
    Settings,
    Utterances,
    close,
    cut,
    quiet,
    refuse_connect,
    refuse_upgrade,
    silent_connect,
    voice,
)
from wire import Provider, WiredModel

if TYPE_CHECKING:
    from trialogue.realtime.session import RealtimeSession

LIMIT = 600.0
DUE = LIMIT - Timing().rotate_before
"""When a replacement begins to be looked for, in these tests."""
MANUAL = SessionOptions(turn_detection=None)


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=400)


def limited(**more: Any) -> dict[str, Any]:
    """Return a server that ends each session after ten minutes of virtual time."""
    settings = Settings(max_duration=LIMIT, wall=trio.current_time)
    return {"settings": settings, **more}


def reasons(events: list[Any]) -> list[str]:
    return [event.reason for event in events if isinstance(event, ConnectionOpened)]


def texts(server: RealtimeServer, connection: int = -1) -> list[str]:
    return [item.text for item in server.connections[connection].conversation.items]


# --- rotation ------------------------------------------------------------------


@pytest.mark.behaviour("C3")
async def test_the_next_connection_is_open_before_the_last_one_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Before the limit, not at it: nobody ever reads `session_expired`."""
    network = Network(one_way=0.1)
    async with (
        realtime_stage(
            short, server=limited(network=network), wall=trio.current_time
        ) as (server, session),
        collecting(session) as events,
    ):
        await session.generate_reply()
        await trio.sleep(3 * LIMIT)
        old, new = server.connections[:2]
        assert old.closed is not None
        assert DUE < new.opened < old.closed < LIMIT
        assert texts(server) == texts(server, 0) == ["Hello there."]
        assert reasons(events) == ["rotation"] * 3
        assert [e for e in events if isinstance(e, ErrorNotice)] == []
        assert not any(one.find("session_expired") for one in server.connections)
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("C3")
async def test_a_running_reply_is_not_cut_by_a_rotation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It began just before the switch was due, and takes a minute to be made."""
    brain = lambda turn: Say("A long story.", ms=600_000)  # noqa: E731
    async with (
        realtime_stage(brain, server=limited(), wall=trio.current_time) as (
            server,
            session,
        ),
        collecting(session) as events,
    ):
        await trio.sleep(DUE - 1)
        outcome = await session.generate_reply()
        assert outcome.outcome == "completed"
        assert server.live == [server.connections[0], server.connections[1]]
        ended_at = trio.current_time()
        assert ended_at > DUE + 30
        await until(lambda: reasons(events) == ["rotation"], 1)
        assert texts(server) == ["A long story."]


@pytest.mark.behaviour("C3")
async def test_the_users_turn_is_whole_and_answered_before_the_switch(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The user speaks from before the switch is due until after."""
    utterances = Utterances()
    said = utterances.say("Hello, there.", 4000)
    async with (
        realtime_stage(
            short, server=limited(utterances=utterances), wall=trio.current_time
        ) as (
            server,
            session,
        ),
        collecting(session) as events,
    ):
        await trio.sleep(DUE - 2)
        line = quiet(500) + said + quiet(2000)
        for at in range(0, len(line), 960):
            session.push_audio(line[at : at + 960])
            await trio.sleep(0.02)
        await until(lambda: reasons(events) == ["rotation"], 10)
        first, second = server.connections
        assert [said in turn.pcm for turn in first.committed] == [True]
        assert second.committed == []
        assert [record.status for record in first.responses] == ["completed"]
        assert second.responses == []
        assert texts(server) == ["Hello, there.", "Hello there."]


@pytest.mark.behaviour("C3", "H5")
@pytest.mark.parametrize("offset", [-2.0, -0.6, -0.35, -0.3, -0.25, -0.2, -0.1, 0.0])
async def test_speech_around_the_switch_is_taken_whole_once(
    autojump_clock: trio.testing.MockClock, offset: float
) -> None:
    """The microphone runs on: wherever a sentence begins, it is answered once."""
    said = voice("sentence 4", 1500)
    network = Network(one_way=0.05)
    async with (
        realtime_stage(
            short, server=limited(network=network), wall=trio.current_time
        ) as (server, session),
        collecting(session) as events,
    ):
        # The switch falls when the spare is there: three round trips after it is due.
        await trio.sleep_until(DUE + 0.6 - 3)
        line = quiet(3000 + round(offset * 1000)) + said + quiet(6000)
        for at in range(0, len(line), 960):
            session.push_audio(line[at : at + 960])
            await trio.sleep(0.02)
        await until(lambda: reasons(events) == ["rotation"], 20)
        turns = [turn.pcm for one in server.connections for turn in one.committed]
        assert [turn.count(said) for turn in turns] == [1]
        done = [r for one in server.connections for r in one.responses]
        assert [record.status for record in done] == ["completed"]
        assert not [e for e in events if isinstance(e, AudioDropped)]


@pytest.mark.behaviour("C3", "U6")
async def test_push_to_talk_is_not_torn_apart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A turn that the program will commit: whole, on one connection."""
    rng = random.Random(5)
    async with (
        realtime_stage(
            short, server=limited(), options=MANUAL, wall=trio.current_time
        ) as (server, session),
        collecting(session) as events,
    ):
        await trio.sleep(DUE - 1)
        said = rng.randbytes(3 * 48_000)
        for at in range(0, len(said), 960):
            session.push_audio(said[at : at + 960])
            await trio.sleep(0.02)
        assert reasons(events) == []
        assert (await session.commit_audio()).ok
        await until(lambda: reasons(events) == ["rotation"], 10)
        assert [turn.pcm for turn in server.connections[0].committed] == [said]
        assert server.connections[1].committed == []


@pytest.mark.behaviour("C3")
async def test_a_spare_that_cannot_be_had_is_tried_again_until_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody listens, a 503, a server that is silent: the talk goes on meanwhile."""
    async with (
        realtime_stage(short, server=limited(), wall=trio.current_time) as (
            server,
            session,
        ),
        collecting(session) as events,
    ):
        server.inject(refuse_connect(3), refuse_upgrade(503, 2), silent_connect(1))
        await trio.sleep(DUE + 5)
        assert (await session.generate_reply()).outcome == "completed"
        assert reasons(events) == []
        await until(lambda: reasons(events) == ["rotation"], 60)
        assert server.dials < 12
        assert len(server.connections) == 2


@pytest.mark.behaviour("C3", "C4")
async def test_without_a_spare_the_end_of_the_connection_is_a_reconnect(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody answers until after the limit: what was said meanwhile is kept."""
    said = voice("sentence 6", 1000)
    async with (
        realtime_stage(short, server=limited(), wall=trio.current_time) as (
            server,
            session,
        ),
        collecting(session) as events,
    ):
        await trio.sleep(DUE - 1)
        server.inject(silent_connect(12))
        await trio.sleep_until(LIMIT - 0.2)
        line = quiet(400) + said + quiet(2000)
        for at in range(0, len(line), 960):
            session.push_audio(line[at : at + 960])
            await trio.sleep(0.02)
        await until(lambda: reasons(events) == ["reconnect"], 60)
        await until(lambda: server.connections[-1].committed, 10)
        [turn] = server.connections[-1].committed
        assert turn.pcm.count(said) == 1


@pytest.mark.behaviour("C3")
async def test_an_age_may_be_set_below_the_providers_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    timing = Timing(max_age=100, rotate_before=20)
    async with (
        realtime_stage(short, timing=timing) as (server, session),
        collecting(session) as events,
    ):
        await trio.sleep(390)
        assert reasons(events) == ["rotation"] * 4
        lives = [
            round(one.closed - one.opened)
            for one in server.connections
            if one.closed is not None
        ]
        # It is read for three seconds more.
        assert all(80 <= life <= 84 for life in lives)


async def test_a_wrong_clock_does_not_keep_rotating(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """By our clock each connection has expired when it begins, or is about to."""
    for ahead in (LIMIT + 1000, LIMIT - 1, LIMIT - 12):

        def wall(ahead: float = ahead) -> float:
            return trio.current_time() + ahead

        async with realtime_stage(short, server=limited(), wall=wall) as (server, _):
            await trio.sleep(60)
            assert len(server.connections) <= 11


def test_a_replacement_takes_at_most_half_of_a_life() -> None:
    timing = Timing(rotate_before=120)
    long = Lifetime.of(1000.0, 3700.0, lambda: 100.0, timing)
    assert (long.due, long.pressing) == (1000 + 3480, 1000 + 3540)
    brief = Lifetime.of(1000.0, 160.0, lambda: 100.0, timing)
    assert (brief.due, brief.pressing) == (1030, 1045)
    assert Lifetime.of(1000.0, None, lambda: 100.0, timing) == Lifetime()
    assert Lifetime.of(1000.0, 50.0, lambda: 100.0, timing) == Lifetime()


class Slow(PromptedAgent):
    """Has a tool that takes a minute and a half."""

    @function_tool
    async def look_up(self, ctx: RunContext) -> str:
        """Look it up."""
        await trio.sleep(90)
        return "found"


@pytest.mark.behaviour("C3", "T5")
async def test_a_rotation_waits_for_running_tools(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The call and its output stand on the connection on which they were made."""
    brain = prompted(Call("look_up"))
    async with on_stage(brain, server=limited(), wall=trio.current_time) as stage:
        await trio.sleep(DUE - 10)
        async with running(stage, Slow()):
            await until(lambda: outputs(stage, 0), 120)
            assert len(outputs(stage, 0)) == 1
            await until(lambda: reasons(stage.events) == ["rotation"], 60)
            await trio.sleep(1)
        assert len(outputs(stage, 0)) == 1


@pytest.mark.behaviour("C3")
async def test_a_rotation_waits_until_everything_was_played(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Made within a second, heard for twenty: heard to its end first."""
    brain = prompted(Say("A story.", ms=20_000))
    async with on_stage(brain, server=limited(), wall=trio.current_time) as stage:
        await trio.sleep(DUE - 5)
        async with running(stage, PromptedAgent()):
            await until(lambda: len(stage.server.connections) == 2, 10)
            await until(lambda: reasons(stage.events) == ["rotation"], 60)
            assert trio.current_time() > DUE + 14
            assert len(stage.output.pcm) >= 20_000 * 48


# --- restart -------------------------------------------------------------------


@pytest.mark.behaviour("C3")
async def test_a_restart_takes_the_conversation_to_a_fresh_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = Network(one_way=0.1)
    async with (
        realtime_stage(
            short, server={"network": network}, instructions="Be brief."
        ) as (server, session),
        collecting(session) as events,
    ):
        await session.generate_reply()
        await session.restart()
        assert reasons(events) == ["restart"]
        assert session.settled
        new = server.connections[1]
        assert new.machine.session.instructions == "Be brief."
        assert texts(server) == ["Hello there."]
        await until(lambda: server.connections[0].closed, 10)
        [ended] = [e for e in events if isinstance(e, ConnectionEnded)]
        assert not ended.will_retry
        assert (await session.generate_reply()).outcome == "completed"


async def test_a_restart_that_fails_leaves_everything_as_it_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(short) as (server, session):
        server.inject(refuse_connect(1000))
        with pytest.raises(ConnectionLost, match="no fresh connection"):
            await session.restart(within=20)
        dials = server.dials
        assert (await session.generate_reply()).outcome == "completed"
        await trio.sleep(100)
        assert server.dials == dials
        assert len(server.connections) == 1


async def test_a_refused_restart_does_not_end_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The key was revoked: what is open goes on, and nobody hammers the door."""
    async with realtime_stage(short) as (server, session):
        server.inject(refuse_upgrade(401, 1000))
        with pytest.raises(ConnectionLost):
            await session.restart(within=50)
        assert server.dials == 2
        assert (await session.generate_reply()).outcome == "completed"


async def test_a_restart_that_is_cancelled_at_any_step_leaves_a_session_that_works(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for step in range(1, 60, 3):
        async with realtime_stage(short) as (server, session):
            with trio.CancelScope() as scope, CancelAtStep(step, scope):
                await session.restart()
            await until(lambda: session.settled, 10)
            await trio.sleep(10)
            assert len(server.live) == 1
            with trio.fail_after(10):
                assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("C7")
async def test_a_session_that_ends_meanwhile_ends_a_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        RealtimeServer(short).serving() as server,
        trio.open_nursery() as nursery,
        open_session(model_of(server)) as session,
    ):
        server.inject(silent_connect(10))
        # That the session ends first is what this is about.
        nursery.start_soon(_restart_of_a_closed_session, session)  # noqa: ASYNC111
        await trio.sleep(1)


async def _restart_of_a_closed_session(session: RealtimeSession) -> None:
    with trio.fail_after(10), pytest.raises(SessionClosed):
        await session.restart()


# --- a warm standby ------------------------------------------------------------


@pytest.mark.behaviour("C2")
async def test_a_lost_connection_is_replaced_by_the_standby_without_dialling(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One round trip until the configuration is agreed, not four."""
    network = Network(one_way=0.1)
    async with (
        realtime_stage(short, server={"network": network}, standby=True) as (
            server,
            session,
        ),
        collecting(session) as events,
    ):
        await session.generate_reply()
        await until(lambda: len(server.live) == 2, 5)
        server.inject(cut(after="session.update", connection=0))
        await session.update_instructions("Other words.")
        await until(lambda: reasons(events) == ["reconnect"], 1)
        lost_at = trio.current_time()
        await until(lambda: session.settled, 1)
        assert trio.current_time() - lost_at == pytest.approx(0.2, abs=0.02)
        await until(lambda: len(server.live) == 2, 5)
        assert len(server.connections) == 3
        assert texts(server, 1) == ["Hello there."]
        assert texts(server, 2) == []


async def test_a_standby_that_is_lost_is_replaced_in_silence(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It costs the conversation nothing, and does not count against its budget."""
    faults = [close(1011, after="session.created", connection=i) for i in range(1, 30)]
    async with (
        realtime_stage(short, server={"faults": faults}, standby=True) as (
            server,
            session,
        ),
        collecting(session) as events,
    ):
        await until(lambda: len(server.connections) > 30, 300)
        await trio.sleep(5)
        assert len(server.live) == 2
        assert reasons(events) == []
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("R4")
async def test_a_standby_that_is_refused_for_good_costs_the_conversation_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The connection that serves tells for itself; no other is had again soon."""
    provider = Provider(short, Utterances(), Settings(oddities=False), seed=0)
    async with open_session(WiredModel(provider), standby=True) as session:
        await until(lambda: len(provider.wires) == 2 and session.settled, 5)
        await trio.sleep(1)
        provider.wires[1].report("insufficient_quota")
        await until(lambda: provider.wires[1].gone, 5)
        await trio.sleep(30)
        assert len(provider.wires) == 2
        assert (await session.generate_reply()).outcome == "completed"


async def test_a_standby_is_renewed_before_it_expires(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(
        short, server=limited(), standby=True, wall=trio.current_time
    ) as (server, session):
        await trio.sleep(5 * LIMIT)
        assert not any(one.find("session_expired") for one in server.connections)
        assert len(server.live) == 2
        assert (await session.generate_reply()).outcome == "completed"


async def test_a_standby_can_be_asked_for_and_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(short) as (server, session):
        await trio.sleep(5)
        assert len(server.connections) == 1
        session.standby = True
        await until(lambda: len(server.live) == 2, 5)
        session.standby = False
        await until(lambda: len(server.live) == 1, 5)
        assert server.connections[0].closed is None


@pytest.mark.behaviour("C6")
async def test_leaving_takes_no_longer_with_a_standby(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also where neither server ever answers the close."""
    async with RealtimeServer(short).serving() as server:
        async with open_session(model_of(server), standby=True) as session:
            await until(lambda: len(server.live) == 2, 5)
            assert session.settled
            left_at = trio.current_time()
        assert trio.current_time() - left_at <= Timing().close
        assert server.live == []


@pytest.mark.behaviour("C3", "S15")
@pytest.mark.parametrize(
    ("after_ms", "known"), [(2000, True), (9000, False)], ids=["late", "too late"]
)
async def test_a_rotation_waits_for_the_words_of_the_last_turn(
    autojump_clock: trio.testing.MockClock, after_ms: int, known: bool
) -> None:
    """On the next connection the turn would be sound, and never get any words.

    It waits for as long as a transcript may reasonably take, and then goes on.
    """
    utterances = Utterances()
    said = utterances.say("Hello, there.", 1000)
    settings = Settings(
        max_duration=LIMIT,
        wall=trio.current_time,
        pace=Pace(transcript_ms=(after_ms,)),
    )
    server_options = {
        "settings": settings,
        "utterances": utterances,
    }
    async with (
        realtime_stage(short, server=server_options, wall=trio.current_time) as (
            _,
            session,
        ),
        collecting(session) as events,
    ):
        await trio.sleep(DUE - 1)
        line = quiet(500) + said + quiet(1500)
        for at in range(0, len(line), 960):
            session.push_audio(line[at : at + 960])
            await trio.sleep(0.02)
        await until(lambda: reasons(events) == ["rotation"], 30)
        await trio.sleep(10)
        words = [e.text for e in events if isinstance(e, UserTranscript) and e.final]
        assert words == ["Hello, there."][: int(known)]


@pytest.mark.behaviour("C3")
async def test_a_restart_that_is_given_up_leaves_another_one_standing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two ask; the one that has no patience does not speak for the other."""
    async with (
        realtime_stage(server={"network": Network(one_way=0.3)}) as (server, session),
        collecting(session) as events,
        trio.open_nursery() as nursery,
    ):
        await until(lambda: session.settled)
        nursery.start_soon(session.restart)
        with pytest.raises(ConnectionLost, match="no fresh connection"):
            await session.restart(within=0.2)
        with trio.fail_after(30):
            await until(lambda: "restart" in reasons(events))
        assert len(server.connections) == 2


@pytest.mark.behaviour("C3")
async def test_a_restart_waits_for_a_frame_that_leaves_and_no_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody answers the frame: that it has left has to be noticed by itself."""
    raw = {"type": "input_audio_buffer.append", "audio": "AAAA"}
    async with realtime_stage(standby=True) as (server, session):
        await until(lambda: len(server.connections) == 2)
        await trio.sleep(5)
        with trio.fail_after(5):
            session.send_raw(raw)
            await session.restart()
