"""The client's end of the line to the server's process: what it does, and to whom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, deque
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from soak.lateness import Lateness
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["DROPS", "Happened", "Line", "open_line"]

SCRIPT: Final = Path(__file__).resolve().parent / "served.py"
START_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 20.0
DROPS: Final = frozenset({"cut", "close", "expire", "halfopen", "silence"})
"""The faults with which a connection ends."""


@attrs.frozen
class Happened:
    """Something that the server did.

    Attributes:
        at: when (`time.monotonic`, which both processes share).
        what: the kind of the fault.
        how: the frame, or what else there is to say.
        life: the session that it was done to; None is of no session in particular.
    """

    at: float
    what: str
    how: str = ""
    life: int | None = None


class Line:
    """What was told by the server's process, and what it can be asked.

    Attributes:
        url: where the server is.
        process: its id.
        faults: how many there were, by kind.
        lateness: when both processes were late.
        damaged: who is told if a sentence was damaged on its way, by its number.
        unclaimed: of damaged sentences, what was said to sessions that are over.
    """

    def __init__(self, url: str, process: int, stream: trio.SocketStream) -> None:
        self.url = url
        self.process = process
        self.faults: Counter[str] = Counter()
        self._stream = stream
        self._writing = trio.Lock()
        self.lateness = Lateness()
        self.damaged: dict[int | None, Callable[[str], object]] = {}
        self.unclaimed: list[str] = []
        self._asked = 0
        self._answers: dict[int, tuple[trio.Event, list[dict[str, Any]]]] = {}
        self._told: dict[int | None, deque[Happened]] = {None: deque(maxlen=4000)}

    @property
    def drops(self) -> int:
        """How many connections the server has ended, or let go dead."""
        return sum(self.faults[kind] for kind in DROPS)

    async def listen(self) -> None:
        """Take what is told, until the server hangs up."""
        rest = b""
        async for data in self._stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, told: dict[str, Any]) -> None:
        if "answer" in told:
            event, answer = self._answers[told["answer"]]
            answer.append(told)
            event.set()
        elif "late" in told:
            self.lateness.note("server", ((due, done) for due, done in told["late"]))
        elif "damaged" in told:
            self.damaged.get(told["life"], self.unclaimed.append)(told["damaged"])
        else:
            self.faults[told["fault"]] += 1
            one = Happened(told["at"], told["fault"], told["how"], told["life"])
            self._told.setdefault(one.life, deque(maxlen=1000)).append(one)

    def since(self, when: float, life: int) -> Iterator[Happened]:
        """What happened to a session since then, and to nobody in particular."""
        for key in (life, None):
            for one in reversed(self._told.get(key, ())):
                if one.at < when:
                    break
                yield one

    def forget(self, life: int) -> None:
        """A session is over."""
        self._told.pop(life, None)
        self.damaged.pop(life, None)

    async def ask(self, about: str, **more: Any) -> dict[str, Any]:
        """Ask, and return the answer.

        Raises:
            trio.TooSlowError: there was none in time.
        """
        self._asked += 1
        number, event = self._asked, trio.Event()
        answer: list[dict[str, Any]] = []
        self._answers[number] = event, answer
        text = json.dumps({"ask": number, "about": about, **more})
        try:
            async with self._writing:
                await self._stream.send_all(text.encode() + b"\n")
            with trio.fail_after(ANSWER_SECONDS):
                await event.wait()
        finally:
            del self._answers[number]
        return answer[0]


@asynccontextmanager
async def open_line(
    seed: int, sessions: int, every: float, rate: float, log: Path | None = None
) -> AsyncIterator[Line]:
    """Run the server in a process of its own; gone when the block is left.

    Args:
        seed: of what goes wrong, and of ids.
        sessions: how many there are at once.
        every: seconds between two faults at any moment, on average.
        rate: how many of the frames are hit; 0 leaves out all faults.
        log: where the server writes every frame, sound aside, as JSON lines.
    """
    command = [
        *(sys.executable, str(SCRIPT), "--seed", str(seed)),
        *("--sessions", str(sessions)),
        *("--every", str(every), "--rate", str(rate)),
        *(() if log is None else ("--log", str(log))),
    ]
    run = partial(
        trio.run_process,
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        check=False,
    )
    with single():
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            assert process.stdout is not None
            with trio.fail_after(START_SECONDS):
                where = json.loads(await _first_line(process.stdout))
            stream = await trio.open_tcp_stream("127.0.0.1", where["line"])
            async with stream:
                line = Line(where["url"], process.pid, stream)
                nursery.start_soon(line.listen)
                yield line
                nursery.cancel_scope.cancel()


async def _first_line(stream: trio.abc.ReceiveStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = await stream.receive_some()
        if not data:
            break
        line += data
    return line
