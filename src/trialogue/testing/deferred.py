"""Fixtures of a test that runs itself, set up inside its run.

A test under `in_virtual_time` is a plain function for its framework, which cannot wait
for an async fixture then. It is given a `Deferred` in its place, and the run makes the
fixture of it.
"""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

__all__ = ["RUNS_ITSELF", "Deferred", "awaited", "open_awaited", "resolved"]

RUNS_ITSELF: Final = "_trialogue_runs_itself"
"""The attribute by which a plugin knows that deferred fixtures are welcome."""
_NOT_YET: Final = object()
_awaited: ContextVar[Sequence[Deferred]] = ContextVar("awaited", default=())


@final
class Deferred:
    """A fixture to be set up later; once, whoever asks for it.

    Args:
        make: the fixture's function: a function or a generator, async or not.
        arguments: its own fixtures, some of them deferred perhaps.
        sees_failure: raise in it what the test has raised. Else it goes on behind its
            `yield` even then, as fixtures do, unless the run itself is cancelled.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        sees_failure: bool = False,
    ) -> None:
        self._make = make
        self._arguments = arguments
        self._sees_failure = sees_failure
        self._value: Any = _NOT_YET

    def __repr__(self) -> str:
        return f"<Deferred {self._make.__name__}>"

    def __getattr__(self, name: str) -> NoReturn:
        msg = (
            f"{self._make.__name__} has no {name} yet: it is set up when its test "
            "runs. Take it as an argument, of the test or of a fixture"
        )
        raise AttributeError(msg)

    async def open(self, stack: AsyncExitStack) -> Any:
        """Return the fixture; the stack will tear it down."""
        if self._value is _NOT_YET:
            arguments = await resolved(self._arguments, stack)
            self._value = await self._open(stack, arguments)
            stack.callback(self._forget)  # a test may be run again
        return self._value

    def _forget(self) -> None:
        self._value = _NOT_YET

    async def _open(self, stack: AsyncExitStack, arguments: dict[str, Any]) -> Any:
        make = self._make
        opened: AbstractAsyncContextManager[Any] | None = None
        if inspect.isgeneratorfunction(make):
            opened = _async(contextmanager(make)(**arguments))
        elif inspect.isasyncgenfunction(make):
            opened = asynccontextmanager(make)(**arguments)
        if opened is not None:
            value = await opened.__aenter__()

            async def close(
                kind: type[BaseException] | None,
                error: BaseException | None,
                trace: TracebackType | None,
            ) -> bool | None:
                if self._sees_failure or _ends_the_run(error):
                    return await opened.__aexit__(kind, error, trace)
                await opened.__aexit__(None, None, None)
                return None

            stack.push_async_exit(close)
            return value
        made = make(**arguments)
        return await made if inspect.isawaitable(made) else made


@asynccontextmanager
async def _async(manager: AbstractContextManager[Any]) -> AsyncIterator[Any]:
    with manager as value:
        yield value


def _ends_the_run(error: BaseException | None) -> bool:
    """Whether there is no going on; a test that fails, or is skipped, is no such."""
    if isinstance(error, BaseExceptionGroup):
        return any(_ends_the_run(one) for one in error.exceptions)
    return isinstance(error, trio.Cancelled | KeyboardInterrupt | SystemExit)


@contextmanager
def awaited(fixtures: Sequence[Deferred]) -> Iterator[None]:
    """Have a run that begins in this block set these up, asked for or not."""
    token = _awaited.set(fixtures)
    try:
        yield
    finally:
        _awaited.reset(token)


async def open_awaited(stack: AsyncExitStack) -> None:
    """Set up what waits for this run, in order."""
    for fixture in _awaited.get():
        await fixture.open(stack)


async def resolved(values: Mapping[str, Any], stack: AsyncExitStack) -> dict[str, Any]:
    """Return the values, with those that were deferred set up."""
    return {
        name: await value.open(stack) if isinstance(value, Deferred) else value
        for name, value in values.items()
    }
