"""What the programs on asyncio have in common: ears, loudspeaker, and orders."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what the clients of other projects run on
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from faults.cast import FRAME_MS
from faults.microphone import Microphone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["Loudspeaker", "Talk", "beside", "run"]

RATE_BYTES: int = 48_000


class Loudspeaker:
    """Plays in real time: what comes is heard behind what came before it, or now."""

    def __init__(self) -> None:
        self.runs: list[tuple[float, bytearray]] = []

    @property
    def end(self) -> float:
        """When what there is will have been played."""
        if not self.runs:
            return 0.0
        start, sound = self.runs[-1]
        return start + len(sound) / RATE_BYTES

    def play(self, pcm: bytes) -> None:
        """Play this next."""
        if self.end < time.monotonic():
            self.runs.append((time.monotonic(), bytearray()))
        self.runs[-1][1].extend(pcm)

    def clear(self) -> None:
        """Stop now; what was not heard is not."""
        now = time.monotonic()
        if self.end > now:
            start, sound = self.runs[-1]
            del sound[round((now - start) * RATE_BYTES / 2) * 2 :]

    def played(self) -> float:
        """Return how many seconds have been heard."""
        rest = max(0.0, self.end - time.monotonic())
        return sum(len(sound) for _, sound in self.runs) / RATE_BYTES - rest


class Talk:
    """One conversation: what is noted of it, and the caller's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.microphone = Microphone()
        self.loudspeaker = Loudspeaker()
        self.sound: asyncio.Queue[bytes] = asyncio.Queue()
        """What the microphone has heard."""
        self.agents: list[tuple[float, str]] = []
        self.told: list[str] = []
        self.error: str | None = None
        self.asked_to_leave: float | None = None
        self.over = asyncio.Event()
        """The session has ended, or the program is to leave it."""

    def current(self, agent: str) -> None:
        """Note who is current."""
        if not self.agents or self.agents[-1][1] != agent:
            self.agents.append((time.monotonic(), agent))

    async def speak(self) -> None:
        """Be the microphone."""
        began = time.monotonic()
        while True:
            due = began + (self.microphone.frames + 1) * FRAME_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.sound.put_nowait(self.microphone.next())

    async def show(self) -> None:
        """Say how much has been played."""
        shown = -1.0
        while True:
            played = self.loudspeaker.played()
            if played != shown:
                shown = played
                print(json.dumps({"played": shown}), flush=True)
            await asyncio.sleep(0.05)

    async def obey(self, hand_over: Callable[[], Awaitable[None]]) -> None:
        """Do what is written."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(reader)
        await loop.connect_read_pipe(lambda: protocol, sys.stdin)
        print(json.dumps({"ready": True}), flush=True)
        async for line in reader:
            order: dict[str, Any] = json.loads(line)
            if "say" in order:
                self.microphone.say(order["say"])
            elif "hand over" in order:
                await hand_over()
            else:
                self.leave()

    def leave(self) -> None:
        """The program is to leave the session, now."""
        if self.asked_to_leave is None:
            self.asked_to_leave = time.monotonic()
        self.over.set()

    def report(self, tasks: int, left: float) -> None:
        """Write down what there is to know."""
        self.loudspeaker.clear()
        runs = self.loudspeaker.runs
        (self.folder / "played.pcm").write_bytes(b"".join(sound for _, sound in runs))
        report = {
            "agents": self.agents,
            "told": self.told,
            "error": self.error,
            "said": self.microphone.said,
            "frames": self.microphone.frames,
            "asked_to_leave": self.asked_to_leave,
            "left": left,
            "tasks": tasks,
            "runs": [[start, len(sound)] for start, sound in runs],
        }
        (self.folder / "client.json").write_text(json.dumps(report))


async def run(folder: Path, hold: Callable[[Talk], Awaitable[None]]) -> None:
    """Hold a conversation, and report; what it does beside has ended before."""
    before = len(asyncio.all_tasks())
    talk = Talk(folder)
    try:
        await hold(talk)
    except Exception as error:
        talk.error = type(error).__name__
    left = time.monotonic()
    await asyncio.sleep(0.2)  # what was cancelled is given the time to end
    talk.report(len(asyncio.all_tasks()) - before, left)


async def beside(
    talk: Talk, hand_over: Callable[[], Awaitable[None]], *more: Awaitable[None]
) -> None:
    """Do what the caller does, and more, until the session is over."""
    jobs = [talk.speak(), talk.show(), talk.obey(hand_over), *more]
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await talk.over.wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
