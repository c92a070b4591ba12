"""Interleavings of updates that a reader of the code would not expect."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from stage import realtime_stage, until
from trialogue import ConnectionLost, OpenAIRealtime, ServerError, SessionOptions
from trialogue.realtime.opening import open_session
from trialogue.testing import Network, cut, hold, quiet, reject, voice
from websocket_peer import Peer, playing


async def _reconnect(server: Any, session: Any) -> dict[str, Any]:
    """Lose the connection; return what the next one is configured with."""
    lost = len(server.connections)
    server.inject(cut(before="response.create"))
    with trio.move_on_after(1):
        await session.generate_reply()
    await until(lambda: len(server.connections) > lost and session.settled)
    configured = server.connections[-1].find("session.update", "in")[0].event["session"]
    assert isinstance(configured, dict)
    return configured


async def test_a_configuration_refused_on_another_connection_is_tried_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What was agreed once and is refused after a loss does not leave a dead line."""
    async with realtime_stage(instructions="Be brief.") as (server, session):
        await until(lambda: session.settled)
        server.inject(reject("session.update", code="server_busy"))
        await _reconnect(server, session)
        assert len(server.connections) == 3
        assert (await session.generate_reply()).outcome == "completed"


async def _refused_for_ever() -> None:
    async with realtime_stage(instructions="Be brief.") as (server, session):
        await until(lambda: session.settled)
        server.inject(reject("session.update", code="server_busy", nth=None))
        await _reconnect(server, session)


async def test_a_configuration_refused_on_every_connection_ends_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The dialling budget bounds it, and the block raises what happened."""
    with trio.fail_after(120), pytest.raises(ConnectionLost, match="server_busy"):
        await _refused_for_ever()


async def _two_edits(session: Any, *edits: Any) -> list[bool]:
    """Send edits one right after the other; say which were taken."""
    taken = [False] * len(edits)

    async def edit(index: int) -> None:
        taken[index] = (await edits[index]()).ok

    async with trio.open_nursery() as nursery:
        for index in range(len(edits)):
            nursery.start_soon(edit, index)
            await trio.sleep(0.01)
    return taken


async def test_an_edit_that_was_taken_survives_the_refusal_of_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two edits under way: the second is refused; the first is still what is wanted."""
    network = {"network": Network(one_way=0.05)}
    async with realtime_stage(server=network, instructions="Old.") as (server, session):
        await until(lambda: session.settled)
        server.inject(reject("session.update", code="invalid_value", nth=2))
        taken = await _two_edits(
            session,
            lambda: session.update_instructions("New."),
            lambda: session.update_options(SessionOptions(speed=1.3)),
        )
        assert taken == [True, False]
        configured = await _reconnect(server, session)
        assert configured["instructions"] == "New."
        assert "speed" not in str(configured)


async def test_an_edit_behind_a_refused_one_stands_without_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two edits under way: the first is refused, and not asked for ever again."""
    network = {"network": Network(one_way=0.05)}
    async with realtime_stage(server=network, instructions="Old.") as (server, session):
        await until(lambda: session.settled)
        server.inject(reject("session.update", code="invalid_value"))
        taken = await _two_edits(
            session,
            lambda: session.update_options(SessionOptions(speed=1.3)),
            lambda: session.update_instructions("New."),
        )
        assert taken == [False, True]
        # What differs is reckoned from what the server really holds.
        assert (await session.update_instructions("Old.")).acknowledged == 1
        configured = await _reconnect(server, session)
        assert configured["instructions"] == "Old."
        assert "speed" not in str(configured)


async def test_an_edit_that_changes_nothing_is_not_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing is sent, and what is wanted is what the server has agreed to."""
    async with realtime_stage(instructions="Old.") as (server, session):
        await until(lambda: session.settled)
        report = await session.update_instructions("Old.")
        assert report.ok
        assert len(server.connections[0].find("session.update", "in")) == 1
        assert session.connection is not None
        assert session.wanted is session.connection.config


async def test_a_reply_served_by_the_users_turn_is_not_lost_to_a_late_announcement(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """response.created comes behind the response's first item; the waiter is served."""
    late_news = {"faults": [hold("response.created", frames=2)]}
    async with realtime_stage(server=late_news, instructions="Hi.") as (
        server,
        session,
    ):
        await until(lambda: session.settled)

        async def talk() -> None:
            pcm = voice("Hello?", 1000) + quiet(1500)
            for at in range(0, len(pcm), 960):
                session.push_audio(pcm[at : at + 960])
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await until(lambda: session.listening.speaking)
            with trio.fail_after(10):
                outcome = await session.generate_reply()
        assert outcome.outcome == "completed"
        assert len(server.connections[0].responses) == 1
        assert outcome.response_id == server.connections[0].responses[0].id


CREATED = '{"type": "session.created", "event_id": "e1", "session": {"id": "sess_1"}}'
QUOTA = (
    '{"type": "error", "event_id": "e2", "error": {"type": "insufficient_quota", '
    '"code": "insufficient_quota", "message": "You exceeded your quota."}}'
)


async def _answer_without_quota(peer: Peer) -> None:
    await peer.accept()
    await peer.say(CREATED, QUOTA)
    await peer.read_to_end()


async def _open(model: OpenAIRealtime) -> None:
    async with open_session(model):
        await trio.sleep(1)


@pytest.mark.parametrize("attempt", range(8))
async def test_an_error_right_behind_the_first_event_is_heard(
    attempt: int, autojump_clock: trio.testing.MockClock
) -> None:
    """It is read before or after the connection serves, as tasks happen to run."""
    async with playing(_answer_without_quota) as line:
        model = OpenAIRealtime(api_key="sk-test", connect=line.connect)
        with pytest.raises(ServerError, match="quota"):
            await _open(model)
