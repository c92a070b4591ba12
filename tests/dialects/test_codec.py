"""JSON and base64: both sets of functions take and refuse the same things."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialogue import _codec
from trialogue._codec import DEEPEST, FAST, STDLIB, Codec

CODECS = pytest.mark.parametrize("codec", [STDLIB, FAST], ids=["stdlib", "fast"])

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcé"), inner),
    max_leaves=10,
)


@CODECS
@given(value=json_values)
def test_json_comes_back_as_it_was(codec: Codec, value: object) -> None:
    assert codec.loads(codec.dumps(value)) == value


@given(value=json_values)
def test_each_set_reads_what_the_other_wrote(value: object) -> None:
    assert STDLIB.loads(FAST.dumps(value)) == value
    assert FAST.loads(STDLIB.dumps(value)) == value


@CODECS
@given(data=st.binary())
def test_bytes_come_back_as_they_were(codec: Codec, data: bytes) -> None:
    assert codec.b64decode(codec.b64encode(data)) == data


@given(data=st.binary())
def test_both_sets_write_the_same_base64(data: bytes) -> None:
    assert STDLIB.b64encode(data) == FAST.b64encode(data)


@CODECS
@pytest.mark.parametrize(
    "text", ["QQ", "Q", "QQ=", "QQ===", "AAAA=", "Q*Q=", "QQ==QQ==", "QQ\n==", "é", "="]
)
def test_base64_is_strict(codec: Codec, text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        codec.b64decode(text)


@CODECS
@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "[1,]", "Infinity", "-Infinity", '{"a":1}x', "[" * 100_000]
)
def test_json_that_is_none_is_refused_without_quoting_it(
    codec: Codec, text: str
) -> None:
    with pytest.raises(ValueError, match="not valid JSON") as caught:
        codec.loads(text)
    assert str(caught.value) == "not valid JSON"
    assert not hasattr(caught.value, "doc")


@CODECS
@pytest.mark.parametrize(
    "text",
    [
        *('"\\ud800"', '{"\\uDFFF":1}', '["\\udc00\\ud800"]', '"\ud800"'),
        *("1e999", "[-1e999]", b'"\xed\xa0\x80"', '{"a":1}'.encode("utf-16")),
    ],
)
def test_what_could_not_be_written_again_is_not_read(
    codec: Codec, text: str | bytes
) -> None:
    """Half a character, a number that comes to infinity, and other encodings."""
    with pytest.raises(ValueError, match="not valid JSON"):
        codec.loads(text)


@CODECS
@pytest.mark.parametrize("encoding", [str, str.encode])
def test_nesting_has_an_end_for_both(codec: Codec, encoding: Any) -> None:
    """What is nested as deep as can be read can be written, from a deep call too."""
    deep = "[" * DEEPEST + "]" * DEEPEST

    assert codec.dumps(codec.loads(encoding(deep))) == deep
    assert len(codec.loads("[" + "[]," * 1000 + "[]]")) == 1001
    for wide in ("", '"a",' * 1000):
        with pytest.raises(ValueError, match="not valid JSON"):
            codec.loads(encoding(f'[{wide}{{"a":{deep}}}]'))


@CODECS
def test_a_character_in_two_halves_is_read(codec: Codec) -> None:
    assert codec.loads('"\\ud83d\\uDE00"') == "\N{GRINNING FACE}"


@CODECS
@pytest.mark.parametrize("value", [object(), b"bytes", {1: 2, "a": {3}}, "\ud800"])
def test_values_without_a_json_form_are_refused(codec: Codec, value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        codec.dumps(value)


@CODECS
def test_integers_of_any_size_are_written(codec: Codec) -> None:
    assert codec.dumps({"n": 2**70}) == '{"n":1180591620717411303424}'


@CODECS
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_without_a_json_form_are_null(codec: Codec, value: float) -> None:
    assert (
        codec.dumps({"a": [value, 1.5], "b": (value,)}) == '{"a":[null,1.5],"b":[null]}'
    )


@CODECS
def test_text_is_compact_and_not_escaped_beyond_need(codec: Codec) -> None:
    assert codec.dumps({"a": ["é", 1]}) == '{"a":["é",1]}'


def test_the_fast_set_is_the_one_in_use() -> None:
    assert _codec.loads is FAST.loads
    assert _codec.b64decode is FAST.b64decode
