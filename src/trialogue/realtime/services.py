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
    raised: BaseException | None = None
    async with trio.open_nursery() as outer:
        try:
            nursery = await outer.start(services.host, outer.cancel_scope)
            try:
                yield nursery
            finally:
                services.leaving = True
                with trio.move_on_after(allowance, shield=True), services.farewell:
                    await farewell()
        except BaseException as exc:
            raised = exc  # carried past the nursery, which would wrap it in a group
        finally:
            services.shelter.cancel()
            # Nothing is left to wait for but the services, which are being cancelled;
            # unshielded, an outer cancellation would add a group of its own.
            outer.cancel_scope.shield = True
    try:
        services.conclude(raised)
    finally:
        del raised  # a traceback that refers to its own frame is a cycle


@final
class _Services:
    def __init__(self) -> None:
        self.shelter = trio.CancelScope(shield=True)
        self.farewell = trio.CancelScope()
        self.leaving = False
        self.failure: ConnectionLost | BaseExceptionGroup[Any] | None = None

    async def host(
        self,
        block: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[trio.Nursery],
    ) -> None:
        # NB: a cancelled start() waits for its child, which is about to be shielded.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            with self.shelter:
                async with trio.open_nursery() as nursery:
                    task_status.started(nursery)
                    await trio.sleep_forever()
        except BaseExceptionGroup as group:
            lost = _only_lost(group)
            if lost is None or not self.leaving:
                self.failure = lost or group
            self.farewell.cancel()
            block.cancel()

    def conclude(self, raised: BaseException | None) -> None:
        """Raise what leaves the block, if anything does."""
        failure = self.failure
        if failure is None:
            if raised is not None:
                raise raised
            return
        mine = _without_cancelled(raised)  # the failure cancelled the block
        if mine is None:
            raise failure from failure.__cause__
        if isinstance(failure, ConnectionLost):
            raise mine
        message = "the block failed, and so did a service"
        raise BaseExceptionGroup(message, [mine, *failure.exceptions])


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
