"""The user's turns: where they stand, and how their words arrive."""

from __future__ import annotations

from itertools import permutations

import pytest

from conversation.building import call, reply, spoken, text, words
from trialogue.conversation import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    Message,
    Record,
    UnknownAnchor,
)


@pytest.mark.behaviour("U1")
def test_a_turn_stands_where_it_began_although_others_spoke_before_its_item() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.speech_started(view, "u")
    record.item_announced(view, reply("r"), "a")
    record.committed(view, "u", None)
    assert record.ids == view.ids == ("a", "u", "r")
    change = record.item_announced(view, spoken("u", None), None, False)
    assert not change.warnings
    assert record.ids == ("a", "u", "r")


@pytest.mark.behaviour("U1")
def test_where_the_server_says_where_a_turn_stands_it_stands_there() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.speech_started(view, "u")
    record.item_announced(view, reply("r"), "a")
    record.committed(view, "u", "r")
    assert record.ids == view.ids == ("a", "r", "u")


@pytest.mark.behaviour("U1")
def test_a_provider_that_names_no_item_at_the_start_keeps_the_place_too() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.speech_started(view, None)
    record.item_announced(view, reply("r"), "a")
    record.item_announced(view, spoken("u", None), None, False)
    assert record.ids == view.ids == ("a", "u", "r")


@pytest.mark.behaviour("U1", "U2")
def test_late_transcripts_keep_their_own_turns_places() -> None:
    record = Record()
    view = record.open_view()
    for previous, item_id in ((None, "u1"), ("u1", "u2")):
        record.speech_started(view, item_id)
        record.committed(view, item_id, previous)
    record.item_announced(view, reply("r"), "u2")
    assert record.transcript_done("u2", 0, "second").transcribed == ("u2",)
    assert record.transcript_done("u1", 0, "first").transcribed == ("u1",)
    assert record.ids == ("u1", "u2", "r")
    assert [words(record.get(i)) for i in ("u1", "u2")] == ["first", "second"]


@pytest.mark.parametrize("ending", ["abandoned", "named", "closed"])
def test_a_turn_that_is_never_committed_keeps_no_place(ending: str) -> None:
    record = Record()
    view = record.open_view()
    record.speech_started(view, "u")
    match ending:
        case "abandoned":
            record.speech_abandoned(view)
        case "named":
            record.speech_abandoned(view, "u")
        case _:
            record.close_view(view)
            view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.item_announced(view, spoken("u"), "a")
    assert record.ids == ("a", "u")


def test_only_so_many_turns_keep_a_place() -> None:
    record = Record()
    view = record.open_view()
    for n in range(20):
        record.speech_started(view, f"u{n}")
    assert view.reserved == [f"u{n}" for n in range(12, 20)]


@pytest.mark.behaviour("S13")
def test_an_unknown_anchor_leaves_a_turn_where_it_began_and_warns() -> None:
    record = Record()
    view = record.open_view()
    record.speech_started(view, "u")
    record.item_announced(view, reply("r"), None)
    change = record.committed(view, "u", "nobody")
    assert change.warnings == (UnknownAnchor("u", "nobody"),)
    assert record.ids == ("u", "r")


def test_a_committed_turn_is_in_the_record_before_its_item_is_announced() -> None:
    record = Record()
    view = record.open_view()
    assert record.committed(view, "u", None).added == ("u",)
    assert record.items == (spoken("u", None),)
    assert not record.committed(view, "u", None)
    assert not record.item_announced(view, spoken("u", None), None)


EVENTS = ("committed", "announced", "done", "delta", "transcript")


def _play(record: Record, events: tuple[str, ...], item_id: str) -> list[str]:
    """Let the events of one turn happen; return the final transcripts told."""
    view = record.open_view()
    finals: list[str] = []
    for event in events:
        match event:
            case "committed":
                change = record.committed(view, item_id, None)
            case "announced":
                change = record.item_announced(view, spoken(item_id, None), None)
            case "done":
                change = record.item_done(view, spoken(item_id, None), None)
            case "delta":
                change = record.transcript_delta(item_id, 0, "Hel")
            case _:
                change = record.transcript_done(item_id, 0, "Hello")
        finals += [words(record.get(i)) for i in change.transcribed]
    return finals


@pytest.mark.behaviour("S15", "U2")
@pytest.mark.parametrize("events", [*permutations(EVENTS)], ids="-".join)
def test_a_transcript_stands_once_in_whatever_order_its_turn_is_told(
    events: tuple[str, ...],
) -> None:
    record = Record()
    assert _play(record, events, "u") == ["Hello"]
    assert record.items == (spoken("u", "Hello"),)


@pytest.mark.behaviour("S15", "U2")
def test_interim_words_are_never_final() -> None:
    record = Record()
    view = record.open_view()
    record.committed(view, "u", None)
    for piece in ("Hel", "lo ", "there"):
        assert not record.transcript_delta("u", 0, piece).transcribed
    assert record.get("u") == Message("u", "user", (AudioPending("Hello there"),))
    assert record.transcript_done("u", 0, "Hello there!").transcribed == ("u",)
    assert not record.transcript_delta("u", 0, "late")
    assert not record.transcript_done("u", 0, "Hello again")
    assert record.items == (spoken("u", "Hello there!"),)


def test_cumulative_interim_words_replace_those_before() -> None:
    record = Record()
    record.transcript_delta("u", 0, "Hel", cumulative=True)
    record.transcript_delta("u", 0, "Hello", cumulative=True)
    record.committed(record.open_view(), "u", None)
    assert record.get("u") == Message("u", "user", (AudioPending("Hello"),))


@pytest.mark.parametrize("early", [True, False])
def test_a_failed_transcript_may_still_come(early: bool) -> None:
    record = Record()
    view = record.open_view()
    if not early:
        record.committed(view, "u", None)
    assert not record.transcript_failed("u", 0, "noise").transcribed
    record.committed(view, "u", None)
    record.transcript_delta("u", 0, "ignored")
    assert record.get("u") == Message("u", "user", (AudioUnintelligible("noise"),))
    assert record.transcript_done("u", 0, "Hello").transcribed == ("u",)
    assert not record.transcript_failed("u", 0, "noise")


def test_a_turn_is_transcribed_when_all_its_parts_are() -> None:
    record = Record()
    view = record.open_view()
    parts = (AudioPending(duration_ms=100), AudioPending())
    record.item_announced(view, Message("u", "user", parts), None)
    assert not record.transcript_done("u", 0, "Hello").transcribed
    assert record.transcript_done("u", 1, "there").transcribed == ("u",)
    assert record.get("u") == Message(
        "u", "user", (AudioTranscribed("Hello", 100), AudioTranscribed("there"))
    )


def test_a_transcript_for_a_part_that_comes_later_waits_for_it() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, Message("u", "user", ()), None)
    record.transcript_done("u", 1, "there")
    assert record.get("u") == Message("u", "user", ())
    record.transcript_done("u", 0, "Hello")
    assert words(record.get("u")) == "Hello there"


def test_a_transcript_for_what_is_no_message_is_passed_over() -> None:
    record = Record()
    record.item_announced(record.open_view(), call("c", "1"), None)
    assert not record.transcript_done("c", 0, "Hello")
    assert record.items == (call("c", "1"),)


def test_typed_text_takes_no_transcript() -> None:
    record = Record()
    record.item_announced(record.open_view(), text("u", "typed"), None)
    assert not record.transcript_delta("u", 0, "x")
    assert not record.transcript_failed("u", 0)
    assert not record.transcript_done("u", 0, "x")


def test_only_so_many_transcripts_wait_for_an_item() -> None:
    record = Record(early_limit=2)
    view = record.open_view()
    for item_id in ("u1", "u2", "u3"):
        record.transcript_done(item_id, 0, "Hello")
    for at in range(100):
        record.transcript_done("u3", at, "more")
    record.committed(view, "u1", None)
    record.committed(view, "u3", None)
    assert record.get("u1") == spoken("u1", None)
    item = record.get("u3")
    assert isinstance(item, Message)
    assert len(item.content) == 16
