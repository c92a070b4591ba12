"""Durations of one kind, and the table that they are printed in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Figures", "table"]

COLUMNS = ("median", "p90", "p99", "worst")


@attrs.frozen
class Figures:
    """What one benchmark measured.

    Attributes:
        name: what was done.
        seconds: how long each time took.
        budget: what the median may come to, in seconds; None is no budget.
    """

    name: str
    seconds: tuple[float, ...]
    budget: float | None = None

    def at(self, part: float) -> float:
        """The nearest-rank percentile: always one of the values."""
        ranked = sorted(self.seconds)
        return ranked[max(0, math.ceil(part * len(ranked)) - 1)]

    @property
    def kept(self) -> bool:
        """Whether the median is within the budget."""
        return self.budget is None or self.at(0.5) <= self.budget

    def cells(self) -> tuple[str, ...]:
        times = (self.at(0.5), self.at(0.9), self.at(0.99), self.at(1.0))
        budget = "" if self.budget is None else f"{1000 * self.budget:.2f}"
        verdict = "" if self.budget is None else "kept" if self.kept else "MISSED"
        shown = (f"{1000 * seconds:.3f}" for seconds in times)
        return (self.name, str(len(self.seconds)), *shown, budget, verdict)


def table(rows: Iterable[Figures]) -> str:
    """Lay figures out, in milliseconds; the budget is for the median."""
    head = ("milliseconds", "times", *COLUMNS, "budget", "")
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
