"""Tools: async functions that a model may call.

`function_tool` makes one, `structure` reads a call's arguments, and every call ends in
one `ToolOutcome`, whose text `render` makes. Nothing here runs a call or knows Trio.
"""

from trialogue.tools.arguments import (
    ArgumentsError,
    ArgumentsNotJSON,
    ArgumentsTooLong,
    structure,
)
from trialogue.tools.function_tool import FunctionTool, function_tool
from trialogue.tools.options import ToolOptions
from trialogue.tools.outcome import NoReply, ToolOutcome, failure, render
from trialogue.tools.spec import ToolSpec
from trialogue.tools.tool_set import AnyTool, ToolSet, tool_set
from trialogue.tools.toolset import ToolsByName, collect

__all__ = [
    "AnyTool",
    "ArgumentsError",
    "ArgumentsNotJSON",
    "ArgumentsTooLong",
    "FunctionTool",
    "NoReply",
    "ToolOptions",
    "ToolOutcome",
    "ToolSet",
    "ToolSpec",
    "ToolsByName",
    "collect",
    "failure",
    "function_tool",
    "render",
    "structure",
    "tool_set",
]
