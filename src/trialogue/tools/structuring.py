"""From plain JSON data to the Python values that a tool's signature asks for.

cattrs does the dispatch; every hook is strict, because by default it coerces without a
word: None to "None", "7" to 7, "false" to True.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args, get_origin, is_typeddict

from cattrs import Converter

from trialogue.errors import TrialogueError
from trialogue.tools.annotations import Namespace, is_union, peel
from trialogue.tools.records import RecordField, fields_of, is_record
from trialogue.tools.schema import LISTS, MAPPINGS, SETS

__all__ = ["ArgumentReader", "ArgumentsError"]

_Hook = Callable[[Any, Any], Any]

_KINDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    type(None): "null",
    list: "an array",
    dict: "an object",
}

_LONGEST_KEY = 64


class ArgumentsError(TrialogueError, ValueError):
    """The arguments of a call are not what the tool takes.

    The message is meant for the model: it tells the place and the type expected there,
    and never repeats the value.

    Attributes:
        path: the place, as in `$.cities[2].name`.
        expected: what belongs there, in words.
        got_type: what kind of thing was found there, in words.
    """

    def __init__(self, path: str, expected: str, got_type: str) -> None:
        super().__init__(f"{path}: expected {expected}, got {got_type}")
        self.path = path
        self.expected = expected
        self.got_type = got_type

    def below(self, step: str) -> ArgumentsError:
        """Return this error as seen from the container, one step further out."""
        return ArgumentsError(f"${step}{self.path[1:]}", self.expected, self.got_type)


class ArgumentReader:
    """Structures one tool's arguments."""

    def __init__(self, fields: Sequence[RecordField], namespace: Namespace) -> None:
        self._fields = tuple(fields)
        self._structure = _Structure(namespace)

    def __repr__(self) -> str:
        return f"<ArgumentReader of {', '.join(f.name for f in self._fields)}>"

    def read(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments; those that were left out are not among them.

        Raises:
            ArgumentsError: with the place of the first mismatch.
        """
        return self._structure.fields(data, self._fields)


class _Structure:
    """A strict cattrs converter: one hook or factory for each kind of annotation."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._records: dict[type, tuple[RecordField, ...]] = {}
        self._converter = converter = Converter(detailed_validation=False)
        for scalar in (str, int, bool):
            converter.register_structure_hook(scalar, _exact)
        converter.register_structure_hook(float, _number)
        for applies, factory in (
            (_is_null, lambda _: _null),
            (_is_literal, lambda _: _literal),
            (is_record, self._record),
            (is_union, self._union),
            (lambda t: _container(t) in MAPPINGS, self._mapping),
            (lambda t: _container(t) in LISTS, self._list),
            (lambda t: _container(t) in SETS, self._set),
            (lambda t: _container(t) is tuple, self._tuple),
        ):
            converter.register_structure_hook_factory(applies, factory)

    def value(self, value: Any, annotation: Any) -> Any:
        annotation, _ = peel(annotation)
        if annotation is Any:
            return value
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            # Not by a hook: cattrs would take `class Color(str, Enum)` for a str.
            return _member(value, annotation)
        return self._converter.get_structure_hook(annotation)(value, annotation)

    def fields(
        self, data: dict[str, Any], fields: Sequence[RecordField]
    ) -> dict[str, Any]:
        """Structure an object by its fields, refusing keys that it does not have."""
        names = [field.name for field in fields]
        for key in data:
            if key not in names:
                there = ", ".join(names) if names else "none"
                raise ArgumentsError(
                    f"${_step(key)}", f"no such name (known: {there})", kind(data[key])
                )
        return {
            field.name: self._at(_step(field.name), data[field.name], field.annotation)
            for field in fields
            if self._present(data, field)
        }

    def _present(self, data: dict[str, Any], field: RecordField) -> bool:
        if field.name in data:
            return True
        if field.required:
            wanted = expected(field.annotation)
            raise ArgumentsError(f"${_step(field.name)}", wanted, "nothing")
        return False

    def _at(self, step: str, value: Any, annotation: Any) -> Any:
        try:
            return self.value(value, annotation)
        except ArgumentsError as error:
            raise error.below(step) from None

    def _record(self, cls: type) -> _Hook:
        def structure(value: Any, _: Any) -> Any:
            if type(value) is not dict:
                raise ArgumentsError("$", "an object", kind(value))
            if cls not in self._records:
                self._records[cls] = fields_of(cls, self._namespace)
            arguments = self.fields(value, self._records[cls])
            return arguments if is_typeddict(cls) else _construct(cls, arguments)

        return structure

    def _union(self, union: Any) -> _Hook:
        # Whatever converts (an integer to float) comes after what takes it as it is.
        members = sorted(get_args(union), key=lambda member: peel(member)[0] is float)

        def structure(value: Any, _: Any) -> Any:
            errors: list[ArgumentsError] = []
            for member in members:
                try:
                    return self.value(value, member)
                except ArgumentsError as error:
                    errors.append(error)
            deepest = max(errors, key=lambda error: len(error.path))
            if deepest.path != "$":
                raise deepest
            raise ArgumentsError("$", expected(union), kind(value))

        return structure

    def _mapping(self, annotation: Any) -> _Hook:
        element = (*get_args(annotation)[1:], Any)[0]

        def structure(value: Any, _: Any) -> dict[str, Any]:
            if type(value) is not dict:
                raise ArgumentsError("$", "an object", kind(value))
            return {k: self._at(_step(k), item, element) for k, item in value.items()}

        return structure

    def _list(self, annotation: Any) -> _Hook:
        element = (*get_args(annotation), Any)[0]
        return lambda value, _: self._elements(value, element)

    def _set(self, annotation: Any) -> _Hook:
        element = (*get_args(annotation), Any)[0]
        made = set if _container(annotation) is set else frozenset

        def structure(value: Any, _: Any) -> set[Any] | frozenset[Any]:
            items = self._elements(value, element)
            try:
                found = made(items)
            except TypeError:
                raise ArgumentsError(
                    "$", "an array of hashable items", "an array"
                ) from None
            if len(found) != len(items):
                raise ArgumentsError(
                    "$", "an array without repetitions", "a repetition"
                )
            return found

        return structure

    def _tuple(self, annotation: Any) -> _Hook:
        parts = get_args(annotation)
        if not parts or parts[1:] == (Ellipsis,):
            element = (*parts, Any)[0]
            return lambda value, _: tuple(self._elements(value, element))

        def structure(value: Any, _: Any) -> tuple[Any, ...]:
            if type(value) is not list:
                raise ArgumentsError("$", "an array", kind(value))
            if len(value) != len(parts):
                wanted = f"an array of {len(parts)} items"
                raise ArgumentsError("$", wanted, f"one of {len(value)}")
            pairs = enumerate(zip(value, parts, strict=True))
            return tuple(self._at(f"[{n}]", item, part) for n, (item, part) in pairs)

        return structure

    def _elements(self, value: Any, element: Any) -> list[Any]:
        if type(value) is not list:
            raise ArgumentsError("$", "an array", kind(value))
        return [self._at(f"[{n}]", item, element) for n, item in enumerate(value)]


def expected(annotation: Any) -> str:
    """Say in words what an annotation admits."""
    annotation, _ = peel(annotation)
    if annotation is Any:
        return "any value"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _one_of(member.value for member in annotation)
    if get_origin(annotation) is Literal:
        return _one_of(get_args(annotation))
    if is_union(annotation):
        return " or ".join(dict.fromkeys(map(expected, get_args(annotation))))
    container = _container(annotation)
    if container in MAPPINGS or is_record(annotation):
        return "an object"
    return _KINDS.get(container, "an array")


def kind(value: Any) -> str:
    """Say in words what kind of JSON value this is."""
    return "a number" if type(value) is int else _KINDS.get(type(value), "a value")


def _container(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _is_literal(annotation: Any) -> bool:
    return get_origin(annotation) is Literal


def _is_null(annotation: Any) -> bool:
    return annotation is type(None)


def _exact(value: Any, wanted: Any) -> Any:
    if type(value) is not wanted:
        fraction = wanted is int and type(value) is float
        raise ArgumentsError(
            "$", _KINDS[wanted], "a fraction or exponent" if fraction else kind(value)
        )
    return value


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise ArgumentsError("$", "a number", kind(value))
    try:
        return float(value)
    except OverflowError:
        raise ArgumentsError("$", "a number below 1e308", "a greater one") from None


def _null(value: Any, _: Any) -> None:
    if value is not None:
        raise ArgumentsError("$", "null", kind(value))


def _literal(value: Any, annotation: Any) -> Any:
    for choice in get_args(annotation):
        if _same(value, choice):
            return choice
    raise ArgumentsError("$", expected(annotation), _other(value))


def _member(value: Any, cls: type[enum.Enum]) -> enum.Enum:
    for member in cls:
        if _same(value, member.value):
            return member
    raise ArgumentsError("$", expected(cls), _other(value))


def _same(value: Any, choice: Any) -> bool:
    """Compare without `True == 1`."""
    return type(value) is type(choice) and bool(value == choice)


def _other(value: Any) -> str:
    return "another string" if type(value) is str else kind(value)


def _one_of(values: Iterable[Any]) -> str:
    known = [json.dumps(value, ensure_ascii=False) for value in values]
    return known[0] if len(known) == 1 else f"one of {', '.join(known)}"


def _construct(cls: type, arguments: dict[str, Any]) -> Any:
    """Make the instance; what its own validators refuse is the model's mistake too.

    Their text may quote the value, so it is not passed on.
    """
    try:
        return cls(**arguments)
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise ArgumentsError(
            "$", f"a valid {cls.__name__}", "one that it refuses"
        ) from error


def _step(key: str) -> str:
    if len(key) > _LONGEST_KEY:
        key = f"{key[:_LONGEST_KEY]}..."
    return f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]"
