"""What the wire classes leave open and the protocol does not (§3.1, §4.1, §12.2).

The classes serve both directions, and read what newer servers send; a client may only
send what the protocol knows.
"""

from __future__ import annotations

from typing import Any, Final

from trialogue.dialects.openai.wire.base import UNSET
from trialogue.dialects.openai.wire.items import Item, MCPCall, MCPListTools
from trialogue.dialects.openai.wire.session import (
    MCPTool,
    Reasoning,
    Session,
)
from trialogue.testing.machine.outputs import Refusal

__all__ = ["check_item_shape", "check_params_shape", "check_session_shape"]

_EFFORTS: Final = ("minimal", "low", "medium", "high", "xhigh")
_INCLUDED: Final = ("item.input_audio_transcription.logprobs",)
_CALL_ERRORS: Final[dict[str, dict[str, type]]] = {
    "protocol_error": {"code": int, "message": str},
    "http_error": {"code": int, "message": str},
    "tool_execution_error": {"message": str},
}
_VARIABLES: Final = {
    "input_text": "text",
    "input_image": "image_url",
    "input_file": "file_id",
}


def _invalid(path: str, expected: str) -> Refusal:
    message = f"Invalid value for '{path}': expected {expected}."
    return Refusal("invalid_value", message, param=path)


def check_session_shape(session: Session) -> None:
    """Check what sessions alone have.

    Raises:
        Refusal: with the path.
    """
    for index, name in enumerate(session.include or ()):
        if name not in _INCLUDED:
            raise _invalid(f"session.include[{index}]", f"'{_INCLUDED[0]}'")


def check_params_shape(params: Any, path: str) -> None:
    """Check what sessions and responses have in common.

    Raises:
        Refusal: with the path.
    """
    match params.reasoning:
        case Reasoning(effort=str(effort)) if effort not in _EFFORTS:
            known = ", ".join(f"'{one}'" for one in _EFFORTS)
            raise _invalid(f"{path}.reasoning.effort", f"one of {known}")
    for index, tool in enumerate(params.tools or ()):
        if isinstance(tool, MCPTool):
            _check_tool_server(tool, f"{path}.tools[{index}]")
    for name, value in ((params.prompt and params.prompt.variables) or {}).items():
        if not _is_variable(value):
            where = f"{path}.prompt.variables.{name}"
            raise _invalid(where, "a string, or an input of text, image or file")


def _is_variable(value: Any) -> bool:
    match value:
        case str():
            return True
        case {"type": str(kind)} if kind in _VARIABLES:
            return isinstance(value.get(_VARIABLES[kind]), str)
    return False


def _check_tool_server(tool: MCPTool, path: str) -> None:
    match tool.allowed_tools:
        case None | list() if _are_strings(tool.allowed_tools or []):
            pass
        case dict(names) if _is_filter(names):
            pass
        case given if given is not UNSET:
            raise _invalid(f"{path}.allowed_tools", "names, or a filter of tools")
    match tool.require_approval:
        case None | "always" | "never":
            pass
        case dict(when) if when.keys() <= {"always", "never"} and all(
            isinstance(which, dict) and _is_filter(which) for which in when.values()
        ):
            pass
        case given if given is not UNSET:
            where = f"{path}.require_approval"
            raise _invalid(where, "'always', 'never', or a filter for either")


def _are_strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, str) for one in values)


def _is_filter(value: dict[str, Any]) -> bool:
    return (
        value.keys() <= {"tool_names", "read_only"}
        and _are_strings(value.get("tool_names", []))
        and isinstance(value.get("read_only", False), bool)
    )


def check_item_shape(item: Item, path: str) -> None:
    """Check an item that belongs to a remote tool server.

    Raises:
        Refusal: with the path.
    """
    match item:
        case MCPListTools(tools=tools):
            for index, tool in enumerate(tools or ()):
                named = isinstance(tool.get("name"), str) and "input_schema" in tool
                if not named or not isinstance(tool.get("description", ""), str):
                    raise _invalid(f"{path}.tools[{index}]", "a tool with its schema")
        case MCPCall(error=dict(error)):
            kind = error.get("type")
            fields = _CALL_ERRORS.get(kind) if isinstance(kind, str) else None
            if fields is None or any(
                type(error.get(name)) is not kind for name, kind in fields.items()
            ):
                known = ", ".join(f"'{one}'" for one in _CALL_ERRORS)
                raise _invalid(f"{path}.error", f"an object of type {known}")
