"""One layer of grouping comes off, and nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def fail_with(error: BaseException) -> None:
    # Shielded, so that the first to fail does not turn the others into cancellations.
    await trio.lowlevel.cancel_shielded_checkpoint()
    raise error


async def owned(*errors: BaseException) -> None:
    """An owned nursery in which these are raised, each by a task."""
    with single():
        async with trio.open_nursery() as nursery:
            for error in errors:
                nursery.start_soon(fail_with, error)


async def waiting_in_a_nursery() -> None:
    """Cancelled, this raises a group of nothing but cancellations."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(trio.sleep_forever)


async def cancel_once_all_wait(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        ExceptionGroup("mine", [ValueError("one")]),
        ExceptionGroup("mine", [ValueError("one"), KeyError("two")]),
        ExceptionGroup("mine", [ExceptionGroup("inner", [ValueError("one")])]),
        KeyboardInterrupt(),
    ],
    ids=["alone", "group of one", "group of two", "nested groups", "interrupt"],
)
async def test_one_error_leaves_as_it_was_raised(error: BaseException) -> None:
    """The same object; a group that user code made keeps every layer of its own."""
    with pytest.raises(type(error)) as caught:
        await owned(error)
    assert shape(caught.value) == shape(error)


def shape(error: BaseException) -> object:
    """The error itself; a group, which Trio copies in passing, as its layers."""
    if isinstance(error, BaseExceptionGroup):
        return type(error), error.message, [shape(inner) for inner in error.exceptions]
    return error


async def test_context_and_cause_are_the_errors_own() -> None:
    """The group that was peeled off appears nowhere in the traceback's chain."""
    cause, context = KeyError("cause"), OSError("context")
    error = ValueError("mine")
    error.__cause__, error.__context__ = cause, context
    with pytest.raises(ValueError, match="mine"):
        await owned(error)
    assert error.__cause__ is cause
    assert error.__context__ is context
    with pytest.raises(ValueError, match="plain") as caught:
        await owned(ValueError("plain"))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


async def test_two_errors_stay_a_group_of_one_layer() -> None:
    with pytest.RaisesGroup(ValueError, KeyError):
        await owned(ValueError("one"), KeyError("two"))


async def test_only_one_layer_comes_off() -> None:
    async def with_a_nursery_of_its_own() -> None:
        # A nursery of one task: it is the group it raises that matters.
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112
            nursery.start_soon(fail_with, ValueError("deep"))

    with pytest.RaisesGroup(ValueError):
        await owning(with_a_nursery_of_its_own)


async def fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("while leaving")


async def owning(*tasks: Callable[[], Awaitable[None]]) -> None:
    """An owned nursery with these tasks, and a body that waits for ever."""
    with single():
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)
            await trio.sleep_forever()


async def fail_once_all_wait() -> None:
    await trio.testing.wait_all_tasks_blocked()
    raise ValueError("while leaving")


async def test_error_supersedes_the_cancellations_beside_it() -> None:
    """Whichever way they come: alone, or grouped by a nursery further in."""
    with pytest.raises(ValueError, match="while leaving"):
        await owning(trio.sleep_forever, waiting_in_a_nursery, fail_once_all_wait)


async def test_error_supersedes_a_cancellation_from_outside() -> None:
    scope = trio.CancelScope()

    async def under_the_scope() -> None:
        with scope:
            await owning(fail_when_cancelled, waiting_in_a_nursery)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_once_all_wait, scope)
        with pytest.raises(ValueError, match="while leaving"):
            await under_the_scope()


async def test_nothing_but_cancellations_reach_their_scope() -> None:
    """A swallowed or renamed cancellation would let the code behind it run on."""
    scope, ran_on = trio.CancelScope(), list[bool]()

    async def under_the_scope() -> None:
        with scope:
            await owning(trio.sleep_forever, waiting_in_a_nursery)
            ran_on.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_once_all_wait, scope)
        await under_the_scope()
    assert scope.cancelled_caught
    assert ran_on == []


async def test_without_an_error_nothing_happens() -> None:
    with single():
        # A nursery of one task: it is its end without a group that matters.
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112
            nursery.start_soon(trio.lowlevel.checkpoint)


async def test_error_that_no_nursery_grouped_passes_as_it_is() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, single():
        raise error
    assert caught.value is error
