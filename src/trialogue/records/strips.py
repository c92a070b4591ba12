"""How a conversation of any length is cut into strips, and where things lie in them.

A timeline is read like a score: one strip of some seconds below the other, each with
the lanes in which something happens. So an hour is as legible as a minute, on paper
too. Plain numbers: nothing of how it is drawn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

from trialogue.records.lanes import Bar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trialogue.records.lanes import Lane

__all__ = ["Placed", "Strip", "cut", "packed", "seconds_per_strip", "strips", "tick"]

LETTER: Final = 6.7
"""Pixels that a letter of a label takes, in a wide font."""
_GAP: Final = 8.0
_MOST_ROWS: Final = 5
_LASTING: Final = frozenset({"current", "connection"})
"""What is nothing that happens while it lasts."""


@attrs.frozen
class Strip:
    """Some seconds of a conversation.

    Attributes:
        number: its place in the conversation; the numbers of quiet strips are missing.
    """

    number: int
    began: float
    ended: float


@attrs.frozen
class Placed:
    """A bar in its place; numbers are pixels from the strip's beginning.

    Attributes:
        ends: it ends within the strip.
        row: counted from 0.
        label: what is written, as much of it as there is room for.
        label_x: where the label begins, or where it ends if it is `before` the bar.
    """

    bar: Bar
    x: float
    width: float
    ends: bool
    row: int = 0
    label: str = ""
    label_x: float = 0.0
    before: bool = False


def seconds_per_strip(total: float) -> float:
    """How much of a conversation of that length a strip shows: all of them the same."""
    most = 20.0 if total <= 300 else 30.0 if total <= 1200 else 60.0
    return max(5.0, math.ceil(total / max(1, math.ceil(total / most))))


def tick(seconds: float) -> float:
    """Seconds between two marks of a strip's clock."""
    return next(step for step in (1.0, 2.0, 5.0, 10.0) if seconds / step <= 12)


def strips(lanes: Sequence[Lane], total: float) -> list[Strip]:
    """The strips in which something begins or ends, in order."""
    length = seconds_per_strip(total)
    moments = {0.0}
    for lane in lanes:
        for bar in lane.bars:
            moments.add(bar.began)
            if bar.kind not in _LASTING:
                moments.add(bar.ended)
    numbers = sorted({int(max(0.0, moment) // length) for moment in moments})
    return [Strip(n, n * length, (n + 1) * length) for n in numbers]


def packed(lane: Lane, strip: Strip, width: float) -> list[Placed]:
    """Where the bars of a lane lie in a strip; labels do not cover one another."""
    scale = width / (strip.ended - strip.began)
    rows: list[list[tuple[float, float]]] = []
    placed = []
    for bar in _within(lane.bars, strip):
        x = max(0.0, (bar.began - strip.began) * scale)
        end = max(x, min(width, (bar.ended - strip.began) * scale))
        ends = bar.ended <= strip.ended
        if lane.layout == "speech":
            letters = int((end - x - 8) / LETTER)
            label = cut(bar.label, letters) if letters >= 4 else ""
            placed.append(Placed(bar, x, end - x, ends, 0, label, x + 5))
            continue
        one = _labelled(Placed(bar, x, end - x, ends), width)
        taken = (min(x, _left(one)) - _GAP / 2, max(end, _right(one)) + _GAP / 2)
        row = _row(rows, taken)
        if row is None:  # too much happens here: it is drawn, and named when pointed at
            one = attrs.evolve(one, label="", row=_MOST_ROWS - 1)
        else:
            one = attrs.evolve(one, row=row)
        placed.append(one)
    return placed


def _labelled(placed: Placed, width: float) -> Placed:
    """A label stands behind its bar, before it near the end, under a long one."""
    bar, x = placed.bar, placed.x
    needed = len(bar.label) * LETTER
    if bar.kind == "connection":
        shown = cut(bar.label, int((width - x) / LETTER))
        return attrs.evolve(placed, label=shown, label_x=x)
    apart = 9 if bar.kind == "note" else 5
    begin = max(x + placed.width, x + 3) + apart
    if begin + needed > width and x - apart > needed:
        return attrs.evolve(placed, label=bar.label, label_x=x - apart, before=True)
    shown = cut(bar.label, int((width - begin) / LETTER))
    return attrs.evolve(placed, label=shown, label_x=begin)


def _left(placed: Placed) -> float:
    letters = len(placed.label) * LETTER
    return placed.label_x - letters if placed.before else placed.label_x


def _right(placed: Placed) -> float:
    letters = len(placed.label) * LETTER
    return placed.label_x if placed.before else placed.label_x + letters


def cut(text: str, letters: int) -> str:
    """Return as much of a text as there is room for; of very little room, nothing."""
    text = " ".join(text.split())
    if len(text) <= letters:
        return text
    return f"{text[: letters - 1]}…" if letters >= 4 else ""


def _within(bars: Iterable[Bar], strip: Strip) -> Iterator[Bar]:
    for bar in sorted(bars, key=lambda each: each.began):
        lasts = bar.began < strip.ended and bar.ended > strip.began
        if lasts or strip.began <= bar.began < strip.ended:
            yield bar


def _row(
    rows: list[list[tuple[float, float]]], taken: tuple[float, float]
) -> int | None:
    """The first row with room from here to there, which is then taken."""
    for place, row in enumerate(rows):
        if all(end <= taken[0] or begin >= taken[1] for begin, end in row):
            row.append(taken)
            return place
    if len(rows) == _MOST_ROWS:
        return None
    rows.append([taken])
    return len(rows) - 1
