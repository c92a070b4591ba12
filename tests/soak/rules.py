"""What holds all the time, counted; and what a fault excuses.

Each rule has a counter that is nought in a clean soak, and a few examples of what broke
it. What takes long is held against what was done to that session meanwhile: each fault
takes so many seconds itself, the time in which it is noticed included.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from trialogue import Timing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from soak.line import Happened

__all__ = ["FAULT_SECONDS", "MOST_STALL", "RULES", "TIMING", "Rules", "excused"]

TIMING: Final = Timing(
    connect=5.0,
    answer=6.0,
    reply_start=3.0,
    reply_silence=6.0,
    ping_every=3.0,
    pong=4.0,
    linger=1.0,
    rotate_before=15.0,
)
"""Shorter than usual: what the server does is noticed within some seconds."""
MOST_STALL: Final = 2.0
NOTICED: Final = TIMING.ping_every + TIMING.pong
FAULT_SECONDS: Final = {
    # The socket says so at once.
    "cut": 0.0,
    "close": 0.0,
    "expire": 0.0,
    # Noticed for want of a pong.
    "halfopen": NOTICED,
    "silence": NOTICED,
    # They take so long.
    "stall": 1.0,
    "delay": 1.0,
    # An answer that does not come is waited for.
    "drop": TIMING.answer,
    "duplicate": 0.0,
    # It is asked for once more, or the agent that was left goes on.
    "reject": 1.0,
    # Dialled once more, or answered slowly.
    "dial": 1.0,
}
RULES: Final = {
    "one agent": "one agent is current, and no other is there",
    "wrong prompt": "nothing is played that was made for another agent",
    "calls": "each call is answered exactly once",
    "record": "once it is quiet, the record is what the server holds",
    "overlap": "sound is played in order, no piece of it twice or beside another",
    "after a cut": "nothing is played of an item that was cut",
    "tasks": "no task is left when a session has ended",
    "closing": "leaving a session takes no longer than its deadline",
    "stall": "nobody waits more than 2 s beyond what a fault takes",
    "user audio": "each turn has every sample of what was said, once",
    "unanswered": "what was said without a fault is answered, by who it is meant for",
    "rest": "a conversation comes to rest",
    "errors": "nothing is raised but what a fault explains",
    "protocol": "the server is sent nothing that is no WebSocket frame",
}
EXAMPLES: Final = 5


@attrs.define(eq=False)
class Rules:
    """How often each rule was held against what happened, and how often it broke."""

    checked: Counter[str] = attrs.field(factory=Counter)
    broken: Counter[str] = attrs.field(factory=Counter)
    examples: dict[str, list[str]] = attrs.field(factory=dict)

    def check(self, rule: str, good: object, problem: str = "") -> None:
        """Count, and keep the first examples of what broke the rule."""
        assert rule in RULES
        self.checked[rule] += 1
        if not good:
            self.broken[rule] += 1
            seen = self.examples.setdefault(rule, [])
            if len(seen) < EXAMPLES:
                seen.append(problem)


def excused(happened: Iterable[Happened]) -> float:
    """Return the seconds that what happened takes itself."""
    return sum(
        one.seconds if one.what == "late" else FAULT_SECONDS.get(one.what, 0.0)
        for one in happened
    )
