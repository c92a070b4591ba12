"""How much of a reply reached the program, and so where it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialogue.conversation.items import FunctionCall, Message
from trialogue.realtime.replies import CutItem
from trialogue.realtime.reply_content import ReplyContent
from trialogue.realtime.reply_log import Cursor


def content() -> ReplyContent:
    return ReplyContent(300, 10_000, lambda: None)


def speak(one: ReplyContent, item_id: str, *pieces_ms: int, ended: bool = True) -> None:
    """A message is made, with words and pieces of sound of these lengths."""
    message = Message(item_id, "assistant", (), "in_progress")
    one.item(message, ended=False)
    for ms in pieces_ms:
        one.text(item_id, "la ", spoken=True)
        one.audio(item_id, bytes(ms * 48))
    if ended:
        one.audio_ended(item_id)
        one.item(message, ended=True)


def listen(one: ReplyContent, pieces: int) -> None:
    one.listened = True
    cursor = Cursor(one.sound)
    for _ in range(pieces):
        piece = cursor.take()
        assert piece is not None
        one.take_sound(piece)


def read(one: ReplyContent) -> None:
    cursor = Cursor(one.words)
    while (piece := cursor.take()) is not None:
        one.take_words(piece)


@pytest.mark.behaviour("U3")
def test_what_was_taken_as_sound_is_what_was_heard() -> None:
    one = content()
    speak(one, "a", 100, 200, 300)
    listen(one, 2)
    assert one.heard_ms == 300
    assert one.leave() == [CutItem("a", 300, 600, complete=True)]


@pytest.mark.behaviour("U3")
def test_a_message_heard_to_its_end_is_not_cut_and_one_never_begun_is() -> None:
    one = content()
    speak(one, "a", 100)
    speak(one, "b", 50)
    listen(one, 1)
    assert one.leave() == [CutItem("b", 0, 50, complete=True)]


@pytest.mark.behaviour("U3")
def test_one_that_is_still_made_is_cut_at_the_end_of_what_came() -> None:
    """More of it may be at the server already."""
    one = content()
    speak(one, "a", 100, ended=False)
    listen(one, 1)
    assert one.leave() == [CutItem("a", 100, 100)]


@pytest.mark.behaviour("U3")
@given(st.integers(-100, 2000))
def test_a_loudspeaker_position_counts_over_all_messages_and_is_clamped(
    played: int,
) -> None:
    """Never negative, never more of a message than has come."""
    one = content()
    speak(one, "a", 200, 300)
    speak(one, "b", 400)
    listen(one, 3)
    one.played(played)
    heard = [one.heard_of(part) for part in one.parts]
    assert sum(heard) == one.heard_ms == max(0, min(played, 900))
    assert heard[0] == max(0, min(played, 500))


def test_who_reads_the_words_alone_has_nothing_cut() -> None:
    one = content()
    speak(one, "a", 100)
    read(one)
    assert not one.unheard
    assert one.leave() == []


def test_words_do_not_count_where_they_are_a_transcript_of_what_is_heard() -> None:
    one = content()
    speak(one, "a", 100)
    one.listened = True
    read(one)
    assert one.unheard
    assert one.leave() == [CutItem("a", 0, 100, complete=True)]


def test_who_takes_the_outcome_takes_all_of_it() -> None:
    one = content()
    speak(one, "a", 100)
    one.accepted = True
    assert not one.unheard
    assert one.leave() == []


def test_a_reply_that_nobody_looked_at_was_not_heard() -> None:
    one = content()
    speak(one, "a", 100)
    one.text("b", "written", spoken=False)
    assert one.unheard
    assert [item.item_id for item in one.leave()] == ["a", "b"]


@pytest.mark.behaviour("U3")
def test_silence_stops_the_sound_once_and_leaves_written_words_alone() -> None:
    one = content()
    speak(one, "a", 100, 100)
    one.text("b", "written", spoken=False)
    listen(one, 1)
    assert one.silence() == [CutItem("a", 100, 200, complete=True)]
    one.audio("a", bytes(4800))
    assert one.received_ms(one.parts[0]) == 200
    assert one.silence() == []
    assert one.leave() == [CutItem("b", 0, 0)]
    assert one.leave() == []


def test_what_is_made_anew_begins_empty_unless_something_was_taken() -> None:
    one, other = content(), content()
    for each in (one, other):
        speak(each, "a", 100)
        each.call(FunctionCall("i", "c", "f", "{}"))
    listen(other, 1)
    one.restart()
    other.restart()
    assert (one.parts, one.calls, one.sound.received()) == ([], [], 0)
    assert (len(other.parts), len(other.calls), other.sound.received()) == (1, 1, 2400)


def test_nothing_is_taken_in_after_the_end() -> None:
    one = content()
    one.end()
    speak(one, "a", 100)
    one.call(FunctionCall("i", "c", "f", "{}"))
    assert (one.parts, one.calls, one.sound.received(), one.words.received()) == (
        [],
        [],
        0,
        0,
    )
