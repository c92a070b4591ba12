"""Calls with their outputs, and turns: what is kept and dropped together (S19)."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from trialogue.conversation.items import (
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = [
    "answered",
    "called",
    "calls_before_outputs",
    "in_turns",
    "inverted",
    "is_system",
    "is_user",
    "last_whole",
    "without_orphan_outputs",
]


def called(items: Iterable[Item]) -> set[str]:
    """Return the call ids of the calls."""
    return {item.call_id for item in items if isinstance(item, FunctionCall)}


def answered(items: Iterable[Item]) -> set[str]:
    """Return the call ids that have an output."""
    return {item.call_id for item in items if isinstance(item, FunctionCallOutput)}


def without_orphan_outputs(
    kept: Sequence[Item], whole: Sequence[Item] = ()
) -> tuple[Item, ...]:
    """Return `kept` without the halves of pairs that are complete in `whole` only.

    An output needs its call. A call that had its output in `whole` and lost it goes
    too; one that is still open there stays open.
    """
    calls = called(kept)
    lost = answered(whole) - answered(kept)
    return tuple(
        item
        for item in kept
        if not (isinstance(item, FunctionCallOutput) and item.call_id not in calls)
        and not (isinstance(item, FunctionCall) and item.call_id in lost)
    )


def last_whole(items: Sequence[Item], max_items: int) -> tuple[Item, ...]:
    """Return the last items, at most so many, keeping pairs and a system prologue."""
    if len(items) <= max_items:
        return tuple(items)
    lead = items[:1] if max_items > 0 and is_system(items[0]) else ()
    room = max_items - len(lead)
    tail = items[len(items) - room :] if room > 0 else ()
    return without_orphan_outputs((*lead, *tail), items)


def is_system(item: Item) -> bool:
    """Whether the item is a system message."""
    return isinstance(item, Message) and item.role == "system"


def is_user(item: Item) -> bool:
    """Whether the item is a user message, with which a turn begins."""
    return isinstance(item, Message) and item.role == "user"


def in_turns(
    items: Sequence[Item],
) -> tuple[tuple[Item, ...], list[tuple[Item, ...]]]:
    """Split off the leading system messages, and the rest into turns.

    A turn is a user message and all that follows it; what stands in front of the first
    user message is a turn of its own.
    """
    lead = tuple(takewhile(is_system, items))
    turns: list[list[Item]] = []
    for item in items[len(lead) :]:
        if not turns or is_user(item):
            turns.append([])
        turns[-1].append(item)
    return lead, [tuple(turn) for turn in turns]


def calls_before_outputs(
    items: Sequence[Item], *, but: Collection[str] = ()
) -> tuple[Item, ...]:
    """Return the items with each output that precedes its call put right behind it.

    Args:
        but: ids of calls (`call_id`) whose outputs stay where they are.
    """
    calls = called(items) - set(but)
    early: dict[str, list[Item]] = {}
    ordered: list[Item] = []
    for item in items:
        if isinstance(item, FunctionCallOutput) and item.call_id in calls:
            early.setdefault(item.call_id, []).append(item)
            continue
        ordered.append(item)
        if isinstance(item, FunctionCall):
            calls.discard(item.call_id)
            ordered.extend(early.pop(item.call_id, ()))
    return tuple(ordered)


def inverted(items: Sequence[Item]) -> set[str]:
    """Return the call ids of which an output stands in front of the call."""
    calls = called(items)
    found: set[str] = set()
    for item in items:
        if isinstance(item, FunctionCall):
            calls.discard(item.call_id)
        elif isinstance(item, FunctionCallOutput) and item.call_id in calls:
            found.add(item.call_id)
    return found
