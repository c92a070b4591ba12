"""`function_tool`: an async function that a model may call."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    final,
    overload,
)

from trialogue.errors import ConfigurationError
from trialogue.tools.definition import ToolDefinition, define
from trialogue.tools.options import (
    NeedsApproval,
    OnHandoff,
    OnInterrupt,
    Reply,
    ToolOptions,
)
from trialogue.tools.spec import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import CellType

    from trialogue.tools.structuring import ArgumentReader

__all__ = ["FunctionTool", "function_tool"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@final
class FunctionTool(Generic[P, R_co]):
    """An async function with what a model needs to call it.

    Made by `function_tool`. Calling it in a program is calling the function: the result
    is the function's coroutine. In a class it is a method: access through an instance
    gives a tool bound to that instance. Tools are equal if they are the same function
    bound to the same object.
    """

    def __init__(self, definition: ToolDefinition, instance: object = None) -> None:
        functools.update_wrapper(self, definition.func)  # help() and tracebacks
        self._definition = definition
        self._instance = instance

    @property
    def __closure__(self) -> tuple[CellType, ...] | None:
        # attrs makes a slotted class anew, and looks here for what super() refers to.
        return self._definition.func.__closure__

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


class _AgentLike(Protocol):
    __trialogue_handoff__: ClassVar[bool]


A = TypeVar("A", bound=_AgentLike)


# The overloads for methods of an agent say Any for self: a subclass, whose self is
# another type, could not override a tool otherwise, since P is invariant.
class _Decorator(Protocol):
    @overload
    def __call__(
        self, func: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /
    ) -> FunctionTool[Concatenate[Any, P], R]: ...
    @overload
    def __call__(
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> FunctionTool[P, R]: ...


@overload
def function_tool(
    func: Callable[Concatenate[A, P], Coroutine[Any, Any, R]], /
) -> FunctionTool[Concatenate[Any, P], R]: ...
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
    needs_approval: NeedsApproval = False,
) -> _Decorator: ...
def function_tool(
    func: Callable[..., Coroutine[Any, Any, Any]] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: dict[str, Any] | None = None,
    timeout: float | None = None,
    on_interrupt: OnInterrupt = "keep",
    on_handoff: OnHandoff = "cancel",
    reply: Reply = "auto",
    needs_approval: NeedsApproval = False,
) -> FunctionTool[..., Any] | _Decorator:
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
        needs_approval: a bool, or a function of the context and the arguments.

    Raises:
        ConfigurationError: not an async function, an option out of range, a name that
            providers refuse, or a signature without a schema. Annotations that name
            something not defined yet are read when `spec` is first asked for.
    """
    options = ToolOptions(timeout, on_interrupt, on_handoff, reply, needs_approval)

    def decorate(func: Callable[P, Coroutine[Any, Any, R]], /) -> FunctionTool[P, R]:
        if isinstance(func, FunctionTool):
            raise ConfigurationError(f"{func!r} is a tool already; decorate it once")
        frame = sys._getframe(2 if bare else 1)
        return FunctionTool(
            define(
                func,
                name=name,
                description=description,
                raw_schema=parameters,
                options=options,
                frame=frame,
            )
        )

    bare = func is not None
    return cast("_Decorator", decorate) if func is None else decorate(func)
