"""What is there, to be compared with what is there later."""

from __future__ import annotations

import gc
from collections import Counter

import trio

__all__ = ["QUIET", "counted", "tasks"]

OWNERS = ("trialogue.realtime.", "trialogue.agents.", "trialogue.audio.", "trio.")
TOLD = ("trialogue.realtime.notices", "trialogue.agents.events")
"""What the stage collects for the test."""
QUIET = {"owed": 0, "queued": 0, "posted": 0, "active": 0, "turn": 0}
"""The open work of a session that is quiet."""


def counted() -> Counter[str]:
    """Count what is alive of the library's own, and of Trio's, by class."""
    gc.collect()
    kinds = Counter(type(thing) for thing in gc.get_objects())
    return Counter(
        {
            kind.__qualname__: count
            for kind, count in kinds.items()
            if kind.__module__.startswith(OWNERS)
            and kind.__module__ not in TOLD
            # Some scopes have one, those that were cancelled; all scopes are counted.
            and kind.__qualname__ != "CancelReason"
        }
    )


def tasks() -> int:
    """Count the tasks of this run."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    waiting, count = [root], 0
    while waiting:
        task = waiting.pop()
        count += 1
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks
    return count
