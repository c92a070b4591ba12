"""A hundred sessions in one process, each as in a conversation in which both speak.

Each is sent a reply, a delta of 20 ms every 20 ms, with the time in it, at times of its
own. Each sends the microphone: one clock ticks every 20 ms, and each session is given a
frame, one after the other, as where one device, or one line, has all of the callers.
Once all of them talk, the CPU of the process is counted for some seconds, and how long
each delta was under way to where a program gets it. The server has a core for itself.

A process that cannot keep up uses one core, whatever there is to do. So the CPU is
divided by the sound that was heard, and says what all of it would have taken.
"""

from __future__ import annotations

import math
from contextlib import aclosing
from functools import partial
from time import process_time
from typing import TYPE_CHECKING, TypeAlias

import trio

from bench.byhand import append, configured, raw_spoken
from bench.microphone import frames
from bench.processes import started
from bench.receiving import late_ms
from bench.rows import Row, interleaved, plus, times
from bench.subjects import agent_session, realtime_session, spoken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.processes import Started
    from bench.rows import Sample, Size
    from trialogue import RealtimeSession

__all__ = ["measure"]

SESSIONS = 100
MOST_CPU, LATER_MS = 1.25, 5.0
STEP = 0.02
SETTLING = 1.0
PATIENCE = 60.0


class Meter:
    """Counts for some time, once all sessions are open and have been heard."""

    def __init__(self, sessions: int) -> None:
        self._sessions = self._silent = sessions
        self.microphones: list[Send] = []
        self.all_open = trio.Event()
        self.all_talk = trio.Event()
        self.over = trio.Event()
        self.counting = False
        self.ms: list[float] = []

    def ear(self) -> Hear:
        """Return what hears one session."""
        heard = False

        def hear(pcm: bytes) -> None:
            nonlocal heard
            if self.counting:
                self.ms += late_ms(pcm)
            elif not heard:
                heard = True
                self._silent -= 1
                if not self._silent:
                    self.all_talk.set()

        return hear

    async def joined(self, send: Send) -> None:
        """A session is open: wait until all are."""
        self.microphones.append(send)
        if len(self.microphones) == self._sessions:
            self.all_open.set()
        await self.all_open.wait()

    async def count(self, seconds: float) -> Sample:
        await self.all_talk.wait()
        await trio.sleep(SETTLING)
        began, used = trio.current_time(), process_time()
        self.counting = True
        await trio.sleep(seconds)
        self.counting = False
        used, took = process_time() - used, trio.current_time() - began
        self.over.set()
        ranked = sorted(self.ms)
        at = max(0, math.ceil(0.99 * len(ranked)) - 1)
        heard = len(ranked) * STEP / took
        return {"cpu": 100 * used / took * self._sessions / heard, "p99": ranked[at]}


Hear: TypeAlias = "Callable[[bytes], None]"
Send: TypeAlias = "Callable[[bytes], Awaitable[None]]"
Side: TypeAlias = "Callable[[int, str, Hear, Meter], Awaitable[None]]"


async def by_hand(port: int, plan: str, hear: Hear, meter: Meter) -> None:
    async with configured(port, plan) as link, trio.open_nursery() as nursery:

        async def send(pcm: bytes) -> None:
            await link.send(append(pcm))

        await meter.joined(send)
        nursery.start_soon(raw_spoken, link, hear)
        await meter.over.wait()
        nursery.cancel_scope.cancel()


def _pushing(session: RealtimeSession) -> Send:
    async def push(pcm: bytes) -> None:
        session.push_audio(pcm)

    return push


async def by_session(port: int, plan: str, hear: Hear, meter: Meter) -> None:
    async with realtime_session(port, plan) as session, trio.open_nursery() as nursery:
        await meter.joined(_pushing(session))
        nursery.start_soon(spoken, session, hear)
        await meter.over.wait()
        nursery.cancel_scope.cancel()


async def by_agents(port: int, plan: str, hear: Hear, meter: Meter) -> None:
    async with agent_session(port, plan, hear) as (session, speaker):
        await meter.joined(_pushing(session.realtime))
        speaker.asked.set()
        await meter.over.wait()


async def _tick(microphones: Sequence[Send], count: int) -> None:
    async with aclosing(frames(count, STEP)) as ticks:
        async for pcm in ticks:
            for send in microphones:
                await send(pcm)


SIDES: dict[str, Side] = {
    "raw": by_hand,
    "realtime sessions": by_session,
    "agent sessions": by_agents,
}


async def _talk(side: Side, port: int, sessions: int, seconds: float) -> Sample:
    # Long enough for all to connect, and to be counted; cut short when that is done.
    count = math.ceil((seconds + SETTLING + 0.05 * sessions + 5) / STEP)
    meter, plan = Meter(sessions), f"paced-20-{count}-{STEP * 1000:g}"
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(sessions):
                nursery.start_soon(side, port, plan, meter.ear(), meter)
            await meter.all_open.wait()
            nursery.start_soon(_tick, meter.microphones, count)
            sample = await meter.count(seconds)
            nursery.cancel_scope.cancel()
    return sample


def _run(server: Started, side: Side, sessions: int, seconds: float) -> Sample:
    sample = trio.run(_talk, side, server.port, sessions, seconds)
    for _ in range(sessions):
        server.line()
    return sample


def measure(size: Size) -> list[Row]:
    """CPU of the process, and how late the hundredth part of the sound is."""
    sessions, seconds = size.of(SESSIONS, 3), size.of(3000, 300) / 1000
    with started("sender.py") as server:
        sides = {
            name: partial(_run, server, side, sessions, seconds)
            for name, side in SIDES.items()
        }
        seen = interleaved(sides, size.repetitions, warm=False)
    raw = seen["raw"]
    rows = []
    for name in list(SIDES)[1:]:
        ours, what = seen[name], f"{sessions} {name}"
        cpu, late = times(MOST_CPU), plus(LATER_MS)
        rows += [
            Row(f"{what}, CPU", "% of a core", ours["cpu"], raw["cpu"], target=cpu),
            Row(f"{what}, lateness p99", "ms", ours["p99"], raw["p99"], target=late),
        ]
    return rows
