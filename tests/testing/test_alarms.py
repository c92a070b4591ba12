"""Alarms and delay lines: exact on a virtual clock, and in order."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from trialogue.testing.alarms import Alarms
from trialogue.testing.network import DelayLine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


@asynccontextmanager
async def ringing() -> AsyncIterator[Alarms]:
    alarms = Alarms()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        yield alarms
        nursery.cancel_scope.cancel()


async def test_each_rings_at_its_time_and_those_of_one_time_in_order(
    autojump_clock: MockClock,
) -> None:
    rung: list[tuple[str, float]] = []
    async with ringing() as alarms:
        began = trio.current_time()

        def ring(name: str) -> None:
            rung.append((name, trio.current_time() - began))

        for name, after in (("d", 7.5), ("b", 2.0), ("a", 0.25), ("c", 2.0)):
            alarms.at(began + after, partial(ring, name))
        await trio.sleep(3)
        alarms.at(began + 4, partial(ring, "sooner"))
        alarms.at(began + 5, partial(ring, "never")).cancel()
        alarms.at(began + 1, partial(ring, "late"))
        await trio.sleep(3600)
    assert rung == [
        *(("a", 0.25), ("b", 2.0), ("c", 2.0)),
        *(("late", 3.0), ("sooner", 4.0), ("d", 7.5)),
    ]


async def test_a_wait_ends_with_what_arrives_with_the_deadline_and_when_woken(
    autojump_clock: MockClock,
) -> None:
    async with ringing() as alarms:
        began = trio.current_time()
        line = DelayLine[str](alarms)
        line.put("far", began + 60)
        await line.wait(began + 1)
        assert (line.take(), trio.current_time()) == (None, began + 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.wait)
            await trio.sleep(1)
            line.put("near", began + 2.5)
        assert (line.take(), trio.current_time()) == (None, began + 2)
        await line.wait()
        assert (line.take(), trio.current_time()) == ("near", began + 2.5)
        await line.wait()
        assert (line.take(), trio.current_time()) == ("far", began + 60)


async def test_a_wait_that_is_cancelled_leaves_nothing_that_rings(
    autojump_clock: MockClock,
) -> None:
    async with ringing() as alarms:
        line = DelayLine[str](alarms)
        due = trio.current_time() + 5
        with trio.move_on_at(due):
            await line.wait(due + 5)
        assert trio.current_time() == due
        assert repr(alarms) == "<Alarms next=inf>"
