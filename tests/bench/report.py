"""Rows in a file, for both ways to install trialogue, and the lines around the table.

A file holds the rows of several runs: a run replaces those that it has measured again,
and leaves the others, each with its date. So both engines come together in one file.
"""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from bench.raw import EXTRA, engine_in_use, versions
from bench.rows import Row, at_most

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.figures import Figures

__all__ = [
    "Entry",
    "by_machine",
    "described",
    "entries_of",
    "local_row",
    "read",
    "written_to",
]


@attrs.frozen
class Entry:
    """A row, and what it was measured with.

    Attributes:
        extra: "plain" or "fast".
        group: the name of the benchmark.
        machine: versions, and the date.
    """

    extra: str
    group: str
    row: Row
    machine: Mapping[str, str]


def machine() -> dict[str, str]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "engine": engine_in_use(),
        **versions(),
    }


def described() -> str:
    """Say what is measured, in a line."""
    return _in_words(EXTRA, machine())


def _in_words(extra: str, machine: Mapping[str, str]) -> str:
    return f"{extra}: {', '.join(f'{name} {value}' for name, value in machine.items())}"


def by_machine(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Return entries by what they were measured with, in words."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(_in_words(entry.extra, entry.machine), []).append(entry)
    return found


def entries_of(rows: Mapping[str, Iterable[Row]]) -> list[Entry]:
    """Return the rows of this run, by the benchmark that they belong to."""
    here = machine()
    return [
        Entry(EXTRA, group, row, here) for group, some in rows.items() for row in some
    ]


def local_row(figures: Figures) -> Row:
    """Return the figures of a local benchmark as a row, its budget as the target."""
    samples = tuple(1000 * seconds for seconds in figures.seconds)
    budget = None if figures.budget is None else at_most(1000 * figures.budget)
    return Row(figures.name, "ms", samples, target=budget)


def read(path: Path) -> list[Entry]:
    """Return what is in a file; nothing if there is none."""
    if not path.exists():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [
        Entry(one["extra"], one["group"], Row.from_json(one), one["machine"])
        for one in found
    ]


def written_to(path: Path, entries: Iterable[Entry]) -> list[Entry]:
    """Put entries in a file in place of older ones; return all that it holds now."""
    new = list(entries)
    groups = {(entry.extra, entry.group) for entry in new}
    kept = [e for e in read(path) if (e.extra, e.group) not in groups]
    every = [*kept, *new]
    shown = [
        {
            "extra": entry.extra,
            "group": entry.group,
            **entry.row.to_json(),
            "machine": dict(entry.machine),
        }
        for entry in every
    ]
    text = json.dumps(shown, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")
    return every
