"""What leaves a conversation that has grown too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.conversation.units import answered, in_turns, is_user

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trialogue.conversation.items import Item

__all__ = ["overdue"]


def overdue(
    items: Sequence[Item],
    keep: int,
    *,
    most: int | None = None,
) -> tuple[str, ...]:
    """Return the ids of what has to leave so that about `keep` items remain, in order.

    The oldest turns leave, whole: a user message and all that follows it. A call goes
    with its output, wherever that stands, and one that has no output yet keeps its
    turn here. Leading system messages stay, and so does the newest turn; only if it
    alone is more than `keep`, its oldest items leave, but not the user's.

    Args:
        most: stop after about so many; the rest is for the next time.
    """
    surplus = len(items) - keep
    wanted = surplus if most is None else min(surplus, most)
    if wanted <= 0:
        return ()
    pairs = _pairs(items)
    unanswered = _open_calls(items)
    leaving: set[str] = set()
    for group in _leaving_together(items, keep):
        together = {other for item in group for other in pairs.get(item.id, [item.id])}
        if unanswered.isdisjoint(together):
            leaving |= together
        if len(leaving) >= wanted:
            break
    return tuple(item.id for item in items if item.id in leaving)


def _leaving_together(items: Sequence[Item], keep: int) -> Iterator[Iterable[Item]]:
    """Yield what leaves as a whole, the oldest first."""
    _, turns = in_turns(items)
    yield from turns[:-1]
    newest = turns[-1] if turns else ()
    if len(newest) > keep:
        yield from ([item] for item in newest if not is_user(item))


def _pairs(items: Iterable[Item]) -> dict[str, list[str]]:
    """Return, for each call and output, the ids of all that have its `call_id`."""
    halves = [i for i in items if isinstance(i, FunctionCall | FunctionCallOutput)]
    together: dict[str, list[str]] = {}
    for item in halves:
        together.setdefault(item.call_id, []).append(item.id)
    return {item.id: together[item.call_id] for item in halves}


def _open_calls(items: Sequence[Item]) -> set[str]:
    outputs = answered(items)
    return {
        item.id
        for item in items
        if isinstance(item, FunctionCall) and item.call_id not in outputs
    }
