"""Names the behaviours that no passing test covers.

``python tests/quality/behaviours.py [ROW...]`` runs the tests of the rows given, each
an id or a group letter, and fails if one of the rows has no passing test. Without
rows it runs every test, lists all rows without one, and fails only for those that
``tests/behaviours.toml`` says are covered.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quality.rows import Rows, UnknownRowError, load_rows
from quality.suite import LAST_HELP, SuiteRun, last_run, run_suite

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run the tests, print what is not covered, and return the exit status."""
    parser = argparse.ArgumentParser(prog="behaviours", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    parser.add_argument("--last", type=Path, metavar="REPORT", help=LAST_HELP)
    options = parser.parse_args(arguments)
    rows = load_rows(options.root)
    try:
        asked = rows.select(options.rows) or list(rows.texts)
    except UnknownRowError as error:
        print(error)
        return 2
    run = last_run(options.root, options.last)
    if run is None:
        chosen = asked if options.rows else ()
        run = run_suite(options.root, chosen, "-q", "--no-header", show=True)
    if not run.ran:
        print(f"no verdict: pytest ended with status {run.status}")
        return 2
    expected = set(asked if options.rows else rows.covered)
    return int(not _report(rows, asked, expected, run))


def _report(rows: Rows, asked: list[str], expected: set[str], run: SuiteRun) -> bool:
    """Print the rows without a passing test; false if an expected one is among them."""
    missing = [row for row in asked if not run.names(row, "passed")]
    print(f"\n{len(asked) - len(missing)} of {len(asked)} behaviours are covered")
    for row in missing:
        mark = "UNCOVERED" if row in expected else "not yet"
        print(f"{mark} {row}: {rows.texts[row]}{_excuse(run, row)}")
    owed = [row for row in missing if row in expected]
    if owed:
        print(f"no passing test covers {' '.join(owed)}")
    return not owed


def _excuse(run: SuiteRun, row: str) -> str:
    """The tests that name the row, and did not pass."""
    tests = [
        f"{outcome} {name}"
        for outcome in ("failed", "skipped")
        for name in run.names(row, outcome)
    ]
    return f" ({'; '.join(tests)})" if tests else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
