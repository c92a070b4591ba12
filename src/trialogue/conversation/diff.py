"""From an edited context to what its editor changed.

`diff` compares the context with the snapshot that it was taken from; `merge` applies
the difference to the conversation as it is by then; `reanchor` re-sends what followed
an item that was refused. A changed or moved item is deleted and created again under its
own id, so that ids mean the same to the editor, the record and the server throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.conversation.edits import Create, Delete, Edit, Operation
from trialogue.conversation.equivalence import (
    has_content,
    is_spoken,
    really_changed,
)
from trialogue.conversation.items import FunctionCall, FunctionCallOutput, Item
from trialogue.conversation.merge import forgotten, merge, reanchor
from trialogue.conversation.subsequence import heaviest_increasing
from trialogue.conversation.units import (
    answered,
    called,
    calls_before_outputs,
    inverted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.conversation.context import ChatContext

__all__ = [
    "Create",
    "Delete",
    "Edit",
    "Operation",
    "diff",
    "forgotten",
    "merge",
    "reanchor",
]


def diff(snapshot: ChatContext, edited: ChatContext) -> Edit:
    """Return what turns `snapshot` into `edited`.

    Differences that a provider would not see (status, durations, annotations) are none,
    nor is it a change that one side knows a transcript and the other does not (H12). A
    new message without content is left out (S1), and one that was emptied is deleted;
    one that was empty before is left alone (S2). When one half of a call and its output
    is taken out, so is the other (S19).

    The order is reached with the fewest items moved (S21) among the ways that move the
    fewest spoken ones, since those come back as text. An output moves with its call.
    """
    before = {item.id: item for item in snapshot.items}
    target = _whole_pairs(_sendable(edited.items, before), snapshot.items)
    present = {item.id for item in target}
    replaced = {
        item.id
        for item in target
        if item.id in before and really_changed(before[item.id], item)
    }
    moved = _moved(target, snapshot.ids, replaced)
    return Edit(
        deleted=tuple(i for i in before if i not in present),
        inserted=tuple(item.id for item in target if item.id not in before),
        replaced=tuple(item.id for item in target if item.id in replaced),
        moved=tuple(item.id for item in target if item.id in moved),
        target=target,
        seen=frozenset(before),
    )


def _sendable(items: Sequence[Item], before: dict[str, Item]) -> list[Item]:
    """Leave out messages without content, unless that is how they were."""
    return [
        item
        for item in items
        if has_content(item) or (item.id in before and not has_content(before[item.id]))
    ]


def _whole_pairs(items: Sequence[Item], before: Sequence[Item]) -> tuple[Item, ...]:
    """Take out the halves of pairs that the editor broke; put calls before outputs."""
    lost_calls = called(before) - called(items)
    lost_outputs = answered(before) - answered(items)
    kept = [
        item
        for item in items
        if not (isinstance(item, FunctionCallOutput) and item.call_id in lost_calls)
        and not (isinstance(item, FunctionCall) and item.call_id in lost_outputs)
    ]
    return calls_before_outputs(kept, but=inverted(before))


def _moved(
    target: Sequence[Item], before: Sequence[str], replaced: set[str]
) -> set[str]:
    place = {item_id: at for at, item_id in enumerate(before)}
    common = [i for i in target if i.id in place and i.id not in replaced]
    staying = {
        common[at].id
        for at in heaviest_increasing(
            [place[item.id] for item in common], _weights(common)
        )
    }
    moved = {item.id for item in common if item.id not in staying}
    travelling = called(i for i in target if i.id in moved or i.id in replaced)
    return moved | {
        item.id
        for item in common
        if isinstance(item, FunctionCallOutput) and item.call_id in travelling
    }


def _weights(items: Sequence[Item]) -> list[int]:
    """What it is worth that an item stays: speech first, then numbers, then calls.

    A call is worth a little more than another item because its output moves with it.
    """
    one = len(items) + 1
    speech = one * one
    return [
        one + speech * is_spoken(item) + isinstance(item, FunctionCall)
        for item in items
    ]
