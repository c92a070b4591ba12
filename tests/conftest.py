"""Test-wide configuration: behaviour marks, their report, and the mutant option."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["quality.plugin"]


def pytest_configure(config: pytest.Config) -> None:
    """Let no example fail for a busy machine, and no mutant die by chance."""
    settings.register_profile(
        "trialogue",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=config.getoption("--mutant") is not None,
    )
    settings.load_profile("trialogue")
