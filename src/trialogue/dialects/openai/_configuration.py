"""Neutral session options and tools as the wire has them; only what is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from trialogue.dialects import options as neutral
from trialogue.dialects.openai.wire import session as wire
from trialogue.dialects.openai.wire.base import UNSET, Maybe, Raw
from trialogue.dialects.options import UNCHANGED, NamedTool, Unchanged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialogue.dialects.commands import UpdateSession
    from trialogue.tools.spec import ToolSpec

__all__ = ["FORMATS", "format_name", "maybe", "patch", "tool_choice", "tools"]

T = TypeVar("T")

FORMATS: Final[dict[neutral.AudioFormat, wire.AudioFormat]] = {
    "pcm16": wire.PCM(rate=24_000),
    "pcmu": wire.PCMU(),
    "pcma": wire.PCMA(),
}


def format_name(audio_format: Maybe[wire.AudioFormat]) -> neutral.AudioFormat | None:
    """Return our name of a format on the wire, or None for one that we cannot take."""
    names: dict[type, neutral.AudioFormat] = {
        type(value): name for name, value in FORMATS.items()
    }
    return names.get(type(audio_format))


def maybe(value: T | Unchanged) -> T | Any:
    """Return the value, absent on the wire where it is unchanged."""
    return UNSET if value is UNCHANGED else value


def patch(command: UpdateSession) -> wire.SessionPatch:
    """Return the change of the session that the command asks for."""
    options = command.options
    return wire.SessionPatch(
        type="realtime",
        instructions=maybe(command.instructions),
        tools=tools(command.tools),
        tool_choice=tool_choice(options.tool_choice),
        output_modalities=maybe(options.output_modalities),
        audio=_audio(options),
        parallel_tool_calls=maybe(options.parallel_tool_calls),
        reasoning=_reasoning(options.reasoning_effort),
        max_output_tokens=maybe(options.max_output_tokens),
        truncation=_as_given(options.truncation),
        tracing=_as_given(options.tracing),
        prompt=_as_given(options.prompt),
        include=maybe(options.include),
    )


def _as_given(value: object) -> Any:
    """Pass the provider's own shapes as the program wrote them."""
    if isinstance(value, dict):
        return Raw(value)
    return UNSET if value is UNCHANGED else value


def _reasoning(effort: str | Unchanged) -> Maybe[wire.Reasoning]:
    return UNSET if effort is UNCHANGED else wire.Reasoning(effort=effort)


def _audio(options: neutral.SessionOptions) -> Maybe[wire.AudioConfig]:
    source = wire.AudioInput(
        format=_format(options.input_format),
        transcription=_transcription(options.transcription),
        noise_reduction=_noise_reduction(options.noise_reduction),
        turn_detection=_turn_detection(options.turn_detection),
    )
    sink = wire.AudioOutput(
        format=_format(options.output_format),
        voice=maybe(options.voice),
        speed=maybe(options.speed),
    )
    audio = wire.AudioConfig(
        input=UNSET if source == wire.AudioInput() else source,
        output=UNSET if sink == wire.AudioOutput() else sink,
    )
    return UNSET if audio == wire.AudioConfig() else audio


def _format(name: neutral.AudioFormat | Unchanged) -> Maybe[wire.AudioFormat]:
    return UNSET if name is UNCHANGED else FORMATS[name]


def _transcription(
    value: neutral.Transcription | Unchanged | None,
) -> wire.Transcription | Any:
    if not isinstance(value, neutral.Transcription):
        return maybe(value)
    return wire.Transcription(
        model=value.model,
        language=UNSET if value.language is None else value.language,
        prompt=UNSET if value.prompt is None else value.prompt,
    )


def _noise_reduction(
    value: neutral.NoiseReduction | Unchanged | None,
) -> wire.NoiseReduction | Any:
    if not isinstance(value, neutral.NoiseReduction):
        return maybe(value)
    return wire.NoiseReduction(type=value.type)


def _turn_detection(
    value: neutral.TurnDetection | Unchanged | None,
) -> wire.TurnDetection | Any:
    match value:
        case neutral.ServerVAD():
            idle = value.idle_timeout_ms
            return wire.ServerVAD(
                threshold=value.threshold,
                prefix_padding_ms=value.prefix_padding_ms,
                silence_duration_ms=value.silence_duration_ms,
                # Turn detection is replaced as a unit, so leaving it out clears it.
                idle_timeout_ms=UNSET if idle is None else idle,
                create_response=value.create_response,
                interrupt_response=value.interrupt_response,
            )
        case neutral.SemanticVAD():
            return wire.SemanticVAD(
                eagerness=value.eagerness,
                create_response=value.create_response,
                interrupt_response=value.interrupt_response,
            )
        case _:
            return maybe(value)


def tool_choice(choice: neutral.ToolChoice | Unchanged) -> Maybe[wire.ToolChoice]:
    """Return a tool choice as the wire has it."""
    if isinstance(choice, NamedTool):
        return wire.ToolChoiceFunction(name=choice.name)
    return UNSET if choice is UNCHANGED else choice


def tools(specs: Iterable[ToolSpec] | Unchanged) -> Maybe[tuple[wire.Tool, ...]]:
    """Return tools as the wire has them: name, description and parameters alone."""
    if isinstance(specs, Unchanged):
        return UNSET
    return tuple(
        wire.FunctionTool(
            name=spec.name,
            description=spec.description or UNSET,
            parameters=spec.parameters,
        )
        for spec in specs
    )
