"""Edits of the conversation as the server sees them: what goes over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, realtime_stage, until
from trialogue.conversation.context import ChatContext
from trialogue.conversation.items import (
    AudioPending,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Message,
    TextContent,
)
from trialogue.dialects.options import ServerVAD, SessionOptions, Transcription
from trialogue.errors import ConversionError
from trialogue.realtime.notices import (
    ItemChanged,
    ReplyEnded,
    UnknownAnchorNotice,
    UserTranscript,
)
from trialogue.realtime.requests import RequestState
from trialogue.testing import Say, Utterances, late, quiet, swallow

if TYPE_CHECKING:
    from trialogue.realtime.session import RealtimeSession
    from trialogue.testing import RealtimeServer

LISTENING = SessionOptions(turn_detection=ServerVAD(), transcription=Transcription())
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
EMPTY = TextContent("")


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=400)


def note(item_id: str, text: str = "A note.") -> Message:
    return Message(item_id, "user", (TextContent(text),))


def held(server: RealtimeServer) -> list[str]:
    return [item.id for item in server.connections[-1].conversation]


def operations(server: RealtimeServer) -> list[tuple[str, str]]:
    """Return the item operations the client sent, in order, as (verb, item id)."""
    found: list[tuple[str, str]] = []
    for entry in server.connections[-1].entries:
        _, _, verb = entry.type.rpartition(".")
        if entry.direction == "in" and entry.type.startswith("conversation.item."):
            item_id = entry.event.get("item_id") or entry.event["item"]["id"]
            found.append((verb, item_id))
    return found


async def seeded_with(session: RealtimeSession, *items: Any) -> None:
    """Put items in the conversation that the server holds."""
    context = session.chat_ctx
    for item in items:
        context = context.insert(item)
    assert (await session.update_chat_ctx(context)).ok


async def heard(session: RealtimeSession, *turns: bytes) -> None:
    """Say something into the microphone and wait until each turn was answered."""
    async with session.subscribe(ReplyEnded) as replies:
        for pcm in turns:
            session.push_audio(quiet(300) + pcm + quiet(900))
            with trio.fail_after(30):
                await replies.receive()


# --- what is empty, and what only seems so ---------------------------------------


@pytest.mark.behaviour("S1")
async def test_a_new_message_without_content_never_leaves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What has words beside it is sent; with an empty part, the part is left out."""
    async with realtime_stage(short) as (server, session):
        await until(lambda: session.settled)
        context = session.chat_ctx
        for item in (
            Message("item_none", "user", ()),
            Message("item_empty", "assistant", (EMPTY,)),
            Message("item_blank", "system", (TextContent("  "),)),
            Message("item_words", "user", (EMPTY, TextContent("Hi."))),
        ):
            context = context.insert(item)
        report = await session.update_chat_ctx(context)
        assert report.ok
        assert operations(server) == [("create", "item_words")]
        [created] = server.connections[0].find("conversation.item.create", "in")
        parts = created.event["item"]["content"]
        assert parts == [{"type": "input_text", "text": "Hi."}]
        assert session.chat_ctx.ids == ("item_words",)


@pytest.mark.behaviour("S2", "S3")
async def test_a_spoken_turn_without_words_goes_only_when_it_was_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """No transcript ever comes: an edit that lists it keeps it, and no other."""
    clips = Utterances()
    pcm = clips.say("Nobody wrote this down.", 800)
    wordless = {"utterances": clips, "faults": [swallow(TRANSCRIBED)]}
    async with realtime_stage(short, options=LISTENING, server=wordless) as stage:
        server, session = stage
        await until(lambda: session.settled)
        await heard(session, pcm)
        turn, answer = session.chat_ctx.items
        assert isinstance(turn, Message)
        assert turn.content == (AudioPending(),)
        listed = session.chat_ctx.remove(answer.id).insert(note("item_n"))
        assert (await session.update_chat_ctx(listed)).ok
        assert operations(server) == [("delete", answer.id), ("create", "item_n")]
        assert held(server) == [turn.id, "item_n"]
        report = await session.update_chat_ctx(session.chat_ctx.remove(turn.id))
        assert [r.kind for r in report.requests] == ["DeleteItem"]
        assert report.ok
        assert operations(server)[2:] == [("delete", turn.id)]
        assert held(server) == ["item_n"] == list(session.chat_ctx.ids)


# --- replaced, moved, refused ----------------------------------------------------


@pytest.mark.behaviour("S4")
async def test_a_history_made_by_hand_takes_the_place_of_the_old_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The model's next context holds the new items and none of the old."""
    seen: list[list[str]] = []

    def brain(turn: Any) -> Any:
        seen.append([text for _, text in turn.said])
        return short(turn)

    async with realtime_stage(brain) as (server, session):
        await until(lambda: session.settled)
        await seeded_with(session, note("item_a", "Old."), note("item_b", "Older."))
        fresh = ChatContext().add_message("user", "New.", id="item_new")
        assert (await session.update_chat_ctx(fresh)).ok
        assert held(server) == ["item_new"] == list(session.chat_ctx.ids)
        await session.generate_reply()
        assert seen == [["New."]]


@pytest.mark.behaviour("S21")
async def test_a_reorder_sends_one_delete_and_one_create_for_what_moved(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(short) as (server, session):
        await until(lambda: session.settled)
        names = [f"item_{n}" for n in range(6)]
        await seeded_with(session, *map(note, names))
        context = session.chat_ctx
        last = context.get("item_5")
        assert last is not None
        moved = context.remove("item_5").insert(last, "item_0")
        assert (await session.update_chat_ctx(moved)).ok
        assert operations(server)[6:] == [("delete", "item_5"), ("create", "item_5")]
        wanted = ["item_0", "item_5", "item_1", "item_2", "item_3", "item_4"]
        assert held(server) == wanted == list(session.chat_ctx.ids)


@pytest.mark.behaviour("S19", "S10")
async def test_a_call_and_its_output_leave_the_server_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One half was taken out. Their ids were too long for the provider, and agree."""
    call_id = "call_from_another_provider_" + "x" * 40
    async with realtime_stage(short) as (server, session):
        await until(lambda: session.settled)
        await seeded_with(
            session,
            note("item_a"),
            FunctionCall("item_call", call_id, "look_up", "{}"),
            FunctionCallOutput("item_output", call_id, "Sunny."),
        )
        created = server.connections[0].find("conversation.item.create", "in")[1:]
        [on_the_wire] = {entry.event["item"]["call_id"] for entry in created}
        assert len(on_the_wire) <= 32
        items = session.chat_ctx.items[1:]
        assert [getattr(item, "call_id", "") for item in items] == [call_id] * 2
        edited = session.chat_ctx.remove("item_output")
        assert (await session.update_chat_ctx(edited)).ok
        assert sorted(operations(server)[3:]) == [
            ("delete", "item_call"),
            ("delete", "item_output"),
        ]
        assert held(server) == ["item_a"] == list(session.chat_ctx.ids)


@pytest.mark.behaviour("S18")
async def test_an_item_that_cannot_be_sent_holds_back_the_whole_update(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Instructions, deletion and the items in front of it included."""
    picture = Message(
        "item_p", "user", (ImageContent("https://example.org/cat.png", "low"),)
    )
    async with realtime_stage(short, instructions="Old.") as (server, session):
        await until(lambda: session.settled)
        await seeded_with(session, note("item_a"))
        before = server.connections[0].types("in")
        edited = session.chat_ctx.remove("item_a").insert(note("item_b"))
        with pytest.raises(ConversionError, match="item_p"):
            await session.update_session(
                instructions="New.", chat_ctx=edited.insert(picture)
            )
        await trio.sleep(1)
        assert server.connections[0].types("in") == before
        assert session.chat_ctx.ids == ("item_a",)
        assert (await session.update_chat_ctx(edited)).ok
        assert held(server) == ["item_b"]
        assert session.wanted is not None
        assert session.wanted.instructions == "Old."


# --- what the server tells ---------------------------------------------------------


@pytest.mark.behaviour("S13")
async def test_an_item_behind_an_unknown_one_is_kept_and_the_gap_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Every word on the user's item was lost; the answer to it names it."""
    clips = Utterances()
    pcm = clips.say("Can you hear me?", 800)
    lost = (
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        TRANSCRIBED,
    )
    faults = {"utterances": clips, "faults": [swallow(kind) for kind in lost]}
    async with (
        realtime_stage(short, options=LISTENING, server=faults) as (server, session),
        collecting(session) as events,
    ):
        await until(lambda: session.settled)
        await heard(session, pcm)
        unknown, answer = held(server)
        [warning] = [e for e in events if isinstance(e, UnknownAnchorNotice)]
        assert warning == UnknownAnchorNotice(answer, unknown)
        assert session.chat_ctx.ids == (answer,)
        added = [e.item_id for e in events if isinstance(e, ItemChanged) and e.item]
        assert answer in added


@pytest.mark.behaviour("S15")
async def test_late_transcripts_of_several_turns_are_told_once_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The first turn's words come after the second's: each stands with its own turn."""
    clips = Utterances()
    turns = [clips.say("One fish.", 700), clips.say("Two fish.", 900)]
    faults = {"utterances": clips, "faults": [late(TRANSCRIBED, seconds=20.0)]}
    async with (
        realtime_stage(short, options=LISTENING, server=faults) as (_, session),
        collecting(session) as events,
    ):
        await until(lambda: session.settled)
        await heard(session, *turns)
        await trio.sleep(30)
        users = [i for i in session.chat_ctx if isinstance(i, Message)]
        users = [item for item in users if item.role == "user"]
        assert [item.text for item in users] == ["One fish.", "Two fish."]
        finals = [e for e in events if isinstance(e, UserTranscript) and e.final]
        told = [(e.item_id, e.text) for e in finals]
        assert told == [(users[1].id, "Two fish."), (users[0].id, "One fish.")]


@pytest.mark.behaviour("S12")
async def test_what_was_sent_twice_stands_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Neither of two identical edits was answered in time: one item, both are told."""
    answers = ("conversation.item.added", "conversation.item.done")
    faults = [late(kind, seconds=3.0) for kind in answers]
    async with realtime_stage(short, server={"faults": faults}) as (server, session):
        await until(lambda: session.settled)
        edited = session.chat_ctx.insert(note("item_a"))
        first = await session.update_chat_ctx(edited, ack_timeout=1.0)
        assert [r.state for r in first.requests] == [RequestState.UNANSWERED]
        second = await session.update_chat_ctx(edited)
        assert second.ok
        assert operations(server) == [("create", "item_a")] * 2
        await trio.sleep(5)
        assert held(server) == ["item_a"] == list(session.chat_ctx.ids)
        assert session.open_work["owed"] == 0
