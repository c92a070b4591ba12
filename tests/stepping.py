"""How long Hypothesis drives what it is given step by step.

`TRIALOGUE_MACHINE_EXAMPLES` says how many runs there are of each, new ones each time;
by default there are few, always the same.
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

__all__ = ["stepping"]

CHOSEN: Final = os.environ.get("TRIALOGUE_MACHINE_EXAMPLES")


def stepping(usually: int, steps: int = 30) -> settings:
    """Return the settings of a state machine: so many runs of so many steps."""
    return settings(
        max_examples=int(CHOSEN or usually),
        stateful_step_count=steps,
        derandomize=CHOSEN is None,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
