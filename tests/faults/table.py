"""The table: one row a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from faults.measures import CAP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from faults.measures import Figures
    from faults.rows import Row

__all__ = ["COLUMNS", "MOST_STALL", "cells", "markdown", "misses", "text"]

COLUMNS: Final = (
    "fault",
    "stall, s",
    "wrong prompt, s",
    "user audio lost / repeated, ms",
    "answers lost",
    "tasks left",
    "the program is told",
    "recovered on",
)
MOST_STALL: Final = 2.0
"""Seconds beyond the fault itself."""


def cells(row: Row, client: str, figures: Figures | None) -> tuple[str, ...]:
    """Return what stands in a row of the table."""
    if figures is None:
        return (row.name, f"n/a: {row.not_for[client]}", *[""] * (len(COLUMNS) - 2))
    if figures.problem:
        return (row.name, f"FAILED: {figures.problem}", *[""] * (len(COLUMNS) - 2))
    silence = f" ({figures.silence_lost} silent)" if figures.silence_lost else ""
    lost = f"{figures.unanswered}" + (f", {figures.cut} cut" if figures.cut else "")
    told = [*figures.told, *([f"raises {figures.error}"] if figures.error else [])]
    return (
        row.name,
        f"> {CAP:g}" if figures.stall is None else f"{figures.stall:.2f}",
        f"{figures.wrong:g}",
        f"{figures.lost} / {figures.repeated}{silence}",
        lost,
        f"{figures.tasks}",
        ", ".join(told) or "-",
        figures.recovered,
    )


def misses(figures: Figures | None) -> list[str]:
    """Return which demands a row does not meet."""
    if figures is None:
        return []
    if figures.problem:
        return [figures.problem]
    found = []
    if figures.stall is None:
        found.append(f"no answer in {CAP:g} s")
    elif figures.stall > MOST_STALL:
        found.append(f"stalled for {figures.stall:.2f} s beyond the fault")
    if figures.wrong:
        found.append(f"{figures.wrong:g} s heard under a wrong prompt")
    if figures.lost:
        found.append(f"{figures.lost} ms of the caller's words lost")
    if figures.tasks:
        found.append(f"{figures.tasks} tasks left")
    return found


def text(
    client: str, rows: Sequence[Row], results: Mapping[str, Figures | None]
) -> str:
    """Return the table for a terminal."""
    lines = [COLUMNS, *(cells(row, client, results[row.name]) for row in rows)]
    # A reason why there are no figures runs across the columns.
    full = [line for line in lines if line[2]]
    widths = [max(len(line[n]) for line in full) for n in range(len(COLUMNS))]
    widths[0] = max(len(line[0]) for line in lines)
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def markdown(
    client: str, rows: Sequence[Row], results: Mapping[str, Figures | None]
) -> str:
    """Return the table for the docs."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    lines += [cells(row, client, results[row.name]) for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
