"""What a contestant is asked to do, written once for asyncio and for Trio.

A contestant brings a `Loop`, which is its way to sleep and to do things together, and
`open_session`, which opens a session on an address. The rest is the same for all: what
is counted, from when, and until when. Its program calls `main`, which prints JSON.

Standard library only.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import struct
import sys
import time
from array import array
from importlib.metadata import PackageNotFoundError, version
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from peers.cast import FRAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["Handoff", "Heard", "Loop", "Session", "Stage", "main", "versions"]

Heard: TypeAlias = "Callable[[bytes], None]"
FRAME_S = 0.02
GAP = 6
"""Rounds of the loop between two frames of the microphone, where only the CPU that it
takes is measured: enough for a task of a library's to write the one before."""
SETTLE_S = 0.2
PATIENCE_S = 8.0
"""For a handoff that comes to nothing."""


class Session(Protocol):
    """A session that is open."""

    async def reply(self, heard: Heard) -> None:
        """Ask for a reply; hand over each piece of its sound; return at its end."""

    async def push(self, pcm: bytes) -> None:
        """Send 20 ms of the microphone."""


class Loop(Protocol):
    """An event loop."""

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]], /) -> Any: ...

    async def sleep(self, seconds: float, /) -> None: ...

    async def together(self, *jobs: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do all of it at once, and wait until it is done."""

    async def within(self, seconds: float, job: Any, /) -> Any:
        """Await it; None where that takes longer."""


Opened: TypeAlias = "AbstractAsyncContextManager[Session]"
Handoff: TypeAlias = "Callable[[str, str], Awaitable[bool]]"
"""Hold a conversation at an address in which one handoff happens, in a mode. Whether
the words after it were heard."""


class Stage:
    """A contestant's way to do what is asked.

    Args:
        loop: what it runs on.
        open_session: opens a session at an address.
        handoff: hands over once, if it can.
        modes: in which modes it hands over.
    """

    def __init__(
        self,
        loop: Loop,
        open_session: Callable[[str], Opened],
        handoff: Handoff,
        modes: Sequence[str],
    ) -> None:
        self.loop = loop
        self.open_session = open_session
        self.handoff = handoff
        self.modes = modes

    # --- one session, as fast as it can ---------------------------------------

    async def sound(
        self, url: str, plan: Sequence[tuple[int, int]], frames: int
    ) -> Any:
        """Take the replies of a plan, then send so many frames of a microphone."""
        costs = await self._stream(url, plan)
        return {"costs": costs, "frame": await self._microphone(url, frames)}

    async def _stream(self, url: str, plan: Sequence[tuple[int, int]]) -> list[float]:
        """Take each reply of a plan; return the CPU seconds of a piece of each.

        Counted from when the first piece is heard until the last one is.
        """
        costs = []
        async with self.open_session(url) as session:
            for ms, pieces in plan:
                size, began, ended, got = ms * 48, 0.0, 0.0, 0

                def heard(pcm: bytes) -> None:
                    nonlocal got, began, ended
                    if not got:
                        began = time.process_time()
                    got += len(pcm)
                    if got >= size * pieces:  # noqa: B023 - it is called in this round
                        ended = time.process_time()

                gc.collect()
                await session.reply(heard)
                if got != size * pieces:
                    raise SystemExit(f"heard {got} of {size * pieces} bytes")
                costs.append((ended - began) / (pieces - 1))
        return costs

    async def _microphone(self, url: str, frames: int) -> float:
        """Send so many frames; return the CPU seconds of each.

        Behind each the loop goes round `GAP` times, so that the frame is written before
        the next one comes. What that takes by itself is measured too, and taken off.
        """
        async with self.open_session(url) as session:

            async def nothing(_: bytes) -> None:
                pass

            await self._frames(session.push, frames // 8)
            idle = await self._frames(nothing, frames)
            busy = await self._frames(session.push, frames)
        return (busy - idle) / frames

    async def _frames(
        self, push: Callable[[bytes], Awaitable[None]], frames: int
    ) -> float:
        sleep = self.loop.sleep
        await sleep(SETTLE_S)
        gc.collect()
        cpu = time.process_time()
        for _ in range(frames):
            await push(FRAME)
            for _ in range(GAP):
                await sleep(0)
        return time.process_time() - cpu

    # --- many sessions, at the pace of speech ---------------------------------

    async def crowd(
        self, url: str, sessions: int, seconds: float, settle: float
    ) -> Any:
        """Hold so many sessions that listen and speak; return what they cost.

        Args:
            settle: seconds that one talks alone, and then that all do, before anything
                is counted.
        """
        lateness = array("d", bytes(8 * int(sessions * (seconds + 2) / FRAME_S)))
        clock, sleep, chance = time.monotonic, self.loop.sleep, Random(1)
        state: dict[str, Any] = {"counting": False, "count": 0, "open": 0}

        def heard(pcm: bytes) -> None:
            if state["counting"] and state["count"] < len(lateness):
                now = clock()
                lateness[state["count"]] = now - struct.unpack_from("<d", pcm)[0]
                state["count"] += 1

        async def speak(session: Session) -> None:
            due = clock() + chance.random() * FRAME_S
            while True:
                await sleep(max(due - clock(), 0.0))
                await session.push(FRAME)
                due += FRAME_S

        async def talk() -> None:
            async with self.open_session(url) as session:
                state["open"] += 1
                await self.loop.together(
                    lambda: session.reply(heard), lambda: speak(session)
                )

        async def start(number: int) -> None:
            # A hundredth of a second apart, so that they do not all dial at once.
            await sleep(0.0 if not number else settle + number * 0.01)
            await talk()

        async def watch() -> None:
            await sleep(0.9 * settle)
            alone = resident()
            while state["open"] < sessions:
                await sleep(0.1)
            await sleep(settle)
            gc.collect()
            all_of_them = resident()
            state["counting"] = True
            began, cpu = clock(), time.process_time()
            await sleep(seconds)
            used, took = time.process_time() - cpu, clock() - began
            state["counting"] = False
            late = sorted(lateness[: state["count"]])
            finish(
                {
                    "cpu": used / took,
                    "alone": alone,
                    "each": (all_of_them - alone) / max(sessions - 1, 1),
                    "pieces": len(late),
                    "expected": round(sessions * took / FRAME_S),
                    "p50": late[len(late) // 2],
                    "p99": late[int(0.99 * len(late))],
                }
            )

        jobs = [lambda number=number: start(number) for number in range(sessions)]
        await self.loop.together(watch, *jobs)

    # --- handoffs -------------------------------------------------------------

    async def handoffs(self, url: str, modes: Sequence[str], times: int) -> Any:
        """Hand over so many times in each mode, each in a conversation of its own.

        One more comes first: what is made once in a process is made in that one.
        """
        able = [mode for mode in modes if mode in self.modes]
        done = [mode for mode in able for _ in range(times)]
        within, handoff = self.loop.within, self.handoff
        heard = [
            await within(PATIENCE_S, handoff(url, mode)) for mode in (*able[:1], *done)
        ]
        return {"done": done, "heard": list(map(bool, heard[1:]))}


def resident() -> int:
    """Bytes of memory that this process occupies."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def versions(*names: str) -> dict[str, str]:
    """Return the versions of those of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def finish(seen: Any) -> None:
    """Say it and end, whatever is still open."""
    print(json.dumps(seen), flush=True)
    os._exit(0)


def main(stage: Stage, about: Callable[[], dict[str, Any]]) -> None:
    """Do what the command line asks: ``ADDRESS WHAT [ARGUMENTS AS JSON]``.

    Args:
        about: says which versions it runs on, after a session was open.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("what")
    parser.add_argument("arguments", type=json.loads)
    options = parser.parse_args(sys.argv[1:])
    work = getattr(stage, options.what)

    async def run() -> None:
        seen = await work(options.url, **options.arguments)
        finish({**seen, "about": about(), "modes": stage.modes})

    stage.loop.run(run)
