"""JSON and base64 with hostile bytes: both codecs take and refuse the same.

What is sent is JSON with a few bytes changed, pieces of JSON in any order, or just
bytes. `TRIALOGUE_MACHINE_EXAMPLES` says how many of each.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepping import stepping
from trialogue._codec import DEEPEST, FAST, STDLIB, Codec
from trialogue.dialects.openai import OpenAIDialect
from trialogue.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8).map(lambda text: text.encode(errors="ignore").decode()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "delta", "é", ""]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [
        *("{", "}", "[", "]", ",", ":", '"', "'", "\\", "/", " ", "\t", "\n", "\r"),
        *("\f", "\v", "\0", "\x1f", "\x7f", "\xa0", "\u2028", "\ufeff", "é", "😀"),
        *('"a"', '"type"', '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\udc00"'),
        *('"\\x"', '"\\u12"', '"\\u00zz"', '"\\/"', "true", "false", "null", "nul"),
        *("True", "NaN", "Infinity", "-Infinity", "0", "-0", "00", "01", "-", "+1"),
        *("1.", ".5", "1.5", "1e5", "1E+5", "1e", "1e999", "-1e999", "1e-999", "0x1"),
        *("1_000", "9007199254740993", "9223372036854775807", "-9223372036854775808"),
        *("18446744073709551615", "18446744073709551616", "-9223372036854775809"),
        *("9" * 400, "-" + "9" * 5000),
        *("[" * DEEPEST, "]" * DEEPEST, '{"a":' * DEEPEST, "}" * DEEPEST, "//", "/*"),
    ]
)
BYTES = st.sampled_from(
    [b"\xff", b"\xfe\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"]
)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A value's JSON with up to three pieces taken out or put in."""
    text = bytearray(
        json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans())).encode()
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 3))
        piece = draw(PIECES.map(str.encode) | BYTES | st.binary(max_size=2))
        text[at : at + length] = piece
    return bytes(text)


HOSTILE = st.one_of(
    spoiled(),
    spoiled(),
    st.lists(PIECES, max_size=8).map("".join).map(str.encode),
    st.binary(max_size=40),
)


def outcome(function: Callable[[Any], Any], given_: Any) -> tuple[str, str]:
    """What comes of it, as text in which 1, 1.0 and true are three things."""
    try:
        return "taken", repr(function(given_))
    except ValueError as error:
        return "refused", str(error)


@stepping(1000)
@given(HOSTILE)
def test_both_read_and_refuse_the_same_bytes(data: bytes) -> None:
    """And nothing but ValueError comes of it, which does not quote what it was."""
    stdlib, fast = outcome(STDLIB.loads, data), outcome(FAST.loads, data)

    assert fast == stdlib
    assert fast[0] == "taken" or fast[1] == "not valid JSON"


@stepping(500)
@given(HOSTILE)
def test_bytes_and_their_text_are_read_alike(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    for codec in (STDLIB, FAST):
        assert outcome(codec.loads, text) == outcome(codec.loads, data)


@stepping(500)
@given(HOSTILE, st.sampled_from([STDLIB, FAST]), st.sampled_from([STDLIB, FAST]))
def test_what_was_read_can_be_written_and_read(
    data: bytes, reader: Codec, writer: Codec
) -> None:
    try:
        value = reader.loads(data)
    except ValueError:
        return
    assert repr(reader.loads(writer.dumps(value))) == repr(value)


@stepping(1000)
@given(
    st.binary(max_size=12).map(STDLIB.b64encode),
    st.integers(0, 16),
    st.integers(0, 2),
    st.sampled_from(
        ["", "=", "==", "A", "-", "_", "+", "/", " ", "\n", "é", "\0", "*"]
    ),
)
def test_both_refuse_the_same_base64(
    text: str, at: int, length: int, piece: str
) -> None:
    spoilt = text[:at] + piece + text[at + length :]

    assert outcome(FAST.b64decode, spoilt) == outcome(STDLIB.b64decode, spoilt)


@pytest.mark.behaviour("C10")
@stepping(500)
@given(HOSTILE.map(lambda data: data.decode(errors="replace")))
def test_a_dialect_reads_a_frame_or_says_that_it_is_none(text: str) -> None:
    """The next frame is read as ever."""
    dialect = OpenAIDialect()
    with suppress(ProtocolError):
        dialect.decode(text)
    good = '{"type":"response.output_text.delta","event_id":"e","response_id":"r",'
    good += '"item_id":"i","output_index":0,"content_index":0,"delta":"x"}'
    (event,) = dialect.decode(good)
    assert event.text == "x"  # type: ignore[union-attr]
