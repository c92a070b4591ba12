"""Trio, for the contestants that run on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["run", "sleep", "together", "within"]

sleep = trio.sleep
run = trio.run


async def together(*jobs: Callable[[], Awaitable[Any]]) -> None:
    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(job)


async def within(seconds: float, job: Awaitable[Any]) -> Any:
    with trio.move_on_after(seconds):
        return await job
    return None
