"""The type of what a program keeps with a session, as type checkers follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    # Type checkers know it wherever they run; a bare `RunContext` is one of Any.
    from typing_extensions import TypeVar

    # By an alias, for mypy takes an Any that is written out for a sign that overloads
    # (of `function_tool`) are ambiguous, and then knows nothing of a tool any more.
    Undeclared: TypeAlias = Any
    UserDataT = TypeVar("UserDataT", default=Undeclared)
else:
    from typing import TypeVar

    UserDataT = TypeVar("UserDataT")

__all__ = ["UserDataT"]
