"""A call's arguments: from the JSON text that a model wrote to keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trialogue._codec import loads
from trialogue.tools.structuring import ArgumentsError, kind

if TYPE_CHECKING:
    from trialogue.tools.function_tool import FunctionTool

__all__ = [
    "MAX_ARGUMENT_BYTES",
    "ArgumentsError",
    "ArgumentsNotJSON",
    "ArgumentsTooLong",
    "structure",
]

MAX_ARGUMENT_BYTES: Final = 64 * 1024
"""How long the arguments of one call may be, in bytes of UTF-8 (X3)."""


class ArgumentsNotJSON(ArgumentsError):
    """The arguments of a call are not JSON text."""


class ArgumentsTooLong(ArgumentsError):
    """The arguments of a call are longer than allowed; they were not parsed."""


def structure(
    tool: FunctionTool[..., Any],
    arguments_json: str,
    *,
    max_bytes: int = MAX_ARGUMENT_BYTES,
) -> dict[str, Any]:
    """Return the keyword arguments for `tool.invoke`.

    Nothing is coerced: a number written as text is an error, 3.0 is no integer; an
    integer is accepted (and converted) where a float is wanted. Arguments that the
    signature does not know are refused; those with a default may be left out, and are
    then left out of the result. Empty text means no arguments. With a raw schema the
    object is returned as it is.

    Raises:
        ArgumentsNotJSON: the text is not JSON.
        ArgumentsTooLong: the text is longer than `max_bytes`.
        ArgumentsError: the value is not an object, or does not fit the signature. The
            message names the place and the expected type, never the value.
    """
    size = len(arguments_json)
    if size <= max_bytes:  # a character is at least one byte: only now is it worth it
        size = len(arguments_json.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise ArgumentsTooLong("$", f"at most {max_bytes} bytes of JSON", "more")
    data = _parse(arguments_json)
    if type(data) is not dict:
        raise ArgumentsError("$", "an object", kind(data))
    if tool.has_raw_schema:
        return data
    return _read(tool, data)


def _parse(text: str) -> Any:
    if not text.strip():
        return {}
    try:
        return loads(text)
    except (ValueError, RecursionError):
        # Without the cause: it holds the text, which may hold what the user said.
        raise ArgumentsNotJSON("$", "a JSON object", "text that is not JSON") from None


def _read(tool: FunctionTool[..., Any], data: dict[str, Any]) -> dict[str, Any]:
    try:
        return tool.arguments.read(data)
    except RecursionError:
        raise ArgumentsError("$", "less nesting", "an object nested deeper") from None
