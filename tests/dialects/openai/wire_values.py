"""Hypothesis strategies for every wire class, made from its annotations."""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from hypothesis import strategies as st

from trialogue.dialects.openai.wire import UNSET, Raw, Unset

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2)
    ),
    max_leaves=4,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=2)
UNKNOWN = OBJECT.map(lambda data: Raw({**data, "type": "from_the_future"}))

_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    bool: st.booleans(),
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bytes: st.binary(max_size=9),
    types.NoneType: st.none(),
    Unset: st.just(UNSET),
    Any: JSON | st.just(UNSET),
}


@cache
def values_of(tp: Any, *, known_only: bool = False) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of an annotation.

    With `known_only` it makes no objects of unknown types, which servers refuse.
    """
    if tp in _LEAVES:
        return _LEAVES[tp]
    if tp is Raw:
        return st.nothing() if known_only else UNKNOWN
    if attrs.has(tp):
        return _instances(tp, known_only)
    args = get_args(tp)
    if get_origin(tp) is Literal:
        return st.sampled_from(args)
    if get_origin(tp) in (Union, types.UnionType):
        return st.one_of([values_of(arg, known_only=known_only) for arg in args])
    if get_origin(tp) is tuple:
        inner = values_of(args[0], known_only=known_only)
        return st.lists(inner, max_size=2).map(tuple)
    if get_origin(tp) is dict:
        return OBJECT if args[1] is Any else st.dictionaries(TEXT, TEXT, max_size=2)
    raise AssertionError(f"no strategy for {tp}")


def _instances(cls: Any, known_only: bool) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    fields = {
        field.name: values_of(hints[field.name], known_only=known_only)
        for field in attrs.fields(cls)
    }
    return st.builds(cls, **fields)
