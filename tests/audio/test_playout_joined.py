"""The playout hands over several pieces at once: what is heard of each stays true."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trialogue.audio import Heard, Interrupted, MemoryOutput, Playout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MS = 24
"""Samples."""


def tone(ms: int, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * (ms * MS)


class Watched(MemoryOutput):
    """Says how much each write handed over, in ms, and how often it was waited for."""

    def __init__(self, *, buffer_ms: int = 200) -> None:
        super().__init__(buffer_seconds=buffer_ms / 1000)
        self.writes: list[int] = []
        self.waits = 0

    async def write(self, pcm: bytes) -> None:
        self.writes.append(len(pcm) // 2 // MS)
        await super().write(pcm)

    async def wait_played(self, position: int) -> None:
        self.waits += 1
        await super().wait_played(position)


@asynccontextmanager
async def running(playout: Playout) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(playout.run)
        yield
        nursery.cancel_scope.cancel()


async def test_an_empty_sink_is_given_100_ms_at_once_and_a_full_one_20(
    autojump_clock: MockClock,
) -> None:
    output = Watched()
    playout = Playout(output)
    for value in range(1, 31):
        playout.push("reply", "a", tone(10, value))
    async with running(playout):
        await wait_all_tasks_blocked()
        assert output.written - output.played <= 220 * MS
        await playout.wait_idle()
    assert output.writes == [100, *[20] * 10]
    assert output.pcm == b"".join(tone(10, value) for value in range(1, 31))
    assert len(output.runs) == 1


async def test_a_piece_that_is_offered_in_two_parts_is_whole(
    autojump_clock: MockClock,
) -> None:
    output = Watched()
    playout = Playout(output)
    playout.push("reply", "a", tone(60, 1))
    playout.push("reply", "a", tone(70, 2))
    playout.end_item("a")
    async with running(playout):
        await wait_all_tasks_blocked()
        assert output.writes == [100, 20, 10], "the second piece is cut at 40 and 60 ms"
        await trio.sleep(0.11)
        assert playout.interrupt() == [Interrupted("reply", "a", 110, 130, "playing")]
    assert output.pcm == tone(60, 1) + tone(50, 2)


async def test_each_item_of_one_write_is_told_of_when_it_is_heard(
    autojump_clock: MockClock,
) -> None:
    output = Watched()
    start = trio.current_time()
    told: list[tuple[str, str, float]] = []

    def tell(what: str, item_id: str) -> None:
        told.append((what, item_id, trio.current_time() - start))

    playout = Playout(
        output,
        on_started=lambda item_id: tell("started", item_id),
        on_finished=lambda item_id: tell("finished", item_id),
    )
    for value, item_id in enumerate("abc", 1):
        playout.push(value, item_id, tone(30, value))
        playout.end_item(item_id)
    async with running(playout):
        await trio.sleep(0.045)
        assert output.writes == [90]
        assert [playout.position(i).ms for i in "abc"] == [30, 15, 0]
        await playout.wait_idle()
        await wait_all_tasks_blocked()
    assert [(what, item_id) for what, item_id, _ in told] == [
        (what, item_id) for item_id in "abc" for what in ("started", "finished")
    ]
    assert [at for _, _, at in told] == pytest.approx(
        [0, 0.03, 0.03, 0.06, 0.06, 0.09], abs=1e-4
    )


@pytest.mark.behaviour("U3")
@pytest.mark.parametrize("dropped", ["b", "c", "d"])
async def test_an_item_in_the_middle_of_a_write_that_waits_is_dropped_alone(
    autojump_clock: MockClock, dropped: str
) -> None:
    """Or behind it; the rest of that write is heard, once."""
    output = Watched(buffer_ms=40)
    playout = Playout(output)
    playout.push("reply", "a", tone(60, 1))
    async with running(playout):
        await wait_all_tasks_blocked()
        for value, item_id in enumerate("bcde", 2):
            playout.push("reply", item_id, tone(30, value))
        await wait_all_tasks_blocked()
        assert output.writes == [60, 100]
        await trio.sleep(0.01)
        assert playout.discard(dropped) == Heard(0, complete=False)
        await playout.wait_idle()
    rest = [tone(30, n) for n, item_id in enumerate("bcde", 2) if item_id != dropped]
    assert output.pcm == tone(60, 1) + b"".join(rest)
    assert len(output.runs) == 1


@pytest.mark.behaviour("U4")
async def test_what_is_spared_in_the_middle_of_a_write_that_waits_is_heard(
    autojump_clock: MockClock,
) -> None:
    output = Watched(buffer_ms=40)
    playout = Playout(output)
    playout.push("reply", "a", tone(60, 1))
    async with running(playout):
        await wait_all_tasks_blocked()
        for value, item_id in enumerate("bcd", 2):
            playout.push("reply", item_id, tone(30, value))
        await trio.sleep(0.01)
        assert output.writes == [60, 90]
        report = playout.interrupt(spare={"c"})
        assert [(one.item_id, one.heard_ms) for one in report] == [
            ("a", 10),
            ("b", 0),
            ("d", 0),
        ]
        await playout.wait_idle()
    assert output.pcm == tone(10, 1) + tone(30, 3)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.02, 0.03])
async def test_a_cancelled_write_of_several_pieces_loses_and_doubles_nothing(
    autojump_clock: MockClock, after: float
) -> None:
    """Cancelled before it is offered, while the sink has no room, or when it has."""
    output = Watched(buffer_ms=40)
    playout = Playout(output)
    playout.push("reply", "first", tone(60, 9))
    async with running(playout):
        await wait_all_tasks_blocked()
    for value in range(1, 9):
        playout.push("reply", f"item {value // 2}", tone(30, value))
    with trio.move_on_after(after):
        await playout.run()
    assert output.writes[1:2] == ([100] if after else [])
    assert playout.pending_seconds + output.played / 24_000 == pytest.approx(0.3)
    async with running(playout):
        await playout.wait_idle()
    rest = b"".join(tone(30, value) for value in range(1, 9))
    assert output.pcm == tone(60, 9) + rest


@pytest.mark.behaviour("A4")
async def test_room_is_counted_for_each_reply_of_one_write(
    autojump_clock: MockClock,
) -> None:
    playout = Playout(
        Watched(buffer_ms=0), max_seconds_per_reply=0.05, max_seconds=0.08
    )
    assert playout.push(1, "a", tone(50))
    assert playout.push(2, "b", tone(30))
    assert not playout.push(3, "c", tone(1))
    async with running(playout):
        await wait_all_tasks_blocked()
        assert playout.push(1, "a", tone(50)), "both have left the queue"
        assert playout.push(2, "b", tone(30))
        await playout.wait_idle()
    assert playout.position("a").ms == 100
    assert playout.position("b").ms == 60


async def test_speech_that_goes_on_wakes_nobody_who_would_see_nothing_new(
    autojump_clock: MockClock,
) -> None:
    """The sink's position is waited for where an item begins and where it ends."""
    output = Watched()
    playout = Playout(output)
    async with running(playout):
        for _ in range(100):
            playout.push("reply", "a", tone(20))
            await trio.sleep(0.02)
        assert output.waits == 1
        playout.push("reply", "a", tone(20))
        playout.end_item("a")
        assert await playout.wait_item("a") == Heard(2020, complete=True)
    assert output.waits == 2


async def test_waiting_to_be_idle_ends_with_the_sound_though_nobody_ends_the_item(
    autojump_clock: MockClock,
) -> None:
    playout = Playout(Watched())
    async with running(playout):
        playout.push("reply", "a", tone(500))
        await trio.sleep(0.4)
        await playout.wait_idle()
        assert playout.position("a") == Heard(500, complete=False)
        playout.push("reply", "a", tone(500))
        with trio.fail_after(0.501):
            await playout.wait_idle()


async def test_an_item_that_ends_late_is_over_then_and_not_after_the_next_one(
    autojump_clock: MockClock,
) -> None:
    finished: list[tuple[str, float]] = []
    start = trio.current_time()
    playout = Playout(
        Watched(buffer_ms=1000),
        on_finished=lambda id_: finished.append((id_, trio.current_time() - start)),
    )
    async with running(playout):
        playout.push(1, "a", tone(20))
        playout.push(2, "b", tone(980))
        playout.end_item("b")
        await trio.sleep(0.5)
        playout.end_item("a")
        await playout.wait_item("b")
        await wait_all_tasks_blocked()
    assert [item_id for item_id, _ in finished] == ["a", "b"]
    assert [at for _, at in finished] == pytest.approx([0.5, 1.0], abs=1e-4)


async def test_somebody_else_clearing_the_output_is_found_out_with_the_next_sound(
    autojump_clock: MockClock,
) -> None:
    output = Watched()
    playout = Playout(output)

    async def clear() -> None:
        await trio.sleep(0.05)
        output.clear()
        await trio.sleep(5)
        playout.push("reply", "a", tone(100))

    playout.push("reply", "a", tone(100))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clear)
        with pytest.raises(RuntimeError, match="not the output"):
            await playout.run()
    assert trio.current_time() >= 5
