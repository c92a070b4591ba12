"""The same work by trialogue, its peers and by hand: ``python tests/peers/run.py``.

`nox -s bench-peers` makes the environments and starts it. All contestants do one row,
one after the other, then the next row; and all of that again in each round. A ratio is
to the floor of the same round. docs/peers.md says how each row is measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers.cast import MODES
from peers.contestants import CONTESTANTS
from peers.processes import Failed, measured
from peers.samples import Samples, fell_behind, round_trips
from peers.table import replaced, written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peers.contestants import Contestant

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "peers.md")
LATENCY = 0.025
WARM_UP = ((20, 400), (100, 100))
FOREVER = 10**9
BUSY = 0.7
"""Of a core: who falls behind with less was not let."""


@dataclass(frozen=True)
class Work:
    """How much is done in each row.

    Attributes:
        pieces: of sound that are received: milliseconds of each, and how many.
        frames: of the microphone that are sent.
        times: handoffs in each mode.
        sessions: at the pace of speech, for so many `seconds`, after as long as they
            take to `settle`, twice.
    """

    pieces: tuple[tuple[int, int], ...] = ((20, 5000), (100, 2000))
    frames: int = 4000
    times: int = 3
    sessions: int = 100
    seconds: float = 5.0
    settle: float = 2.0

    def handoff(self, python: str, program: str) -> dict[str, Any]:
        """In each of its modes."""
        asked = {"modes": MODES, "times": self.times}
        own, server = measured(python, program, "handoffs", asked, latency=LATENCY)
        try:
            return {**round_trips(own, server, LATENCY), "about": own["about"]}
        except ValueError as error:
            raise Failed(f"{program}: {error}") from None

    def refused(self, python: str, program: str) -> dict[str, Any]:
        """Once, with an update that is answered an error."""
        asked = {"modes": MODES[:1], "times": 1}
        refusing = {"latency": LATENCY, "refuse": True}
        own, server = measured(python, program, "handoffs", asked, **refusing)
        right = bool(server["handoffs"]) and server["handoffs"][-1]["right"]
        return {"outcome": [[own["heard"][-1], right]], "about": own["about"]}

    def sound(self, python: str, program: str) -> dict[str, Any]:
        """One session, as fast as it can."""
        plan = (*WARM_UP, *self.pieces)
        asked = {"plan": plan, "frames": self.frames}
        replies = [(ms, pieces, False) for ms, pieces in plan]
        own, server = measured(python, program, "sound", asked, replies=replies)
        sent = (self.frames + self.frames // 8) * 960
        if server["append_bytes"] < 0.99 * sent:
            raise Failed(f"{program} sent {server['append_bytes']} of {sent} bytes")
        if server["errors"]:
            raise Failed(f"{program} was answered {server['errors']}")
        return {
            "costs": own["costs"][len(WARM_UP) :],
            "frame": own["frame"],
            "frames": self.frames,
            "appends": server["appends"],
            "about": own["about"],
        }

    def crowd(self, python: str, program: str) -> dict[str, Any]:
        """Many sessions at the pace of speech."""
        asked = {
            "sessions": self.sessions,
            "seconds": self.seconds,
            "settle": self.settle,
        }
        endless = [(20, FOREVER, True)]
        own, server = measured(python, program, "crowd", asked, replies=endless)
        if fell_behind(own) and own["cpu"] < BUSY:
            raise Failed(
                f"{program} heard {own['pieces']} of {own['expected']} pieces, and had"
                f" {own['cpu']:.2f} of its core: something else kept it busy"
            )
        return {**own, "server_p99": server["own_p99"]}


QUICK = Work(((20, 1500), (100, 500)), 1000, times=1, sessions=20, seconds=2.0)
"""Little, to see that everything runs; the figures are rough."""

ROWS: dict[str, Callable[[Work, str, str], dict[str, Any]]] = {
    "handoff": Work.handoff,
    "refused": Work.refused,
    "sound": Work.sound,
    "crowd": Work.crowd,
}


def measure(
    environments: Path, work: Work, rounds: int, rows: Sequence[str]
) -> Samples:
    """Have everybody do everything, round by round, and say so."""
    samples = Samples()
    samples.conditions = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, CPython {platform.python_version()}",
        "sessions": work.sessions,
    }
    for number in range(rounds):
        for row in rows:
            if row == "refused" and number:
                continue  # it is so or not
            for contestant in CONTESTANTS:
                began = time.perf_counter()
                _once(samples, environments, work, contestant, row, number)
                took = time.perf_counter() - began
                print(
                    f"{number + 1} {row:<8} {contestant.name:<24} {took:5.1f} s",
                    flush=True,
                )
    return samples


def _once(
    samples: Samples,
    environments: Path,
    work: Work,
    contestant: Contestant,
    row: str,
    number: int,
) -> None:
    python = str(environments / contestant.environment / "bin" / "python")
    try:
        seen = ROWS[row](work, python, contestant.program)
    except Failed as error:
        samples.failed.append(f"{contestant.name}, {row}: {error}")
        print(samples.failed[-1], flush=True)
        return
    if "about" in seen:
        samples.about[contestant.name] = seen.pop("about")
    samples.add(contestant.name, row, number, seen)


def main(arguments: Sequence[str]) -> int:
    """Print the table; return 1 if something failed."""
    parser = argparse.ArgumentParser(prog="bench-peers", description=__doc__)
    parser.add_argument("--environments", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="little, and one round")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--sessions", type=int, help="at the pace of speech")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all samples")
    joined = "measure nothing: the table of samples that were kept"
    parser.add_argument("--join", nargs="+", type=Path, metavar="FILE", help=joined)
    pages = ", ".join(str(page.relative_to(ROOT)) for page in PAGES)
    parser.add_argument("--write", action="store_true", help=f"into {pages}")
    options = parser.parse_args(arguments)
    if options.join:
        samples = Samples.joined(options.join)
    elif options.environments is None:
        parser.error("--environments, or --join")
    else:
        work = QUICK if options.quick else Work()
        if options.sessions:
            work = replace(work, sessions=options.sessions)
        rounds = options.rounds or (1 if options.quick else 5)
        samples = measure(options.environments, work, rounds, options.rows)
    if options.json:
        samples.save(options.json)
    table = written(samples)
    print(f"\n{table}")
    for page in PAGES if options.write else ():
        page.write_text(replaced(page.read_text(encoding="utf-8"), table), "utf-8")
    return int(bool(samples.failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
