"""Validators of option classes: what can mean nothing at any provider is refused.

A range that one provider documents is not checked here but by its dialect, which
refuses the value with `ConversionError` before anything is sent: another provider draws
its limits elsewhere (a speed of 0.25 is OpenAI's slowest, 0.7 is xAI's).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from trialogue.errors import ConfigurationError

__all__ = [
    "MILLISECONDS",
    "Validator",
    "flag",
    "instance_of",
    "number",
    "one_of",
    "optional",
    "refuse",
    "text",
    "texts",
    "whole",
]

Validator: TypeAlias = Callable[[Any, Any, Any], None]
"""Called with the instance, the attribute and the value, as attrs does it."""

MILLISECONDS: Final = "a whole number of milliseconds"


def refuse(owner: Any, field: Any, value: object, expected: str) -> None:
    """Raise for a value that a field cannot have."""
    name = f"{type(owner).__name__}.{field.name}"
    raise ConfigurationError(f"{name} is {value!r}: {expected} was expected")


def optional(validator: Validator, *legal: object) -> Validator:
    """Pass the legal values (compared by identity, or as words); check the rest."""

    def check(owner: Any, field: Any, value: Any) -> None:
        words = tuple(word for word in legal if isinstance(word, str))
        is_word = isinstance(value, str) and value in words
        if not is_word and not any(value is other for other in legal):
            validator(owner, field, value)

    return check


def number(low: float, high: float = math.inf) -> Validator:
    """Require a finite number in a range, ends included."""
    upto = f" to {high}" if high < math.inf else " or more"

    def check(owner: Any, field: Any, value: Any) -> None:
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not numeric or not math.isfinite(value) or not low <= value <= high:
            refuse(owner, field, value, f"a number, {low}{upto},")

    return check


def whole(low: int, what: str = "a whole number", *words: str) -> Validator:
    """Require a whole number that is not below `low`."""
    others = "".join(f" or {word!r}" for word in words)

    def check(owner: Any, field: Any, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            refuse(owner, field, value, f"{what}, {low} or more{others},")

    return check


def flag(owner: Any, field: Any, value: Any) -> None:
    """Require True or False."""
    if not isinstance(value, bool):
        refuse(owner, field, value, "True or False")


def text(owner: Any, field: Any, value: Any) -> None:
    """Require a string that is not empty."""
    if not isinstance(value, str) or not value:
        refuse(owner, field, value, "a string that is not empty")


def texts(owner: Any, field: Any, value: Any) -> None:
    """Require a tuple of strings."""
    if not isinstance(value, tuple) or not all(isinstance(v, str) for v in value):
        refuse(owner, field, value, "a tuple of strings")


def one_of(*words: str) -> Validator:
    """Require one of some words."""

    def check(owner: Any, field: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in words:
            refuse(owner, field, value, f"one of {', '.join(map(repr, words))}")

    return check


def instance_of(*classes: type, words: tuple[str, ...] = ()) -> Validator:
    """Require an instance of one of the classes, or one of some words."""
    names = [cls.__name__ for cls in classes] + [repr(word) for word in words]

    def check(owner: Any, field: Any, value: Any) -> None:
        is_word = isinstance(value, str) and value in words
        if not is_word and not isinstance(value, classes):
            refuse(owner, field, value, " or ".join(names))

    return check
