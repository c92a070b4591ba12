"""The sinks on Trio's clock: when they wait, what they count, what a clear drops."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trialogue.audio import AudioOutput, MemoryOutput, NullOutput, WavOutput
from trialogue.errors import ConfigurationError

SECOND = 24_000


def tone(samples: int, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * samples


async def test_every_sink_satisfies_the_protocol(tmp_path: str) -> None:
    wav = WavOutput(f"{tmp_path}/out.wav")
    for output in (MemoryOutput(), NullOutput(), wav):
        assert isinstance(output, AudioOutput)
        await output.aclose()


@pytest.mark.behaviour("A3")
async def test_the_position_follows_the_clock_and_stops_at_what_was_written(
    autojump_clock: MockClock,
) -> None:
    output = NullOutput()
    await output.write(tone(SECOND))
    assert (output.played, output.written) == (0, SECOND)
    await trio.sleep(0.25)
    assert output.played == SECOND // 4
    await trio.sleep(5)
    assert (output.played, output.written) == (SECOND, SECOND)


async def test_samples_are_played_when_their_turn_comes_and_gaps_do_not_count(
    autojump_clock: MockClock,
) -> None:
    output = MemoryOutput(buffer_seconds=10)
    start = trio.current_time()
    await output.write(tone(SECOND, 1))
    await output.write(tone(SECOND, 2))
    await trio.sleep(5)
    await output.write(tone(SECOND, 3))
    await output.drain()
    assert trio.current_time() == start + 6
    assert output.played == 3 * SECOND
    first, second = output.runs
    assert (first.time, first.end) == (start, start + 2)
    assert first.pcm == tone(SECOND, 1) + tone(SECOND, 2)
    assert (second.time, second.pcm) == (start + 5, tone(SECOND, 3))


async def test_a_write_waits_while_more_than_the_buffer_is_unplayed(
    autojump_clock: MockClock,
) -> None:
    output = NullOutput(buffer_seconds=0.2)
    start = trio.current_time()
    await output.write(tone(SECOND))
    assert trio.current_time() == start
    await output.write(tone(SECOND))
    assert trio.current_time() == pytest.approx(start + 0.8)
    assert output.written - output.played == pytest.approx(1.2 * SECOND, abs=1)


@pytest.mark.parametrize("after", [0.0, 0.3, 0.799])
async def test_a_cancelled_write_has_taken_nothing(
    autojump_clock: MockClock, after: float
) -> None:
    output = MemoryOutput(buffer_seconds=0.2)
    await output.write(tone(SECOND, 1))
    with trio.move_on_after(after) as scope:
        await output.write(tone(SECOND, 2))
    assert scope.cancelled_caught
    assert output.written == SECOND
    await output.drain()
    assert output.pcm == tone(SECOND, 1)


async def test_clear_stops_the_sound_at_once(autojump_clock: MockClock) -> None:
    output = MemoryOutput(buffer_seconds=10)
    await output.write(tone(SECOND, 1))
    await trio.sleep(0.4)
    output.clear()
    assert output.written == output.played == 0.4 * SECOND
    await output.write(tone(10, 2))
    await output.drain()
    assert output.pcm == tone(9600, 1) + tone(10, 2)
    (run,) = output.runs
    assert len(run.pcm) == 2 * 9610, "what follows a clear is played without a gap"


async def test_nothing_handed_over_before_a_clear_is_heard_after_it(
    autojump_clock: MockClock,
) -> None:
    """Also not the chunk of a write that was waiting, whatever step it had reached."""
    output = MemoryOutput(buffer_seconds=0.1)
    await output.write(tone(SECOND, 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.write, tone(SECOND, 2))
        await wait_all_tasks_blocked()
        output.clear()
    assert output.written == output.played == 0

    started = trio.Event()

    async def write() -> None:
        started.set()
        await output.write(tone(SECOND, 3))  # in its first checkpoint at the clear

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await started.wait()
        output.clear()
    await trio.sleep(3)
    assert output.pcm == b""


async def test_waiting_for_a_position(autojump_clock: MockClock) -> None:
    output = NullOutput(buffer_seconds=10)
    start = trio.current_time()
    await output.write(tone(SECOND))
    await output.wait_played(6_000)
    assert (trio.current_time() - start, output.played) == (0.25, 6_000)
    with assert_checkpoints():
        await output.wait_played(6_000)
    with trio.fail_after(0.001), assert_checkpoints():
        await output.wait_played(SECOND + 1)  # not written: returns at once
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.wait_played, SECOND)
        await wait_all_tasks_blocked()
        output.clear()
    assert trio.current_time() - start == 0.25


async def test_a_closed_output_refuses_and_releases_whoever_waits(
    autojump_clock: MockClock,
) -> None:
    output = NullOutput()
    await output.write(tone(SECOND))
    refused = 0

    async def refuse(position: int | None) -> None:
        nonlocal refused
        call = (
            output.write(tone(1)) if position is None else output.wait_played(position)
        )
        with pytest.raises(trio.ClosedResourceError, match="NullOutput is closed"):
            await call
        refused += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse, None)
        nursery.start_soon(refuse, SECOND)
        await trio.sleep(0.5)
        await output.aclose()
        await output.aclose()
    await refuse(None)
    await refuse(1)
    assert refused == 4
    output.clear()
    assert output.played == output.written == SECOND // 2


async def test_without_real_time_everything_is_played_when_it_is_written() -> None:
    output = MemoryOutput(realtime=False)
    for value in (1, 2, 3):
        await output.write(tone(SECOND, value))
    assert output.played == output.written == 3 * SECOND
    assert output.pcm == tone(SECOND, 1) + tone(SECOND, 2) + tone(SECOND, 3)


@pytest.mark.behaviour("A2")
async def test_a_chunk_that_splits_a_sample_is_refused() -> None:
    output = NullOutput()
    with pytest.raises(ConfigurationError, match=r"middle of a sample.*Rechunker"):
        await output.write(b"\0\0\0")
    assert output.written == 0


async def test_memory_output_refuses_to_keep_more_than_its_bound(
    autojump_clock: MockClock,
) -> None:
    output = MemoryOutput(max_seconds=1, realtime=False)
    await output.write(tone(SECOND))
    await output.write(tone(1))
    with pytest.raises(ConfigurationError, match="max_seconds"):
        await output.write(tone(1))
    assert output.pcm == tone(SECOND + 1)


def test_an_output_made_outside_trio_starts_with_its_first_write() -> None:
    output = MemoryOutput()
    assert output.started_at is None
    assert "open" in repr(output)

    async def main() -> float:
        await trio.sleep(3)
        await output.write(tone(SECOND))
        assert output.started_at == trio.current_time()
        await output.drain()
        return output.runs[0].time - trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == -1


async def test_positions_stay_exact_over_an_hour(autojump_clock: MockClock) -> None:
    """Trio's clock is a float with a random origin; no sample may come from that."""
    output = NullOutput(buffer_seconds=0.02)
    start = trio.current_time()
    for _ in range(1000):
        await output.write(tone(777))
    await output.drain()
    assert output.played == 777_000
    assert math.isclose(trio.current_time() - start, 777_000 / SECOND, abs_tol=1e-6)
