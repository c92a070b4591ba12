"""A reply is taken while it is made: words, sound, messages and calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, realtime_stage, until
from streams import (
    TEXT,
    always,
    at_rest,
    audio_of,
    held_ms,
    overlap,
    say,
    sent,
    text_of,
)
from trialogue import (
    ConfigurationError,
    ConversionError,
    FunctionCall,
    Message,
    ResponseBusy,
    ResponseFailed,
    ServerError,
    SessionClosed,
    StreamLimits,
    SubscriberLagged,
    TextContent,
)
from trialogue.realtime.notices import ErrorNotice
from trialogue.testing import Call, Fail, Network, Say, reject

if TYPE_CHECKING:
    from trialogue import ReplyStream

TWO_OF_EACH = always(
    [
        Say("First of all.", ms=400),
        Call("look", {"at": 1}),
        Say("And then.", ms=300),
        Call("touch", {"it": 2}),
    ]
)


@pytest.mark.behaviour("R12")
async def test_messages_and_calls_come_in_order_with_words_and_sound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Message by message, beside the flat streams of the whole reply."""
    async with realtime_stage(TWO_OF_EACH) as (server, session):
        messages: list[tuple[str, str, int]] = []
        calls: list[FunctionCall] = []
        whole: dict[str, Any] = {}

        async def by_message(reply: ReplyStream) -> None:
            async for message in reply.messages():
                words = "".join([text async for text in message.text()])
                sound = b"".join([pcm async for pcm in message.audio()])
                messages.append((message.item_id, words, len(sound) // 48))

        async def at_once(reply: ReplyStream) -> None:
            whole["text"], whole["pcm"] = await text_of(reply), await audio_of(reply)
            calls.extend([call async for call in reply.calls()])

        with trio.fail_after(30):
            async with session.open_reply() as reply:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(by_message, reply)
                    nursery.start_soon(at_once, reply)
                outcome = await reply.outcome()
        [record] = server.connections[0].responses
        first, _, second, _ = record.item_ids
        assert messages == [(first, "First of all.", 400), (second, "And then.", 300)]
        assert whole["text"] == "First of all.And then."
        assert len(whole["pcm"]) == 700 * 48
        assert [(c.name, c.arguments) for c in calls] == [
            ("look", '{"at": 1}'),
            ("touch", '{"it": 2}'),
        ]
        assert outcome.outcome == "completed"
        assert outcome.calls == tuple(calls)
        assert reply.response_id == outcome.response_id == record.id
        assert reply.usage == outcome.usage == session.usage
        await at_rest(session)
        assert held_ms(server) == {first: 400, second: 300}


async def test_the_first_words_come_long_before_the_reply_has_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say("One two three four.", ms=9000)) as (server, session):
        await until(lambda: session.settled)
        async with session.open_reply() as reply:
            before = (reply.response_id, reply.usage)
            async for _ in reply.audio():
                break
            assert before == (None, None)
            assert reply.response_id == server.connections[0].responses[0].id
            assert session.open_work["active"] == 1
            began = trio.current_time()
            await reply.outcome()
            assert trio.current_time() > began + 0.5


async def test_a_reader_that_comes_late_gets_everything_and_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also when the reply is long over; iterating again after the end ends at once."""
    async with realtime_stage(say(ms=500)) as (_, session):
        await until(lambda: session.settled)
        async with session.open_reply() as reply:
            await reply.outcome()
            words = reply.text()
            assert "".join([piece async for piece in words]) == "Hello there."
            assert [piece async for piece in words] == []
            assert len(await audio_of(reply)) == len(await audio_of(reply)) == 500 * 48
            assert [m.item_id async for m in reply.messages()] == list(
                session.chat_ctx.ids
            )


async def test_cancelling_an_iteration_loses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Cancelled every few milliseconds, it still gives each piece once, in order."""
    sound = bytes(range(1, 201)) * 240
    async with realtime_stage(always(Say("Go on.", sound))) as (_, session):
        heard = b""
        async with session.open_reply() as reply:
            reader, over = reply.audio(), False
            while not over:
                with trio.move_on_after(0.003):
                    try:
                        heard += await anext(reader)
                    except StopAsyncIteration:
                        over = True
        # The server's watermark takes the lowest bit of each sample.
        assert [a & ~1 for a in heard[::2]] == [a & ~1 for a in sound[::2]]


@pytest.mark.behaviour("X3")
async def test_a_slow_listener_misses_the_oldest_and_is_told_how_much(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The connection's reader never waits for it; other readers miss nothing."""
    limits = StreamLimits(audio_seconds=1.0, text_chars=8)
    async with realtime_stage(say("One two three four.", ms=3000)) as (_, session):
        await until(lambda: session.settled)
        async with session.open_reply(limits=limits) as reply:
            quick = 0

            async def listen() -> None:
                nonlocal quick
                quick = len(await audio_of(reply))

            sound, words = reply.audio(), reply.text()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await reply.outcome()
            rest = b"".join([pcm async for pcm in sound])
            kept = "".join([text async for text in words])
            assert quick == 3000 * 48
            assert len(rest) // 48 + sound.missed * 1000 == pytest.approx(3000)
            assert 500 < len(rest) // 48 <= 1000
            assert "One two three four.".endswith(kept)
            assert 0 < len(kept) <= 8
            assert len(kept) + words.missed == len("One two three four.")


@pytest.mark.behaviour("X3")
async def test_a_slow_listener_that_asked_to_be_told_is_told_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = StreamLimits(text_chars=4, on_overflow="raise")
    said = "One two three four."
    async with realtime_stage(say(said), options=TEXT) as (_, session):
        await until(lambda: session.settled)
        async with session.open_reply(limits=limits) as reply:
            await reply.outcome()
            words = reply.text()
            with pytest.raises(SubscriberLagged) as caught:
                await anext(words)
            kept = [text async for text in words]
            assert caught.value.missed + len("".join(kept)) == len(
                "One two three four."
            )


@pytest.mark.parametrize("limit", [{"audio_seconds": 0}, {"text_chars": 0}])
def test_a_bound_without_room_is_refused(limit: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="holds some audio and some text"):
        StreamLimits(**limit)


async def test_written_replies_stream_their_text_and_leave_no_trace_of_sound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say("Written down."), options=TEXT) as (server, session):
        async with session.open_reply() as reply:
            assert await text_of(reply) == "Written down."
            assert await audio_of(reply) == b""
        await at_rest(session)
        kinds = [e.type for e in server.connections[0].entries if e.direction == "in"]
        assert kinds == ["session.update", "response.create"]
        [item] = session.chat_ctx.items
        assert isinstance(item, Message)
        assert item.content == (TextContent("Written down."),)


@pytest.mark.behaviour("R11", "T1")
async def test_a_program_answers_calls_and_asks_for_the_next_reply(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Without agents: call, output, reply, all inside the first reply's block."""

    def brain(turn: Any) -> Any:
        return Say(f"It is {turn.output}.") if turn.output else Call("clock", {})

    async with realtime_stage(brain) as (server, session):
        with trio.fail_after(30):
            async with session.open_reply() as reply:
                async for call in reply.calls():
                    report = await session.send_tool_output(call, "noon")
                    assert report.ok
                async with session.open_reply() as answer:
                    assert await text_of(answer) == "It is noon."
                    await answer.outcome()
        await at_rest(session)
        assert not server.connections[0].find("error")
        kinds = [type(item).__name__ for item in session.chat_ctx.items]
        assert kinds == ["FunctionCall", "FunctionCallOutput", "Message"]


# --- how it fails -------------------------------------------------------------


@pytest.mark.behaviour("R9", "R1")
@pytest.mark.parametrize("how", ["text", "audio", "messages", "calls", "outcome"])
async def test_a_refused_reply_raises_in_whatever_is_asked_of_it(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        server.inject(reject("response.create", code="invalid_value"))
        async with collecting(session) as events:
            async with session.open_reply() as reply:
                asked = getattr(reply, how)()
                with pytest.raises(ServerError) as caught:
                    await (asked if how == "outcome" else anext(asked))
            assert caught.value.code == "invalid_value"
            assert not [e for e in events if isinstance(e, ErrorNotice)]
        await at_rest(session)
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("R9")
async def test_a_failed_reply_gives_what_came_and_then_raises(
    autojump_clock: trio.testing.MockClock,
) -> None:
    brain = always([Say("Well"), Fail("server_error", "Out of luck.")])
    async with realtime_stage(brain) as (_, session):
        words = ""
        with pytest.raises(ResponseFailed, match=r"Out of luck\."):  # noqa: PT012
            async with session.open_reply() as reply:
                async for piece in reply.text():
                    words += piece
        assert words == "Well"


@pytest.mark.behaviour("R9")
async def test_a_failure_that_nobody_asked_about_comes_out_of_the_block(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing is only logged; a block that fails by itself publishes it instead."""
    async with realtime_stage(always(Fail("server_error", "No."))) as (_, session):
        with pytest.raises(ResponseFailed, match="No"):
            async with session.open_reply():
                await trio.sleep(1)
        async with collecting(session) as events:
            with pytest.raises(KeyError):  # noqa: PT012
                async with session.open_reply():
                    await trio.sleep(1)
                    raise KeyError("the program's own")
            await trio.testing.wait_all_tasks_blocked()
            notices = [e for e in events if isinstance(e, ErrorNotice)]
            assert [n.code for n in notices] == ["server_error"]
        await at_rest(session)


@pytest.mark.behaviour("R1", "R10")
async def test_a_busy_session_refuses_skips_or_queues(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`if_busy` as in `generate_reply`: on entering, without a response, or later."""
    async with realtime_stage(say(ms=4000)) as (server, session):
        with trio.fail_after(60):
            async with session.open_reply() as first:
                await anext(first.audio())
                with pytest.raises(ResponseBusy):
                    async with session.open_reply(if_busy="raise"):
                        pytest.fail("the block began")
                async with session.open_reply(if_busy="skip") as skipped:
                    assert (await skipped.outcome()).outcome == "skipped"
                    assert await text_of(skipped) == ""
                async with session.open_reply() as second:
                    assert len(await audio_of(second)) == 4000 * 48
                await first.outcome()
        assert len(server.connections[0].responses) == 2
        assert not overlap(server)
        await at_rest(session)


async def test_a_reply_that_cannot_be_asked_for_raises_on_entering(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        with pytest.raises(ConversionError):
            async with session.open_reply(metadata={"trialogue": "taken"}):
                pytest.fail("the block began")
        assert not sent(server, "response.create")
        await at_rest(session)
    with pytest.raises(SessionClosed):
        async with session.open_reply():
            pytest.fail("the block began")


@pytest.mark.behaviour("R10")
async def test_out_of_band_replies_stream_beside_the_conversation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Their calls as well: nobody else is told of them, and nothing is written."""

    def brain(turn: Any) -> Any:
        if "n" in (turn.metadata or {}):
            return [Say("Noted.", ms=200), Call("note", {"mood": "fine"})]
        return Say("Hello there.", ms=9000)

    async with realtime_stage(brain, server={"network": Network(one_way=0.02)}) as (
        server,
        session,
    ):
        words = Message("item_in", "user", (TextContent("Summarise."),))
        with trio.fail_after(60):
            async with session.open_reply() as own:
                await anext(own.audio())
                async with session.open_reply(
                    out_of_band=True, input=[words], metadata={"n": "1"}
                ) as beside:
                    assert await text_of(beside) == "Noted."
                    assert [call.name async for call in beside.calls()] == ["note"]
                assert session.open_work["active"] == 1
                await own.outcome()
        assert len(session.chat_ctx.items) == 1
        await at_rest(session)
        assert not server.connections[0].find("error")
