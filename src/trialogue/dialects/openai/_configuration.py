"""Neutral session options and tools as the wire has them; only what is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from trialogue.dialects import options as neutral
from trialogue.dialects.openai.wire import session as wire
from trialogue.dialects.openai.wire.base import UNSET, Maybe, Nullable
from trialogue.dialects.options import UNCHANGED, NamedMCPTool, NamedTool, Unchanged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialogue.dialects.commands import UpdateSession
    from trialogue.tools.spec import ToolSpec

__all__ = [
    "FORMATS",
    "audio_output",
    "format_name",
    "maybe",
    "patch",
    "prompt",
    "reasoning",
    "tool_choice",
    "tools",
]

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
        reasoning=reasoning(options.reasoning_effort),
        max_output_tokens=maybe(options.max_output_tokens),
        truncation=_truncation(options.truncation),
        tracing=_tracing(options.tracing),
        prompt=prompt(options.prompt),
        # No null here: nothing more is an empty list.
        include=() if options.include is None else maybe(options.include),
    )


def _or_unset(value: T | None) -> Maybe[T]:
    return UNSET if value is None else value


def _truncation(
    value: neutral.Truncation | Unchanged,
) -> Maybe[wire.Truncation]:
    if not isinstance(value, neutral.RetentionRatio):
        return UNSET if value is UNCHANGED else value
    limit = value.post_instructions_tokens
    limits = UNSET if limit is None else wire.TokenLimits(post_instructions=limit)
    return wire.RetentionRatio(value.ratio, token_limits=limits)


def _tracing(
    value: Literal["auto"] | neutral.Tracing | Unchanged | None,
) -> Nullable[Literal["auto"] | wire.Tracing]:
    if not isinstance(value, neutral.Tracing):
        return UNSET if value is UNCHANGED else value
    return wire.Tracing(
        workflow_name=_or_unset(value.workflow_name),
        group_id=_or_unset(value.group_id),
        metadata=_or_unset(value.metadata),
    )


def prompt(value: neutral.Prompt | Unchanged | None) -> Nullable[wire.Prompt]:
    """Return a stored prompt as the wire names it."""
    if not isinstance(value, neutral.Prompt):
        return UNSET if value is UNCHANGED else value
    return wire.Prompt(
        value.id,
        version=_or_unset(value.version),
        variables=_or_unset(value.variables),
    )


def reasoning(effort: str | Unchanged) -> Maybe[wire.Reasoning]:
    """Return how hard to think, as the wire has it."""
    return UNSET if effort is UNCHANGED else wire.Reasoning(effort=effort)


def voice(value: neutral.Voice | Unchanged) -> Maybe[str | wire.VoiceId]:
    """Return a voice as the wire names it."""
    if isinstance(value, neutral.CustomVoice):
        return wire.VoiceId(value.id)
    return UNSET if value is UNCHANGED else value


def audio_output(
    audio_format: neutral.AudioFormat | Unchanged,
    who: neutral.Voice | Unchanged,
    speed: float | Unchanged = UNCHANGED,
) -> Maybe[wire.AudioOutput]:
    """Return how a reply sounds, or nothing where nothing is said about it."""
    sink = wire.AudioOutput(
        format=_format(audio_format), voice=voice(who), speed=maybe(speed)
    )
    return UNSET if sink == wire.AudioOutput() else sink


def _audio(options: neutral.SessionOptions) -> Maybe[wire.AudioConfig]:
    source = wire.AudioInput(
        format=_format(options.input_format),
        transcription=_transcription(options.transcription),
        noise_reduction=_noise_reduction(options.noise_reduction),
        turn_detection=_turn_detection(options.turn_detection),
    )
    sink = audio_output(options.output_format, options.voice, options.speed)
    audio = wire.AudioConfig(
        input=UNSET if source == wire.AudioInput() else source,
        output=sink,
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
        language=_or_unset(value.language),
        languages=value.languages or UNSET,
        prompt=_or_unset(value.prompt),
        keywords=value.keywords or UNSET,
        delay=_or_unset(value.delay),
    )


def _noise_reduction(
    value: neutral.NoiseReduction | Unchanged | None,
) -> wire.NoiseReduction | Any:
    if not isinstance(value, neutral.NoiseReduction):
        return maybe(value)
    return wire.NoiseReduction(value.type, strength=_or_unset(value.strength))


def _turn_detection(
    value: neutral.TurnDetection | Unchanged | None,
) -> wire.TurnDetection | Any:
    match value:
        case neutral.ServerVAD():
            return wire.ServerVAD(
                threshold=value.threshold,
                prefix_padding_ms=value.prefix_padding_ms,
                silence_duration_ms=value.silence_duration_ms,
                # Turn detection is replaced as a unit, so leaving it out clears it.
                idle_timeout_ms=_or_unset(value.idle_timeout_ms),
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
    if isinstance(choice, NamedMCPTool):
        return wire.ToolChoiceMCP(choice.server_label, name=_or_unset(choice.name))
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
