"""No new conversations, and an end to those that are held: for the day of a deploy.

A process that is to go away takes no more calls, and lets those that it has come to
their end. `Drain` knows the sessions that were opened with it; nothing else does, so
that a program may have several, or none.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from trialogue.agents.stalling import stack_of
from trialogue.errors import ConfigurationError, DrainStarted
from trialogue.realtime.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialogue.agents.session import AgentSession

__all__ = ["Drain", "DrainReport", "Held", "StuckSession", "StuckTask"]

SPARE = 2.0
"""Seconds beside `Timing.close` in which a session that was cut has ended."""

_LOG = logging.getLogger("trialogue.agents")


@attrs.frozen
class StuckTask:
    """A task that was cancelled and does not end; `stack` is outermost first."""

    name: str
    stack: tuple[str, ...]


@attrs.frozen
class StuckSession:
    """A session that was cut and does not end, because code in it does not.

    Attributes:
        session_id: what its log lines are marked with.
        agent: the name of the agent that is current, or None.
        tasks: the task that opened it, and those that the program has started in it.
    """

    session_id: str
    agent: str | None
    tasks: tuple[StuckTask, ...]


@attrs.frozen
class DrainReport:
    """What became of the sessions that were open when `Drain.aclose` was called.

    Attributes:
        ended: the ids of those that ended before the deadline.
        cut: the ids of those that were cut at the deadline, and have ended.
        stuck: those that have not ended.
        seconds: how long it took.
    """

    ended: tuple[str, ...]
    cut: tuple[str, ...]
    stuck: tuple[StuckSession, ...]
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether every session ended by itself, or because it was asked to."""
        return not (self.cut or self.stuck)


@attrs.define(eq=False)
class Held:
    """A session that a drain knows of, from before it is dialled until it is left."""

    session: AgentSession
    task: trio.lowlevel.Task
    opened: bool = False

    @property
    def id(self) -> str:
        return self.session.realtime.id

    def refuse(self) -> None:
        """It is still being dialled: its block is not to begin."""
        self.session.realtime.fail(_started())

    def cut(self) -> None:
        """Its block ends now."""
        self.session.ending.cut_short = True
        self.session.end(now=True)
        self.session.realtime.body.cancel(reason="the drain's deadline has passed")

    def stuck(self) -> StuckSession:
        """Say what holds it up."""
        scope = self.session.scope
        tasks = [self.task]
        if scope is not None and scope.nursery is not None:
            tasks += scope.nursery.child_tasks
        tasks += self.session.block.tasks
        stuck = tuple(StuckTask(task.name, stack_of(task)) for task in tasks)
        return StuckSession(self.id, None if scope is None else scope.name, stuck)


class Drain:
    """Ends the conversations of a process without cutting anybody off.

    Give it to each `open_agent_session(drain=…)`. When the process is to go away,
    `await drain.aclose(seconds)` once, from outside of the sessions: from a task that
    waits for SIGTERM, say. Until then it costs nothing. It belongs to one Trio run.
    """

    def __init__(self) -> None:
        self._held: list[Held] = []
        self._changed = Signal()
        self._started = False

    def __repr__(self) -> str:
        state = "draining" if self._started else "open"
        return f"<Drain {state} sessions={len(self._held)}>"

    @property
    def started(self) -> bool:
        """Whether new sessions are refused; what a readiness probe wants to know."""
        return self._started

    @property
    def sessions(self) -> tuple[AgentSession, ...]:
        """The sessions whose blocks are open, in the order in which they began."""
        return tuple(held.session for held in self._held if held.opened)

    def start(self) -> None:
        """Refuse new sessions from now on; those that are open go on as they are.

        `open_agent_session` raises `DrainStarted`, also where it is still dialling.
        Synchronous; a second call changes nothing.
        """
        self._started = True
        for held in self._held:
            if not held.opened:
                held.refuse()

    async def aclose(self, seconds: float = 30.0, *, grace: float = 0.0) -> DrainReport:
        """Refuse new sessions, have the open ones end, and wait for it.

        After `grace` seconds each session is asked to end as by `AgentSession.end`:
        what was generated is played out, `run` returns. What has not ended after
        `seconds` is cut: its block is left as if a cancel scope around it had been
        cancelled, raises nothing, and its session is `cut_short`.

        It returns when all have ended, or `Timing.close` and two seconds after the
        deadline: code that refuses to be cancelled is named in the report, and in the
        log, and is left to itself.

        Cancelled, it leaves the drain started and the sessions as they are by then;
        it may be called again, and by several tasks at once.

        Args:
            seconds: from now to the deadline.
            grace: how long conversations may come to an end of their own.

        Raises:
            ConfigurationError: `grace` is negative or longer than `seconds`.
        """
        if not 0 <= grace <= seconds:
            given = f"aclose({seconds!r}, grace={grace!r})"
            msg = f"{given}: grace is at least 0, and at most the seconds in all"
            raise ConfigurationError(msg)
        began = trio.current_time()
        self.start()
        open_now = tuple(self._held)
        await trio.lowlevel.checkpoint()
        await self._left(open_now, began + grace)
        self._each(open_now, lambda held: held.session.end())
        await self._left(open_now, began + seconds)
        late = [held for held in open_now if held in self._held]
        self._each(late, Held.cut)
        patience = max((h.session.realtime.timing.close for h in late), default=0.0)
        await self._left(late, trio.current_time() + patience + SPARE)
        stuck = [held for held in late if held in self._held]
        report = DrainReport(
            tuple(held.id for held in open_now if held not in late),
            tuple(held.id for held in late if held not in stuck),
            tuple(held.stuck() for held in stuck),
            trio.current_time() - began,
        )
        _log(report)
        return report

    def _each(
        self, some: tuple[Held, ...] | list[Held], act: Callable[[Held], object]
    ) -> None:
        for held in some:
            if held in self._held:
                act(held)

    async def _left(self, some: tuple[Held, ...] | list[Held], deadline: float) -> None:
        """Wait until all of these have been left, or until a deadline."""
        with trio.CancelScope(deadline=deadline):
            await self._changed.until(lambda: not any(h in self._held for h in some))

    @contextmanager
    def holding(self, session: AgentSession) -> Iterator[Held]:
        """Know of a session inside the block; for `open_agent_session`.

        Raises:
            DrainStarted: it comes too late.
        """
        if self._started:
            raise _started()
        held = Held(session, trio.lowlevel.current_task())
        self._held.append(held)
        try:
            yield held
        finally:
            self._held.remove(held)
            self._changed.pulse()


def _started() -> DrainStarted:
    msg = (
        "this process takes no new conversations: its Drain was started. Have the "
        "caller connect to another one"
    )
    return DrainStarted(msg)


def _log(report: DrainReport) -> None:
    for session in report.stuck:
        for task in session.tasks:
            where = task.stack[-1] if task.stack else "no frame"
            _LOG.warning(
                "[%s] was cut by a drain and does not end: %s is at %s",
                session.session_id,
                task.name,
                where,
            )
    counts = len(report.ended), len(report.cut), len(report.stuck)
    text = "drained in %.1f s: %d sessions ended, %d were cut, %d are stuck"
    _LOG.info(text, report.seconds, *counts)
