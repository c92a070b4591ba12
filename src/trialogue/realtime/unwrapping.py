"""Peeling the one group layer that an owned nursery adds, and no other.

A nursery inside a context manager wraps even a single exception of the body in a group.
The layers that this library owns are taken off again; groups that user code made are
left as they are.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["only_cancelled", "single"]


@contextmanager
def single() -> Iterator[None]:
    """Put this around an owned nursery: a group of one exception becomes that one.

    Cancellations beside it are dropped, those that a nursery further in has grouped
    among them, since the exception supersedes them. A group of nothing but
    cancellations is raised unchanged, for it must reach its scope.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        rest = [e for e in group.exceptions if not only_cancelled(e)]
        if len(rest) != 1:
            raise
        alone = rest[0]
        context, cause = alone.__context__, alone.__cause__
        try:
            raise alone
        finally:
            # Raising it here would make the group its context and hide the real one.
            alone.__context__, alone.__cause__ = context, cause
            del alone, group, rest


def only_cancelled(exc: BaseException) -> bool:
    """Whether an exception is a cancellation, or a group of nothing else."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)[1] is None
    return isinstance(exc, trio.Cancelled)
