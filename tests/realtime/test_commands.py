"""Commands of a session: messages, tool outputs, deletions, retrieval."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, realtime_stage, until
from streams import always, at_rest, say, sent
from trialogue import (
    AnswerTimeout,
    ConversionError,
    ImageContent,
    Message,
    ServerError,
    TextContent,
)
from trialogue.conversation.items import AudioPending
from trialogue.dialects.options import SessionOptions
from trialogue.realtime.listener import Listener
from trialogue.realtime.notices import ErrorNotice
from trialogue.realtime.requests import RequestState
from trialogue.testing import (
    Call,
    Network,
    Settings,
    Turn,
    Utterances,
    cut,
    reject,
    swallow,
    voice,
)

if TYPE_CHECKING:
    from trialogue.realtime.session import RealtimeSession

PICTURE = ImageContent("data:image/png;base64,iVBORw0KGgo=")


class Turns(Listener):
    """Notes whose turns there were."""

    def __init__(self) -> None:
        self.items: list[str] = []

    def user_turn(self, item_id: str) -> None:
        self.items.append(item_id)


def states(report: Any) -> list[str]:
    return [request.state.value for request in report.requests]


# --- messages -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("Hello.", [{"type": "input_text", "text": "Hello."}]),
        (
            ["Look:", PICTURE, TextContent("What is it?")],
            [
                {"type": "input_text", "text": "Look:"},
                {"type": "input_image", "image_url": PICTURE.url},
                {"type": "input_text", "text": "What is it?"},
            ],
        ),
    ],
)
async def test_a_message_of_text_and_pictures_is_a_turn_of_the_users(
    autojump_clock: trio.testing.MockClock, content: Any, parts: list[Any]
) -> None:
    turns = Turns()
    async with realtime_stage(say(), listener=turns) as (server, session):
        with trio.fail_after(10):
            report = await session.send_message(content)
        assert states(report) == ["acknowledged"]
        [create] = sent(server, "conversation.item.create")
        assert create["item"]["role"] == "user"
        assert create["item"]["content"] == parts
        assert turns.items == list(session.chat_ctx.ids) == [create["item"]["id"]]
        assert not sent(server, "response.create")
        await at_rest(session)


async def test_a_message_of_sound_is_heard_by_the_model_and_kept_as_sound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clips, turns = Utterances(), Turns()
    pcm = clips.say("What is the weather?", 700)

    def brain(turn: Turn) -> Any:
        return f"You said: {turn.user_text}"

    async with realtime_stage(brain, server={"utterances": clips}, listener=turns) as (
        _,
        session,
    ):
        report = await session.send_message(pcm)
        assert report.ok
        [item] = session.chat_ctx.items
        assert isinstance(item, Message)
        assert item.content == (AudioPending(duration_ms=700),)
        assert turns.items == [item.id]
        reply = await session.generate_reply()
        assert reply.text == "You said: What is the weather?"


@pytest.mark.parametrize("role", ["system", "assistant"])
async def test_a_message_of_another_role_is_nobodys_turn(
    autojump_clock: trio.testing.MockClock, role: Any
) -> None:
    turns = Turns()
    async with realtime_stage(say(), listener=turns) as (server, session):
        assert (await session.send_message("Be kind.", role=role)).ok
        assert turns.items == []
        [held] = server.live[0].conversation
        assert held.item.type == "message"
        assert held.item.role == role


@pytest.mark.behaviour("S18", "S1")
@pytest.mark.parametrize(
    ("content", "role"),
    [
        ("", "user"),
        ([], "user"),
        ([b"\0\0", "and text"], "user"),
        (b"\0\0", "assistant"),
        (b"\0\0\0", "user"),
        (b"", "user"),
        ([PICTURE], "system"),
        ([ImageContent("https://example.org/a.png")], "user"),
        ([AudioPending()], "user"),
        ([17], "user"),
    ],
    ids=[
        "empty text",
        "nothing",
        "sound and text",
        "sound of the model",
        "half a sample",
        "no sound",
        "picture of the system",
        "picture elsewhere",
        "no sound at hand",
        "a number",
    ],
)
async def test_a_message_without_a_form_fails_before_anything_is_sent(
    autojump_clock: trio.testing.MockClock, content: Any, role: Any
) -> None:
    """Also while no connection serves: nobody has to wait to be told."""
    async with realtime_stage(say()) as (server, session):
        began = trio.current_time()
        with pytest.raises(ConversionError):
            await session.send_message(content, role=role)
        assert trio.current_time() == began
        await until(lambda: session.settled)
        assert not sent(server, "conversation.item.create")
        assert session.chat_ctx.items == ()


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("content", ["Hello.", bytes(4800)], ids=["text", "sound"])
async def test_a_refused_message_is_reported_and_is_not_in_the_record(
    autojump_clock: trio.testing.MockClock, content: Any
) -> None:
    async with realtime_stage(say()) as (server, session):
        await until(lambda: session.settled)
        server.inject(reject("conversation.item.create", code="invalid_value"))
        report = await session.send_message(content)
        [one] = report.requests
        assert (one.state, one.code) == (RequestState.REJECTED, "invalid_value")
        assert session.chat_ctx.items == ()
        await at_rest(session)


# --- tool outputs -------------------------------------------------------------


@pytest.mark.behaviour("T1", "S19")
async def test_a_call_is_answered_by_itself_or_by_its_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def brain(turn: Turn) -> Any:
        return "Thanks." if turn.output else [Call("one", {}), Call("two", {})]

    async with realtime_stage(brain) as (server, session):
        first, second = (await session.generate_reply()).calls
        assert (await session.send_tool_output(first, "1")).ok
        assert (await session.send_tool_output(second.call_id, "2")).ok
        assert (await session.generate_reply()).text == "Thanks."
        outputs = [h.item for h in server.live[0].conversation]
        assert [i.output for i in outputs if hasattr(i, "output")] == ["1", "2"]
        assert not server.connections[0].find("error")


@pytest.mark.behaviour("S5")
async def test_an_output_of_no_call_is_refused_and_leaves_no_trace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say()) as (_, session), collecting(session) as events:
        report = await session.send_tool_output("call_nobody_made", "1")
        assert states(report) == ["rejected"]
        assert report.requests[0].code == "invalid_tool_call_id"
        assert session.chat_ctx.items == ()
        await trio.testing.wait_all_tasks_blocked()
        assert not [e for e in events if isinstance(e, ErrorNotice)]
        await at_rest(session)


@pytest.mark.behaviour("T3", "C2")
async def test_an_output_survives_cancellation_and_the_loss_of_its_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever sends it gives up at once, and the next connection has it."""
    brain = always(Call("look", {}))
    async with realtime_stage(brain) as (server, session):
        [call] = (await session.generate_reply()).calls
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.send_tool_output, call, "There.")
                await trio.testing.wait_all_tasks_blocked()
                server.inject(cut(after="conversation.item.create"))
                scope.cancel()
        server.inject(cut(before="response.created"))
        await session.generate_reply()
        await at_rest(session)
        kinds = [held.item.type for held in server.live[-1].conversation]
        assert kinds[:2] == ["function_call", "function_call_output"]


# --- deletions ----------------------------------------------------------------


@pytest.mark.behaviour("R3", "S4")
async def test_items_are_deleted_and_one_that_is_gone_already_is_no_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say()) as (server, session):
        for words in ("one", "two", "three"):
            await session.send_message(words)
        one, two, three = session.chat_ctx.ids
        report = await session.delete_items(one, three, one)
        assert report.ok
        assert session.chat_ctx.ids == (two,)
        assert [held.item.id for held in server.live[0].conversation] == [two]
        again = await session.delete_items(one)
        assert again.ok
        assert again.requests[0].code == "item_delete_invalid_item_id"
        assert (await session.delete_items()).requests == ()
        await at_rest(session)


@pytest.mark.behaviour("S5")
async def test_a_refused_deletion_keeps_the_item(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(say()) as (server, session):
        await session.send_message("Hello.")
        server.inject(reject("conversation.item.delete", code="server_error"))
        [item_id] = session.chat_ctx.ids
        report = await session.delete_items(item_id)
        assert states(report) == ["rejected"]
        assert session.chat_ctx.ids == (item_id,)
        assert (await session.delete_items(item_id)).ok


# --- retrieval ----------------------------------------------------------------


async def test_an_item_is_retrieved_with_the_audio_that_the_provider_holds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The model's and the user's, both as PCM16; others have none."""
    sound = voice("Hello.", 500)
    async with realtime_stage(say(ms=400)) as (server, session):
        await session.send_message(sound)
        await session.generate_reply()
        await session.send_message("Written.")
        said, heard, written = session.chat_ctx.ids
        user = await session.retrieve_item(said)
        model = await session.retrieve_item(heard)
        text = await session.retrieve_item(written)
        assert user.pcm == sound
        assert isinstance(user.item, Message)
        assert (user.item.id, user.item.role) == (said, "user")
        held = server.live[0].conversation.find(heard)
        assert held is not None
        assert model.pcm == bytes(held.pcm)
        assert len(model.pcm) == 400 * 48
        assert text.pcm == b""
        assert text.data["content"][0]["text"] == "Written."
        assert "bytes" in repr(user)
        assert len(repr(user)) < 500
        await at_rest(session)


@pytest.mark.behaviour("A1")
@pytest.mark.parametrize("law", ["pcmu", "pcma"])
async def test_retrieved_telephone_audio_is_pcm_on_either_side(
    autojump_clock: trio.testing.MockClock, law: Any
) -> None:
    options = SessionOptions(input_format=law, output_format=law)
    async with realtime_stage(say(ms=400), options=options) as (_, session):
        await until(lambda: session.settled)
        await session.send_message(voice("Hello.", 300))
        await session.generate_reply()
        said, heard = session.chat_ctx.ids
        user, model = [await session.retrieve_item(i) for i in (said, heard)]
        assert len(user.pcm) == pytest.approx(300 * 48, abs=12)
        assert len(model.pcm) == pytest.approx(400 * 48, abs=12)


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("null_id", [False, True])
async def test_an_unknown_item_is_refused_at_once_with_the_code(
    autojump_clock: trio.testing.MockClock, null_id: bool
) -> None:
    """Also when the error does not say which request it is about."""
    async with realtime_stage(
        say(), server={"settings": Settings(echo_event_id=not null_id)}
    ) as (
        server,
        session,
    ):
        await until(lambda: session.settled)
        began = trio.current_time()
        with pytest.raises(ServerError) as caught:
            await session.retrieve_item("item_nobody_made")
        assert caught.value.code == "item_retrieve_invalid_item_id"
        assert trio.current_time() - began < 0.5
        assert len(server.connections) == 1
        await at_rest(session)


@pytest.mark.behaviour("S6", "S11")
async def test_retrievals_are_told_apart_from_what_is_asked_around_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two of one item, a deletion of it, another item's creation, all at once."""
    async with realtime_stage(say(), server={"network": Network(one_way=0.1)}) as (
        server,
        session,
    ):
        await session.send_message("Hello.")
        [item_id] = session.chat_ctx.ids
        found: list[Any] = [None] * 3

        async def fetch(number: int) -> None:
            try:
                found[number] = (await session.retrieve_item(item_id)).item
            except ServerError as error:
                found[number] = error.code

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch, 0)
                nursery.start_soon(fetch, 1)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(session.delete_items, item_id)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(fetch, 2)
                nursery.start_soon(partial(session.send_message, "More."))
        assert [getattr(f, "text", f) for f in found] == [
            "Hello.",
            "Hello.",
            "item_retrieve_invalid_item_id",
        ]
        assert len(session.chat_ctx.items) == 1
        assert len(server.connections) == 1
        await at_rest(session)


async def test_an_answer_to_another_request_does_not_stand_for_the_item(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Items can come late: what was asked later is answered first, and is no proof."""
    async with realtime_stage(say()) as (server, session):
        await session.send_message("Hello.")
        [item_id] = session.chat_ctx.ids
        server.inject(swallow("conversation.item.retrieved"))
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_behind, session)
            with pytest.raises(AnswerTimeout, match="within 2 s"):
                await session.retrieve_item(item_id, ack_timeout=2.0)
        assert trio.current_time() - began == pytest.approx(2.0)
        assert len(session.chat_ctx.items) == 2


async def _send_behind(session: RealtimeSession) -> None:
    await trio.testing.wait_all_tasks_blocked()
    assert (await session.send_message("More.")).ok
