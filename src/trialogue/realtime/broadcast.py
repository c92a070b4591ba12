"""Events for whoever subscribes, without ever making the reader wait."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import trio

from trialogue.errors import ConfigurationError, SubscriberLagged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["Broadcast", "OnlyByName", "Subscription"]

T = TypeVar("T")


class OnlyByName:
    """Base of events that go only to subscriptions which name their very class."""

    __slots__ = ()


class Subscription(Generic[T]):
    """One subscriber's bounded view of the events; iterate over it.

    Attributes:
        missed: how many events were dropped because the buffer was full; with
            `on_overflow="raise"`, since the last `SubscriberLagged`.
        total_missed: how many were dropped altogether.
    """

    def __init__(self, kinds: tuple[type[T], ...], limit: int, *, strict: bool) -> None:
        self.missed = 0
        self.total_missed = 0
        self._kinds = kinds
        self._limit = limit
        self._strict = strict
        self._events: deque[T] = deque()
        self._arrived = trio.Event()
        self._closed = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the kinds of events it receives."""
        return tuple(kind.__name__ for kind in self._kinds)

    @property
    def unread(self) -> int:
        """How many events wait to be received."""
        return len(self._events)

    def __aiter__(self) -> Subscription[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def receive_nowait(self) -> T:
        """Return the next event or raise `trio.WouldBlock`."""
        if self._strict and self.missed:
            missed, self.missed = self.missed, 0
            msg = f"this subscriber missed {missed} events; its buffer is {self._limit}"
            raise SubscriberLagged(msg, missed=missed)
        if not self._events:
            raise trio.WouldBlock
        return self._events.popleft()

    async def receive(self) -> T:
        """Wait for the next event. Cancelling loses nothing.

        Raises:
            SubscriberLagged: with `on_overflow="raise"`, events were missed.
            trio.EndOfChannel: the session has ended, or the block of the subscription,
                and everything was delivered.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                event = self.receive_nowait()
            except trio.WouldBlock:
                if self._closed:
                    raise trio.EndOfChannel from None
                await self._arrived.wait()
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return event

    def wants(self, kind: type[Any]) -> bool:
        """Whether events of this class are delivered here."""
        if issubclass(kind, OnlyByName):
            return kind in self._kinds
        return issubclass(kind, self._kinds)

    def _offer(self, event: Any) -> bool:
        """Take an event if it is of its kinds; False if another was dropped for it."""
        if not self.wants(type(event)):
            return True
        self._events.append(event)
        full = len(self._events) > self._limit
        if full:
            self._events.popleft()
            self.missed += 1
            self.total_missed += 1
        self._wake()
        return not full

    def _close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, trio.Event()
        arrived.set()


class Broadcast:
    """Hands each published event to every subscriber that wants its kind.

    Attributes:
        missed: how many events subscribers have missed, those that left included.
    """

    def __init__(
        self, on_missed: Callable[[Subscription[Any]], None] | None = None
    ) -> None:
        self.missed = 0
        self._on_missed = on_missed
        self._subscriptions: list[Subscription[Any]] = []
        self._closed = False

    def __iter__(self) -> Iterator[Subscription[Any]]:
        return iter(self._subscriptions)

    def wants(self, kind: type[Any]) -> bool:
        """Whether anybody is given events of this class."""
        for subscription in self._subscriptions:  # noqa: SIM110 - for each frame
            if subscription.wants(kind):
                return True
        return False

    def publish(self, event: object) -> None:
        """Give an event to the subscribers; synchronous, never blocks."""
        for subscription in self._subscriptions:
            if not subscription._offer(event):
                self.missed += 1
                if self._on_missed is not None:
                    self._on_missed(subscription)

    def close(self) -> None:
        """The session has ended: subscribers get what is buffered, then the end."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription._close()

    @asynccontextmanager
    async def subscribe(
        self,
        *kinds: type[Any],
        buffer: int = 256,
        on_overflow: Literal["drop_oldest", "raise"] = "drop_oldest",
    ) -> AsyncIterator[Subscription[Any]]:
        """Receive events of these kinds (all, if none is named) inside the block.

        Raises:
            ConfigurationError: `buffer` has no room for an event.
        """
        if buffer < 1:
            msg = f"a subscription's buffer holds at least 1 event, not {buffer}"
            raise ConfigurationError(msg)
        strict = on_overflow == "raise"
        subscription = Subscription[Any](kinds or (object,), buffer, strict=strict)
        if self._closed:
            subscription._close()
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            subscription._close()
