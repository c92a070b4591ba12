"""Sizes are bounded, each with a documented bound, and what exceeds one is met."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from stage import on_stage, outputs, prompted, realtime_stage, running, until
from trialogue import (
    Agent,
    Backoff,
    ChatContext,
    ConfigurationError,
    ConnectionLost,
    ConversionError,
    History,
    Limits,
    Message,
    RunContext,
    ToolSpec,
    function_tool,
)
from trialogue.agents.events import HandoffFailed, ToolFailed, ToolFinished
from trialogue.conversation.items import (
    AudioTranscribed,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    OpaqueItem,
    TextContent,
)
from trialogue.dialects.commands import CreateItem, CreateResponse, UpdateSession
from trialogue.dialects.events import (
    CallReady,
    ItemDone,
    OutputText,
    OutputTextEnded,
    ResponseDone,
    TranscriptDelta,
    TranscriptDone,
)
from trialogue.realtime.bounding import WATCHED, Bounding
from trialogue.realtime.notices import AudioDropped, ConnectionEnded, ItemChanged
from trialogue.testing import Call, Say

SMALL = Limits(
    max_item_chars=100,
    max_argument_bytes=50,
    max_output_bytes=60,
    max_instruction_chars=40,
    max_tools=2,
)
TOOL = ToolSpec("look", "Look.", {"type": "object", "properties": {}})


def written(text: str, item_id: str = "msg_1") -> Message:
    return Message(item_id, "user", (TextContent(text),))


# --- what the program sends -------------------------------------------------------


@pytest.mark.parametrize("name", list(attrs.fields_dict(Limits)))
def test_a_bound_is_positive(name: str) -> None:
    """Nothing can be sent within a bound of nothing: it is refused, and named."""
    with pytest.raises(ConfigurationError, match=name):
        Limits(**{name: 0})


def test_an_output_and_a_cut_call_have_to_fit_into_an_item() -> None:
    """Else every long output would be refused as an item."""
    with pytest.raises(ConfigurationError, match="max_item_chars is 100"):
        Limits(max_item_chars=100)
    with pytest.raises(ConfigurationError, match="raise the one or lower the other"):
        Limits(max_item_chars=100, max_output_bytes=10, max_argument_bytes=100)


@pytest.mark.behaviour("X3", "S18")
@pytest.mark.parametrize(
    "item",
    [
        written("x" * 101),
        Message("m", "user", (TextContent("x" * 60), AudioTranscribed("x" * 41))),
        FunctionCall("f", "c", "look", "x" * 101),
        FunctionCallOutput("f", "c", "x" * 101),
        OpaqueItem("o", "mcp_call", {"output": "x" * 101}),
    ],
)
def test_an_item_beyond_the_bound_is_refused_without_quoting_it(item: Any) -> None:
    """The error names the item, its size and the bound."""
    with pytest.raises(ConversionError, match=f"item {item.id} has") as refusal:
        SMALL.check(CreateItem(item))
    assert "xxx" not in str(refusal.value)


def test_what_is_at_the_bound_passes() -> None:
    """A picture counts as a message, not as words."""
    SMALL.check(CreateItem(written("x" * 100)))
    picture = ImageContent("data:image/png;base64," + "A" * 1000)
    SMALL.check(CreateItem(Message("m", "user", (picture,))))
    SMALL.check(UpdateSession())
    SMALL.check(UpdateSession("x" * 40, (TOOL, TOOL)))


@pytest.mark.behaviour("X3")
@pytest.mark.parametrize(
    "command", [UpdateSession, lambda **k: CreateResponse("k", **k)]
)
def test_instructions_and_tools_are_bounded(command: Any) -> None:
    """Those of a session as well as those of one reply."""
    with pytest.raises(ConversionError, match="have 41 characters, at most 40"):
        SMALL.check(command(instructions="x" * 41))
    with pytest.raises(ConversionError, match="3 tools were given, at most 2"):
        SMALL.check(command(tools=(TOOL, TOOL, TOOL)))


def test_the_input_of_a_reply_beside_the_conversation_is_bounded() -> None:
    """It is made of items as the conversation is."""
    with pytest.raises(ConversionError, match="item msg_1"):
        SMALL.check(CreateResponse("k", input=(written("x" * 101),)))


@pytest.mark.behaviour("X3", "S18")
async def test_nothing_too_large_leaves_and_the_session_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whatever way it is given; not one frame of it was sent or recorded."""
    async with realtime_stage(limits=SMALL) as (server, session):
        await until(lambda: session.settled)
        before = len(server.connections[0].entries)
        long = written("x" * 101)
        with pytest.raises(ConversionError):
            session.add_items([written("fine", "msg_2"), long])
        with pytest.raises(ConversionError):
            await session.update_chat_ctx(ChatContext((long,)))
        with pytest.raises(ConversionError):
            await session.update_instructions("x" * 41)
        with pytest.raises(ConversionError):
            await session.generate_reply(instructions="x" * 41)
        assert len(server.connections[0].entries) == before
        assert session.chat_ctx.items == ()
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.parametrize(
    "given",
    [{"instructions": "x" * 41}, {"chat_ctx": ChatContext((written("x" * 101),))}],
)
async def test_a_session_does_not_begin_beyond_the_limits(
    given: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    """Nothing is dialled for what could not be sent."""
    with pytest.raises(ConversionError):
        async with realtime_stage(limits=SMALL, **given):
            pytest.fail("it began")


@pytest.mark.behaviour("X3")
async def test_a_message_of_ours_beyond_the_bound_is_not_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A picture too large for the provider is refused here; no connection is lost."""
    picture = ImageContent("data:image/png;base64," + "A" * 20_000)
    limits = Limits(max_message_chars=10_000)
    async with realtime_stage(limits=limits) as (server, session):
        await until(lambda: session.settled)
        with pytest.raises(ConversionError, match="at most 10000"):
            session.add_items([Message("m", "user", (picture,))])
        assert len(server.connections) == 1


# --- what the provider sends ------------------------------------------------------


@pytest.mark.behaviour("X3", "C8")
async def test_a_message_beyond_the_bound_ends_the_connection_not_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Closed with 1009 and dialled again, within the budget; then it is an error."""
    dialled: list[Any] = []
    with pytest.raises(ConnectionLost, match="1009"), trio.fail_after(120):
        await _answered_at_too_great_length(dialled)
    assert 2 <= len(dialled) <= 4
    assert {connection.close_code for connection in dialled} == {1009}


async def _answered_at_too_great_length(dialled: list[Any]) -> None:
    async with realtime_stage(
        lambda turn: Say("word " * 1000, ms=100),
        limits=Limits(max_message_chars=3000),
        backoff=Backoff(attempts=3),
    ) as (server, session):
        server.connections = dialled
        await session.generate_reply()


@pytest.mark.behaviour("X3")
async def test_an_item_of_the_provider_beyond_the_bound_is_cut_in_the_record(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its beginning stands there, with a notice, and can be replayed and edited."""
    async with realtime_stage(lambda turn: "word " * 100, limits=SMALL) as (_, session):
        outcome = await session.generate_reply()
        (item,) = session.chat_ctx.items
        assert isinstance(item, Message)
        assert item.text.startswith("word word")
        assert item.text.endswith(" [cut]")
        assert len(item.text) <= 100
        assert outcome.text == item.text
        assert (await session.update_chat_ctx(session.chat_ctx)).requests == ()
        await session.restart()
        assert session.chat_ctx.items == (item,)


@pytest.mark.behaviour("X3")
@given(
    st.lists(st.text(max_size=60), max_size=20),
    st.sampled_from([OutputText, TranscriptDelta]),
)
@example(["x" * 60, "y" * 34], OutputText)
@example(["x" * 60, "y" * 35, "z"], OutputText)
@example(["x" * 60, "y" * 35, "z"], TranscriptDelta)
def test_pieces_add_up_to_no_more_than_the_bound(pieces: list[str], kind: Any) -> None:
    """However a text comes, what is kept is its beginning, with one notice at most."""
    bounding = Bounding(SMALL)
    at: tuple[str, ...] = ("r", "i") if kind is OutputText else ("i",)
    make: Any = kind
    events: list[Any] = [bounding.bounded(make(*at, piece)) for piece in pieces]
    kept = [event.text for event in events]
    whole, text = "".join(pieces), "".join(kept)
    assert len(text) <= 100
    if len(whole) <= 100 - len(" [cut]"):
        assert text == whole
    else:
        assert text == whole[:94] + " [cut]"


def test_the_memory_of_growing_texts_is_bounded() -> None:
    """A provider that begins a thousand texts makes nothing grow here."""
    bounding = Bounding(SMALL)
    for number in range(1000):
        bounding.bounded(OutputText("r", f"item {number}", "word"))
    assert len(bounding) == WATCHED


LONG = "x" * 200


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (OutputTextEnded("r", "i", LONG), lambda e: e.text),
        (TranscriptDone("i", LONG), lambda e: e.text),
        (TranscriptDelta("i", LONG, cumulative=True), lambda e: e.text),
        (ItemDone(written(LONG)), lambda e: e.item.text),
        (ItemDone(FunctionCallOutput("f", "c", LONG)), lambda e: e.item.output),
        (ItemDone(FunctionCall("f", "c", "n", LONG)), lambda e: e.item.arguments),
        (CallReady("r", FunctionCall("f", "c", "n", LONG)), lambda e: e.call.arguments),
        (
            ResponseDone("r", "completed", items=(written(LONG),)),
            lambda e: e.items[0].text,
        ),
    ],
)
def test_whatever_holds_words_is_cut(event: Any, kept: Any) -> None:
    """The beginning is kept, and the end says that it was cut."""
    words = kept(Bounding(SMALL).bounded(event))
    assert len(words) <= 100
    assert words.startswith("xxx")
    assert words.endswith(" [cut]")


@pytest.mark.parametrize(
    "event",
    [
        ItemDone(written("fine")),
        ResponseDone("r", "completed", items=(written("fine"),)),
        OutputText("r", "i", "fine"),
    ],
)
def test_what_is_within_the_bounds_passes_as_it_is(event: Any) -> None:
    """Not so much as copied."""
    assert Bounding(SMALL).bounded(event) is event


# --- tools ------------------------------------------------------------------------


BRIEF = Limits(max_argument_bytes=50, max_instruction_chars=40)


class Bench(Agent):
    """Runs tools that are given too much, or give it."""

    instructions = "You are Kelly."

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Use your tools.")

    @function_tool
    async def look(self, ctx: RunContext, words: str) -> str:
        """Look."""
        self.ran.append(words)
        return "looked"

    @function_tool
    async def dump(self, ctx: RunContext) -> str:
        """Return ten megabytes."""
        return "x" * 10_000_000

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Hand over to somebody with too much to say."""
        return Talkative()


class Talkative(Agent):
    instructions = "x" * 41


@pytest.mark.behaviour("X3", "T1", "R11")
@pytest.mark.parametrize("padding", ["", " " * 60])
async def test_a_call_with_arguments_beyond_the_bound_is_never_run(
    padding: str, autojump_clock: trio.testing.MockClock
) -> None:
    """It is answered, with the bound; also where its beginning would be complete."""
    arguments = '{"words": "%s"}' % ("x" if padding else "x" * 60) + padding
    brain = prompted(Call("look", arguments))
    async with on_stage(brain, limits=BRIEF) as stage:
        bench = Bench()
        async with running(stage, bench):
            await until(lambda: len(outputs(stage)) == 1)
        assert bench.ran == []
        ((_, output),) = outputs(stage)
        assert "at most 50 bytes of JSON" in output
        (finished,) = stage.of(ToolFinished)
        assert finished.outcome == "BadArguments"
        calls = [i for i in stage.session.chat_ctx.items if isinstance(i, FunctionCall)]
        assert len(calls[0].arguments) <= 56


@pytest.mark.behaviour("X3", "T1")
async def test_an_output_of_ten_megabytes_is_not_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The model is told so, the program hears of it, and the connection stays."""
    async with on_stage(prompted(Call("dump"))) as stage:
        async with running(stage, Bench()):
            await until(lambda: len(outputs(stage)) == 1)
        ((_, output),) = outputs(stage)
        assert output == (
            "the tool's result is too long to be sent "
            "(10000000 bytes, at most 262144); ask for less"
        )
        assert [failed.tool for failed in stage.of(ToolFailed)] == ["dump"]
        assert len(stage.server.connections) == 1


async def test_an_agent_beyond_the_limits_does_not_take_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is found out while the old agent is live: nothing was sent."""
    async with on_stage(prompted(Call("transfer")), limits=BRIEF) as stage:
        async with running(stage, Bench()):
            await until(lambda: len(outputs(stage)) == 1)
        ((_, output),) = outputs(stage)
        assert output.startswith("handoff failed")
        assert stage.of(HandoffFailed) == []
        assert "xxx" not in str(stage.sent("session.update"))


# --- queues -----------------------------------------------------------------------


@pytest.mark.behaviour("X3", "C4")
async def test_one_push_of_an_hour_is_held_to_the_bound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The newest seconds stay; the rest is dropped, counted and announced."""
    async with (
        realtime_stage(limits=Limits(audio_seconds=2)) as (_, session),
        session.subscribe(AudioDropped) as events,
    ):
        session.push_audio(bytes(48_000 * 60))
        assert session.listening.seconds_held == 2
        with trio.fail_after(60):
            assert (await events.receive()).total_seconds == 58
        assert session.metrics.dropped_audio == 58


@pytest.mark.behaviour("X3")
async def test_a_peer_that_stops_reading_is_lost_at_the_bound_of_the_outbox(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Batches that together are more than the bound end the connection."""
    async with realtime_stage(limits=Limits(outbox_frames=8)) as (_, session):
        await until(lambda: session.settled)
        async with session.subscribe(ConnectionEnded) as events:
            for batch in range(3):
                session.add_items(
                    [written("Hello", f"msg_{batch}_{n}") for n in range(3)]
                )
            with trio.fail_after(60):
                assert "outbox full" in (await events.receive()).message


@pytest.mark.behaviour("X3")
async def test_a_subscriber_without_a_buffer_of_its_own_has_the_bound_of_the_limits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Beyond it the oldest is dropped, counted for it and for the session."""
    async with realtime_stage(limits=Limits(subscriber_events=2)) as (_, session):
        await until(lambda: session.settled)
        async with session.subscribe(ItemChanged) as mine:
            session.add_items([written("Hello", f"msg_{n}") for n in range(5)])
            assert [(await mine.receive()).item_id for _ in range(2)] == [
                "msg_3",
                "msg_4",
            ]
            assert mine.missed == 3
            (seen,) = session.metrics.subscribers
            assert (seen.kinds, seen.missed) == (("ItemChanged",), 3)
        assert session.metrics.subscribers == ()
        assert session.metrics.dropped_events == 3


@pytest.mark.behaviour("X3", "C8")
async def test_a_conversation_longer_than_the_outbox_is_given_to_a_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What a connection begins with says nothing of whether its peer still reads."""
    past = ChatContext(tuple(written("Hello", f"msg_{n}") for n in range(20)))
    async with realtime_stage(limits=Limits(outbox_frames=8), chat_ctx=past) as (
        server,
        session,
    ):
        with trio.fail_after(60):
            await until(lambda: session.settled)
            assert (await session.generate_reply()).outcome == "completed"
        (only,) = server.connections
        assert [item.id for item in only.conversation.items][:20] == list(past.ids)


@pytest.mark.behaviour("X3")
async def test_what_leaves_a_long_conversation_is_no_more_than_the_outbox_takes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The oldest turns are deleted in portions; no connection is lost over it."""
    past = ChatContext(tuple(written("Hello", f"msg_{n}") for n in range(60)))
    async with realtime_stage(
        limits=Limits(outbox_frames=8), history=History(items=20), chat_ctx=past
    ) as (server, session):
        with trio.fail_after(60):
            await until(lambda: len(session.record) <= 20)
        (only,) = server.connections
        assert [item.id for item in only.conversation.items] == list(session.record.ids)
