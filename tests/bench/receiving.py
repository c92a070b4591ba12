"""What it costs to take sound in, and how long sound is under way to the output.

A neutral server (`sender.py`) sends a reply of a minute, as fast as it is read. What is
counted is the CPU of this process, from the request for the reply until its last
sample is where a program gets it: out of `reply.audio()`, or at the output's `write`,
where an agent speaks. By hand: until it is bytes again.

For the lateness the server sends a delta of 20 ms every 5 ms, with the time in it.
"""

from __future__ import annotations

import statistics
from functools import partial
from time import perf_counter_ns, process_time
from typing import TYPE_CHECKING, TypeAlias

import trio

from bench.byhand import configured, raw_spoken
from bench.processes import started
from bench.rows import Row, interleaved, plus, times
from bench.subjects import agent_session, realtime_session, spoken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.processes import Started
    from bench.rows import Sample, Size

__all__ = [
    "BYTES_PER_MS",
    "MOST_PER_20_MS",
    "MOST_PER_100_MS",
    "late_ms",
    "measure_play",
    "measure_receive",
]

MOST_PER_20_MS, MOST_PER_100_MS = 1.5, 1.25
LATER_MS = 0.3
BYTES_PER_MS = 48
BYTES_PER_DELTA = 20 * BYTES_PER_MS
PATIENCE = 60.0
PACE_MS = 5


class Sound:
    """Counts sound; when all of it has come, it says how much CPU has been used."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self.complete = trio.Event()
        self.used = 0.0

    def __call__(self, pcm: bytes) -> None:
        self._missing -= len(pcm)
        if self._missing <= 0:
            self.used = process_time()
            self.complete.set()


def late_ms(pcm: bytes) -> list[float]:
    """Return how late each delta of 20 ms is; several may come at once."""
    now = perf_counter_ns()
    starts = range(0, len(pcm), BYTES_PER_DELTA)
    return [(now - int.from_bytes(pcm[at : at + 9], "little")) / 1e6 for at in starts]


class Lateness:
    """Compares the time with the one that each delta says it was sent at."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self.complete = trio.Event()
        self.ms: list[float] = []

    def __call__(self, pcm: bytes) -> None:
        self.ms += late_ms(pcm)
        if len(self.ms) == self._expected:
            self.complete.set()


Taker: TypeAlias = "Sound | Lateness"
Side: TypeAlias = "Callable[[int, str, Taker], Awaitable[float]]"


async def by_hand(port: int, plan: str, sound: Taker) -> float:
    """Return the CPU used before the reply was asked for, as the others do."""
    async with configured(port, plan) as link:
        began = process_time()
        await raw_spoken(link, sound)
    return began


async def by_session(port: int, plan: str, sound: Taker) -> float:
    async with realtime_session(port, plan) as session:
        began = process_time()
        await spoken(session, sound)
    return began


async def by_agents(port: int, plan: str, sound: Taker) -> float:
    async with agent_session(port, plan, sound) as (_, speaker):
        speaker.asked.set()
        await sound.complete.wait()
    return speaker.used


SIDES: dict[str, Side] = {
    "raw": by_hand,
    "realtime session": by_session,
    "agent session": by_agents,
}


async def _bounded(side: Side, port: int, plan: str, taker: Taker) -> float:
    with trio.fail_after(PATIENCE):
        began = await side(port, plan, taker)
        await taker.complete.wait()  # all of it came, or this fails
    return began


def _cost(server: Started, side: Side, milliseconds: int, count: int) -> Sample:
    """Microseconds of CPU for each delta of a reply."""
    sound = Sound(milliseconds * count * BYTES_PER_MS)
    plan = f"flood-{milliseconds}-{count}"
    began = trio.run(_bounded, side, server.port, plan, sound)
    server.line()
    return {"us": (sound.used - began) / count * 1e6}


def measure_receive(size: Size) -> list[Row]:
    """Deltas of 20 ms and of 100 ms, through either session; and the agents' share."""
    rows = []
    with started("sender.py") as server:
        for milliseconds, most in ((20, MOST_PER_20_MS), (100, MOST_PER_100_MS)):
            count = size.of(60_000, 2000) // milliseconds
            sides = {
                name: partial(_cost, server, side, milliseconds, count)
                for name, side in SIDES.items()
            }
            seen = interleaved(sides, size.repetitions)
            raw, *ours = (seen[name]["us"] for name in SIDES)
            what = f"receive, CPU per {milliseconds} ms delta"
            for name, samples in zip(list(SIDES)[1:], ours, strict=True):
                rows.append(
                    Row(f"{what}: {name}", "us", samples, raw, target=times(most))
                )
            rows.append(
                Row(f"{what}: agent layer", "us", ours[1], ours[0], "realtime session")
            )
    return rows


def _lateness(server: Started, side: Side, count: int) -> Sample:
    lateness = Lateness(count)
    plan = f"paced-20-{count}-{PACE_MS}"
    trio.run(_bounded, side, server.port, plan, lateness)
    server.line()
    return {"ms": statistics.median(lateness.ms)}


def measure_play(size: Size) -> list[Row]:
    """From the server's send to the output's `write`."""
    count = size.of(400, 20)
    with started("sender.py") as server:
        sides = {
            name: partial(_lateness, server, SIDES[name], count)
            for name in ("raw", "agent session")
        }
        seen = interleaved(sides, size.repetitions)
    ours, raw = seen["agent session"]["ms"], seen["raw"]["ms"]
    name = "sent -> at the output: agent session, median"
    return [Row(name, "ms", ours, raw, target=plus(LATER_MS))]
