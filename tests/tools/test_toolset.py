"""Collecting tools by name."""

from __future__ import annotations

from typing import Any

import pytest

from trialogue.errors import ConfigurationError
from trialogue.tools import collect, function_tool


class Base:
    @function_tool
    async def first(self) -> str:
        return "base"

    @function_tool
    async def second(self) -> str:
        return "base"

    @function_tool
    async def gone(self) -> str:
        return "base"


class Derived(Base):
    @function_tool
    async def third(self) -> str:
        return "derived"

    # Pyright: what is no agent has a self in the type of its tools.
    @function_tool
    async def first(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "derived"

    gone = None  # type: ignore[assignment]


@function_tool
async def plain() -> str:
    return "plain"


async def test_methods_come_in_order_of_definition_and_overrides_win() -> None:
    tools = collect([plain], owner=Derived())
    assert list(tools) == ["first", "second", "third", "plain"]
    said = [await tool.invoke(None, {}) for tool in tools.values()]
    assert said == ["derived", "base", "derived", "plain"]


def test_two_tools_of_one_name_are_an_error_that_names_both_places() -> None:
    @function_tool(name="first")
    async def impostor() -> None: ...

    with pytest.raises(ConfigurationError) as caught:
        collect([impostor], owner=Derived())
    message = str(caught.value)
    assert "'first'" in message
    assert "Derived.first" in message
    assert "impostor" in message
    assert message.count("test_toolset.py:") == 2
    assert "rename" in message


def test_the_same_tool_twice_counts_once() -> None:
    owner = Derived()
    assert list(collect([plain, plain, owner.first], owner=owner))[-1] == "plain"


def test_the_same_method_of_two_instances_is_a_conflict() -> None:
    with pytest.raises(ConfigurationError, match="two tools are called 'first'"):
        collect([Derived().first, Derived().first])


async def undecorated() -> None: ...


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([undecorated], "undecorated is not a tool; decorate it"),
        ([None], "None is not a tool"),
        ([Derived.first], r"Derived\.first .* without an instance"),
        (plain, "a list of tools"),
        ("lookup", "a list of tools"),
    ],
)
def test_what_is_no_tool_is_refused(tools: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        collect(tools)


def test_nothing_gives_nothing() -> None:
    assert collect() == {}
    assert collect(owner=object()) == {}
