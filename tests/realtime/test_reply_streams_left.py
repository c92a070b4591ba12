"""Leaving a streamed reply early: cancelled by id, and cut at what was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import realtime_stage, until
from streams import TEXT, always, at_rest, audio_of, held_ms, overlap, say, sent
from trialogue import Message
from trialogue.dialects.options import ServerVAD, SessionOptions
from trialogue.testing import Call, CancelAtStep, Network, Say, Utterances, cut, late

if TYPE_CHECKING:
    from trialogue import ReplyStream
    from trialogue.realtime.session import RealtimeSession
    from trialogue.testing import RealtimeServer

SLOW = {"network": Network(one_way=0.1)}


async def take(reply: ReplyStream, ms: int) -> int:
    """Listen to at least so much; return how much it was."""
    heard = 0
    async for pcm in reply.audio():
        heard += len(pcm) // 48
        if heard >= ms:
            break
    return heard


class _OwnFaultError(Exception):
    """The program's own."""


# --- what was heard -----------------------------------------------------------


@pytest.mark.behaviour("R5", "U3", "R9")
@pytest.mark.parametrize("way", ["break", "raise", "cancel"])
async def test_leaving_early_cancels_by_id_and_truncates_at_what_was_taken(
    autojump_clock: trio.testing.MockClock, way: str
) -> None:
    """However the block is left; the record and the server agree with the listener."""
    async with realtime_stage(say("One two three four.", ms=8000)) as (server, session):
        await until(lambda: session.settled)
        heard = 0
        with trio.fail_after(30), trio.CancelScope() as scope:
            try:
                async with session.open_reply() as reply:
                    heard = await take(reply, 500)
                    if way == "raise":
                        raise _OwnFaultError
                    if way == "cancel":
                        scope.cancel()
                        await trio.lowlevel.checkpoint()
            except _OwnFaultError:
                assert way == "raise"
        await at_rest(session)
        assert scope.cancelled_caught == (way == "cancel")
        [record] = server.connections[0].responses
        [cancel] = sent(server, "response.cancel")
        assert cancel["response_id"] == record.id
        [truncate] = sent(server, "conversation.item.truncate")
        assert truncate["audio_end_ms"] == heard
        [item] = session.chat_ctx.items
        assert isinstance(item, Message)
        assert item.heard_ms == heard
        assert held_ms(server) == {item.id: heard}
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("U3")
async def test_a_reply_of_which_nothing_was_taken_is_deleted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Cut while it is made, and left alone after it had ended: neither was heard."""
    async with realtime_stage(say(ms=2000)) as (server, session):
        await until(lambda: session.settled)
        for rest in (0.1, 5.0):
            async with session.open_reply():
                await trio.sleep(rest)
            await at_rest(session)
        first, second = server.connections[0].responses
        assert (first.status, second.status) == ("cancelled", "completed")
        deleted = [d["item_id"] for d in sent(server, "conversation.item.delete")]
        assert deleted == [*first.item_ids, *second.item_ids]
        assert not sent(server, "conversation.item.truncate")
        assert session.chat_ctx.ids == ()
        assert held_ms(server) == {}


@pytest.mark.behaviour("U3")
async def test_a_reply_that_had_ended_is_cut_where_the_listener_stopped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Servers make speech faster than it is heard: the end of it is at the server."""
    two = [Say("First of all.", ms=1000), Say("And then.", ms=600)]
    async with realtime_stage(always(two)) as (server, session):
        async with session.open_reply() as reply:
            sound = reply.audio()
            await trio.sleep(3)
            heard = len(await anext(sound)) // 48
        await at_rest(session)
        assert not sent(server, "response.cancel")
        first, second = server.connections[0].responses[0].item_ids
        [truncate] = sent(server, "conversation.item.truncate")
        assert (truncate["item_id"], truncate["audio_end_ms"]) == (first, heard)
        [delete] = sent(server, "conversation.item.delete")
        assert delete["item_id"] == second
        assert held_ms(server) == {first: heard}


@pytest.mark.behaviour("U3", "R6")
async def test_a_message_that_begins_before_the_cancel_has_arrived_is_never_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The server goes on for a while: what it adds is taken out, the rest is cut."""
    two = [Say("First of all.", ms=2000), Say("And then.", ms=600)]
    faults = [late("response.cancel", seconds=5)]
    async with realtime_stage(always(two), server={"faults": faults}) as (
        server,
        session,
    ):
        await until(lambda: session.settled)
        async with session.open_reply() as reply:
            heard = await take(reply, 500)
        await at_rest(session)
        [record] = server.connections[0].responses
        assert record.status == "completed"
        first, second = record.item_ids
        assert held_ms(server) == {first: heard}
        assert session.chat_ctx.ids == (first,)
        [delete] = sent(server, "conversation.item.delete")
        assert delete["item_id"] == second


@pytest.mark.behaviour("U3")
@pytest.mark.parametrize(("played", "expected"), [(730, 730), (99_000, None), (0, 0)])
async def test_a_loudspeaker_says_how_far_it_has_played(
    autojump_clock: trio.testing.MockClock, played: int, expected: int | None
) -> None:
    """Its word counts instead of what was taken, and never past what has come."""
    async with realtime_stage(say(ms=1500)) as (server, session):
        async with session.open_reply() as reply:
            await audio_of(reply)
            reply.heard(played)
        await at_rest(session)
        cut_at = [t["audio_end_ms"] for t in sent(server, "conversation.item.truncate")]
        gone = sent(server, "conversation.item.delete")
        assert (cut_at, len(gone)) == (
            ([expected], 0) if expected else ([], int(expected == 0))
        )
        assert reply.heard_ms == min(played, 1500)


@pytest.mark.behaviour("U3")
async def test_who_reads_along_without_listening_keeps_what_was_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Left early it is cancelled; there is no position to cut it at."""
    async with realtime_stage(say("One two three four.", ms=8000)) as (server, session):
        await until(lambda: session.settled)
        async with session.open_reply() as reply:
            await anext(reply.text())
        await at_rest(session)
        assert len(sent(server, "response.cancel")) == 1
        assert not sent(server, "conversation.item.truncate")
        assert not sent(server, "conversation.item.delete")
        assert len(session.chat_ctx.items) == 1


@pytest.mark.behaviour("R5")
async def test_a_written_reply_left_early_is_cancelled_and_stays_as_far_as_it_got(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where nothing of it was read, it is taken out of the conversation."""
    words = "word " * 400
    async with realtime_stage(say(words), options=TEXT) as (server, session):
        await until(lambda: session.settled)
        async with session.open_reply() as reply:
            await anext(reply.text())
        await at_rest(session)
        [item] = session.chat_ctx.items
        assert isinstance(item, Message)
        assert 0 < len(item.text) < len(words)
        async with session.open_reply():
            await trio.sleep(0.1)
        await at_rest(session)
        assert session.chat_ctx.ids == (item.id,)
        assert [r.status for r in server.connections[0].responses] == ["cancelled"] * 2


async def test_the_outcome_takes_the_whole_reply(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody listened, somebody asked how it ended: nothing is cut."""
    async with realtime_stage(say(ms=2000)) as (server, session):
        async with session.open_reply() as reply:
            assert (await reply.outcome()).outcome == "completed"
        await at_rest(session)
        kinds = [e.type for e in server.connections[0].entries if e.direction == "in"]
        assert kinds == ["session.update", "response.create"]


async def test_after_the_block_its_streams_are_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say(ms=8000)) as (_, session):
        async with session.open_reply() as reply:
            heard = await take(reply, 200)
            sound, words = reply.audio(), reply.text()
        assert [piece async for piece in sound] == []
        assert [message.item_id async for message in reply.messages()] != []
        assert reply.heard_ms == heard
        assert (await reply.outcome()).outcome == "interrupted"
        await at_rest(session)
        before = [piece async for piece in words]
        assert before == [piece async for piece in reply.text()]


# --- before it was created ----------------------------------------------------


@pytest.mark.behaviour("R5", "R6")
async def test_left_before_it_was_created_it_is_cancelled_when_it_appears(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say(ms=4000), server=SLOW) as (server, session):
        await until(lambda: session.settled)
        async with session.open_reply():
            await trio.sleep(0.15)  # written, and not yet answered
        with trio.fail_after(30):
            async with session.open_reply(instructions="Again.") as again:
                assert len(await audio_of(again)) == 4000 * 48
            await at_rest(session)
        first, second = server.connections[0].responses
        assert (first.status, second.status) == ("cancelled", "completed")
        [cancel] = sent(server, "response.cancel")
        assert cancel["response_id"] == first.id
        assert session.chat_ctx.ids == tuple(second.item_ids)
        assert not overlap(server)


@pytest.mark.behaviour("R6")
async def test_left_while_queued_it_is_never_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say(ms=3000)) as (server, session):
        await until(lambda: session.settled)
        async with session.open_reply() as first:
            await anext(first.audio())
            async with session.open_reply():
                assert session.open_work["queued"] == 1
            assert session.open_work["queued"] == 0
            await first.outcome()
        assert len(sent(server, "response.create")) == 1
        await at_rest(session)


@pytest.mark.behaviour("R6")
async def test_a_response_that_comes_late_for_a_left_block_is_never_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [late("response.create", seconds=3.0)]
    async with realtime_stage(say(ms=8000), server={"faults": faults, **SLOW}) as (
        server,
        session,
    ):
        await until(lambda: session.settled)
        with trio.move_on_after(1.0):
            async with session.open_reply() as reply:
                await audio_of(reply)
        await until(lambda: sent(server, "response.cancel"), 10)
        await at_rest(session)
        assert session.chat_ctx.ids == ()
        assert (await session.generate_reply()).outcome == "completed"


# --- the user speaks ----------------------------------------------------------


@pytest.mark.behaviour("U3", "R9")
@pytest.mark.parametrize("made", [False, True])
async def test_the_users_voice_stops_the_sound_at_what_was_taken(
    autojump_clock: trio.testing.MockClock, made: bool
) -> None:
    """While it is made, and when it was complete but not yet heard to its end."""
    clips = Utterances()
    options = SessionOptions(turn_detection=ServerVAD(create_response=False))
    async with realtime_stage(
        say("One two three four.", ms=4000 if made else 30_000),
        server={"utterances": clips},
        options=options,
    ) as (server, session):
        await until(lambda: session.settled)
        heard = 0
        async with session.open_reply() as reply:
            sound = reply.audio()
            heard = len(await anext(sound)) // 48
            await trio.sleep(1.0)
            heard += len(await anext(sound)) // 48
            session.push_audio(clips.say("Stop!", 400))
            await until(lambda: server.connections[0].find("response.done"))
            await trio.sleep(0.5)
            assert [pcm async for pcm in sound] == []
            outcome = await reply.outcome()
        assert (outcome.outcome, outcome.heard_ms) == ("interrupted", heard)
        [message] = [i for i in session.chat_ctx.items if i.id in outcome.items[0].id]
        assert isinstance(message, Message)
        assert message.heard_ms == heard
        assert held_ms(server)[message.id] == heard


@pytest.mark.behaviour("R9", "U3")
async def test_an_interruption_ends_the_sound_and_tells_how_much_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`interrupt()`: cancelled by id, truncated; the words that came can be read."""
    async with realtime_stage(say("One two three four.", ms=8000)) as (server, session):
        await until(lambda: session.settled)
        async with session.open_reply() as reply:
            heard = await take(reply, 300)
            session.interrupt()
            assert await audio_of(reply) == b""
            outcome = await reply.outcome()
            said = "".join([text async for text in reply.text()])
        assert (outcome.outcome, outcome.heard_ms) == ("interrupted", heard)
        assert said
        assert "One two three four.".startswith(said.strip())
        await at_rest(session)
        assert len(sent(server, "response.cancel")) == 1
        assert list(held_ms(server).values()) == [heard]


# --- the connection is lost ---------------------------------------------------


@pytest.mark.behaviour("C2")
async def test_a_reply_lost_untouched_begins_anew_on_the_next_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its readers were waiting, or late: they get the second making, whole."""
    faults = [cut(after="response.output_audio.delta", nth=1, connection=0)]
    async with realtime_stage(
        always([Say("Once more.", ms=600), Call("look", {})]), server={"faults": faults}
    ) as (server, session):
        with trio.fail_after(60):
            async with session.open_reply() as reply:
                await until(lambda: len(server.connections) == 2)
                assert len(await audio_of(reply)) == 600 * 48
                assert [call.name async for call in reply.calls()] == ["look"]
                outcome = await reply.outcome()
        assert outcome.outcome == "completed"
        assert reply.response_id == server.connections[1].responses[0].id
        await at_rest(session)
        assert len(session.chat_ctx.items) == 2


@pytest.mark.behaviour("C2", "R9")
@pytest.mark.parametrize("how", ["audio", "text", "messages"])
async def test_a_reply_lost_in_part_gives_what_came_and_ends_lost(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    """What reached the program cannot be made anew."""
    faults = [cut(after="response.output_audio.delta", nth=8, connection=0)]
    async with realtime_stage(
        say("One two three four.", ms=8000), server={"faults": faults}
    ) as (server, session):
        with trio.fail_after(60):
            async with session.open_reply() as reply:
                taken = [one async for one in getattr(reply, how)()]
                outcome = await reply.outcome()
            assert taken
            assert outcome.outcome == "lost"
            await until(lambda: session.settled)
            assert (await session.generate_reply()).outcome == "completed"
            await at_rest(session)
        assert len(server.connections[1].responses) == 1


# --- at any step --------------------------------------------------------------


async def _one_run(step: int, stage: dict[str, Any]) -> CancelAtStep:
    async with realtime_stage(say(ms=400), **stage) as (server, session):
        await until(lambda: session.settled)
        heard = 0
        with trio.fail_after(60):
            with trio.CancelScope() as scope, CancelAtStep(step, scope) as sweep:
                async with session.open_reply() as reply:
                    async for pcm in reply.audio():
                        heard += len(pcm) // 48
                    await reply.outcome()
            async with session.open_reply() as again:
                whole = len(await audio_of(again)) // 48
                outcome = await again.outcome()
            await at_rest(session)
        assert (whole, outcome.outcome) == (400, "completed")
        _agrees(server, session, heard, again)
    return sweep


def _agrees(
    server: RealtimeServer, session: RealtimeSession, heard: int, again: ReplyStream
) -> None:
    """What the server holds is what was heard, and nothing went wrong on the way."""
    lengths = held_ms(server)
    assert list(lengths.values()) == ([heard] if heard else []) + [400]
    assert list(lengths) == list(session.chat_ctx.ids)
    assert not server.protocol_errors
    assert not overlap(server)
    assert len(server.connections) == 1
    codes = {e.event["error"]["code"] for e in server.connections[0].find("error")}
    # The cancel of a response that has just ended is a race, not an error.
    assert codes <= {"response_cancel_not_active"}


@pytest.mark.behaviour("R5", "R6", "U3")
@pytest.mark.parametrize("stage", [{}, {"server": {"network": Network(one_way=0.02)}}])
async def test_a_block_cancelled_at_any_step_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock, stage: dict[str, Any]
) -> None:
    """Queued, posted, created, heard in part, ended: the next reply is heard whole."""
    step = 0
    fired = True
    while fired:
        step += 1
        fired = (await _one_run(step, stage)).fired
    assert step > 40
