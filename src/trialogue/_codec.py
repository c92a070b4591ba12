"""JSON and base64, from the fastest libraries that are installed.

The only place that chooses: `orjson` and `pybase64` where they can be imported, the
standard library otherwise. Both ways take and refuse the same things, so that a program
behaves alike with and without the extra.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, TypeAlias

import attrs

__all__ = [
    "DEEPEST",
    "FAST",
    "STDLIB",
    "Codec",
    "Json",
    "b64decode",
    "b64encode",
    "dumps",
    "is_flat",
    "loads",
    "not_too_deep",
    "read",
]

Json: TypeAlias = Any
"""A value as JSON has it: dict, list, str, int, float, bool or None."""
DEEPEST: Final = 200
"""How many objects and arrays may lie in one another."""
_SURELY_64_BITS: Final = 19  # digits, or a sign and one less
_BEYOND_64_BITS: Final = 1e20
_NESTING: Final = frozenset((dict, list))


@attrs.frozen
class Codec:
    """One set of functions for JSON text and base64 text.

    Attributes:
        loads: JSON text to plain values. NaN, infinities, numbers that come to one,
            lone surrogates and nesting beyond `DEEPEST` are refused. What was read can
            be written. Raises ValueError without quoting the text.
        read: as `loads`, but however deep it is nested, and its ValueError may hold the
            text. `not_too_deep` is to be asked of what is taken as it is.
        dumps: plain values to compact JSON text, not escaped beyond need; NaN and the
            infinities become null. Raises ValueError for values that JSON cannot hold.
        b64encode: bytes to padded base64 of the standard alphabet.
        b64decode: the reverse, strictly: no foreign characters, no missing or excess
            padding. Raises ValueError.
    """

    loads: Callable[[str | bytes], Json]
    read: Callable[[str | bytes], Json]
    dumps: Callable[[Json], str]
    b64encode: Callable[[bytes], str]
    b64decode: Callable[[str], bytes]


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number beyond what a float can hold")
    return value


def _integer(digits: str) -> int | float:
    """Return a float beyond 64 bits, as orjson does."""
    if len(digits) < _SURELY_64_BITS:
        return int(digits)
    value = _number(digits)
    if abs(value) > _BEYOND_64_BITS:
        return value
    exact = int(digits)
    return exact if -(2**63) <= exact < 2**64 else value


_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_number, parse_int=_integer
)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _loads(text: str | bytes) -> Json:
    try:
        if not isinstance(text, str):
            text = text.decode()
        text.encode()
        value = _DECODER.decode(text)
        if _SURROGATE.search(text):
            _write(value).encode()  # half a character cannot be written again
    except (ValueError, RecursionError):
        # from None: a JSONDecodeError carries the whole document.
        raise ValueError("not valid JSON") from None
    return _shallow(value, text.count("[") + text.count("{"))


def _shallow(value: Json, brackets: int) -> Json:
    """Return the value of a text with so many brackets, unless it is nested too deep.

    Writers follow fewer levels than readers do, and fewer still in a deep call.
    """
    if brackets > DEEPEST:
        level = [value]
        for _ in range(DEEPEST + 1):
            level = [inner for outer in level for inner in _inside(outer)]
        if level:
            raise ValueError("not valid JSON")
    return value


def _inside(value: Json) -> Iterable[Json]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
    return ()


def _dumps(obj: Json) -> str:
    try:
        text = _write(obj)
        text.encode()  # a lone surrogate passes json.dumps and fails on the wire
    except (TypeError, ValueError, RecursionError):
        raise ValueError("the value has no JSON form") from None
    return text


def _write(obj: Json) -> str:
    try:
        return _ENCODER.encode(obj)
    except ValueError:
        return _ENCODER.encode(_finite(obj))


def _finite(value: Json) -> Json:
    """Put null where a float has no JSON form, as JavaScript and orjson do."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case _:
            return value


def _b64encode(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _b64decode(text: str) -> bytes:
    if len(text) % 4:  # CPython 3.11 lets excess padding pass
        raise ValueError("not valid base64")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ValueError("not valid base64") from None


STDLIB = Codec(
    loads=_loads,
    read=_loads,
    dumps=_dumps,
    b64encode=_b64encode,
    b64decode=_b64decode,
)


def is_flat(value: dict[str, Json]) -> bool:
    """Whether nothing in an object is nested."""
    return _NESTING.isdisjoint(map(type, value.values()))


def not_too_deep(value: Json, text: str | bytes) -> Json:
    """Return what was read of a text, unless it is nested too deep (ValueError)."""
    if value.__class__ is dict and is_flat(value):
        return value  # no need to look through its text
    if isinstance(text, str):
        return _shallow(value, text.count("[") + text.count("{"))
    return _shallow(value, text.count(b"[") + text.count(b"{"))


def _with_orjson(codec: Codec) -> Codec:
    try:
        import orjson
    except ImportError:
        return codec

    def loads(text: str | bytes) -> Json:
        try:
            value = orjson.loads(text)
        except ValueError:
            raise ValueError("not valid JSON") from None
        return not_too_deep(value, text)

    def dumps(obj: Json) -> str:
        try:
            return orjson.dumps(obj, option=orjson.OPT_PASSTHROUGH_DATACLASS).decode()
        except TypeError:
            # Integers beyond 64 bits, mostly: slower, but the same outcome.
            return codec.dumps(obj)

    return attrs.evolve(codec, loads=loads, read=orjson.loads, dumps=dumps)


def _with_pybase64(codec: Codec) -> Codec:
    try:
        import pybase64
    except ImportError:
        return codec

    def b64decode(text: str) -> bytes:
        try:
            return pybase64.b64decode(text, validate=True)
        except ValueError:
            raise ValueError("not valid base64") from None

    return attrs.evolve(
        codec, b64encode=pybase64.b64encode_as_string, b64decode=b64decode
    )


FAST = _with_pybase64(_with_orjson(STDLIB))
"""The set in use; equal to `STDLIB` where neither library is installed."""

loads = FAST.loads
read = FAST.read
dumps = FAST.dumps
b64encode = FAST.b64encode
b64decode = FAST.b64decode
