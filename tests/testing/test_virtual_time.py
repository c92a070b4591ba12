"""Tests in virtual time: without a plugin, and with work outside of Trio."""

from __future__ import annotations

import threading
import time

import pytest
import trio
import trio.testing

from shop import Desk
from trialogue.testing import Call, hold_clock, in_virtual_time, run_agent


@in_virtual_time
async def test_a_test_needs_no_plugin() -> None:
    """It is a plain function, run by the decorator."""
    began = time.monotonic()
    await trio.sleep(3600)
    async with run_agent(Desk()) as run:
        (await run.say("Hi.", "Hi.")).said("hi")
    assert time.monotonic() - began < 60


@in_virtual_time
async def test_the_arguments_of_a_test_are_passed_on(tmp_path: object) -> None:
    assert tmp_path


def test_its_result_is_returned() -> None:
    @in_virtual_time
    async def seven(by: int) -> int:
        await trio.sleep(by)
        return 7 * by

    assert seven(2) == 14


@pytest.mark.behaviour("M24")
async def test_a_tools_thread_takes_no_virtual_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else its turn would be overdue at once, and the server would hang up."""
    async with run_agent(Desk(), patience=10) as run:
        began = trio.current_time()
        turn = await run.say("Count.", Call("count"), "Counted.")

        assert turn.called("count").seconds == 0
        assert trio.current_time() - began < 5
    assert autojump_clock.autojump_threshold == 0


@pytest.mark.behaviour("M24")
async def test_the_clock_jumps_again_after_a_thread(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with run_agent(Desk()) as run:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                wait = threading.Event().wait
                nursery.start_soon(trio.to_thread.run_sync, wait, 0.02)
        await run.wait(100)
        assert autojump_clock.autojump_threshold == 0


@pytest.mark.behaviour("M24")
async def test_a_held_clock_stands_still(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As long as anybody holds it."""
    began = trio.current_time()
    ticking = trio.Event()

    async def tick() -> None:
        ticking.set()
        await trio.sleep(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await ticking.wait()
        with hold_clock():
            with hold_clock():
                pass
            wait = threading.Event().wait
            await trio.to_thread.run_sync(wait, 0.05)
            assert trio.current_time() == began
    assert trio.current_time() == began + 5


async def test_another_clock_needs_no_holding() -> None:
    began = trio.current_time()
    with hold_clock():
        await trio.sleep(0.01)
    assert trio.current_time() > began


async def test_a_conversation_may_take_real_time() -> None:
    async with run_agent(Desk()) as run:
        (await run.write("Hi.", "Hi.")).said("hi")


async def test_a_clock_that_stands_still_is_refused(
    mock_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(RuntimeError, match="this test's clock stands still"):
        async with run_agent(Desk()):
            pytest.fail("the block has begun")
