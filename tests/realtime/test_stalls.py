"""What stalls is found out within seconds, and what is merely slow is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import (
    SUNNY,
    Weather,
    collecting,
    on_stage,
    realtime_stage,
    running,
    transferring_brain,
    until,
)
from streams import at_rest
from trialogue import ServerError
from trialogue.realtime.connection import Timing
from trialogue.realtime.notices import ConnectionEnded, ErrorNotice
from trialogue.testing import (
    Network,
    Pause,
    RealtimeServer,
    Say,
    half_open,
    late,
    lose,
    reject,
    silent_connect,
    slow_accept,
    stall,
    swallow,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trialogue.realtime.session import RealtimeSession

LINE = {"network": Network(one_way=0.05)}


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=400)


async def seconds_of(session: RealtimeSession) -> float:
    """Ask for a reply; return how long it took."""
    began = trio.current_time()
    with trio.fail_after(60):
        assert (await session.generate_reply()).outcome == "completed"
    return trio.current_time() - began


async def undisturbed() -> float:
    async with realtime_stage(short, server=LINE) as (_, session):
        await until(lambda: session.settled)
        return await seconds_of(session)


def created(server: RealtimeServer) -> int:
    return sum(len(one.responses) for one in server.connections)


# --- a request for a reply that is not answered ---------------------------------------


@pytest.mark.parametrize("note", [True, False], ids=["an item", "nothing"])
async def test_a_lost_request_for_a_reply_is_asked_for_again_on_its_connection(
    autojump_clock: MockClock, note: bool
) -> None:
    """What was asked behind it is answered: that shows that it was lost."""
    usual = await undisturbed()
    async with realtime_stage(short, server=LINE) as (server, session):
        await until(lambda: session.settled)
        if note:
            await session.update_chat_ctx(session.chat_ctx.add_message("user", "Hi."))
        server.inject(lose("response.create"))
        assert await seconds_of(session) - usual < 1.5
        await at_rest(session)
        assert len(server.connections) == created(server) == 1
        assert not server.connections[0].find("response.cancel")


async def test_a_request_for_a_reply_that_is_lost_twice_costs_the_connection(
    autojump_clock: MockClock,
) -> None:
    """A server that takes none is not asked for ever."""
    usual = await undisturbed()
    async with realtime_stage(short, server=LINE) as (server, session):
        await until(lambda: session.settled)
        server.inject(lose("response.create"), lose("response.create", nth=2))
        took = await seconds_of(session) - usual
        assert took < Timing().reply_look + Timing().reply_start + 1.5
        assert len(server.connections) == 2


async def test_a_request_refused_by_an_error_that_names_nothing_is_known_at_once(
    autojump_clock: MockClock,
) -> None:
    async with realtime_stage(short, server=LINE) as (server, session):
        await until(lambda: session.settled)
        server.inject(reject("response.create", code="server_error", null_id=True))
        began = trio.current_time()
        with pytest.raises(ServerError):
            await session.generate_reply()
        assert trio.current_time() - began < 0.5
        await seconds_of(session)
        assert len(server.connections) == 1


async def test_an_error_that_names_nothing_does_not_hurt_a_reply_that_is_made(
    autojump_clock: MockClock,
) -> None:
    """It is about something else: the reply begins, and so was never refused."""
    server_has = LINE | {"faults": [late("response.created", seconds=0.3)]}
    async with realtime_stage(short, server=server_has) as (server, session):
        await until(lambda: session.settled)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seconds_of, session)
            await until(lambda: session.open_work["posted"])
            server.inject(
                reject("conversation.item.create", code="server_error", null_id=True)
            )
            session.send_raw({"type": "conversation.item.create", "item": {}})
        assert len(server.connections) == created(server) == 1
        assert not server.connections[0].find("response.cancel")


@pytest.mark.parametrize("seconds", [0.9, 1.4, 3, 4.5])
async def test_a_reply_that_begins_late_is_made_once(
    autojump_clock: MockClock, seconds: float
) -> None:
    """Even where other answers overtake it: nothing is cancelled, nor told."""
    faults = [late("response.created", seconds=seconds)]
    server_has = LINE | {"faults": faults}
    async with (
        realtime_stage(short, server=server_has) as (server, session),
        collecting(session) as events,
    ):
        await until(lambda: session.settled)
        assert await seconds_of(session) < seconds + 2
        await at_rest(session)
        assert len(server.connections) == created(server) == 1
        assert not server.connections[0].find("response.cancel")
        assert not [e for e in events if isinstance(e, ErrorNotice)]


async def test_a_reply_of_which_only_the_beginning_is_lost_is_made_once(
    autojump_clock: MockClock,
) -> None:
    """Long before its end it is looked for; what was made of it is not lost."""

    def slow(turn: Any) -> Any:
        return Say("A long story.", ms=6000)

    faults = [swallow("response.created")]
    async with realtime_stage(slow, server=LINE | {"faults": faults}) as stage:
        server, session = stage
        await until(lambda: session.settled)
        with trio.fail_after(60):
            outcome = await session.generate_reply()
        assert (outcome.outcome, outcome.text) == ("completed", "A long story.")
        await at_rest(session)
        assert created(server) == 1


async def test_new_agents_first_words_survive_a_lost_request(
    autojump_clock: MockClock,
) -> None:
    async with on_stage(transferring_brain, server=LINE) as stage:
        stage.server.inject(lose("response.create"))
        began = trio.current_time()
        async with running(stage, Weather()):
            await until(stage.heard_under, 5)
            assert trio.current_time() - began < 2.5
        assert all(words.startswith(SUNNY) for words in stage.heard_under())
        assert len(stage.server.connections) == 1


# --- a peer that is gone --------------------------------------------------------------

GONE = Timing().quiet + Timing().pong_owed


@pytest.mark.parametrize(
    "fault",
    [
        half_open(before="response.create"),
        half_open(after="response.created"),
        half_open(after="response.output_audio.delta"),
    ],
    ids=["asked for", "begun", "heard"],
)
async def test_a_peer_that_is_gone_while_it_owes_a_reply_is_missed_soon(
    autojump_clock: MockClock, fault: Any
) -> None:
    usual = await undisturbed()
    async with (
        realtime_stage(short, server=LINE) as (server, session),
        collecting(session) as events,
    ):
        await until(lambda: session.settled)
        server.inject(fault)
        began, serving = trio.current_time(), session.connection
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.generate_reply)
            assert serving is not None
            await serving.ended.wait()
            assert trio.current_time() - began < GONE + usual
        [ended] = [e for e in events if isinstance(e, ConnectionEnded)]
        assert "pong" in ended.message
        await seconds_of(session)


async def test_a_ping_that_nothing_hurried_is_hurried_once_something_is_owed(
    autojump_clock: MockClock,
) -> None:
    """The peer was gone already, and its pong is waited for, when a reply is wanted."""
    async with realtime_stage(short, server=LINE) as (server, session):
        await until(lambda: session.settled)
        report = await session.update_chat_ctx(
            session.chat_ctx.add_message("user", "Hi.")
        )
        assert report.ok
        server.inject(half_open(after="conversation.item.done"))
        await session.update_chat_ctx(session.chat_ctx.add_message("user", "Ho."))
        await trio.sleep(Timing().ping_every + 1)
        assert len(server.connections) == 1
        assert await seconds_of(session) < GONE + 3
        assert len(server.connections) == 2


@pytest.mark.parametrize("side", ["reads", "writes", "both"])
@pytest.mark.parametrize(
    "after", ["response.create", "response.created", "response.output_audio.delta"]
)
async def test_a_network_that_stalls_for_more_than_a_second_costs_no_connection(
    autojump_clock: MockClock, side: Any, after: str
) -> None:
    async with realtime_stage(short, server=LINE) as (server, session):
        await until(lambda: session.settled)
        server.inject(stall(after=after, side=side, seconds=1.25))
        await seconds_of(session)
        await seconds_of(session)
        assert len(server.connections) == 1


async def test_a_model_that_pauses_is_waited_for(autojump_clock: MockClock) -> None:
    """Its server answers pings, however long the model thinks in a reply."""

    def thinking(turn: Any) -> Any:
        return [Say("Well.", ms=300), Pause(12), Say("So.", ms=300)]

    async with realtime_stage(thinking, server=LINE) as (server, session):
        await until(lambda: session.settled)
        with trio.fail_after(60):
            assert (await session.generate_reply()).text == "Well. So."
        assert len(server.connections) == 1


async def test_what_a_slow_line_still_carries_is_no_silence(
    autojump_clock: MockClock,
) -> None:
    """A large item takes its time to arrive, and the pong comes behind it."""
    async with realtime_stage(short, server=LINE) as (server, session):
        await until(lambda: session.settled)
        server.inject(
            stall(after="conversation.item.create", seconds=2.5, side="reads")
        )
        with trio.fail_after(60):
            await session.update_chat_ctx(session.chat_ctx.add_message("user", "Hi."))
            large = session.chat_ctx.add_message("user", "word " * 40_000)
            assert (await session.update_chat_ctx(large)).ok
        assert len(server.connections) == 1


# --- a dial that hangs ----------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [silent_connect(skip=1), slow_accept(30, skip=1)], ids=["silent", "slow"]
)
async def test_a_dial_that_hangs_has_another_one_beside_it(
    autojump_clock: MockClock, fault: Any
) -> None:
    async with realtime_stage(short, server=LINE | {"faults": [fault]}) as stage:
        server, session = stage
        await until(lambda: session.settled)
        began = trio.current_time()
        session.replace_connection()
        await until(lambda: session.settled and server.dials == 3)
        assert trio.current_time() - began < Timing().hedge + 1
        await seconds_of(session)
        await until(lambda: sum(one.closed is None for one in server.connections) == 1)


async def test_a_dial_that_is_merely_slow_is_not_given_up(
    autojump_clock: MockClock,
) -> None:
    """The one beside it hangs for longer: the first serves."""
    faults = [slow_accept(2, skip=1), slow_accept(30, skip=2)]
    async with realtime_stage(short, server=LINE | {"faults": faults}) as stage:
        server, session = stage
        await until(lambda: session.settled)
        began = trio.current_time()
        session.replace_connection()
        await until(lambda: server.dials == 3 and session.settled)
        assert trio.current_time() - began < 3.5
        await seconds_of(session)


async def test_where_dials_take_long_none_is_made_beside_them(
    autojump_clock: MockClock,
) -> None:
    """A line of 0.7 s there and back: what is usual here is no hanging."""
    line = {"network": Network(one_way=0.35)}
    async with realtime_stage(short, server=line) as (server, session):
        await until(lambda: session.settled)
        session.replace_connection()
        await until(lambda: server.dials == 2 and session.settled)
        await seconds_of(session)
        assert server.dials == 2
