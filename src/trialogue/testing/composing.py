"""Runs the brains that are coroutines, each beside the response that it makes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, nullcontext
from typing import Any, cast

import attrs
import trio

from trialogue.testing.live_reply import LiveReply
from trialogue.testing.script import AsyncReply, Brain, Reply, Turn, is_async, parts_of

__all__ = ["Composer"]


@attrs.define(eq=False, repr=False)
class Composer:
    """One connection's brain: what it does asynchronously becomes a `LiveReply`.

    A coroutine runs in the nursery of its connection, and is cancelled when its
    response or the connection is over. What it raises ends the server, as what any
    brain raises does.
    """

    _brain: Brain
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _wake: Callable[[], None] | None = attrs.field(default=None, init=False)

    def __repr__(self) -> str:
        return f"<Composer {self._brain!r}>"

    def attach(self, nursery: trio.Nursery, wake: Callable[[], None]) -> None:
        """Run in that nursery, and call `wake` when the machine has something to do."""
        self._nursery, self._wake = nursery, wake

    def __call__(self, turn: Turn) -> Reply | LiveReply:
        """Ask the brain."""
        reply = self._brain(turn)
        if not is_async(reply):
            return cast("Reply", reply)
        assert self._nursery is not None
        composing = _Composing(reply, self._woken)
        self._nursery.start_soon(composing.run)
        return composing.live

    def _woken(self) -> None:
        assert self._wake is not None
        self._wake()


@attrs.define(eq=False)
class _Composing:
    """One response being made by a coroutine, or by an asynchronous iterator."""

    _reply: AsyncReply
    _wake: Callable[[], None]
    live: LiveReply = attrs.field(init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.live = LiveReply(self._want, self._over)

    def _want(self) -> None:
        self._wanted.set()

    def _over(self) -> None:
        self._scope.cancel(reason="the response is over")

    async def run(self) -> None:
        with self._scope:
            if isinstance(self._reply, Awaitable):
                for part in parts_of(await self._reply):
                    self.live.add(part, trio.current_time())
            else:
                await self._iterate(self._reply)
        self.live.finish(trio.current_time())
        self._wake()

    async def _iterate(self, parts: AsyncIterator[Any]) -> None:
        own = aclosing(parts) if isinstance(parts, AsyncGenerator) else nullcontext()
        async with own:
            async for part in parts:
                self._wanted = trio.Event()
                self.live.add(part, trio.current_time())
                self._wake()
                await self._wanted.wait()
