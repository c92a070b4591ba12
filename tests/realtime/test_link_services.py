"""What leaves the block of a link: the program's error or the link's, unwrapped."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest
import trio

from trialogue.errors import ConnectionLost
from trialogue.realtime.link import Link, open_link
from trialogue.realtime.services import open_services
from websocket_peer import Line, Peer, playing

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("each_engine")


def opened(line: Line) -> AbstractAsyncContextManager[tuple[Link, trio.Nursery]]:
    return open_link(
        line.connect,
        host="peer.test",
        resource="/",
        connect_timeout=10,
        close_timeout=2,
    )


async def behave(peer: Peer) -> None:
    await peer.accept()
    await peer.echo_forever()


async def nothing() -> None:
    await trio.lowlevel.checkpoint()


async def fail_with(error: BaseException) -> None:
    await trio.lowlevel.checkpoint()
    raise error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        ExceptionGroup("mine", [ValueError("one"), KeyError("two")]),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_exception_of_the_block_is_the_same_object(
    autojump_clock: MockClock, error: BaseException
) -> None:
    async with playing(behave) as line:
        with pytest.raises(type(error)) as caught:
            async with opened(line):
                raise error
        assert caught.value is error
        assert error.__context__ is None
        assert error.__cause__ is None
        assert line.peer.close_code == 1000


async def test_its_cause_and_context_are_kept(autojump_clock: MockClock) -> None:
    async with playing(behave) as line:
        with pytest.raises(ValueError, match="mine") as caught:  # noqa: PT012 - a block
            async with opened(line):
                try:
                    raise KeyError("the context")
                except KeyError:
                    raise ValueError("mine") from OSError("the cause")
        assert isinstance(caught.value.__context__, KeyError)
        assert isinstance(caught.value.__cause__, OSError)


async def test_group_made_by_the_program_is_not_flattened(
    autojump_clock: MockClock,
) -> None:
    async with playing(behave) as line:
        with pytest.RaisesGroup(pytest.RaisesGroup(ValueError)):
            async with opened(line):
                raise ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError()])])


async def test_cancellation_from_outside_goes_through(
    autojump_clock: MockClock,
) -> None:
    async with playing(behave) as line:
        with trio.move_on_after(5) as scope:
            async with opened(line):
                await trio.sleep_forever()
            pytest.fail("the cancellation was swallowed")
        assert scope.cancelled_caught


@pytest.mark.parametrize("error", [ValueError("mine"), ConnectionLost("mine")])
async def test_exception_of_the_block_is_not_lost_in_a_cancellation(
    autojump_clock: MockClock, error: Exception
) -> None:
    async with playing(behave) as line:
        with trio.CancelScope() as scope, pytest.raises(type(error)) as caught:  # noqa: PT012 - a block
            async with opened(line):
                scope.cancel()
                raise error
        assert caught.value is error
        assert line.peer.close_code == 1000


async def test_lost_connection_in_a_service_cancels_the_block_and_comes_out_alone(
    autojump_clock: MockClock,
) -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(3)
        await peer.close(1011, "oops")
        await peer.stay()

    async def read_forever(link: Link) -> None:
        while True:
            await link.receive()

    async with playing(hang_up) as line:
        with pytest.raises(ConnectionLost, match="1011: oops") as caught:  # noqa: PT012 - a block
            async with opened(line) as (link, service):
                service.start_soon(read_forever, link)
                await trio.sleep(100)
        assert caught.value.code == 1011
        assert caught.value.__suppress_context__
        assert trio.current_time() == pytest.approx(3)
        assert await line.is_closed()


async def test_service_that_stumbles_over_our_own_close_is_no_error(
    autojump_clock: MockClock,
) -> None:
    async def read_forever(link: Link) -> None:
        while True:
            await link.receive()

    async with playing(behave) as line:
        async with opened(line) as (link, service):
            service.start_soon(read_forever, link)
            await link.send("hello")
        assert line.peer.close_code == 1000


async def test_bug_in_a_service_cancels_the_block_and_comes_out_in_a_group(
    autojump_clock: MockClock,
) -> None:
    async with playing(behave) as line:
        with pytest.RaisesGroup(ZeroDivisionError):
            async with opened(line) as (_, service):
                service.start_soon(fail_with, ZeroDivisionError())
                await trio.sleep(100)
        assert await line.is_closed()


async def test_failures_of_both_come_out_together(autojump_clock: MockClock) -> None:
    mine = ValueError("mine")
    with pytest.RaisesGroup(ValueError, ZeroDivisionError) as caught:
        async with open_services(nothing, allowance=1) as service:
            service.start_soon(fail_with, ZeroDivisionError())
            try:
                await trio.sleep(100)
            finally:
                raise mine
    assert caught.value.exceptions[0] is mine


@pytest.mark.parametrize(
    "mine", [ValueError("mine"), ExceptionGroup("mine", [ValueError(), KeyError()])]
)
async def test_own_exception_wins_over_a_lost_connection(mine: Exception) -> None:
    with pytest.raises(type(mine)) as caught:  # noqa: PT012 - a block
        async with open_services(nothing, allowance=1) as service:
            service.start_soon(fail_with, ConnectionLost("gone"))
            try:
                await trio.sleep(100)
            finally:
                raise mine
    assert caught.value is mine


async def test_own_group_of_a_cancelled_block_comes_out_without_the_cancellation() -> (
    None
):
    async def stumble_when_cancelled() -> None:
        try:
            await trio.sleep(100)
        finally:
            raise ValueError

    with pytest.RaisesGroup(ValueError):
        async with (
            open_services(nothing, allowance=1) as service,
            trio.open_nursery() as n,
        ):
            n.start_soon(trio.sleep, 100)
            n.start_soon(stumble_when_cancelled)
            service.start_soon(fail_with, ConnectionLost("gone"))
            await trio.sleep(100)


async def test_failure_of_a_service_is_not_hidden_by_the_cancelled_block() -> None:
    """A block that has a nursery of its own is left by a group of Cancelled."""
    with pytest.raises(ConnectionLost, match="gone") as caught:  # noqa: PT012 - a block
        async with (
            open_services(nothing, allowance=1) as service,
            trio.open_nursery() as n,
        ):
            n.start_soon(trio.sleep, 100)
            n.start_soon(trio.sleep, 100)
            service.start_soon(fail_with, ConnectionLost("gone"))
    assert "Cancelled" not in "".join(traceback.format_exception(caught.value))


async def test_several_lost_connections_are_one(autojump_clock: MockClock) -> None:
    async def lose_twice() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_with, ConnectionLost("first", code=1001))
            nursery.start_soon(fail_with, ConnectionLost("second", code=1001))

    with pytest.raises(ConnectionLost) as caught:  # noqa: PT012 - a block
        async with open_services(nothing, allowance=1) as service:
            service.start_soon(lose_twice)
            await trio.sleep(100)
    assert caught.value.code == 1001


async def test_failing_service_cuts_the_farewell_short(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(ZeroDivisionError):
        async with open_services(trio.sleep_forever, allowance=60) as service:
            service.start_soon(fail_with, ZeroDivisionError())
    assert trio.current_time() < 1


async def test_bug_in_the_farewell_is_raised_and_the_services_still_end(
    autojump_clock: MockClock,
) -> None:
    async def stumble() -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    ended = False

    async def serve() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - a block
        async with open_services(stumble, allowance=60) as service:
            service.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
    assert ended


async def test_services_work_during_the_farewell_of_a_cancelled_block(
    autojump_clock: MockClock,
) -> None:
    ticks = 0

    async def take_a_while() -> None:
        await trio.sleep(10.5)

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(1)
            ticks += 1

    with trio.CancelScope() as scope:
        async with open_services(take_a_while, allowance=60) as service:
            service.start_soon(tick)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ticks == 10


async def test_cancelled_before_the_start_does_not_hang(
    autojump_clock: MockClock,
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_services(nothing, allowance=1):
            pytest.fail("it was cancelled before it was open")
    assert scope.cancelled_caught
