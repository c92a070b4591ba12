"""Whoever applies each `ItemChanged` has what `chat_ctx` has, whatever happens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from mirror import Mirror
from stage import (
    Greeter,
    Prompted,
    collecting,
    on_stage,
    prompted,
    realtime_stage,
    running,
    until,
)
from trialogue import Agent, Handoff, History, RunContext, function_tool
from trialogue.conversation.items import Message, TextContent
from trialogue.events import ConnectionEnded, HandoffFailed, ItemChanged, UserTranscript
from trialogue.testing import Call, Say, cut, reject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialogue.agents.session import AgentSession
    from trialogue.realtime.session import RealtimeSession

LONG = Say("One moment, I look that up for you right away.", ms=3000)
LONGER = Say("One moment, I look that up for you right away.", ms=30_000)


@asynccontextmanager
async def mirrored(
    session: RealtimeSession | AgentSession,
) -> AsyncIterator[list[Any]]:
    """Hold a copy of the conversation against it when the block ends."""
    mirror = Mirror(session.chat_ctx)
    async with collecting(session) as events:
        yield events
        await trio.testing.wait_all_tasks_blocked()
        for event in events:
            mirror.apply(event)
        assert mirror.differences(session.chat_ctx) == []


def note(item_id: str, text: str = "A note.") -> Message:
    return Message(item_id, "user", (TextContent(text),))


async def test_a_reply_lost_with_its_connection_is_told_to_be_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing of it was heard: it is made anew, under other ids."""
    faults = [cut(after="response.output_audio_transcript.delta", connection=0)]
    async with (
        realtime_stage(lambda turn: LONG, server={"faults": faults}) as (_, session),
        mirrored(session) as events,
    ):
        outcome = await session.generate_reply()

    changes = [e.change for e in events if isinstance(e, ItemChanged)]
    assert outcome.outcome == "completed"
    assert "deleted" in changes


async def test_a_half_heard_reply_lost_with_its_connection_is_told_as_it_stands(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its item is no longer in progress, and nobody else says so."""
    async with (
        on_stage(prompted(LONGER)) as stage,
        mirrored(stage.session),
        running(stage, Prompted()),
    ):
        await until(lambda: stage.output.played > 12_000)
        stage.server.inject(cut(after="response.output_audio.delta"))
        await until(lambda: stage.of(ConnectionEnded))
        await trio.sleep(5)


async def test_what_was_heard_of_an_interrupted_reply_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The words that nobody heard leave the item, at once."""
    async with (
        on_stage(prompted(LONG)) as stage,
        mirrored(stage.session) as events,
        running(stage, Prompted()),
    ):
        await until(lambda: stage.output.played > 12_000)
        stage.session.interrupt()
        await trio.sleep(5)

    items = [e.item for e in events if isinstance(e, ItemChanged)]
    texts = [item.text for item in items if isinstance(item, Message)]
    assert 0 < len(texts[-1]) < len(LONG.text)


async def test_an_edit_is_told_item_by_item(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Added, rewritten, moved and removed; nothing of it is a transcript."""
    async with (
        realtime_stage(lambda turn: LONG) as (_, session),
        mirrored(session) as events,
    ):
        await until(lambda: session.settled)
        edited = session.chat_ctx
        for item_id in ("a", "b", "c"):
            edited = edited.insert(note(item_id))
        await session.update_chat_ctx(edited)
        edited = session.chat_ctx.replace(note("a", "Another.")).remove("b")
        await session.update_chat_ctx(edited)
        moved = session.chat_ctx.remove("c").insert(note("c"), "root")
        await session.update_chat_ctx(moved)

    told = [(e.change, e.item_id) for e in events if isinstance(e, ItemChanged)]
    assert told[:3] == [("added", "a"), ("added", "b"), ("added", "c")]
    assert ("updated", "a") in told
    assert ("deleted", "b") in told
    assert not any(isinstance(e, UserTranscript) for e in events)


async def test_an_edit_while_no_connection_serves_is_told_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The next connection is given it; the record has it already."""
    async with realtime_stage(lambda turn: LONG) as (server, session):
        await until(lambda: session.settled)
        await session.send_message("Hello.")
        async with mirrored(session) as events:
            session.edit_here(
                session.chat_ctx.copy(keep=lambda item: False).insert(note("new"))
            )
            await trio.testing.wait_all_tasks_blocked()
            told = [(e.change, e.item_id) for e in events]
            await session.restart()

    assert ("added", "new") in told
    assert [change for change, _ in told].count("deleted") == 1
    assert server.protocol_errors == []


async def test_a_deletion_that_its_server_did_not_answer_is_told_with_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """No later connection is given the item."""
    faults = [cut(before="conversation.item.deleted")]
    async with realtime_stage(lambda turn: LONG, server={"faults": faults}) as stage:
        server, session = stage
        await until(lambda: session.settled)
        await session.send_message("Hello.")
        [item_id] = session.chat_ctx.ids
        async with mirrored(session) as events:
            await session.delete_items(item_id)
            await until(lambda: len(server.connections) > 1 and session.settled)

    deleted = [e.item_id for e in events if getattr(e, "change", "") == "deleted"]
    assert deleted == [item_id]


async def test_a_deletion_of_what_no_server_has_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A fresh connection was not given it: it leaves the record alone."""
    history = History(replay_items=1)
    async with realtime_stage(lambda turn: LONG, history=history) as (_, session):
        await until(lambda: session.settled)
        await session.send_message("One.")
        await session.send_message("Two.")
        first, _ = session.chat_ctx.ids
        await session.restart()
        async with mirrored(session) as events:
            await session.delete_items(first)

    deleted = [e.item_id for e in events if getattr(e, "change", "") == "deleted"]
    assert deleted == [first]


class Fickle(Agent):
    """Hands over to somebody whom the server will not take, and goes on."""

    instructions = "You are Kelly, and you have tools."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Use your tools.")

    @function_tool
    async def transfer(self, ctx: RunContext) -> Handoff:
        """Transfer."""
        return Handoff(Greeter(), context="fresh")


async def test_the_return_after_a_failed_handoff_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What a policy deleted is back, and the call's output tells the truth."""
    brain = prompted(Say("One moment."), Call("transfer"))
    faults = [reject("session.update", code="invalid_value", nth=2)]
    async with (
        on_stage(brain, server={"faults": faults}) as stage,
        mirrored(stage.session),
        running(stage, Fickle()),
    ):
        await until(lambda: stage.of(HandoffFailed))
        await trio.sleep(30)


async def test_whose_words_they_are_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An item says which agent said it from the first time that it is told of."""
    async with (
        on_stage(prompted(Say("Hello."))) as stage,
        mirrored(stage.session) as events,
        running(stage, Prompted()),
    ):
        await trio.sleep(5)

    said = [e.item for e in events if isinstance(e, ItemChanged) and e.item]
    assert {item.agent for item in said if isinstance(item, Message)} == {"Prompted"}
