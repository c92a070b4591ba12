"""Cancelling at the N-th step, and schedules that a seed decides."""

from __future__ import annotations

import pytest
import trio

from trialogue.testing.scheduling import CancelAtStep, seeded


async def chatter(steps: int) -> list[int]:
    """Let three tasks take turns, and return the order in which they did."""
    order: list[int] = []

    async def talk(number: int) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(talk, number)
    return order


async def test_every_step_can_be_the_last() -> None:
    """Counting first tells how many there are; each of them cuts the block short."""
    with trio.CancelScope() as scope, CancelAtStep(None, scope) as count:
        await chatter(2)
    assert not count.fired
    assert count.steps > 6
    for step in range(1, count.steps + 1):
        with trio.CancelScope() as scope, CancelAtStep(step, scope) as sweep:
            await chatter(2)
            await trio.lowlevel.checkpoint()
        assert sweep.fired
        assert scope.cancelled_caught


async def test_beyond_the_end_nothing_is_cancelled() -> None:
    with trio.CancelScope() as scope, CancelAtStep(10_000, scope) as sweep:
        await chatter(2)
    assert not sweep.fired
    assert not scope.cancelled_caught


async def test_after_the_block_steps_are_not_counted() -> None:
    with trio.CancelScope() as scope, CancelAtStep(None, scope) as sweep:
        await trio.lowlevel.checkpoint()
    counted = sweep.steps
    await chatter(2)
    assert sweep.steps == counted


def test_a_seed_decides_the_schedule() -> None:
    def order(seed: int) -> list[int]:
        with seeded(seed):
            return trio.run(chatter, 5)

    assert order(3) == order(3)
    assert len({tuple(order(seed)) for seed in range(8)}) > 1


def test_what_was_before_is_put_back_also_after_an_error() -> None:
    internals = trio._core._run
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING
    state = internals._r.getstate()
    with pytest.raises(ZeroDivisionError), seeded(1):
        raise ZeroDivisionError
    assert before == internals._ALLOW_DETERMINISTIC_SCHEDULING
    assert state == internals._r.getstate()
