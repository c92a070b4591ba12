"""A conversation of any length: what is kept of it, and what is told again."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, realtime_stage, until
from trialogue import ChatContext, ConfigurationError, History, Message
from trialogue.conversation.items import FunctionCall, FunctionCallOutput, TextContent
from trialogue.realtime.notices import HistoryTrimmed, ReplayTruncated
from trialogue.testing import (
    Network,
    RealtimeServer,
    Say,
    close,
    refuse_connect,
    reject,
    swallow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.realtime.session import RealtimeSession
    from trialogue.testing import Connection

QUIET = {"owed": 0, "queued": 0, "posted": 0, "active": 0, "turn": 0}


def brain(_: Any) -> Any:
    return Say("Yes.", ms=20)


def words(number: int, text: str = "words", role: Any = "user") -> Message:
    return Message(f"m{number}", role, (TextContent(text),))


async def exchange(session: RealtimeSession, number: int) -> None:
    """Write something as the user, and have it answered."""
    edited = session.chat_ctx.insert(words(number))
    (await session.update_chat_ctx(edited)).raise_for_failures()
    await session.generate_reply()


def held(connection: Connection) -> list[str]:
    return [str(one.id) for one in connection.conversation]


def of(events: Sequence[Any], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


async def settled(session: RealtimeSession) -> None:
    await until(lambda: session.settled and session.open_work == QUIET)


# --- the record -------------------------------------------------------------------


@pytest.mark.behaviour("H11")
async def test_the_oldest_turns_leave_here_and_at_the_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Beyond the bound they go in batches; record and server stay the same."""
    history = History(items=20)
    first = ChatContext((words(0, "Be brief.", "system"),))
    async with (
        realtime_stage(brain, history=history, chat_ctx=first) as (server, session),
        collecting(session) as events,
    ):
        for number in range(1, 41):
            await exchange(session, number)
            await settled(session)
            assert len(session.record) <= 20
            assert held(server.connections[0]) == list(session.chat_ctx.ids)
        told = of(events, HistoryTrimmed)
        assert session.chat_ctx.ids[0] == "m0"
        assert "m40" in session.chat_ctx
    assert 80 - 20 <= sum(len(event.item_ids) for event in told) <= 80 - 16
    assert all(len(event.item_ids) >= 2 for event in told)
    assert {event.remaining for event in told} == {17}
    (connection,) = server.connections
    assert connection.find("error") == []


async def test_a_pair_is_never_parted_and_an_open_call_stays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A call of long ago whose output is still to come stays, with its turn."""
    call = FunctionCall("c", "call_1", "look", "{}")
    async with realtime_stage(brain, history=History(items=10)) as (server, session):
        await exchange(session, 0)
        session.add_items([call])
        for number in range(1, 12):
            await exchange(session, number)
        await settled(session)
        assert {"m0", "c"} <= set(session.chat_ctx.ids)
        assert "m1" not in session.chat_ctx
        session.add_items([FunctionCallOutput("o", "call_1", "found")])
        for number in range(12, 16):
            await exchange(session, number)
        await settled(session)
        assert {"m0", "c", "o"}.isdisjoint(session.chat_ctx.ids)
        assert held(server.connections[0]) == list(session.chat_ctx.ids)


async def test_where_the_server_keeps_everything_only_the_record_is_trimmed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A conversation that cannot be edited there is not asked to be."""
    fixed = {"capabilities": {"mutable_chat_context": False}}
    async with realtime_stage(brain, model=fixed, history=History(items=6)) as (
        server,
        session,
    ):
        for number in range(10):
            session.add_items([words(number)])
            await session.generate_reply()
        await settled(session)
        assert len(session.record) <= 6
        assert len(held(server.connections[0])) == 20
    assert server.connections[0].find("conversation.item.delete") == []


@pytest.mark.parametrize(
    "fault",
    [
        reject("conversation.item.delete", nth=None),
        swallow("conversation.item.deleted", nth=1),
    ],
    ids=["rejected", "unanswered"],
)
async def test_what_the_server_does_not_delete_is_still_what_the_record_says(
    fault: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """Trimming is a wish; the record goes by the server's answers."""
    async with realtime_stage(
        brain, server={"faults": [fault]}, history=History(items=8)
    ) as (server, session):
        for number in range(12):
            await exchange(session, number)
        await trio.sleep(30)
        await settled(session)
        assert held(server.connections[-1]) == list(session.chat_ctx.ids)


async def test_an_edit_of_what_has_left_meanwhile_brings_back_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An old snapshot is merged: what left stays away, what was added comes."""
    async with realtime_stage(brain, history=History(items=8)) as (server, session):
        for number in range(3):
            await exchange(session, number)
        old = session.chat_ctx
        for number in range(3, 9):
            await exchange(session, number)
        await settled(session)
        report = await session.update_chat_ctx(old.insert(words(99), after="m1"))
        assert report.ok
        await settled(session)
        assert "m99" in session.chat_ctx
        assert {"m0", "m1"}.isdisjoint(session.chat_ctx.ids)
        assert held(server.connections[0]) == list(session.chat_ctx.ids)


async def test_what_has_left_is_kept_alive_by_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Old items live on only in the snapshots that the program holds."""
    async with realtime_stage(brain, history=History(items=6)) as (_, session):
        await exchange(session, 0)
        snapshot = session.chat_ctx
        content = weakref.ref(snapshot.items[0])
        for number in range(1, 8):
            await exchange(session, number)
        await settled(session)
        gc.collect()
        assert content() is snapshot.items[0]
        del snapshot
        await exchange(session, 8)
        gc.collect()
        assert content() is None


async def test_a_conversation_begun_too_long_is_trimmed_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Of a history from elsewhere the newest turns are kept."""
    past = ChatContext(tuple(words(n) for n in range(50)))
    history = History(items=10, replay_items=8)
    async with realtime_stage(brain, history=history, chat_ctx=past) as (
        server,
        session,
    ):
        await settled(session)
        await exchange(session, 50)
        await settled(session)
        assert len(session.record) <= 10
        assert "m49" in session.chat_ctx
        theirs = held(server.connections[0])
        assert theirs == list(session.chat_ctx.ids)[-len(theirs) :]


@pytest.mark.parametrize("bound", ["items", "replay_items", "replay_tokens"])
def test_a_bound_holds_at_least_one(bound: str) -> None:
    """A bound without room is a mistake, and says so."""
    with pytest.raises(ConfigurationError, match=rf"History.{bound} is 0"):
        History(**{bound: 0})


# --- the replay -------------------------------------------------------------------


async def _lose(server: RealtimeServer, session: RealtimeSession) -> None:
    """End the present connection and wait for the next one."""
    before = len(server.connections)
    server.inject(close(1011, after="session.updated"))
    await session.update_instructions(f"Version {before}.")
    await until(lambda: len(server.connections) > before)
    await settled(session)


TURNS = tuple(words(n, "x" * 400) for n in range(10))


@pytest.mark.behaviour("C2")
async def test_a_replay_is_bounded_in_tokens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The newest whole turns go along; an event says what was left out."""
    history = History(replay_tokens=500)
    async with realtime_stage(brain, history=history) as (server, session):
        session.add_items(TURNS)
        await settled(session)
        async with collecting(session) as events:
            await _lose(server, session)
        assert held(server.connections[1]) == ["m6", "m7", "m8", "m9"]
        assert session.chat_ctx.ids == tuple(f"m{n}" for n in range(10))
    (told,) = of(events, ReplayTruncated)
    assert (told.omitted, told.omitted_tokens) == (6, 6 * 104)


@pytest.mark.behaviour("C2")
async def test_what_a_server_was_not_given_can_be_edited_and_deleted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is deleted here, and created there once it has been changed."""
    history = History(replay_items=4)
    async with realtime_stage(brain, history=history) as (server, session):
        session.add_items(TURNS)
        await settled(session)
        await _lose(server, session)
        mark = len(server.connections[1].entries)
        edited = session.chat_ctx.remove("m1").replace(words(3, "changed"))
        report = await session.update_chat_ctx(edited)
        assert report.ok
        await settled(session)
        assert session.chat_ctx.ids == ("m0", *(f"m{n}" for n in range(2, 10)))
        assert held(server.connections[1]) == ["m3", "m6", "m7", "m8", "m9"]
        sent = list(server.connections[1].entries)[mark:]
        deleted = [e for e in sent if e.type == "conversation.item.delete"]
    assert deleted == []


@pytest.mark.behaviour("C2")
async def test_what_was_made_while_nobody_served_and_did_not_fit_is_not_under_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Items of an outage that the replay left out can be deleted without a word."""
    history = History(replay_items=4)
    async with realtime_stage(brain, history=history) as (server, session):
        await settled(session)
        server.inject(close(1011, after="session.updated"), refuse_connect())
        await session.update_instructions("Another version.")
        await until(lambda: not session.settled)
        session.add_items(TURNS)
        await until(lambda: len(server.connections) > 1)
        await settled(session)
        assert held(server.connections[1]) == ["m6", "m7", "m8", "m9"]
        report = await session.update_chat_ctx(session.chat_ctx.remove("m2"))
        assert report.requests == ()
        added = session.chat_ctx.insert(words(20), after="m1")
        assert (await session.update_chat_ctx(added)).ok
        await settled(session)
        assert "m2" not in session.chat_ctx
        assert "m20" in held(server.connections[1])
        assert server.connections[1].find("error") == []


async def test_a_trim_right_after_a_change_of_connection_parts_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What is being told again is not deleted at the same time."""
    history = History(items=8)
    network = Network(one_way=0.1)
    async with realtime_stage(brain, server={"network": network}, history=history) as (
        server,
        session,
    ):
        for number in range(4):
            await exchange(session, number)
        await settled(session)
        server.inject(close(1011, after="session.updated"), refuse_connect())
        await session.update_instructions("Another version.")
        await until(lambda: not session.settled)
        session.add_items([words(number) for number in range(10, 20)])
        await until(lambda: len(server.connections) > 1)
        await settled(session)
        await exchange(session, 30)
        await settled(session)
        assert len(session.record) <= 8
        assert held(server.connections[1]) == list(session.chat_ctx.ids)
        assert server.connections[1].find("error") == []
