"""Who gets the one response slot, when several want it at once or things come late."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, realtime_stage, until
from streams import always, at_rest, audio_of, overlap, say, sent, text_of
from trialogue import ResponseBusy, ServerError
from trialogue.dialects.options import ServerVAD, SessionOptions
from trialogue.realtime.notices import ErrorNotice
from trialogue.testing import (
    Network,
    Pause,
    Say,
    Turn,
    Utterances,
    close,
    cut,
    late,
    lose,
    quiet,
    reject,
    swallow,
)

if TYPE_CHECKING:
    from trialogue.realtime.session import RealtimeSession


async def generated(session: RealtimeSession, **how: Any) -> tuple[str, str]:
    """Ask with `generate_reply`; return how it ended and what was said."""
    outcome = await session.generate_reply(**how)
    return outcome.outcome, outcome.text


async def streamed(session: RealtimeSession, **how: Any) -> tuple[str, str]:
    """The same with `open_reply`; the words are those that were streamed."""
    async with session.open_reply(**how) as reply:
        words = await text_of(reply)
        return (await reply.outcome()).outcome, words


both = pytest.mark.parametrize("ask", [generated, streamed])


def vad_answers(turn: Turn) -> Any:
    """What turn detection begins takes a while; what the program asks for is short."""
    if turn.asked_by == "vad":
        return Say("By itself.", ms=4000)
    return Say("As you asked.", ms=500)


class Spoken:
    """A stage on which the user can be heard by turn detection."""

    def __init__(self, one_way: float = 0.05) -> None:
        self.clips = Utterances()
        self.server = {
            "utterances": self.clips,
            "network": Network(one_way=one_way),
        }
        self.turn = self.clips.say("Hello?", 600)

    def stage(self) -> Any:
        options = SessionOptions(turn_detection=ServerVAD())
        return realtime_stage(vad_answers, server=self.server, options=options)


# --- a response that nobody here asked for ------------------------------------


@both
@pytest.mark.behaviour("R1", "R10")
async def test_a_create_that_meets_an_unseen_response_is_queued_again(
    autojump_clock: trio.testing.MockClock, ask: Any
) -> None:
    """No error; the reply comes after the other one, whole."""
    scene = Spoken()
    async with scene.stage() as (server, session), collecting(session) as events:
        await until(lambda: session.settled)
        server.inject(
            late("input_audio_buffer.speech_started", seconds=1.5),
            late("input_audio_buffer.speech_stopped", seconds=1.5),
            late("input_audio_buffer.committed", seconds=1.5),
            late("response.created", seconds=1.5),
        )
        session.push_audio(scene.turn + quiet(800))
        await until(lambda: server.connections[0].responses)
        with trio.fail_after(60):
            assert await ask(session) == ("completed", "As you asked.")
        codes = [e.event["error"]["code"] for e in server.connections[0].find("error")]
        assert codes == ["conversation_already_has_active_response"]
        asked_by = [r.asked_by for r in server.connections[0].responses]
        assert asked_by == ["vad", "client"]
        assert not overlap(server)
        assert not [e for e in events if isinstance(e, ErrorNotice)]
        await at_rest(session)


@pytest.mark.behaviour("R1")
async def test_a_conflict_raises_in_the_stream_on_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`if_busy="raise"`: it could be asked for, so that the streams raise it."""
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        code = "conversation_already_has_active_response"
        server.inject(reject("response.create", code=code))
        async with session.open_reply(if_busy="raise") as reply:
            with pytest.raises(ResponseBusy) as caught:
                await text_of(reply)
        assert caught.value.code == code
        assert len(sent(server, "response.create")) == 1
        await at_rest(session)


@both
@pytest.mark.behaviour("R10", "U1")
async def test_while_the_user_speaks_the_turns_own_response_serves(
    autojump_clock: trio.testing.MockClock, ask: Any
) -> None:
    """Under automatic turn taking nothing is asked for; the caller gets the answer."""
    scene = Spoken()
    async with scene.stage() as (server, session):
        await until(lambda: session.settled)
        session.push_audio(scene.turn)
        await until(lambda: session.user_has_the_floor)
        results: list[tuple[str, str]] = []

        async def wait() -> None:
            results.append(await ask(session))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.sleep(0.3)
                session.push_audio(quiet(800))
        assert results == [("completed", "By itself.")]
        assert not sent(server, "response.create")
        assert len(server.connections[0].responses) == 1
        await at_rest(session)


@pytest.mark.behaviour("R6", "U3")
async def test_leaving_a_block_that_the_turns_response_serves_cuts_that_response(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scene = Spoken()
    async with scene.stage() as (server, session):
        await until(lambda: session.settled)
        session.push_audio(scene.turn)
        await until(lambda: session.user_has_the_floor)
        async with session.open_reply() as reply:
            session.push_audio(quiet(800))
            await anext(reply.audio())
        await at_rest(session)
        [record] = server.connections[0].responses
        assert (record.asked_by, record.status) == ("vad", "cancelled")
        [cancel] = sent(server, "response.cancel")
        assert cancel["response_id"] == record.id
        assert len(sent(server, "conversation.item.truncate")) == 1


@both
@pytest.mark.behaviour("R10")
async def test_a_turns_response_that_slips_in_between_two_replies_goes_first(
    autojump_clock: trio.testing.MockClock, ask: Any
) -> None:
    """The second was queued before the user spoke; it comes, and never in between."""
    scene = Spoken()
    async with scene.stage() as (server, session):
        await until(lambda: session.settled)
        session.push_audio(scene.turn + quiet(900))
        await until(lambda: session.open_work["active"])
        results: list[tuple[str, str]] = []

        async def wait() -> None:
            results.append(await ask(session))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                nursery.start_soon(wait)
        assert results == [("completed", "As you asked.")] * 2
        asked_by = [r.asked_by for r in server.connections[0].responses]
        assert asked_by == ["vad", "client", "client"]
        assert not overlap(server)


# --- several at once ----------------------------------------------------------


@pytest.mark.behaviour("R10")
async def test_two_streams_opened_at_once_are_never_interleaved(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each gets its own reply, whole, one after the other."""
    numbers = iter(range(10))

    def brain(turn: Turn) -> Any:
        return Say(f"Number {next(numbers)}.", ms=2000)

    line = {"network": Network(one_way=0.02)}
    async with realtime_stage(brain, server=line) as (server, session):
        got: list[tuple[str, str, int]] = []

        async def one(name: str) -> None:
            async with session.open_reply(instructions=name) as reply:
                sound = len(await audio_of(reply)) // 48
                got.append((name, await text_of(reply), sound))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for name in ("one", "two", "three"):
                    nursery.start_soon(one, name)
        assert sorted(text for _, text, _ in got) == [f"Number {n}." for n in range(3)]
        assert {ms for *_, ms in got} == {2000}
        overrides = [r.override for r in server.connections[0].responses]
        assert overrides == [name for name, *_ in got]
        assert not overlap(server)
        assert not server.connections[0].find("error")
        await at_rest(session)


@pytest.mark.behaviour("R6", "R10")
async def test_of_two_streams_the_first_left_early_makes_room_for_the_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(
        say(ms=20_000), server={"network": Network(one_way=0.05)}
    ) as (server, session):
        await until(lambda: session.settled)
        with trio.fail_after(60):
            async with session.open_reply() as first:
                await anext(first.audio())
                async with session.open_reply() as second:
                    # The inner one waits for the outer: only leaving makes room.
                    with trio.move_on_after(0.2) as patience:
                        await anext(second.audio())
            assert patience.cancelled_caught
            await at_rest(session)
        assert len(sent(server, "response.create")) == 1
        assert not overlap(server)


# --- what frees the slot ------------------------------------------------------


@both
@pytest.mark.behaviour("R1", "R7", "C2")
@pytest.mark.parametrize(
    ("fault", "connections"),
    [
        (None, 1),
        (reject("response.create", code="server_error"), 1),
        (swallow("response.created"), 1),
        (lose("response.create"), 1),
        (cut(after="response.created"), 2),
        (close(1011, after="response.created"), 2),
        (swallow("response.done"), 2),
    ],
    ids=["done", "rejected", "uncreated", "lost", "cut", "closed", "silent"],
)
async def test_whatever_ends_a_reply_frees_the_slot(
    autojump_clock: trio.testing.MockClock, ask: Any, fault: Any, connections: int
) -> None:
    """Its end, a refusal, the connection's end, 15 s of silence: the next is made."""
    faults = [] if fault is None else [fault]
    async with realtime_stage(say(), server={"faults": faults}) as (server, session):
        await until(lambda: session.settled)
        began = trio.current_time()
        with trio.fail_after(60):
            with suppress(ServerError):  # the one that is rejected
                await ask(session)
            assert trio.current_time() - began < 17
            assert await ask(session) == ("completed", "Hello there.")
            await at_rest(session)
        assert len(server.connections) == connections
        assert not overlap(server)


@pytest.mark.behaviour("R9")
async def test_a_stream_whose_response_falls_silent_ends_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """15 s without an event, after something was heard: nobody waits without end."""
    brain = always([Say("Well.", ms=300), Pause(3000), Say("So.")])
    async with realtime_stage(brain) as (server, session):
        await until(lambda: session.settled)
        began = trio.current_time()
        with trio.fail_after(60):
            async with session.open_reply() as reply:
                assert len(await audio_of(reply)) == 300 * 48
                assert (await reply.outcome()).outcome == "lost"
            assert trio.current_time() - began == pytest.approx(15, abs=1.5)
            await until(lambda: session.settled)
            await at_rest(session)
        assert len(server.connections) == 2


@both
@pytest.mark.behaviour("R7")
async def test_a_reply_whose_beginning_was_never_announced_is_its_callers_all_the_same(
    autojump_clock: trio.testing.MockClock, ask: Any
) -> None:
    faults = [swallow("response.created"), swallow("rate_limits.updated", nth=None)]
    async with realtime_stage(say(), server={"faults": faults}) as (_, session):
        with trio.fail_after(60):
            first, second = await ask(session), await ask(session)
        assert first == second == ("completed", "Hello there.")
        await at_rest(session)


@both
@pytest.mark.behaviour("R10")
async def test_a_busy_session_with_out_of_band_replies_does_not_wait_for_them(
    autojump_clock: trio.testing.MockClock, ask: Any
) -> None:
    """Nor they for it: three beside, one after another in the conversation."""
    line = {"network": Network(one_way=0.02)}
    async with realtime_stage(say(ms=3000), server=line) as (server, session):
        await until(lambda: session.settled)
        results: list[tuple[str, str]] = []

        async def wait(**how: Any) -> None:
            results.append(await ask(session, **how))

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for apart in (True, False, True, False, True):
                    nursery.start_soon(partial(wait, out_of_band=apart))
        assert results == [("completed", "Hello there.")] * 5
        assert not overlap(server)
        beside = [r for r in server.connections[0].responses if not r.in_conversation]
        assert len({r.created for r in beside}) == 1
        await at_rest(session)
