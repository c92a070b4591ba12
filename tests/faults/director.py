"""One row, played: a server and a client, each a process, and who tells them what.

The client is told what the caller says, and when to leave; each of them has a deadline.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from faults.measures import CAP
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from faults.rows import Row

__all__ = ["Client", "NotPlayed", "Reports", "play"]

HERE: Final = Path(__file__).resolve().parent
START: Final = 60.0
"""Seconds in which a process has to come up."""
LEAVING: Final = 15.0
"""Seconds in which a client has to leave, once it was told to."""
ROW: Final = START + 4 * CAP + LEAVING
"""Seconds for all of a row: it is given up then."""
LENGTHS: Final = {"hello": 0.4, "money": 1.0, "question": 0.4, "wait": 0.4}
"""Seconds that the answer to each sentence takes."""
PAUSE: Final = 0.4
"""Seconds for which the caller listens after an answer, before the next sentence."""
DOUBT: Final = 3.0
"""Seconds for which the caller listens after what was no whole answer."""


class NotPlayed(Exception):
    """A row came to no end; the text says why."""


@attrs.frozen
class Client:
    """A client: its name, its program, and the Python that has what it needs."""

    name: str
    program: str
    python: str = sys.executable


@attrs.frozen
class Reports:
    """What is known of a row that was played."""

    client: dict[str, Any]
    server: dict[str, Any]
    pcm: bytes = attrs.field(repr=False)


@attrs.define(eq=False)
class _Process:
    """A program that prints JSON lines, and is told things."""

    name: str
    process: trio.Process
    lines: list[dict[str, Any]] = attrs.field(factory=list)
    over: bool = False
    _news: trio.Event = attrs.field(factory=trio.Event)

    async def read(self) -> None:
        """Read to the end."""
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self.lines += [json.loads(line) for line in lines if line[:1] == b"{"]
            self._tell()
        self.over = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def until(self, found: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so, or the process is over; False if it is not."""
        with trio.move_on_after(seconds):
            while not found() and not self.over:
                await self._news.wait()
        return found()

    async def more(self, seconds: float) -> bool:
        """Wait for another line; False if there is none."""
        count = len(self.lines)
        return await self.until(lambda: len(self.lines) > count, seconds)

    async def line(self, key: str, seconds: float) -> Any:
        """Wait for a line with this key.

        Raises:
            NotPlayed: it does not come.
        """
        found = partial(self.last, key)
        if not await self.until(lambda: found() is not None, seconds):
            what = "ended" if self.over else f"was not there in {seconds:g} s"
            raise NotPlayed(f"{self.name} {what}: no {key}")
        return found()

    def last(self, key: str) -> Any:
        """Return the last value of that key, or None."""
        return next((one[key] for one in reversed(self.lines) if key in one), None)

    async def tell(self, **order: Any) -> None:
        """Write an order, if anybody is there to read it."""
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(json.dumps(order).encode() + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.over = True


@asynccontextmanager
async def _running(command: list[str], errors: Path) -> AsyncIterator[_Process]:
    """Run a program while the block runs; it is killed if it has not ended by then."""
    with errors.open("ab") as file, single():
        async with trio.open_nursery() as nursery:
            start = partial(
                trio.run_process,
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                check=False,
                deliver_cancel=_kill,
            )
            one = _Process(Path(command[1]).name, await nursery.start(start))
            nursery.start_soon(one.read)
            yield one
            nursery.cancel_scope.cancel()


async def _kill(process: trio.Process) -> None:
    process.kill()


async def play(row: Row, client: Client, folder: Path) -> Reports:
    """Play a row with a client.

    Raises:
        NotPlayed: a process did not come up, did not end, or left no report.
    """
    errors = folder / "stderr.txt"
    serve = [sys.executable, str(HERE / "server.py"), row.name, str(folder)]
    with trio.move_on_after(ROW) as bound:
        async with _running(serve, errors) as server:
            url = await server.line("url", START)
            program = [client.python, str(HERE / client.program), url, row.name]
            async with _running([*program, str(folder)], errors) as talking:
                await talking.line("ready", START)
                await _converse(row, talking, server)
                await talking.tell(leave=True)
                if not await talking.until(lambda: talking.over, LEAVING):
                    raise NotPlayed(f"it had not left after {LEAVING:g} s")
            assert server.process.stdin is not None
            await server.process.stdin.aclose()
            await server.until(lambda: server.over, LEAVING)
    if bound.cancelled_caught:
        raise NotPlayed(f"it was not through in {ROW:g} s")
    return _reports(folder)


def _reports(folder: Path) -> Reports:
    try:
        client = json.loads((folder / "client.json").read_text())
        server = json.loads((folder / "server.json").read_text())
        pcm = (folder / "played.pcm").read_bytes()
    except FileNotFoundError as error:
        last = (folder / "stderr.txt").read_text().strip().splitlines()[-1:]
        raise NotPlayed(f"no {Path(error.filename).name}: {last}") from error
    return Reports(client, server, pcm)


async def _converse(row: Row, client: _Process, server: _Process) -> None:
    await trio.sleep(PAUSE)
    await client.tell(say="hello")
    await _answered(client, LENGTHS["hello"])
    await client.tell(say="money")
    if row.at is None:
        await _answered(client, LENGTHS["money"])
    else:
        await server.until(lambda: _reached(server, row.at), CAP)
        if row.does == "leave":
            return
        if row.does == "speak":
            await client.tell(say="wait")
        else:
            await client.tell(**{"hand over": True})
        await _answered(client, float("inf"))
    await client.tell(say="question")
    await _answered(client, LENGTHS["question"])


def _reached(server: _Process, step: str | None) -> bool:
    return any(line.get("step") == step for line in server.lines)


async def _answered(client: _Process, length: float) -> None:
    """Wait until an answer of that length was heard, and nothing more comes."""
    before = client.last("played") or 0.0
    with trio.move_on_after(CAP):
        while not client.over:
            heard = (client.last("played") or 0.0) - before
            if not heard:
                await client.until(lambda: (client.last("played") or 0) > before, CAP)
                continue
            # One frame may be missing at the end of a playback that was cut.
            patience = PAUSE if heard >= length - 0.02 else DOUBT
            if not await client.more(patience):
                return
