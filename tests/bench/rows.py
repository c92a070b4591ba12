"""Rows of the table: what was measured, beside its floor, and what it may come to.

A row is judged by the median of its repetitions. Where it has a floor, the floor was
measured in between, and each repetition is compared with its neighbour: what the
machine does besides makes both of them slower.
"""

from __future__ import annotations

import gc
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "REPETITIONS",
    "Row",
    "Sample",
    "Size",
    "Target",
    "at_most",
    "interleaved",
    "plus",
    "table",
    "times",
]

REPETITIONS = 5

Sample: TypeAlias = "Mapping[str, float]"
"""What one repetition of one side came to: figures by name."""


@attrs.frozen
class Size:
    """How much is measured.

    Attributes:
        quick: as little as shows that it works; the figures mean nothing.
        repetitions: of each side; one more goes before them, and does not count.
    """

    quick: bool = False

    @property
    def repetitions(self) -> int:
        return 1 if self.quick else REPETITIONS

    def of(self, whole: int, quick: int) -> int:
        """Return how many, or how much, of something."""
        return quick if self.quick else whole


@attrs.frozen
class Target:
    """What the median may come to: so many times the floor, so much more, or so much.

    Attributes:
        kind: which of the three.
        bound: the number, in the row's unit where it is not a ratio.
    """

    kind: Literal["times", "plus", "at most"]
    bound: float

    def value(self, ours: float, floor: float | None) -> float:
        """Return what is held against the bound."""
        if self.kind == "at most":
            return ours
        assert floor is not None, "a target that compares needs a floor"
        return ours / floor if self.kind == "times" else ours - floor


def times(bound: float) -> Target:
    return Target("times", bound)


def plus(bound: float) -> Target:
    return Target("plus", bound)


def at_most(bound: float) -> Target:
    return Target("at most", bound)


@attrs.frozen
class Row:
    """One line.

    Attributes:
        name: what was done.
        unit: of the samples.
        ours: one figure for each repetition.
        floor: the floor's, in the same order; none for a row without.
        beside: what the floor is.
        target: None for a figure that is reported only.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    floor: tuple[float, ...] = ()
    beside: str = "raw Trio"
    target: Target | None = None

    @property
    def values(self) -> list[float]:
        """What each repetition came to in the terms of the target, or as a ratio."""
        target = self.target or Target("times" if self.floor else "at most", 0)
        floors: Iterable[float | None] = self.floor or [None] * len(self.ours)
        return [target.value(*pair) for pair in zip(self.ours, floors, strict=True)]

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def kept(self) -> bool:
        return self.target is None or self.value <= self.target.bound

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "kept" if self.kept else "MISSED"

    def compared(self) -> str:
        """The value in words: "1.31 x", "+2.4 ms"; none where that says nothing new."""
        kind = self.target.kind if self.target else "times" if self.floor else "at most"
        match kind:
            case "times":
                return f"{self.value:.2f} x"
            case "plus":
                return f"{self.value:+.2f} {self.unit}"
        return ""

    def wanted(self) -> str:
        if self.target is None:
            return ""
        bound = f"{self.target.bound:g}"
        match self.target.kind:
            case "times":
                return f"<= {bound} x"
            case "plus":
                return f"<= +{bound} {self.unit}"
        return f"<= {bound} {self.unit}"

    def cells(self) -> tuple[str, ...]:
        return (
            self.name,
            self.unit,
            _spread(self.ours),
            _spread(self.floor),
            self.beside if self.floor else "",
            self.compared(),
            self.wanted(),
            self.verdict,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            **attrs.asdict(self),
            "value": self.value,
            "verdict": self.verdict,
        }

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> Row:
        target = read["target"]
        return cls(
            read["name"],
            read["unit"],
            tuple(read["ours"]),
            tuple(read["floor"]),
            read["beside"],
            None if target is None else Target(**target),
        )


def _spread(samples: Sequence[float]) -> str:
    if not samples:
        return ""
    low, high = min(samples), max(samples)
    return f"{_short(statistics.median(samples))} ({_short(low)}-{_short(high)})"


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


HEAD = (
    *("row", "unit", "median (range)", "floor", "beside", "compared", "target", ""),
)


def table(rows: Iterable[Row]) -> str:
    """Lay rows out."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def interleaved(
    sides: Mapping[str, Callable[[], Sample]], repetitions: int, *, warm: bool = True
) -> dict[str, dict[str, tuple[float, ...]]]:
    """Run each side in turn, so often; return its samples by side and by figure.

    Every other round goes backwards, so that no side always follows the same one.

    Args:
        warm: whether a round goes before that does not count.
    """
    seen: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    order = list(sides)
    for number in range(-1 if warm else 0, repetitions):
        for side in order if number % 2 else reversed(order):
            gc.collect()  # what one has left behind is not the next one's to clear away
            sample = sides[side]()
            if number >= 0:
                for name, figure in sample.items():
                    seen[side][name].append(figure)
    return {
        side: {name: tuple(figures) for name, figures in samples.items()}
        for side, samples in seen.items()
    }
