"""The model's replies: their words, who said them, and how much was heard."""

from __future__ import annotations

import pytest

from conversation.building import reply, spoken, text, words
from trialogue.conversation import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    FunctionCallOutput,
    ImageContent,
    Message,
    Record,
    TextContent,
    View,
)


def _speaking(*pieces: str) -> tuple[Record, View]:
    record = Record()
    view = record.open_view()
    record.item_announced(view, reply("r"), None)
    for piece in pieces:
        record.output_text("r", 0, piece, spoken=True)
    return record, view


def test_a_reply_grows_and_is_then_whole() -> None:
    record, view = _speaking("One two ", "three")
    assert record.get("r") == Message(
        "r", "assistant", (AudioPending("One two three"),), "in_progress"
    )
    record.output_text_ended("r", 0, "One two three.", spoken=True)
    record.output_text("r", 0, "late", spoken=True)
    record.item_done(
        view, Message("r", "assistant", (AudioTranscribed("One two three."),))
    )
    record.output_text("r", 0, "late", spoken=True)
    record.output_text("r", 1, "late", spoken=True)
    assert record.items == (spoken("r", "One two three.", "assistant"),)


def test_written_text_grows_and_is_then_whole() -> None:
    record = Record()
    view = record.open_view()
    record.output_text("r", 0, "On")
    record.item_announced(view, reply("r"), None)
    record.output_text("r", 0, "e")
    assert record.get("r") == Message(
        "r", "assistant", (TextContent("One"),), "in_progress"
    )
    record.output_text_ended("r", 0, "")
    record.output_text("r", 0, "late")
    assert words(record.get("r")) == "One"
    record.output_text_ended("r", 0, "One.")
    assert words(record.get("r")) == "One."


def test_a_second_part_stands_behind_the_first() -> None:
    record, _ = _speaking("One")
    record.output_text("r", 2, "three", spoken=True)
    record.output_text("r", 1, "two")
    item = record.get("r")
    assert isinstance(item, Message)
    assert item.content == (
        AudioPending("One"),
        TextContent("two"),
        AudioPending("three"),
    )


@pytest.mark.parametrize("spoken_part", [True, False])
def test_a_whole_text_that_comes_before_the_item_waits_for_it(
    spoken_part: bool,
) -> None:
    record = Record()
    record.output_text_ended("r", 0, "One", spoken=spoken_part)
    record.item_announced(record.open_view(), reply("r"), None)
    assert words(record.get("r")) == "One"


def test_words_for_other_kinds_of_content() -> None:
    record = Record()
    view = record.open_view()
    picture = ImageContent("data:image/png;base64,AA==")
    parts = (picture, AudioUnintelligible(), AudioTranscribed("known"))
    record.item_announced(view, Message("r", "assistant", parts, "in_progress"), None)
    for at in range(3):
        record.output_text("r", at, "more", spoken=True)
    for at in range(3):
        record.output_text_ended("r", at, "whole", spoken=True)
    item = record.get("r")
    assert isinstance(item, Message)
    whole = AudioTranscribed("whole")
    assert item.content == (picture, whole, whole)


def test_a_reply_and_a_call_bear_the_agents_name_early_or_late() -> None:
    record = Record()
    view = record.open_view()
    record.set_agent("r", "Kelly")
    record.item_announced(view, reply("r"), None)
    record.item_done(view, Message("r", "assistant", (AudioTranscribed("Hi"),)))
    item = record.get("r")
    assert isinstance(item, Message)
    assert item.agent == "Kelly"
    assert not record.set_agent("r", "Kelly")
    record.item_announced(view, FunctionCallOutput("o", "1", "x"), "r")
    assert not record.set_agent("o", "Kelly")


SENTENCE = "one two three four five six seven eight nine ten"


def test_of_an_interrupted_reply_the_record_keeps_what_was_heard() -> None:
    record, view = _speaking(SENTENCE)
    change = record.set_heard("r", 500, received_ms=1000)
    assert change.updated == ("r",)
    record.output_text_ended("r", 0, SENTENCE, spoken=True)
    done = Message("r", "assistant", (AudioTranscribed(SENTENCE),), "incomplete")
    record.item_done(view, done)
    item = record.get("r")
    assert isinstance(item, Message)
    assert item.text == "one two three four five"
    assert item.heard_ms == 500
    assert item.status == "incomplete"


def test_the_words_heard_are_taken_from_whoever_knows_them() -> None:
    record, _ = _speaking(SENTENCE)
    record.set_heard("r", 500, "one two")
    assert words(record.get("r")) == "one two"


@pytest.mark.parametrize(
    ("ms", "received", "left"),
    [
        (0, 1000, ""),
        (-5, 1000, ""),
        (0, None, ""),
        (20, 1000, ""),
        (80, 1000, "one"),
        (1000, 1000, SENTENCE),
        (9999, 1000, SENTENCE),
        (500, None, SENTENCE),
        (500, 0, SENTENCE),
    ],
)
def test_words_are_cut_in_proportion_to_time(
    ms: int, received: int | None, left: str
) -> None:
    record, _ = _speaking(SENTENCE)
    record.set_heard("r", ms, received_ms=received)
    item = record.get("r")
    assert isinstance(item, Message)
    assert item.text == left
    assert item.heard_ms == max(0, ms)


def test_the_length_that_the_item_knows_serves_as_well() -> None:
    record = Record()
    parts = (AudioTranscribed(SENTENCE, 1000),)
    record.item_announced(record.open_view(), Message("r", "assistant", parts), None)
    record.set_heard("r", 500)
    assert words(record.get("r")) == "one two three four five"


def test_a_cut_leaves_earlier_parts_and_written_text_alone() -> None:
    record = Record()
    parts = (
        AudioTranscribed("first part"),
        AudioTranscribed("second part"),
        TextContent("written"),
        AudioTranscribed("third part"),
    )
    record.item_announced(record.open_view(), Message("r", "assistant", parts), None)
    record.set_heard("r", 600, received_ms=1000, content_index=1)
    assert words(record.get("r")) == "first part second written"


def test_the_servers_word_counts_where_the_client_said_nothing() -> None:
    record, view = _speaking(SENTENCE)
    record.truncated(view, "r", 0, 0)
    item = record.get("r")
    assert isinstance(item, Message)
    assert (item.text, item.heard_ms) == ("", 0)


def test_what_the_client_heard_stands_when_the_server_confirms_it() -> None:
    record, view = _speaking(SENTENCE)
    record.set_heard("r", 500, "one two")
    assert not record.truncated(view, "r", 0, 480)
    assert words(record.get("r")) == "one two"


def test_how_much_was_heard_may_be_known_before_the_item() -> None:
    record = Record()
    view = record.open_view()
    record.truncated(view, "r", 0, 700)
    record.set_heard("r", 500, "one")
    record.truncated(view, "r", 0, 700)
    record.item_announced(
        view, Message("r", "assistant", (AudioTranscribed(SENTENCE),))
    )
    item = record.get("r")
    assert isinstance(item, Message)
    assert (item.text, item.heard_ms) == ("one", 500)


def test_a_heard_note_on_what_is_no_message_changes_nothing() -> None:
    record = Record()
    record.item_announced(record.open_view(), FunctionCallOutput("o", "1", "x"), None)
    assert not record.set_heard("o", 10)
    assert record.items == (FunctionCallOutput("o", "1", "x"),)


def test_a_typed_message_is_not_cut() -> None:
    record = Record()
    record.item_announced(record.open_view(), text("r", SENTENCE, "assistant"), None)
    record.set_heard("r", 1, received_ms=1000)
    assert words(record.get("r")) == SENTENCE
