"""What it takes to trace a breach: the last frames of a session, and its tasks.

Both are there all the time, and are written down at a breach alone.
"""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import attrs
import trio

from trialogue.realtime.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialogue import ConnectionLost

__all__ = ["FRAMES", "Ring", "tasks", "tree"]

FRAMES: Final = 50
"""So many frames of a session are kept, those that carry sound not counted."""
LONGEST: Final = 400
"""Characters of a frame that are shown."""
SOUNDS: Final = ("input_audio_buffer.append", "response.output_audio.delta")
HEAD: Final = 200
"""Characters in which a frame has said of what type it is, if it carries sound."""


@attrs.define
class _Frame:
    """One that passed, and how many with sound had passed since the one before."""

    at: float
    generation: int
    direction: str
    text: str
    sounds: Counter[str]


@attrs.define(eq=False)
class Ring:
    """The last frames of one session (`wire_log=`): its ear, and its only tap."""

    _frames: deque[_Frame] = attrs.field(factory=lambda: deque(maxlen=FRAMES))
    _sounds: Counter[str] = attrs.field(factory=Counter)

    def tap(self, session_id: str) -> Ring:
        """See `trialogue.realtime.wirelog.WireEar`."""
        return self

    def note(self, generation: int, direction: Literal[">", "<"], text: str) -> None:
        """Keep a frame; of one that carries sound, that there was one."""
        head = text[:HEAD]
        for sound in SOUNDS:
            if sound in head:
                self._sounds[f"{sound} {direction}{generation}"] += 1
                return
        self._add(generation, direction, text)

    def lost(self, generation: int, error: ConnectionLost) -> None:
        """Keep that a connection ended."""
        self._add(generation, "!", f"lost: {error}")

    def _add(self, generation: int, direction: str, text: str) -> None:
        now = trio.current_time()
        self._frames.append(_Frame(now, generation, direction, text, self._sounds))
        self._sounds = Counter()

    def lines(self) -> list[str]:
        """Return them for a reader: how long ago, connection, direction, frame."""
        now = trio.current_time()
        lines: list[str] = []
        for frame in self._frames:
            lines += _sounds(frame.sounds)
            text = (
                frame.text
                if frame.direction == "!"
                else redacted(frame.text, texts=True)
            )
            head = f"{frame.at - now:.3f} [{frame.generation}] {frame.direction}"
            lines.append(f"{head} {text[:LONGEST]}")
        return [*lines, *_sounds(self._sounds)]


def _sounds(counted: Counter[str]) -> list[str]:
    return ["... " + ", ".join(f"{n} {of}" for of, n in counted.items())] * bool(
        counted
    )


# --- tasks ----------------------------------------------------------------------------


def tasks(belongs: Callable[[trio.lowlevel.Task], object]) -> list[trio.lowlevel.Task]:
    """Return those of all tasks that belong to somebody."""
    return [task for task, _ in _walk() if belongs(task)]


def tree(belongs: Callable[[trio.lowlevel.Task], object]) -> list[str]:
    """Return the tasks of somebody as a tree, with where each of them waits."""
    lines: list[str] = []
    least: int | None = None
    for task, depth in _walk():
        if belongs(task):
            least = depth if least is None else min(least, depth)
            indent = "  " * (depth - least)
            lines.append(f"{indent}{task.name.rpartition('.')[2]}: {_where(task)}")
    return lines


def _where(task: trio.lowlevel.Task) -> str:
    """Say where a task waits, the innermost of its frames last; Trio's own left out."""
    named = []
    for frame, line in task.iter_await_frames():
        path = Path(frame.f_code.co_filename)
        if path.parent.name not in {"trio", "_core"} and path.name != "contextlib.py":
            named.append(f"{path.name}:{line} {frame.f_code.co_name}")
    return " > ".join(named[-4:]) or "in Trio"


def _walk() -> Iterator[tuple[trio.lowlevel.Task, int]]:
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [(root, 0)]
    while waiting:
        task, depth = waiting.pop()
        yield task, depth
        for nursery in task.child_nurseries:
            waiting += [(child, depth + 1) for child in nursery.child_tasks]
