"""Gathering the tools of an agent under the names that a model calls them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from trialogue.errors import ConfigurationError
from trialogue.tools.function_tool import FunctionTool
from trialogue.tools.tool_set import ToolSet, name_of_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ToolsByName", "collect"]

ToolsByName: TypeAlias = dict[str, FunctionTool[..., Any]]


def collect(tools: Iterable[object] = (), *, owner: object = None) -> ToolsByName:
    """Return tools by name: the methods of `owner` first, then `tools`, in order.

    Methods come in the order of their definition, a base class before what extends it.
    A class that overrides a tool's attribute replaces the tool in its place; overriding
    it with anything that is no tool removes it. The same tool twice counts once.

    Raises:
        ConfigurationError: two tools of one name (both places are named), a thing that
            is no tool, or a method without its instance.
    """
    if isinstance(tools, (str, FunctionTool, ToolSet)):
        raise ConfigurationError(
            f"tools is a list of tools, not {tools!r}; write [{tools!r}]"
        )
    found: ToolsByName = {}
    methods = iter(()) if owner is None else _methods(owner)
    for tool in (*methods, *map(_checked, tools)):
        other = found.setdefault(tool.name, tool)
        if other != tool:
            raise ConfigurationError(
                f"two tools are called {tool.name!r}: {other.place} and {tool.place}; "
                "rename one of them: function_tool(name=...)"
            )
    return found


def _methods(owner: object) -> Iterator[FunctionTool[..., Any]]:
    attributes: dict[str, object] = {}
    for cls in reversed(type(owner).__mro__):
        attributes.update(vars(cls))
    for value in attributes.values():
        if isinstance(value, FunctionTool):
            yield value.bind(owner)


def _checked(tool: object) -> FunctionTool[..., Any]:
    if isinstance(tool, ToolSet):
        named = name_of_set(tool)
        raise ConfigurationError(
            f"{named} is a tool set, which has to be open; list it in the `tools` of "
            f"an agent, or take its tools: async with {named}.open() as tools"
        )
    if not isinstance(tool, FunctionTool):
        if getattr(tool, "__trialogue_tool_set__", False):
            named = getattr(tool, "__name__", repr(tool))
            raise ConfigurationError(
                f"{named} makes tool sets; call it to make one: tools=[{named}()]"
            )
        named = getattr(tool, "__qualname__", repr(tool))
        raise ConfigurationError(f"{named} is not a tool; decorate it: @function_tool")
    if tool.is_unbound_method:
        raise ConfigurationError(
            f"{tool.place} is a method without an instance; give the tool of an "
            "instance (desk.lookup, not Desk.lookup)"
        )
    return tool
