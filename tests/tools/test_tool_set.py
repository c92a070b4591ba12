"""Tool sets as descriptions: how one is made, what it is equal to, what is none."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from trialogue import ConfigurationError
from trialogue.tools import AnyTool, ToolSet, collect, function_tool, tool_set

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@function_tool
async def find_book(title: str) -> str:
    """Find a book."""
    return f"{title} is here"


@tool_set
async def library(
    *cities: str, lent: tuple[str, ...] | list[str] = ()
) -> AsyncIterator[list[AnyTool]]:
    """The books of some cities."""
    yield [find_book]


class Shop(ToolSet):
    """Made without a name."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[AnyTool]]:
        yield []


def test_sets_of_equal_arguments_are_equal() -> None:
    assert library("oslo", lent=["Emma"]) == library("oslo", lent=["Emma"])
    assert hash(library("oslo", lent=["Emma"])) == hash(library("bergen"))
    assert library("oslo") != library("bergen")
    assert Shop() != Shop()


def test_a_set_has_a_name_and_a_deadline() -> None:
    function: Any = vars(library)["__wrapped__"]
    made = tool_set(name="shelves", open_timeout=3)(function)("oslo")

    assert (made.name, made.open_timeout) == ("shelves", 3)
    assert (library().name, library().open_timeout) == ("library", 10)
    assert repr(made) == "<tool set 'shelves'>"
    assert library.__doc__ == "The books of some cities."


async def test_a_set_can_be_opened_without_a_session() -> None:
    async with library("oslo").open() as tools:
        assert list(collect(tools)) == ["find_book"]


async def no_generator() -> list[AnyTool]:
    return [find_book]


def sync() -> Any:
    yield [find_book]


@asynccontextmanager
async def managed() -> AsyncIterator[list[AnyTool]]:
    yield [find_book]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_generator, "no_generator is no tool set: .* yields a list of tools, once"),
        (sync, "sync is no tool set"),
        (managed, "managed is decorated already; .* in place of @asynccontextmanager"),
    ],
)
def test_what_is_no_set_is_refused(function: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        tool_set(function)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_deadline_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="not a number of seconds above 0"):
        tool_set(open_timeout=seconds)


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        (
            [library()],
            r"library is a tool set, .* async with library\.open\(\) as tools",
        ),
        ([Shop()], "Shop is a tool set"),
        ([library], r"library makes tool sets; call it to make one: tools=\[library"),
        (library(), "a list of tools"),
    ],
)
def test_a_set_is_not_taken_for_its_tools(tools: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        collect(tools)
