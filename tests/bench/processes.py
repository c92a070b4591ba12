"""Programs that run beside the one that measures, and on which core each of them is."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Started", "pinned_here", "printed_by", "started"]

HERE = Path(__file__).parent
SERVERS, MEASURES = 0, 1


@contextmanager
def pinned_here() -> Iterator[None]:
    """Keep this process on the core that measures, and whoever serves on another."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[MEASURES % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Started:
    """A server that runs. What it prints, a line at a time, is for whoever asked.

    Attributes:
        port: where it listens.
        pid: its process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self.port = int(self.line())

    def line(self) -> str:
        """Wait for the next line that it prints.

        Raises:
            RuntimeError: it has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a server of the benchmarks has ended by itself")
        return line


@contextmanager
def started(program: str, *arguments: str) -> Iterator[Started]:
    """Run a server of this folder on its core, for as long as the block lasts."""
    command = [sys.executable, str(HERE / program), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=_on(SERVERS)
    ) as server:
        try:
            yield Started(server)
        finally:
            server.kill()


def printed_by(program: str, *arguments: str) -> str:
    """Run a program of this folder to its end, on the core that measures.

    Raises:
        CalledProcessError: it failed.
    """
    return subprocess.run(
        [sys.executable, str(HERE / program), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=_on(MEASURES),
    ).stdout


def _on(core: int) -> Callable[[], None] | None:
    """Return what keeps a child on one core, though its parent is kept on another."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    count = os.cpu_count() or 1

    def settle() -> None:
        for number in (core % count, *range(count)):
            try:
                os.sched_setaffinity(0, {number})
            except OSError:
                continue  # not one of those that this program may use
            return

    return settle
