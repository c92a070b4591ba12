"""The server's process: the local server, its faults, and a line to ask it by.

It says where it is in one line of JSON, and lives as long as its standard input is
open. On the line it tells what it does to whom, and answers what it is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, TextIO

import attrs
import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.cast import DAMAGED, Ear, brain
from soak.lateness import watch
from trialogue.testing import (
    ConnectFault,
    Keeping,
    Mixture,
    Network,
    Pace,
    RealtimeServer,
    Settings,
    close,
    cut,
    expire,
    half_open,
    mixture,
    silence,
    stall,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.testing import Connection, Fault, LogEntry

LIFE: Final = re.compile(r"model=gpt-realtime-life-(\d+)")
"""A session tells its number by the name of its model."""
HEARD: Final = "conversation.item.input_audio_transcription.completed"
BACKLOG: Final = 100_000
ANSWERS: Final = (
    "session.updated",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.deleted",
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.done",
    HEARD,
)
"""What a client waits for: may be lost, late, or come twice."""
REQUESTS: Final = (
    "session.update",
    "conversation.item.create",
    "conversation.item.delete",
    "conversation.item.truncate",
    "response.create",
)
"""What a client asks for: may be lost or refused. No socket lets it be overtaken."""
SOUND: Final = frozenset({"input_audio_buffer.append", "response.output_audio.delta"})
"""Frames that are not written to the log."""
LONGEST: Final = 1.0
"""Seconds that a frame is late, or a connection stalls, at most."""


@attrs.frozen
class _Told(Mixture):
    """Faults at random, which are told of where they are of no connection."""

    tell: Any = attrs.field(default=None, kw_only=True, eq=False)

    def at_connect(self, dial: int) -> ConnectFault | None:
        """See `Mixture.at_connect`."""
        fault = super().at_connect(dial)
        if fault is not None:
            self.tell(fault="dial", how=str(fault.how), life=None)
        return fault


class Desk:
    """The other end of the line."""

    def __init__(
        self, seed: int, sessions: int, every: float, rate: float, log: TextIO | None
    ) -> None:
        self._send, self._lines = trio.open_memory_channel[dict[str, Any]](BACKLOG)
        self._random = Random(f"{seed}/desk")
        self._every = every
        self._sessions = sessions
        self._log = log
        self._ear = Ear()
        self.faults: Counter[str] = Counter()
        dialled = mixture(
            seed, seconds=LONGEST, refuse_connect=5 * rate, slow_accept=5 * rate
        )
        end = rate / 2
        rare = rate / 4
        answers = mixture(
            seed,
            seconds=LONGEST,
            events=ANSWERS,
            drop=rare,
            late=rare,
            duplicate=rare,
            cut=end,
            close=end,
        )
        requests = mixture(
            seed, events=REQUESTS, drop=rare, reject=rare, cut=end, close=end
        )
        told = _Told(**_fields(dialled), tell=self.tell)
        self.server = RealtimeServer(
            brain,
            network=Network(one_way=0.01),
            settings=Settings(
                pace=Pace(delta_ms=(100,), rate_limits_ms=None), max_duration=90.0
            ),
            utterances=self._ear,
            seed=seed,
            on_entry=self._seen,
            keeping=Keeping.tails(),
            faults=[answers, requests, told] if rate else [],
        )

    def tell(self, **what: Any) -> None:
        """Say something down the line, at once or a little later."""
        if "fault" in what:
            self.faults[what["fault"]] += 1
        self._send.send_nowait({"at": time.monotonic(), **what})

    def _seen(self, connection: Connection, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if self._log is not None and entry.type not in SOUND:
                line = {"life": life_of(connection), "at": time.monotonic()}
                line |= entry.as_json(connection.index)
                self._log.write(json.dumps(line) + "\n")
            words = entry.event.get("transcript") if entry.type == HEARD else None
            if words is not None and words.startswith(DAMAGED):
                self.tell(damaged=words, life=life_of(connection))
            for note in entry.note.split():
                if note != "unsent":
                    self.tell(fault=note, how=entry.type, life=life_of(connection))

    # --- what happens at any moment, not at a frame ---------------------------------

    async def disturb(self) -> None:
        """Do something to somebody, again and again; to few as seldom as to many."""
        while True:
            await trio.sleep(self._random.expovariate(1 / self._every))
            live, which = self.server.live, self._random.randrange(self._sessions)
            if which < len(live):
                self._happen(live[which])

    def _happen(self, connection: Connection) -> None:
        index = connection.index
        seconds = self._random.uniform(0.2, LONGEST)
        side: Any = self._random.choice(["reads", "writes", "both"])
        faults: dict[str, Fault] = {
            "cut": cut(at=0.0, connection=index),
            "close": close(1011, at=0.0, connection=index),
            "expire": expire(at=0.0, connection=index),
            "halfopen": half_open(at=0.0, connection=index),
            "silence": silence(at=0.0, pongs=False, connection=index),
            "stall": stall(seconds=seconds, at=0.0, side=side, connection=index),
        }
        name = self._random.choices(list(faults), [6, 3, 1, 1, 1, 2])[0]
        self.tell(fault=name, how="at any moment", life=life_of(connection))
        self.server.inject(faults[name])

    # --- the line -------------------------------------------------------------------

    async def serve(self, stream: trio.SocketStream) -> None:
        """Tell and answer until the other end hangs up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, stream)
            rest = b""
            async for data in stream:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    asked = json.loads(line)
                    answer = self._answer(asked)
                    self._send.send_nowait({"answer": asked["ask"], **answer})
            nursery.cancel_scope.cancel()

    async def _speak(self, stream: trio.SocketStream) -> None:
        async for line in self._lines:
            await stream.send_all(json.dumps(line).encode() + b"\n")

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["about"] == "totals":
            return self._totals()
        held = [
            [item.id, item.item.type, getattr(item.item, "call_id", None)]
            for connection in self.server.live
            if connection.machine.session.id == asked["session"]
            for item in connection.conversation
        ]
        return {"items": held}

    def _totals(self) -> dict[str, Any]:
        self.server.watermarks.clear()  # every agent has its own
        return {
            "accepted": self.server.accepted,
            "live": len(self.server.live),
            "faults": dict(self.faults),
            "protocol_errors": self.server.protocol_errors,
        }

    async def watch(self) -> None:
        """Tell when this process was late itself."""
        await watch(lambda spans: self.tell(late=spans))


def life_of(connection: Connection) -> int | None:
    """Return the number of the session that a connection is of."""
    found = LIFE.search(connection.url)
    return int(found[1]) if found else None


def _fields(of: Mixture) -> dict[str, Any]:
    return attrs.asdict(of, recurse=False)


async def main(arguments: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    log = None
    if arguments.log is not None:
        log = arguments.log.open("w", encoding="utf-8")
    desk = Desk(
        arguments.seed, arguments.sessions, arguments.every, arguments.rate, log
    )
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with desk.server.serving(), trio.open_nursery() as nursery:
        await desk.server.listen()
        nursery.start_soon(trio.serve_listeners, desk.serve, listeners)
        nursery.start_soon(desk.watch)
        if arguments.rate:
            nursery.start_soon(desk.disturb)
        line = listeners[0].socket.getsockname()[1]
        print(json.dumps({"url": desk.server.url, "line": line}), flush=True)
        await trio.to_thread.run_sync(_until_input_ends, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


def _until_input_ends() -> None:
    # Not sys.stdin: a thread that is abandoned in it would hold its lock.
    while os.read(0, 1024):
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="served")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--sessions", type=int, required=True, help="at once")
    parser.add_argument(
        "--every", type=float, required=True, help="seconds, on average"
    )
    parser.add_argument("--rate", type=float, required=True, help="of the frames")
    parser.add_argument("--log", type=Path)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trio.run(main, parser.parse_args())
