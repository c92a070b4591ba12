"""What holds all the time, counted; and what a fault excuses.

Each rule has a counter that is nought in a clean soak, and a few examples of what broke
it. What takes long is held against what was done to that session meanwhile: each fault
takes so many seconds itself, the time in which it is noticed included. Time in which
this machine was late is counted as no time (`soak.lateness`).
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from trialogue import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from soak.line import Happened

__all__ = [
    "FAULT_SECONDS",
    "MOST_STALL",
    "RULES",
    "TIMING",
    "Breach",
    "Rules",
    "excused",
]

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


@attrs.frozen(kw_only=True)
class Breach:
    """What it takes to trace what broke a rule.

    Attributes:
        session: the number of the session; None if it is of no session.
        agent: the name of the current agent.
        generation: of the connection that serves, or served last.
        at: Trio's clock.
        late: for how much of the last seconds this machine was late, from 0 to 1.
        told: the faults that were done to this session, and how long ago.
        seen: the last events of the session.
        frames: its last frames, sound counted and not shown.
        tasks: its tasks, as a tree, and where each of them waits.
    """

    session: int | None = None
    agent: str | None = None
    generation: int | None = None
    at: float = 0.0
    late: float = 0.0
    told: list[str] = attrs.field(factory=list)
    seen: list[str] = attrs.field(factory=list)
    frames: list[str] = attrs.field(factory=list)
    tasks: list[str] = attrs.field(factory=list)

    def text(self, problem: str) -> str:
        """Return it as lines for a reader."""
        lines = [problem]
        if self.session is not None:
            lines.append(
                f"session {self.session}, agent {self.agent}, connection "
                f"{self.generation}, at {self.at:.2f}, late {100 * self.late:.0f} %"
            )
        for title in ("told", "seen", "frames", "tasks"):
            if part := getattr(self, title):
                lines += [f"{title}:", *(f"  {line}" for line in part)]
        return "\n    ".join(lines)


@attrs.define(eq=False)
class Rules:
    """How often each rule was held against what happened, and how often it broke."""

    checked: Counter[str] = attrs.field(factory=Counter)
    broken: Counter[str] = attrs.field(factory=Counter)
    examples: dict[str, list[str]] = attrs.field(factory=dict)

    def check(
        self,
        rule: str,
        good: object,
        problem: str = "",
        trace: Callable[[], Breach] = Breach,
    ) -> None:
        """Count, and keep the first examples of what broke the rule.

        Args:
            rule: which of `RULES`.
            good: whether it was kept.
            problem: what was not.
            trace: is asked for what there is to trace it by, if it is an example.
        """
        assert rule in RULES
        self.checked[rule] += 1
        if not good:
            self.broken[rule] += 1
            seen = self.examples.setdefault(rule, [])
            if len(seen) < EXAMPLES:
                seen.append(trace().text(problem))
                print(f"{rule}: {seen[-1]}", file=sys.stderr, flush=True)


def excused(happened: Iterable[Happened]) -> float:
    """Return the seconds that what happened takes itself."""
    return sum(FAULT_SECONDS.get(one.what, 0.0) for one in happened)
