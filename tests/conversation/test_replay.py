"""What a fresh connection is given."""

from __future__ import annotations

import attrs
import pytest

from conversation.building import call, output, reply, spoken, text, words
from trialogue.conversation import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    ImageContent,
    Item,
    Message,
    OpaqueItem,
    Record,
    Replay,
)
from trialogue.conversation.replay import estimated_tokens


def _replay(
    *items: Item,
    max_items: int | None = None,
    max_tokens: int | None = None,
    running: tuple[str, ...] = (),
) -> Replay:
    record = Record()
    for item in items:
        record.add_local(item)
    return record.replay_plan(
        max_items=max_items, max_tokens=max_tokens, running=running
    )


def _ids(replay: Replay) -> list[str]:
    return [item.id for item in replay.items]


def test_a_conversation_is_replayed_in_order() -> None:
    items = (text("s", role="system"), spoken("u"), call("c", "1"), output("o", "1"))
    replay = _replay(*items)
    assert replay == Replay(items)


def test_an_unfinished_reply_is_left_out_unless_some_was_heard() -> None:
    words_so_far = (AudioPending("One two three four"),)
    unheard = Message("r1", "assistant", words_so_far, "in_progress")
    record = Record()
    record.add_local(text("u"))
    record.add_local(unheard)
    record.add_local(attrs.evolve(unheard, id="r2"))
    record.set_heard("r2", 500, received_ms=1000)
    replay = record.replay_plan()
    assert _ids(replay) == ["u", "r2"]
    assert replay.unfinished == ("r1",)
    assert replay.items[1] == Message(
        "r2", "assistant", (AudioTranscribed("One two"),), "in_progress", heard_ms=500
    )


def test_of_a_finished_but_interrupted_reply_the_heard_words_are_replayed() -> None:
    record = Record()
    record.add_local(spoken("r", "One two three four", "assistant"))
    record.set_heard("r", 500, received_ms=1000)
    assert words(record.replay_plan().items[0]) == "One two"
    record.set_heard("r", 0)
    assert record.replay_plan().items == ()


def test_a_call_that_nobody_answers_is_left_out() -> None:
    replay = _replay(text("u"), call("c1", "1"), call("c2", "2"), running=("2",))
    assert _ids(replay) == ["u", "c2"]
    assert replay.unfinished == ("c1",)
    assert replay.omitted == 0


def test_an_output_without_its_call_is_left_out() -> None:
    assert _ids(_replay(text("u"), output("o", "1"))) == ["u"]


def test_messages_that_say_nothing_are_left_out() -> None:
    replay = _replay(
        text("empty", ""),
        spoken("silence", ""),
        Message("r", "assistant", (AudioUnintelligible(),)),
        reply("nothing", "completed"),
        text("u"),
    )
    assert _ids(replay) == ["u"]


def test_turns_that_nobody_transcribed_need_their_audio() -> None:
    replay = _replay(
        spoken("u1", None),
        Message("u2", "user", (AudioUnintelligible("noise"),)),
        spoken("u3"),
        text("u4"),
    )
    assert _ids(replay) == ["u1", "u2", "u3", "u4"]
    assert replay.needs_audio == {"u1", "u2"}


TURNS = (
    text("s", role="system"),
    text("u1"),
    text("a1", role="assistant"),
    text("u2"),
    text("a2", role="assistant"),
    text("u3"),
)


@pytest.mark.parametrize(
    ("max_items", "expected"),
    [
        (None, ["s", "u1", "a1", "u2", "a2", "u3"]),
        (6, ["s", "u1", "a1", "u2", "a2", "u3"]),
        (5, ["s", "u2", "a2", "u3"]),
        (4, ["s", "u2", "a2", "u3"]),
        (3, ["s", "u3"]),
        (1, ["s"]),
        (0, []),
    ],
)
def test_the_newest_whole_turns_that_fit_are_replayed(
    max_items: int | None, expected: list[str]
) -> None:
    replay = _replay(*TURNS, max_items=max_items)
    assert _ids(replay) == expected
    assert replay.omitted == len(TURNS) - len(expected)


def test_a_prologue_that_exceeds_the_budget_is_left_out() -> None:
    prologue = tuple(text(f"s{n}", role="system") for n in range(3))
    assert _ids(_replay(*prologue, max_items=2)) == []
    assert _ids(_replay(*prologue, text("u"), max_items=2)) == ["u"]


def test_the_budget_can_be_in_tokens() -> None:
    cost = sum(map(estimated_tokens, (TURNS[0], *TURNS[3:])))
    assert _ids(_replay(*TURNS, max_tokens=cost)) == ["s", "u2", "a2", "u3"]
    assert _ids(_replay(*TURNS, max_tokens=cost - 1)) == ["s", "u3"]


def test_of_one_turn_that_is_too_long_the_newest_items_are_replayed() -> None:
    items = (text("u"), *(text(f"a{n}", role="assistant") for n in range(5)))
    assert _ids(_replay(*items, max_items=2)) == ["a3", "a4"]


@pytest.mark.behaviour("S19")
def test_a_call_and_its_output_are_replayed_together_or_not_at_all() -> None:
    items = (text("u"), call("c", "1"), output("o", "1"), text("a", role="assistant"))
    assert _ids(_replay(*items, max_items=2)) == ["a"]
    assert _ids(_replay(*items, max_items=3)) == ["c", "o", "a"]
    across = (text("u1"), call("c", "1"), text("u2"), output("o", "1"))
    assert _ids(_replay(*across, max_items=2)) == ["u2"]


@pytest.mark.parametrize(
    ("item", "tokens"),
    [
        (text("u", "a" * 40), 14),
        (text("u", "é" * 20), 14),
        (call("c", "1", "a" * 33), 14),
        (output("o", "1", "a" * 40), 14),
        (OpaqueItem("x", "y", {}), 4),
        (Message("u", "user", (AudioPending(duration_ms=5000),)), 54),
        (Message("u", "user", (AudioUnintelligible(),)), 4),
        (Message("u", "user", (ImageContent("data:"),)), 1004),
    ],
    ids=["ascii", "utf8", "call", "output", "opaque", "audio", "unknown", "image"],
)
def test_estimated_tokens(item: Item, tokens: int) -> None:
    assert estimated_tokens(item) == tokens
