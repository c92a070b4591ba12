"""How long a fuzz is, and where its examples come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

__all__ = ["fuzzed"]


def fuzzed(config: pytest.Config, *, usually: int, share: float = 1.0) -> settings:
    """Return the settings of a fuzz: so many sequences, or a share of those asked for.

    Those of a usual run are always the same; those asked for are new each time, unless
    `--hypothesis-seed` says which.
    """
    asked: int | None = config.getoption("--fuzz-sequences")
    return settings(
        max_examples=usually if asked is None else max(1, round(asked * share)),
        derandomize=asked is None,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
    )
