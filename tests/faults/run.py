"""Plays the fault matrix and prints it: ``python tests/faults/run.py``.

Each row is a conversation over real sockets, with the local server in one process and
the client in another. The exit status is 1 if a row of trialogue's misses a demand: no
stall over 2 s beyond the fault itself, nothing heard under a wrong prompt, none of the
caller's words lost, no task left.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.director import LENGTHS, Client, NotPlayed, Reports, play
from faults.measures import Figures, figures_of
from faults.rows import BASELINES, QUICK, ROWS, Row
from faults.table import markdown, misses, text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PROGRAMS", "main", "matrix"]

PROGRAMS: Final = {
    "trialogue": "program.py",
    "livekit": "livekit.py",
    "openai-agents": "openai_agents.py",
}
TRIES: Final = 8
"""How often a row without a fault is played, until all of it is answered."""
MARKS: Final = {name: round(seconds * 100) for name, seconds in LENGTHS.items()}


async def matrix(
    client: Client, rows: Sequence[Row], jobs: int, keep: Path | None = None
) -> dict[str, Figures | None]:
    """Play rows with a client; None for a row that can mean nothing to it.

    The rows without a fault, with which the others are compared, are always among them.
    """
    needed = {row.name for row in rows} | {row.baseline for row in rows}
    meant = [row for row in ROWS if row.name in needed]
    played = [row for row in meant if client.name not in row.not_for]
    seen: dict[str, Reports | NotPlayed] = {}
    limit = trio.CapacityLimiter(jobs)

    async def one(row: Row) -> None:
        async with limit:
            for _ in range(TRIES if row in BASELINES else 1):
                try:
                    seen[row.name] = await _played(row, client, keep)
                except NotPlayed as error:
                    seen[row.name] = error
                first = _figures(row, seen[row.name], None)
                if not (first.problem or first.unanswered):
                    break

    async with trio.open_nursery() as nursery:
        for row in played:
            nursery.start_soon(one, row)
    results: dict[str, Figures | None] = dict.fromkeys(row.name for row in meant)
    # What the others are compared with stands first.
    for row in played:
        base = results[row.baseline] if row not in BASELINES else None
        results[row.name] = _figures(row, seen[row.name], base)
    return results


async def _played(row: Row, client: Client, keep: Path | None) -> Reports:
    if keep is not None:
        folder = keep / client.name / row.name.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        return await play(row, client, folder)
    with tempfile.TemporaryDirectory() as name:
        return await play(row, client, Path(name))


def _figures(row: Row, seen: Reports | NotPlayed, base: Figures | None) -> Figures:
    if isinstance(seen, NotPlayed):
        return Figures(problem=str(seen))
    if base is not None and (base.problem or base.unanswered):
        # There is nothing that the waits could be compared with.
        return Figures(problem=f"without a fault something was lost, {TRIES} times")
    return figures_of(row, seen.client, seen.pcm, seen.server, MARKS, base)


def chosen(names: Sequence[str], quick: bool) -> list[Row]:
    """Return the rows that names or groups stand for, or parts of names."""
    if quick:
        return [row for row in ROWS if row.name in QUICK]
    if not names:
        return list(ROWS)
    whole = {row.group for row in ROWS} | {row.name for row in ROWS}
    parts = {*names} - whole
    return [
        row
        for row in ROWS
        if {row.group, row.name} & {*names} or any(part in row.name for part in parts)
    ]


def main(arguments: Sequence[str]) -> int:
    """Play what is named, all by default; return 1 if a demand was missed."""
    options = _parser().parse_args(arguments)
    clients = [] if options.only else [Client("trialogue", PROGRAMS["trialogue"])]
    for pair in options.client:
        name, _, python = pair.partition("=")
        clients.append(Client(name, PROGRAMS[name], python))
    rows = chosen(options.rows, options.quick)
    if not rows:
        _parser().error(f"there is no row {', '.join(options.rows)}")
    print(f"{len(rows)} rows, {date.today().isoformat()}, {platform.python_version()}")
    missed, pages, everything = 0, [], {}
    for client in clients:
        began = time.monotonic()
        results = trio.run(matrix, client, rows, options.jobs, options.keep)
        took = time.monotonic() - began
        found = _show(client, results, took)
        if client.name == "trialogue":
            missed = found
        shown = [row for row in ROWS if row.name in results]
        pages.append(f"## {client.name}\n\n{markdown(client.name, shown, results)}\n")
        everything[client.name] = {
            name: None if one is None else attrs.asdict(one)
            for name, one in results.items()
        }
    if options.markdown:
        options.markdown.write_text("\n".join(pages))
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))
    return int(options.check and missed > 0)


def _show(client: Client, results: dict[str, Figures | None], took: float) -> int:
    """Print the table of a client; return how many rows miss a demand."""
    shown = [row for row in ROWS if row.name in results]
    print(f"\n--- {client.name}: {len(shown)} rows in {took:.0f} s")
    print(text(client.name, shown, results))
    found = {row.name: misses(results[row.name]) for row in shown}
    for name, what in found.items():
        if what:
            print(f"MISSED by {client.name}: {name}: {'; '.join(what)}")
    missed = sum(map(bool, found.values()))
    played = sum(one is not None for one in results.values())
    print(f"{client.name}: {played - missed} of {played} rows as demanded", flush=True)
    return missed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    add = parser.add_argument
    add(
        "rows",
        nargs="*",
        metavar="ROW",
        help="by its name, a part of that, or its group",
    )
    add("--quick", action="store_true", help="a few rows")
    add("--jobs", type=int, default=4, help="rows at a time")
    add("--check", action=argparse.BooleanOptionalAction, default=True)
    add(
        "--client",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="another program, and the Python that has what it needs",
    )
    add("--only", action="store_true", help="leave trialogue out")
    add("--markdown", type=Path, metavar="FILE", help="write the tables for the docs")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--keep", type=Path, metavar="FOLDER", help="keep what was seen of each row")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
