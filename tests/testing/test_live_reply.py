"""Replies whose parts come while the response is open, without I/O."""

from __future__ import annotations

import gc
import math
from typing import Any

import attrs
import pytest

from by_hand import PLAIN, Talk
from trialogue.testing import Pace, Pause, Say
from trialogue.testing.live_reply import LiveReply
from trialogue.testing.machine.agenda import Entry

FAST = attrs.evolve(PLAIN, pace=Pace(think_ms=50, burst=10, rate_limits_ms=None))


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def done_at(talk: Talk, kind: str = "response.done") -> float:
    """Run until the event is sent, and return when."""
    while kind not in types(talk.run(0.001)):
        assert talk.now < 100
    return talk.now


def test_a_response_is_open_until_its_reply_is_finished() -> None:
    """Parts are made from when they come; between them nothing is sent."""
    reply = LiveReply()
    talk = Talk(lambda turn: reply, settings=FAST)
    assert types(talk.say("response.create")) == ["response.created"]
    assert talk.run(20) == []
    assert repr(reply) == "<LiveReply open waiting=0>"
    reply.add(Say("One.", ms=1000), talk.now)
    assert done_at(talk, "response.output_item.done") == pytest.approx(20.1, abs=0.01)
    assert talk.run(20) == []
    reply.add("Two.", talk.now)
    reply.add("Three.", talk.now)
    talk.run(20)
    reply.finish(talk.now)
    [done] = talk.run(0)
    assert done["type"] == "response.done"
    texts = [item["content"][0]["transcript"] for item in done["response"]["output"]]
    assert texts == ["One.", "Two.", "Three."]
    assert done["response"]["status"] == "completed"


def test_what_is_there_at_once_is_thought_about_as_ever() -> None:
    reply = LiveReply()
    reply.add(Say("x", ms=1000), 0)
    reply.finish(0)
    talk = Talk(lambda turn: reply, settings=FAST)
    talk.say("response.create")
    assert done_at(talk) == pytest.approx(0.15, abs=0.01)


def test_the_response_says_when_it_wants_more_and_when_it_is_over() -> None:
    said: list[tuple[str, float]] = []
    reply = LiveReply(
        lambda: said.append(("want", talk.now)), lambda: said.append(("over", talk.now))
    )
    talk = Talk(lambda turn: reply, settings=FAST)
    talk.say("response.create")
    talk.run(1)
    reply.add(Say("x", ms=1000), talk.now)
    talk.run(1)
    reply.finish(talk.now)
    talk.run(1)
    assert [what for what, _ in said] == ["want", "want", "over"]
    assert [at for _, at in said] == pytest.approx([0.05, 1.1, 2], abs=0.01)


def test_what_comes_after_the_end_is_dropped() -> None:
    replies = [LiveReply(), LiveReply()]
    left = iter(replies)
    talk = Talk(lambda turn: next(left), settings=FAST)
    talk.say("response.create")
    talk.run(1)
    assert types(talk.say("response.cancel")) == ["response.done"]
    assert repr(replies[0]) == "<LiveReply ended waiting=0>"
    replies[0].add("late", talk.now)
    replies[0].finish(talk.now)
    assert talk.run(5) == []
    talk.say("response.create")
    replies[1].add("in time", talk.now)
    replies[1].finish(talk.now)
    done = talk.run(5)[-1]["response"]
    assert done["output"][0]["content"][0]["transcript"] == "in time"


def test_only_what_a_model_can_do_is_a_part() -> None:
    with pytest.raises(TypeError, match="made of text and of Say, Call"):
        LiveReply().add(7, 0)  # type: ignore[arg-type]


def test_a_connection_that_expires_is_done_with_its_replies() -> None:
    """Whoever makes them is told; what they add is sent behind no close."""
    over: list[str] = []
    replies = {
        name: LiveReply(on_over=lambda name=name: over.append(name))  # type: ignore[misc]
        for name in ("auto", "none")
    }
    talk = Talk(
        lambda turn: replies["auto" if turn.in_conversation else "none"],
        settings=attrs.evolve(FAST, max_duration=10),
    )
    for conversation in replies:
        talk.say("response.create", response={"conversation": conversation})
    assert types(talk.run(20)) == ["error"]
    assert talk.hangup is not None
    assert sorted(over) == ["auto", "none"]
    for reply in replies.values():
        reply.add("late", talk.now)
        reply.finish(talk.now)
    assert talk.run(5) == []


def test_a_part_may_be_added_as_soon_as_it_is_wanted() -> None:
    """Within the very call that asks for it."""
    words = iter(["One.", "Two."])

    def next_word() -> None:
        word = next(words, None)
        if word is None:
            reply.finish(talk.now)
        else:
            reply.add(word, talk.now)

    reply = LiveReply(next_word)
    talk = Talk(lambda turn: reply, settings=FAST)
    done = talk.respond()
    texts = [item["content"][0]["transcript"] for item in done["output"]]
    assert texts == ["One.", "Two."]


def test_a_pause_is_as_long_as_it_was_asked_for_whatever_comes() -> None:
    reply = LiveReply()
    reply.add(Pause(math.inf), 0)
    talk = Talk(lambda turn: reply, settings=FAST)
    talk.say("response.create")
    talk.run(1)
    reply.add("late", talk.now)
    reply.finish(talk.now)
    assert talk.run(60) == []


def test_a_reply_of_many_parts_leaves_nothing_behind() -> None:
    """A reply may go on for as long as its connection."""
    before = _entries()  # another test may have left some
    reply = LiveReply()
    talk = Talk(lambda turn: reply, settings=FAST)
    talk.say("response.create")
    talk.run(1)
    for _ in range(100):
        reply.add(Say("x", ms=40), talk.now)
        talk.run(1)
    assert _entries() - before < 50


def _entries() -> int:
    gc.collect()
    return sum(isinstance(thing, Entry) for thing in gc.get_objects())
