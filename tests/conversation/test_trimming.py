"""What leaves a conversation that has grown too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversation.building import call, output, text
from trialogue.conversation import FunctionCall, FunctionCallOutput
from trialogue.conversation.trimming import overdue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trialogue.conversation import Item

SYSTEM = text("s", role="system")


def turn(number: int, *more: Item) -> tuple[Item, ...]:
    """A user message, what came of it, and the answer."""
    answer = text(f"a{number}", role="assistant")
    return (text(f"u{number}"), *more, answer)


def turns(*numbers: int) -> tuple[Item, ...]:
    return tuple(item for number in numbers for item in turn(number))


def kept(items: Sequence[Item], leaving: Sequence[str]) -> list[str]:
    return [item.id for item in items if item.id not in leaving]


def test_nothing_leaves_while_there_is_room() -> None:
    """A conversation within its bound is left alone."""
    assert overdue(turns(1, 2), 4) == ()


def test_the_oldest_turns_leave_whole() -> None:
    """Half a turn makes no sense, so a few items more than needed may leave."""
    assert overdue(turns(1, 2, 3), 5) == ("u1", "a1")
    assert overdue(turns(1, 2, 3), 3) == ("u1", "a1", "u2", "a2")


def test_leading_system_messages_stay() -> None:
    """What the program has said at the beginning holds for all of it."""
    items = (SYSTEM, *turns(1, 2, 3))
    assert kept(items, overdue(items, 3)) == ["s", "u3", "a3"]


def test_what_the_program_wrote_before_the_first_turn_leaves_first() -> None:
    """Items in front of the first user message are a turn of their own."""
    items = (text("hello", role="assistant"), *turns(1, 2))
    assert overdue(items, 4) == ("hello",)


@pytest.mark.behaviour("S19")
def test_a_call_takes_its_output_along_from_a_later_turn() -> None:
    """A pair is a unit, also where the user spoke in between."""
    items = (*turn(1, call("c", "1")), *turn(2, output("o", "1")), *turn(3))
    assert overdue(items, len(items) - 1) == ("u1", "c", "a1", "o")


def test_a_call_without_output_keeps_its_turn() -> None:
    """Its answer is still to come; the turns around it leave all the same."""
    items = (*turn(1), *turn(2, call("c", "1")), *turn(3), *turn(4))
    assert kept(items, overdue(items, 5)) == ["u2", "c", "a2", "u4", "a4"]


def test_the_newest_turn_stays() -> None:
    """It is being talked about."""
    assert overdue(turns(1, 2), 2) == ("u1", "a1")
    assert overdue(turns(1), 1) == ("a1",)


def test_of_a_turn_without_end_the_oldest_items_leave() -> None:
    """A program that speaks on and on has a bound too; what the user said stays."""
    speech = [text(f"m{n}", role="assistant") for n in range(6)]
    items: tuple[Item, ...]
    items = (text("u"), *speech[:2], call("c", "1"), output("o", "1"), *speech[2:])
    assert overdue(items, 5) == ("m0", "m1", "c", "o")


def test_a_batch_is_bounded() -> None:
    """What is left over is for the next time."""
    assert overdue(turns(1, 2, 3, 4), 1, most=3) == ("u1", "a1", "u2", "a2")


KINDS = st.sampled_from(["user", "assistant", "system", "call", "output"])


@given(st.lists(KINDS, max_size=40), st.integers(0, 40), st.data())
@pytest.mark.behaviour("S19")
def test_no_half_pair_and_no_prologue_ever_leaves(
    kinds: list[str], keep: int, data: st.DataObject
) -> None:
    """For every conversation, legal or not."""
    items: list[Item] = []
    for number, kind in enumerate(kinds):
        if kind == "call":
            items.append(call(str(number), f"c{number % 7}"))
        elif kind == "output":
            items.append(output(str(number), f"c{data.draw(st.integers(0, 6))}"))
        else:
            items.append(text(str(number), role=kind))  # type: ignore[arg-type]
    leaving = set(overdue(items, keep))
    remain = [item for item in items if item.id not in leaving]
    gone = _call_ids(item for item in items if item.id in leaving)
    assert gone.isdisjoint(_call_ids(remain))
    assert len(items) > keep or not leaving
    prologue = len(items) - len(list(_behind_prologue(items)))
    assert all(item.id not in leaving for item in items[:prologue])


def _behind_prologue(items: Sequence[Item]) -> Sequence[Item]:
    at = next(
        (n for n, i in enumerate(items) if getattr(i, "role", "") != "system"),
        len(items),
    )
    return items[at:]


def _call_ids(items: Iterable[Item]) -> set[str]:
    """Return the calls that these items are halves of."""
    return {
        item.call_id
        for item in items
        if isinstance(item, FunctionCall | FunctionCallOutput)
    }
