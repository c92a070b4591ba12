"""The protocol as its provider publishes it: the types of the `openai` package.

Shared by the tests that hold our wire classes, what we send and what the local server
sends against them. The package is for tests alone; the library does not use it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from itertools import zip_longest
from typing import Any, Literal, Union, get_args, get_origin

import openai.types.beta.realtime as beta
import openai.types.realtime as realtime
import pydantic

__all__ = [
    "BETA_CLIENT_MODELS",
    "BETA_SERVER_MODELS",
    "CLIENT_MODELS",
    "SERVER_MODELS",
    "examples_of",
    "strangers",
    "taken_as",
]


def _models(union: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cls in get_args(union):
        if isinstance(cls, type) and issubclass(cls, pydantic.BaseModel):
            for name in get_args(cls.model_fields["type"].annotation):
                found[name] = cls
        else:
            found |= _models(cls)
    return found


SERVER_MODELS: dict[str, Any] = _models(realtime.RealtimeServerEvent)
"""The model of every event that a server sends, by its type."""

CLIENT_MODELS: dict[str, Any] = _models(realtime.RealtimeClientEvent)
"""The model of every event that a client sends, by its type."""

BETA_SERVER_MODELS: dict[str, Any] = _models(beta.RealtimeServerEvent)
"""The same of the beta's servers."""

BETA_CLIENT_MODELS: dict[str, Any] = _models(beta.RealtimeClientEvent)
"""The same of the beta's clients."""


def strangers(value: Any, path: str = "$") -> list[str]:
    """Return the paths of what a validated model holds and its class does not know.

    The models take unknown keys, so that validation alone would let them pass.
    """
    if isinstance(value, pydantic.BaseModel):
        unknown = [f"{path}.{name}" for name in value.model_extra or {}]
        known = ((name, getattr(value, name)) for name in type(value).model_fields)
        return unknown + [
            found
            for name, inner in known
            for found in strangers(inner, f"{path}.{name}")
        ]
    if isinstance(value, list):
        return [
            found
            for index, inner in enumerate(value)
            for found in strangers(inner, f"{path}[{index}]")
        ]
    return []


@cache
def _adapter(kind: str) -> Any:
    if kind == "response.create":
        # Item references have request types of their own, outside of the union.
        name = "response_create_event_with_references_param"
        module = import_module(f"openai.types.realtime.{name}")
        return pydantic.TypeAdapter(module.ResponseCreateEventWithReferencesParam)
    return pydantic.TypeAdapter(realtime.RealtimeClientEventParam)


def taken_as(data: dict[str, Any]) -> object:
    """Return what the request types take of a client's event: all, if it is right.

    Raises:
        pydantic.ValidationError: they do not take it.
    """
    return _listed(_adapter(data["type"]).validate_python(data))


def _listed(value: Any) -> Any:
    """Read the lazy iterators that pydantic makes of `Iterable`."""
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_listed(inner) for inner in value]
    return value


# --- examples -------------------------------------------------------------------------

_LEAVES: dict[Any, list[Any]] = {
    str: ["dGV4dA==", ""],  # readable as text and as base64
    int: [7, 0],
    float: [0.25, 1],
    bool: [True, False],
    object: [{"any": ["thing", 1, None]}, "thing"],
    Any: [{"any": ["thing", 1, None]}, "thing"],
}
# Where the published type is wider than the text that describes it.
_NARROW: dict[tuple[str, str], list[Any]] = {
    ("RealtimeFunctionTool", "parameters"): [{"type": "object", "properties": {}}],
    ("RealtimeResponseCreateParams", "conversation"): ["auto", "none"],
}
# One class describes parts of all types; each type has but these fields.
_PARTS: dict[str, set[str]] = {
    "input_text": {"type", "text"},
    "input_audio": {"type", "audio", "transcript"},
    "input_image": {"type", "image_url", "detail"},
    "output_text": {"type", "text"},
    "output_audio": {"type", "audio", "transcript"},
    "text": {"type", "text"},
    "audio": {"type", "audio", "transcript"},
}


def examples_of(tp: Any) -> list[Any]:
    """Return JSON values of an annotation that take every branch of it.

    Every field of a model is set in every example; of fields with several possible
    values each has its turn.
    """
    if tp in _LEAVES:
        return _LEAVES[tp]
    if isinstance(tp, type) and issubclass(tp, pydantic.BaseModel):
        return list(_objects(tp))
    args, origin = get_args(tp), get_origin(tp)
    if origin is typing.Annotated:
        return examples_of(args[0])
    if origin is Literal:
        return list(args)
    if origin in (Union, types.UnionType):
        # What may be null may be absent; whether it may be null is asked elsewhere.
        branches = [arg for arg in args if arg is not types.NoneType]
        return [value for branch in branches for value in examples_of(branch)]
    if origin is list:
        return [[value] for value in examples_of(args[0])] + [[]]
    if origin is dict:
        return [{"key": value} for value in examples_of(args[1])]
    raise AssertionError(f"no examples of {tp}")


def _objects(model: Any) -> Iterator[dict[str, Any]]:
    fields = {
        field.alias or name: (
            _NARROW.get((model.__name__, name)) or examples_of(field.annotation)
        )
        for name, field in model.model_fields.items()
    }
    for row in zip_longest(*fields.values()):
        values = zip(fields.items(), row, strict=True)
        made = {name: options[0] if v is None else v for (name, options), v in values}
        known = _PARTS.get(made.get("type", ""), made.keys())
        yield {name: value for name, value in made.items() if name in known}
