"""The distance between a client and the local server, in time."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import trio

from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from random import Random

    from trialogue.testing.alarms import Alarms

__all__ = ["DelayLine", "Network", "Way"]

T = TypeVar("T")

#: Frames under way in one direction; more means a peer that does not read.
CAPACITY: Final = 20_000


def _at_least(least: float) -> Any:
    def check(network: object, field: attrs.Attribute[float], value: float) -> None:
        if not least <= value < math.inf:
            msg = f"{field.name} is a number from {least:g}, not {value!r}"
            raise ConfigurationError(msg)

    return check


@attrs.frozen
class Network:
    """How far away the server is, and what connecting costs.

    All of it is spent on the server's side, so it is the same over memory and over TCP:
    each frame is processed `one_way` seconds after it arrived and written `one_way`
    seconds after it was made, in order. From dialling to the arrival of the first event
    it takes `connect_round_trips` round trips of 2 * `one_way`: the last is that of the
    upgrade request and its answer, which `session.created` accompanies; the others,
    TCP and TLS in reality, are waited for before the request is looked at.

    Attributes:
        one_way: seconds.
        connect_round_trips: 1 or more.
        jitter: seconds that a frame takes longer than `one_way` at most. Each takes a
            part of it, by the server's seed; none overtakes another, as over TCP.

    Raises:
        ConfigurationError: one of them is negative, no number, or without end.
    """

    one_way: float = attrs.field(default=0.0, validator=_at_least(0))
    connect_round_trips: float = attrs.field(default=3, validator=_at_least(1))
    jitter: float = attrs.field(default=0.0, validator=_at_least(0))

    @property
    def round_trip(self) -> float:
        """Seconds there and back."""
        return 2 * self.one_way


class Way:
    """One direction of the network: when what is sent now arrives, in order."""

    def __init__(self, network: Network, random: Random) -> None:
        self._network = network
        self._random = random
        self._last = -math.inf

    def arrival(self) -> float:
        """Return when what is sent now arrives: not before what was sent before it."""
        lag = self._network.one_way
        if self._network.jitter:
            lag += self._random.uniform(0, self._network.jitter)
        self._last = max(self._last, trio.current_time() + lag)
        return self._last


class DelayLine(Generic[T]):
    """What is under way: put in with the time of arrival, taken out in that order.

    One task may wait for it. It is woken by the alarms given.
    """

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._heap: list[tuple[float, int, T]] = []
        self._count = itertools.count()
        self._waiting = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def full(self) -> bool:
        """Whether as much is under way as there may be."""
        return len(self._heap) >= CAPACITY

    def put(self, item: T, due: float) -> None:
        """Send something that arrives at that time; equal times keep their order."""
        heapq.heappush(self._heap, (due, next(self._count), item))
        self.wake()

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self._waiting:
            self._waiting.unpark_all()

    def first(self) -> T | None:
        """Return what has arrived first, which stays, or None."""
        if self._heap and self._heap[0][0] <= trio.current_time():
            return self._heap[0][2]
        return None

    def take(self) -> T | None:
        """Return what has arrived first, or None."""
        if self._heap and self._heap[0][0] <= trio.current_time():
            return heapq.heappop(self._heap)[2]
        return None

    async def wait(self, deadline: float = math.inf) -> None:
        """Wait until something has arrived, or the deadline, or `wake`."""
        due = min(self._heap[0][0] if self._heap else math.inf, deadline)
        if due == math.inf:
            await self._waiting.park()
        elif due <= trio.current_time():
            await trio.lowlevel.checkpoint()
        else:
            alarm = self._alarms.at(due, self.wake)
            try:
                await self._waiting.park()
            finally:
                alarm.cancel()
