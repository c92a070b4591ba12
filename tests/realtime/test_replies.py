"""Replies and the response slot: one at a time, whoever began it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trialogue.conversation.items import (
    AudioTranscribed,
    FunctionCall,
    Message,
    TextContent,
)
from trialogue.dialects.commands import CreateResponse
from trialogue.dialects.events import ResponseDone, ResponseStatus, Usage
from trialogue.errors import ServerError
from trialogue.realtime.configuration import Configuration
from trialogue.realtime.openai import OpenAIRealtime
from trialogue.realtime.replies import (
    Outcome,
    Reply,
    ReplyOutcome,
    Response,
    ResponseSlot,
    Turn,
)

numbers = itertools.count(1)


def reply(**fields: Any) -> Reply:
    key = f"key-{next(numbers)}"
    return Reply(key, fields.pop("config", None), CreateResponse(key), **fields)


def response(**fields: Any) -> Response:
    return Response(f"response-{next(numbers)}", 1, None, created_at=0.0, **fields)


def held(slot: ResponseSlot) -> tuple[Reply | None, Response | None]:
    return slot.posted, slot.active


def done(status: ResponseStatus, **fields: Any) -> ResponseDone:
    return ResponseDone("response", status, **fields)


# --- how a reply ends -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"done": done("completed")}, "completed"),
        ({"done": done("incomplete")}, "incomplete"),
        ({"done": done("cancelled")}, "interrupted"),
        ({"done": done("failed")}, "incomplete"),
        ({"done": done("completed"), "cut": True}, "interrupted"),
        ({"done": done("completed"), "discard": True}, "interrupted"),
        ({"lost": True}, "lost"),
        ({"lost": True, "cut": True}, "interrupted"),
    ],
)
def test_outcome_says_how_the_response_ended(
    fields: dict[str, Any], outcome: Outcome
) -> None:
    assert response(**fields).result([]).outcome == outcome


@pytest.mark.behaviour("R7")
def test_result_holds_the_words_in_order_and_does_without_usage() -> None:
    items = (
        Message("a", "assistant", (AudioTranscribed("One moment."),)),
        FunctionCall("b", "call", "look", "{}"),
        Message("c", "assistant", ()),
        Message("d", "assistant", (TextContent("Rain."),)),
    )
    ended = response(done=done("completed"), heard_ms=7)
    outcome = ended.result(iter(items))
    assert (outcome.text, outcome.items) == ("One moment. Rain.", items)
    assert (outcome.usage, outcome.heard_ms) == (None, 7)
    assert outcome.response_id == ended.id
    counted = response(done=done("completed", usage=Usage(3, 4)))
    assert counted.result([]).usage == Usage(3, 4)


async def test_only_the_first_end_of_a_reply_counts() -> None:
    finished, failed = reply(), reply()
    finished.finish(ReplyOutcome("completed"))
    finished.fail(ServerError("too late"))
    finished.finish(ReplyOutcome("lost"))
    failed.fail(ServerError("no"))
    failed.finish(ReplyOutcome("completed"))
    assert (finished.outcome, finished.error) == (ReplyOutcome("completed"), None)
    assert (failed.outcome, str(failed.error)) == (None, "no")
    await finished.settled.wait()
    await failed.settled.wait()


# --- the slot -------------------------------------------------------------------------


def test_one_response_at_a_time_whoever_began_it() -> None:
    slot = ResponseSlot()
    assert slot.idle
    first, second = reply(), reply()
    slot.queue += [first, second]
    assert slot.next() is first
    slot.drop(first)
    slot.posted = first
    assert slot.next() is None
    theirs = response()
    slot.began(theirs)
    assert slot.posted is first, "a response that nobody asked for serves no wish"
    slot.finished(theirs)
    ours = response(reply=first)
    slot.began(ours)
    assert held(slot) == (None, ours)
    assert slot.next() is None
    slot.finished(theirs)
    assert slot.active is ours, "an older response frees nothing"
    slot.finished(ours)
    assert slot.next() is second
    slot.drop(second)
    slot.drop(second)
    assert slot.idle


def test_slot_is_a_turn_until_its_tools_are_answered() -> None:
    """Only what belongs to the turn goes ahead meanwhile."""
    slot, asked = ResponseSlot(), response()
    slot.began(asked)
    turn = slot.open_turn(asked)
    assert slot.open_turn(asked) is turn
    slot.finished(asked)
    pending, answer = reply(), reply(within=turn)
    slot.queue += [pending, answer]
    assert slot.next() is answer
    slot.close_turn(turn)
    assert (turn.open, slot.next()) == (False, pending)


def test_newer_response_takes_the_slot_from_an_older_turn() -> None:
    slot, old, new = ResponseSlot(), response(), response()
    slot.began(old)
    turn = slot.open_turn(old)
    slot.finished(old)
    slot.began(new)
    late = slot.open_turn(old)
    assert late.open
    slot.finished(new)
    assert slot.free_for(None)
    slot.close_turn(turn)
    slot.close_turn(late)
    assert slot.idle


def test_wish_that_was_posted_in_vain_goes_first_the_next_time() -> None:
    slot, others = ResponseSlot(), reply()
    config = Configuration(OpenAIRealtime(), "Be brief.", carried=True)
    wish = reply(config=config, carried=True, response=response())
    slot.queue.append(others)
    slot.posted = wish
    slot.requeue(wish)
    slot.requeue(wish)
    assert slot.queue == [wish, others]
    assert held(slot) == (None, None)
    assert (wish.response, wish.request, wish.carried) == (None, None, False)
    assert not config.carried, "the next one may carry it again"


def test_slot_that_is_blocked_by_an_unknown_response_frees_with_its_end() -> None:
    slot = ResponseSlot()
    slot.queue.append(reply())
    slot.blocked = True
    assert slot.next() is None
    slot.finished(response())
    assert slot.next() is not None


class Model:
    """The slot's promise in plain words: who holds it."""

    def __init__(self) -> None:
        self.slot = ResponseSlot()
        self.running: list[Response] = []
        self.turns: list[Turn] = []

    def ask(self) -> None:
        self.slot.queue.append(reply())

    def post(self) -> None:
        wish = self.slot.next()
        if wish is not None:
            assert self.slot.active is None
            assert self.slot.posted is None
            self.slot.drop(wish)
            self.slot.posted = wish

    def begin(self) -> None:
        if self.slot.active is None:
            started = response(reply=self.slot.posted)
            self.slot.began(started)
            self.running.append(started)

    def call(self) -> None:
        if self.running:
            self.turns.append(self.slot.open_turn(self.running[-1]))

    def end(self) -> None:
        if self.running:
            self.slot.finished(self.running.pop())

    def answer(self) -> None:
        if self.turns:
            self.slot.close_turn(self.turns.pop())

    def refuse(self) -> None:
        if self.slot.posted is not None:
            self.slot.requeue(self.slot.posted)


@pytest.mark.behaviour("R10")
@given(st.lists(st.sampled_from(["ask", "post", "begin", "call", "end", "answer"])))
def test_nothing_keeps_the_slot_for_ever(script: list[str]) -> None:
    """Once every response has ended and every turn is answered, the next wish goes."""

    async def main() -> None:
        model = Model()
        for step in script:
            getattr(model, step)()
        while model.slot.posted is not None or model.running:
            model.begin()
            model.end()
        while model.turns:
            model.answer()
        assert model.slot.free_for(None)
        assert model.slot.idle is not bool(model.slot.queue)

    trio.run(main)
