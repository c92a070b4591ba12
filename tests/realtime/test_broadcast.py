"""Subscribers: bounded, counted, told of the end, and never in the reader's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from trialogue.errors import ConfigurationError, SubscriberLagged
from trialogue.realtime.broadcast import Broadcast, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Spoke:
    n: int


@attrs.frozen
class Paused:
    n: int


def publish(broadcast: Broadcast, count: int) -> None:
    for n in range(count):
        broadcast.publish(Spoke(n))


async def test_subscriber_gets_its_kinds_in_order_and_nothing_else() -> None:
    broadcast = Broadcast()
    async with (
        broadcast.subscribe(Spoke) as spoke,
        broadcast.subscribe(Spoke, Paused) as both,
        broadcast.subscribe() as everything,
    ):
        broadcast.publish(Spoke(1))
        broadcast.publish("a word")
        broadcast.publish(Paused(2))
        broadcast.close()
        assert [event async for event in spoke] == [Spoke(1)]
        assert [event async for event in both] == [Spoke(1), Paused(2)]
        assert [e async for e in everything] == [Spoke(1), "a word", Paused(2)]
    assert list(broadcast) == []


async def test_what_was_published_before_is_not_delivered() -> None:
    broadcast = Broadcast()
    broadcast.publish(Spoke(1))
    async with broadcast.subscribe() as events:
        with pytest.raises(trio.WouldBlock):
            events.receive_nowait()


@pytest.mark.behaviour("X3")
@given(st.integers(1, 10), st.lists(st.booleans(), max_size=40))
def test_buffer_is_bounded_and_each_dropped_event_is_counted(
    buffer: int, script: list[bool]
) -> None:
    """Against a plain list: True publishes the next number, False takes one."""

    async def main() -> None:
        broadcast = Broadcast()
        async with broadcast.subscribe(buffer=buffer) as events:
            kept: list[int] = []
            missed = sent = 0
            for publishes in script:
                if publishes:
                    broadcast.publish(sent)
                    kept.append(sent)
                    sent += 1
                    missed += len(kept) > buffer
                    kept = kept[-buffer:]
                elif kept:
                    assert events.receive_nowait() == kept.pop(0)
                assert events.missed == missed
            broadcast.close()
            assert [event async for event in events] == kept

    trio.run(main)


async def test_subscriber_that_asked_for_it_is_told_that_it_lagged() -> None:
    """Once for each gap, with the number; then it goes on with what is kept."""
    broadcast = Broadcast()
    async with broadcast.subscribe(buffer=2, on_overflow="raise") as events:
        publish(broadcast, 5)
        with pytest.raises(SubscriberLagged, match="3 events") as caught:
            await events.receive()
        assert caught.value.missed == 3
        assert await events.receive() == Spoke(3)
        assert await events.receive() == Spoke(4)
        broadcast.publish(Spoke(5))
        assert await events.receive() == Spoke(5)


async def test_slow_subscriber_costs_the_others_nothing() -> None:
    broadcast = Broadcast()
    async with (
        broadcast.subscribe(buffer=1) as slow,
        broadcast.subscribe(buffer=10) as fast,
    ):
        publish(broadcast, 10)
        assert [(await fast.receive()).n for _ in range(10)] == list(range(10))
        assert (fast.missed, slow.missed) == (0, 9)


async def test_waiting_subscriber_is_woken_by_an_event_and_by_the_end() -> None:
    broadcast = Broadcast()
    got: list[object] = []

    async def listen() -> None:
        async with broadcast.subscribe() as events:
            got.extend([event async for event in events])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        broadcast.publish(Spoke(1))
        await trio.testing.wait_all_tasks_blocked()
        broadcast.close()
    assert got == [Spoke(1)]


async def test_two_that_share_a_subscription_share_its_events() -> None:
    broadcast = Broadcast()
    got: list[int] = []
    async with broadcast.subscribe(Spoke) as events:

        async def take() -> None:
            got.append((await events.receive()).n)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            broadcast.publish(Spoke(1))
            await trio.testing.wait_all_tasks_blocked()
            assert got == [1]
            broadcast.publish(Spoke(2))
    assert got == [1, 2]


async def test_subscribing_to_what_has_ended_gives_the_end() -> None:
    broadcast = Broadcast()
    broadcast.close()
    async with broadcast.subscribe() as events:
        with pytest.raises(trio.EndOfChannel):
            await events.receive()


async def test_subscription_ends_with_its_block() -> None:
    """Whoever still waits on it elsewhere is not left waiting for ever."""
    broadcast = Broadcast()
    got: list[object] = []

    async def listen(events: Subscription[Spoke]) -> None:
        got.extend([event async for event in events])

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery, broadcast.subscribe() as events:
            # The listener outlives the subscription: that is what is tested.
            nursery.start_soon(listen, events)  # noqa: ASYNC111
            await trio.testing.wait_all_tasks_blocked()
            broadcast.publish(Spoke(1))
    assert got == [Spoke(1)]


@pytest.mark.parametrize("event_first", [True, False])
async def test_cancelling_a_wait_loses_no_event(event_first: bool) -> None:
    """Cancelled in the step of the event, before or after it: it is still there."""
    broadcast = Broadcast()
    got: list[object] = []
    scope = trio.CancelScope()
    async with broadcast.subscribe() as events, trio.open_nursery() as nursery:

        async def receive() -> None:
            with scope:
                got.append(await events.receive())

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        steps: list[Callable[[], None]] = [
            lambda: broadcast.publish(Spoke(1)),
            scope.cancel,
        ]
        for step in steps if event_first else reversed(steps):
            step()
        await trio.testing.wait_all_tasks_blocked()
        rest = [] if got else [await events.receive()]
        assert [*got, *rest] == [Spoke(1)]


async def test_cancelled_beforehand_takes_no_event() -> None:
    broadcast = Broadcast()
    async with broadcast.subscribe() as events:
        broadcast.publish(Spoke(1))
        with trio.CancelScope() as scope:
            scope.cancel()
            await events.receive()
        assert scope.cancelled_caught
        assert await events.receive() == Spoke(1)


@pytest.mark.parametrize("buffer", [0, -1])
async def test_buffer_for_nothing_is_refused(buffer: int) -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        async with Broadcast().subscribe(buffer=buffer):
            pass
