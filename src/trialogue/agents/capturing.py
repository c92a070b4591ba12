"""What a program's own code raises, kept apart from cancellation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["alone", "capturing"]


@contextmanager
def capturing(handle: Callable[[Exception], None]) -> Iterator[None]:
    """Give what the block raises to `handle`; let cancellation pass, and what ends all.

    Code that is cancelled and fails while it cleans up may raise both in one group.
    """
    try:
        yield
    except Exception as error:
        handle(error)
    except BaseExceptionGroup as group:
        cancelled, others = group.split(trio.Cancelled)
        if not isinstance(others, ExceptionGroup):
            raise
        handle(others)
        if cancelled is not None:
            raise cancelled from None


def alone(error: Exception) -> Exception:
    """Return what an exception means: a group of one, as a nursery makes it, that one.

    To decide by; whoever is told of the error is given the group, as it was raised.
    """
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
