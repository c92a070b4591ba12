"""What every wire class builds on: the absent value and the value kept raw.

Every optional field of a wire class defaults to `UNSET`, never to None: on the wire an
absent key means "unchanged" and `null` means "cleared" (protocol §3.2). Encoding leaves
out what is `UNSET` and writes None as `null`.
"""

import enum
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs

__all__ = ["UNSET", "Maybe", "Nullable", "Raw", "Unset", "or_none"]


class Unset(enum.Enum):
    """The type of `UNSET`: the key was, or is to be, absent. It is falsy."""

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET

T = TypeVar("T")
Maybe: TypeAlias = T | Unset
Nullable: TypeAlias = T | Unset | None


def or_none(value: T | Unset | None) -> T | None:
    """Return None for both absent and null, else the value."""
    return None if value is UNSET else value


def _keys(data: dict[str, Any]) -> str:
    return f"<{', '.join(data)}>"


@attrs.frozen
class Raw:
    """An object of a `type` that this library does not know, passed as it came (C9).

    Its repr shows the keys alone: a tool of an unknown kind may hold credentials.
    """

    data: dict[str, Any] = attrs.field(repr=_keys)

    @property
    def type(self) -> str | None:
        """The value of its `type` key, or None where it has none."""
        kind = self.data.get("type")
        return kind if isinstance(kind, str) else None
