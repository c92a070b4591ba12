"""Converters between wire classes and JSON values, by cattrs.

Three are made from the same hooks. `quick` and `detailed` read what a server sends:
unknown keys, tags and enum values pass. `strict` reads what a client sends: it refuses
them. All three are strict about primitives, which cattrs by itself would coerce (None
to "None", "7" to 7, "abc" to a tuple of letters).
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from trialogue._codec import b64decode, b64encode
from trialogue.dialects.openai.wire.base import UNSET, Raw, Unset

__all__ = [
    "BadValue",
    "Hook",
    "UnknownTag",
    "WrongType",
    "detailed_converter",
    "quick_converter",
    "strict_converter",
]

Hook: TypeAlias = Callable[[Any, Any], Any]

_NAMES: dict[Any, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    types.NoneType: "null",
}


class WrongType(TypeError):
    """A JSON value of another kind than expected. Holds the kinds, not the value."""

    def __init__(self, expected: str, value: object) -> None:
        got = _NAMES.get(type(value), "something else")
        super().__init__(f"expected {expected}, but got {got} instead")


class BadValue(ValueError):
    """A value of the right kind that is not allowed here."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class UnknownTag(BadValue):
    """An object whose `type` is none of the known ones."""


def _is_union(tp: Any) -> bool:
    return get_origin(tp) in (Union, types.UnionType)


def _is_pairs(tp: Any) -> bool:
    return get_origin(tp) is dict


def _is_sequence(tp: Any) -> bool:
    return get_origin(tp) is tuple


def _is_literal(tp: Any) -> bool:
    return get_origin(tp) is Literal


def tag_of(cls: Any) -> str | None:
    """Return the value of the `type` key of objects of this class, or None."""
    tag = getattr(cls, "type", None)
    return tag if isinstance(tag, str) else None


def _one_of(allowed: tuple[Any, ...]) -> str:
    return "supported values are: " + ", ".join(repr(value) for value in allowed)


def _primitive(kind: type, expected: str) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        if value.__class__ is kind:
            return value
        raise WrongType(expected, value)

    return structure


def _number(value: Any, _: Any) -> Any:
    if value.__class__ is float or value.__class__ is int:
        return value
    raise WrongType("a number", value)


def _whole_number(value: Any, _: Any) -> Any:
    # Some servers compute milliseconds in floating point and send 840.0.
    if value.__class__ is int:
        return value
    if value.__class__ is float and value.is_integer():
        return int(value)
    raise WrongType("an integer", value)


def _binary(value: Any, _: Any) -> bytes:
    if value.__class__ is not str:
        raise WrongType("a base64 string", value)
    try:
        return b64decode(value)
    except ValueError as error:
        raise BadValue(str(error)) from None


def _open_enum(value: Any, _: Any) -> Any:
    if value.__class__ is str:
        return value
    raise WrongType("a string", value)


def _closed_enum(allowed: tuple[Any, ...]) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        if value.__class__ is not str:
            raise WrongType("a string", value)
        if value not in allowed:
            raise BadValue(_one_of(allowed))
        return value

    return structure


class _Maker:
    """Makes the hooks of one converter."""

    def __init__(self, converter: Converter, *, strict: bool) -> None:
        self._converter = converter
        self._strict = strict

    def literal(self, tp: Any) -> Hook:
        return _closed_enum(get_args(tp)) if self._strict else _open_enum

    def sequence(self, tp: Any) -> Hook:
        listed: Any = types.GenericAlias(list, (get_args(tp)[0],))
        hook = self._converter.get_structure_hook(listed)

        def structure(value: Any, _: Any) -> Any:
            if value.__class__ is not list:
                raise WrongType("an array", value)
            return tuple(hook(value, listed))

        return structure

    def pairs(self, tp: Any) -> Hook:
        strings = self._strict and get_args(tp)[1] is str

        def structure(value: Any, _: Any) -> Any:
            if value.__class__ is not dict:
                raise WrongType("an object", value)
            if strings and any(item.__class__ is not str for item in value.values()):
                raise WrongType("an object of strings", value)
            return value

        return structure

    def attrs_class(self, cls: Any) -> Hook:
        hook = make_dict_structure_fn(
            cls,
            self._converter,
            _cattrs_forbid_extra_keys=self._strict,
            _cattrs_detailed_validation=self._converter.detailed_validation,
        )
        untag = self._strict and tag_of(cls) is not None

        def structure(value: Any, _: Any) -> Any:
            if value.__class__ is not dict:
                raise WrongType("an object", value)
            if untag:
                value = {k: v for k, v in value.items() if k != "type"}
            return hook(value, cls)

        return structure

    def union(self, tp: Any) -> Hook:
        """Choose by the kind of JSON value, and among objects by their `type`."""
        members = [arg for arg in get_args(tp) if arg is not Unset]
        objects = [arg for arg in members if attrs.has(arg)]
        kinds = {
            _json_kind(arg): (self._converter.get_structure_hook(arg), arg)
            for arg in members
            if not attrs.has(arg)
        }
        if int not in kinds and float in kinds:
            kinds[int] = kinds[float]
        if objects:
            kinds[dict] = (self._objects(objects), None)
        if float not in kinds and int in kinds:
            kinds[float] = kinds[int]
        if not self._strict and Unset in get_args(tp):
            # Some servers show what is not set as null; the published types let them.
            kinds.setdefault(types.NoneType, (_absent, None))
        expected = " or ".join(
            name for kind, name in _NAMES.items() if kind in kinds and kind is not float
        )

        def structure(value: Any, _: Any) -> Any:
            try:
                hook, arg = kinds[value.__class__]
            except KeyError:
                raise WrongType(expected, value) from None
            return hook(value, arg)

        return structure

    def _objects(self, classes: list[Any]) -> Hook:
        hooks = {
            tag_of(cls): (self._converter.get_structure_hook(cls), cls)
            for cls in classes
            if cls is not Raw
        }
        if None in hooks:  # the only class of objects here, and untagged
            return hooks[None][0]
        tags = tuple(hooks)
        strict = self._strict or Raw not in classes

        def structure(value: Any, _: Any) -> Any:
            tag = value.get("type")
            if tag.__class__ is str and tag in hooks:
                hook, cls = hooks[tag]
                return hook(value, cls)
            if not strict:
                return Raw(value)
            if "type" not in value:
                raise KeyError("type")
            raise UnknownTag(_one_of(tags))

        return structure


def _json_kind(tp: Any) -> Any:
    if tp is types.NoneType:
        return types.NoneType
    if _is_literal(tp):
        return str
    if _is_sequence(tp):
        return list
    if _is_pairs(tp):
        return dict
    return str if tp is bytes else tp


def _null(value: Any, _: Any) -> None:
    if value is not None:
        raise WrongType("null", value)


def _absent(value: Any, _: Any) -> Unset:
    return UNSET


def _make(*, strict: bool, detailed: bool) -> Converter:
    converter = Converter(detailed_validation=detailed, omit_if_default=True)
    hooks: dict[Any, Hook] = {
        str: _primitive(str, "a string"),
        bool: _primitive(bool, "a boolean"),
        int: _primitive(int, "an integer") if strict else _whole_number,
        float: _number,
        bytes: _binary,
        types.NoneType: _null,
    }
    for kind, hook in hooks.items():
        converter.register_structure_hook(kind, hook)
    make = _Maker(converter, strict=strict)
    factories: list[tuple[Callable[[Any], bool], Callable[[Any], Hook]]] = [
        (attrs.has, make.attrs_class),
        (_is_literal, make.literal),
        (_is_sequence, make.sequence),
        (_is_pairs, make.pairs),
        (_is_union, make.union),
    ]
    for applies, factory in factories:
        converter.register_structure_hook_factory(applies, factory)
    converter.register_structure_hook(Raw, lambda value, _: Raw(value))
    _add_unstructuring(converter)
    return converter


def _add_unstructuring(converter: Converter) -> None:
    def tagged(cls: Any) -> Callable[[Any], dict[str, Any]]:
        # Only what is absent is left out: an index of 0 is said, though a default.
        said: dict[str, Any] = {
            field.name: override(omit_if_default=False)
            for field in attrs.fields(cls)
            if field.default is not UNSET
        }
        hook = make_dict_unstructure_fn(
            cls, converter, _cattrs_omit_if_default=True, **said
        )
        tag = tag_of(cls)
        if tag is None:
            return hook
        return lambda value: {"type": tag, **hook(value)}

    converter.register_unstructure_hook_factory(attrs.has, tagged)
    converter.register_unstructure_hook(bytes, b64encode)
    converter.register_unstructure_hook(dict, lambda value: value)
    converter.register_unstructure_hook(Raw, lambda value: value.data)


@cache
def quick_converter() -> Converter:
    """Return the converter for what a server sends; its errors name no place."""
    return _make(strict=False, detailed=False)


@cache
def detailed_converter() -> Converter:
    """Return the same with errors that name the place, to explain a failure."""
    return _make(strict=False, detailed=True)


@cache
def strict_converter() -> Converter:
    """Return the converter for what a client sends: nothing unknown passes."""
    return _make(strict=True, detailed=True)
