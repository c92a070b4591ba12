"""Tool sets: tools that stand on something that is opened first, and closed at last.

A set is a description, like an agent: nothing is open before a session opens it. What
holds it open for a session is `trialogue.agents.tool_sets`.
"""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, overload

import attrs

from trialogue.errors import ConfigurationError
from trialogue.tools.function_tool import FunctionTool

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "OPEN_TIMEOUT",
    "AnyTool",
    "ToolSet",
    "checked_timeout",
    "name_of_set",
    "tool_set",
]

P = ParamSpec("P")
AnyTool: TypeAlias = FunctionTool[..., Any]
"""A tool of whatever signature."""

OPEN_TIMEOUT = 10.0
"""Seconds that a tool set may take to open, unless it says otherwise."""


class ToolSet(ABC):
    """Tools that need something open: a database, a subprocess, a connection.

    Listed in an agent's `tools`, beside single tools or alone. A session opens it once,
    when the first agent that lists it is prepared, shares it with every agent that
    lists it or an equal one, and closes it when the session ends: sets opened later are
    closed first. It is opened and closed in one task, so that `open` may hold nurseries
    and cancel scopes.

    `tool_set` makes one of a function. Subclass this one for more.

    Attributes:
        name: how logs, events and errors call it; the class name by default.
        open_timeout: seconds that opening may take.
    """

    name: str = ""
    open_timeout: float = OPEN_TIMEOUT

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[Sequence[AnyTool]]:
        """Return the context manager that holds it open, and yields its tools.

        What it yields is looked at anew whenever an agent is prepared: if it is a list
        that changes, agents that come later have the tools that are in it then.

        An exception while it is being opened fails the handoff that needs it; a later
        one is published (`ToolSetFailed`), and the set is opened anew for the next
        agent. Once it is to be closed it has a bounded time (`Timing.close`).
        """


def checked_timeout(seconds: Any) -> float:
    """Return how long a set may take to open.

    Raises:
        ConfigurationError: that is no number of seconds.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if number and seconds > 0 and math.isfinite(seconds):
        return float(seconds)
    msg = f"open_timeout={seconds!r} is not a number of seconds above 0"
    raise ConfigurationError(msg)


def name_of_set(tools: ToolSet) -> str:
    """Return a tool set's name, which defaults to that of its class."""
    return tools.name or type(tools).__name__


@attrs.frozen(repr=False)
class _FunctionSet(ToolSet):
    """What a decorated function makes. Equal if it was made alike."""

    name: str
    open_timeout: float
    _func: Callable[..., AsyncIterator[Sequence[AnyTool]]]
    _args: tuple[Any, ...]
    _kwargs: dict[str, Any]

    def __hash__(self) -> int:
        return hash((self.name, self._func))  # the arguments may be of any kind

    def __repr__(self) -> str:
        return f"<tool set {self.name!r}>"

    def open(self) -> AbstractAsyncContextManager[Sequence[AnyTool]]:
        return asynccontextmanager(self._func)(*self._args, **self._kwargs)


class _Decorator(Protocol):
    def __call__(
        self, func: Callable[P, AsyncIterator[Sequence[AnyTool]]], /
    ) -> Callable[P, ToolSet]: ...


@overload
def tool_set(
    func: Callable[P, AsyncIterator[Sequence[AnyTool]]], /
) -> Callable[P, ToolSet]: ...
@overload
def tool_set(
    *, name: str | None = None, open_timeout: float = OPEN_TIMEOUT
) -> _Decorator: ...
def tool_set(
    func: Callable[..., AsyncIterator[Sequence[AnyTool]]] | None = None,
    /,
    *,
    name: str | None = None,
    open_timeout: float = OPEN_TIMEOUT,
) -> Callable[..., ToolSet] | _Decorator:
    """Make tool sets of an async generator function that yields a list of tools, once.

    As with `@asynccontextmanager`, what stands before the `yield` opens, and what
    stands behind it closes. Calling the function opens nothing: it makes a set, to be
    listed in `tools`. Sets made by one function with equal arguments are equal, and so
    are one set to a session; for the same reason it cannot be entered by itself, but
    `made.open()` can.

    Args:
        func: the function, when the decorator is used bare.
        name: how logs, events and errors call the set; the function's name by default.
        open_timeout: seconds that opening may take.

    Raises:
        ConfigurationError: not an async generator function, or a timeout that is none.
    """
    checked_timeout(open_timeout)

    def decorate(
        func: Callable[P, AsyncIterator[Sequence[AnyTool]]], /
    ) -> Callable[P, ToolSet]:
        _check_function(func)

        @functools.wraps(func)
        def make(*args: P.args, **kwargs: P.kwargs) -> ToolSet:
            called = name or func.__name__
            return _FunctionSet(called, open_timeout, func, args, kwargs)

        make.__trialogue_tool_set__ = True  # type: ignore[attr-defined]
        return make

    return decorate if func is None else decorate(func)


def _check_function(func: object) -> None:
    if inspect.isasyncgenfunction(func):
        return
    named = getattr(func, "__qualname__", repr(func))
    if hasattr(func, "__wrapped__"):
        raise ConfigurationError(
            f"{named} is decorated already; put @tool_set on the async generator "
            "function itself, in place of @asynccontextmanager"
        )
    raise ConfigurationError(
        f"{named} is no tool set: it has to be an async function that yields a list "
        "of tools, once"
    )
