"""The JSON Schema that a signature gives, and the signatures that give none."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
)

import attrs
import pytest
from typing_extensions import TypeAliasType

from trialogue.errors import ConfigurationError
from trialogue.tools import function_tool, structure


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.frozen
class Place:
    """Somewhere on earth.

    Attributes:
        city: Its name.
    """

    city: str
    country: Annotated[str, "ISO code"] = "PE"
    tags: list[str] = attrs.field(factory=list)
    _secret: int = attrs.field(default=0, init=False)


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


CustomerId = NewType("CustomerId", str)


def properties_of(tool: Any) -> dict[str, Any]:
    found = tool.spec.parameters["properties"]
    assert isinstance(found, dict)
    return found


def schema_of(annotation: Any) -> Any:
    async def tool(x: Any) -> None: ...

    tool.__annotations__["x"] = annotation
    return function_tool(tool).spec.parameters["properties"]["x"]


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (CustomerId, {"type": "string"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
        (
            Literal["a", 1, True],
            {"enum": ["a", 1, True]},
        ),
        (Unit, {"type": "string", "enum": ["C", "F"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (Optional[str], {"anyOf": [{"type": "string"}, {"type": "null"}]}),  # noqa: UP045
        (str | int, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        (list, {"type": "array"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (
            collections.abc.Sequence[int],
            {"type": "array", "items": {"type": "integer"}},
        ),
        (
            set[str],
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        ),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (tuple, {"type": "array"}),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (dict, {"type": "object"}),
        (
            dict[str, float],
            {"type": "object", "additionalProperties": {"type": "number"}},
        ),
        (Annotated[str, "a city"], {"type": "string", "description": "a city"}),
        (
            list[Annotated[str, "a city"]],
            {"type": "array", "items": {"type": "string", "description": "a city"}},
        ),
        (
            Query,
            {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "limit": {"type": "integer"},
                },
                "required": ["text"],
                "additionalProperties": False,
            },
        ),
        (
            Box,
            {
                "type": "object",
                "properties": {
                    "size": {"type": "number"},
                    "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                },
                "required": ["size"],
                "additionalProperties": False,
            },
        ),
        (
            Place,
            {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Its name."},
                    "country": {
                        "type": "string",
                        "description": "ISO code",
                        "default": "PE",
                    },
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["city"],
                "additionalProperties": False,
                "description": "Somewhere on earth.",
            },
        ),
    ],
    ids=repr,
)
def test_each_supported_annotation_has_its_schema(annotation: Any, schema: Any) -> None:
    assert schema_of(annotation) == schema


def test_a_class_that_contains_itself_is_a_definition() -> None:
    @function_tool
    async def plant(tree: Tree) -> None: ...

    parameters = plant.spec.parameters
    assert parameters["properties"]["tree"] == {"$ref": "#/$defs/Tree"}
    children = parameters["$defs"]["Tree"]["properties"]["children"]
    assert children == {"type": "array", "items": {"$ref": "#/$defs/Tree"}}


def test_classes_of_one_name_that_contain_themselves_are_kept_apart() -> None:
    def make() -> type:
        @attrs.define
        class Node:
            next: Any = None

        Node.__annotations__["next"] = Node | None
        return Node

    async def tool(a: Any, b: Any, c: Any) -> None: ...

    tool.__annotations__.update({name: make() for name in "abc"})
    parameters = function_tool(tool).spec.parameters
    refs = [parameters["properties"][name]["$ref"] for name in "abc"]
    assert len(set(refs)) == len(parameters["$defs"]) == 3


Words = TypeAliasType("Words", list[str])


def test_a_type_alias_is_what_it_stands_for() -> None:
    assert schema_of(Words) == {"type": "array", "items": {"type": "string"}}


def test_a_class_of_the_enclosing_function_may_mention_itself() -> None:
    @attrs.frozen
    class Chain:
        link: Chain | None = None
        other: Chain | None = None

    @function_tool
    async def tool(chain: Chain) -> None: ...

    assert tool.spec.parameters["$defs"].keys() == {"Chain"}
    value = structure(tool, '{"chain": {"link": {}}}')["chain"]
    assert value == Chain(Chain(None))


def test_defaults_make_an_argument_optional_and_are_told_if_they_are_json() -> None:
    sentinel = object()

    @function_tool
    async def tool(
        a: str,
        b: int = 3,
        c: str | None = None,
        d: Unit = Unit.CELSIUS,
        e: Any = sentinel,
        *,
        f: bool,
    ) -> None: ...

    parameters = tool.spec.parameters
    assert parameters["required"] == ["a", "f"]
    assert parameters["additionalProperties"] is False
    defaults = {
        k: v["default"] for k, v in properties_of(tool).items() if "default" in v
    }
    assert defaults == {"b": 3, "c": None, "d": "C"}


def test_a_tool_without_arguments_admits_none() -> None:
    @function_tool
    async def ping() -> None: ...

    assert ping.spec.parameters == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


def test_annotated_descriptions_win_over_the_docstring() -> None:
    @function_tool
    async def tool(a: Annotated[str, "from the annotation"], b: int) -> None:
        """Do it.

        Args:
            a: From the docstring.
            b: From the docstring.
        """

    described = {name: p["description"] for name, p in properties_of(tool).items()}
    assert described == {"a": "from the annotation", "b": "From the docstring."}


def test_classes_of_the_enclosing_function_are_found() -> None:
    @attrs.frozen
    class Local:
        x: int

    class Owner:
        @function_tool
        async def tool(self, local: Local) -> None: ...

    assert properties_of(Owner().tool)["local"]["properties"] == {
        "x": {"type": "integer"}
    }


def test_a_class_defined_further_down_is_read_later() -> None:
    @function_tool
    async def early(later: Later) -> None: ...

    assert properties_of(early)["later"]["properties"] == {"n": {"type": "integer"}}


def test_a_name_that_is_never_defined_is_a_typed_error() -> None:
    @function_tool
    async def early(x: Never_Defined) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        ConfigurationError, match=r"'early'.*'Never_Defined'.*import it"
    ):
        _ = early.spec


@pytest.mark.parametrize(
    "annotation",
    [
        bytes,
        complex,
        object,
        type,
        dict[int, str],
        collections.abc.Callable[[], None],
        Literal[Unit.CELSIUS],
        list[bytes],
        "5 +",
        ForwardRef("int.missing"),
    ],
    ids=repr,
)
def test_an_unsupported_annotation_is_an_error_that_names_everything(
    annotation: Any,
) -> None:
    async def lookup(city: Any) -> None: ...

    lookup.__annotations__["city"] = annotation
    with pytest.raises(ConfigurationError) as caught:
        function_tool(lookup)
    message = str(caught.value)
    assert "tool 'lookup'" in message
    assert "'city" in message
    assert "; " in message


def test_the_message_names_a_nested_place_and_the_annotation() -> None:
    @attrs.frozen
    class Order:
        payload: list[bytes]

    async def buy(order: Order) -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"tool 'buy'.*'order\.payload\[\]'.*bytes.*use str"
    ):
        function_tool(buy)


def test_a_missing_annotation_is_refused_with_the_remedy() -> None:
    async def lookup(city) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    with pytest.raises(
        ConfigurationError, match=r"'city' has no annotation.*city: str"
    ):
        function_tool(lookup)


def test_variadic_and_positional_only_parameters_are_refused() -> None:
    async def star(*cities: str) -> None: ...
    async def stars(**cities: str) -> None: ...
    async def slash(city: str, /) -> None: ...

    for func, said in (
        (star, r"\*cities"),
        (stars, r"\*\*cities"),
        (slash, "remove the /"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            function_tool(func)


@attrs.frozen
class Later:
    n: int
