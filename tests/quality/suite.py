"""One run of the tests of some behaviours, in a pytest process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs

from quality.tree import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

# Pytest's own numbers: 0 all passed, 1 some failed, 5 nothing collected.
RAN = (0, 1, 5)

LAST_HELP = "a report of the whole suite, taken if nothing has changed since"


@attrs.frozen
class TestOutcome:
    """What one test that covers behaviours came to."""

    __test__ = False

    name: str
    rows: tuple[str, ...]
    outcome: str
    reason: str
    seconds: float = 0.0


@attrs.frozen
class SuiteRun:
    """A finished pytest process; ``status`` is None if its time ran out."""

    status: int | None
    tests: tuple[TestOutcome, ...]
    output: str

    @property
    def ran(self) -> bool:
        """True if the tests were run to the end, whatever came of them."""
        return self.status in RAN

    def names(self, row: str, outcome: str) -> list[str]:
        """The tests of ``row`` that came to ``outcome``."""
        return [
            test.name
            for test in self.tests
            if row in test.rows and test.outcome == outcome
        ]

    def files(self, row: str) -> list[str]:
        """The files with tests of ``row``."""
        names = (test.name for test in self.tests if row in test.rows)
        return list(dict.fromkeys(name.partition("::")[0] for name in names))

    @property
    def times(self) -> dict[str, float]:
        """What each test took, in seconds."""
        return {test.name: test.seconds for test in self.tests}


def last_run(root: Path, report: Path | None) -> SuiteRun | None:
    """The run that ``report`` tells of, if it was of the whole tree as it is now."""
    if report is None or not report.exists():
        return None
    data = json.loads(report.read_text(encoding="utf-8"))
    run = SuiteRun(data["status"], _read(data), "")
    return run if run.ran and data["tree"] == fingerprint(root) else None


def run_suite(
    root: Path,
    rows: Sequence[str],
    *options: str,
    show: bool = False,
    seconds: float | None = None,
) -> SuiteRun:
    """Run the tests of ``root`` that cover one of ``rows``.

    Args:
        root: the top folder of the project.
        rows: ids; none at all runs every test.
        options: more options of pytest.
        show: let pytest write to this process's output instead of keeping it.
        seconds: the time after which the run is ended, without a verdict.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = folder / "behaviours.json"
        command = [sys.executable, "-m", "pytest", f"--behaviours-report={report}"]
        command += ["-p", "no:cacheprovider", *options]
        if rows:
            command += ["--behaviours", " ".join(rows)]
        with (folder / "output.txt").open("w+") as kept:
            status = _run(command, root, folder, None if show else kept, seconds)
            kept.seek(0)
            output = kept.read()
        # Without a report, pytest did not come so far as to run anything.
        data = json.loads(report.read_text()) if report.exists() else {"tests": {}}
        return SuiteRun(status, _read(data), output)


def _run(
    command: list[str],
    root: Path,
    folder: Path,
    output: IO[str] | None,
    seconds: float | None,
) -> int | None:
    # What Hypothesis finds in a broken source is no example for the next run.
    environment = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # The whole group: a test may have started a server of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read(report: dict[str, Any]) -> tuple[TestOutcome, ...]:
    return tuple(
        TestOutcome(
            name, tuple(test["rows"]), test["outcome"], test["reason"], test["seconds"]
        )
        for name, test in report["tests"].items()
    )
