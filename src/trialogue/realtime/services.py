"""A nursery for the tasks that must still work while the program is being cancelled.

A plain nursery would be cancelled together with the block around it, and nobody would
be left to send the farewell. Here the services live in a shielded child and are
cancelled last, after a farewell that has a bounded allowance.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast, final

import trio

from trialogue.errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["open_services"]


@asynccontextmanager
async def open_services(
    farewell: Callable[[], Awaitable[None]], *, allowance: float
) -> AsyncIterator[trio.Nursery]:
    """Open a nursery that an outer cancellation does not reach.

    When the block is left, in any way, `farewell()` runs for at most `allowance`
    seconds, shielded, while the services still work. Then they are cancelled and
    awaited.

    If a service raises, its siblings, the block and the farewell are cancelled. What
    leaves the block is then one of these, never a group of the nurseries made here:

    - the block's own exception, as the same object, if there is one;
    - else the ConnectionLost that a service raised (once leaving has begun, it is
      passed over: it is what leaving looks like to a service);
    - else, for anything but ConnectionLost, the group of what the services raised: a
      bug in a service. It takes the block's own exception along.
    """
    services = _Services()
    async with trio.open_nursery() as outer:
        with services:
            outer.start_soon(services.host, outer.cancel_scope)
            await services.ready.wait()
            try:
                yield services.nursery
            finally:
                services.leaving = True
                with trio.move_on_after(allowance, shield=True), services.farewell:
                    await farewell()
        services.shelter.cancel()
    services.conclude()


@final
class _Services:
    """The shielded host of the services, and what they and the block raised.

    As a context manager it carries the block's exception past the outer nursery, which
    would wrap it in a group; `conclude` raises it again.
    """

    nursery: trio.Nursery

    def __init__(self) -> None:
        self.ready = trio.Event()
        self.shelter = trio.CancelScope(shield=True)
        self.farewell = trio.CancelScope()
        self.leaving = False
        self.raised: BaseException | None = None
        self.failure: ConnectionLost | BaseExceptionGroup[Any] | None = None

    async def host(self, block: trio.CancelScope) -> None:
        try:
            with self.shelter:
                async with trio.open_nursery() as self.nursery:
                    self.ready.set()
                    await trio.sleep_forever()
        except BaseExceptionGroup as group:
            lost = _only_lost(group)
            if lost is None or not self.leaving:
                self.failure = lost or group
            self.farewell.cancel()
            block.cancel()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> bool:
        self.raised = exc
        return True

    def conclude(self) -> None:
        """Raise what leaves the block, if anything does."""
        verdict = _verdict(self.raised, self.failure)
        self.raised = self.failure = None
        try:
            if verdict is not None:
                raise verdict
        finally:
            del verdict  # or its traceback would refer to a frame that refers to it


def _verdict(
    raised: BaseException | None,
    failure: ConnectionLost | BaseExceptionGroup[Any] | None,
) -> BaseException | None:
    if failure is None:
        return raised
    mine = _without_cancelled(raised)  # the failure cancelled the block
    if mine is None:
        failure.__suppress_context__ = True
        return failure
    if isinstance(failure, ConnectionLost):
        return mine
    message = "the block failed, and so did a service"
    return BaseExceptionGroup(message, [mine, *failure.exceptions])


def _only_lost(group: BaseExceptionGroup[Any]) -> ConnectionLost | None:
    """The first ConnectionLost of a group that holds nothing else."""
    if group.split(ConnectionLost)[1] is not None:
        return None
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return cast("ConnectionLost", leaf)


def _without_cancelled(exc: BaseException | None) -> BaseException | None:
    if isinstance(exc, trio.Cancelled):
        return None
    if isinstance(exc, BaseExceptionGroup):
        cancelled, rest = exc.split(trio.Cancelled)
        return exc if cancelled is None else rest
    return exc
