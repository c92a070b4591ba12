"""A plugin for pytest: each test of agents under many of Trio's schedules.

``-p soak.schedules --schedules 20 --first-schedule 1000`` runs every test that Trio
runs once for each of the seeds 1000 to 1019, which decide the order of tasks that are
ready at once. ``--trio-seed`` repeats one.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("schedules")
    group.addoption("--schedules", type=int, default=0, metavar="NUMBER")
    group.addoption("--first-schedule", type=int, default=0, metavar="SEED")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let `pytest_trialogue` run the test under each seed."""
    count = metafunc.config.getoption("--schedules")
    seeded = metafunc.definition.get_closest_marker("trio_seed")
    if not count or seeded or not inspect.iscoroutinefunction(metafunc.function):
        return
    first = int(metafunc.config.getoption("--first-schedule") or 0)
    if "trio_seed" not in metafunc.fixturenames:
        metafunc.fixturenames.append("trio_seed")
    seeds = range(first, first + count)
    metafunc.parametrize("trio_seed", seeds, indirect=True, ids=lambda n: f"seed{n}")
