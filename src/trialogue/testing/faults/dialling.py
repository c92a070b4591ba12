"""What goes wrong while a client connects."""

from __future__ import annotations

from trialogue.testing.faults.fault import ConnectFault

__all__ = ["refuse_connect", "refuse_upgrade", "silent_connect", "slow_accept"]


def refuse_connect(times: int = 1, *, skip: int = 0) -> ConnectFault:
    """Nobody listens."""
    return ConnectFault("refuse", times, skip)


def silent_connect(times: int = 1, *, skip: int = 0) -> ConnectFault:
    """The upgrade is never answered."""
    return ConnectFault("silent", times, skip)


def refuse_upgrade(status: int, times: int = 1, *, skip: int = 0) -> ConnectFault:
    """The upgrade is answered with an HTTP status: 401, 403, 404, 429, 500."""
    return ConnectFault(status, times, skip)


def slow_accept(seconds: float, times: int = 1, *, skip: int = 0) -> ConnectFault:
    """The connection is there at once; the answer to the upgrade comes byte by byte.

    Its last byte is there after so many seconds. What follows is as fast as ever.
    """
    return ConnectFault("slow", times, skip, seconds)
