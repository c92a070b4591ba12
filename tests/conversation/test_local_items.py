"""Items made here: they count at once, and are the server's when it announces them."""

from __future__ import annotations

from conversation.building import Server, call, output, spoken, text, words
from trialogue.conversation import ROOT, AudioPending, Message, Record


def test_a_local_item_is_in_the_record_until_a_server_holds_it() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    assert record.add_local(text("n"), "a").added == ("n",)
    assert record.snapshot().ids == ("a", "n")
    assert record.pending_local() == (text("n"),)
    assert record.is_local("n")
    assert view.ids == ("a",)
    assert not record.item_announced(view, text("n"), "a")
    assert record.pending_local() == ()
    assert not record.is_local("n")
    assert list(view.ids) == ["a", "n"]


def test_local_items_take_the_places_they_are_given() -> None:
    record = Record()
    record.add_local(text("b"))
    record.add_local(text("a"), ROOT)
    record.add_local(text("c"), "nobody")
    record.add_local(text("n"), "a")
    assert record.ids == ("a", "n", "b", "c")


def test_a_refused_item_is_dropped() -> None:
    record = Record()
    record.add_local(text("n"))
    assert record.drop_local("n").deleted == ("n",)
    assert not record.drop_local("n")
    assert record.ids == ()


def test_the_servers_order_decides_between_a_turn_and_an_item_in_flight() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.add_local(text("n"), "a")
    record.committed(view, "u", "a")
    assert record.ids == ("a", "u", "n")
    assert record.item_announced(view, text("n"), "a").updated == ("n",)
    assert record.ids == view.ids == ("a", "n", "u")


def test_an_item_in_flight_survives_its_connection() -> None:
    record = Record()
    record.add_local(text("n"))
    record.close_view(record.open_view())
    assert [item.id for item in record.replay_plan().items] == ["n"]


def test_an_anchor_proves_that_the_server_holds_it() -> None:
    """The answer to the first item was lost; the second one names it."""
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.add_local(text("n1"), "a")
    record.add_local(text("n2"), "n1")
    change = record.item_announced(view, text("n2"), "n1")
    assert not change.warnings
    assert record.pending_local() == ()
    assert view.ids == record.ids == ("a", "n1", "n2")


def test_an_item_refused_as_a_duplicate_is_held() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.add_local(text("n"), "a")
    assert not record.confirmed(view, "n").warnings
    assert view.ids == record.ids == ("a", "n")
    assert record.pending_local() == ()
    assert not record.confirmed(view, "nobody")


def test_a_replaced_item_is_new_here_at_once_and_survives_the_deletion() -> None:
    server = Server([text("a"), text("b", "old"), text("c")])
    snapshot = server.record.snapshot()
    operations = server.post(snapshot.replace(text("b", "new")))
    assert words(server.record.get("b")) == "new"
    assert server.record.pending_local() == (text("b", "new"),)
    server.apply(operations)
    assert server.record.snapshot() == server.context
    assert words(server.record.get("b")) == "new"
    assert server.record.pending_local() == ()


def test_what_the_replaced_item_still_says_does_not_change_the_new_one() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("b", "old"), None)
    record.add_local(text("b", "new"))
    assert not record.item_done(view, text("b", "old, done"), None)
    assert words(record.get("b")) == "new"


def test_a_refused_replacement_brings_back_what_the_server_still_has() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.item_announced(view, text("b", "old"), "a")
    record.delete_requested(view, "b")
    record.add_local(text("b", "new"), ROOT)
    assert record.ids == ("b", "a")
    record.delete_refused(view, "b")
    record.drop_local("b")
    assert record.ids == view.ids == ("a", "b")
    assert words(record.get("b")) == "old"


def test_a_replacement_refused_after_the_deletion_is_gone_as_at_the_server() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("b", "old"), None)
    record.add_local(text("b", "new"))
    assert not record.deleted(view, "b")
    assert record.drop_local("b").deleted == ("b",)
    assert record.ids == view.ids == ()


def test_a_replacement_whose_deletion_was_never_answered_is_held() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("b", "old"), None)
    record.add_local(text("b", "new"))
    record.item_announced(view, text("b", "new"), None)
    assert record.pending_local() == ()
    assert words(record.get("b")) == "new"


def test_an_item_sent_twice_is_held_once_both_are_answered() -> None:
    record = Record()
    view = record.open_view()
    for words_sent in ("old", "new"):
        record.add_local(text("n", words_sent))
    record.item_announced(view, text("n", "old"), None)
    assert record.is_local("n")
    assert words(record.get("n")) == "new"
    record.drop_local("n")
    assert record.ids == view.ids == ("n",)
    assert not record.is_local("n")
    assert words(record.get("n")) == "old"


def test_a_refused_move_puts_the_item_back() -> None:
    server = Server([text("a"), text("b"), text("c")])
    snapshot = server.record.snapshot()
    server.post(snapshot.remove("a").insert(text("a")))
    assert server.record.ids == ("b", "c", "a")
    server.record.drop_local("a")
    assert server.record.ids == ("a", "b", "c")


def test_a_deletion_without_an_answer_holds_for_the_next_connection() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.item_announced(view, text("b"), "a")
    record.delete_requested(view, "b")
    record.delete_requested(view, "nobody")
    assert list(record.ids) == ["a", "b"]
    assert record.close_view(view).deleted == ("b",)
    assert list(record.ids) == ["a"]


def test_a_refused_deletion_is_forgotten() -> None:
    record = Record()
    view = record.open_view()
    record.item_announced(view, text("a"), None)
    record.delete_requested(view, "a")
    record.delete_refused(view, "a")
    assert not record.close_view(view)
    assert record.ids == ("a",)


def test_forgotten_items_leave_without_a_server() -> None:
    record = Record()
    record.add_local(text("a"))
    record.add_local(text("b"))
    assert record.forget(["a", "nobody"]).deleted == ("a",)
    assert record.ids == ("b",)


def test_a_snapshot_can_be_restored_beside_what_came_since() -> None:
    server = Server([text("a"), call("c", "1"), output("o", "1"), text("b")])
    record = server.record
    before = record.snapshot()
    for item_id in ("a", "c", "o"):
        record.deleted(server.view, item_id)
    record.committed(server.view, "u", "b")
    assert record.restore(before).added == ("a", "c", "o")
    assert record.ids == ("a", "c", "o", "b", "u")
    assert [item.id for item in record.pending_local()] == ["a", "c", "o"]
    assert not record.restore(before)


def test_restoring_keeps_what_was_learned_since() -> None:
    record = Record()
    view = record.open_view()
    record.committed(view, "u", None)
    before = record.snapshot()
    record.transcript_done("u", 0, "Hello")
    record.restore(before)
    assert record.items == (spoken("u", "Hello"),)
    assert before.items == (Message("u", "user", (AudioPending(),)),)
