"""JSON Schema from annotations.

What a schema here admits is what `trialogue.tools.structuring` accepts, so a model that
keeps to the schema is never told that its arguments are wrong.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from trialogue.errors import ConfigurationError
from trialogue.tools.annotations import Namespace, annotation_text, is_union, peel
from trialogue.tools.plain import NotPlain, to_plain
from trialogue.tools.records import (
    NO_DEFAULT,
    RecordField,
    class_docstring,
    fields_of,
    is_record,
)

if TYPE_CHECKING:
    from trialogue.tools.docstring import Docstring

__all__ = ["LISTS", "MAPPINGS", "SETS", "SchemaBuilder"]

LISTS = (list, Sequence)
SETS = (set, frozenset, AbstractSet)
MAPPINGS = (dict, Mapping)

_SCALARS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}

_SUPPORTED = (
    "use str, int, float, bool, Literal, an Enum, list, tuple, set, dict with str "
    "keys, Optional or a union of these, an attrs class, a dataclass or a TypedDict, "
    "or give the decorator a schema of your own: function_tool(parameters={...})"
)


class SchemaBuilder:
    """Builds the schemas of one tool; a class that contains itself goes to `$defs`."""

    def __init__(self, tool: str, namespace: Namespace) -> None:
        self._tool = tool
        self._namespace = namespace
        self._open: list[type] = []
        self._names: dict[type, str] = {}
        self._definitions: dict[str, dict[str, Any]] = {}

    def object_of(
        self, fields: Sequence[RecordField], documented: Docstring, where: str = ""
    ) -> dict[str, Any]:
        """Return the schema of an object with these keys and no others.

        Raises:
            ConfigurationError: an annotation is missing or cannot be expressed; it
                names the tool, the parameter, the annotation and the remedy.
            NameError: an annotation names something not defined yet.
        """
        properties = {
            field.name: self._property(field, documented, _inside(where, field.name))
            for field in fields
        }
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if required := [field.name for field in fields if field.required]:
            schema["required"] = required
        schema["additionalProperties"] = False
        return schema

    def with_definitions(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Add the classes that were referred to rather than written out."""
        return {**schema, "$defs": self._definitions} if self._definitions else schema

    def of(self, annotation: Any, where: str) -> dict[str, Any]:
        """Return the schema of one annotation; errors are those of `object_of`."""
        annotation, description = peel(annotation)
        schema = self._bare(annotation, where)
        return schema if description is None else {**schema, "description": description}

    def _property(
        self, field: RecordField, documented: Docstring, where: str
    ) -> dict[str, Any]:
        schema = self.of(field.annotation, where)
        said = documented.parameters.get(field.name)
        if said and peel(field.annotation)[1] is None:
            schema = {**schema, "description": said}
        if field.default is not NO_DEFAULT:
            schema = {**schema, **_default(field.default)}
        return schema

    def _bare(self, annotation: Any, where: str) -> dict[str, Any]:
        if annotation is Any:
            return {}
        if isinstance(annotation, type) and annotation in _SCALARS:
            return {"type": _SCALARS[annotation]}
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return self._choice([m.value for m in annotation], annotation, where)
        if is_record(annotation):
            return self._record(annotation, where)
        if is_union(annotation):
            return self._union(annotation, where)
        if get_origin(annotation) is Literal:
            return self._choice(get_args(annotation), annotation, where)
        return self._container(annotation, where)

    def _container(self, annotation: Any, where: str) -> dict[str, Any]:
        origin, parts = get_origin(annotation) or annotation, get_args(annotation)
        if origin is tuple:
            return self._tuple(parts, where)
        if origin in MAPPINGS and (not parts or peel(parts[0])[0] is str):
            return {"type": "object", **self._values(parts[1:], where)}
        if origin in LISTS:
            return {"type": "array", **self._items(parts, where)}
        if origin in SETS:
            return {"type": "array", **self._items(parts, where), "uniqueItems": True}
        raise self._unsupported(annotation, where)

    def _items(self, parts: Sequence[Any], where: str) -> dict[str, Any]:
        return {"items": self.of(parts[0], f"{where}[]")} if parts else {}

    def _values(self, parts: Sequence[Any], where: str) -> dict[str, Any]:
        if not parts:
            return {}
        return {"additionalProperties": self.of(parts[0], f"{where}{{}}")}

    def _tuple(self, parts: Sequence[Any], where: str) -> dict[str, Any]:
        if not parts:
            return {"type": "array"}
        if len(parts) == 2 and parts[1] is Ellipsis:
            return {"type": "array", **self._items(parts[:1], where)}
        items = [self.of(part, f"{where}[{n}]") for n, part in enumerate(parts)]
        size = len(items)
        return {
            "type": "array",
            "prefixItems": items,
            "minItems": size,
            "maxItems": size,
        }

    def _union(self, annotation: Any, where: str) -> dict[str, Any]:
        return {"anyOf": [self.of(member, where) for member in get_args(annotation)]}

    def _choice(
        self, values: Sequence[Any], annotation: Any, where: str
    ) -> dict[str, Any]:
        kinds = {_SCALARS.get(type(value)) for value in values}
        if not kinds or None in kinds:
            raise self._unsupported(
                annotation, where, "its values must be text, numbers, booleans or None"
            )
        schema: dict[str, Any] = {"enum": list(values)}
        return {"type": kinds.pop(), **schema} if len(kinds) == 1 else schema

    def _record(self, cls: type, where: str) -> dict[str, Any]:
        if cls in self._open or cls in self._names:
            return {"$ref": f"#/$defs/{self._definition_name(cls)}"}
        self._open.append(cls)
        try:
            documented = class_docstring(cls)
            fields = fields_of(cls, self._namespace)
            schema = self.object_of(fields, documented, where)
        finally:
            self._open.remove(cls)
        if documented.description:
            schema = {**schema, "description": documented.description}
        if cls not in self._names:
            return schema
        self._definitions[self._names[cls]] = schema
        return {"$ref": f"#/$defs/{self._names[cls]}"}

    def _definition_name(self, cls: type) -> str:
        if cls not in self._names:
            name = cls.__name__
            while name in self._names.values():
                name = f"{name}_"
            self._names[cls] = name
        return self._names[cls]

    def _unsupported(
        self, annotation: Any, where: str, remedy: str = _SUPPORTED
    ) -> ConfigurationError:
        if annotation is inspect.Parameter.empty:
            return ConfigurationError(
                f"tool {self._tool!r}: parameter {where!r} has no annotation, so the "
                f"model cannot be told what to put there; annotate it ({where}: str)"
            )
        return ConfigurationError(
            f"tool {self._tool!r}: parameter {where!r} has the annotation "
            f"{annotation_text(annotation)}, which has no JSON Schema; {remedy}"
        )


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _default(value: Any) -> dict[str, Any]:
    try:
        return {"default": to_plain(value)}
    except NotPlain:
        return {}
