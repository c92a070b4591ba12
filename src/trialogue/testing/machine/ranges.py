"""What values a session and a response may have (protocol §3.1, §8, §16.21-22)."""

from __future__ import annotations

from typing import Any

from trialogue.dialects.openai.wire.base import UNSET, Raw, or_none
from trialogue.dialects.openai.wire.session import (
    PCM,
    AudioInput,
    FunctionTool,
    RetentionRatio,
    ServerVAD,
    Session,
    Tool,
)
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.machine.shapes import check_params_shape, check_session_shape

__all__ = ["check_common", "check_input", "check_reasoning", "check_session"]


def check_session(old: Session, new: Session) -> None:
    """Check a session that is to replace another.

    Raises:
        Refusal: `invalid_value`, or `invalid_type` for a null that clears nothing.
    """
    assert new.audio
    assert new.audio.input
    assert new.audio.output
    check_input(new.audio.input)
    output = new.audio.output
    for path, value in (
        ("session.audio.output.voice", output.voice),
        ("session.audio.output.speed", output.speed),
        ("session.max_output_tokens", new.max_output_tokens),
        ("session.truncation", new.truncation),
    ):
        _check_not_null(path, value)
    _range("session.audio.output.speed", output.speed, 0.25, 1.5)
    _check_format("session.audio.output.format", output.format)
    if isinstance(new.truncation, RetentionRatio):
        path = "session.truncation.retention_ratio"
        _range(path, new.truncation.retention_ratio, 0, 1)
    check_common(new, "session")
    check_session_shape(new)
    if old.tracing is not None and new.tracing != old.tracing:
        message = "Tracing cannot be changed once it is enabled."
        raise Refusal("invalid_value", message, param="session.tracing")


def check_input(config: AudioInput) -> None:
    """Check a session's `audio.input`.

    Raises:
        Refusal: `invalid_value`, with the path.
    """
    _check_vad(config.turn_detection)
    _check_format("session.audio.input.format", config.format)


def check_reasoning(params: Any, path: str, *, reasons: bool) -> None:
    """Check what is only for models that reason, in what a client sent.

    Raises:
        Refusal: `invalid_value`, with the path.
    """
    for name in ("reasoning", "parallel_tool_calls"):
        if not reasons and or_none(getattr(params, name)) is not None:
            place = f"{path}.{name}"
            message = f"Unsupported option for this model: '{place}'."
            raise Refusal("invalid_value", message, param=place)


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


def _check_not_null(path: str, value: Any) -> None:
    if value is None:
        message = f"Invalid type for '{path}': it cannot be null."
        raise Refusal("invalid_type", message, param=path)


def _range(path: str, value: Any, low: float, high: float) -> None:
    if value is None or value is UNSET or low <= value <= high:
        return
    message = f"Invalid '{path}': expected a value between {low} and {high}."
    raise Refusal("invalid_value", message, param=path)
