"""Demands that under every mutant a test of its behaviour fails.

``python tests/quality/kill.py [ROW...]`` first runs the tests of all rows concerned on
the unbroken source: they must pass. Then it runs, as many mutants at a time as there
are cores, the tests of each mutant's row on the source broken by that mutant, the
quickest first, until one fails, and prints a line about it:

killed
    a test of the row failed, as it should;
SURVIVED
    all tests of the row passed;
NO VERDICT
    the run did not end in time, or could not be made. A test that hangs has noticed
    nothing: only one that fails through a deadline of its own has.

Every row asked for by its id must have a mutant; so must those that
``tests/behaviours.toml`` says have one, if nothing is asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quality.mutation import Mutant, load_mutants
from quality.rows import Rows, UnknownRowError, load_rows
from quality.suite import LAST_HELP, SuiteRun, last_run, run_suite

if TYPE_CHECKING:
    from collections.abc import Sequence

CORES = max(2, os.cpu_count() or 1)
LIMIT_SECONDS = 120.0


@attrs.frozen
class Verdict:
    """What one mutant came to."""

    mutant: Mutant
    word: str
    detail: str
    seconds: float

    @property
    def killed(self) -> bool:
        """True if a test noticed the breakage."""
        return self.word == "killed"

    def __str__(self) -> str:
        return (
            f"{self.word:10} {self.mutant.row:4} {self.mutant.name} "
            f"({self.mutant.text}): {self.detail} [{self.seconds:.1f} s]"
        )


def main(arguments: Sequence[str]) -> int:
    """Try the mutants, print a line for each, and return the exit status."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    parser.add_argument("--last", type=Path, metavar="REPORT", help=LAST_HELP)
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, metavar="SECONDS")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(options.root / "tests"))
    rows = load_rows(options.root)
    try:
        asked = rows.select(options.rows) or list(rows.texts)
        mutants = _chosen(rows, asked)
    except UnknownRowError as error:
        print(error)
        return 2
    lacking = _lacking(rows, options.rows, mutants)
    unbroken = _unbroken(options.root, options.last, mutants)
    if unbroken is None:
        return 2
    survivors = _try_all(options.root, mutants, unbroken, options.limit)
    return int(not _report(mutants, survivors, lacking))


def _chosen(rows: Rows, asked: Sequence[str]) -> list[Mutant]:
    mutants = list(load_mutants().values())
    rows.select([mutant.row for mutant in mutants])
    return sorted(
        (mutant for mutant in mutants if mutant.row in asked),
        key=lambda mutant: asked.index(mutant.row),
    )


def _lacking(rows: Rows, asked: Sequence[str], mutants: list[Mutant]) -> list[str]:
    """The rows that should have a mutant and have none."""
    named = [name for name in asked if name in rows.texts] if asked else rows.mutated
    broken = {mutant.row for mutant in mutants}
    return [row for row in named if row not in broken]


def _unbroken(root: Path, last: Path | None, mutants: list[Mutant]) -> SuiteRun | None:
    """Run the tests of every row concerned; None unless they exist, and all pass."""
    concerned = list(dict.fromkeys(mutant.row for mutant in mutants))
    if not concerned:
        return SuiteRun(0, (), "")
    run = last_run(root, last) or run_suite(root, concerned, "-q", "--no-header")
    failed = [test for row in concerned for test in run.names(row, "failed")]
    untested = [row for row in concerned if not run.names(row, "passed")]
    if run.ran and not failed and not untested:
        return run
    print(run.output)
    print(f"without a mutant, pytest ends with status {run.status}")
    for test in dict.fromkeys(failed):
        print(f"without a mutant, {test} fails")
    if untested:
        print(f"without a mutant, no passing test covers {' '.join(untested)}")
    return None


def _try_all(
    root: Path, mutants: list[Mutant], unbroken: SuiteRun, limit: float
) -> list[Verdict]:
    """Run the tests under each mutant; return those that were not killed."""
    survivors = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(CORES) as pool:
        times = Path(folder, "times.json")
        times.write_text(json.dumps(unbroken.times), encoding="utf-8")

        def attempt(mutant: Mutant) -> Verdict:
            # Naming the files spares each run the collection of all others.
            files = unbroken.files(mutant.row)
            return _try(root, mutant, limit, "--quickest-first", str(times), *files)

        for verdict in pool.map(attempt, mutants):
            print(verdict, flush=True)
            if not verdict.killed:
                survivors.append(verdict)
    return survivors


def _try(root: Path, mutant: Mutant, limit: float, *options: str) -> Verdict:
    started = time.monotonic()
    options = ("-x", "-q", "--no-header", "--mutant", mutant.name, *options)
    run = run_suite(root, [mutant.row], *options, seconds=limit)
    word, detail = _judge(run, mutant.row, limit)
    return Verdict(mutant, word, detail, time.monotonic() - started)


def _judge(run: SuiteRun, row: str, limit: float) -> tuple[str, str]:
    failed = [test for test in run.tests if test.outcome == "failed"]
    if run.status == 1 and failed:
        return "killed", f"{failed[0].name}: {failed[0].reason}"
    if run.status == 0:
        return "SURVIVED", f"{len(run.names(row, 'passed'))} tests passed"
    if run.status is None:
        return "NO VERDICT", f"the run did not end within {limit:g} s"
    last = next(reversed(run.output.strip().splitlines()), "")
    return "NO VERDICT", f"pytest ended with status {run.status}: {last}"


def _report(
    mutants: list[Mutant], survivors: list[Verdict], lacking: list[str]
) -> bool:
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants were killed")
    if survivors:
        names = " ".join(verdict.mutant.name for verdict in survivors)
        print(f"not killed: {names}")
    if lacking:
        print(f"no mutant for {' '.join(lacking)}")
    return not survivors and not lacking


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
