"""Whole samples from arbitrary bytes, and other rates to 24 kHz."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trialogue.audio import Rechunker, Resampler
from trialogue.errors import ConfigurationError

pieces = st.lists(st.binary(max_size=9), max_size=20)


@pytest.mark.behaviour("A2")
@given(pieces, st.sampled_from([2, 4, 10]))
def test_rechunking_keeps_every_byte_and_splits_no_sample(
    cuts: list[bytes], unit: int
) -> None:
    rechunker = Rechunker(chunk_bytes=unit)
    chunks = [rechunker.feed(cut) for cut in cuts]
    assert all(len(chunk) % unit == 0 for chunk in chunks)
    whole = b"".join(cuts)
    together = b"".join(chunks)
    assert len(whole) - len(together) < unit
    assert together + rechunker.flush() == whole[: len(whole) - len(whole) % 2]
    assert rechunker.flush() == b""


@pytest.mark.parametrize("unit", [0, -2, 3])
def test_a_unit_that_would_split_samples_is_refused(unit: int) -> None:
    with pytest.raises(ValueError, match="positive multiple of 2"):
        Rechunker(chunk_bytes=unit)


def sine(rate: int, hertz: float, seconds: float = 0.5) -> array[int]:
    return array(
        "h",
        (
            round(10_000 * math.sin(2 * math.pi * hertz * n / rate))
            for n in range(round(rate * seconds))
        ),
    )


def convert(rate: int, samples: array[int]) -> array[int]:
    resampler = Resampler(rate)
    return array("h", resampler.feed(samples.tobytes()) + resampler.flush())


@pytest.mark.behaviour("A1")
@pytest.mark.parametrize(
    "rate", [8_000, 16_000, 22_050, 24_000, 44_100, 44_101, 48_000]
)
def test_a_tone_stays_the_same_tone_at_the_same_time(rate: int) -> None:
    out = convert(rate, sine(rate, 440))
    assert len(out) == 12_000
    expected = sine(24_000, 440)
    worst = max(abs(out[n] - expected[n]) for n in range(600, 11_400))
    assert worst <= 2, "of 10000: the error of rounding, twice"


@pytest.mark.behaviour("A1")
def test_what_24_khz_cannot_hold_is_filtered_out() -> None:
    out = convert(48_000, sine(48_000, 15_000))
    assert max(map(abs, out[600:-600])) <= 10


def test_full_scale_does_not_wrap_around() -> None:
    square = array("h", ([32767] * 20 + [-32768] * 20) * 50)
    out = convert(16_000, square)
    assert min(out) == -32768
    assert max(out) == 32767
    assert all(sample > 20_000 for sample in out[610:620])


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([8_000, 11_025, 32_000, 44_100]),
    st.lists(st.integers(-32768, 32767), max_size=300),
    st.lists(st.integers(1, 101), max_size=8),
)
def test_the_output_does_not_depend_on_the_chunks(
    rate: int, values: list[int], cuts: list[int]
) -> None:
    samples = array("h", values)
    data = samples.tobytes()
    resampler = Resampler(rate)
    out = b""
    for cut in cuts:
        out += resampler.feed(data[:cut])
        data = data[cut:]
    out += resampler.feed(data) + resampler.flush()
    assert out == convert(rate, samples).tobytes()
    assert len(out) // 2 == math.ceil(len(values) * 24_000 / rate)


@pytest.mark.parametrize("rate", [0, -1, 3_999, 192_001])
def test_an_absurd_rate_is_refused(rate: int) -> None:
    with pytest.raises(ConfigurationError, match="4000 to 192000"):
        Resampler(rate)
