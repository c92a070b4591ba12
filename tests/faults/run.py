"""Plays the fault matrix and prints it: ``python tests/faults/run.py``.

Each row is a conversation over real sockets, with the local server in one process and
the client in another. The exit status is 1 if a row of trialogue's misses a demand: no
stall over 2 s beyond the fault itself, nothing heard under a wrong prompt, none of the
caller's words lost, no task left.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from faults.director import LENGTHS, Client, NotPlayed, play
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
MARKS: Final = {name: round(seconds * 100) for name, seconds in LENGTHS.items()}


async def matrix(
    client: Client,
    rows: Sequence[Row],
    jobs: int,
    keep: Path | None = None,
) -> dict[str, Figures | None]:
    """Play rows with a client; None for a row that can mean nothing to it."""
    results: dict[str, Figures | None] = {}
    limit = trio.CapacityLimiter(jobs)

    async def one(row: Row) -> None:
        async with limit:
            base = results.get(row.baseline) if row not in BASELINES else None
            results[row.name] = await _figures(row, client, base, keep)

    # What the others are compared with goes first.
    for group in (
        [row for row in BASELINES if any(one.baseline == row.name for one in rows)],
        [row for row in rows if row not in BASELINES],
    ):
        async with trio.open_nursery() as nursery:
            for row in group:
                if client.name in row.not_for:
                    results[row.name] = None
                else:
                    nursery.start_soon(one, row)
    return results


async def _figures(
    row: Row, client: Client, base: Figures | None, keep: Path | None
) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if keep is not None:
            folder = keep / client.name / row.name.replace("/", "-").replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
        try:
            seen = await play(row, client, folder)
        except NotPlayed as error:
            return Figures(problem=str(error))
        # Decoding what was heard takes a while, and others are waited for meanwhile.
        return await trio.to_thread.run_sync(
            figures_of, row, seen.client, seen.pcm, seen.server, MARKS, base
        )


def chosen(names: Sequence[str], quick: bool) -> list[Row]:
    """Return the rows that names, or parts of them, or groups stand for."""
    if quick:
        return [row for row in ROWS if row.name in QUICK]
    if not names:
        return list(ROWS)
    return [
        row for row in ROWS if any(n in row.name or n == row.group for n in names)
    ]


def main(arguments: Sequence[str]) -> int:
    """Play what is named, all by default; return 1 if a demand was missed."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="by name, part, or group")
    parser.add_argument("--quick", action="store_true", help="a few rows")
    parser.add_argument("--jobs", type=int, default=4, help="rows at a time")
    parser.add_argument(
        "--check", action=argparse.BooleanOptionalAction, default=True
    )
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="another program, and the Python that has what it needs",
    )
    parser.add_argument("--only", action="store_true", help="leave trialogue out")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="the reports")
    options = parser.parse_args(arguments)
    clients = [] if options.only else [Client("trialogue", PROGRAMS["trialogue"])]
    for pair in options.client:
        name, _, python = pair.partition("=")
        clients.append(Client(name, PROGRAMS[name], python))
    rows = chosen(options.rows, options.quick)
    if not rows:
        parser.error("there is no such row")
    missed = 0
    pages, everything = [], {}
    for client in clients:
        began = time.monotonic()
        results = trio.run(matrix, client, rows, options.jobs, options.keep)
        shown = [row for row in rows if row.name in results]
        print(f"--- {client.name}: {len(shown)} rows, {time.monotonic() - began:.0f} s")
        print(text(client.name, shown, results), flush=True)
        found = {row.name: misses(results[row.name]) for row in shown}
        for name, what in found.items():
            if what:
                print(f"MISSED by {client.name}: {name}: {'; '.join(what)}")
        if client.name == "trialogue":
            missed = sum(map(bool, found.values()))
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
