"""The user's turns: no sample of a turn is lost, doubled or out of order."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trialogue.realtime.input_ring import SAMPLE_RATE, AudioClock
from trialogue.realtime.listening import (
    ANSWER_DUE,
    CONFIRMATION,
    LOOKBACK,
    MICROPHONE_SILENT,
    SPOKEN_TURNS,
    Listening,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MS = SAMPLE_RATE // 1000
SECOND = bytes(SAMPLE_RATE * 2)


def heard(listening: Listening, seconds: int, *, cursor: int | None = None) -> int:
    """Push whole seconds; return how many samples the bound made us drop."""
    lost = 0
    for _ in range(seconds):
        end = listening.ring.end
        lost += listening.push(SECOND, 0.0, None if cursor is None else end)
    return lost


def clock_from(position: int = 0, samples: int = 0) -> AudioClock:
    clock = AudioClock()
    clock.wrote(position, samples)
    return clock


# --- what a fresh connection is given -------------------------------------------------


@pytest.mark.behaviour("H5")
def test_fresh_connection_is_given_the_open_turn_from_its_start() -> None:
    listening = Listening()
    heard(listening, 10, cursor=0)
    listening.started(clock_from(), 4000)
    listening.left(10 * SAMPLE_RATE)
    heard(listening, 3)
    assert listening.fresh_start() == 4 * SAMPLE_RATE


def test_without_a_turn_it_is_given_the_last_moments() -> None:
    """The old connection may have heard a beginning that it could not report."""
    listening = Listening()
    heard(listening, 10, cursor=0)
    listening.left(9 * SAMPLE_RATE)
    assert listening.fresh_start() == 9 * SAMPLE_RATE - LOOKBACK


def test_it_is_never_given_what_belongs_to_a_committed_turn() -> None:
    listening = Listening()
    heard(listening, 10, cursor=0)
    listening.started(clock_from(), 4000)
    listening.stopped(clock_from(), 9500, 10.0)
    listening.committed("turn", 10 * SAMPLE_RATE, inf)
    listening.left(10 * SAMPLE_RATE)
    assert listening.fresh_start() == 9500 * MS


def test_before_the_first_connection_everything_is_kept_for_it() -> None:
    listening = Listening()
    heard(listening, 5)
    listening.left(None)
    assert listening.fresh_start() == 0


def test_manual_turn_is_given_again_from_its_start_however_long_it_is() -> None:
    """Where nobody finds turns, all that is not committed is the open turn."""
    listening = Listening()
    listening.manual = True
    heard(listening, 3, cursor=0)
    listening.committed("first", 3 * SAMPLE_RATE, inf)
    heard(listening, 10, cursor=0)
    listening.left(13 * SAMPLE_RATE)
    assert listening.fresh_start() == 3 * SAMPLE_RATE


def test_cleared_audio_is_not_given_again() -> None:
    listening = Listening()
    heard(listening, 10, cursor=0)
    listening.started(clock_from(), 1000)
    listening.cleared(8 * SAMPLE_RATE)
    assert not listening.speaking
    listening.left(9 * SAMPLE_RATE)
    assert listening.fresh_start() == 8 * SAMPLE_RATE


# --- what the bound costs -------------------------------------------------------------


@pytest.mark.behaviour("C4")
def test_outage_drops_the_oldest_beyond_the_bound_and_counts_it() -> None:
    listening = Listening(10)
    assert heard(listening, 10) == 0
    assert heard(listening, 3) == 3 * SAMPLE_RATE
    assert listening.ring.dropped == 3 * SAMPLE_RATE
    assert listening.fresh_start() == 3 * SAMPLE_RATE
    assert listening.seconds_held == 10


def test_silence_sent_long_ago_is_not_counted_as_lost_in_an_outage() -> None:
    """Nobody needs it again: a fresh connection begins two seconds back."""
    listening = Listening(10)
    heard(listening, 60, cursor=0)
    listening.left(60 * SAMPLE_RATE)
    assert heard(listening, 8) == 0
    assert heard(listening, 1) == SAMPLE_RATE


def test_long_turn_that_the_server_has_heard_is_not_counted_as_lost() -> None:
    """A monologue beyond the bound costs nothing while its connection lives."""
    listening = Listening(10)
    heard(listening, 5, cursor=0)
    listening.started(clock_from(), 2000)
    assert heard(listening, 20, cursor=0) == 0
    assert listening.ring.dropped == 0


@pytest.mark.parametrize("manual", [False, True])
def test_beginning_that_a_change_of_connection_finds_gone_is_counted_once(
    manual: bool,
) -> None:
    """Then it is missing on the next one, and on no later one once more."""
    listening = Listening(10)
    listening.manual = manual
    heard(listening, 5, cursor=0)
    if not manual:
        listening.started(clock_from(), 0)
    heard(listening, 20, cursor=0)
    listening.left(25 * SAMPLE_RATE)
    assert listening.ring.dropped == 15 * SAMPLE_RATE
    assert listening.fresh_start() == 15 * SAMPLE_RATE
    listening.left(25 * SAMPLE_RATE)
    assert listening.ring.dropped == 15 * SAMPLE_RATE
    assert heard(listening, 1) == SAMPLE_RATE
    assert listening.ring.dropped == 16 * SAMPLE_RATE


# --- the sound of committed turns -----------------------------------------------------


def test_committed_turn_is_kept_as_sound_until_its_words_are_known() -> None:
    listening = Listening()
    audio = bytes(range(256)) * 375  # two seconds
    listening.push(audio, 0.0, 0)
    listening.started(clock_from(), 500)
    listening.stopped(clock_from(), 1500, 2.0)
    listening.committed("turn", listening.ring.end, inf)
    assert listening.sound_of("turn") == audio[1000 * MS : 3000 * MS]
    listening.transcribed("turn")
    assert listening.sound_of("turn") is None


def test_manual_turn_ends_where_it_was_committed() -> None:
    listening = Listening()
    audio = bytes(range(250)) * 10
    listening.push(audio, 0.0, 0)
    listening.committed("first", 500, inf)
    listening.committed("second", 1250, inf)
    assert listening.sound_of("first") == audio[:1000]
    assert listening.sound_of("second") == audio[1000:]


@pytest.mark.behaviour("X3")
def test_sound_is_bounded_and_the_oldest_turn_goes_first() -> None:
    listening = Listening(25)
    for turn in range(4):
        heard(listening, 20, cursor=0)
        listening.committed(f"turn-{turn}", listening.ring.end, inf)
    kept = [turn for turn in range(4) if listening.sound_of(f"turn-{turn}")]
    assert kept == [1, 2, 3]
    assert 20 * SAMPLE_RATE * len(kept) <= SPOKEN_TURNS


# --- who has the floor, and for how long ----------------------------------------------


def test_user_has_the_floor_from_the_first_word_to_the_answer() -> None:
    listening = Listening()
    listening.push(SECOND, 1.0, 0)
    floor = [listening.has_the_floor]
    steps: list[Callable[[], None]] = [
        lambda: listening.started(clock_from(), 0),
        lambda: listening.stopped(clock_from(), 900, 1.0),
        lambda: listening.committed("turn", SAMPLE_RATE, 1.0 + ANSWER_DUE),
        listening.answered,
    ]
    for step in steps:
        step()
        floor.append(listening.has_the_floor)
    assert floor == [False, True, True, True, False]


def test_answer_that_does_not_come_is_overdue_once() -> None:
    listening = Listening()
    listening.committed("turn", 0, 5.0)
    assert listening.timer() == 5.0
    assert not listening.expire(4.9)
    assert listening.expire(5.0)
    assert not listening.has_the_floor
    assert not listening.expire(5.0)
    assert listening.timer() == inf


def test_turn_cannot_go_on_without_any_audio() -> None:
    """A program that stops pushing must not keep the floor for ever (core rule 26)."""
    listening = Listening()
    listening.push(SECOND, 1.0, 0)
    listening.started(clock_from(), 0)
    assert listening.timer() == 1.0 + MICROPHONE_SILENT
    assert not listening.expire(1.0 + MICROPHONE_SILENT)
    assert not listening.has_the_floor


def test_turn_that_goes_on_elsewhere_has_to_be_heard_there_in_time() -> None:
    listening = Listening()
    listening.push(SECOND, 1.0, 0)
    listening.started(clock_from(), 0)
    listening.left(SAMPLE_RATE)
    assert listening.has_the_floor
    listening.resumed(2.0)
    listening.push(SECOND, 4.0, 0)
    listening.expire(2.0 + CONFIRMATION)
    assert not listening.has_the_floor


def test_each_connection_gets_its_own_time_to_hear_the_turn() -> None:
    """What an earlier one had no time for is not held against the next."""
    listening = Listening()
    listening.push(SECOND, 1.0, 0)
    listening.started(clock_from(), 0)
    listening.left(SAMPLE_RATE)
    listening.resumed(2.0)
    listening.left(SAMPLE_RATE)
    listening.push(SECOND, 9.0, None)
    listening.expire(9.0)
    assert listening.has_the_floor
    listening.resumed(10.0)
    assert listening.timer() == min(9.0 + MICROPHONE_SILENT, 10.0 + CONFIRMATION)


# --- against a model of the provider --------------------------------------------------


@attrs.define
class Provider:
    """One connection's turn detection: hears a turn once its first sample is there."""

    received: list[int] = attrs.field(factory=list)
    began: int | None = None

    def hear(self, samples: list[int], turns: list[tuple[int, int]]) -> list[str]:
        """Take audio in; return what happened, in order."""
        seen: list[str] = []
        for sample in samples:
            self.received.append(sample)
            if self.began is None and any(sample == begin for begin, _ in turns):
                self.began = len(self.received) - 1
                seen.append("started")
            if self.began is not None and any(sample == end - 1 for _, end in turns):
                seen.append("ended")
                break
        return seen


class Call:
    """A user, a microphone, and connections that come and go."""

    def __init__(self, bound: int, turns: list[tuple[int, int]]) -> None:
        self.listening = Listening(bound / SAMPLE_RATE)
        self.turns = turns
        self.pushed = 0
        self.cursor: int | None = None
        self.provider = Provider()
        self.clock = AudioClock()
        self.items: list[list[int]] = []

    def push(self, size: int) -> None:
        audio = b"".join(
            n.to_bytes(2, "little") for n in range(self.pushed, self.pushed + size)
        )
        self.pushed += size
        half = size | 1  # an odd number of bytes: the second call brings the rest
        for piece in (audio[:half], audio[half:]):
            self.listening.push(piece, 0.0, self.cursor)

    def write(self, most: int) -> None:
        """As the connection's writer does; then read what the provider says."""
        ring = self.listening.ring
        while self.cursor is not None and most > 0 and self.cursor < ring.end:
            self.cursor = max(self.cursor, ring.start)
            audio = ring.read(self.cursor, min(most, 24))
            samples = [
                int.from_bytes(audio[i : i + 2], "little")
                for i in range(0, len(audio), 2)
            ]
            self.clock.wrote(self.cursor, len(samples))
            self.cursor += len(samples)
            most -= len(samples)
            self.read(self.provider.hear(samples, self.turns), samples)

    def read(self, seen: list[str], samples: list[int]) -> None:
        provider = self.provider
        began = provider.began
        if "started" in seen and began is not None:
            self.listening.started(self.clock, began // MS)
        if "ended" in seen and began is not None:
            end_ms = -(-len(provider.received) // MS)
            # The rest of the frame is received all the same.
            rest = samples[samples.index(provider.received[-1]) + 1 :]
            self.listening.stopped(self.clock, end_ms, 0.0)
            self.items.append(provider.received[began:])
            assert self.cursor is not None
            self.listening.committed(f"item-{len(self.items)}", self.cursor, inf)
            provider.began = None
            self.read(provider.hear(rest, self.turns), rest)

    def drop(self) -> None:
        if self.cursor is not None:
            self.listening.left(self.cursor)
            self.cursor = None

    def connect(self) -> None:
        if self.cursor is None:
            self.provider, self.clock = Provider(), AudioClock()
            self.cursor = self.listening.fresh_start()


def turns_of(lengths: list[tuple[int, int]]) -> list[tuple[int, int]]:
    turns, at = [], 0
    for pause, length in lengths:
        begin = at + pause
        turns.append((begin, begin + length))
        at = begin + length
    return turns


spans = st.lists(
    st.tuples(st.integers(3 * MS, 500), st.integers(MS, 1500)), min_size=1, max_size=4
)
events = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 900)),
        st.tuples(st.just("write"), st.integers(1, 900)),
        st.just(("drop",)),
        st.just(("connect",)),
    ),
    max_size=40,
)


def play(bound: int, lengths: list[tuple[int, int]], script: list[tuple]) -> Call:  # type: ignore[type-arg]
    call = Call(bound, turns_of(lengths))
    for name, *arguments in [("connect",), *script]:
        getattr(call, name)(*arguments)
    rest = call.turns[-1][1] + 3 * MS - call.pushed
    for _ in range(max(0, rest) // 100 + 1):
        call.connect()
        call.push(100)
        call.write(10**6)
    return call


@pytest.mark.behaviour("H5")
@given(spans, events)
@example([(72, 48)], [("push", 100), ("write", 90), ("drop",), ("connect",)])
def test_every_sample_of_a_turn_exists_once_in_order_through_any_change(
    lengths: list[tuple[int, int]],
    script: list[tuple],  # type: ignore[type-arg]
) -> None:
    """Within the bound, each turn reaches one connection whole, whatever dropped."""
    call = play(60_000, lengths, script)
    assert call.listening.ring.dropped == 0
    expected = [list(range(begin, end)) for begin, end in call.turns]
    assert call.items == expected


@pytest.mark.behaviour("C4")
@given(st.integers(50, 600), spans, events)
def test_beyond_the_bound_what_is_missing_was_counted(
    bound: int,
    lengths: list[tuple[int, int]],
    script: list[tuple],  # type: ignore[type-arg]
) -> None:
    """Nothing is doubled or out of order, and no sample is missing in silence."""
    call = play(bound, lengths, script)
    missing = 0
    for item in call.items:
        assert all(a < b for a, b in pairwise(item))
        missing += item[-1] + 1 - item[0] - len(item)
    assert missing <= call.listening.ring.dropped
