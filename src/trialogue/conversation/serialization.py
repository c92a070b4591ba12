"""Items as plain data, and back, with errors that name the place.

The format is versioned: `{"format": "trialogue.chat_context", "version": 1, "items":
[…]}`. Every item and content part carries its `kind`; fields that have their default
are left out. A reader refuses kinds and fields it does not know, so that nothing is
lost silently.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import attrs

from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Item,
    Message,
    OpaqueItem,
    TextContent,
)
from trialogue.errors import ConfigurationError

__all__ = ["FORMAT", "VERSION", "dump", "dump_text", "load", "load_text"]

FORMAT: Final = "trialogue.chat_context"
VERSION: Final = 1

T = TypeVar("T")

_ITEMS: Final[dict[str, type[Any]]] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": FunctionCallOutput,
    "opaque": OpaqueItem,
}
_PARTS: Final[dict[str, type[Any]]] = {
    "text": TextContent,
    "audio_pending": AudioPending,
    "audio_transcribed": AudioTranscribed,
    "audio_unintelligible": AudioUnintelligible,
    "image": ImageContent,
}
_KINDS: Final = {cls: kind for kind, cls in (_ITEMS | _PARTS).items()}
_HINTS: Final = {cls: typing.get_type_hints(cls) for cls in _KINDS}


def dump(items: tuple[Item, ...]) -> dict[str, Any]:
    """Return the items as data that JSON can hold.

    Raises:
        ConfigurationError: an `OpaqueItem` holds something else.
    """
    for at, item in enumerate(items):
        if isinstance(item, OpaqueItem):
            _check_json(item.data, f"items[{at}].data")
    return {
        "format": FORMAT,
        "version": VERSION,
        "items": [_dump(item) for item in items],
    }


def dump_text(items: tuple[Item, ...]) -> str:
    """Return the items as JSON text; see `dump`."""
    return json.dumps(dump(items))


def load(data: Mapping[str, Any]) -> tuple[Item, ...]:
    """Return the items that `dump` was given.

    Raises:
        ConfigurationError: the data is not of this format; the message names the place.
    """
    if not isinstance(data, Mapping):
        raise _wrong("the top level", "an object", data)
    if data.get("format") != FORMAT:
        raise _wrong("format", repr(FORMAT), data.get("format"))
    if data.get("version") != VERSION:
        raise ConfigurationError(
            f"version: {data.get('version')!r} is not a version of the format that this"
            f" library reads; expected {VERSION}"
        )
    items = data.get("items")
    if not isinstance(items, list):
        raise _wrong("items", "a list", items)
    return tuple(_load(_ITEMS, item, f"items[{at}]") for at, item in enumerate(items))


def load_text(text: str | bytes) -> tuple[Item, ...]:
    """Return the items that `dump_text` was given; see `load`."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise _not_json(f" at character {error.pos}") from error
    except (UnicodeError, RecursionError) as error:
        raise _not_json("") from error
    return load(data)


def _dump(value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": _KINDS[type(value)]}
    for field in attrs.fields(type(value)):
        plain = getattr(value, field.name)
        if plain != field.default:
            data[field.name] = (
                [_dump(part) for part in plain] if field.name == "content" else plain
            )
    return data


def _load(kinds: Mapping[str, type[Any]], data: object, where: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(where, "an object", data)
    cls = kinds.get(kind) if isinstance(kind := data.get("kind"), str) else None
    if cls is None:
        raise _wrong(f"{where}.kind", f"one of {', '.join(kinds)}", kind)
    hints = _HINTS[cls]
    if unknown := sorted(set(data) - set(hints) - {"kind"}):
        raise ConfigurationError(
            f"{where}.{unknown[0]}: a {kind} has no such field; it has"
            f" {', '.join(hints)}"
        )
    return cls(**_fields(cls, data, where))


def _fields(cls: type[Any], data: dict[str, Any], where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in attrs.fields(cls):
        place = f"{where}.{field.name}"
        if field.name not in data:
            if field.default is attrs.NOTHING:
                raise ConfigurationError(f"{place}: missing; it has no default")
        elif field.name == "content":
            values["content"] = _content(data["content"], place)
        else:
            values[field.name] = _plain(
                _HINTS[cls][field.name], data[field.name], place
            )
    return values


def _content(value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    return tuple(_load(_PARTS, part, f"{where}[{at}]") for at, part in enumerate(value))


def _plain(hint: Any, value: T, where: str) -> T:
    """Check a field that is a string, a number, a mapping, or a choice of these."""
    if not _matches(hint, value):
        raise _wrong(where, _spell(hint), value)
    return value


def _matches(hint: Any, value: object) -> bool:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_matches(option, value) for option in typing.get_args(hint))
    return isinstance(value, origin or hint) and not isinstance(value, bool)


def _spell(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_spell(option) for option in typing.get_args(hint))
    names = {str: "a string", int: "a whole number", dict: "an object"}
    return names.get(origin or hint, "null")


def _check_json(value: object, where: str) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{where}: not something that JSON can hold ({error}); use dicts, lists,"
            " strings, finite numbers, booleans and None"
        ) from error


def _not_json(where: str) -> ConfigurationError:
    return ConfigurationError(
        f"not JSON{where}: expected the text that ChatContext.to_json() returns"
    )


def _wrong(where: str, expected: str, value: object) -> ConfigurationError:
    # The value itself may be what the user said; its type is enough to find the fault.
    found = "null" if value is None else type(value).__name__
    return ConfigurationError(f"{where}: expected {expected}, found {found}")
