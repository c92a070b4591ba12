"""The local server in a process of its own: both ends of it.

The parent opens it with `local_server`, the child is `python -m
trialogue.demo.server_process`. The child lives as long as its standard input is open,
so that it ends with its parent however that ends, and takes no notice of Ctrl-C, which
the terminal sends to both.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from trialogue.demo.brain import demo_brain, know_caller
from trialogue.demo.server_log import makes_call
from trialogue.errors import TrialogueError
from trialogue.realtime.unwrapping import single
from trialogue.testing import Pace, RealtimeServer, Settings, swallow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from trialogue.testing import Connection, LogEntry

__all__ = ["LOCAL_MODEL", "ServerNotStarted", "local_server"]

LOCAL_MODEL: Final = "gpt-realtime"
"""The model that the local server plays."""

_READY: Final = "listening on "
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 3.0
_SETTINGS: Final = Settings(pace=Pace(transcript_ms=(20,)))
"""What the caller said is known before the answer begins: a transcript in order."""


class ServerNotStarted(TrialogueError):
    """The local server's process ended, or said nothing, before it could be used."""


# --- the parent's end ----------------------------------------------------------------


@asynccontextmanager
async def local_server(*, swallowed: str | None = None) -> AsyncIterator[str]:
    """Run the demo's server in a process of its own; gives its `ws://` address.

    When the block is left, in any way, the process is gone: it is asked to end, and
    after three seconds it is made to.

    Args:
        swallowed: the type of an answer that the server withholds once per handoff.

    Raises:
        ServerNotStarted: it did not come up within half a minute.
    """
    command = [sys.executable, "-m", "trialogue.demo.server_process"]
    if swallowed is not None:
        command += ["--swallow", swallowed]
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
            try:
                yield await _address(process)
            finally:
                # Its standard input ends with this: the child leaves by itself.
                nursery.cancel_scope.deadline = trio.current_time() + _STOP_SECONDS
                if process.stdin is not None:
                    with trio.move_on_after(1, shield=True):
                        await process.stdin.aclose()


async def _address(process: trio.Process) -> str:
    assert process.stdout is not None
    line = b""
    with trio.move_on_after(_START_SECONDS):
        while not line.endswith(b"\n"):
            data = await process.stdout.receive_some()
            if not data:
                break
            line += data
    text = line.decode(errors="replace").strip()
    if not text.startswith(_READY):
        raise ServerNotStarted(
            "the local server's process did not come up; run "
            "'python -m trialogue.demo.server_process' to see why"
        )
    return text.removeprefix(_READY)


# --- the child's end -----------------------------------------------------------------


class _Swallowing:
    """Withholds one answer of a type in each handoff by a tool."""

    def __init__(self, kind: str) -> None:
        self._armed = False
        self.fault = swallow(kind, nth=None, match=self._take)

    def look(self, connection: Connection, entries: Sequence[LogEntry]) -> None:
        """Begin with the call, end with the request for the new agent's reply."""
        for entry in entries:
            if makes_call(entry.event):
                self._armed = True
            elif entry.type == "response.create":
                self._armed = False

    def _take(self, event: Mapping[str, Any]) -> bool:
        armed, self._armed = self._armed, False
        return armed


def _server(swallowed: str | None) -> RealtimeServer:
    swallowing = None if swallowed is None else _Swallowing(swallowed)
    server = RealtimeServer(
        demo_brain(),
        settings=_SETTINGS,
        faults=() if swallowing is None else (swallowing.fault,),
        on_entry=None if swallowing is None else swallowing.look,
    )
    know_caller(server.utterances)
    return server


async def _serve(swallowed: str | None) -> None:
    server = _server(swallowed)
    async with server.serving():
        await server.listen()
        print(f"{_READY}{server.url}", flush=True)
        await trio.to_thread.run_sync(_until_input_ends, abandon_on_cancel=True)


def _until_input_ends() -> None:
    # Not sys.stdin: a thread that is abandoned in it would hold its lock.
    while os.read(0, 1024):
        pass


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m trialogue.demo.server_process")
    parser.add_argument("--swallow", metavar="TYPE", dest="swallowed")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(_serve, parser.parse_args(argv).swallowed)


if __name__ == "__main__":
    main()
