"""Programs that serve, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["NotAsExpected", "run_to_end", "server_command", "serving"]

SCRIPT: Final = Path(__file__).resolve().parent / "script.py"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0


class NotAsExpected(Exception):
    """Something did not go well; the text says what."""


def server_command(*options: str) -> list[str]:
    """Return how the server is started with the script, on a port of its own."""
    return [
        *(sys.executable, "-m", "trialogue", "serve", "--port", "0"),
        *("--script", str(SCRIPT), *options),
    ]


async def run_to_end(
    command: Sequence[str], *, seconds: float, capture: bool = False
) -> bytes:
    """Run a program that ends by itself; return what it printed, if that is captured.

    Raises:
        NotAsExpected: it took longer, or its exit status is not 0.
    """
    try:
        with trio.fail_after(seconds):
            ended = await trio.run_process(
                command, check=False, capture_stdout=capture, stdin=b""
            )
    except trio.TooSlowError:
        raise NotAsExpected(f"{command[1]} was not through in {seconds:g} s") from None
    if ended.returncode:
        raise NotAsExpected(f"the exit status of {command[1]} is {ended.returncode}")
    return ended.stdout or b""


@asynccontextmanager
async def serving(command: Sequence[str]) -> AsyncIterator[str]:
    """Run a server while the block runs; gives the address that it prints.

    Raises:
        NotAsExpected: it did not come up, or not end well when it was asked to.
    """
    run = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
    with single():
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            try:
                address = await _address(process)
                nursery.start_soon(_ignore, process)
                yield address
            finally:
                with trio.move_on_after(STOP_SECONDS, shield=True):
                    process.send_signal(signal.SIGTERM)
                    await process.wait()
                # It is killed by this, if it has not ended.
                nursery.cancel_scope.cancel()
    if process.returncode:
        raise NotAsExpected(f"the exit status of the server is {process.returncode}")


async def _address(process: trio.Process) -> str:
    """Wait until it says "listening on", and return what follows."""
    assert process.stdout is not None
    text = b""
    with trio.move_on_after(START_SECONDS):
        async for data in process.stdout:
            text += data
            _, found, rest = text.partition(b"listening on ")
            if found and b"\n" in rest:
                return rest.split()[0].decode()
    raise NotAsExpected(
        f"the server did not come up; it said: {text.decode(errors='replace')}"
    )


async def _ignore(process: trio.Process) -> None:
    """Read what it says, for it waits while the pipe is full."""
    assert process.stdout is not None
    async for _ in process.stdout:
        pass
