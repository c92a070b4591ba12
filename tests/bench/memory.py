"""What a session weighs: the memory of a process with one, and with a hundred more.

Each figure is that of a process of its own, which imports what a program imports, opens
its sessions and has each of them speak for a second; the raw one does not import
trialogue. As a program: `python memory.py SIDE PORT MORE ENGINE` prints the resident
memory with one session, and what each further one adds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from bench.processes import Started
    from bench.rows import Row, Sample, Size

__all__ = ["measure"]

MORE = 100
MOST_MB, MOST_KB = 60.0, 80.0
PLAN = "paced-20-50-1"
SIDES = ("raw", "realtime session", "agent session")


def resident() -> float:
    """Return the memory of this process, in bytes."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _nothing(pcm: bytes) -> None:
    pass


async def _open_raw(links: AsyncExitStack, port: int, engine: str) -> None:
    from bench.byhand import configured, raw_spoken

    link = await links.enter_async_context(configured(port, PLAN, engine=engine))
    await raw_spoken(link, _nothing)


async def _open_session(links: AsyncExitStack, port: int, _: str) -> None:
    from bench.subjects import realtime_session, spoken

    session = await links.enter_async_context(realtime_session(port, PLAN))
    await spoken(session, _nothing)


async def _open_agents(links: AsyncExitStack, port: int, _: str) -> None:
    from bench.subjects import agent_session

    session, speaker = await links.enter_async_context(
        agent_session(port, PLAN, _nothing)
    )
    speaker.asked.set()
    await speaker.spoken.wait()
    await session.wait_for_playout()


OPEN: dict[str, Any] = dict(
    zip(SIDES, (_open_raw, _open_session, _open_agents), strict=True)
)


async def weigh(side: str, port: int, more: int, engine: str) -> dict[str, float]:
    with trio.fail_after(60):
        async with AsyncExitStack() as links:
            await OPEN[side](links, port, engine)
            one = resident()
            for _ in range(more):
                await OPEN[side](links, port, engine)
            return {"MB": one / 1e6, "kB": (resident() - one) / more / 1e3}
    raise AssertionError


def _weighed(server: Started, side: str, more: int) -> Sample:
    from bench.processes import printed_by
    from bench.raw import engine_in_use

    arguments = (side, str(server.port), str(more), engine_in_use())
    seen: dict[str, float] = json.loads(printed_by("memory.py", *arguments))
    for _ in range(more + 1):
        server.line()
    return seen


def measure(size: Size) -> list[Row]:
    """One session, and each further one."""
    from bench.processes import started
    from bench.rows import Row, at_most, interleaved

    more = size.of(MORE, 2)
    with started("sender.py") as server:
        sides = {side: partial(_weighed, server, side, more) for side in SIDES}
        seen = interleaved(sides, size.repetitions, warm=False)
    raw, rows = seen["raw"], []
    for side in SIDES[1:]:
        ours, mb, kb = seen[side], at_most(MOST_MB), at_most(MOST_KB)
        rows += [
            Row(f"memory, one {side}", "MB", ours["MB"], raw["MB"], target=mb),
            Row(f"memory, each further {side}", "kB", ours["kB"], raw["kB"], target=kb),
        ]
    return rows


if __name__ == "__main__":
    side, port, more, engine = sys.argv[1:]
    print(json.dumps(trio.run(weigh, side, int(port), int(more), engine)))
