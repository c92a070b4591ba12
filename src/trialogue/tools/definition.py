"""What a decorated function is, whichever instance it is bound to."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import attrs

from trialogue.errors import ConfigurationError
from trialogue.tools.annotations import Namespace, mentions_handoff, raw_annotations
from trialogue.tools.options import ToolOptions, check_options
from trialogue.tools.signature import ToolSignature, read_signature
from trialogue.tools.structuring import ArgumentReader

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["ToolDefinition", "define"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.define(eq=False, repr=False)
class ToolDefinition:
    """What all bindings of one decorated function share."""

    func: Callable[..., Coroutine[Any, Any, Any]]
    name: str
    description: str | None
    raw_schema: dict[str, Any] | None
    options: ToolOptions
    namespace: Namespace
    method: bool
    _signature: ToolSignature | None = None
    _reader: ArgumentReader | None = None

    def signature(self) -> ToolSignature:
        """Read the signature once; NameError if a name in it is not defined yet."""
        if self._signature is None:
            self._signature = read_signature(
                self.func,
                tool=self.name,
                method=self.method,
                namespace=self.namespace,
                raw_schema=self.raw_schema,
            )
        return self._signature

    def settled_signature(self) -> ToolSignature:
        """Read the signature; a name that is still missing is the program's fault."""
        try:
            return self.signature()
        except NameError as error:
            raise ConfigurationError(
                f"tool {self.name!r}: an annotation uses {error.name!r}, which is not "
                "defined; import it where the tool is defined, outside of "
                "`if TYPE_CHECKING:`"
            ) from error

    def reader(self) -> ArgumentReader:
        if self._reader is None:
            fields = self.settled_signature().fields
            self._reader = ArgumentReader(fields, self.namespace)
        return self._reader

    def may_hand_off(self) -> bool:
        # Not remembered: a name that is missing now may be defined when next asked.
        returned = raw_annotations(inspect.unwrap(self.func)).get("return")
        return mentions_handoff(returned, self.namespace)


def define(
    func: Callable[..., Coroutine[Any, Any, Any]],
    *,
    name: str | None,
    description: str | None,
    raw_schema: dict[str, Any] | None,
    options: ToolOptions,
    frame: FrameType,
) -> ToolDefinition:
    """Check what the decorator was given and read the signature, as far as it can be.

    `frame` is where the decorator stands; its local classes serve the annotations.
    """
    _check_function(func)
    name = func.__name__ if name is None else name
    _check_name(name)
    check_options(name, options)
    _check_raw_schema(name, raw_schema)
    inner = inspect.unwrap(func)
    definition = ToolDefinition(
        func=func,
        name=name,
        description=description,
        raw_schema=raw_schema,
        options=options,
        namespace=Namespace.of(inner, frame),
        method=_is_method(inner),
    )
    with contextlib.suppress(NameError):
        definition.signature()  # a class further down, perhaps: `spec` will insist
    return definition


def _check_function(func: object) -> None:
    if inspect.iscoroutinefunction(func):
        return
    if isinstance(func, (staticmethod, classmethod)):
        raise ConfigurationError(
            f"function_tool stands above @{type(func).__name__}; make the tool a "
            "method that takes self, or a function outside of the class"
        )
    named = getattr(func, "__qualname__", repr(func))
    if inspect.isasyncgenfunction(func):
        raise ConfigurationError(
            f"{named} yields, but a tool returns one value; return it"
        )
    raise ConfigurationError(
        f"{named} is not an async function; make it one (async def), and move blocking "
        "work to a thread: await trio.to_thread.run_sync(...)"
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a tool's name: providers take 1 to 64 letters, "
            "digits, _ and -; give another: function_tool(name=...)"
        )


def _check_raw_schema(name: str, schema: dict[str, Any] | None) -> None:
    if schema is not None and schema.get("type") != "object":
        raise ConfigurationError(
            f"tool {name!r}: parameters={{...}} is not a JSON Schema of an object; "
            'begin it with "type": "object"'
        )


def _is_method(func: Callable[..., Any]) -> bool:
    """Tell whether the first parameter takes the instance."""
    code = func.__code__
    if not code.co_argcount:
        return False
    first = code.co_varnames[0]
    if first == "self":
        return True
    scope = func.__qualname__.rpartition(".")[0]
    in_class = bool(scope) and not scope.endswith("<locals>")
    annotated = first in raw_annotations(func)
    return in_class and not annotated and first not in {"ctx", "context"}
