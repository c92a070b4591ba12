"""Reports as plain data, and back, with errors that name the place.

The format is versioned: `{"format": "trialogue.report", "version": 1, …}` and the
fields of `Report`. A later library may add fields to a version: those that this one
does not know are passed over. What changes its meaning gets another version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cattrs import ClassValidationError, Converter, IterableValidationError
from cattrs.v import format_exception, transform_error

from trialogue._codec import dumps, loads
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from trialogue.records.report import Report

__all__ = ["FORMAT", "VERSION", "dump", "dump_text", "load", "parse"]

FORMAT: Final = "trialogue.report"
VERSION: Final = 1
MOST_NUMBER: Final = 2**53
"""No moment, count or size is beyond what every reader of JSON can hold."""

ReportT = TypeVar("ReportT")


class WrongValue(ValueError):
    """A value of another kind; the value itself may be what somebody said."""


def dump(report: Report) -> dict[str, Any]:
    """Return the report as data that JSON can hold."""
    data: dict[str, Any] = _CONVERTER.unstructure(report)
    return {"format": FORMAT, "version": VERSION, **data}


def dump_text(report: Report) -> str:
    """Return the report as JSON text; see `dump`."""
    return dumps(dump(report))


def parse(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises:
        ConfigurationError: it is no JSON.
    """
    try:
        return loads(text)
    except ValueError as error:
        raise ConfigurationError(
            "not JSON: expected the text that Report.to_json() returns"
        ) from error


def load(cls: type[ReportT], data: Any) -> ReportT:
    """Return the report that `dump` was given.

    Raises:
        ConfigurationError: the data is not of this format; the message names the place.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise ConfigurationError(
            f'not a report: expected an object with "format": "{FORMAT}", as'
            " Report.to_json() returns it"
        )
    if data.get("version") != VERSION:
        raise ConfigurationError(
            f"version: {str(data.get('version'))[:20]!r} is not a version of the format"
            f" that this library reads; expected {VERSION}"
        )
    try:
        return _CONVERTER.structure(data, cls)
    except (ClassValidationError, IterableValidationError) as error:
        first = transform_error(error, path="report", format_exception=_problem)[0]
        raise ConfigurationError(f"not a report: {first}") from None


def _problem(error: BaseException, kind: type | None) -> str:
    if isinstance(error, WrongValue):
        return str(error)
    if isinstance(error, KeyError):
        return format_exception(error, kind)
    return f"not a valid {getattr(kind, '__name__', 'value')}"


def _number(value: Any, kind: type[float]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | kind):
        found = "null" if value is None else type(value).__name__
        expected = "a whole number" if kind is int else "a number"
        raise WrongValue(f"expected {expected}, found {found}")
    if not abs(value) <= MOST_NUMBER:
        raise WrongValue("the number is too large")
    return kind(value)


def _exact(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        found = "null" if value is None else type(value).__name__
        raise WrongValue(f"expected {_SPELLED[kind]}, found {found}")
    return value


_SPELLED: Final = {str: "a string", bool: "true or false"}


def _converter() -> Converter:
    converter = Converter(detailed_validation=True)
    for number in (int, float):
        converter.register_structure_hook(number, _number)
    for kind in _SPELLED:
        converter.register_structure_hook(kind, _exact)
    return converter


_CONVERTER: Final = _converter()
