"""Tools: async functions that a model may call.

`function_tool` makes one, `structure` reads a call's arguments, and every call ends in
one `ToolOutcome`, whose text `render` makes. Nothing here runs a call or knows Trio.
"""

from trialogue.tools.arguments import ArgumentsError as ArgumentsError
from trialogue.tools.arguments import ArgumentsNotJSON as ArgumentsNotJSON
from trialogue.tools.arguments import ArgumentsTooLong as ArgumentsTooLong
from trialogue.tools.arguments import structure as structure
from trialogue.tools.function_tool import FunctionTool as FunctionTool
from trialogue.tools.function_tool import function_tool as function_tool
from trialogue.tools.options import ToolOptions as ToolOptions
from trialogue.tools.outcome import NoReply as NoReply
from trialogue.tools.outcome import ToolOutcome as ToolOutcome
from trialogue.tools.outcome import failure as failure
from trialogue.tools.outcome import render as render
from trialogue.tools.spec import ToolSpec as ToolSpec
from trialogue.tools.toolset import Toolset as Toolset
from trialogue.tools.toolset import collect as collect
