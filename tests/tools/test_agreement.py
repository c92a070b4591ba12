"""The schema that the model is shown admits exactly what structuring accepts."""

from __future__ import annotations

import contextlib
import enum
import json
from typing import Any, Literal, NotRequired, TypedDict, Union

import attrs
from hypothesis import given
from hypothesis import strategies as st

from trialogue.tools import ArgumentsError, FunctionTool, function_tool, structure
from trialogue.tools.plain import to_plain


class Unit(enum.Enum):
    CELSIUS = "C"
    KELVIN = 1


@attrs.frozen
class Place:
    city: str
    height: float = 0.0


class Query(TypedDict):
    text: str
    limit: NotRequired[int]


SCALARS: list[Any] = [str, int, float, bool, None, Unit, Literal["a", 1, True], Place]


# Made at run time, which a type checker would rather not see.
LIST: Any = list
DICT: Any = dict
TUPLE: Any = tuple
UNION: Any = Union


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda t: LIST[t]),
        inner.map(lambda t: DICT[str, t]),
        inner.map(lambda t: TUPLE[t, ...]),
        st.tuples(inner, inner).map(lambda pair: TUPLE[pair]),
        st.tuples(inner, inner).map(lambda pair: UNION[pair]),
    )


ANNOTATIONS = st.recursive(st.sampled_from([*SCALARS, Query]), nested, max_leaves=4)

KEYS = st.sampled_from(["city", "height", "text", "limit", "other"])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.floats(-3, 3).filter(lambda x: not x.is_integer()),
        st.sampled_from(["C", "a", "Lima", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=6,
)


def taking(annotation: Any) -> FunctionTool[..., None]:
    async def tool(x: Any) -> None: ...

    tool.__annotations__["x"] = annotation
    return function_tool(tool)


def admits(schema: dict[str, Any], value: Any) -> bool:
    """Judge a value by a schema: as much of JSON Schema as these tools use."""
    if "anyOf" in schema:
        return any(admits(option, value) for option in schema["anyOf"])
    if "enum" in schema and not any(
        type(value) is type(choice) and value == choice for choice in schema["enum"]
    ):
        return False
    if "type" in schema and not _is_a(schema["type"], value):
        return False
    if isinstance(value, list):
        return _admits_items(schema, value)
    return not isinstance(value, dict) or _admits_members(schema, value)


def _is_a(kind: str, value: Any) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "null": (type(None),),
        "array": (list,),
        "object": (dict,),
    }
    return type(value) in kinds[kind]


def _admits_items(schema: dict[str, Any], value: list[Any]) -> bool:
    if "prefixItems" in schema:
        right_size = schema["minItems"] <= len(value) <= schema["maxItems"]
        return right_size and all(map(admits, schema["prefixItems"], value))
    return all(admits(schema.get("items", {}), item) for item in value)


def _admits_members(schema: dict[str, Any], value: dict[str, Any]) -> bool:
    if not set(schema.get("required", ())) <= set(value):
        return False
    known, further = schema.get("properties", {}), schema.get("additionalProperties")
    for key, item in value.items():
        rule = known.get(key, further)
        if rule is False or (isinstance(rule, dict) and not admits(rule, item)):
            return False
    return True


@given(ANNOTATIONS, VALUES)
def test_structuring_accepts_what_the_schema_admits_and_nothing_else(
    annotation: Any, value: Any
) -> None:
    tool = taking(annotation)
    arguments = {"x": value}
    admitted = admits(tool.spec.parameters, arguments)
    try:
        structure(tool, json.dumps(arguments))
        accepted = True
    except ArgumentsError:
        accepted = False
    assert accepted == admitted


@given(ANNOTATIONS, st.data())
def test_what_a_schema_admits_survives_the_way_there_and_back(
    annotation: Any, data: st.DataObject
) -> None:
    tool = taking(annotation)
    value = data.draw(matching(tool.spec.parameters["properties"]["x"]))
    assert admits(tool.spec.parameters["properties"]["x"], value)
    structured = structure(tool, json.dumps({"x": value}))["x"]
    back = to_plain(structured)
    assert structure(tool, json.dumps({"x": back}))["x"] == structured


def matching(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw values that a schema admits."""
    if "anyOf" in schema:
        return st.one_of(*map(matching, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "array" if "prefixItems" in schema:
            return st.tuples(*map(matching, schema["prefixItems"])).map(list)
        case "array":
            return st.lists(matching(schema["items"]), max_size=2)
        case "object" if "properties" in schema:
            members = {k: matching(v) for k, v in schema["properties"].items()}
            needed = {k: members.pop(k) for k in schema["required"]}
            return st.fixed_dictionaries(needed, optional=members)
        case "object":
            inner = matching(schema["additionalProperties"])
            return st.dictionaries(KEYS, inner, max_size=2)
        case kind:
            return {
                "string": st.text(max_size=5),
                "integer": st.integers(-(2**53), 2**53),
                "number": st.floats(allow_nan=False, allow_infinity=False),
                "boolean": st.booleans(),
                "null": st.none(),
            }[kind]


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_makes_structuring_raise_anything_else(text: str) -> None:
    with contextlib.suppress(ArgumentsError):
        assert structure(taking(str), text).keys() == {"x"}
