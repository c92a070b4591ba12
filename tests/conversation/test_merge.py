"""An edit meets what happened since its snapshot was taken."""

from __future__ import annotations

import pytest

from conversation.building import Server, call, output, spoken, text, words
from trialogue.conversation import (
    ROOT,
    ChatContext,
    Create,
    Delete,
    Message,
    Record,
)
from trialogue.conversation.diff import diff, forgotten, merge, reanchor


def _abc() -> Server:
    return Server(text(i) for i in "abc")


@pytest.mark.behaviour("S20")
def test_an_unchanged_context_sends_nothing() -> None:
    server = _abc()
    assert server.plan(server.record.snapshot()) == ()
    snapshot = server.record.snapshot()
    server.add(text("u"))
    assert server.plan(snapshot) == ()


def test_deletions_go_first_and_a_creation_behind_its_predecessor() -> None:
    server = _abc()
    edited = server.record.snapshot().remove("b").insert(text("n"), "a")
    assert server.plan(edited) == (Delete("b"), Create(text("n"), "a"))


def test_what_goes_first_or_last_needs_no_neighbour() -> None:
    server = _abc()
    edited = server.record.snapshot().insert(text("first"), ROOT)
    edited = edited.insert(text("last")).insert(text("very last"))
    assert server.plan(edited) == (
        Create(text("first"), ROOT),
        Create(text("last"), None),
        Create(text("very last"), None),
    )


@pytest.mark.behaviour("S4")
def test_replacing_the_history_removes_the_old_items() -> None:
    server = _abc()
    server.apply(server.post(ChatContext((text("x"), text("y")))))
    assert server.context.ids == ("x", "y")
    assert server.record.ids == ("x", "y")
    server.apply(server.post(ChatContext()))
    assert list(server.record.ids) == server.order == []


@pytest.mark.behaviour("S4")
def test_a_context_of_another_conversation_replaces_the_history() -> None:
    """It is no edit, although it comes with a past of its own."""
    server, other = _abc(), Server([text("a"), text("z")])
    server.apply(server.post(other.record.snapshot()))
    assert server.context.ids == server.record.ids == ("a", "z")


@pytest.mark.behaviour("S14")
def test_a_turn_that_the_editor_has_not_seen_is_kept() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    server.add(spoken("u", None))
    server.add(text("r", role="assistant"))
    server.apply(server.post(snapshot.copy(keep=lambda item: False)))
    assert server.context.ids == server.record.ids == ("u", "r")


@pytest.mark.behaviour("S14")
def test_what_is_put_last_goes_behind_a_turn_that_came_meanwhile() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    server.add(text("u"))
    server.apply(server.post(snapshot.insert(text("n"))))
    assert server.context.ids == ("a", "b", "c", "u", "n")


def test_what_is_changed_in_place_stays_in_front_of_what_came_meanwhile() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    server.add(text("u"))
    edited = snapshot.replace(text("c", "else")).insert(text("n"), "b")
    server.apply(server.post(edited))
    assert server.context.ids == server.record.ids == ("a", "b", "n", "c", "u")


@pytest.mark.behaviour("S17")
def test_two_edits_of_one_snapshot_both_take_effect() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    one = server.post(snapshot.remove("a").insert(text("x")))
    two = server.post(snapshot.remove("b").insert(text("y"), ROOT))
    server.apply(one)
    server.apply(two)
    assert server.refused == []
    assert server.context.ids == server.record.ids == ("y", "c", "x")


@pytest.mark.behaviour("S17")
def test_the_second_edit_is_not_anchored_on_what_the_first_takes_out() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    one = server.post(snapshot.remove("b"))
    two = server.post(snapshot.remove("b").insert(text("y"), "a"))
    three = server.post(snapshot.insert(text("z"), "b"))
    assert two == (Create(text("y"), "a"),)
    for operations in (one, two, three):
        server.apply(operations)
    assert server.refused == []
    assert server.context.ids == ("a", "y", "z", "c")


@pytest.mark.behaviour("S17")
def test_an_item_in_flight_can_be_changed_and_taken_out_again() -> None:
    server = _abc()
    one = server.post(server.record.snapshot().insert(text("n", "old"), "a"))
    two = server.post(server.record.snapshot().replace(text("n", "new")))
    three = server.post(server.record.snapshot().remove("n"))
    assert server.post(server.record.snapshot().remove("n")) == ()
    for operations in (one, two, three):
        server.apply(operations)
    assert server.refused == []
    assert server.context.ids == server.record.ids == ("a", "b", "c")


def test_a_change_here_outlives_a_deletion_there() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    server.apply([Delete("b")])
    server.apply(server.post(snapshot.replace(text("b", "else"))))
    assert server.context.ids == ("a", "b", "c")


def test_a_deletion_there_outlives_a_move_here() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    server.apply([Delete("c")])
    assert server.plan(snapshot.remove("c").insert(text("c"), ROOT)) == ()


def test_an_edit_sent_again_before_its_answer_is_sent_again() -> None:
    server = _abc()
    edited = server.record.snapshot().insert(text("n"), "a")
    first = server.post(edited)
    assert server.post(edited) == first
    server.apply(first)
    assert server.plan(edited) == ()


def test_an_edit_sent_again_with_other_words_replaces_them() -> None:
    server = _abc()
    edited = server.record.snapshot().insert(text("n", "old"), "a")
    server.apply(server.post(edited))
    operations = server.post(edited.replace(text("n", "new")))
    assert operations == (Delete("n"), Create(text("n", "new"), "a"))
    server.apply(operations)
    assert words(server.record.get("n")) == "new"


@pytest.mark.behaviour("S1")
def test_a_new_message_without_content_is_never_sent() -> None:
    server = _abc()
    edited = server.record.snapshot().insert(text("n", "")).insert(text("m"))
    assert server.plan(edited) == (Create(text("m"), None),)


@pytest.mark.behaviour("S2")
def test_an_empty_message_that_the_server_has_is_not_deleted() -> None:
    server = Server([text("a"), Message("e", "assistant", ()), text("b")])
    snapshot = server.record.snapshot()
    assert server.plan(snapshot) == ()
    assert server.plan(snapshot.remove("b")) == (Delete("b"),)


@pytest.mark.behaviour("S3")
def test_audio_without_a_transcript_that_was_dropped_is_deleted() -> None:
    server = _abc()
    server.record.committed(server.view, "u", "c")
    assert server.plan(server.record.snapshot().remove("u")) == (Delete("u"),)


def test_a_moved_item_is_created_with_what_is_known_of_it_by_now() -> None:
    server = Server([spoken("u1", None), spoken("u2", None)])
    snapshot = server.record.snapshot()
    edited = snapshot.remove("u1").insert(spoken("u1", None))
    for item_id in ("u1", "u2"):
        server.record.transcript_done(item_id, 0, "Hello")
    (deletion, creation) = server.plan(edited)
    assert isinstance(deletion, Delete)
    assert isinstance(creation, Create)
    assert creation.item == spoken(deletion.item_id, "Hello")


@pytest.mark.behaviour("S19")
def test_an_output_that_came_meanwhile_goes_with_its_call() -> None:
    server = Server([text("a"), text("b"), call("c", "1")])
    snapshot = server.record.snapshot()
    server.add(output("o", "1"))
    assert server.plan(snapshot.remove("c")) == (Delete("c"), Delete("o"))
    moved = ChatContext((call("c", "1"), text("a"), text("b")))
    edited = snapshot.copy(keep=lambda item: False)
    for item in moved:
        edited = edited.insert(item)
    server.apply(server.post(edited))
    assert server.context.ids == server.record.ids == ("c", "o", "a", "b")


@pytest.mark.behaviour("S19")
def test_an_output_in_flight_counts_and_goes_with_its_call() -> None:
    server = Server([text("a"), call("c", "1")])
    snapshot = server.record.snapshot()
    server.record.add_local(output("o", "1"))
    assert server.plan(snapshot.remove("c")) == (Delete("c"), Delete("o"))


@pytest.mark.behaviour("S19")
def test_a_pair_is_created_together_and_an_output_alone_is_not() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    pair = snapshot.insert(output("o", "1"), "a").insert(call("k", "1"), "b")
    assert server.plan(pair) == (
        Create(call("k", "1"), "b"),
        Create(output("o", "1"), "k"),
    )
    assert server.plan(snapshot.insert(output("o", "1"))) == ()


@pytest.mark.behaviour("S19")
def test_an_output_for_a_call_that_the_editor_has_not_seen_is_sent() -> None:
    server = _abc()
    snapshot = server.record.snapshot()
    server.add(call("c", "1"))
    assert server.plan(snapshot.insert(output("o", "1"))) == (
        Create(output("o", "1"), None),
    )


def test_items_that_this_server_was_never_given_are_only_forgotten() -> None:
    record = Record()
    old = record.open_view()
    record.item_announced(old, text("a"), None)
    record.item_announced(old, text("b"), "a")
    record.close_view(old)
    fresh = record.open_view()
    record.item_announced(fresh, text("b"), None)
    edit = diff(record.snapshot(), ChatContext((text("x"),)))
    assert merge(edit, record, fresh) == (Delete("b"), Create(text("x"), None))
    assert forgotten(edit, record, fresh) == ("a",)


def test_without_a_connection_an_edit_is_merged_with_all_items() -> None:
    record = Record()
    for item_id in "abc":
        record.add_local(text(item_id))
    record.close_view(record.open_view())
    snapshot = record.snapshot()
    edited = snapshot.remove("a").remove("c").insert(text("c"), ROOT)
    for operation in merge(diff(snapshot, edited), record, record.view_of_all()):
        match operation:
            case Delete(item_id):
                record.forget([item_id])
            case Create(item, after):
                record.add_local(item, after)
    assert record.ids == ("c", "b")


def test_the_followers_of_a_refused_item_go_behind_its_predecessor() -> None:
    operations = (
        Create(text("x"), "a"),
        Create(text("y"), "x"),
        Create(text("z"), "y"),
        Create(text("w"), "c"),
    )
    again = (Create(text("y"), "a"), Create(text("z"), "y"))
    assert reanchor(operations, {"x"}) == again
    assert reanchor(operations, {"x", "y", "z"}) == again
    assert reanchor(operations, {"w"}) == ()


def test_the_followers_of_a_vanished_item_go_behind_the_nearest_that_is_left() -> None:
    operations = (Delete("b"), Create(text("x"), "c"), Create(text("y"), "x"))
    assert reanchor(operations, {"c"}, order=["a", "b", "c"]) == (
        Create(text("x"), "a"),
        Create(text("y"), "x"),
    )
    assert reanchor(operations, {"c"}, order=["c"])[0].after == ROOT
    assert reanchor(operations, {"c"})[0].after is None


@pytest.mark.behaviour("S16")
def test_followers_find_a_place_though_two_items_were_to_change_places() -> None:
    """`a` stood in front of `b` and was to stand behind it; both are gone."""
    operations = (
        Delete("a"),
        Delete("b"),
        Create(text("a"), "b"),
        Create(text("c"), "a"),
    )
    (again,) = reanchor(operations, {"a"}, faulty={"a"}, order=["x", "a", "b"])
    assert (again.item_id, again.after) == ("c", "x")


def test_one_refused_item_leaves_its_followers_in_order() -> None:
    server = _abc()
    edited = server.record.snapshot()
    for item_id, after in (("x", "a"), ("y", "x"), ("z", "y")):
        edited = edited.insert(text(item_id), after)
    operations = server.post(edited)
    server.apply(o for o in operations if o.item_id != "x")
    refused = {"x", *(o.item_id for o in server.refused)}
    assert refused == {"x", "y", "z"}
    server.record.drop_local("x")
    server.apply(reanchor(operations, refused))
    assert server.context.ids == server.record.ids == ("a", "y", "z", "b", "c")
