"""When a peer is pinged, and how long its answer is waited for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import trio

from trialogue.realtime.connection import Timing
from trialogue.realtime.heartbeat import Heartbeat

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trialogue.realtime.link import Link

TIMING = Timing()


class Peer:
    """Answers pings after some seconds each; the last of them is meant for the rest."""

    def __init__(self, *delays: float) -> None:
        self.delays = list(delays)
        self.pinged: list[float] = []

    async def ping(self) -> None:
        self.pinged.append(trio.current_time())
        await trio.sleep(self.delays.pop(0) if self.delays[1:] else self.delays[0])

    @property
    def link(self) -> Link:
        return cast("Link", self)


async def test_a_peer_that_owes_nothing_is_pinged_now_and_then(
    autojump_clock: MockClock,
) -> None:
    heart, peer = Heartbeat(TIMING), Peer(0.0)
    for _ in range(3):
        assert await heart.beat(peer.link)
    every = TIMING.ping_every
    assert peer.pinged == [every, 2 * every, 3 * every]


async def test_a_peer_that_owes_something_is_pinged_at_once_and_hurried(
    autojump_clock: MockClock,
) -> None:
    heart, peer = Heartbeat(TIMING), Peer(math.inf)
    async with trio.open_nursery() as nursery:

        async def beat() -> None:
            assert not await heart.beat(peer.link)

        nursery.start_soon(beat)
        await trio.sleep(2)
        assert heart.due(math.inf) == math.inf
        assert heart.due(1.9) == 1.9 + TIMING.quiet
        heart.doubt(trio.current_time(), 0)
        assert heart.due(1.9) == math.inf
    assert peer.pinged == [2]
    assert trio.current_time() == 2 + TIMING.pong_owed


async def test_who_sends_anything_is_there(autojump_clock: MockClock) -> None:
    """The pong waits behind much else; the next doubt asks anew."""
    heart, peer = Heartbeat(TIMING), Peer(math.inf, 0.0)
    async with trio.open_nursery() as nursery:

        async def beat() -> None:
            assert await heart.beat(peer.link)

        nursery.start_soon(beat)
        await trio.sleep(2)
        heart.doubt(trio.current_time(), 0)
        await trio.sleep(1)
        heart.heard_at = trio.current_time()
        await trio.sleep(1)
        assert heart.due(2.0) == 3 + TIMING.quiet
        heart.doubt(trio.current_time(), 0)
    assert peer.pinged == [2, 4]


async def test_what_was_sent_before_a_ping_has_its_time(
    autojump_clock: MockClock,
) -> None:
    """A second for each 125 000 bytes, and never more than an unhurried ping has."""
    for size, seconds in ((250_000, 2 + TIMING.pong_owed), (10**9, TIMING.pong)):
        heart, peer = Heartbeat(TIMING), Peer(math.inf)
        began = trio.current_time()
        heart.doubt(began, size)
        assert not await heart.beat(peer.link)
        assert trio.current_time() - began == seconds


async def test_a_program_that_had_no_time_itself_asks_again(
    autojump_clock: MockClock,
) -> None:
    """It was held up for seconds: the pong may lie there, unread."""

    class HeldUp(Peer):
        async def ping(self) -> None:
            await super().ping()
            if len(self.pinged) == 1:
                autojump_clock.jump(5)
                await trio.sleep(0.5)

    heart, peer = Heartbeat(TIMING), HeldUp(0.0)
    heart.doubt(trio.current_time(), 0)
    assert await heart.beat(peer.link)
    assert len(peer.pinged) == 2
