"""Python values as plain JSON data: what a tool may return, what a default may be."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

import attrs

__all__ = ["NotPlain", "to_plain"]


class NotPlain(Exception):
    """A value has no form in JSON.

    Attributes:
        type_name: the class of the value at fault, which may stand inside another.
    """

    def __init__(self, type_name: str) -> None:
        super().__init__(f"a value of type {type_name} has no form in JSON")
        self.type_name = type_name


def to_plain(value: Any) -> Any:
    """Return `value` as dicts with text keys, lists, text, numbers, booleans and None.

    attrs instances and dataclasses become objects, enum members their value, dates and
    times ISO 8601, decimals, UUIDs and paths text, sets lists.

    Raises:
        NotPlain: for anything else, for NaN and the infinities, and for a value that
            contains itself.
    """
    try:
        return _plain(value)
    except RecursionError:
        raise NotPlain(type(value).__qualname__) from None


def _plain(value: Any) -> Any:
    match value:
        case enum.Enum():
            return _plain(value.value)
        case None | bool():
            return value
        case str():
            return _text(value)
        case int():
            return int(value)
        case float():
            return _number(value)
        case datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal() | uuid.UUID() | PurePath():
            return str(value)
        case _:
            return _compound(value)


def _compound(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, AbstractSet):  # sorted: equal values give equal text
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, type):
        raise NotPlain("type")
    if attrs.has(type(value)):
        members = attrs.fields(type(value))
        return _fields(value, ((f.name, f.alias or f.name) for f in members))
    if dataclasses.is_dataclass(value):
        return _fields(value, ((f.name, f.name) for f in dataclasses.fields(value)))
    raise NotPlain(type(value).__qualname__)


def _fields(value: Any, names: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {key: _plain(getattr(value, name)) for name, key in names}


def _key(key: Any) -> str:
    plain = key.value if isinstance(key, enum.Enum) else key
    if not isinstance(plain, str):
        raise NotPlain(f"{type(key).__qualname__} (as a key)")
    return _text(plain)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotPlain("str with lone surrogates") from None
    return str(value)


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise NotPlain("float (not a finite number)")
    return float(value)
