"""The three-way merge: an editor's changes meet what happened in the meantime.

Everything that the editor did not touch stays as it is: an item that it never saw is
never deleted (S14), and edits made at the same time all take effect (S17). Items that
are on their way to the server, or on their way out, are counted as arrived.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from trialogue.conversation.edits import Create, Delete, Edit, Operation
from trialogue.conversation.equivalence import (
    as_words,
    can_be_made_again,
    really_changed,
)
from trialogue.conversation.items import FunctionCall, FunctionCallOutput, Item
from trialogue.conversation.order import ROOT
from trialogue.conversation.units import called

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from trialogue.conversation.record import Record
    from trialogue.conversation.view import View

__all__ = ["forgotten", "merge", "reanchor"]


def merge(edit: Edit, record: Record, view: View) -> tuple[Operation, ...]:
    """Return what to send to this server, in order: deletions, then creations.

    Of an item that was changed here and deleted there, the change wins, for no content
    may be lost; of one that was only moved here, the deletion. An output without a call
    is not sent. Where a creation goes last it has no anchor, so that nothing that
    happens to the items in front of it can have it refused.

    The caller notes the operations in the record (`delete_requested`, `add_local`) and
    passes what `forgotten` returns to `Record.forget`.
    """
    if not edit:
        return ()
    held = [
        i
        for i in record.ids
        if (i in view or record.is_local(i)) and i not in view.leaving
    ]
    plan = _Plan(edit, record, view, held)
    return (
        *(Delete(i) for i in held if i in plan.doomed or i in plan.rebuilt),
        *plan.creations(),
    )


def forgotten(edit: Edit, record: Record, view: View) -> tuple[str, ...]:
    """Return the items that the editor took out and this server was never given."""
    return tuple(
        i
        for i in edit.deleted
        if i in record and i not in view and not record.is_local(i)
    )


def reanchor(
    operations: Sequence[Operation],
    missing: Collection[str],
    *,
    faulty: Collection[str] = (),
    order: Iterable[str] = (),
) -> tuple[Create, ...]:
    """Return the creations to send again because the server lacks `missing`.

    These are the creations anchored on them, and those anchored on these in turn, for
    the server refused them all. Each goes behind the nearest surviving item in front of
    what it was anchored on. A missing item that was refused for a fault of its own is
    not among them (S16).

    Args:
        operations: what was sent.
        missing: ids of the items that were refused, or that have gone.
        faulty: those of them that were refused whatever they were anchored on.
        order: the ids that the server held before, in order. Needed to place the
            followers of an item that `operations` did not create; without it they go
            last.
    """
    sent = {o.item_id: o.after for o in operations if isinstance(o, Create)}
    gone = {o.item_id for o in operations if isinstance(o, Delete)} | set(missing)
    before = tuple(order)
    again: dict[str, Create] = {}

    def surviving(anchor: str | None) -> str | None:
        passed: set[str] = set()
        while anchor is not None and anchor not in again and anchor in gone:
            # NB: two items may have stood in one order, and been sent in the other.
            if anchor in sent and anchor in missing and anchor not in passed:
                passed.add(anchor)
                anchor = sent[anchor]
            elif anchor in before:
                anchor = _in_front_of(anchor, before)
            else:
                return None
        return anchor

    for operation in operations:
        if not isinstance(operation, Create) or operation.item_id in faulty:
            continue
        if operation.after in missing or operation.after in again:
            after = surviving(operation.after)
            again[operation.item_id] = attrs.evolve(operation, after=after)
    return tuple(again.values())


def _in_front_of(item_id: str, order: tuple[str, ...]) -> str:
    at = order.index(item_id)
    return order[at - 1] if at else ROOT


def _whole(item: Item) -> Item:
    """What is made here is complete, also in place of a reply that was not."""
    words = as_words(item)
    if getattr(words, "status", None) == "in_progress":
        return attrs.evolve(words, status="completed")
    return words


class _Plan:
    """One merge: what goes, what comes again, and where what comes is put.

    Attributes:
        doomed: held items that are deleted for good.
        rebuilt: held items that are deleted and created again.
    """

    def __init__(
        self, edit: Edit, record: Record, view: View, held: Sequence[str]
    ) -> None:
        self._edit = edit
        self._record = record
        self._view = view
        self._place = {item_id: at for at, item_id in enumerate(held)}
        self._target = {item.id: item for item in edit.target}
        self.doomed = self._with_unseen_outputs(edit.deleted)
        self.rebuilt = self._with_unseen_outputs(self._changed()) - self.doomed
        self._sequence = self._to_create()
        created = {item.id for item in self._sequence}
        self._standing = [
            i
            for i in held
            if i not in self.doomed and i not in self.rebuilt and i not in created
        ]
        self._bounds = self._find_bounds()

    def creations(self) -> list[Create]:
        """Return what to create, each behind what stands in front of it by then."""
        creations: list[Create] = []
        standing = set(self._standing)
        previous: str | None = None
        order = iter(self._edit.target)
        for item in self._sequence:
            if item.id in self._target:
                for before in order:
                    if before.id == item.id:
                        break
                    previous = before.id if before.id in standing else previous
            at = self._index_behind(previous, item.id)
            creations.append(Create(item, self._anchor(at)))
            self._standing.insert(at, item.id)
            standing.add(item.id)
            previous = item.id
        return creations

    def _changed(self) -> list[str]:
        """What the editor changed or moved, and what it put in that is there already.

        An id that was put in and is held stands for an edit that is sent twice.
        """
        edit = self._edit
        differing = [
            i
            for i in edit.inserted
            if self._view.staying(i)
            and (now := self._record.get(i)) is not None
            and really_changed(now, self._target[i])
        ]
        return [*edit.replaced, *filter(self._can_move, edit.moved), *differing]

    def _can_move(self, item_id: str) -> bool:
        """Whether it can leave its place: to move is to be deleted and made again."""
        now = self._record.get(item_id)
        return now is not None and can_be_made_again(now)

    def _with_unseen_outputs(self, item_ids: Iterable[str]) -> set[str]:
        """Keep what is held, and add the outputs that calls got in the meantime."""
        chosen = {i for i in item_ids if i in self._place}
        calls = called(self._items(chosen))
        return chosen | {
            item.id
            for item in self._items(self._place)
            if isinstance(item, FunctionCallOutput)
            and item.call_id in calls
            and item.id not in self._edit.seen
            and item.id not in self._target
        }

    def _items(self, item_ids: Iterable[str]) -> list[Item]:
        items = map(self._record.get, item_ids)
        return [item for item in items if item is not None]

    def _to_create(self) -> list[Item]:
        wanted: list[Item] = []
        for item in self._edit.target:
            if not self._is_wanted(item.id):
                continue
            now = self._record.get(item.id)
            keeps = item.id in self._edit.moved and now is not None
            wanted.append(_whole(now if keeps and now is not None else item))
            if isinstance(item, FunctionCall):
                wanted.extend(self._unseen_outputs(item.call_id))
        standing = [i for i in self._place if i not in self.doomed]
        calls = called(self._items(standing)) | called(wanted)
        return [
            item
            for item in wanted
            if not isinstance(item, FunctionCallOutput) or item.call_id in calls
        ]

    def _is_wanted(self, item_id: str) -> bool:
        if item_id in self.rebuilt:
            return True
        if item_id in self._edit.inserted:  # again, if the first is on its way (S12)
            return not self._view.staying(item_id)
        return item_id in self._edit.replaced and item_id not in self._place

    def _unseen_outputs(self, call_id: str) -> list[Item]:
        return [
            item
            for item in self._items(self._place)
            if isinstance(item, FunctionCallOutput)
            and item.call_id == call_id
            and item.id in self.rebuilt
            and item.id not in self._target
        ]

    def _find_bounds(self) -> dict[str, float]:
        """For each item of the target, the place of the next one that has a place.

        Items that the editor never saw stay in front of those that they were in front
        of, and behind the others.
        """
        bounds: dict[str, float] = {}
        bound = math.inf
        for item in reversed(self._edit.target):
            if item.id in self._place and item.id not in self._edit.moved:
                bound = self._place[item.id]
            bounds[item.id] = bound
        return bounds

    def _index_behind(self, previous: str | None, item_id: str) -> int:
        at = 0 if previous is None else self._standing.index(previous) + 1
        bound = self._bounds.get(item_id, -1)
        while (
            at < len(self._standing)
            and self._standing[at] not in self._target
            and self._place.get(self._standing[at], -1) < bound
        ):
            at += 1
        return at

    def _anchor(self, at: int) -> str | None:
        if at == len(self._standing):
            return None
        return self._standing[at - 1] if at else ROOT
