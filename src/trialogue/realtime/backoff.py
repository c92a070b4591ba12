"""How often, and how patiently, a connection is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Backoff"]


@attrs.frozen
class Backoff:
    """How often, and with what pauses (in seconds), a connection is tried again.

    Attributes:
        first_attempts: for the very first connection of a session.
        attempts: in a row without progress, later; the loss of a connection is the
            first of them. A reply that ended or a finished user turn is progress;
            merely connecting is not (C8).
        base: the first pause, after two failures in a row; after one there is none.
        factor: by what each further pause is longer.
        ceiling: how long a pause becomes at most. Each is shortened by up to half, at
            random. Somebody is on the line: the end of an outage is to be found soon.
    """

    first_attempts: int = 3
    attempts: int = 16
    base: float = 0.25
    factor: float = 2.0
    ceiling: float = 1.0

    def pause(self, failures: int, jitter: Callable[[], float]) -> float:
        """The pause after so many failures in a row; none before the second try."""
        if failures <= 1:
            return 0.0
        grown = self.base * self.factor ** (failures - 2)
        return min(self.ceiling, grown) * (0.5 + jitter() / 2)
