"""Tests in virtual time: a clock that jumps ahead, and when it must not.

Under `trio.testing.MockClock(autojump_threshold=0)` the clock jumps to the next
deadline as soon as no task can go on, so that an hour of talk passes at once. What
works outside of Trio does not count as going on: while a worker thread computes for a
millisecond, the clock would jump from deadline to deadline, and everything that waits
would be late.
"""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack, contextmanager
from functools import partial, wraps
from math import inf
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import attrs
import trio
import trio.testing

from trialogue.testing.deferred import RUNS_ITSELF, open_awaited, resolved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["check_clock", "hold_clock", "holding_for_threads", "in_virtual_time"]

P = ParamSpec("P")
R = TypeVar("R")


def in_virtual_time(test: Callable[P, Awaitable[R]]) -> Callable[P, R]:
    """Make a test of an async function, run by Trio in virtual time.

    For test suites without a plugin for Trio; with pytest-trio, its `autojump_clock`
    fixture does the same. The arguments are passed on, fixtures for one. With the
    plugin for pytest (`realtime_server` and the others) async fixtures are set up, and
    torn down, inside the run; they are those of function scope.

    Raises:
        TypeError: when it is called, if the test is no async function.
    """

    async def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        results: list[R] = []
        async with AsyncExitStack() as stack:
            await open_awaited(stack)
            kwargs.update(await resolved(kwargs, stack))
            running: Any = test(*args, **kwargs)
            if not inspect.isawaitable(running):
                name = getattr(test, "__name__", repr(test))
                msg = f"in_virtual_time is for async functions: `async def {name}`"
                raise TypeError(msg)
            results.append(await running)
        if not results:
            msg = "a fixture has ended this test, by a cancel scope around its `yield`"
            raise RuntimeError(msg)
        return results[0]

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(partial(inside, *args, **kwargs), clock=clock)

    setattr(run, RUNS_ITSELF, True)
    return run


def check_clock() -> None:
    """Refuse a clock on which nothing would ever happen.

    Raises:
        RuntimeError: it is a `MockClock` that neither runs nor jumps.
    """
    clock = trio.lowlevel.current_clock()
    if (
        isinstance(clock, trio.testing.MockClock)
        and clock.rate == 0
        and clock.autojump_threshold == inf
    ):
        msg = (
            "this test's clock stands still, and a conversation takes time; use "
            "pytest-trio's autojump_clock, MockClock(autojump_threshold=0), or "
            "trialogue.testing.in_virtual_time"
        )
        raise RuntimeError(msg)


@attrs.define
class _Held:
    """Who holds the clock of a run, and how it jumps when nobody does."""

    holders: int = 0
    threshold: float = inf


_held: trio.lowlevel.RunVar[_Held] = trio.lowlevel.RunVar("held")


def _hold(clock: trio.testing.MockClock) -> None:
    held = _held.get(_Held())
    _held.set(held)
    if held.holders == 0:
        held.threshold = clock.autojump_threshold
        clock.autojump_threshold = inf
    held.holders += 1


def _release(clock: trio.testing.MockClock) -> None:
    held = _held.get()
    held.holders -= 1
    if held.holders == 0:
        clock.autojump_threshold = held.threshold


@contextmanager
def hold_clock() -> Iterator[None]:
    """Let no virtual time pass in this block, while something outside of Trio works.

    For tools that talk to real sockets or processes under a clock that jumps: put it
    around what is awaited there. Nothing that waits for a time ends inside, in any
    task. On another clock it does nothing.
    """
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, trio.testing.MockClock):
        yield
        return
    _hold(clock)
    try:
        yield
    finally:
        _release(clock)


@contextmanager
def holding_for_threads() -> Iterator[None]:
    """Hold the clock of this run whenever one of Trio's worker threads is at work.

    Those of the default limiter (`trio.to_thread.current_default_thread_limiter`) are
    known; of another one nothing is.
    """
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, trio.testing.MockClock):
        yield
        return
    watch = _ThreadWatch(clock, trio.to_thread.current_default_thread_limiter())
    trio.lowlevel.add_instrument(watch)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(watch)
        watch.hold(busy=False)


class _ThreadWatch(trio.abc.Instrument):
    """Looks after each step whether threads are at work."""

    def __init__(
        self, clock: trio.testing.MockClock, limiter: trio.CapacityLimiter
    ) -> None:
        self._clock = clock
        self._limiter = limiter
        self._holds = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio calls it. A thread begins in a task's step, and ends in Trio's own."""
        self.hold(busy=self._limiter.borrowed_tokens > 0)

    def hold(self, *, busy: bool) -> None:
        if busy != self._holds:
            self._holds = busy
            (_hold if busy else _release)(self._clock)
