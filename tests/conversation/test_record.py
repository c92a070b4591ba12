"""The record joins what servers announce with what is known already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conversation.building import call, output, reply, spoken, text, words
from trialogue.conversation import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    Change,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Message,
    OpaqueItem,
    Record,
    TextContent,
    UnknownAnchor,
)

if TYPE_CHECKING:
    from trialogue.conversation import ItemStatus


def test_announced_items_stand_in_the_order_of_the_server() -> None:
    record = Record()
    view = record.open_view()
    assert record.item_announced(view, text("a"), None).added == ("a",)
    record.item_announced(view, text("b"), "a")
    record.item_announced(view, text("n"), "a")
    assert record.ids == view.ids == ("a", "n", "b")
    assert [item.id for item in record] == ["a", "n", "b"]
    assert "n" in record
    assert "n" in view


def test_every_change_is_told_once_and_counted() -> None:
    record = Record()
    view = record.open_view()
    item = text("a")
    assert record.item_announced(view, item, None) == Change(added=("a",), version=1)
    assert record.item_done(view, item, None) == Change(version=1)
    assert not record.item_done(view, item, None)
    assert record.deleted(view, "a") == Change(deleted=("a",), version=2)
    assert record.deleted(view, "a") == Change(version=2)


def test_a_snapshot_does_not_change_with_the_record() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    before = record.snapshot()
    assert record.snapshot() is before
    record.item_announced(view, text("b"), "a")
    assert before.ids == ("a",)
    assert record.snapshot().ids == ("a", "b")
    assert record.snapshot().version > before.version


@pytest.mark.behaviour("S13")
def test_an_unknown_anchor_appends_with_a_warning() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    change = record.item_announced(view, text("b"), "nobody")
    assert change.added == ("b",)
    assert change.warnings == (UnknownAnchor("b", "nobody"),)
    assert record.ids == ("a", "b")


@pytest.mark.behaviour("S13")
@pytest.mark.parametrize("known", [True, False])
def test_an_absent_anchor_appends_with_a_warning(known: bool) -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    change = record.item_announced(view, text("b"), None, known)
    assert change.warnings == (UnknownAnchor("b", None),)
    assert record.ids == ("a", "b")
    assert not record.item_done(view, text("b"), None, known).warnings


@pytest.mark.behaviour("S13")
def test_an_item_that_is_its_own_anchor_appends_with_a_warning() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    assert record.item_announced(view, text("b"), "b").warnings
    assert record.ids == ("a", "b")


def test_the_anchor_that_is_known_later_gives_a_guessed_item_its_place() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.item_announced(view, text("b"), "a")
    record.item_announced(view, text("c"), "nobody")
    change = record.item_done(view, text("c"), "a", True)
    assert change.updated == ("c",)
    assert record.ids == view.ids == ("a", "c", "b")


def test_a_repeated_anchor_does_not_move_an_item_past_later_ones() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.item_announced(view, text("u"), "a")
    record.item_announced(view, text("n"), "a")
    assert not record.item_done(view, text("u"), "a", True)
    assert record.ids == ("a", "n", "u")


def test_an_item_first_heard_of_when_done_joins() -> None:
    record = Record()
    view = record.open_view()
    assert record.item_done(view, text("a"), None, True).added == ("a",)
    assert record.item_done(view, text("b"), "a", True).added == ("b",)


def test_a_deleted_item_does_not_come_back_by_what_is_said_late() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, reply("a"), None)
    record.deleted(view, "a")
    assert not record.item_done(view, text("a", role="assistant"), None, True)
    assert not record.output_text("a", 0, "late", spoken=True)
    assert not record.transcript_done("a", 0, "late")
    assert not record.set_agent("a", "Kelly")
    assert not record.set_heard("a", 10)
    assert record.ids == view.ids == ()


def test_an_item_announced_again_after_its_deletion_is_new() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a", "old"), None)
    record.deleted(view, "a")
    assert record.item_announced(view, text("a", "new"), None).added == ("a",)
    assert words(record.get("a")) == "new"


@pytest.mark.parametrize(
    "known",
    [AudioTranscribed("Hello"), AudioUnintelligible("noise"), AudioPending("Hel")],
    ids=["transcribed", "unintelligible", "interim"],
)
def test_pending_audio_never_replaces_what_is_known(
    known: AudioPending | AudioTranscribed | AudioUnintelligible,
) -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, Message("u", "user", (known,)), None)
    record.item_done(view, spoken("u", None), None)
    assert record.get("u") == Message("u", "user", (known,))


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_final_status_stays(status: ItemStatus) -> None:
    record = Record()
    view = record.open_view()
    reported: list[ItemStatus] = ["in_progress", status, "in_progress", "completed"]
    for said in reported:
        record.item_done(view, reply("a", said), None, True)
    item = record.get("a")
    assert item is not None
    assert item.status == status


def test_empty_content_never_replaces_words() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a", "Hello"), None)
    assert not record.item_done(view, text("a", ""), None)
    assert not record.item_done(view, Message("a", "user", ()), None)
    assert record.item_done(view, text("a", "Hello there"), None).updated == ("a",)


def test_audio_stays_audio_when_another_server_is_given_its_words() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, spoken("u", "Hello"), None)
    record.close_view(view)
    fresh = record.open_view()
    assert not record.item_announced(fresh, text("u", "Hello"), None)
    assert record.get("u") == spoken("u", "Hello")


def test_a_part_of_another_kind_is_taken_if_it_says_something() -> None:
    record = Record()
    view = record.open_view()
    picture = ImageContent("data:image/png;base64,AA==")
    record.item_announced(view, Message("u", "user", (picture,)), None)
    assert not record.item_done(view, spoken("u", None), None)
    record.item_done(view, spoken("u", "Hello"), None)
    assert record.get("u") == spoken("u", "Hello")


def test_whose_call_it_is_may_be_known_before_the_call() -> None:
    record = Record()
    record.set_agent("c", "Kelly")
    record.item_announced(record.open_view(), call("c", "1"), None)
    assert record.get("c") == FunctionCall("c", "1", "look_up", "{}", agent="Kelly")


def test_a_call_grows_and_is_then_settled() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(
        view, FunctionCall("c", "1", "look_up", "", "in_progress"), None
    )
    record.set_agent("c", "Kelly")
    record.item_done(view, call("c", "1", '{"city": "Lima"}'), None)
    record.item_announced(view, call("c", "1", '{"city": "Rome"}'), None)
    assert record.get("c") == FunctionCall(
        "c", "1", "look_up", '{"city": "Lima"}', agent="Kelly"
    )


def test_an_echo_without_text_does_not_empty_an_output() -> None:
    record = Record()
    view = record.open_view()
    record.add_local(output("o", "1", "sunny"))
    record.item_announced(view, FunctionCallOutput("o", "", ""), None)
    assert record.get("o") == output("o", "1", "sunny")


def test_an_id_used_for_another_kind_of_item_is_what_the_server_says() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.item_announced(view, OpaqueItem("a", "mcp_call"), None)
    assert record.get("a") == OpaqueItem("a", "mcp_call")


def test_open_calls_are_those_without_an_output() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, call("c1", "1"), None)
    record.item_announced(view, call("c2", "2"), "c1")
    assert [c.call_id for c in record.open_calls()] == ["1", "2"]
    record.add_local(output("o1", "1"))
    assert [c.call_id for c in record.open_calls()] == ["2"]


def test_a_closed_view_changes_nothing_but_transcripts_still_arrive() -> None:
    record = Record()
    view = record.open_view()
    record.committed(view, "u", None)
    record.close_view(view)
    record.close_view(view)
    assert not record.item_announced(view, text("late"), "u")
    assert not record.item_done(view, text("late"), "u")
    assert not record.deleted(view, "u")
    assert not record.truncated(view, "u", 0, 10)
    assert not record.committed(view, "late", "u")
    assert not record.speech_started(view, "late")
    assert record.transcript_done("u", 0, "Hello").transcribed == ("u",)
    assert record.items == (spoken("u", "Hello"),)


def test_a_fresh_connection_does_not_put_its_first_turn_in_front_of_history() -> None:
    record = Record()
    old = record.open_view()
    record.item_announced(old, text("a"), None)
    record.item_announced(old, text("b"), "a")
    record.close_view(old)
    fresh = record.open_view()
    record.item_announced(fresh, text("u"), None)
    assert record.ids == ("a", "b", "u")
    assert fresh.ids == ("u",)


def test_replayed_items_stay_in_their_places() -> None:
    record = Record()
    old = record.open_view()
    for previous, item_id in zip((None, *"abc"), "abcd", strict=True):
        record.item_announced(old, text(item_id), previous)
    record.close_view(old)
    fresh = record.open_view()
    record.item_announced(fresh, text("c"), None)
    record.item_announced(fresh, text("d"), "c")
    assert not record.item_announced(fresh, text("u"), "d").updated
    assert record.ids == ("a", "b", "c", "d", "u")
    assert fresh.ids == ("c", "d", "u")


def test_live_objects_tell_their_state() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.add_local(text("b"))
    assert repr(record) == "<Record version=2 items=2 local=1>"
    assert repr(view) == "<View 1 open held=1>"
    record.close_view(view)
    assert repr(view) == "<View 1 closed held=1>"
    assert len(record) == 2
    assert len(view) == 1


def test_content_that_comes_late_is_text_where_the_item_is_text() -> None:
    record = Record()
    view = record.open_view()
    record.transcript_done("a", 0, "misheard")
    record.item_announced(view, text("a", "typed"), None)
    assert record.get("a") == Message("a", "user", (TextContent("typed"),))


def test_only_so_many_deletions_are_remembered() -> None:
    record = Record()
    view = record.open_view()
    for n in range(300):
        record.item_announced(view, text(f"i{n}"), None)
        record.deleted(view, f"i{n}")
    assert not record.item_done(view, text("i299"), None)
    assert record.item_done(view, text("i0"), None).added == ("i0",)


def test_the_old_view_can_be_closed_while_the_next_one_serves() -> None:
    record = Record()
    old = record.open_view()
    record.item_announced(old, text("a"), None)
    fresh = record.open_view()
    record.add_local(text("n"))
    record.item_announced(fresh, text("a"), None)
    record.close_view(old)
    assert record.is_local("n")
    assert not record.item_announced(fresh, text("n"), "a")
    assert record.ids == fresh.ids == ("a", "n")
