"""What values a session and a response may have (protocol §3.1, §8, §16.21-22)."""

from __future__ import annotations

from typing import Any

from trialogue.dialects.openai.wire.base import UNSET, Raw
from trialogue.dialects.openai.wire.session import (
    PCM,
    FunctionTool,
    ServerVAD,
    Session,
    Tool,
)
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.machine.shapes import check_params_shape, check_session_shape

__all__ = ["check_common", "check_session"]


def check_session(old: Session, new: Session, *, reasoning: bool) -> None:
    """Check a session that is to replace another.

    Raises:
        Refusal: `invalid_value`, with the path.
    """
    assert new.audio
    assert new.audio.input
    assert new.audio.output
    _check_vad(new.audio.input.turn_detection)
    _range("session.audio.output.speed", new.audio.output.speed, 0.25, 1.5)
    for side, config in (("input", new.audio.input), ("output", new.audio.output)):
        _check_format(f"session.audio.{side}.format", config.format)
    check_common(new, "session")
    check_session_shape(new)
    if new.reasoning and not reasoning:
        message = "Unsupported option for this model: 'session.reasoning'."
        raise Refusal("invalid_value", message, param="session.reasoning")
    if old.tracing is not None and new.tracing != old.tracing:
        message = "Tracing cannot be changed once it is enabled."
        raise Refusal("invalid_value", message, param="session.tracing")


def check_common(params: Any, path: str) -> None:
    """Check what sessions and responses have in common.

    Raises:
        Refusal: `invalid_value`, with the path.
    """
    limit = params.max_output_tokens
    if isinstance(limit, int):
        _range(f"{path}.max_output_tokens", limit, 1, 4096)
    modalities = params.output_modalities
    if modalities is not UNSET and len(modalities) != 1:
        raise Refusal(
            "invalid_value",
            f"Invalid modalities: {list(modalities)!r}. Supported combinations are: "
            "['text'] and ['audio'].",
            param=f"{path}.output_modalities",
        )
    if params.tools is not UNSET:
        _check_tools(params.tools, f"{path}.tools")
    check_params_shape(params, path)


def _check_tools(tools: tuple[Tool, ...], path: str) -> None:
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        if isinstance(tool, Raw):
            message = f"Invalid value: '{tool.type}'. Supported: 'function', 'mcp'."
            raise Refusal("invalid_value", message, param=f"{path}[{index}].type")
        if isinstance(tool, FunctionTool):
            if not tool.name or tool.name in seen:
                message = f"Tool names must be unique and not empty: '{tool.name}'."
                raise Refusal("invalid_value", message, param=f"{path}[{index}].name")
            seen.add(tool.name)


def _check_vad(vad: Any) -> None:
    path = "session.audio.input.turn_detection"
    if isinstance(vad, Raw):
        message = f"Invalid value: '{vad.type}'."
        raise Refusal("invalid_value", message, param=f"{path}.type")
    if isinstance(vad, ServerVAD):
        _range(f"{path}.threshold", vad.threshold, 0, 1)
        _range(f"{path}.idle_timeout_ms", vad.idle_timeout_ms, 5000, 30000)
        _range(f"{path}.prefix_padding_ms", vad.prefix_padding_ms, 0, 60_000)
        _range(f"{path}.silence_duration_ms", vad.silence_duration_ms, 0, 60_000)


def _check_format(path: str, value: Any) -> None:
    wrong_rate = isinstance(value, PCM) and value.rate not in (UNSET, 24000)
    if isinstance(value, Raw) or wrong_rate:
        raise Refusal("invalid_value", f"Invalid value for '{path}'.", param=path)


def _range(path: str, value: Any, low: float, high: float) -> None:
    if value is None or value is UNSET or low <= value <= high:
        return
    message = f"Invalid '{path}': expected a value between {low} and {high}."
    raise Refusal("invalid_value", message, param=path)
