"""Runs the benchmarks and prints their figures: ``python tests/bench/run.py``.

Times are claimed nowhere else. A machine that does something else besides makes them
worse: look at the median, and run it twice. With ``--profile`` it prints where the time
went instead.

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

from bench import handoffs, scopes, serving
from bench.figures import Figures, table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

BENCHMARKS: dict[str, Callable[[int], Awaitable[Figures]]] = {
    "handoffs": handoffs.measure,
    "scopes": scopes.measure,
}


def main(arguments: Sequence[str]) -> int:
    """Run what is named, all by default; return 1 if a budget was missed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--times", type=int, default=300, help="how often each")
    parser.add_argument("--profile", action="store_true")
    long = parser.add_argument_group("serving")
    long.add_argument("--seconds", type=float, default=10.0, help="of each run")
    long.add_argument("--sessions", type=int, help="so many, instead of the most")
    options = parser.parse_args(arguments)
    if options.names == ["serving"]:
        return serving.main(options.seconds, options.sessions)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown or options.times < 1:
        parser.error(f"expected names out of {', '.join(BENCHMARKS)}, and times")
    rows = []
    for name in options.names or BENCHMARKS:
        gc.collect()  # what one has left behind is not the next one's to clear away
        with cProfile.Profile() if options.profile else nullcontext() as profile:
            rows.append(trio.run(BENCHMARKS[name], options.times))
        if isinstance(profile, cProfile.Profile):
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    print(table(rows))
    return int(not options.profile and not all(row.kept for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
