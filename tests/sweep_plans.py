"""What goes wrong in the run of a seed: when it is cancelled, which fault strikes."""

from __future__ import annotations

import math
import random
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from sweeping import Plan, Variant, tell
from trialogue.testing import (
    Fault,
    close,
    cut,
    duplicate,
    hold,
    late,
    lose,
    reject,
    silence,
    stall,
    swallow,
)
from trialogue.testing.faults import Delay, Hold

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["plan"]


@cache
def _plain(variant: Variant) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Return the steps and the frames of a run in which nothing goes wrong."""
    run = tell(Plan(0, variant))
    assert not run.problems, run.problems
    assert run.raised is None
    frames = (f for f in run.entries if f[1] != "input_audio_buffer.append")
    return run.steps, tuple(frames)


def _variant(rng: random.Random) -> Variant:
    spoken = rng.random() < 0.25
    slow = rng.choice((0.0, 0.76, 0.78, 0.8, 0.82, 0.84, 0.86, 0.9))
    return Variant(
        fresh=rng.random() < 0.3,
        policy="fresh" if rng.random() < 0.3 else "keep",
        one_way=rng.choice((0.0, 0.03)),
        spoken=spoken,
        slow=slow if spoken else 0.0,
        standby=rng.random() < 0.2,
        max_age=rng.choice((math.inf, math.inf, math.inf, 1.0, 4.0)),
    )


def plan(kind: str, seed: int) -> Plan:
    """Return the plan of a seed: "cancel", "fault", or "both"."""
    rng = random.Random(f"{kind} {seed}")
    variant = _variant(rng)
    steps, frames = _plain(variant)
    step = rng.randint(1, steps) if kind != "fault" else None
    fault = _fault(rng, frames) if kind != "cancel" else None
    return Plan(seed, variant, step, fault)


def _fault(rng: random.Random, frames: Sequence[tuple[str, str]]) -> Fault:
    """Pick a frame (the rare types as often as the others), and what happens to it."""
    counts = Counter(frames)
    if rng.random() < 0.5:
        direction, kind = rng.choice(frames)
    else:
        direction, kind = rng.choice(sorted(counts))
    nth = rng.randint(1, counts[direction, kind])
    return rng.choice(_faults(rng, direction, kind, nth))


def _faults(rng: random.Random, direction: str, kind: str, nth: int) -> list[Fault]:
    side: Any = {rng.choice(("before", "after")): kind}
    seconds = rng.choice((0.02, 0.1, 1.0, 5.5, 20.0))
    faults = [
        cut(**side, nth=nth),
        close(1011, reason="keepalive", **side, nth=nth),
        silence(**side, nth=nth, pongs=rng.random() < 0.5),
        late(kind, seconds=seconds, nth=nth),
        hold(kind, frames=rng.randint(1, 3), nth=nth),
        duplicate(kind, nth=nth),
    ]
    if kind == "response.created":
        # Whether an answer to the user was made before `session.updated` or behind it
        # is told by their order alone, which a connection keeps.
        faults = [one for one in faults if not isinstance(one.action, Delay | Hold)]
    if direction == "out":
        part = rng.randint(1, 40)
        return [*faults, swallow(kind, nth=nth), cut(before=kind, after_bytes=part)]
    code = rng.choice(("server_error", "invalid_value", None))
    return [
        *faults,
        lose(kind, nth=nth),
        stall(after=kind, seconds=rng.choice((3.0, float("inf"))), nth=nth),
        reject(kind, code=code, null_id=rng.random() < 0.5, nth=nth),
        reject(kind, code=code, null_id=rng.random() < 0.5, nth=nth),
    ]
