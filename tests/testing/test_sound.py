"""Voice detection, watermarks and known clips: all by the samples."""

from __future__ import annotations

import itertools
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialogue.testing.speech import Cue, Cues, FirstOf, Utterances, quiet, voice
from trialogue.testing.vad import EnergyVAD, SpeechStarted, SpeechStopped, level
from trialogue.testing.watermark import (
    FRAME_SAMPLES,
    config_hash,
    decode,
    embed,
    encode,
    tone,
)

SPOKEN = quiet(500) + voice("a", 700) + quiet(600) + voice("b", 300) + quiet(600)
KELLY = config_hash("You are Kelly.", ["transfer"])
SUNNY = config_hash("You are Sunny.", ["lookup", "transfer"])


def cut(pcm: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(places), len(pcm)]
    return [pcm[a:b] for a, b in itertools.pairwise(bounds)]


def test_turns_are_found_with_their_padding_and_silence() -> None:
    found = EnergyVAD(silence_duration_ms=500).feed(SPOKEN)
    assert found == [
        SpeechStarted(200, 530),
        SpeechStopped(1700),
        SpeechStarted(1700, 1830),
        SpeechStopped(2600),
    ]


@given(st.lists(st.integers(0, len(SPOKEN)), max_size=12))
def test_chunks_do_not_matter(places: list[int]) -> None:
    vad = EnergyVAD()
    pieces = [event for piece in cut(SPOKEN, places) for event in vad.feed(piece)]
    assert pieces == EnergyVAD().feed(SPOKEN)


@given(
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sampled_from([0, 1, 255, 256, 257, 300, 327, 328, 500, 3276, 3300, 32767]),
    st.randoms(use_true_random=False),
)
def test_it_is_speech_where_the_level_reaches_the_gate(
    threshold: float, most: int, source: random.Random
) -> None:
    """The shortcuts by the upper bytes of samples never change what is found."""
    samples = array("h", (source.randint(-most - 1, most) for _ in range(240)))
    frame = samples.tobytes()
    gate = 32768 * 10 ** ((40 * threshold - 60) / 20)
    started = EnergyVAD(threshold).feed(frame * 3)

    assert bool(started) == (level(frame) >= gate)


@pytest.mark.parametrize("sample", [-256, -257, 255, 256, 327, 328, -32768])
def test_a_steady_level_is_measured_exactly(sample: int) -> None:
    frame = array("h", [sample] * 240).tobytes()

    assert bool(EnergyVAD(0.5).feed(frame * 3)) == (abs(sample) >= 328)


def test_a_click_is_no_speech_and_a_higher_threshold_needs_a_louder_voice() -> None:
    assert EnergyVAD().feed(quiet(100) + voice("x", 20) + quiet(500)) == []
    murmur = bytes(b for _ in range(12000) for b in (0x58, 0x02))  # a level of 600
    assert EnergyVAD(threshold=0.5).feed(murmur)
    assert EnergyVAD(threshold=0.9).feed(murmur) == []


def test_each_frame_says_its_configuration_item_and_number() -> None:
    pcm = encode(KELLY, 4 * FRAME_SAMPLES + 17, item=7)
    marks = decode(pcm)
    assert len(pcm) == 2 * (4 * FRAME_SAMPLES + 17)
    assert [(mark.config, mark.item, mark.seq) for mark in marks] == [
        (KELLY, 7, number) for number in range(4)
    ]


@given(
    items=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4),
    frames=st.integers(1, 4),
    rest=st.integers(0, 2 * FRAME_SAMPLES - 1),
    noise=st.randoms(use_true_random=False),
)
def test_one_sound_is_marked_for_any_items_in_turn(
    items: list[int], frames: int, rest: int, noise: random.Random
) -> None:
    """What is kept from one to the next shows in none of them."""
    sound = noise.randbytes(frames * 2 * FRAME_SAMPLES + rest)
    for item in items:
        marked = embed(sound, SUNNY, item=item, first=5)
        at = [(5 + nth, nth * FRAME_SAMPLES) for nth in range(frames)]
        assert [(mark.seq, mark.position) for mark in decode(marked)] == at
        assert {(mark.config, mark.item) for mark in decode(marked)} == {(SUNNY, item)}
        assert marked[1::2] == sound[1::2]
        assert marked[len(sound) - rest :] == sound[len(sound) - rest :]


def test_silence_and_unmarked_sound_have_no_marks() -> None:
    assert decode(quiet(200)) == decode(voice("x", 200)) == decode(tone(5000)) == []


@given(st.integers(0, 4000), st.integers(0, 4000), st.integers(2, 999))
def test_marks_are_read_from_any_cut_at_any_offset(
    start: int, stop: int, gap: int
) -> None:
    """Two cuts with a gap between: every whole frame is read, and no other."""
    first, second = encode(KELLY, 4000, item=1), encode(SUNNY, 4000, item=2)
    played = first[: 2 * stop] + bytes(2 * gap) + second[2 * start :]
    marks = decode(played)
    whole = stop // FRAME_SAMPLES
    after = -(-start // FRAME_SAMPLES)
    assert [m.seq for m in marks if m.config == KELLY] == list(range(min(whole, 16)))
    assert [m.seq for m in marks if m.config == SUNNY] == list(range(after, 16))


def test_a_single_altered_sample_takes_its_frame_away() -> None:
    pcm = bytearray(encode(KELLY, 5 * FRAME_SAMPLES))
    pcm[2 * (2 * FRAME_SAMPLES + 200) + 1] ^= 4
    assert [mark.seq for mark in decode(bytes(pcm))] == [0, 1, 3, 4]


def test_speech_carries_marks_within_one_step_of_its_samples() -> None:
    speech = voice("some words", 300)
    marked = embed(speech, SUNNY)
    assert len(decode(marked)) == 30
    assert all(abs(a - b) <= 1 for a, b in zip(speech, marked, strict=True))


def test_the_hash_knows_instructions_and_tools_but_not_their_order() -> None:
    assert config_hash("x", ["a", "b"]) == config_hash("x", ["b", "a"])
    assert len({config_hash("x", []), config_hash("x", ["a"]), KELLY, SUNNY}) == 4


@pytest.mark.parametrize("before", [0, 1, 333, 5000])
def test_a_clip_is_found_wherever_it_is(before: int) -> None:
    known = Utterances()
    clip = known.say("what is the weather", 900)
    known.say("something else", 900)
    pcm = bytes(2 * before) + clip + quiet(500)
    assert known.transcribe(pcm, 0, 0) == "what is the weather"


def test_clips_are_joined_in_the_order_in_which_they_are_said() -> None:
    known = Utterances()
    first, second = known.say("hello there"), known.say("good bye")
    assert known.transcribe(second + quiet(50) + first, 0, 0) == "good bye hello there"


def test_what_is_muted_or_only_alike_is_not_heard() -> None:
    known = Utterances()
    clip = known.say("secret", 500)
    assert known.transcribe(bytes(len(clip)), 0, 0) == ""
    assert known.transcribe(voice("other", 500), 0, 0) == ""
    noisy = random.Random(1).randbytes(len(clip))
    assert known.transcribe(noisy, 0, 0) == ""
    with pytest.raises(ValueError, match="no audible stretch"):
        known.add(quiet(500), "nothing")


def test_half_a_clip_gives_half_its_words() -> None:
    known = Utterances()
    clip = known.say("one two three four", 800)
    half = len(clip) // 2
    assert known.transcribe(clip[:half], 0, 0) == "one two"
    assert known.transcribe(clip[half:], 0, 0) == "three four"


def test_cues_answer_where_no_clip_is_known() -> None:
    known = Utterances()
    clip = known.say("by sound")
    both = FirstOf((known, Cues((Cue(0, 100, "by position"),))))
    assert both.transcribe(clip, 0, 800) == "by sound"
    assert both.transcribe(voice("unknown"), 0, 800) == "by position"
    assert both.transcribe(quiet(9), 200, 800) == ""
