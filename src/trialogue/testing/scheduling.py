"""Two ways to look for what only some schedules show.

`CancelAtStep` cancels a scope at the N-th step that any task takes: run a program once
to count its steps, then once for each of them. `seeded` makes Trio pick the order of
tasks that are ready at once by a seed, so that what a run showed can be shown again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__all__ = ["CancelAtStep", "seeded"]


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope just before the N-th task step of the block it is entered for.

    Steps are those of all tasks of the run, counted from 1 from the moment of entering.
    A step beyond the end of the block never comes: then nothing is cancelled, and
    `fired` stays False.

    Use it as a context manager inside the run::

        with CancelAtStep(17, scope) as sweep:
            ...
        print(sweep.steps, sweep.fired)

    Args:
        step: the step to cancel at; None only counts.
        scope: what to cancel.
    """

    def __init__(self, step: int | None, scope: trio.CancelScope) -> None:
        self._step = step
        self._scope = scope
        self.steps = 0
        self.fired = False

    def __repr__(self) -> str:
        return f"<CancelAtStep {self.steps} of {self._step} fired={self.fired}>"

    def __enter__(self) -> Self:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        trio.lowlevel.remove_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count the step; Trio calls it."""
        self.steps += 1
        if self.steps == self._step:
            self.fired = True
            self._scope.cancel(reason=f"cancelled at task step {self.steps}")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make the schedules of Trio runs in this block depend on the seed alone.

    Put it around `trio.run`, or use it inside a run for what follows. What the program
    takes from other sources (the real clock, sockets) is not covered: use it with
    `trio.testing.MockClock` and memory streams. Blocks do not nest across threads.

    It sets two private names of Trio that its own tests rely on for the same purpose,
    and puts both back, whatever happens.
    """
    internals: Any = trio._core._run
    before, state = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r.getstate()
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r.seed(seed)
    try:
        yield
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING = before
        internals._r.setstate(state)
