"""Tools whose declaration comes from elsewhere than from a function's signature."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from trialogue.tools.definition import define
from trialogue.tools.function_tool import FunctionTool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trialogue.tools.options import ToolOptions
    from trialogue.tools.spec import ToolSpec

__all__ = ["declared_tool"]


def declared_tool(
    spec: ToolSpec,
    call: Callable[[object, dict[str, Any]], Coroutine[Any, Any, Any]],
    options: ToolOptions,
) -> FunctionTool[..., Any]:
    """Make a tool of a declaration; `call` is given the context and the arguments.

    Raises:
        ConfigurationError: the name, the schema or an option is none.
    """
    return FunctionTool(
        define(
            call,
            name=spec.name,
            description=spec.description,
            raw_schema=spec.parameters,
            options=options,
            frame=sys._getframe(),
        )
    )
