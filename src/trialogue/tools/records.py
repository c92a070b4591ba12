"""Classes whose instances travel as JSON objects: attrs, dataclasses, TypedDict.

The schema and the structuring both read a class through `fields_of`, so they cannot
disagree about its keys.
"""

from __future__ import annotations

import dataclasses
from typing import (
    TYPE_CHECKING,
    Any,
    NotRequired,
    Required,
    get_origin,
    is_typeddict,
)

import attrs

from trialogue.tools.docstring import Docstring, parse_docstring

if TYPE_CHECKING:
    from trialogue.tools.annotations import Namespace

__all__ = ["NO_DEFAULT", "RecordField", "class_docstring", "fields_of", "is_record"]

NO_DEFAULT: Any = object()
"""Stands where there is no default, or none that can be known without a call."""


@attrs.frozen
class RecordField:
    """One key of the JSON object that makes an instance.

    Attributes:
        name: the key, and the keyword argument of the class.
        annotation: the evaluated annotation; None if the field has none.
        required: whether the key must be there.
        default: what a missing key means, or `NO_DEFAULT`.
    """

    name: str
    annotation: Any
    required: bool
    default: Any = NO_DEFAULT


def is_record(annotation: Any) -> bool:
    """Tell whether an annotation is a class with fields (not a generic of one)."""
    if not isinstance(annotation, type) or get_origin(annotation) is not None:
        return is_typeddict(annotation)
    return (
        attrs.has(annotation)
        or dataclasses.is_dataclass(annotation)
        or is_typeddict(annotation)
    )


def fields_of(cls: type, namespace: Namespace) -> tuple[RecordField, ...]:
    """Return the fields that make an instance of `cls`, in order.

    Raises NameError if an annotation names something not defined yet.
    """
    hints = namespace.class_hints(cls)
    if attrs.has(cls):
        return tuple(_attrs_field(f, hints) for f in attrs.fields(cls) if f.init)
    if dataclasses.is_dataclass(cls):
        return tuple(_data_field(f, hints) for f in dataclasses.fields(cls) if f.init)
    return tuple(_key(cls, name, annotation) for name, annotation in hints.items())


def class_docstring(cls: type) -> Docstring:
    """Read a class's own docstring, not the signature that `dataclass` writes there."""
    text = cls.__dict__.get("__doc__")
    if text and text.startswith(f"{cls.__name__}(") and dataclasses.is_dataclass(cls):
        return Docstring()
    return parse_docstring(text)


def _key(cls: type, name: str, annotation: Any) -> RecordField:
    # NB: __required_keys__ overlooks a NotRequired that is still text (PEP 563).
    stated = get_origin(annotation)
    by_default = name in getattr(cls, "__required_keys__", ())
    required = stated is Required or (by_default and stated is not NotRequired)
    return RecordField(name, annotation, required)


def _attrs_field(field: attrs.Attribute[Any], hints: dict[str, Any]) -> RecordField:
    annotation = hints.get(field.name, field.type)
    name = field.alias or field.name
    if field.default is attrs.NOTHING:
        return RecordField(name, annotation, required=True)
    made = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
    default = NO_DEFAULT if made else field.default
    return RecordField(name, annotation, required=False, default=default)


def _data_field(field: dataclasses.Field[Any], hints: dict[str, Any]) -> RecordField:
    has_default = field.default is not dataclasses.MISSING
    made = field.default_factory is not dataclasses.MISSING
    return RecordField(
        field.name,
        hints.get(field.name),
        required=not (has_default or made),
        default=field.default if has_default else NO_DEFAULT,
    )
