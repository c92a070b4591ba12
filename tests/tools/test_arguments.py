"""From a model's JSON text to keyword arguments: strictly, and quoting nothing."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
from typing import Any, Literal, NotRequired, TypedDict

import attrs
import pytest

from trialogue.tools import (
    ArgumentsError,
    ArgumentsNotJSON,
    ArgumentsTooLong,
    FunctionTool,
    function_tool,
    structure,
)


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


@attrs.frozen
class Place:
    city: str
    country: str = "PE"
    _zone: int = attrs.field(default=0)


def _check_even(_: object, attribute: object, value: int) -> None:
    if value % 2:
        raise ValueError(f"{value} is odd")


@attrs.frozen
class Even:
    n: int = attrs.field(validator=_check_even)


@dataclasses.dataclass
class Box:
    size: float
    unit: Unit = Unit.CELSIUS


class Query(TypedDict):
    text: str
    limit: NotRequired[int]


@attrs.frozen
class Tree:
    name: str
    children: list[Tree]


def taking(annotation: Any) -> FunctionTool[..., None]:
    async def tool(x: Any) -> None: ...

    tool.__annotations__["x"] = annotation
    return function_tool(tool)


def given(annotation: Any, text: str) -> Any:
    return structure(taking(annotation), f'{{"x": {text}}}')["x"]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, '"Lima"', "Lima"),
        (int, "7", 7),
        (bool, "true", True),
        (float, "2.5", 2.5),
        (float, "2", 2.0),
        (None, "null", None),
        (list[None], "[null]", [None]),
        (Any, '{"a": [1]}', {"a": [1]}),
        (str | None, "null", None),
        (float | int, "3", 3),
        (str | list[str], '["a"]', ["a"]),
        (Literal["a", 1], "1", 1),
        (Unit, '"F"', Unit.FAHRENHEIT),
        (Colour, '"red"', Colour.RED),
        (Level, "1", Level.LOW),
        (list[int], "[1, 2]", [1, 2]),
        (list, '[1, "a"]', [1, "a"]),
        (collections.abc.Sequence[str], '["a"]', ["a"]),
        (set[str], '["a", "b"]', {"a", "b"}),
        (frozenset[int], "[1]", frozenset({1})),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (tuple[int, ...], "[1, 2, 3]", (1, 2, 3)),
        (tuple, "[1]", (1,)),
        (dict, '{"a": 1}', {"a": 1}),
        (dict[str, float], '{"a": 1}', {"a": 1.0}),
        (Place, '{"city": "Lima", "zone": 3}', Place("Lima", "PE", 3)),
        (Box, '{"size": 2, "unit": "F"}', Box(2.0, Unit.FAHRENHEIT)),
        (Query, '{"text": "x"}', {"text": "x"}),
        (Place | None, '{"city": "Lima"}', Place("Lima")),
        (Tree, '{"name": "a", "children": [{"name": "b", "children": []}]}',
         Tree("a", [Tree("b", [])])),
    ],
    # Not the text of a value: that of a set is another in each process.
    ids=lambda value: None if isinstance(value, set) else repr(value)[:40],
)  # fmt: skip
def test_json_becomes_the_value_that_the_annotation_asks_for(
    annotation: Any, text: str, value: Any
) -> None:
    got = given(annotation, text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.behaviour("T1")
@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        (str, "7", "$.x: expected a string, got a number"),
        (str, "null", "$.x: expected a string, got null"),
        (int, '"7"', "$.x: expected an integer, got a string"),
        (int, "2.9", "$.x: expected an integer, got a fraction or exponent"),
        (int, "true", "$.x: expected an integer, got true or false"),
        (int, "3.0", "$.x: expected an integer, got a fraction or exponent"),
        (bool, '"false"', "$.x: expected true or false, got a string"),
        (bool, "1", "$.x: expected true or false, got a number"),
        (float, "true", "$.x: expected a number, got true or false"),
        (None, "0", "$.x: expected null, got a number"),
        (str | None, "5", "$.x: expected a string or null, got a number"),
        (Literal["a", "b"], '"c"', '$.x: expected one of "a", "b", got another string'),
        (Literal[1], "true", "$.x: expected 1, got true or false"),
        (Unit, '"K"', '$.x: expected one of "C", "F", got another string'),
        (Unit, '["C"]', '$.x: expected one of "C", "F", got an array'),
        (list[str], '"abc"', "$.x: expected an array, got a string"),
        (list[int], '[1, "2"]', "$.x[1]: expected an integer, got a string"),
        (set[str], '["a", "a"]',
         "$.x: expected an array without repetitions, got a repetition"),
        (set, "[[1]]", "$.x: expected an array of hashable items, got an array"),
        (tuple[int, str], "[1]", "$.x: expected an array of 2 items, got one of 1"),
        (tuple[int, str], '"ab"', "$.x: expected an array, got a string"),
        (tuple[int, str], "[1, 2]", "$.x[1]: expected a string, got a number"),
        (dict[str, int], "[]", "$.x: expected an object, got an array"),
        (dict[str, int], '{"a b": "c"}',
         '$.x["a b"]: expected an integer, got a string'),
        (str | list[Any], "1", "$.x: expected a string or an array, got a number"),
        (Unit | None, "1", '$.x: expected one of "C", "F" or null, got a number'),
        (Literal["a"] | Place, "1", '$.x: expected "a" or an object, got a number'),
        (Place, '"Lima"', "$.x: expected an object, got a string"),
        (Place, "{}", "$.x.city: expected a string, got nothing"),
        (Place, '{"city": 1}', "$.x.city: expected a string, got a number"),
        (Place, '{"city": "a", "planet": 1}',
         "$.x.planet: expected no such name (known: city, country, zone), "
         "got a number"),
        (Place | None, '{"city": 1}', "$.x.city: expected a string, got a number"),
        (list[Place], '[{"city": "a"}, {}]',
         "$.x[1].city: expected a string, got nothing"),
        (Even, '{"n": 3}', "$.x: expected a valid Even, got one that it refuses"),
    ],
)  # fmt: skip
def test_nothing_is_coerced_and_the_error_tells_path_and_type(
    annotation: Any, text: str, message: str
) -> None:
    with pytest.raises(ArgumentsError) as caught:
        given(annotation, text)
    assert str(caught.value) == message
    error = caught.value
    assert message == f"{error.path}: expected {error.expected}, got {error.got_type}"


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, '"hunter2"'),
        (Unit, '"hunter2"'),
        (Literal["a"], '"hunter2"'),
        (list[int], '["hunter2"]'),
        (str | list[int], '{"a": "hunter2"}'),
        (Place, '{"city": ["hunter2"]}'),
        (Place, '{"city": "a", "planet": "hunter2"}'),
        (str, '"hunter2'),
    ],
)
def test_an_error_never_repeats_the_value(annotation: Any, text: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        given(annotation, text)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.__dict__)
    assert caught.value.__cause__ is None


@function_tool
async def forecast(city: str, days: int = 1) -> None: ...


def test_arguments_with_a_default_may_be_left_out() -> None:
    assert structure(forecast, '{"city": "Lima"}') == {"city": "Lima"}
    assert structure(forecast, '{"city": "Lima", "days": 2}') == {
        "city": "Lima",
        "days": 2,
    }


def test_missing_and_unknown_arguments_are_refused() -> None:
    with pytest.raises(ArgumentsError, match=r"^\$\.city: .* a string, got nothing$"):
        structure(forecast, "{}")
    with pytest.raises(ArgumentsError, match=r"\$\.town: .*\(known: city, days\)"):
        structure(forecast, '{"city": "Lima", "town": "x"}')


def test_a_long_unknown_name_is_cut_in_the_message() -> None:
    with pytest.raises(ArgumentsError) as caught:
        structure(forecast, f'{{"{"x" * 5000}": 1}}')
    assert len(str(caught.value)) < 200


@pytest.mark.behaviour("T1")
@pytest.mark.parametrize(
    "text", ["{", "Lima", '{"city": NaN}', '{"city": "Li', '{"a": ' * 5000]
)
def test_text_that_is_not_json_is_an_error_of_its_own(text: str) -> None:
    with pytest.raises(ArgumentsNotJSON, match=r"expected a JSON object") as caught:
        structure(forecast, text)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["[]", '"Lima"', "3", "null", "true"])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ArgumentsError, match=r"^\$: expected an object, got "):
        structure(forecast, text)


def test_empty_text_means_no_arguments() -> None:
    @function_tool
    async def ping() -> None: ...

    assert structure(ping, "") == structure(ping, " \n") == structure(ping, "{}") == {}


@pytest.mark.behaviour("X3")
def test_arguments_are_bounded_in_bytes() -> None:
    def text(letter: str, size: int) -> str:
        return f'{{"city": "{letter * size}"}}'

    assert structure(forecast, text("x", 60_000))
    for too_long in (text("x", 65_536), text("é", 40_000)):
        with pytest.raises(ArgumentsTooLong, match="at most 65536 bytes"):
            structure(forecast, too_long)
    with pytest.raises(ArgumentsTooLong):
        structure(forecast, text("x", 10), max_bytes=20)


def test_a_raw_schema_takes_any_object_but_nothing_else() -> None:
    @function_tool(parameters={"type": "object", "required": ["a"]})
    async def raw(arguments: dict[str, Any]) -> None: ...

    assert structure(raw, '{"b": null}') == {"b": None}
    with pytest.raises(ArgumentsError, match="expected an object, got an array"):
        structure(raw, "[1]")


def test_a_missing_argument_of_any_type_is_told_so() -> None:
    with pytest.raises(
        ArgumentsError, match=r"^\$\.x: expected any value, got nothing"
    ):
        structure(taking(Any), "{}")


def test_nesting_beyond_what_can_be_followed_is_refused() -> None:
    text = '{"name": "a", "children": [' * 450 + "]}" * 450
    with pytest.raises(ArgumentsError, match=r"less nesting|a JSON object"):
        given(Tree, text)


@pytest.mark.parametrize("digits", ["9" * 400, "9" * 5000])
def test_a_number_beyond_all_bounds_is_refused(digits: str) -> None:
    for annotation in (int, float, str):
        try:
            value = given(annotation, digits)
        except ArgumentsError:
            continue
        assert value == int(digits)


def test_an_integer_too_great_for_a_float_is_refused() -> None:
    with pytest.raises(ArgumentsError, match=r"\$\.x: expected a number below 1e308"):
        taking(float).arguments.read({"x": 10**400})


def test_the_reader_shows_its_arguments() -> None:
    assert repr(forecast.arguments) == "<ArgumentReader of city, days>"
