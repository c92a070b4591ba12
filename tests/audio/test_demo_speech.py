"""The demo's recorded speech, listened to by numbers."""

from __future__ import annotations

from array import array
from importlib.resources import files

import pytest

from trialogue.demo.speech import (
    CALLER_SCRIPT,
    LINES,
    caller_pcm,
    caller_timeline,
    clip,
)
from trialogue.testing.vad import EnergyVAD, SpeechStarted, SpeechStopped

CALLER = [name for _, name in CALLER_SCRIPT if name]


def turns(pcm: bytes) -> list[tuple[int, int]]:
    """Start and end in ms of what the server's turn detection finds in `pcm`."""
    vad = EnergyVAD(threshold=0.5, prefix_padding_ms=0, silence_duration_ms=500)
    events = vad.feed(pcm)
    starts = [event.start_ms for event in events if isinstance(event, SpeechStarted)]
    ends = [event.end_ms for event in events if isinstance(event, SpeechStopped)]
    assert len(starts) == len(ends)
    return list(zip(starts, ends, strict=True))


@pytest.mark.parametrize("name", LINES)
def test_a_clip_is_one_turn_trimmed_level_and_not_clipped(name: str) -> None:
    pcm = clip(name)
    samples = array("h", pcm)
    assert 1.0 < len(samples) / 24_000 < 3.0
    assert len(samples) % 480 == 0, "whole chunks of 20 ms"
    assert max(map(abs, samples)) < 30_000
    loudness = (sum(sample * sample for sample in samples) / len(samples)) ** 0.5
    assert 2_000 < loudness < 4_000
    assert samples[0] == samples[-1] == 0
    ((start, end),) = turns(pcm + bytes(48_000))
    assert start <= 50
    assert end - 500 >= len(samples) / 24 - 150


def test_there_is_a_file_for_each_line_and_none_besides_and_all_are_small() -> None:
    folder = files("trialogue.demo") / "speech"
    found = {file.name for file in folder.iterdir()}
    assert found == {f"{name}.wav" for name in LINES} | {"README.md"}
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) < 1_500_000


def test_the_caller_says_three_sentences_and_is_heard_in_three_turns() -> None:
    assert CALLER == ["caller_weather", "caller_city", "caller_back"]
    pcm = caller_pcm()
    assert 20 < len(pcm) / 48_000 < 30
    heard = turns(pcm)
    assert len(heard) == 3
    for (start, end), spoken in zip(heard, caller_timeline(), strict=True):
        assert pcm[2 * spoken.start : 2 * spoken.end] == clip(spoken.name)
        assert spoken.start_ms <= start < spoken.start_ms + 60
        assert spoken.end_ms - 150 <= end - 500 <= spoken.end_ms


@pytest.mark.parametrize("name", CALLER)
def test_muting_a_sentence_leaves_the_others_where_they_were(name: str) -> None:
    whole, muted = caller_pcm(), caller_pcm(muted=[name])
    assert len(whole) == len(muted)
    (gone,) = [spoken for spoken in caller_timeline() if spoken.name == name]
    start, end = 2 * gone.start, 2 * gone.end
    assert muted == whole[:start] + bytes(end - start) + whole[end:]
    assert turns(muted) == [
        turn for turn in turns(whole) if not gone.start_ms <= turn[0] < gone.end_ms
    ]


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"no clip 'cough'.*caller_weather"):
        clip("cough")
    with pytest.raises(KeyError, match="says nothing called kelly_greeting"):
        caller_pcm(muted=["kelly_greeting"])
