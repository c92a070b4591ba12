"""A tool's signature: what the model fills in, and what the library passes."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

import attrs

from trialogue.errors import ConfigurationError
from trialogue.tools.annotations import (
    Namespace,
    annotation_text,
    is_run_context,
    raw_annotations,
)
from trialogue.tools.docstring import parse_docstring
from trialogue.tools.records import NO_DEFAULT, RecordField
from trialogue.tools.schema import SchemaBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ToolSignature", "read_signature"]

_CONTEXT_NAMES = ("ctx", "context")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@attrs.frozen
class ToolSignature:
    """What calling a tool takes.

    Attributes:
        context: the name of the parameter that takes the run context, or None.
        fields: the parameters that the model fills in; empty with a raw schema.
        raw: with a raw schema, the parameter that takes the arguments as one dict.
        description: the docstring's first paragraph, or "".
        schema: the JSON Schema of the arguments.
    """

    context: str | None
    fields: tuple[RecordField, ...]
    raw: str | None
    description: str
    schema: dict[str, Any]


def read_signature(
    func: Callable[..., Any],
    *,
    tool: str,
    method: bool,
    namespace: Namespace,
    raw_schema: dict[str, Any] | None,
) -> ToolSignature:
    """Read the signature and the docstring of a function.

    Raises:
        ConfigurationError: the signature has no schema; the message names the tool, the
            parameter and the remedy.
        NameError: an annotation names something that is not defined yet.
    """
    reader = _Reader(tool, namespace, raw_annotations(func))
    parameters = _plain_parameters(func, tool, method)
    documented = parse_docstring(func.__doc__)
    context = reader.context_of(parameters, raw_schema)
    rest = [p for p in parameters if p.name != context]
    if raw_schema is not None:
        raw = reader.only(rest)
        return ToolSignature(context, (), raw, documented.description, raw_schema)
    fields = tuple(reader.field(parameter) for parameter in rest)
    builder = SchemaBuilder(tool, namespace)
    schema = builder.with_definitions(builder.object_of(fields, documented))
    return ToolSignature(context, fields, None, documented.description, schema)


def _plain_parameters(
    func: Callable[..., Any], tool: str, method: bool
) -> list[inspect.Parameter]:
    """Return the parameters that can be passed by name, without the instance."""
    names = _signature(func)
    parameters = list(names.parameters.values())[1 if method else 0 :]
    for parameter in parameters:
        if parameter.kind in _VARIADIC:
            raise ConfigurationError(
                f"tool {tool!r}: {parameter} has no schema, because the model must be "
                f"told every argument; name the parameters, or take one dict: "
                f"{parameter.name}: dict[str, str]"
            )
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"tool {tool!r}: parameter {parameter.name!r} is positional-only, but "
                "a model passes arguments by name; remove the / from the signature"
            )
    return parameters


def _signature(func: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):  # evaluates annotations; they are read separately
        import annotationlib

        return inspect.signature(
            func, annotation_format=annotationlib.Format.FORWARDREF
        )
    return inspect.signature(func)


@attrs.frozen
class _Reader:
    tool: str
    namespace: Namespace
    raw: dict[str, Any]

    def context_of(
        self, parameters: list[inspect.Parameter], raw_schema: dict[str, Any] | None
    ) -> str | None:
        """Return the parameter that takes the run context, by annotation or by name."""
        marked = [p.name for p in parameters if is_run_context(self.raw.get(p.name))]
        if len(marked) > 1:
            raise ConfigurationError(
                f"tool {self.tool!r}: the parameters {' and '.join(marked)} are both a "
                "RunContext; keep one"
            )
        if marked:
            return marked[0]
        first = parameters[0].name if parameters else None
        if first not in _CONTEXT_NAMES:
            return None
        if raw_schema is not None:
            return first if len(parameters) > 1 else None
        return None if self._is_argument(parameters[0]) else first

    def _is_argument(self, parameter: inspect.Parameter) -> bool:
        """Tell whether `context: str` is meant: a thing for the model to fill in."""
        if parameter.name not in self.raw:
            return False
        try:
            field = self.field(parameter)
            schema = SchemaBuilder(self.tool, self.namespace).of(field.annotation, "")
        except (ConfigurationError, NameError):
            return False
        return bool(schema) and "properties" not in schema and "$ref" not in schema

    def field(self, parameter: inspect.Parameter) -> RecordField:
        """Return a parameter with its annotation evaluated."""
        raw = self.raw.get(parameter.name, parameter.empty)
        default = parameter.default
        required = default is parameter.empty
        return RecordField(
            parameter.name,
            raw if raw is parameter.empty else self._resolve(raw, parameter.name),
            required=required,
            default=NO_DEFAULT if required else default,
        )

    def only(self, parameters: list[inspect.Parameter]) -> str:
        """Return the one parameter that takes a raw schema's arguments."""
        if len(parameters) == 1:
            return parameters[0].name
        raise ConfigurationError(
            f"tool {self.tool!r} has a schema of its own (parameters={{...}}), so its "
            "function takes one dict with the arguments, beside the context: "
            "async def tool(ctx: RunContext, arguments: dict[str, Any])"
        )

    def _resolve(self, raw: Any, name: str) -> Any:
        try:
            return self.namespace.resolve(raw)
        except NameError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"tool {self.tool!r}: the annotation {annotation_text(raw)} of "
                f"parameter {name!r} cannot be evaluated ({type(error).__name__}); "
                "correct it"
            ) from error
