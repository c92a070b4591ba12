"""`function_tool`: an async function that a model may call."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import re
import sys
from collections.abc import Callable, Coroutine
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    final,
    get_args,
    overload,
)

import attrs

from trialogue.errors import ConfigurationError
from trialogue.tools.annotations import Namespace, mentions_handoff, raw_annotations
from trialogue.tools.signature import ToolSignature, read_signature
from trialogue.tools.spec import ToolSpec
from trialogue.tools.structuring import ArgumentReader

if TYPE_CHECKING:
    from types import FrameType

__all__ = [
    "FunctionTool",
    "OnHandoff",
    "OnInterrupt",
    "Reply",
    "ToolOptions",
    "function_tool",
]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

OnInterrupt = Literal["keep", "cancel"]
OnHandoff = Literal["cancel", "finish", "detach"]
Reply = Literal["auto", "none", "required"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen
class ToolOptions:
    """How calls of a tool are run.

    Attributes:
        timeout: seconds that a call may take, or None for no limit of its own.
        on_interrupt: whether a call goes on ("keep") or is cancelled when the user
            interrupts the reply that it belongs to.
        on_handoff: what becomes of a call that still runs when its agent hands off:
            cancelled, awaited for a bounded time, or moved to the session's scope.
        reply: whether the model is asked to speak after the result: as usual
            ("auto"), never, or always.
    """

    timeout: float | None = None
    on_interrupt: OnInterrupt = "keep"
    on_handoff: OnHandoff = "cancel"
    reply: Reply = "auto"


@attrs.define(eq=False, repr=False)
class _Definition:
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
    _may_hand_off: bool | None = None

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
        if self._may_hand_off is None:
            returned = raw_annotations(inspect.unwrap(self.func)).get("return")
            self._may_hand_off = mentions_handoff(returned, self.namespace)
        return self._may_hand_off


@final
class FunctionTool(Generic[P, R_co]):
    """An async function with what a model needs to call it.

    Made by `function_tool`. Calling it in a program is calling the function: the result
    is the function's coroutine. In a class it is a method: access through an instance
    gives a tool bound to that instance. Tools are equal if they are the same function
    bound to the same object.
    """

    def __init__(self, definition: _Definition, instance: object = None) -> None:
        functools.update_wrapper(self, definition.func)  # help() and tracebacks
        self._definition = definition
        self._instance = instance

    @property
    def name(self) -> str:
        """What the model calls the tool."""
        return self._definition.name

    @property
    def options(self) -> ToolOptions:
        """How calls of the tool are run."""
        return self._definition.options

    @property
    def spec(self) -> ToolSpec:
        """What a model is told about the tool.

        Raises ConfigurationError if an annotation names something that is still not
        defined; every other fault of a signature is raised by the decorator.
        """
        signature = self._definition.settled_signature()
        description = self._definition.description
        if description is None:
            description = signature.description
        return ToolSpec(self.name, description, signature.schema)

    @property
    def may_hand_off(self) -> bool:
        """Whether the return annotation mentions an agent.

        False without an annotation. Of an annotation that cannot be evaluated the words
        are judged: "Agent" or "Handoff" in it means True.
        """
        return self._definition.may_hand_off()

    @property
    def has_raw_schema(self) -> bool:
        """Whether the schema was given, so that arguments are not validated here."""
        return self._definition.raw_schema is not None

    @property
    def place(self) -> str:
        """Where the function is defined, as `module.Class.function (file:line)`."""
        func = inspect.unwrap(self._definition.func)
        code = func.__code__
        where = f"{code.co_filename}:{code.co_firstlineno}"
        return f"{func.__module__}.{func.__qualname__} ({where})"

    @property
    def instance(self) -> object:
        """The object that the tool is bound to, or None."""
        return self._instance

    @property
    def is_unbound_method(self) -> bool:
        """Whether the tool is a method that still lacks its instance."""
        return self._definition.method and self._instance is None

    @property
    def arguments(self) -> ArgumentReader:
        """What turns a model's arguments into Python values."""
        return self._definition.reader()

    def bind(self, instance: object) -> FunctionTool[..., R_co]:
        """Return this method as a tool of `instance`; a plain function stays itself."""
        if not self._definition.method:
            return cast("FunctionTool[..., R_co]", self)
        return FunctionTool(self._definition, instance)

    def invoke(
        self, ctx: object, arguments: dict[str, Any]
    ) -> Coroutine[Any, Any, R_co]:
        """Return the coroutine of one call, with `ctx` where the function takes it.

        `arguments` are those that `structure` returned. With a raw schema the function
        gets the dict itself.

        Raises:
            ConfigurationError: the tool is a method that is not bound to an instance.
        """
        if self.is_unbound_method:
            raise ConfigurationError(
                f"tool {self.name!r} is a method without an instance; take it from an "
                "instance (agent.tool, not Agent.tool), or bind it: tool.bind(agent)"
            )
        signature = self._definition.settled_signature()
        passed = arguments if signature.raw is None else {signature.raw: arguments}
        if signature.context is not None:
            passed = {signature.context: ctx, **passed}
        return self._definition.func(*self._bound(), **passed)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        return self._definition.func(*self._bound(), *args, **kwargs)

    @overload
    def __get__(
        self, instance: None, owner: type | None = None
    ) -> FunctionTool[P, R_co]: ...
    @overload
    def __get__(
        self: FunctionTool[Concatenate[Any, Q], R_co],
        instance: object,
        owner: type | None = None,
    ) -> FunctionTool[Q, R_co]: ...
    def __get__(
        self, instance: object, owner: type | None = None
    ) -> FunctionTool[..., R_co]:
        return self if instance is None else self.bind(instance)

    def _bound(self) -> tuple[object, ...]:
        return () if self._instance is None else (self._instance,)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FunctionTool):
            return NotImplemented
        same = self._definition is other._definition
        return same and self._instance is other._instance

    def __hash__(self) -> int:
        return hash((id(self._definition), id(self._instance)))

    def __repr__(self) -> str:
        if self.is_unbound_method:
            return f"<FunctionTool {self.name!r} unbound>"
        owner = self._instance
        bound = "" if owner is None else f" of {type(owner).__name__}"
        return f"<FunctionTool {self.name!r}{bound}>"


class _Decorator(Protocol):
    def __call__(
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> FunctionTool[P, R]: ...


@overload
def function_tool(
    func: Callable[P, Coroutine[Any, Any, R]], /
) -> FunctionTool[P, R]: ...
@overload
def function_tool(
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: dict[str, Any] | None = None,
    timeout: float | None = None,
    on_interrupt: OnInterrupt = "keep",
    on_handoff: OnHandoff = "cancel",
    reply: Reply = "auto",
) -> _Decorator: ...
def function_tool(
    func: Callable[P, Coroutine[Any, Any, R]] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: dict[str, Any] | None = None,
    timeout: float | None = None,
    on_interrupt: OnInterrupt = "keep",
    on_handoff: OnHandoff = "cancel",
    reply: Reply = "auto",
) -> FunctionTool[P, R] | _Decorator:
    """Make a tool of an async function or method: `@function_tool`, bare or called.

    The schema is read from the annotations and the docstring. A parameter that is
    annotated `RunContext`, or a first one called `ctx` or `context`, is passed by the
    library and unknown to the model (`context: str` is an ordinary argument).

    Args:
        func: the function, when the decorator is used bare.
        name: what the model calls it; the function's name by default.
        description: what the model reads; the docstring's first paragraph by default.
        parameters: a JSON Schema of type "object" to use instead. The function then
            takes one dict beside the context, with whatever object the model sent: this
            library does not validate it.
        timeout: see `ToolOptions`, as for the following.
        on_interrupt: "keep" or "cancel".
        on_handoff: "cancel", "finish" or "detach".
        reply: "auto", "none" or "required".

    Raises:
        ConfigurationError: not an async function, an option out of range, a name that
            providers refuse, or a signature without a schema. Annotations that name
            something not defined yet are read when `spec` is first asked for.
    """
    options = ToolOptions(timeout, on_interrupt, on_handoff, reply)

    def decorate(func: Callable[P, Coroutine[Any, Any, R]], /) -> FunctionTool[P, R]:
        frame = sys._getframe(2 if bare else 1)
        return _make(func, name, description, parameters, options, frame)

    bare = func is not None
    return cast("_Decorator", decorate) if func is None else decorate(func)


def _make(
    func: Callable[P, Coroutine[Any, Any, R]],
    name: str | None,
    description: str | None,
    raw_schema: dict[str, Any] | None,
    options: ToolOptions,
    frame: FrameType,
) -> FunctionTool[P, R]:
    _check_function(func)
    name = func.__name__ if name is None else name
    _check_name(name)
    _check_options(name, options)
    _check_raw_schema(name, raw_schema)
    inner = inspect.unwrap(func)
    definition = _Definition(
        func=func,
        name=name,
        description=description,
        raw_schema=raw_schema,
        options=options,
        namespace=Namespace.of(inner, frame),
        method=_is_method(inner),
    )
    with contextlib.suppress(
        NameError
    ):  # a class further down, perhaps: `spec` insists
        definition.signature()
    return FunctionTool(definition)


def _check_function(func: object) -> None:
    if inspect.iscoroutinefunction(func):
        return
    if isinstance(func, FunctionTool):
        raise ConfigurationError(f"{func!r} is a tool already; decorate it once")
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


def _check_options(name: str, options: ToolOptions) -> None:
    seconds = options.timeout
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise ConfigurationError(
            f"tool {name!r}: timeout={seconds!r} is not a number of seconds above 0; "
            "for no limit leave it out"
        )
    for option, kind in (
        ("on_interrupt", OnInterrupt),
        ("on_handoff", OnHandoff),
        ("reply", Reply),
    ):
        value, known = getattr(options, option), get_args(kind)
        if value not in known:
            choices = ", ".join(map(repr, known))
            raise ConfigurationError(
                f"tool {name!r}: {option}={value!r} is not one of {choices}"
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
