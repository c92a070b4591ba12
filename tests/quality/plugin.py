"""The pytest side: behaviour marks are checked, selected by, and reported.

A test names the rows it covers, at most four, with
``@pytest.mark.behaviour("S5", "S6")``. Options:

``--behaviours "S5 H"``
    run only tests that cover one of these rows, by id or group letter;
``--quickest-first FILE``
    run first what took the least time, by a JSON object of seconds by test;
``--behaviours-report FILE``
    write what every test that covers a row came to, and how long it took, as JSON;
``--mutant NAME``
    break the source as ``tests/mutants`` says, before any test is imported;
``--soak-hours HOURS``
    how long the soak talks in virtual time; 0 leaves it out, and so does a mutant. Its
    default is that of ``TRIALOGUE_SOAK_HOURS``, else 2;
``--fuzz-sequences NUMBER``
    how many sequences of hostile frames the local server is sent, new ones each time
    (``--hypothesis-seed`` repeats a run); by default some hundred, always the same.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quality.mutation import MutantError, apply_mutant
from quality.rows import BEHAVIOURS_FILE, Rows, UnknownRowError, load_rows
from quality.tree import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK_LIMIT = 4
_PROPERTY = "behaviour"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("behaviours")
    group.addoption("--behaviours", default=None, metavar="ROWS")
    group.addoption("--quickest-first", default=None, metavar="FILE", type=Path)
    group.addoption("--behaviours-report", default=None, metavar="FILE", type=Path)
    group.addoption("--mutant", default=None, metavar="NAME")
    hours = os.environ.get("TRIALOGUE_SOAK_HOURS", "2")
    group.addoption("--soak-hours", default=hours, metavar="HOURS")
    group.addoption("--fuzz-sequences", default=None, metavar="NUMBER", type=int)


def pytest_configure(config: pytest.Config) -> None:
    name: str | None = config.getoption("--mutant")
    if name is not None:
        try:
            apply_mutant(name)
        except MutantError as error:
            raise pytest.UsageError(f"mutant {name}: {error}") from error
    report: Path | None = config.getoption("--behaviours-report")
    # A worker of a parallel run tells its controller, and that writes the report.
    if report is not None and not hasattr(config, "workerinput"):
        tree = fingerprint(config.rootpath)
        config.pluginmanager.register(
            BehaviourReport(report, tree), "behaviours-report"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    rows = load_rows(config.rootpath)
    wrong = [problem for item in items for problem in _mark_problems(item, rows)]
    if wrong:
        raise pytest.UsageError(*wrong)
    for item in items:
        item.user_properties.append((_PROPERTY, _marked(item)))
    _select(config, items, rows)
    _sort(config, items)


def _marked(item: pytest.Item) -> list[str]:
    return [row for mark in item.iter_markers("behaviour") for row in mark.args]


def _mark_problems(item: pytest.Item, rows: Rows) -> Iterator[str]:
    marked = _marked(item)
    for row in marked:
        if row not in rows.texts:
            yield f"{item.nodeid}: {BEHAVIOURS_FILE} has no behaviour {row!r}"
    if len(marked) > MARK_LIMIT:
        yield (
            f"{item.nodeid}: covers {len(marked)} behaviours; "
            f"a test may name at most {MARK_LIMIT}, so split it"
        )


def _select(config: pytest.Config, items: list[pytest.Item], rows: Rows) -> None:
    names: str | None = config.getoption("--behaviours")
    if not names:
        return
    try:
        wanted = set(rows.select(names.replace(",", " ").split()))
    except UnknownRowError as error:
        raise pytest.UsageError(str(error)) from error
    dropped = [item for item in items if wanted.isdisjoint(_marked(item))]
    items[:] = [item for item in items if not wanted.isdisjoint(_marked(item))]
    config.hook.pytest_deselected(items=dropped)


def _sort(config: pytest.Config, items: list[pytest.Item]) -> None:
    times: Path | None = config.getoption("--quickest-first")
    if times is not None:
        seconds = json.loads(times.read_text(encoding="utf-8"))
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))


class BehaviourReport:
    """Collects one outcome per test, and writes them when the run ends.

    The outcome is "passed" only if set-up, call and tear-down passed; "failed" if any
    of them failed; else "skipped" (expected failures included). With them stand the
    run's exit status and the fingerprint of the tree that was tested.
    """

    def __init__(self, path: Path, tree: str) -> None:
        self._path = path
        self._tree = tree
        self._tests: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        marked = dict(report.user_properties).get(_PROPERTY)
        if not marked:
            return
        test = self._tests.setdefault(
            report.nodeid,
            {"rows": marked, "outcome": "passed", "reason": "", "seconds": 0.0},
        )
        test["seconds"] += report.duration
        if report.failed:
            test.update(outcome="failed", reason=_reason(report))
        elif report.skipped and test["outcome"] == "passed":
            test["outcome"] = "skipped"

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        report = {"tree": self._tree, "status": int(exitstatus), "tests": self._tests}
        text = json.dumps(report, indent=1)
        self._path.write_text(text + "\n", encoding="utf-8")


def _reason(report: pytest.TestReport) -> str:
    """The first line of what the test failed with."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text: str = crash.message if crash is not None else report.longreprtext
    return next(iter(text.strip().splitlines()), "")
