"""What was measured, and what becomes of it: ratios to the floor of the same round."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from peers.cast import MODES
from peers.contestants import FLOOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = ["Samples", "Spread", "fell_behind", "needed", "round_trips", "used_up"]

Seen: TypeAlias = dict[str, Any]
KEPT_UP = 0.97
FULL = 0.95


@dataclass(frozen=True)
class Spread:
    """A median, and between what the values lie."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return that of some values, None of none."""
        ranked = sorted(values)
        if not ranked:
            return None
        return cls(statistics.median(ranked), ranked[0], ranked[-1])


@dataclass
class Samples:
    """All that was measured: one entry for each contestant, row and round.

    Attributes:
        entries: each with ``who``, ``row``, ``round``, and what was seen in that row.
        about: the versions of each contestant.
        failed: what did not work, a line each.
        conditions: when and where it was, and how much.
    """

    entries: list[Seen] = field(default_factory=list)
    about: dict[str, dict[str, str]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    conditions: dict[str, Any] = field(default_factory=dict)

    def add(self, who: str, row: str, number: int, seen: Seen) -> None:
        self.entries.append({"who": who, "row": row, "round": number, **seen})

    def of(self, who: str, row: str) -> list[Seen]:
        """Return what a contestant did in a row, in the order of the rounds."""
        return [one for one in self.entries if one["who"] == who and one["row"] == row]

    def spread(
        self, who: str, row: str, value: Callable[[Seen], float]
    ) -> Spread | None:
        """Return a figure as it is."""
        return Spread.of(value(one) for one in self.of(who, row))

    def ratio(
        self, who: str, row: str, value: Callable[[Seen], float]
    ) -> Spread | None:
        """Return a figure over that of the floor in the same round."""
        floors = {one["round"]: value(one) for one in self.of(FLOOR, row)}
        return Spread.of(
            value(one) / floors[one["round"]]
            for one in self.of(who, row)
            if one["round"] in floors
        )

    def handoff(self, who: str, mode: str) -> Spread | None:
        """Return how many round trips its handoffs took in a mode."""
        return Spread.of(
            trips
            for one in self.of(who, "handoff")
            for trips in one["trips"].get(mode, ())
        )

    def facts(self, who: str, row: str, name: str) -> list[Any]:
        """Return what was seen of something that is so or not, each once."""
        seen = [fact for one in self.of(who, row) for fact in one[name]]
        return sorted(fact for at, fact in enumerate(seen) if fact not in seen[:at])

    # --- files ----------------------------------------------------------------

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(vars(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def joined(cls, paths: Sequence[Path]) -> Samples:
        """Return the samples of several files, each with rounds of its own."""
        whole = cls()
        for number, path in enumerate(paths):
            one = cls(**json.loads(path.read_text(encoding="utf-8")))
            for entry in one.entries:
                entry["round"] = f"{number}.{entry['round']}"
            whole.entries += one.entries
            whole.about |= one.about
            whole.failed += one.failed
            whole.conditions |= one.conditions
        return whole


def fell_behind(seen: Seen) -> bool:
    """Whether some of what was due was not heard in time."""
    return float(seen["pieces"]) < KEPT_UP * float(seen["expected"])


def used_up(seen: Seen) -> bool:
    """Whether it had no more of its core, so that nothing says what it would take."""
    return fell_behind(seen) or float(seen["cpu"]) > FULL


def needed(seen: Seen) -> float:
    """Return how much of a core the sessions take; or would at least, to hear all."""
    behind = seen["expected"] / seen["pieces"] if fell_behind(seen) else 1.0
    return float(seen["cpu"] * behind)


def round_trips(own: Seen, server: Seen, latency: float) -> Seen:
    """Return what both sides have seen of handoffs: the times by mode, and the facts.

    Raises:
        ValueError: they have not seen the same ones.
    """
    handoffs = server["handoffs"][1:]  # the first is not counted
    if len(handoffs) != len(own["done"]):
        raise ValueError(f"{len(own['done'])} handoffs, and {len(handoffs)} seen")
    trips: dict[str, list[float]] = {mode: [] for mode in MODES}
    for mode, seen in zip(own["done"], handoffs, strict=True):
        trips[mode].append(seen["seconds"] / (2 * latency))
    return {
        "trips": trips,
        "acknowledged": [
            seen["acknowledged"]
            for mode, seen in zip(own["done"], handoffs, strict=True)
            if mode == MODES[0]
        ],
        "right": [
            heard and seen["right"]
            for heard, seen in zip(own["heard"], handoffs, strict=True)
        ],
    }
