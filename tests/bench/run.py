"""Runs the benchmarks and prints their figures: ``python tests/bench/run.py``.

All of them, or those that are named. Times are claimed nowhere else. A machine that
does something else besides makes them worse: what has a floor is measured beside it, in
turn, and the ratio says more than the times do. With ``--check`` a target that is
missed makes the exit status 1; that of `handoffs` and `scopes`, the local work, always
does. With ``--profile`` it prints where the time of those two went instead.

``serving`` takes some minutes, and runs only when it is named.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import (
    handoffs,
    hundred,
    lengths,
    memory,
    microphone,
    modes,
    plots,
    receiving,
    report,
    rows,
    scopes,
    serving,
)
from bench.figures import Figures, table
from bench.processes import pinned_here

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.rows import Row, Size

BENCHMARKS: dict[str, Callable[[int], Awaitable[Figures]]] = {
    "handoffs": handoffs.measure,
    "scopes": scopes.measure,
}
"""The local work, against a budget."""

COMPARED: dict[str, Callable[[Size], list[Row]]] = {
    "modes": modes.measure,
    "cold": modes.measure_cold,
    "lengths": lengths.measure,
    "receive": receiving.measure_receive,
    "play": receiving.measure_play,
    "microphone": microphone.measure,
    "hundred": hundred.measure,
    "memory": memory.measure,
}
"""What is measured beside a floor."""


def main(arguments: Sequence[str]) -> int:
    """Run what is named, all by default; return 1 if a target was missed."""
    options = _options(arguments)
    if options.names == ["serving"]:
        return serving.main(options.seconds, options.sessions)
    if options.show:
        return _show(options)
    names = options.names or [*BENCHMARKS, *([] if options.profile else COMPARED)]
    if options.json or options.plots or set(names) & set(COMPARED):
        print(report.described(), flush=True)
    figures = {name: _local(name, options) for name in names if name in BENCHMARKS}
    if figures:
        print(table(figures.values()), flush=True)
        _keep(options, {n: [report.local_row(one)] for n, one in figures.items()})
    compared = _compared([n for n in names if n in COMPARED], options)
    every = [row for some in compared.values() for row in some]
    missed = [row for row in every if not row.kept]
    if options.check and missed:
        print(f"{len(missed)} of {len(every)} missed their target:")
        print(rows.table(missed))
    late = not options.profile and not all(one.kept for one in figures.values())
    return int(late or bool(options.check and missed))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    known = [*BENCHMARKS, *COMPARED]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--times", type=int, default=300, help="how often each")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--check", action="store_true", help="a missed target is 1")
    parser.add_argument("--quick", action="store_true", help="to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all samples")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="SVG")
    parser.add_argument(
        "--show", action="store_true", help="measure nothing: show what the file holds"
    )
    long = parser.add_argument_group("serving")
    long.add_argument("--seconds", type=float, default=10.0, help="of each run")
    long.add_argument("--sessions", type=int, help="so many, instead of the most")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in (*known, "serving")]
    alone = "serving" in options.names and options.names != ["serving"]
    if options.show and options.json is None:
        parser.error("--show needs the file: --json FILE")
    if unknown or alone or options.times < 1:
        parser.error(f"expected names out of {', '.join(known)}, and times")
    if options.quick:
        options.times = min(options.times, 3)
    return options


def _local(name: str, options: argparse.Namespace) -> Figures:
    gc.collect()  # what one has left behind is not the next one's to clear away
    with cProfile.Profile() if options.profile else nullcontext() as profile:
        figures = trio.run(BENCHMARKS[name], options.times)
    if isinstance(profile, cProfile.Profile):
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    return figures


def _compared(
    names: Sequence[str], options: argparse.Namespace
) -> dict[str, list[Row]]:
    """Measure; print each table, and keep it, as soon as it is there."""
    seen = {}
    with pinned_here():
        for name in names:
            seen[name] = COMPARED[name](rows.Size(options.quick))
            print(f"\n{rows.table(seen[name])}", flush=True)
            _keep(options, {name: seen[name]})
    return seen


def _show(options: argparse.Namespace) -> int:
    """Print what was measured before, with the machines that it was measured on."""
    entries = report.read(options.json)
    for machine, some in report.by_machine(entries).items():
        print(f"{machine}\n\n{rows.table(entry.row for entry in some)}\n")
    if options.plots is not None:
        plots.draw(options.plots, entries)
    missed = not all(entry.row.kept for entry in entries)
    return int(options.check and missed)


def _keep(options: argparse.Namespace, measured: dict[str, list[Row]]) -> None:
    entries = report.entries_of(measured)
    if options.json is not None:
        entries = report.written_to(options.json, entries)
    if options.plots is not None:
        plots.draw(options.plots, entries)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
