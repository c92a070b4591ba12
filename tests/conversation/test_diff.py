"""What counts as a change of a context, and what does not."""

from __future__ import annotations

import attrs
import pytest

from conversation.building import call, output, spoken, text
from trialogue.conversation import (
    ROOT,
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    ChatContext,
    Content,
    Message,
    OpaqueItem,
    Record,
)
from trialogue.conversation.diff import diff
from trialogue.conversation.subsequence import heaviest_increasing

ABC = ChatContext((text("a"), text("b"), text("c")))


@pytest.mark.behaviour("S20")
def test_an_unchanged_context_has_no_difference() -> None:
    assert not diff(ABC, ABC)
    assert not diff(ABC, ChatContext.from_json(ABC.to_json()))


@pytest.mark.behaviour("S20")
def test_what_a_provider_would_not_see_is_no_difference() -> None:
    noted = attrs.evolve(
        text("a"), status="in_progress", agent="Kelly", heard_ms=5, role="user"
    )
    assert not diff(ABC, ABC.replace(noted))
    timed = Message("u", "user", (AudioTranscribed("words", 900),))
    assert not diff(ChatContext((spoken("u"),)), ChatContext((timed,)))
    listing = OpaqueItem("x", "mcp_list_tools", {"tools": []}, "in_progress")
    held = ChatContext((listing,))
    assert not diff(held, held.replace(attrs.evolve(listing, status="completed")))
    other = attrs.evolve(listing, data={"tools": ["search"]})
    assert diff(held, held.replace(other)).replaced == ("x",)


def test_each_change_is_of_one_kind() -> None:
    edited = ABC.remove("b").replace(text("c", "else")).insert(text("n"), "a")
    edit = diff(ABC, edited)
    assert edit.deleted == ("b",)
    assert edit.replaced == ("c",)
    assert edit.inserted == ("n",)
    assert edit.moved == ()
    assert edit.target == edited.items
    assert edit.seen == {"a", "b", "c"}


@pytest.mark.behaviour("S1")
def test_a_new_message_without_content_is_left_out() -> None:
    for empty in (text("n", ""), text("n", "  "), Message("n", "user", ())):
        assert not diff(ABC, ABC.insert(empty))


@pytest.mark.behaviour("S2")
def test_an_empty_message_that_is_still_listed_is_left_alone() -> None:
    held = ChatContext((text("a"), Message("e", "assistant", ()), text("b", "")))
    assert not diff(held, held)
    assert diff(held, held.insert(text("n"), "e")).inserted == ("n",)


@pytest.mark.behaviour("S1")
def test_a_message_that_was_emptied_is_deleted() -> None:
    edit = diff(ABC, ABC.replace(text("b", "")))
    assert edit.deleted == ("b",)
    assert edit.replaced == ()


@pytest.mark.behaviour("S3")
def test_audio_without_a_transcript_that_was_dropped_is_deleted() -> None:
    held = ChatContext((text("a"), spoken("u", None)))
    assert diff(held, held.remove("u")).deleted == ("u",)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (AudioPending(), AudioPending("Hel")),
        (AudioPending(), AudioTranscribed("Hello")),
        (AudioTranscribed("Hello"), AudioPending()),
        (AudioTranscribed("Hello", 900), AudioTranscribed("Hello")),
        (AudioUnintelligible("noise"), AudioTranscribed("Hello")),
    ],
    ids=["interim", "arrived", "older", "duration", "after all"],
)
def test_knowing_more_or_less_of_the_same_audio_is_no_change(
    before: Content, after: Content
) -> None:
    held = ChatContext((Message("u", "user", (before,)),))
    assert not diff(held, held.replace(Message("u", "user", (after,))))


def test_audio_is_replaced_by_text_only_if_the_words_are_others() -> None:
    held = ChatContext((spoken("u", "Hello"),))
    assert not diff(held, held.replace(text("u", "Hello")))
    assert diff(held, held.replace(text("u", "Goodbye"))).replaced == ("u",)
    assert diff(held, held.replace(spoken("u", "Goodbye"))).replaced == ("u",)
    longer = Message("u", "user", (AudioTranscribed("Hello"), AudioTranscribed("!")))
    assert diff(held, held.replace(longer)).replaced == ("u",)


@pytest.mark.behaviour("S21")
def test_a_reorder_moves_what_was_typed_rather_than_what_was_spoken() -> None:
    held = ChatContext((text("a"), text("b"), spoken("u")))
    edited = ChatContext((spoken("u"), text("a"), text("b")))
    assert diff(held, edited).moved == ("a", "b")


@pytest.mark.behaviour("S21")
def test_one_item_taken_elsewhere_is_one_move() -> None:
    items = tuple(text(i) for i in "abcdef")
    held = ChatContext(items)
    for item in items:
        for anchor in (ROOT, *held.remove(item.id).ids):
            edited = held.remove(item.id).insert(item, anchor)
            edit = diff(held, edited)
            assert len(edit.moved) == (edited != held)
            assert edit.deleted == edit.inserted == edit.replaced == ()


@pytest.mark.behaviour("S19")
def test_taking_out_one_half_of_a_pair_takes_out_the_other() -> None:
    held = ChatContext((text("a"), call("c", "1"), output("o", "1"), call("open", "2")))
    assert diff(held, held.remove("c")).deleted == ("c", "o")
    assert diff(held, held.remove("o")).deleted == ("c", "o")
    assert diff(held, held.remove("open")).deleted == ("open",)


@pytest.mark.behaviour("S19")
def test_an_output_can_be_rewritten_under_its_call() -> None:
    held = ChatContext((call("c", "1"), output("o", "1", "old")))
    assert diff(held, held.replace(output("o", "1", "new"))).replaced == ("o",)
    edit = diff(held, held.remove("o").insert(output("o2", "1", "new")))
    assert edit.deleted == ("o",)
    assert edit.inserted == ("o2",)


@pytest.mark.behaviour("S19")
def test_an_output_moves_with_its_call_and_never_ahead_of_it() -> None:
    held = ChatContext((call("c", "1"), text("a"), text("b"), output("o", "1")))
    edited = ChatContext((text("a"), text("b"), call("c", "1"), output("o", "1")))
    assert diff(held, edited).moved == ("c", "o")
    swapped = ChatContext((output("o", "1"), text("a"), call("c", "1"), text("b")))
    ids = [item.id for item in diff(held, swapped).target]
    assert ids == ["a", "c", "o", "b"]


def test_an_output_that_never_had_a_call_is_left_alone() -> None:
    held = ChatContext((output("o", "1"), text("a")))
    assert not diff(held, held)
    assert diff(held, held.remove("a")).deleted == ("a",)


def test_a_hand_made_context_is_compared_with_the_record_as_it_is() -> None:
    record = Record()
    record.add_local(text("a"))
    old = record.snapshot()
    record.add_local(text("b"))
    assert record.base_of(old.add_message("user", "x")).ids == ("a",)
    assert record.base_of(ChatContext((text("x"),))).ids == ("a", "b")
    other = Record()
    other.add_local(text("z"))
    assert record.base_of(other.snapshot()).ids == ("a", "b")


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [
        ([], [], []),
        ([5], [1], [0]),
        ([1, 2, 3], [1, 1, 1], [0, 1, 2]),
        ([3, 1, 2], [1, 1, 1], [1, 2]),
        ([3, 1, 2], [3, 1, 1], [0]),
        ([2, 9, 4, 7], [1, 5, 1, 1], [0, 1]),
    ],
    ids=range(6),
)
def test_the_heaviest_increasing_subsequence(
    values: list[int], weights: list[int], expected: list[int]
) -> None:
    assert heaviest_increasing(values, weights) == expected
