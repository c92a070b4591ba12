"""A context is a value: every edit gives a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from conversation.building import call, output, spoken, text
from trialogue.conversation import (
    ROOT,
    AudioPending,
    AudioTranscribed,
    ChatContext,
    ImageContent,
    Message,
    Record,
    TextContent,
)
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_adding_a_message_leaves_the_old_context_as_it_was() -> None:
    empty = ChatContext()
    full = empty.add_message("user", "Hello", id="m1")
    assert empty.items == ()
    assert full.items == (Message("m1", "user", (TextContent("Hello"),)),)


def test_a_message_gets_a_fresh_id_and_takes_one_part_or_several() -> None:
    picture = ImageContent("data:image/png;base64,AA==")
    context = ChatContext().add_message("user", picture)
    context = context.add_message("user", [TextContent("what is this?"), picture])
    first, second = context.items
    assert first.id != second.id
    assert isinstance(first, Message)
    assert first.content == (picture,)
    assert isinstance(second, Message)
    assert second.content == (TextContent("what is this?"), picture)


def test_an_agent_can_be_named_for_what_was_said() -> None:
    item = ChatContext().add_message("assistant", "Hi", agent="Kelly").items[0]
    assert isinstance(item, Message)
    assert item.agent == "Kelly"


@pytest.mark.parametrize(
    "build",
    [
        lambda: ChatContext((text("a"), text("a"))),
        lambda: ChatContext((text("a"),)).insert(text("a")),
        lambda: ChatContext((text("a"),)).add_message("user", "x", id="a"),
    ],
    ids=["constructor", "insert", "add_message"],
)
def test_an_id_that_is_taken_is_refused_by_name(
    build: Callable[[], ChatContext],
) -> None:
    with pytest.raises(ConfigurationError, match=r"items\[1\]\.id: 'a' stands twice"):
        build()


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="role 'tool'"):
        ChatContext().add_message("tool", "x")  # type: ignore[arg-type]


def test_insert_puts_an_item_behind_its_anchor() -> None:
    context = ChatContext((text("a"), text("b")))
    assert context.insert(text("n"), "a").ids == ("a", "n", "b")
    assert context.insert(text("n"), ROOT).ids == ("n", "a", "b")
    assert context.insert(text("n")).ids == ("a", "b", "n")


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.insert(text("n"), "gone"),
        lambda c: c.remove("gone"),
        lambda c: c.replace(text("gone")),
        lambda c: c.index_of("gone"),
    ],
    ids=["insert", "remove", "replace", "index_of"],
)
def test_an_id_that_is_not_there_is_named(
    edit: Callable[[ChatContext], object],
) -> None:
    with pytest.raises(ConfigurationError, match="no item 'gone'"):
        edit(ChatContext((text("a"),)))


def test_get_finds_an_item_or_nothing() -> None:
    context = ChatContext((text("a"), text("b")))
    assert context.get("b") == text("b")
    assert context.get("c") is None
    assert context.index_of("b") == 1
    assert "a" in context
    assert "c" not in context
    assert len(context) == 2
    assert [item.id for item in context] == ["a", "b"]


def test_remove_and_replace_keep_the_rest_in_order() -> None:
    context = ChatContext((text("a"), text("b"), text("c")))
    assert context.remove("b").ids == ("a", "c")
    changed = context.replace(text("b", "else"))
    assert changed.ids == ("a", "b", "c")
    assert changed.get("b") == text("b", "else")


def test_copy_leaves_out_what_is_excluded() -> None:
    context = ChatContext(
        (
            text("s", role="system"),
            text("u"),
            call("c", "1"),
            output("o", "1"),
            text("empty", ""),
            spoken("silent", None),
        )
    )
    assert context.copy() == context
    assert context.copy(exclude_function_calls=True).ids == (
        "s",
        "u",
        "empty",
        "silent",
    )
    assert context.copy(exclude_system=True).ids == ("u", "c", "o", "empty", "silent")
    assert "empty" not in context.copy(exclude_empty_message=True)
    assert "silent" in context.copy(exclude_empty_message=True)
    assert context.copy(keep=lambda item: item.id == "u").ids == ("u",)


def test_truncate_keeps_the_last_items_and_the_system_message() -> None:
    items = (text("s", role="system"), *(text(str(n)) for n in range(5)))
    context = ChatContext(items)
    assert context.truncate(3).ids == ("s", "3", "4")
    assert context.truncate(1).ids == ("s",)
    assert context.truncate(0).ids == ()
    assert context.truncate(99) == context
    assert ChatContext(items[1:]).truncate(2).ids == ("3", "4")


@pytest.mark.behaviour("S19")
def test_truncate_never_separates_an_output_from_its_call() -> None:
    context = ChatContext((text("u"), call("c", "1"), output("o", "1"), text("a")))
    assert context.truncate(2).ids == ("a",)
    assert context.truncate(3).ids == ("c", "o", "a")


@pytest.mark.parametrize("method", ["truncate", "last_turns"])
def test_a_negative_number_of_things_to_keep_is_refused(method: str) -> None:
    with pytest.raises(ConfigurationError, match="is -1"):
        getattr(ChatContext(), method)(-1)


def test_last_turns_begin_with_a_user_message() -> None:
    context = ChatContext(
        (
            text("s", role="system"),
            text("greeting", role="assistant"),
            text("u1"),
            text("a1", role="assistant"),
            text("u2"),
            text("a2", role="assistant"),
        )
    )
    assert context.last_turns(0).ids == ("s",)
    assert context.last_turns(1).ids == ("s", "u2", "a2")
    assert context.last_turns(2).ids == ("s", "u1", "a1", "u2", "a2")
    assert context.last_turns(3) == context
    assert context.last_turns(9) == context
    prologue = context.truncate(1)
    assert prologue.last_turns(1) == prologue.last_turns(0) == prologue


@pytest.mark.behaviour("S19")
def test_a_call_answered_in_a_later_turn_goes_with_its_output() -> None:
    context = ChatContext((text("u1"), call("c", "1"), text("u2"), output("o", "1")))
    assert context.last_turns(1).ids == ("u2",)


def test_equivalence_looks_past_what_a_model_is_not_given() -> None:
    said = Message("a", "assistant", (AudioTranscribed("Hi", 900),))
    noted = attrs.evolve(
        said,
        content=(AudioTranscribed("Hi"),),
        status="incomplete",
        agent="Kelly",
        heard_ms=3,
    )
    assert ChatContext((said,)).is_equivalent(ChatContext((noted,)))
    assert ChatContext((spoken("u", None),)).is_equivalent(
        ChatContext((Message("u", "user", (AudioPending("hel", 20),)),))
    )


@pytest.mark.parametrize(
    "other",
    [
        (),
        (text("a", "else"),),
        (text("b"),),
        (text("a", role="assistant"),),
        (spoken("a"),),
    ],
    ids=["none", "words", "id", "role", "spoken"],
)
def test_contexts_that_say_something_else_are_not_equivalent(
    other: tuple[Message, ...],
) -> None:
    assert not ChatContext((text("a"),)).is_equivalent(ChatContext(other))


def test_an_edited_snapshot_keeps_its_version() -> None:
    record = Record()
    record.add_local(text("a"))
    snapshot = record.snapshot()
    assert snapshot.version == record.version > 0
    assert snapshot.add_message("user", "more").version == snapshot.version
    assert ChatContext().version == 0
