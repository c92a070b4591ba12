"""The playout: what it plays, what it says was heard, and how it stops."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trialogue.audio import (
    AudioRefused,
    Heard,
    Interrupted,
    MemoryOutput,
    NullOutput,
    Playout,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SECOND = 24_000


def tone(seconds: float, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * round(seconds * SECOND)


@asynccontextmanager
async def running(playout: Playout) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(playout.run)
        yield nursery
        nursery.cancel_scope.cancel()


class Loudspeaker:
    """An output whose sound card is moved by the test."""

    def __init__(self, buffer: int = 4_800) -> None:
        self.buffer = buffer
        self.sound = bytearray()
        self.played = 0
        self._clears = 0
        self._event = trio.Event()

    @property
    def written(self) -> int:
        return len(self.sound) // 2

    def play(self, samples: int) -> None:
        self.played = min(self.played + samples, self.written)
        self._pulse()

    async def write(self, pcm: bytes) -> None:
        clears = self._clears
        await trio.lowlevel.checkpoint()
        while self.written - self.played > self.buffer and clears == self._clears:
            await self._event.wait()
        if clears == self._clears:
            self.sound += pcm

    def clear(self) -> None:
        del self.sound[2 * self.played :]
        self._clears += 1
        self._pulse()

    async def wait_played(self, position: int) -> None:
        await trio.lowlevel.checkpoint()
        while self.played < position <= self.written:
            await self._event.wait()

    async def drain(self) -> None:
        await self.wait_played(self.written)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def _pulse(self) -> None:
        event, self._event = self._event, trio.Event()
        event.set()


async def test_items_follow_each_other_without_gap_or_overlap(
    autojump_clock: MockClock,
) -> None:
    output = MemoryOutput()
    playout = Playout(output)
    async with running(playout):
        start = trio.current_time()
        for value in (1, 2, 3):
            assert playout.push("reply", f"item {value}", tone(1, value))
            playout.end_item(f"item {value}")
        assert playout.pending_seconds == 3
        await playout.wait_idle()
        assert trio.current_time() - start == pytest.approx(3)
    (run,) = output.runs
    assert run.pcm == tone(1, 1) + tone(1, 2) + tone(1, 3)
    assert playout.pending_seconds == 0


async def test_the_hooks_tell_when_an_item_is_really_heard(
    autojump_clock: MockClock,
) -> None:
    told: list[tuple[str, str, float]] = []
    start = trio.current_time()
    playout = Playout(
        NullOutput(),
        on_started=lambda id_: told.append(
            ("started", id_, trio.current_time() - start)
        ),
        on_finished=lambda id_: told.append(
            ("finished", id_, trio.current_time() - start)
        ),
    )
    async with running(playout):
        for item_id in ("a", "b"):
            playout.push("reply", item_id, tone(0.5))
            playout.end_item(item_id)
        await playout.wait_idle()
        await playout.wait_item("b")
    assert [(what, item_id) for what, item_id, _ in told] == [
        ("started", "a"),
        ("finished", "a"),
        ("started", "b"),
        ("finished", "b"),
    ]
    assert [at for _, _, at in told] == pytest.approx([0, 0.5, 0.5, 1], abs=1e-4)
    assert playout.first_audio_time("b") == pytest.approx(start + 0.5, abs=1e-4)
    assert playout.first_audio_time("nobody") is None


async def test_an_underrun_within_an_item_is_a_gap_and_not_its_end(
    autojump_clock: MockClock,
) -> None:
    output = MemoryOutput()
    finished: list[str] = []
    playout = Playout(output, on_finished=finished.append)
    async with running(playout):
        playout.push("reply", "a", tone(0.1, 1))
        await trio.sleep(1)
        assert playout.position("a") == Heard(100, complete=False)
        assert (playout.idle, finished) == (True, [])
        playout.push("reply", "a", tone(0.1, 2))
        await trio.sleep(0.05)
        playout.end_item("a")
        assert await playout.wait_item("a") == Heard(200, complete=True)
        await wait_all_tasks_blocked()
    assert finished == ["a"]
    assert [len(run.pcm) for run in output.runs] == [4800, 4800]


async def test_an_item_that_ends_after_its_last_sample_is_finished_then(
    autojump_clock: MockClock,
) -> None:
    finished: list[str] = []
    playout = Playout(NullOutput(), on_finished=finished.append)
    async with running(playout):
        playout.push("reply", "a", tone(0.1))
        await trio.sleep(1)
        playout.end_item("a")
        playout.end_item("never heard of")
        await wait_all_tasks_blocked()
        assert finished == ["a"]


@pytest.mark.behaviour("A3")
async def test_the_position_is_what_the_sink_reports_and_not_the_time_that_passed(
    autojump_clock: MockClock,
) -> None:
    sink = Loudspeaker()
    started: list[str] = []
    playout = Playout(sink, on_started=started.append)
    async with running(playout):
        playout.push("reply", "a", tone(1))
        await trio.sleep(60)
        assert playout.position("a") == Heard(0, complete=False)
        assert (started, playout.first_audio_time("a")) == ([], None)
        sink.play(2_400)
        assert playout.position("a") == Heard(100, complete=False)
        await wait_all_tasks_blocked()
        assert started == ["a"]
        await trio.sleep(60)
        (report,) = playout.interrupt()
        assert (report.heard_ms, report.received_ms) == (100, 1000)


@pytest.mark.behaviour("U3")
async def test_an_interruption_says_what_was_heard_of_each_item(
    autojump_clock: MockClock,
) -> None:
    output = MemoryOutput()
    playout = Playout(output)
    async with running(playout):
        for item_id, seconds in (("a", 0.3), ("b", 0.5), ("c", 0.25)):
            playout.push(7, item_id, tone(seconds))
            playout.end_item(item_id)
        await trio.sleep(0.4567)
        assert playout.interrupt() == [
            Interrupted(7, "b", heard_ms=156, received_ms=500, state="playing"),
            Interrupted(7, "c", heard_ms=0, received_ms=250, state="unheard"),
        ]
        assert playout.idle
        assert playout.interrupt() == []
        await playout.wait_idle()
        await trio.sleep(5)
    assert output.played == 10_960
    assert playout.position("a") == Heard(300, complete=True)
    assert playout.position("b") == Heard(156, complete=False)
    assert playout.position("nobody") == Heard(0, complete=False)


@pytest.mark.behaviour("U3")
async def test_an_item_heard_to_its_last_sample_is_done_and_still_finishes() -> None:
    """The interruption comes between the last sample and the next step of `run`."""
    sink = Loudspeaker()
    finished: list[str] = []
    playout = Playout(sink, on_finished=finished.append)
    async with running(playout):
        playout.push("reply", "a", tone(0.02))
        playout.end_item("a")
        await wait_all_tasks_blocked()
        sink.play(480)
        assert playout.interrupt() == [Interrupted("reply", "a", 20, 20, "done")]
        await wait_all_tasks_blocked()
    assert finished == ["a"]


async def test_what_was_interrupted_takes_no_more_audio_but_the_next_item_does(
    autojump_clock: MockClock,
) -> None:
    output = MemoryOutput()
    finished: list[str] = []
    playout = Playout(output, on_finished=finished.append)
    async with running(playout):
        playout.push(1, "a", tone(1, 1))
        await trio.sleep(0.1)
        playout.interrupt()
        assert not playout.push(1, "a", tone(1, 1))
        playout.end_item("a")
        assert playout.push(1, "b", tone(0.1, 2))
        playout.end_item("b")
        # The same id under another key is another item: another connection's.
        assert playout.push(2, "a", tone(0.1, 3))
        playout.end_item("a")
        assert await playout.wait_item("a") == Heard(100, complete=True)
    assert output.pcm == tone(0.1, 1) + tone(0.1, 2) + tone(0.1, 3)
    assert finished == ["b", "a"]


async def test_discarding_one_item_leaves_the_others_whole(
    autojump_clock: MockClock,
) -> None:
    output = MemoryOutput()
    playout = Playout(output)
    async with running(playout):
        for value in (1, 2, 3):
            playout.push("reply", f"item {value}", tone(0.1, value))
            playout.end_item(f"item {value}")
        await trio.sleep(0.05)
        # The sink holds all of item 1 and a part of item 2.
        assert playout.discard("item 2") == Heard(0, complete=False)
        assert playout.discard("nobody") == Heard(0, complete=False)
        await trio.sleep(0.1)
        assert playout.discard("item 3") == Heard(50, complete=False)
        await playout.wait_idle()
        assert playout.position("item 1") == Heard(100, complete=True)
        assert not playout.push("reply", "item 2", tone(1, 2))
        assert playout.discard("item 1") == Heard(100, complete=True)
    assert output.pcm == tone(0.1, 1) + tone(0.05, 3)


async def test_discarding_the_item_whose_chunk_waits_for_room(
    autojump_clock: MockClock,
) -> None:
    output = MemoryOutput(buffer_seconds=0.1)
    playout = Playout(output)
    async with running(playout):
        playout.push("reply", "a", tone(0.12, 1))
        playout.push("reply", "b", tone(0.12, 2))
        playout.push("reply", "c", tone(0.12, 3))
        await wait_all_tasks_blocked()
        playout.discard("b")
        await playout.wait_idle()
    assert output.pcm == tone(0.12, 1) + tone(0.12, 3)


async def test_waiting_for_an_item_ends_when_it_is_cut(
    autojump_clock: MockClock,
) -> None:
    playout = Playout(NullOutput())
    results: list[Heard] = []

    async def wait(item_id: str) -> None:
        results.append(await playout.wait_item(item_id))

    async with running(playout) as nursery:
        await wait("nobody")
        playout.push("reply", "a", tone(1))
        nursery.start_soon(wait, "a")
        await trio.sleep(0.25)
        playout.interrupt()
        await wait_all_tasks_blocked()
        playout.push("reply", "b", tone(1))
        nursery.start_soon(wait, "b")
        await trio.sleep(0.5)
        playout.discard("b")
        await wait_all_tasks_blocked()
    assert results == [Heard(0, False), Heard(250, False), Heard(500, False)]


async def test_ending_a_reply_ends_its_items_only(autojump_clock: MockClock) -> None:
    finished: list[str] = []
    playout = Playout(NullOutput(), on_finished=finished.append)
    async with running(playout):
        for key, item_id in ((1, "a"), (1, "b"), (2, "c")):
            playout.push(key, item_id, tone(0.1))
        playout.end_reply(1)
        await trio.sleep(1)
        assert finished == ["a", "b"]


async def test_an_item_that_goes_on_after_its_end_is_played(
    autojump_clock: MockClock,
) -> None:
    """A second audio part may follow the first."""
    output = MemoryOutput()
    playout = Playout(output)
    async with running(playout):
        playout.push("reply", "a", tone(0.1, 1))
        playout.end_item("a")
        await trio.sleep(1)
        playout.push("reply", "a", tone(0.1, 2))
        await trio.sleep(1)
        assert playout.position("a") == Heard(200, complete=False)
        playout.end_item("a")
        assert playout.position("a") == Heard(200, complete=True)
    assert output.pcm == tone(0.1, 1) + tone(0.1, 2)


@pytest.mark.behaviour("A2")
async def test_pieces_may_split_samples_and_chunks_never_do(
    autojump_clock: MockClock,
) -> None:
    sink = Loudspeaker(buffer=SECOND)
    chunks: list[int] = []
    take = sink.write

    async def write(pcm: bytes) -> None:
        chunks.append(len(pcm))
        await take(pcm)

    sink.write = write  # type: ignore[method-assign]
    playout = Playout(sink)
    pcm = bytes(n % 251 for n in range(4_000))
    async with running(playout):
        for at in range(0, len(pcm), 37):
            playout.push("reply", "a", pcm[at : at + 37])
        playout.push("reply", "a", b"\x07")  # half a sample at the very end
        playout.end_item("a")
        await wait_all_tasks_blocked()
    assert bytes(sink.sound) == pcm
    assert all(length % 2 == 0 for length in chunks)


@pytest.mark.behaviour("A4")
async def test_a_slow_speaker_slows_nothing_but_itself_up_to_its_bound(
    autojump_clock: MockClock,
) -> None:
    """One speaker never plays; the other session's is in time, and no push waits."""
    refused: list[AudioRefused] = []
    stuck = Playout(
        Loudspeaker(),
        max_seconds_per_reply=2,
        max_seconds=3,
        on_refused=refused.append,
    )
    output = MemoryOutput()
    healthy = Playout(output)
    async with running(stuck), running(healthy):
        start = trio.current_time()
        healthy.push("reply", "x", tone(1))
        taken = [stuck.push(1, "a", tone(0.1, 1)) for _ in range(100)]
        await healthy.wait_idle()
        assert trio.current_time() - start == pytest.approx(1)
        assert taken == sorted(taken, reverse=True), "a prefix was taken, no hole"
        assert taken.count(True) == 20
        assert stuck.refused_seconds == pytest.approx(8)
        assert refused[0] == AudioRefused(1, "a", samples=2_400)
        assert len(refused) == 80

        assert stuck.push(2, "b", tone(1, 2)), "the bound is one reply's own"
        assert not stuck.push(3, "c", tone(1, 3)), "and there is one for all"
        assert stuck.pending_seconds == pytest.approx(3)
        (first, *_) = stuck.interrupt()
        assert (first.received_ms, first.heard_ms) == (2000, 0)
        assert stuck.push(4, "d", tone(2, 4))


@pytest.mark.behaviour("A4")
async def test_an_item_that_lost_its_tail_is_never_called_complete(
    autojump_clock: MockClock,
) -> None:
    playout = Playout(NullOutput(), max_seconds_per_reply=0.5)
    async with running(playout):
        playout.push(1, "a", tone(0.4))
        assert not playout.push(1, "a", tone(0.4))
        await trio.sleep(1)
        assert not playout.push(1, "a", tone(0.1)), "there is room, but a hole before"
        playout.end_item("a")
        assert await playout.wait_item("a") == Heard(400, complete=False)


@pytest.mark.parametrize("cancel_after", [0.0, 0.05, 0.21, 0.35])
async def test_run_can_be_cancelled_and_started_again(
    autojump_clock: MockClock, cancel_after: float
) -> None:
    output = MemoryOutput()
    playout = Playout(output)
    playout.push("reply", "a", tone(0.5, 1) + tone(0.5, 2))
    playout.end_item("a")
    with trio.move_on_after(cancel_after):
        await playout.run()
    await trio.sleep(1)
    async with running(playout):
        await playout.wait_item("a")
    assert output.pcm == tone(0.5, 1) + tone(0.5, 2)


async def test_only_one_task_runs_a_playout() -> None:
    playout = Playout(NullOutput())
    async with running(playout):
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="already running"):
            await playout.run()


@contextmanager
def raises_without_group(kind: type[Exception], match: str) -> Iterator[None]:
    with pytest.raises(kind, match=match) as caught:
        yield
    assert not isinstance(caught.value.__context__, BaseExceptionGroup)


async def test_an_error_of_the_sink_comes_out_of_run_by_itself(
    autojump_clock: MockClock,
) -> None:
    output = NullOutput()
    playout = Playout(output)
    await output.aclose()
    playout.push("reply", "a", tone(1))
    with raises_without_group(trio.ClosedResourceError, "NullOutput is closed"):
        await playout.run()
    assert playout.interrupt()[0].state == "unheard"


async def test_somebody_else_clearing_the_output_is_an_error_and_no_busy_loop(
    autojump_clock: MockClock,
) -> None:
    output = NullOutput()
    playout = Playout(output)
    playout.push("reply", "a", tone(1))

    async def clear() -> None:
        await trio.sleep(0.3)
        output.clear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(clear)
        with trio.fail_after(1), raises_without_group(RuntimeError, "not the output"):
            await playout.run()


async def test_a_hook_may_call_back(autojump_clock: MockClock) -> None:
    output = MemoryOutput()
    playout = Playout(output)

    def stop(item_id: str) -> None:
        if item_id == "a":
            playout.discard("b")
            playout.push("reply", "c", tone(0.1, 3))

    playout.on_started = stop
    async with running(playout):
        playout.push("reply", "a", tone(0.1, 1))
        playout.push("reply", "b", tone(0.1, 2))
        await playout.wait_idle()
    assert output.pcm == tone(0.1, 1) + tone(0.1, 3)


async def test_thousands_of_items_leave_no_residue(autojump_clock: MockClock) -> None:
    playout = Playout(MemoryOutput(realtime=False))
    async with running(playout):
        for n in range(1000):
            playout.push("reply", f"item {n}", tone(0.001))
            playout.end_item(f"item {n}")
        await playout.wait_idle()
        playout.push("reply", "last", tone(0.001))
        await wait_all_tasks_blocked()
        assert playout.position("item 999") == Heard(1, complete=True)
        assert playout.position("item 0") == Heard(0, complete=False)
        assert repr(playout) == (
            "<Playout idle pending=0.00s <Playlist live=['last'] queued=0 offered=0>>"
        )


# --- what may not be interrupted ---------------------------------------------------


@pytest.mark.behaviour("U4", "U3")
@pytest.mark.parametrize("after", [0.0, 0.35, 0.95, 1.4])
async def test_what_is_spared_plays_on_without_a_sample_missing_or_doubled(
    autojump_clock: MockClock, after: float
) -> None:
    """Whatever stands before it, behind it, and in the sink with it."""
    output = MemoryOutput()
    playout = Playout(output)
    async with running(playout):
        playout.push(1, "before", tone(0.5, 1))  # whose end was never told
        playout.push(2, "kept", tone(1, 2))
        playout.end_item("kept")
        playout.push(3, "behind", tone(1, 3))
        await trio.sleep(after)
        report = playout.interrupt(spare={"kept"})
        assert playout.unplayed == ("kept",)
        heard = min(after, 0.5)
        stopped = {one.item_id: (one.heard_ms, one.state) for one in report}
        assert stopped["before"] == (
            round(heard * 1000),
            "playing" if heard else "unheard",
        )
        assert stopped["behind"] == (0, "unheard")
        assert not playout.push(3, "behind", tone(1, 3))
        playout.push(4, "next", tone(0.2, 4))
        await playout.wait_idle()
        first = round(heard * SECOND)
        assert output.pcm == tone(heard, 1)[: 2 * first] + tone(1, 2) + tone(0.2, 4)
        assert len(output.runs) == 1


@pytest.mark.behaviour("U5")
async def test_speech_lasts_from_the_first_sample_played_to_the_items_end(
    autojump_clock: MockClock,
) -> None:
    """Also while the sink has run dry; an interruption ends it at once."""
    sink = Loudspeaker()
    playout = Playout(sink)
    async with running(playout):
        assert [playout.speaking] == [False]
        playout.push("reply", "a", tone(0.1))
        await wait_all_tasks_blocked()
        assert (playout.speaking, playout.unplayed) == (False, ("a",))
        sink.play(1)
        assert [playout.speaking] == [True]
        sink.play(SECOND)
        await wait_all_tasks_blocked()
        assert (playout.idle, playout.speaking) == (True, True)
        playout.end_item("a")
        assert (playout.speaking, playout.unplayed) == (False, ())
        playout.push("reply", "b", tone(1))
        await wait_all_tasks_blocked()
        sink.play(100)
        assert [playout.speaking] == [True]
        playout.interrupt()
        assert [playout.speaking] == [False]
        assert playout.knows("b")
        assert not playout.knows("c")
