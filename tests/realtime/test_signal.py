"""Waiting on state: no wake-up is lost, and nothing happens before the return."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trialogue.realtime.signal import Signal

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_many_waiters_each_see_their_own_moment(
    autojump_clock: MockClock,
) -> None:
    """Every waiter returns in the very state it asked for, though it soon passes."""
    signal, state = Signal(), [0]
    seen: list[tuple[int, int]] = []

    async def wait_for(n: int) -> None:
        await signal.until(lambda: state[0] >= n)
        seen.append((n, state[0]))

    async with trio.open_nursery() as nursery:
        for n in range(1, 51):
            nursery.start_soon(wait_for, n)
        for n in range(1, 51):
            await trio.sleep(1)
            state[0] = n
            signal.pulse()
    assert seen == [(n, n) for n in range(1, 51)]


async def test_no_wake_up_is_lost_between_a_waiter_and_its_next_wait() -> None:
    """Changes that come in the step of a wake-up are seen by whoever waits again."""
    signal, queue, taken = Signal(), list[int](), list[int]()

    async def consume() -> None:
        while len(taken) < 200:
            await signal.until(lambda: queue)
            taken.append(queue.pop())

    async def produce(rng: random.Random) -> None:
        for n in range(100):
            for _ in range(rng.randrange(3)):
                await trio.lowlevel.checkpoint()
            queue.append(n)
            signal.pulse()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            for seed in range(2):
                nursery.start_soon(produce, random.Random(seed))
    assert sorted(taken) == sorted([*range(100), *range(100)])


async def test_the_predicate_is_still_true_when_the_wait_returns() -> None:
    """Of two that wait for one thing, the second finds it gone and waits on."""
    signal, free, holders = Signal(), [True], list[str]()

    async def take(name: str) -> None:
        await signal.until(lambda: free[0])
        assert free[0], "somebody else took it between the look and the return"
        free[0] = False
        holders.append(name)

    async with trio.open_nursery() as nursery:
        free[0] = False
        for name in "abc":
            nursery.start_soon(take, name)
        await trio.testing.wait_all_tasks_blocked()
        for taken in range(1, 4):
            free[0] = True
            signal.pulse()
            await trio.testing.wait_all_tasks_blocked()
            assert len(holders) == taken
    assert sorted(holders) == ["a", "b", "c"]


async def test_what_is_true_already_needs_no_wait_but_can_be_cancelled() -> None:
    signal = Signal()
    await signal.until(lambda: True)
    with trio.CancelScope() as scope:
        scope.cancel()
        await signal.until(lambda: pytest.fail("looked although cancelled"))
    assert scope.cancelled_caught


async def test_cancelled_waiter_leaves_the_others_waiting() -> None:
    signal, state = Signal(), [False]
    with trio.move_on_after(0):
        await signal.until(lambda: state[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(signal.until, lambda: state[0])
        await trio.testing.wait_all_tasks_blocked()
        state[0] = True
        signal.pulse()
