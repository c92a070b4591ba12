"""The soak: ``python tests/soak/run.py --minutes 60``, or ``nox -s soak``.

Sessions over real sockets, many at once, in one process; the local server in another,
where things go wrong by a seed. Everything is checked all the time, and counted. At the
end stands a report; the exit status is 1 if anything was not as it has to be.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import secrets
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from soak.lateness import watch
from soak.life import IN_TIME_BUT, NOT_JUDGED, Life
from soak.line import Line, open_line
from soak.rules import RULES, Rules
from soak.samples import Sample, chart, cpu_of, sample, slope

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Report", "Soak", "main"]

EVERY: Final = 10.0
"""Seconds between two samples."""
JUDGED: Final = 15.0
"""Minutes behind the warm-up from which a slope says something."""
MOST_GROWTH: Final = 1.0
MOST_EXCUSED: Final = 0.01
"""Of the answers, those that were in time if what this machine was late is no time, or
were not judged for that: with more of them, it is too slow."""
LEVEL: Final = 60.0
"""Seconds behind the warm-up in which memory grows to what so many sessions take."""
HANDOFFS: Final = 2000
DROPS: Final = 200
"""Of each at least so many in an hour."""
REST: Final = 3.0
"""Seconds in which sockets are closed once nobody talks any more."""


@attrs.define
class Report:
    """What a soak came to.

    Attributes:
        failures: what was not as it has to be; none in a clean soak.
    """

    seed: int
    minutes: float
    sessions: int
    failures: list[str]
    broken: dict[str, int]
    checked: dict[str, int]
    examples: dict[str, list[str]]
    totals: dict[str, int]
    faults: dict[str, int]
    drops: int
    growth_mb: float
    growth_judged: bool
    descriptors: tuple[tuple[int, int], tuple[int, int]]
    cpu: tuple[float, float]
    late: tuple[float, float]

    @property
    def clean(self) -> bool:
        return not self.failures

    def text(self) -> str:
        """Return it as lines for a reader."""
        began, ended = self.descriptors
        judged = "" if self.growth_judged else f" (not judged: under {JUDGED:g} min)"
        lines = [
            f"soak: seed {self.seed}, {self.minutes:g} minutes, "
            f"{self.sessions} sessions at once",
            *(self._line(rule, says) for rule, says in RULES.items()),
            f"  handoffs {self.totals.get('handoffs', 0)}, drops {self.drops}, faults "
            + ", ".join(f"{kind} {n}" for kind, n in sorted(self.faults.items())),
            "  " + ", ".join(f"{k} {n}" for k, n in sorted(self.totals.items())),
            f"  memory: {self.growth_mb:+.2f} MB in 10 minutes{judged}",
            f"  descriptors at rest: client {began[0]} and {ended[0]}, "
            f"server {began[1]} and {ended[1]} (those of dead connections left out)",
            f"  CPU: client {self.cpu[0]:.2f} of a core, server {self.cpu[1]:.2f}; "
            f"late themselves: client for {100 * self.late[0]:.0f} % of the time, "
            f"server {100 * self.late[1]:.0f} %",
        ]
        for rule, examples in self.examples.items():
            lines += [f"  {rule}: {example}" for example in examples]
        verdict = [f"FAILED: {failure}" for failure in self.failures]
        lines += verdict or ["clean"]
        if self.failures:
            lines.append(f"again: nox -s soak -- --seed {self.seed}")
        return "\n".join(lines)

    def _line(self, rule: str, says: str) -> str:
        broken, checked = self.broken.get(rule, 0), self.checked.get(rule, 0)
        verdict = "BROKEN" if broken else "ok"
        return f"  {verdict:<6} {rule:<13} {broken:>4} of {checked:>8}: {says}"


@attrs.define(eq=False)
class Soak:
    """A soak under way."""

    seed: int
    minutes: float
    sessions: int
    every: float
    rate: float
    log: Path | None = None
    rules: Rules = attrs.field(factory=Rules)
    totals: Counter[str] = attrs.field(factory=Counter)
    samples: list[Sample] = attrs.field(factory=list)
    _random: Random = attrs.field(init=False)
    _phase: str = "warm-up"
    _lives: int = 0
    _open: int = 0
    _began: float = attrs.field(factory=time.monotonic)
    _rest: list[tuple[int, int]] = attrs.field(factory=list)
    _late: dict[str, float] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.seed)

    @property
    def warm_up(self) -> float:
        """How long everything is done once before anything is measured, in seconds."""
        return min(600.0, max(3.0, self.minutes * 60 / 6))

    async def run(self) -> Report:
        """Hold it."""
        async with (
            open_line(
                self.seed, self.sessions, self.every, self.rate, self.log
            ) as line,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._watch, line)
            nursery.start_soon(self._sample, line)
            await self._talk(line, self.warm_up)
            await self._be_quiet(line)
            self._phase = "soak"
            began, before = time.monotonic(), self._cpu(line)
            late = dict(line.lateness.seconds)
            await self._talk(line, self.minutes * 60 - self.warm_up)
            took, after = time.monotonic() - began, self._cpu(line)
            spent = {who: s - late[who] for who, s in line.lateness.seconds.items()}
            self._phase = "end"
            await self._be_quiet(line)
            told = await line.ask("totals")
            nursery.cancel_scope.cancel()
        cpu = (after[0] - before[0]) / took, (after[1] - before[1]) / took
        return self._report(
            line, told, cpu, (spent["client"] / took, spent["server"] / took)
        )

    # --- the sessions -----------------------------------------------------------------

    async def _talk(self, line: Line, seconds: float) -> None:
        """Hold so many sessions at once for so long; each that ends is followed."""
        stopping, ends = trio.Event(), trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for slot in range(self.sessions):
                delay = self._random.uniform(0, min(5.0, seconds / 4))
                nursery.start_soon(self._slot, line, slot, delay, ends, stopping)
            await trio.sleep_until(ends)
            stopping.set()

    async def _slot(
        self, line: Line, slot: int, delay: float, ends: float, stopping: trio.Event
    ) -> None:
        await trio.sleep(delay)
        while not stopping.is_set():
            self._lives += 1
            number = self._lives
            random = Random(f"{self.seed}/{number}")
            life = Life(number, line, self.rules, random, self.totals, stopping)
            seconds = random.uniform(10, 90)
            left = ends - trio.current_time()
            self._open += 1
            try:
                await life.live(min(seconds, max(left, 1.0)))
            finally:
                self._open -= 1

    # --- the machine ------------------------------------------------------------------

    async def _be_quiet(self, line: Line) -> None:
        """Nobody talks: what is open now is open for good."""
        await trio.sleep(REST)
        gc.collect()
        told = await line.ask("totals")
        unclaimed, line.unclaimed = line.unclaimed, []
        for what in unclaimed:
            dropped = self.totals["audio dropped"]
            problem = f"{what} Its session is over."
            self.rules.check("user audio", dropped, problem)
        self.rules.checked["user audio"] = self.totals["sentences"]
        errors = told["protocol_errors"]
        self.rules.check("protocol", not errors, str(errors[:5]))
        self._take(line)
        mine, its = self.samples[-1].descriptors
        self._rest.append((mine, its - told["live"]))

    async def _watch(self, line: Line) -> None:
        await watch(lambda spans: line.lateness.note("client", spans))

    async def _sample(self, line: Line) -> None:
        while True:
            self._take(line)
            await trio.sleep(EVERY)

    def _take(self, line: Line) -> None:
        (mine, own), (theirs, its) = sample(os.getpid()), sample(line.process)
        at = time.monotonic() - self._began
        took = at - self.samples[-1].at if self.samples else at
        before, self._late = self._late, dict(line.lateness.seconds)
        late = {
            who: round(100 * (seconds - before.get(who, 0.0)) / took, 1)
            for who, seconds in self._late.items()
        }
        self.samples.append(
            Sample(
                at,
                self._phase,
                (round(mine, 2), round(theirs, 2)),
                (own, its),
                self._open,
                self.totals["handoffs"],
                line.drops,
                (late["client"], late["server"]),
            )
        )

    @staticmethod
    def _cpu(line: Line) -> tuple[float, float]:
        return cpu_of(os.getpid()), cpu_of(line.process)

    # --- what it came to --------------------------------------------------------------

    def _report(
        self,
        line: Line,
        told: dict[str, Any],
        cpu: tuple[float, float],
        late: tuple[float, float],
    ) -> Report:
        soaked = [one for one in self.samples if one.phase == "soak"]
        # All sessions are opened anew after the warm-up: not until then is it level.
        level = [one for one in soaked if one.at >= soaked[0].at + LEVEL]
        growth = slope(level)
        judged = len(soaked) * EVERY >= JUDGED * 60
        rest = self._rest[0], self._rest[1]
        failures = [f"{rule}: {n} times" for rule, n in self.rules.broken.items() if n]
        if judged and growth >= MOST_GROWTH:
            failures.append(f"memory grows by {growth:.2f} MB in 10 minutes")
        for who, before, after in zip(("client", "server"), *rest, strict=True):
            if before != after:
                counts = f"{before} before, {after} after"
                failures.append(f"descriptors of the {who} at rest: {counts}")
        for what in (IN_TIME_BUT, NOT_JUDGED):
            excused = self.totals[what]
            if excused > MOST_EXCUSED * self.rules.checked["stall"]:
                failures.append(f"this machine is too busy to tell: {excused} {what}")
        part = self.minutes / 60
        for name, count, least in (
            ("handoffs", self.totals["handoffs"], HANDOFFS * part),
            ("drops", line.drops, DROPS * part if self.rate else 0),
        ):
            if count < least:
                failures.append(f"{count} {name}, and not {least:.0f}")
        return Report(
            seed=self.seed,
            minutes=self.minutes,
            sessions=self.sessions,
            failures=failures,
            broken=dict(self.rules.broken),
            checked=dict(self.rules.checked),
            examples=self.rules.examples,
            totals={**self.totals, "connections": told["accepted"]},
            faults=dict(line.faults),
            drops=line.drops,
            growth_mb=growth,
            growth_judged=judged,
            descriptors=rest,
            cpu=cpu,
            late=late,
        )


def _written(folder: Path, report: Report, samples: Sequence[Sample]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = {**attrs.asdict(report), "samples": [attrs.asdict(one) for one in samples]}
    text = json.dumps(data, indent=1)
    (folder / "soak.json").write_text(f"{text}\n", encoding="utf-8")
    (folder / "soak.svg").write_text(chart(samples), encoding="utf-8")
    print(f"written: {folder / 'soak.json'}, {folder / 'soak.svg'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 1 if it was not clean."""
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sessions", type=int, default=50, help="at once")
    parser.add_argument("--seed", type=int, default=None, help="default: of the moment")
    parser.add_argument(
        "--every",
        type=float,
        default=2.0,
        help="seconds between two faults at any moment, on average",
    )
    parser.add_argument(
        "--rate", type=float, default=0.002, help="of frames that are hit; 0: no faults"
    )
    parser.add_argument(
        "--log", type=Path, help="of the server's frames", metavar="FILE"
    )
    parser.add_argument("--out", type=Path, default=None, metavar="FOLDER")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    if not Path("/proc/self/statm").exists():
        parser.error("memory and descriptors are read from /proc, which is not here")
    soak = Soak(
        seed,
        options.minutes,
        options.sessions,
        options.every,
        options.rate,
        options.log,
    )
    report = trio.run(soak.run)
    print(report.text())
    if options.out is not None:
        _written(options.out, report, soak.samples)
    return int(not report.clean)


if __name__ == "__main__":
    sys.exit(main())
