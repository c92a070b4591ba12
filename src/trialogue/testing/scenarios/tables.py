"""One table of a scenario: its keys are those that a function, or a class, takes.

TOML has no null. Where Python has None, a table leaves the key out; or it says "" for a
text that is missing, and "each" for a count that does not matter.
"""

from __future__ import annotations

import difflib
import inspect
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from trialogue.dialects.openai.wire import CLIENT_EVENTS, SERVER_EVENTS
from trialogue.errors import ConfigurationError
from trialogue.testing.machine.speaking.beta_words import EVENT_TYPES
from trialogue.tools.annotations import Namespace
from trialogue.tools.records import NO_DEFAULT, RecordField
from trialogue.tools.structuring import ArgumentReader, ArgumentsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["EACH", "Table", "check_keys", "fields_of_call", "known_name", "optional"]

EACH: Final = "each"
"""What TOML says for `nth=None`."""

# Of the dialects that a server may have, and of one to be overheard.
_OTHER_EVENTS: Final = (
    *EVENT_TYPES.values(),
    "conversation.created",
    "conversation.item.created",
    "conversation.item.input_audio_transcription.updated",
    "ping",
    "response.mood.updated",
)
_EVENT_KEYS: Final = ("event", "before", "after")
_RENAMED: Final = {"type": "event"}
"""Parameters that are called otherwise in a table."""
_NOT_IN_FILES: Final = {"match"}


def optional(annotation: Any) -> tuple[Any, bool]:
    """Return an annotation without None, and whether None was in it."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation, False
    members = [one for one in get_args(annotation) if one is not NoneType]
    return Union[tuple(members)], len(members) < len(get_args(annotation))  # noqa: UP007


def fields_of_call(make: Callable[..., Any]) -> tuple[RecordField, ...]:
    """Return the keys that a table may have that stands for a call of this function."""
    hints = get_type_hints(make)
    return tuple(
        RecordField(
            _RENAMED.get(name, name),
            hints[name],
            parameter.default is parameter.empty,
            NO_DEFAULT if parameter.default is parameter.empty else parameter.default,
        )
        for name, parameter in inspect.signature(make).parameters.items()
        if name not in _NOT_IN_FILES
    )


class Table:
    """Reads tables that have these keys.

    Args:
        fields: the keys, and what they take.
        where: the table's name, for errors.
        tables: keys that are tables in it, which somebody else reads.
    """

    def __init__(
        self, fields: Iterable[RecordField], where: str, tables: Iterable[str] = ()
    ) -> None:
        self._fields = tuple(fields)
        self._where = where
        self._tables = tuple(tables)
        self._reader = ArgumentReader(
            [_in_toml(field) for field in self._fields], Namespace({})
        )

    def read(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments that a table means.

        Raises:
            ConfigurationError: a key is unknown, missing, or has a value of another
                kind; it says where, and what was expected.
        """
        names = [*(field.name for field in self._fields), *self._tables]
        check_keys(data, names, self._where)
        try:
            values = self._reader.read(dict(data))
        except ArgumentsError as error:
            key = error.path.removeprefix("$.")
            msg = (
                f"{self._where}: {key}: expected {error.expected}, got {error.got_type}"
            )
            raise ConfigurationError(msg) from error
        for key in _EVENT_KEYS:
            if values.get(key):
                self._check_event(key, values[key])
        return {
            _name(field): self._python(field, values[field.name])
            for field in self._fields
            if field.name in values
        }

    def _check_event(self, key: str, kind: str) -> None:
        known = (*CLIENT_EVENTS, *SERVER_EVENTS, *_OTHER_EVENTS)
        if kind not in known:
            msg = (
                f"{self._where}: {key}: there is no event {kind!r}{_guess(kind, known)}"
            )
            raise ConfigurationError(msg)

    @staticmethod
    def _python(field: RecordField, value: Any) -> Any:
        missing = EACH if field.name == "nth" else ""
        return None if optional(field.annotation)[1] and value == missing else value


def _name(field: RecordField) -> str:
    """The parameter that a key is for."""
    names = {key: name for name, key in _RENAMED.items()}
    return names.get(field.name, field.name)


def _in_toml(field: RecordField) -> RecordField:
    annotation, has_none = optional(field.annotation)
    if field.name == "nth" and has_none:
        annotation = int | Literal["each"]
    return RecordField(field.name, annotation, field.required, field.default)


def check_keys(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that mean nothing.

    Raises:
        ConfigurationError: there is one.
    """
    names = tuple(known)
    for key in data:
        if key not in names:
            there = ", ".join(names)
            guess = _guess(key, names)
            msg = f"{where}: there is no key {key!r}{guess}; there are {there}"
            raise ConfigurationError(msg)


def known_name(name: Any, known: Iterable[str], where: str) -> str:
    """Return a name that has to be one of these.

    Raises:
        ConfigurationError: it is not.
    """
    names = tuple(known)
    if not isinstance(name, str) or name not in names:
        guess = _guess(str(name), names)
        msg = f"{where}: expected one of {', '.join(names)}, got {name!r}{guess}"
        raise ConfigurationError(msg)
    return name


def _guess(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, tuple(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
