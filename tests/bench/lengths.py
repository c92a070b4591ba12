"""What a handoff costs by the length of the conversation, from 20 to 1000 items.

Where the conversation is kept, nothing of it is sent, and the CPU of the client should
not know how long it is. Where the new agent is to find it empty, each item is deleted,
unless a fresh connection is taken: the library decides, and is held against a fresh
connection that is forced on it. How long it takes is said by the server, 25 ms away, as
in `modes.py`, and by the client, which has the answers to all deletions to read before
it hears the reply. The CPU of keeping is counted with the server next door.
"""

from __future__ import annotations

import json
import statistics
from functools import partial
from typing import TYPE_CHECKING

import trio

from bench.handing import Mode, hand_over
from bench.modes import MORE_MS, ONE_WAY_MS
from bench.processes import started
from bench.rows import Row, interleaved, plus

if TYPE_CHECKING:
    from bench.processes import Started
    from bench.rows import Sample, Size

__all__ = ["measure"]

LENGTHS = (20, 100, 300, 1000)
MORE_CPU_MS = 1.0
KEEP, EMPTY, FRESH = Mode(True, True), Mode(True, False), Mode(False, False)


def _kept(server: Started, items: int, count: int) -> Sample:
    """Handoffs one after the other, in the same conversation."""
    run = partial(hand_over, server.port, KEEP, items, times=count)
    handed = trio.run(run)
    for _ in range(count):
        server.line()
    return {"cpu": statistics.median(one.cpu_ms for one in handed)}


def _emptied(server: Started, items: int, mode: Mode) -> Sample:
    run = partial(hand_over, server.port, mode, items, chosen=mode.reuse)
    (handed,) = trio.run(run)
    told = json.loads(server.line())
    return {
        "ms": told["ms"],
        "client": handed.ms,
        "cpu": handed.cpu_ms,
        "reused": float(handed.reused),
    }


def measure(size: Size) -> list[Row]:
    """Kept, then emptied."""
    lengths = (20, 60) if size.quick else LENGTHS
    return [*_measure_kept(size, lengths), *_measure_emptied(size, lengths)]


def _measure_kept(size: Size, lengths: tuple[int, ...]) -> list[Row]:
    count = size.of(10, 1)
    with started("distant.py", "0") as server:
        sides = {str(n): partial(_kept, server, n, count) for n in lengths}
        seen = interleaved(sides, size.repetitions, warm=not size.quick)
    short, *longer = lengths
    beside = f"{short} items"
    return [
        Row(
            f"handoff, CPU: reuse copy, {items} items",
            "ms",
            seen[str(items)]["cpu"],
            seen[str(short)]["cpu"],
            beside,
            target=plus(MORE_CPU_MS) if items == lengths[-1] else None,
        )
        for items in longer
    ]


def _measure_emptied(size: Size, lengths: tuple[int, ...]) -> list[Row]:
    with started("distant.py", str(size.of(ONE_WAY_MS, 2))) as server:
        sides = {
            f"{items} {mode}": partial(_emptied, server, items, mode)
            for items in lengths
            for mode in (EMPTY, FRESH)
        }
        seen = interleaved(sides, size.repetitions, warm=False)
    rows = []
    for items in lengths:
        ours, fresh = seen[f"{items} {EMPTY}"], seen[f"{items} {FRESH}"]
        chosen = "reused" if statistics.median(ours["reused"]) else "fresh"
        what, beside = f"empty, {items} items", f"fresh connection; {chosen} was chosen"
        for figure, name, target in (
            ("ms", "whole handoff", plus(MORE_MS)),
            ("client", "handoff, tool returned -> first audio read", plus(MORE_MS)),
            ("cpu", "handoff, CPU", None),
        ):
            pair = ours[figure], fresh[figure]
            rows.append(Row(f"{name}: {what}", "ms", *pair, beside, target))
    return rows
