"""The microphone's recent past: whole samples, a bound, and honest counting."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialogue.realtime.input_ring import (
    SAMPLE_RATE,
    SPANS,
    AudioClock,
    InputRing,
)

MS = SAMPLE_RATE // 1000


def pcm(begin: int, end: int) -> bytes:
    """Samples that tell where they stand: the n-th has the value n."""
    return b"".join(n.to_bytes(2, "little") for n in range(begin, end))


def ring_of(samples: int, *, bound: int = 1000) -> InputRing:
    ring = InputRing(bound / SAMPLE_RATE)
    ring.append(pcm(0, samples))
    return ring


@pytest.mark.behaviour("A2")
@given(st.lists(st.integers(0, 9), max_size=20))
def test_a_sample_split_between_chunks_is_put_together(sizes: list[int]) -> None:
    """However the bytes are cut, the samples are the same; an odd byte waits."""
    audio = pcm(0, sum(sizes) // 2 + 1)
    ring = InputRing()
    cuts = [0, *itertools.accumulate(sizes)]
    for begin, end in itertools.pairwise(cuts):
        ring.append(audio[begin:end])
    whole = sum(sizes) // 2
    assert (ring.start, ring.end) == (0, whole)
    assert ring.read(0, 1000) == audio[: whole * 2]


def test_reading_is_by_absolute_position() -> None:
    ring = ring_of(1000, bound=100)
    assert ring.trim(1000) == 0
    assert (ring.start, ring.end) == (900, 1000)
    assert ring.read(950, 10) == pcm(950, 960)
    assert ring.read(990, 50) == pcm(990, 1000)
    assert ring.read(1000, 5) == b""


def test_a_span_that_ends_before_it_begins_is_empty() -> None:
    """A turn that ended before the oldest sample kept has no audio left."""
    ring = ring_of(1000, bound=100)
    ring.trim(1000)
    assert ring.read(900, -50) == b""
    assert ring.slice(100, 200) == b""
    assert ring.slice(100, 905) == pcm(900, 905)


def test_what_was_dropped_is_not_read_as_something_else() -> None:
    """A position before the oldest sample gives what is left, or nothing."""
    ring = ring_of(1000, bound=100)
    ring.trim(1000)
    assert ring.read(0, 10) == b""
    assert ring.read(895, 10) == pcm(900, 905)


@pytest.mark.behaviour("C4")
@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), max_size=30),
)
def test_exactly_the_needed_samples_that_were_dropped_are_counted(
    bound: int, steps: list[tuple[int, int]]
) -> None:
    """Against a plain set of samples: those needed, those kept, those counted."""
    ring = InputRing(bound / SAMPLE_RATE)
    pushed, total = 0, 0
    kept: set[int] = set()
    for size, back in steps:
        ring.append(pcm(pushed, pushed + size))
        pushed += size
        kept |= set(range(pushed - size, pushed))
        needed_from = max(0, pushed - back)
        dropped = kept - set(range(pushed - bound, pushed))
        kept -= dropped
        lost = ring.trim(needed_from)
        assert lost == sum(sample >= needed_from for sample in dropped)
        total += lost
        assert ring.dropped == total
        assert (ring.start, ring.end) == (pushed - len(kept), pushed)
        assert ring.read(ring.start, bound) == pcm(ring.start, pushed)


def test_clock_follows_the_microphone_from_where_the_connection_began() -> None:
    clock = AudioClock()
    clock.wrote(5000, 480)
    clock.wrote(5480, 480)
    assert clock.sent == 960
    assert clock.at_ms(0) == 5000
    assert clock.at_ms(30) == 5000 + 30 * MS
    assert clock.at_ms(1000) == 5000 + 1000 * MS


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 50)), min_size=1, max_size=15)
)
def test_clock_maps_every_appended_sample_back_across_drops(
    writes: list[tuple[int, int]],
) -> None:
    """Whatever was left out in between, the n-th sample sent is found again."""
    clock = AudioClock()
    sent: list[int] = []
    at = 0
    for skipped, samples in writes:
        at += skipped
        clock.wrote(at, samples)
        sent += range(at, at + samples)
        at += samples
    assert [clock.position(n) for n in range(len(sent))] == sent
    assert clock.position(len(sent)) == at
    gaps = sum(skipped > 0 for skipped, _ in writes[1:])
    assert len(clock.spans) == gaps + 1


def test_clock_remembers_so_many_drops_and_no_more() -> None:
    """A microphone on a line that is always too slow does not fill the memory."""
    clock = AudioClock()
    for number in range(10_000):
        clock.wrote(number * 100, 50)
    assert len(clock.spans) <= SPANS
    assert clock.position(clock.sent) == 9_999 * 100 + 50
