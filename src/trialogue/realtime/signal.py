"""Waiting on state without losing a wake-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Signal"]


class Signal:
    """A condition over plain state.

    Whoever changes the state calls `pulse`; whoever waits gives a predicate. When
    `until` returns, the predicate was true in that very step: there is no checkpoint
    between the last look and the return.
    """

    def __init__(self) -> None:
        self._event: trio.Event | None = None  # while somebody waits

    def pulse(self) -> None:
        """Tell every waiter to look again."""
        if self._event is not None:
            event, self._event = self._event, None
            event.set()

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until `predicate()` is true; only a cancellation point if it is now."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not predicate():
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
