"""What clients dial where nobody is to listen for a while: it refuses, as TCP does."""

from __future__ import annotations

from functools import partial

import trio

__all__ = ["Relay"]


class Relay:
    """Passes bytes between its own port and another one; closes its own for a while."""

    def __init__(self) -> None:
        self._pauses, self._wanted = trio.open_memory_channel[float](10)
        self._listening = trio.CancelScope()

    def pause(self, seconds: float) -> None:
        """Refuse connections for so long; those that there are stay."""
        self._pauses.send_nowait(seconds)
        self._listening.cancel()

    async def run(  # noqa: ASYNC114 - started in one place, with start()
        self,
        target: int,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Relay until cancelled; gives the port to dial instead."""
        port, told = 0, False
        serve = partial(_serve, target)
        async with trio.open_nursery() as nursery:
            while True:
                listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
                port = listeners[0].socket.getsockname()[1]
                if not told:
                    task_status.started(port)
                    told = True
                with trio.CancelScope() as self._listening:
                    # What was accepted outlives the time in which nobody listens.
                    await trio.serve_listeners(
                        serve, listeners, handler_nursery=nursery
                    )
                await trio.sleep(self._wanted.receive_nowait())


async def _serve(target: int, near: trio.SocketStream) -> None:
    async with (
        await trio.open_tcp_stream("127.0.0.1", target) as far,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_copy, near, far, nursery.cancel_scope)
        nursery.start_soon(_copy, far, near, nursery.cancel_scope)


async def _copy(
    source: trio.SocketStream, sink: trio.SocketStream, over: trio.CancelScope
) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    over.cancel()
