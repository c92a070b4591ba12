"""Fixtures of a test that runs itself, set up inside its run.

A test under `in_virtual_time` is a plain function for its framework, which cannot wait
for an async fixture then. It is given a `Deferred` in its place, and the run makes the
fixture of it.
"""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["RUNS_ITSELF", "Deferred", "resolved"]

RUNS_ITSELF: Final = "_trialogue_runs_itself"
"""The attribute by which a plugin knows that deferred fixtures are welcome."""
_NOT_YET: Final = object()


@final
class Deferred:
    """A fixture to be set up later; once, whoever asks for it.

    Args:
        make: the fixture's function: a function or a generator, async or not.
        arguments: its own fixtures, some of them deferred perhaps.
    """

    def __init__(self, make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self._make = make
        self._arguments = arguments
        self._value: Any = _NOT_YET

    def __repr__(self) -> str:
        return f"<Deferred {self._make.__name__}>"

    async def open(self, stack: AsyncExitStack) -> Any:
        """Return the fixture; the stack will tear it down."""
        if self._value is _NOT_YET:
            arguments = await resolved(self._arguments, stack)
            self._value = await self._open(stack, arguments)
        return self._value

    async def _open(self, stack: AsyncExitStack, arguments: dict[str, Any]) -> Any:
        make = self._make
        if inspect.isasyncgenfunction(make):
            opened = asynccontextmanager(make)(**arguments)
            return await stack.enter_async_context(opened)
        if inspect.isgeneratorfunction(make):
            return stack.enter_context(contextmanager(make)(**arguments))
        made = make(**arguments)
        return await made if inspect.isawaitable(made) else made


async def resolved(values: Mapping[str, Any], stack: AsyncExitStack) -> dict[str, Any]:
    """Return the values, with those that were deferred set up."""
    return {
        name: await value.open(stack) if isinstance(value, Deferred) else value
        for name, value in values.items()
    }
