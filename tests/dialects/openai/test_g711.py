"""G.711: the codes of the standard, and streams that may be cut anywhere."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialogue.dialects.openai import g711
from trialogue.dialects.openai.g711 import Decoder, Encoder, Law

LAWS = pytest.mark.parametrize("law", ["pcmu", "pcma"])
EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = array("h", range(-32768, 32768))


@LAWS
@pytest.mark.behaviour("A1")
def test_every_code_comes_back_as_it_was(law: Law) -> None:
    back = g711.encode(law, g711.decode(law, EVERY_CODE))
    # µ-law has two zeros; the negative one comes back as the positive one.
    assert back == EVERY_CODE.replace(b"\x7f", b"\xff" if law == "pcmu" else b"\x7f")


@pytest.mark.parametrize(
    ("law", "code", "sample"),
    [
        ("pcmu", 0xFF, 0),
        ("pcmu", 0x80, 32124),
        ("pcmu", 0x00, -32124),
        ("pcma", 0xD5, 8),
        ("pcma", 0x55, -8),
        ("pcma", 0xAA, 32256),
        ("pcma", 0x2A, -32256),
    ],
)
def test_codes_mean_what_the_standard_says(law: Law, code: int, sample: int) -> None:
    assert g711.decode(law, bytes([code]))[0] == sample
    assert g711.encode(law, array("h", [sample])) == bytes([code])


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="audioop left Python in 3.13")
@LAWS
@pytest.mark.behaviour("A1")
def test_all_samples_are_coded_as_by_the_standard_library(law: Law) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    encode, decode = (
        (audioop.lin2ulaw, audioop.ulaw2lin)
        if law == "pcmu"
        else (audioop.lin2alaw, audioop.alaw2lin)
    )
    assert g711.encode(law, EVERY_SAMPLE) == encode(EVERY_SAMPLE.tobytes(), 2)
    assert g711.decode(law, EVERY_CODE).tobytes() == decode(EVERY_CODE, 2)


@LAWS
@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_a_stream_decodes_alike_however_it_was_cut(
    law: Law, data: bytes, cuts: list[int]
) -> None:
    decoder = Decoder(law)
    pieces = [decoder.feed(piece) for piece in _cut(data, cuts)]
    assert b"".join(pieces) == Decoder(law).feed(data)
    assert len(b"".join(pieces)) == 6 * len(data)


@LAWS
@pytest.mark.behaviour("A2")
@given(pcm=st.binary(max_size=90), cuts=st.lists(st.integers(0, 90), max_size=4))
def test_a_stream_encodes_alike_however_it_was_cut(
    law: Law, pcm: bytes, cuts: list[int]
) -> None:
    """Not even a cut inside of a sample matters."""
    encoder = Encoder(law)
    pieces = [encoder.feed(piece) for piece in _cut(pcm, cuts)]
    assert b"".join(pieces) == Encoder(law).feed(pcm)
    assert len(b"".join(pieces)) == len(pcm) // 6


@LAWS
@pytest.mark.behaviour("A1")
def test_speech_keeps_its_shape_through_both_ways(law: Law) -> None:
    """A tone of telephone pitch comes back within a few percent of its amplitude."""
    tone = [
        round(12_000 * math.sin(2 * math.pi * 440 * t / 24_000)) for t in range(2400)
    ]
    pcm = array("h", tone).tobytes()
    back = array("h", Decoder(law).feed(Encoder(law).feed(pcm)))
    assert len(back) == len(tone)
    # The mean of three samples stands where the middle one was: one sample early.
    error = max(abs(back[t + 1] - tone[t]) for t in range(10, 2390))
    assert error < 0.05 * 12_000


@LAWS
def test_what_waits_is_forgotten_on_reset(law: Law) -> None:
    encoder = Encoder(law)
    assert encoder.feed(b"\xff\x7f") == b""
    encoder.reset()
    assert encoder.feed(bytes(6)) == Encoder(law).feed(bytes(6))


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]
