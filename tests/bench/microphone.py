"""What it costs to send the microphone: frames of 20 ms, one after the other.

A frame comes every millisecond, faster than any microphone, and still each by itself:
what piles up would go out as one. The server counts what arrives, and the CPU is
divided by that. The same loop waits for the frames on all sides; what it costs alone,
a timer and a wake-up, is measured as well, and taken off.
"""

from __future__ import annotations

import json
from functools import partial
from time import process_time
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from bench.byhand import append, configured
from bench.processes import started
from bench.receiving import BYTES_PER_MS
from bench.rows import Row, interleaved, times
from bench.subjects import CountingOutput, Speaker, model_at, realtime_session
from trialogue import open_agent_session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from bench.processes import Started
    from bench.rows import Sample, Size

__all__ = ["frames", "measure"]

MOST = 1.25
FRAME_MS = 20
EVERY = 0.001
PLAN = "paced-20-1-20"
PATIENCE = 60.0

Side: TypeAlias = "Callable[[int, int], Awaitable[float]]"


def sound(number: int) -> bytes:
    """20 ms that are not all zeros."""
    return bytes((number + at) % 251 for at in range(FRAME_MS * BYTES_PER_MS))


SOUNDS = [sound(number) for number in range(16)]


async def frames(count: int, every: float) -> AsyncGenerator[bytes, None]:
    """Yield so many frames, each when it is due."""
    began = trio.current_time()
    for number in range(count):
        await trio.sleep_until(began + number * every)
        yield SOUNDS[number % len(SOUNDS)]


class Source:
    """The same as an `AudioInput`."""

    def __init__(self, count: int) -> None:
        self._frames = frames(count, EVERY)
        self.ended = trio.Event()
        self.began = 0.0
        self.used = 0.0

    async def receive(self) -> bytes:
        self.began = self.began or process_time()
        async for pcm in self._frames:
            return pcm
        self.used = process_time() - self.began
        self.ended.set()
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        await self._frames.aclose()


async def loop_alone(port: int, count: int) -> float:
    """Only wait for the frames, and send the last."""
    async with configured(port, PLAN) as link:
        began = process_time()
        async for _ in frames(count, EVERY):
            pass
        used = process_time() - began
        await link.send(append(SOUNDS[0]))
        return used


async def by_hand(port: int, count: int) -> float:
    async with configured(port, PLAN) as link:
        began = process_time()
        async for pcm in frames(count, EVERY):
            await link.send(append(pcm))
        return process_time() - began


async def by_session(port: int, count: int) -> float:
    async with realtime_session(port, PLAN) as session:
        began = process_time()
        async for pcm in frames(count, EVERY):
            session.push_audio(pcm)
        used = process_time() - began
        await trio.sleep(0.05)  # the last one may not have gone out
        return used


async def by_agents(port: int, count: int) -> float:
    """The pump of the microphone takes it, as in any conversation."""
    source, output = Source(count), CountingOutput(_nothing)
    async with (
        open_agent_session(model_at(port, PLAN), audio=(source, output)) as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(session.run, Speaker())
        await source.ended.wait()
        await trio.sleep(0.05)
        session.end(now=True)
    return source.used


def _nothing(pcm: bytes) -> None:
    pass


SIDES: dict[str, Side] = {
    "loop": loop_alone,
    "raw": by_hand,
    "realtime session": by_session,
    "agent session": by_agents,
}


async def _bounded(side: Side, port: int, count: int) -> float:
    with trio.fail_after(PATIENCE):
        return await side(port, count)


def _cost(server: Started, side: Side, count: int) -> Sample:
    used = trio.run(_bounded, side, server.port, count)
    arrived: dict[str, Any] = json.loads(server.line())
    if side is loop_alone:
        return {"us": used / count * 1e6}
    assert arrived["bytes"] >= count * FRAME_MS * BYTES_PER_MS, "sound was lost"
    return {"us": used / arrived["frames"] * 1e6}


def measure(size: Size) -> list[Row]:
    """CPU per frame, through either session."""
    count = size.of(1000, 50)
    with started("sender.py") as server:
        sides = {
            name: partial(_cost, server, side, count) for name, side in SIDES.items()
        }
        seen = interleaved(sides, size.repetitions)
    loop, *others = (seen[name]["us"] for name in SIDES)
    raw, session, agents = (
        tuple(cost - alone for cost, alone in zip(costs, loop, strict=True))
        for costs in others
    )
    what = "microphone, CPU per 20 ms frame"
    return [
        Row(f"{what}: realtime session", "us", session, raw, target=times(MOST)),
        Row(f"{what}: agent session", "us", agents, raw, target=times(MOST)),
        Row(f"{what}: agent layer", "us", agents, session, "realtime session"),
        Row(f"{what}: the loop alone, taken off", "us", loop),
    ]
