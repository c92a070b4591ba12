"""`function_tool` on functions and methods: names, options, context, calls."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar, Union

import attrs
import pytest

from trialogue.errors import ConfigurationError
from trialogue.tools import FunctionTool, function_tool, structure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from elsewhere import (  # type: ignore[import-not-found]
        ForeignAgent,  # noqa: TC004 - absent at run time, which is the point
        Unheard,  # noqa: TC004
    )

T = TypeVar("T")


class RunContext(Generic[T]):
    """Stands for the context of the layer above: it is known by its name."""


class Agent:
    __trialogue_handoff__ = True


class Weather(Agent):
    def __init__(self, word: str = "sunny") -> None:
        self.word = word

    @function_tool
    async def lookup(self, ctx: RunContext[int], location: str) -> str:
        """Look up the weather.

        Args:
            location: City or region.
        """
        return f"{self.word} in {location} for {type(ctx).__name__}"


CTX: RunContext[int] = RunContext()


async def test_a_method_is_a_tool_of_its_instance() -> None:
    tool = Weather("rainy").lookup
    assert tool.spec.name == tool.name == "lookup"
    assert tool.spec.description == "Look up the weather."
    assert list(tool.spec.parameters["properties"]) == ["location"]
    arguments = structure(tool, '{"location": "Lima"}')
    assert await tool.invoke(CTX, arguments) == "rainy in Lima for RunContext"


async def test_a_program_calls_a_tool_like_the_function_it_is() -> None:
    assert await Weather().lookup(CTX, "Lima") == "sunny in Lima for RunContext"
    assert await Weather.lookup(Weather(), CTX, location="Rome") == (
        "sunny in Rome for RunContext"
    )


async def test_a_method_without_its_instance_has_a_spec_but_cannot_be_run() -> None:
    assert list(Weather.lookup.spec.parameters["properties"]) == ["location"]
    with pytest.raises(ConfigurationError, match=r"'lookup' is a method.*bind"):
        await Weather.lookup.invoke(CTX, {"location": "Lima"})
    bound = Weather.lookup.bind(Weather())
    assert await bound.invoke(CTX, {"location": "Lima"})


async def test_the_context_is_passed_wherever_the_signature_takes_it() -> None:
    @function_tool
    async def last(city: str, run: RunContext[int]) -> object:
        return run

    @function_tool
    async def bare(ctx, city: str) -> object:  # type: ignore[no-untyped-def]  # noqa: ANN001
        return ctx

    @function_tool
    async def foreign(context: Unheard, city: str) -> object:
        return context

    @function_tool
    async def optional(run: RunContext[int] | None, city: str) -> object:
        return run

    async def quoted(run: Any, city: str) -> object:
        return run

    quoted.__annotations__["run"] = Optional["RunContext[int]"]

    for tool in (last, bare, foreign, optional, function_tool(quoted)):
        assert list(tool.spec.parameters["properties"]) == ["city"]
        assert await tool.invoke(CTX, structure(tool, '{"city": "x"}')) is CTX


async def test_a_tool_without_context_is_called_without() -> None:
    @function_tool
    async def add(a: int, b: int = 2) -> int:
        return a + b

    assert await add.invoke(CTX, structure(add, '{"a": 1}')) == 3


async def test_a_raw_schema_tool_may_call_its_context_ctx() -> None:
    @function_tool(parameters={"type": "object"})
    async def both(ctx, arguments) -> object:  # type: ignore[no-untyped-def]  # noqa: ANN001
        return ctx, arguments

    @function_tool(parameters={"type": "object"})
    async def one(context: dict[str, Any]) -> object:
        return context

    assert await both.invoke(CTX, {"a": 1}) == (CTX, {"a": 1})
    assert await one.invoke(CTX, {"a": 1}) == {"a": 1}


async def test_super_works_in_a_tool_of_a_slotted_class() -> None:
    @attrs.define
    class Local(Weather):
        word: str

        # Pyright: what is no agent has a self in the type of its tools.
        @function_tool
        async def lookup(  # pyright: ignore[reportIncompatibleVariableOverride]
            self, ctx: RunContext[int], location: str
        ) -> str:
            return "here: " + await super().lookup(ctx, location)

    said = await Local("windy").lookup.invoke(CTX, {"location": "Lima"})
    assert said == "here: windy in Lima for RunContext"


def test_a_first_argument_called_context_with_a_json_type_is_an_argument() -> None:
    @function_tool
    async def search(context: str, limit: int = 1) -> None: ...

    assert list(search.spec.parameters["properties"]) == ["context", "limit"]


def test_two_contexts_are_refused() -> None:
    async def tool(a: RunContext[int], b: RunContext[int]) -> None: ...

    with pytest.raises(ConfigurationError, match=r"a and b are both a RunContext"):
        function_tool(tool)


def test_name_description_and_options_can_be_given() -> None:
    @function_tool(
        name="weather-2",
        description="Ask the sky.",
        timeout=2.5,
        on_interrupt="cancel",
        on_handoff="detach",
        reply="none",
    )
    async def lookup(city: str) -> str:
        """Not this."""
        return city

    assert (lookup.spec.name, lookup.spec.description) == ("weather-2", "Ask the sky.")
    options = lookup.options
    assert (options.timeout, options.on_interrupt) == (2.5, "cancel")
    assert (options.on_handoff, options.reply) == ("detach", "none")


def test_the_defaults_of_the_options_are_the_documented_ones() -> None:
    options = Weather().lookup.options
    assert (options.timeout, options.on_interrupt) == (None, "keep")
    assert (options.on_handoff, options.reply) == ("cancel", "auto")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "look up"}, "'look up' cannot be a tool's name"),
        ({"name": "x" * 65}, "1 to 64"),
        ({"timeout": 0}, "timeout=0 is not"),
        ({"timeout": float("nan")}, "timeout=nan is not"),
        ({"needs_approval": "yes"}, "needs_approval='yes' is neither"),
        ({"on_interrupt": "ignore"}, "on_interrupt='ignore' is not one of 'keep'"),
        ({"on_handoff": "keep"}, "on_handoff='keep' is not one of"),
        ({"reply": None}, "reply=None is not one of"),
        ({"parameters": {"type": "string"}}, "not a JSON Schema of an object"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    async def tool(arguments: dict[str, Any]) -> None: ...

    with pytest.raises(ConfigurationError, match=said):
        function_tool(**options)(tool)


def test_what_is_not_an_async_function_is_refused_with_the_remedy() -> None:
    def sync(city: str) -> str:
        return city

    async def yields(city: str) -> Any:
        yield city

    for thing, said in (
        (sync, r"sync is not an async function.*to_thread\.run_sync"),
        (yields, "yields, but a tool returns one value"),
        (Weather.lookup, "a tool already"),
        (staticmethod(yields), "stands above @staticmethod"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            function_tool(thing)  # type: ignore[arg-type]


async def test_a_raw_schema_is_sent_as_it_is_and_the_function_takes_the_dict() -> None:
    schema = {"type": "object", "properties": {"from": {"type": "string"}}}

    class Trains:
        @function_tool(parameters=schema)
        async def search(self, ctx: RunContext[int], arguments: dict[str, Any]) -> Any:
            """Find a train."""
            return arguments

    tool = Trains().search
    assert tool.spec.parameters == schema
    assert tool.spec.description == "Find a train."
    arguments = structure(tool, '{"from": "Lima", "unknown": [1]}')
    assert await tool.invoke(CTX, arguments) == {"from": "Lima", "unknown": [1]}


def test_a_raw_schema_needs_exactly_one_parameter() -> None:
    async def tool(ctx: RunContext[int], a: str, b: str) -> None: ...

    with pytest.raises(ConfigurationError, match=r"takes one dict.*arguments: dict"):
        function_tool(parameters={"type": "object"})(tool)


def test_a_decorated_function_shows_the_signature_of_the_inner_one() -> None:
    def logged(func: Callable[..., Awaitable[str]]) -> Callable[..., Any]:
        @functools.wraps(func)
        async def wrapper(*args: Any, **kwargs: Any) -> str:
            return await func(*args, **kwargs)

        return wrapper

    @function_tool
    @logged
    async def lookup(city: str) -> str:
        return city

    assert list(lookup.spec.parameters["properties"]) == ["city"]


def test_a_static_method_and_a_plain_tool_in_a_class_are_not_bound() -> None:
    @function_tool
    async def plain(city: str) -> None: ...

    class Desk:
        borrowed = plain

        @staticmethod
        @function_tool
        async def static(city: str) -> None: ...

    borrowed: object = Desk().borrowed
    assert borrowed is plain
    assert list(Desk().static.spec.parameters["properties"]) == ["city"]


def test_tools_are_equal_if_function_and_instance_are_the_same() -> None:
    one, other = Weather(), Weather()
    assert one.lookup == one.lookup
    assert hash(one.lookup) == hash(one.lookup)
    assert one.lookup != other.lookup
    assert one.lookup != Weather.lookup
    assert one.lookup != "lookup"


def test_the_repr_tells_the_name_and_the_owner() -> None:
    assert repr(Weather().lookup) == "<FunctionTool 'lookup' of Weather>"
    assert repr(Weather.lookup) == "<FunctionTool 'lookup' unbound>"
    assert "Look up the weather" in (Weather.lookup.__doc__ or "")
    desk = Weather()
    assert desk.lookup.instance is desk


def returning(annotation: Any) -> FunctionTool[..., Any]:
    async def tool() -> Any: ...

    tool.__annotations__["return"] = annotation
    return function_tool(tool)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Agent, True),
        (Weather, True),
        (Optional[Agent], True),  # noqa: UP045
        (Union[str, Weather], True),  # noqa: UP007
        ("str | Agent", True),
        (tuple[Weather, str], True),
        ("ForeignAgent", True),
        ("Handoff[str]", True),
        ("Unheard | None", False),
        (str, False),
        (None, False),
        (Any, False),
    ],
    ids=str,
)
def test_a_return_annotation_tells_whether_a_tool_may_hand_off(
    annotation: Any, expected: bool
) -> None:
    assert returning(annotation).may_hand_off is expected


def test_a_tool_without_return_annotation_hands_nothing_off_by_its_looks() -> None:
    @function_tool
    async def tool():  # type: ignore[no-untyped-def]  # noqa: ANN202
        ...

    assert tool.may_hand_off is False


def test_an_agent_defined_further_down_is_seen() -> None:
    @function_tool
    async def transfer() -> Sunny:
        return Sunny()

    @function_tool
    async def foreign() -> ForeignAgent: ...

    assert transfer.may_hand_off is True
    assert foreign.may_hand_off is True


class Sunny(Agent):
    pass
