"""Replaying a recorded session: frame for frame, and what happens to who departs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from by_hand import dialled
from stage import KELLY, SUNNY, Greeter, Line, until
from trialogue import (
    Agent,
    OpenAIRealtime,
    open_agent_session,
    open_session,
)
from trialogue.audio import MemoryInput, MemoryOutput
from trialogue.testing import (
    Call,
    Network,
    ReplayMismatch,
    Reply,
    Say,
    Turn,
    Utterances,
    WireTrace,
    cut,
    in_virtual_time,
    load_recording,
    open_realtime_server,
    record,
    reject,
    replay,
    seeded,
    swallow,
)
from trialogue.testing.machine.matching import Difference, Matching, made_by_clients
from trialogue.testing.serve import log_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trialogue import RealtimeSession
    from trialogue.testing import Fault, RealtimeServer

CLIPS = Utterances()
WEATHER = CLIPS.say("How is the weather?", 1000)
OSLO = CLIPS.say("In Oslo.", 700)
THANKS = CLIPS.say("Thanks, enough.", 600)


def weather_brain(turn: Turn) -> Reply:
    """Kelly hands over, Sunny looks the weather up and talks for long about it."""
    if turn.output is not None and "Oslo" in turn.output:
        return Say("It is sunny in Oslo, and will be.", ms=9000)
    if KELLY in turn.instructions and "weather" in turn.user_text:
        return [Say("One moment."), Call("transfer_to_weather")]
    if SUNNY in turn.instructions and "Oslo" in turn.user_text:
        return Call("lookup_weather", {"location": "Oslo"})
    return Say("Sunny here.")


async def converse(
    model: OpenAIRealtime, path: Path, *, seed: int = 0, agent: Agent | None = None
) -> bytes:
    """Hold the conversation, record it, and return what was heard of it."""
    microphone, speaker = MemoryInput(), MemoryOutput()
    async with (
        record(path) as recording,
        open_agent_session(
            model, audio=(microphone, speaker), wire_log=recording, seed=seed
        ) as session,
        trio.open_nursery() as nursery,
    ):
        line = Line(microphone)
        nursery.start_soon(line.run)
        nursery.start_soon(session.run, agent or Greeter())
        began = trio.current_time()
        line.say(WEATHER, began + 1)
        line.say(OSLO, began + 7)
        line.say(THANKS, began + 10.5)  # in the middle of the answer
        await trio.sleep_until(began + 18.003)
        nursery.cancel_scope.cancel()
    return bytes(speaker.pcm)


async def first(path: Path, **options: Any) -> bytes:
    async with open_realtime_server(
        weather_brain, utterances=CLIPS, **options
    ) as server:
        return await converse(server.model(), path)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conversation with a handoff, a tool call and a barge-in, recorded."""
    path = tmp_path_factory.mktemp("talk") / "talk.jsonl"
    in_seeded_time(first, path)
    return path


def in_seeded_time(main: Any, *args: Any) -> Any:
    """Run with a schedule that is the same each time, in virtual time."""
    with seeded(1):
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(main, *args, clock=clock)


# --- frame for frame -----------------------------------------------------------------


def test_the_recorded_conversation_has_all_that_is_hard(talk: Path) -> None:
    """A handoff, a tool call, and speech that is cut."""
    trace = WireTrace(load_recording(talk))

    trace.assert_no_error()
    trace.assert_acknowledged()
    trace.assert_sent("session.update", session={"instructions": SUNNY}, times=1)
    outputs = trace.sent(
        "conversation.item.create", item={"type": "function_call_output"}
    )
    assert len(outputs) == 2
    (truncated,) = trace.sent("conversation.item.truncate")
    assert 500 < truncated.event["audio_end_ms"] < 8500


def test_a_recorded_conversation_replays_frame_for_frame(
    talk: Path, tmp_path: Path
) -> None:
    """Byte for byte, moment for moment: sound, ids and all."""
    again = tmp_path / "again.jsonl"

    async def main() -> bytes:
        async with replay(talk, audio=True) as server:
            return await converse(server.model(), again)

    heard = in_seeded_time(main)

    assert again.read_text() == talk.read_text()
    assert heard == in_seeded_time(first, tmp_path / "first.jsonl")


@pytest.mark.parametrize("seed", [2, 3])
def test_ids_of_another_run_take_the_place_of_those_recorded(
    talk: Path, tmp_path: Path, seed: int
) -> None:
    """The client makes other ids up; with these in place, all is the same."""
    again = tmp_path / "again.jsonl"

    async def main() -> bytes:
        async with replay(talk) as server:
            return await converse(server.model(), again, seed=seed)

    in_seeded_time(main)

    before, after = load_recording(talk), load_recording(again)
    matching = Matching(
        made_by_clients((e.direction, e.event) for e in WireTrace(before).entries)
    )
    asked, asked_again = WireTrace(before).sent(), WireTrace(after).sent()
    assert [e.event.get("event_id") for e in asked] != [
        e.event.get("event_id") for e in asked_again
    ]
    assert len(asked) == len(asked_again)
    for one, other in zip(asked, asked_again, strict=True):
        assert matching.difference(one.event, other.event) is None
    told = [matching.served(e.event) for e in WireTrace(before).received()]
    assert told == [dict(e.event) for e in WireTrace(after).received()]


# --- simple conversations ------------------------------------------------------------


async def ask(session: RealtimeSession, words: str = "Hi.") -> str:
    await session.send_message(words)
    async with session.open_reply() as reply:
        return (await reply.outcome()).text


async def ask_all(path: Path, *words: str, fault: Fault | None = None) -> None:
    """Ask a replay, strictly."""
    async with replay(path) as server:
        if fault is not None:
            server.inject(fault)
        async with open_session(server.model(), instructions="Be brief.") as session:
            for question in words:
                await ask(session, question)


@asynccontextmanager
async def recorded(
    path: Path, *, instructions: str = "Be brief.", **options: Any
) -> AsyncIterator[tuple[RealtimeServer, RealtimeSession]]:
    async with (
        open_realtime_server(lambda turn: Say(turn.user_text), **options) as server,
        record(path) as recording,
        open_session(
            server.model(), instructions=instructions, wire_log=recording
        ) as session,
    ):
        yield server, session


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two questions in writing, and their answers, with ids as they happen to be."""
    path = tmp_path_factory.mktemp("short") / "short.jsonl"

    @in_virtual_time
    async def make() -> None:
        async with recorded(path) as (_, session):
            await ask(session, "One?")
            await ask(session, "Two?")

    make()
    return path


@in_virtual_time
async def test_a_program_that_does_the_same_is_told_the_same(short: Path) -> None:
    async with (
        replay(short) as server,
        open_session(server.model(), instructions="Be brief.") as session,
    ):
        assert await ask(session, "One?") == "One?"
        assert await ask(session, "Two?") == "Two?"


@in_virtual_time
async def test_what_is_late_is_answered_as_late(short: Path) -> None:
    """The pause between a question and its answer is the one that was recorded."""
    pauses: list[float] = []
    for pause in (0.0, 77.0):
        async with (
            replay(short) as server,
            open_session(server.model(), instructions="Be brief.") as session,
        ):
            await trio.sleep(pause)
            began = trio.current_time()
            await ask(session, "One?")
            pauses.append(trio.current_time() - began)
            await ask(session, "Two?")

    assert pauses[0] > 0.05
    assert pauses[1] == pytest.approx(pauses[0])


@in_virtual_time
async def test_other_instructions_are_a_mismatch_that_names_the_field(
    short: Path,
) -> None:
    with pytest.raises(ReplayMismatch) as wrong:
        async with (
            replay(short) as server,
            open_session(server.model(), instructions="Be long."),
        ):
            await trio.sleep_forever()

    mismatch = wrong.value
    assert mismatch.difference == Difference(
        "session.instructions", "Be brief.", "Be long."
    )
    assert (mismatch.connection, mismatch.frame) == (0, 0)
    first, *rest = str(mismatch).splitlines()
    assert first == (
        "the client's session.update is not the one that was recorded (frame 0 of "
        "connection 0)"
    )
    assert rest[0] == ("  session.instructions: expected 'Be brief.', got 'Be long.'")
    assert rest[1].startswith('expected  {"type":"session.update"')
    assert rest[2].startswith('got       {"type":"session.update"')
    assert rest[3] == "before    nothing"


@in_virtual_time
async def test_another_request_is_a_mismatch_that_shows_both(short: Path) -> None:
    with pytest.raises(ReplayMismatch) as wrong:
        async with (
            replay(short) as server,
            open_session(server.model(), instructions="Be brief.") as session,
            session.open_reply() as reply,
        ):
            await reply.outcome()

    assert wrong.value.expected is not None
    assert wrong.value.expected["type"] == "conversation.item.create"
    assert wrong.value.got is not None
    assert wrong.value.got["type"] == "response.create"
    assert str(wrong.value).endswith("before    session.update")


@in_virtual_time
async def test_who_stops_early_has_departed(short: Path) -> None:
    with pytest.raises(ReplayMismatch, match="the recording goes on") as wrong:
        async with (
            replay(short) as server,
            open_session(server.model(), instructions="Be brief.") as session,
        ):
            await ask(session, "One?")

    assert wrong.value.got is None


@in_virtual_time
async def test_who_goes_on_has_departed(short: Path) -> None:
    with pytest.raises(ReplayMismatch, match="the client goes on") as wrong:
        await ask_all(short, "One?", "Two?", "Three?")

    assert wrong.value.expected is None


@in_virtual_time
async def test_who_never_connects_has_departed(short: Path) -> None:
    with pytest.raises(ReplayMismatch, match="1 connections were recorded"):
        async with replay(short):
            pass


@in_virtual_time
async def test_the_blocks_own_failure_is_raised_as_it_is(short: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with replay(short):
            raise ZeroDivisionError


@in_virtual_time
async def test_a_lenient_replay_minds_no_words(short: Path) -> None:
    """Other instructions, other questions: the answers are those that were recorded."""
    async with (
        replay(short, mode="lenient") as server,
        open_session(server.model(), instructions="Be long.") as session,
    ):
        await session.update_session(instructions="Be longer still.")
        assert await ask(session, "Uno?") == "One?"
        assert await ask(session, "Dos?") == "Two?"


@in_virtual_time
async def test_a_replay_that_refuses_something_on_request(short: Path) -> None:
    async with (
        replay(short, mode="lenient") as server,
        open_session(server.model(), instructions="Be brief.") as session,
    ):
        server.inject(reject("conversation.item.create", message="Not now."))
        assert not (await session.send_message("One?")).ok
        assert await ask(session, "One?") == "One?"


@in_virtual_time
async def test_a_lenient_replay_tells_nothing_ahead_of_its_cause(short: Path) -> None:
    async with (
        replay(short, mode="lenient") as server,
        open_session(server.model(), instructions="Be brief.") as session,
    ):
        await trio.sleep(1000)
        assert not WireTrace(server).received("conversation.item.added")
        assert await ask(session, "One?") == "One?"
        await trio.sleep(1000)
        assert len(WireTrace(server).received("response.created")) == 1


# --- connections ---------------------------------------------------------------------


@in_virtual_time
async def test_a_lost_connection_is_lost_again(tmp_path: Path) -> None:
    path = tmp_path / "lost.jsonl"

    async def program(session: RealtimeSession, server: RealtimeServer) -> str:
        await ask(session, "One?")
        await until(lambda: len(server.connections) == 2 and server.live)
        return await ask(session, "Two?")

    async with recorded(path, faults=[cut(after="response.done")]) as (server, session):
        assert await program(session, server) == "Two?"
    async with (
        replay(path) as replaying,
        open_session(replaying.model(), instructions="Be brief.") as session,
    ):
        assert await program(session, replaying) == "Two?"

    assert next(one.close_code for one in replaying.connections) == 1006


@in_virtual_time
async def test_connections_that_replace_one_another_are_told_apart(
    tmp_path: Path,
) -> None:
    path = tmp_path / "restarted.jsonl"

    async def program(session: RealtimeSession) -> tuple[str, str]:
        first = await ask(session, "One?")
        await session.restart()
        await trio.sleep(10)
        return first, await ask(session, "Two?")

    async with recorded(path) as (server, session):
        assert await program(session) == ("One?", "Two?")
    async with (
        replay(path) as replaying,
        open_session(replaying.model(), instructions="Be brief.") as session,
    ):
        assert await program(session) == ("One?", "Two?")

    for mine, theirs in zip(replaying.connections, server.connections, strict=True):
        assert mine.types("in") == theirs.types("in")
        assert mine.types("out") == theirs.types("out")


@in_virtual_time
async def test_one_connection_too_many_is_a_mismatch(short: Path) -> None:
    async def twice() -> None:
        async with replay(short) as server:
            for _ in range(2):
                async with open_session(
                    server.model(), instructions="Be brief."
                ) as session:
                    await ask(session, "One?")
                    await ask(session, "Two?")

    with pytest.raises(ReplayMismatch, match="one connection more"):
        await twice()


@in_virtual_time
async def test_faults_can_be_added_to_a_replay(short: Path) -> None:
    """What the client does then was never recorded: it is a mismatch."""
    with pytest.raises(ReplayMismatch, match="one connection more"):
        await ask_all(short, "One?", fault=cut(before="response.create"))


@in_virtual_time
async def test_a_binary_frame_is_a_mismatch(short: Path) -> None:
    """It is none of the protocol, and no recording has one."""

    async def send(server: RealtimeServer) -> None:
        async with dialled(server) as client:
            await client.read()
            await client.ws.send_message(b"sound")
            await until(lambda: server.mismatch is not None)  # type: ignore[attr-defined]

    with pytest.raises(ReplayMismatch, match="a binary frame") as wrong:
        async with replay(short) as server:
            await send(server)
    assert wrong.value.frame == 0
    async with replay(short, mode="lenient") as server:
        async with dialled(server) as client:
            await client.read()
            await client.ws.send_message(b"sound")
            await trio.sleep(1)
        assert not WireTrace(server).received("error")


async def test_it_is_served_over_tcp_too(short: Path) -> None:
    """With a client that has nothing of it but an address, on a real clock."""
    async with replay(short, port=0) as server:
        model = OpenAIRealtime(api_key="any", base_url=server.url)
        with trio.fail_after(30):
            async with open_session(model, instructions="Be brief.") as session:
                assert await ask(session, "One?") == "One?"
                assert await ask(session, "Two?") == "Two?"


# --- logs of a server ----------------------------------------------------------------


@in_virtual_time
async def test_the_log_of_a_server_is_a_recording(tmp_path: Path) -> None:
    """Its sound was left out: silence of the same length is heard. Keys are in it."""
    instructions = "Be brief, and never say sk-sentinel0123456789."
    path = tmp_path / "server.jsonl"
    with path.open("w") as file:
        async with (
            open_realtime_server(
                lambda turn: Say(turn.user_text, ms=500),
                on_entry=log_to(file),
                network=Network(0.02),
                faults=[swallow("rate_limits.updated", nth=None)],
            ) as server,
            open_session(server.model(), instructions=instructions) as session,
        ):
            await ask(session, "One?")

    async with (
        replay(path) as replaying,
        open_session(replaying.model(), instructions=instructions) as session,
    ):
        await session.send_message("One?")
        async with session.open_reply() as reply:
            pcm = b"".join([chunk async for chunk in reply.audio()])
            assert (await reply.outcome()).text == "One?"

    assert pcm == bytes(24_000)
    # What a fault kept from the client then is not sent now.
    assert not WireTrace(replaying).received("rate_limits.updated")


# --- sound ---------------------------------------------------------------------------


@in_virtual_time
async def test_sound_is_held_against_the_recording_on_request(tmp_path: Path) -> None:
    path = tmp_path / "sound.jsonl"

    async def send(
        server: RealtimeServer, session: RealtimeSession, pcm: bytes
    ) -> None:
        session.push_audio(pcm)
        await until(lambda: WireTrace(server).sent("input_audio_buffer.append"))

    async with recorded(path) as (server, session):
        await send(server, session, b"\1\0" * 480)
    async with (
        replay(path) as server,
        open_session(server.model(), instructions="Be brief.") as session,
    ):
        await send(server, session, b"\2\0" * 480)
    with pytest.raises(ReplayMismatch) as wrong:
        async with (
            replay(path, audio=True) as server,
            open_session(server.model(), instructions="Be brief.") as session,
        ):
            await send(server, session, b"\2\0" * 480)

    assert wrong.value.difference is not None
    assert wrong.value.difference.path == "audio"


# --- ids, without a wire -------------------------------------------------------------


def test_a_client_id_is_matched_once_and_for_all() -> None:
    matching = Matching({"mine", "other"})

    assert matching.difference({"item_id": "mine"}, {"item_id": "now"}) is None
    assert matching.difference({"item_id": "mine"}, {"item_id": "now"}) is None
    assert matching.difference({"item_id": "mine"}, {"item_id": "new"}) == Difference(
        "item_id", "mine", "new"
    )
    assert matching.difference({"item_id": "other"}, {"item_id": "now"}) == Difference(
        "item_id", "other", "now"
    )


def test_an_id_of_the_servers_is_no_free_choice() -> None:
    events: list[tuple[str, dict[str, Any]]] = [
        ("out", {"item": {"id": "theirs"}}),
        ("in", {"item_id": "theirs", "event_id": "mine"}),
    ]
    matching = Matching(made_by_clients(events))

    assert matching.difference({"item_id": "theirs"}, {"item_id": "x"}) is not None
    assert matching.difference({"event_id": "mine"}, {"event_id": "x"}) is None


def test_what_is_served_names_the_ids_of_this_run() -> None:
    matching = Matching({"item_1"})
    assert matching.difference({"item_id": "item_1"}, {"item_id": "item_9"}) is None

    error = {"message": "There is no 'item_1'.", "event_id": "item_1", "code": "item_1"}
    assert matching.served({"error": error}) == {
        "error": {
            "message": "There is no 'item_9'.",
            "event_id": "item_9",
            "code": "item_1",
        }
    }


@pytest.mark.parametrize(
    ("then", "now", "path"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        ({"a": 1}, {"a": 1, "b": 2}, "b"),
        ({"a": 1, "b": 2}, {"a": 1}, "b"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "a[0].b"),
        ({"a": [1]}, {"a": [1, 2]}, "a"),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": None}, {}, "a"),
    ],
)
def test_the_first_difference_is_named(then: Any, now: Any, path: str) -> None:
    difference = Matching(set()).difference(then, now)
    assert difference is not None
    assert difference.path == path
