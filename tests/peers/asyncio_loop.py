"""asyncio, for the contestants that run on it."""

from __future__ import annotations

import asyncio  # noqa: TID251 - the contestants run on it
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["run", "sleep", "together", "within"]

sleep = asyncio.sleep


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main())


async def together(*jobs: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job())


async def within(seconds: float, job: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await asyncio.wait_for(job, seconds)
    except TimeoutError:
        return None
