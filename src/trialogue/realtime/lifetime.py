"""How long a connection may serve, and when another one should take over.

Providers end a session after a fixed time (60 minutes at OpenAI). The replacement is
dialled ahead of that, and takes over in a moment in which nobody speaks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.realtime.connection import Timing

__all__ = ["Lifetime"]

SHORTEST = 10.0
"""Seconds. No provider grants less: one that seems to has another clock than we."""


@attrs.frozen
class Lifetime:
    """When a connection is to be replaced, on Trio's clock.

    Attributes:
        due: from here on a replacement is kept ready, and takes over as soon as nobody
            speaks, nothing plays and nothing is under way.
        pressing: from here on it does not wait for what still plays.
    """

    due: float = math.inf
    pressing: float = math.inf

    @classmethod
    def of(
        cls,
        now: float,
        expires_at: float | None,
        wall: Callable[[], float],
        timing: Timing,
    ) -> Lifetime:
        """Plan the replacement of a connection that has just begun.

        Args:
            now: Trio's time.
            expires_at: when the provider will end it, in seconds since
                1970, if it says.
            wall: that clock.
        """
        known = math.inf if expires_at is None else expires_at - wall()
        if known < SHORTEST:
            known = math.inf  # a clock is wrong: the end will be noticed when it comes
        left = min(known, timing.max_age)
        if left == math.inf:
            return cls()
        # NB: a short life is no reason to spend all of it on being replaced.
        lead = min(timing.rotate_before, left / 2)
        return cls(now + left - lead, now + left - lead / 2)
