"""Whatever happens: nothing raises, nothing is lost, and edits do what they say."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation.building import Server, text
from conversation.generated import CALL_IDS, IDS, ITEMS, MESSAGES, MS, WORDS
from trialogue.conversation import (
    ChatContext,
    Create,
    Delete,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Record,
    View,
)
from trialogue.conversation.diff import diff, forgotten, merge
from trialogue.conversation.equivalence import has_content

# Every method that reports something, with strategies for its arguments. "view" stands
# for one of the views that were opened.
ID = IDS | st.just("")
INDEX = st.integers(-1, 3)
ANCHOR = st.none() | ID | st.just("root")
CALLS: dict[str, tuple[Any, ...]] = {
    "item_announced": ("view", ITEMS, ANCHOR, st.booleans()),
    "item_done": ("view", ITEMS, ANCHOR, st.booleans()),
    "confirmed": ("view", ID),
    "deleted": ("view", ID),
    "truncated": ("view", ID, INDEX, st.integers(-5, 5000)),
    "speech_started": ("view", st.none() | ID),
    "speech_abandoned": ("view", st.none() | ID),
    "committed": ("view", ID, ANCHOR),
    "transcript_delta": (ID, INDEX, WORDS, st.booleans()),
    "transcript_done": (ID, INDEX, WORDS),
    "transcript_failed": (ID, INDEX, WORDS),
    "output_text": (ID, INDEX, WORDS, st.booleans()),
    "output_text_ended": (ID, INDEX, WORDS, st.booleans()),
    "set_agent": (ID, WORDS),
    "set_heard": (ID, st.integers(-5, 5000), st.none() | WORDS),
    "add_local": (ITEMS, ANCHOR),
    "drop_local": (ID,),
    "delete_requested": ("view", ID),
    "delete_refused": ("view", ID),
    "forget": (st.lists(ID, max_size=2),),
    "close_view": ("view",),
}
DELETING = {"deleted", "drop_local", "forget", "close_view"}


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[str, list[Any]]]:
    steps: list[tuple[str, list[Any]]] = []
    for name in draw(st.lists(st.sampled_from(sorted(CALLS)), max_size=25)):
        arguments = CALLS[name]
        steps.append((name, [a if a == "view" else draw(a) for a in arguments]))
    return steps


def _run(record: Record, steps: list[tuple[str, list[Any]]]) -> list[View]:
    """Make the calls; after each, check that all that was announced is still there."""
    views = [record.open_view()]
    present: set[str] = set()
    version = record.version
    for name, given_arguments in steps:
        arguments = [views[-1] if a == "view" else a for a in given_arguments]
        change = getattr(record, name)(*arguments)
        if change is not None:
            assert record.version == change.version == version + bool(change)
            assert not present & set(change.added)
            assert set(change.updated) | set(change.deleted) <= present
            assert not change.deleted or name in DELETING
            present = (present | set(change.added)) - set(change.deleted)
            version = change.version
        assert present == set(record.ids)
        if name == "close_view":
            views.append(record.open_view())
    return views


@pytest.mark.behaviour("S22")
@settings(max_examples=400, deadline=None)
@given(_steps())
def test_no_sequence_of_calls_raises_or_loses_an_announced_item(
    steps: list[tuple[str, list[Any]]],
) -> None:
    record = Record(early_limit=4)
    (*_, view) = _run(record, steps)
    assert len(set(record.ids)) == len(record.ids) == len(record)
    assert tuple(item.id for item in record.items) == record.ids
    assert record.snapshot() == ChatContext.from_json(record.snapshot().to_json())
    local = {item.id for item in record.pending_local()}
    assert local <= set(record.ids)
    held = (set(view.ids) & set(record.ids)) - local
    assert [i for i in view.ids if i in held] == [i for i in record.ids if i in held]


@pytest.mark.behaviour("S22")
@settings(deadline=None)
@given(_steps(), st.integers(0, 6), st.none() | st.integers(0, 100))
def test_every_record_can_be_replayed_within_its_budget(
    steps: list[tuple[str, list[Any]]], max_items: int, max_tokens: int | None
) -> None:
    record = Record()
    _run(record, steps)
    replay = record.replay_plan(max_items=max_items, max_tokens=max_tokens)
    assert len(replay.items) <= max_items
    ids = [item.id for item in replay.items]
    assert ids == [i for i in record.ids if i in ids]
    assert replay.needs_audio <= set(ids)
    calls = {i.call_id for i in replay.items if isinstance(i, FunctionCall)}
    outputs = {i.call_id for i in replay.items if isinstance(i, FunctionCallOutput)}
    assert outputs == calls
    assert all(has_content(item) for item in replay.items)


@st.composite
def _legal_items(draw: st.DrawFn, ids: str) -> list[Item]:
    """Items as a sound editor writes them: with content, calls before their outputs."""
    items: list[Item] = []
    for item_id in draw(st.lists(st.sampled_from(ids), unique=True, max_size=6)):
        kind = draw(st.sampled_from(["message", "message", "pair", "call"]))
        if kind == "message":
            items.append(text(item_id, draw(st.sampled_from(["one", "two"]))))
            continue
        items.append(FunctionCall(item_id, f"call_{item_id}", "tool", "{}"))
        if kind == "pair":
            result = draw(st.sampled_from(["yes", "no"]))
            made = FunctionCallOutput(f"{item_id}o", f"call_{item_id}", result)
            at = draw(st.integers(len(items), len(items) + 2))
            items.insert(at, made)
    return items


@st.composite
def _edited(draw: st.DrawFn, held: list[Item]) -> list[Item]:
    """What an editor may make of the items: other order, words, fewer and new ones."""
    pairs = {i.call_id for i in held if isinstance(i, FunctionCallOutput)}
    kept = [item for item in held if draw(st.integers(0, 3))]
    calls = {i.call_id for i in kept if isinstance(i, FunctionCall)}
    outputs = {i.call_id for i in kept if isinstance(i, FunctionCallOutput)}
    whole = [
        item
        for item in kept
        if not (
            (isinstance(item, FunctionCallOutput) and item.call_id not in calls)
            or (
                isinstance(item, FunctionCall)
                and item.call_id in pairs
                and item.call_id not in outputs
            )
        )
    ]
    mixed = draw(st.permutations(whole)) if draw(st.booleans()) else whole
    for item in draw(_legal_items("uvwxyz")):
        mixed = [*mixed, item]
    if draw(st.booleans()):
        mixed = [
            text(i.id, "three") if isinstance(i, Message) and draw(st.booleans()) else i
            for i in mixed
        ]
    return _calls_first(list(mixed))


def _calls_first(items: list[Item]) -> list[Item]:
    ordered: list[Item] = []
    waiting: dict[str, Item] = {}
    calls = {i.call_id for i in items if isinstance(i, FunctionCall)}
    seen: set[str] = set()
    for item in items:
        if isinstance(item, FunctionCallOutput) and item.call_id in calls - seen:
            waiting[item.call_id] = item
            continue
        ordered.append(item)
        if isinstance(item, FunctionCall):
            seen.add(item.call_id)
            if item.call_id in waiting:
                ordered.append(waiting.pop(item.call_id))
    return ordered


@pytest.mark.behaviour("S4", "S20")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_an_edit_that_nobody_else_disturbs_gives_what_was_asked_for(
    data: st.DataObject,
) -> None:
    held = _calls_first(data.draw(_legal_items("abcdef")))
    server = Server(held)
    wanted = ChatContext(tuple(data.draw(_edited(held))))
    operations = server.post(wanted)
    server.apply(operations)
    assert server.refused == []
    assert server.context.is_equivalent(wanted)
    assert server.record.snapshot().is_equivalent(wanted)
    assert server.plan(wanted) == ()


@pytest.mark.behaviour("S14", "S17", "S19")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_two_edits_and_a_turn_of_the_user_all_take_effect(data: st.DataObject) -> None:
    held = _calls_first(data.draw(_legal_items("abcdef")))
    server = Server(held)
    snapshot = server.record.snapshot()
    one = _derived(snapshot, data.draw(_edited(held)))
    two = _derived(
        snapshot,
        [i for i in data.draw(_edited(held)) if i.id in snapshot or i.id not in one],
    )
    flying = [server.post(one)]
    server.add(text("turn"))
    flying.append(server.post(two))
    for operations in flying:
        server.apply(operations)
    now = set(server.context.ids)
    assert now == set(server.record.ids)
    assert server.context.ids == server.record.ids
    assert "turn" in now
    for edited in (one, two):
        new = {i.id for i in edited if i.id not in snapshot and _stands_alone(i)}
        assert new <= now
    kept = {i.id for i in one if i.id in two} & set(snapshot.ids)
    assert kept <= now
    calls = {i.call_id for i in server.context if isinstance(i, FunctionCall)}
    for item in server.context:
        assert not isinstance(item, FunctionCallOutput) or item.call_id in calls


def _stands_alone(item: Item) -> bool:
    return not isinstance(item, FunctionCallOutput)


def _derived(snapshot: ChatContext, items: list[Item]) -> ChatContext:
    edited = snapshot.copy(keep=lambda item: False)
    for item in items:
        edited = edited.insert(item)
    return edited


@pytest.mark.behaviour("S21")
@settings(deadline=None)
@given(st.permutations("abcdefg"))
def test_a_reorder_takes_the_fewest_operations_there_are(order: list[str]) -> None:
    server = Server(text(i) for i in "abcdefg")
    wanted = ChatContext(tuple(text(i) for i in order))
    operations = server.post(wanted)
    moves = [o for o in operations if isinstance(o, Create)]
    assert len(operations) == 2 * len(moves)
    assert len(moves) == len(order) - _longest_increasing(order)
    server.apply(operations)
    assert server.context.ids == tuple(order)


def _longest_increasing(order: list[str]) -> int:
    return next(
        size
        for size in range(len(order), 0, -1)
        if any(list(c) == sorted(c) for c in combinations(order, size))
    )


@settings(deadline=None)
@given(_steps(), st.lists(ITEMS, max_size=5, unique_by=lambda item: item.id))
def test_any_edit_of_any_record_can_be_merged(
    steps: list[tuple[str, list[Any]]], items: list[Item]
) -> None:
    record = Record()
    (*_, view) = _run(record, steps)
    edited = ChatContext(tuple(items))
    edit = diff(record.base_of(edited), edited)
    operations = merge(edit, record, view)
    created = [o.item.id for o in operations if isinstance(o, Create)]
    deleted = [o.item_id for o in operations if isinstance(o, Delete)]
    assert len(set(created)) == len(created)
    assert len(set(deleted)) == len(deleted)
    assert set(created) <= set(edited.ids) | set(deleted)
    assert not set(forgotten(edit, record, view)) & set(view.ids)
    assert not diff(edited, edited)


@given(MESSAGES, MS, CALL_IDS)
def test_no_context_is_changed_by_what_is_done_with_it(
    message: Message, ms: int | None, call_id: str
) -> None:
    record = Record()
    record.add_local(message)
    before = record.snapshot()
    record.set_heard(message.id, ms or 0, "x")
    record.add_local(FunctionCall("call", call_id, "tool", "{}"))
    assert before.items == (message,)
