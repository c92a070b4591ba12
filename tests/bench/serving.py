"""How many sessions in real time one core of `serve` holds, next to a raw Trio loop.

A server runs on one core, and a process that plays all clients on another. As many
sessions are held as keep 99 of 100 frames of audio from being 100 ms late: found by
doubling, then halving the distance, in runs of some seconds. Only the ratio says
something: both were measured here, one after the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.load import CREATE, DELTA_S, DONE, THINK_S, connected, frames_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["WANTED", "main"]

WANTED = 0.6
LATEST = 0.1
FIRST = 50
MOST = 3200
ROUNDS = 3
FAILURES = 2
TRIES = 5
HERE = Path(__file__).parent
HEAD = ("server", "sessions", "", "p50 ms", "p99 ms", "own p99", "core", "µs/100 ms")
ROW = "{:<6} {:>8} {:>9} {:>8} {:>8} {:>8} {:>6} {:>9}"


def _pinned(core: int) -> Callable[[], None] | None:
    """Return what keeps a process on one core, where that can be done."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[core % len(cores)]})


@contextmanager
def _server(*arguments: str) -> Iterator[tuple[int, int]]:
    """Run a server on a core of its own; yields its port and process."""
    program = [sys.executable, str(HERE / "served.py"), *arguments]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, text=True, preexec_fn=_pinned(0)
    ) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline()), server.pid
        finally:
            server.kill()


def _run(arguments: Sequence[str], sessions: int, seconds: float) -> dict[str, Any]:
    """Hold so many sessions with a fresh server, and print what was seen."""
    with _server(*arguments) as (port, process):
        clients = subprocess.run(
            [
                *(sys.executable, str(HERE / "load.py")),
                *(str(port), str(sessions), str(seconds), str(process)),
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=_pinned(1),
        )
    if clients.returncode:
        return {"sessions": sessions, "kept": False, "cost": 0.0, "own_p99": 0.0}
    seen: dict[str, Any] = json.loads(clients.stdout)
    seen["cost"] = seen["cpu"] * seconds / max(seen["frames"], 1)
    # A frame that never came is late as well.
    seen["kept"] = (
        seen["p99"] < LATEST
        and not seen["lost"]
        and seen["frames"] > 0.97 * seen["expected"]
    )
    cells = (
        *(f"{1000 * seen[name]:.1f}" for name in ("p50", "p99", "own_p99")),
        f"{100 * seen['cpu']:.0f}%",
        f"{1e6 * seen['cost']:.0f}",
    )
    verdict = "kept" if seen["kept"] else "late"
    print(ROW.format(arguments[0], sessions, verdict, *cells), flush=True)
    return seen


def _held(arguments: Sequence[str], sessions: int, seconds: float) -> dict[str, Any]:
    """Hold so many sessions; what was late is tried again, as it may be by chance.

    A run in which the clients were late themselves counts for nothing, up to a point.
    """
    failures, seen = 0, dict[str, Any]()
    for _ in range(TRIES):
        seen = _run(arguments, sessions, seconds)
        failures += not seen["kept"] and seen["own_p99"] < LATEST / 4
        if seen["kept"] or failures == FAILURES:
            break
    return seen


def _most(arguments: Sequence[str], seconds: float) -> int:
    """Return how many sessions are held, to one in sixteen."""
    good, bad = 0, FIRST
    while bad <= MOST and _held(arguments, bad, seconds)["kept"]:
        good, bad = bad, 2 * bad
    while bad - good > max(good // 16, 1):
        middle = (good + bad) // 2
        if _held(arguments, middle, seconds)["kept"]:
            good = middle
        else:
            bad = middle
    return good


def _record() -> str:
    """Return what the local server sends in one reply, as JSON for the raw one."""
    greeting, steps = list[Any](), dict[float, list[Any]]()
    with _server("serve") as (port, _), closing(connected(port)[0]) as sock:
        rest = b""
        while not greeting:
            frames, rest = frames_of(rest + sock.recv(65536))
            greeting = [json.loads(payload) for _, payload in frames]
        sock.sendall(CREATE)
        asked, done = time.perf_counter(), False
        while not done:
            frames, rest = frames_of(rest + sock.recv(262_144))
            after = round((time.perf_counter() - asked - THINK_S) / DELTA_S)
            # When they were due, not when they came.
            at = THINK_S + after * DELTA_S if steps else 0.0
            for _, payload in frames:
                steps.setdefault(at, []).append(json.loads(payload))
                done = done or payload.startswith(DONE)
    return json.dumps({"greeting": greeting, "steps": list(steps.items())})


def main(seconds: float, sessions: int | None = None) -> int:
    """Compare both servers; return 1 if the local one holds less than it should.

    Args:
        seconds: how long each run measures.
        sessions: how many to hold, without a search: then what is compared is the CPU
            that each of them takes.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "reply.json")
        script.write_text(_record(), encoding="utf-8")
        sides = {"raw": ("raw", str(script)), "serve": ("serve",)}
        print(ROW.format(*HEAD))
        if sessions is not None:
            runs = [
                {name: _held(side, sessions, seconds) for name, side in sides.items()}
                for _ in range(ROUNDS)
            ]
            # The least of each: whatever else the machine does only adds to it. Not of
            # a run that was late: it does at once what is due at several times.
            cost = {
                name: min(
                    (run[name]["cost"] for run in runs if run[name]["kept"]), default=0
                )
                for name in sides
            }
            if not all(cost.values()):
                print("no CPU was counted: it is read from /proc, of runs not late")
                return 1
            ratio, what = cost["raw"] / cost["serve"], "CPU per session, raw / serve"
        else:
            most = {name: _most(side, seconds) for name, side in sides.items()}
            ratio = most["serve"] / max(most["raw"], 1)
            what = f"sessions held, {most['serve']} / {most['raw']}"
    verdict = "kept" if ratio >= WANTED else "MISSED"
    print(f"{what}: {ratio:.2f}, wanted {WANTED}: {verdict}")
    return int(ratio < WANTED)
