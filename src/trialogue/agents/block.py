"""The block of an agent session: what runs beside the agents, and the way out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVarTuple

import trio

from trialogue.agents.pumps import listen
from trialogue.errors import SessionClosed
from trialogue.realtime.opening import running_session
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trialogue.agents.ending import Ending
    from trialogue.agents.presence import Presence
    from trialogue.agents.running import Running
    from trialogue.agents.stalling import Emptying
    from trialogue.agents.tool_sets import ToolSets
    from trialogue.agents.user_turns import UserTurns
    from trialogue.audio.base import AudioInput, AudioOutput
    from trialogue.audio.playout import Playout
    from trialogue.realtime.session import RealtimeSession

__all__ = ["Block", "owned"]

Arguments = TypeVarTuple("Arguments")
DEVICE = 1.0
"""Seconds in which an audio device has to be closed."""


class Block:
    """Owns the nursery that outlives every agent and ends with the session."""

    def __init__(
        self,
        realtime: RealtimeSession,
        playout: Playout,
        running: Running,
        turns: UserTurns,
        presence: Presence,
        emptying: Emptying,
        ending: Ending,
        tool_sets: ToolSets,
    ) -> None:
        self._realtime = realtime
        self._playout = playout
        self._running = running
        self._turns = turns
        self._presence = presence
        self._emptying = emptying
        self._ending = ending
        self._tool_sets = tool_sets
        self._nursery: trio.Nursery | None = None
        self._left = False

    @property
    def nursery(self) -> trio.Nursery:
        """For work that outlives a handoff.

        Raises:
            SessionClosed: the block has been left.
        """
        if self._nursery is None:
            msg = "this session's block has been left; open another session"
            raise SessionClosed(msg)
        return self._nursery

    @property
    def open(self) -> bool:
        """Whether there is a nursery to start something in."""
        return self._nursery is not None and not self._left

    @property
    def tasks(self) -> frozenset[trio.lowlevel.Task]:
        """What is in the nursery, also while it ends."""
        return frozenset() if self._nursery is None else self._nursery.child_tasks

    def start_if_open(
        self,
        work: Callable[[*Arguments], Awaitable[object]],
        *args: *Arguments,
    ) -> None:
        """Start what nobody misses once the block has been left."""
        # NB: the nursery takes no more from the step in which its body and its last
        # task have ended, which is before whoever holds it goes on.
        if self._nursery is not None and not self._left:
            self._nursery.start_soon(work, *args)

    @asynccontextmanager
    async def around(self, source: AudioInput | None) -> AsyncIterator[None]:
        """Run the pumps around a block."""
        close = self._realtime.timing.close
        async with (
            self._tool_sets.around(),
            running_session(self._realtime),
            self._open() as nursery,
        ):
            nursery.start_soon(self._playout.run, name="playout")
            nursery.start_soon(self._presence.watch, name="presence")
            nursery.start_soon(self._emptying.watch, name="emptying")
            if source is not None:
                nursery.start_soon(
                    listen,
                    self._realtime,
                    source,
                    self._turns,
                    self._ending,
                    name="input",
                )
            try:
                yield
            finally:
                self._running.stop("session block left")
                with trio.move_on_after(close, shield=True):
                    await self._running.wait_stopped()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[trio.Nursery]:
        """Hold the nursery; what is left in it ends with the block."""
        try:
            with single():
                async with trio.open_nursery() as self._nursery:
                    try:
                        yield self._nursery
                        self._nursery.cancel_scope.cancel(reason="session block left")
                    finally:
                        self._left = True
        finally:
            self._nursery = None
            # Whoever may use a tool set has ended; it is closed while the server is
            # said goodbye to, in the same allowance.
            self._tool_sets.close_soon(self._realtime.timing.close)
            self._playout.interrupt()  # whoever waits to hear the end need not


@asynccontextmanager
async def owned(source: AudioInput | None, output: AudioOutput) -> AsyncIterator[None]:
    """Close the devices behind a block, also where no session could be opened in it."""
    try:
        yield
    finally:
        try:
            with trio.move_on_after(DEVICE, shield=True):
                await _close(source)
        finally:  # one that cannot be closed does not keep the other open
            with trio.move_on_after(DEVICE, shield=True):
                await _close(output)


async def _close(device: AudioInput | AudioOutput | None) -> None:
    if device is not None:
        await device.aclose()
