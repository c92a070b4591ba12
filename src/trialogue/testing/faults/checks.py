"""What the numbers and names of faults may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import attrs

__all__ = ["close_code", "not_negative", "one_of", "one_or_more"]

_MOST_CODE: Final = 65535


def not_negative(owner: object, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is below 0, or no number; None is none of these."""
    if value is not None and not value >= 0:
        raise ConfigurationError(f"{field.name} is 0 or more, not {value!r}")


def one_or_more(owner: object, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is below 1; None is not."""
    if value is not None and value < 1:
        raise ConfigurationError(f"{field.name} is 1 or more, not {value!r}")


def close_code(owner: object, field: attrs.Attribute[Any], value: int) -> None:
    """Refuse what does not fit into a close frame."""
    if not 0 <= value <= _MOST_CODE:
        msg = f"a close code has two bytes: it is 0 to {_MOST_CODE}, not {value!r}"
        raise ConfigurationError(msg)


def one_of(names: Collection[str]) -> Callable[..., None]:
    """Refuse every other name."""

    def check(owner: object, field: attrs.Attribute[Any], value: str) -> None:
        if value not in names:
            known = ", ".join(names)
            raise ConfigurationError(f"{field.name} is one of {known}, not {value!r}")

    return check
