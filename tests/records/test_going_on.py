"""A conversation that was saved goes on in a new session (M7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stage import on_stage, realtime_stage, running, until
from trialogue import (
    Agent,
    ChatContext,
    FunctionCall,
    FunctionCallOutput,
    Message,
    RunContext,
    function_tool,
)
from trialogue.conversation import AudioPending, AudioTranscribed
from trialogue.events import ReplyEnded
from trialogue.testing import Call, Say, Turn

if TYPE_CHECKING:
    import trio

    from stage import Stage

NUMBER = "4711"


class Desk(Agent):
    """Gives out numbers, and remembers them by the conversation alone."""

    instructions = "You are the desk."

    @function_tool
    async def new_number(self, ctx: RunContext) -> str:
        """Give out a number."""
        return NUMBER


def remembering(turn: Turn) -> Any:
    """Calls the tool when asked; else knows what its conversation holds, no more."""
    if turn.output is not None:
        return Say(f"Your number is {turn.output}.")
    if "again" in turn.user_text:
        known = any(NUMBER in text for role, text in turn.said if role == "assistant")
        return Say(f"It was {NUMBER}." if known else "I do not know.")
    return Call("new_number")


async def ask(stage: Stage, text: str) -> None:
    """Write something, and wait until the answer, tools and all, has been heard."""
    await stage.session.send_message(text)
    await stage.session.generate_reply()
    await until(lambda: not any(stage.session.realtime.open_work.values()))
    await stage.session.wait_for_playout()


@pytest.mark.behaviour("M7")
async def test_a_new_session_begins_where_a_saved_conversation_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Words, a call and its output: the new server is given them, in their order."""
    async with on_stage(remembering) as first, running(first, Desk()):
        await ask(first, "A number, please.")
        saved = first.session.chat_ctx.to_json()
    kept = first.session.chat_ctx
    assert [type(item) for item in kept] == [
        *(Message, FunctionCall, FunctionCallOutput, Message)
    ]

    loaded = ChatContext.from_json(saved)
    async with on_stage(remembering, chat_ctx=loaded) as second:
        async with running(second, Desk()):
            await ask(second, "What was it again?")
        given = second.server.connections[0].conversation.items

    assert [item.id for item in given][:4] == list(kept.ids)
    assert list(second.session.chat_ctx)[:4] == list(kept)
    assert second.of(ReplyEnded)[-1].outcome.text == f"It was {NUMBER}."
    assert second.server.protocol_errors == []


@pytest.mark.behaviour("M7")
async def test_without_what_was_saved_nothing_is_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """So that the test above is no luck."""
    async with on_stage(remembering) as stage, running(stage, Desk()):
        await ask(stage, "What was it again?")

    assert stage.of(ReplyEnded)[-1].outcome.text == "I do not know."


@pytest.mark.behaviour("M7")
async def test_what_was_under_way_when_it_was_saved_is_not_told_to_the_model(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A call that nobody answered, a reply of which nothing was heard.

    They stay in the conversation: the program may yet answer the call.
    """
    saved = ChatContext(
        (
            Message("one", "user", (AudioTranscribed("Hello again?"),)),
            Message("two", "assistant", (AudioTranscribed("Hel"),), heard_ms=300),
            FunctionCall("three", "call_open", "new_number", "{}"),
            Message("four", "assistant", (AudioPending("A"),), status="in_progress"),
        )
    ).to_json()

    loaded = ChatContext.from_json(saved)
    async with realtime_stage(remembering, chat_ctx=loaded) as (server, session):
        await session.generate_reply()
        held = [item.id for item in server.connections[0].conversation.items]
        (call,) = (i for i in session.chat_ctx if isinstance(i, FunctionCall))
        report = await session.send_tool_output(call, NUMBER)
        await session.restart()
        again = server.connections[1].conversation.items

    assert held[:2] == ["one", "two"]
    assert {"three", "four"}.isdisjoint(held)
    assert report.ok
    assert "three" in [item.id for item in again]
    assert "four" not in [item.id for item in again]
    assert server.protocol_errors == []


@pytest.mark.behaviour("M7")
async def test_an_agent_goes_on_with_the_newest_turns_of_what_was_saved(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As many as the program wants: a context is cut before it is given."""
    saved = ChatContext()
    for number in range(40):
        saved = saved.add_message("user", f"Question {number}?")
        saved = saved.add_message("assistant", f"Answer {number}.", agent="Desk")

    loaded = ChatContext.from_json(saved.to_json()).last_turns(3)
    async with on_stage(remembering, chat_ctx=loaded) as stage:
        async with running(stage, Desk()):
            await ask(stage, "What was it again?")
        sent = stage.sent("conversation.item.create")

    words = [entry.event["item"]["content"][0]["text"] for entry in sent]
    assert words[:6] == [
        *("Question 37?", "Answer 37.", "Question 38?", "Answer 38."),
        *("Question 39?", "Answer 39."),
    ]
