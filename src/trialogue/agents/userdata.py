"""The type of what a program keeps with a session, as type checkers follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Type checkers know it wherever they run; a bare `RunContext` is one of Any.
    from typing_extensions import TypeVar

    UserDataT = TypeVar("UserDataT", default=Any)
else:
    from typing import TypeVar

    UserDataT = TypeVar("UserDataT")

__all__ = ["UserDataT"]
