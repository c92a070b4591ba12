"""The session's configuration: defaults and patches (protocol §3, §16.6, §16.17-23)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from trialogue.dialects.openai.wire.base import UNSET
from trialogue.dialects.openai.wire.session import (
    PCM,
    AudioConfig,
    AudioInput,
    AudioOutput,
    FunctionTool,
    NoiseReduction,
    SemanticVAD,
    ServerVAD,
    Session,
    SessionPatch,
    ToolChoiceFunction,
    VoiceId,
)
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.machine.ranges import check_session

if TYPE_CHECKING:
    from trialogue.testing.machine.settings import Settings

__all__ = ["VOICE_FIXED", "choice_name", "initial", "patched", "tool_names", "voice_of"]

T = TypeVar("T")

SERVER_VAD: Final = ServerVAD(
    threshold=0.5,
    prefix_padding_ms=300,
    silence_duration_ms=200,
    idle_timeout_ms=None,
    create_response=True,
    interrupt_response=True,
)
SEMANTIC_VAD: Final = SemanticVAD(
    eagerness="auto", create_response=True, interrupt_response=True
)
VOICE_FIXED: Final = (
    "Cannot update a conversation's voice if assistant audio is present."
)


def initial(settings: Settings, *, session_id: str, model: str) -> Session:
    """Return the session as a connection begins it, every field present (§16.6)."""
    return Session(
        type="realtime",
        object="realtime.session",
        id=session_id,
        model=model,
        expires_at=int(settings.wall() + settings.max_duration),
        output_modalities=("audio",),
        instructions=settings.instructions,
        audio=AudioConfig(
            input=AudioInput(
                format=PCM(rate=24000),
                transcription=None,
                noise_reduction=None,
                turn_detection=SERVER_VAD,
            ),
            output=AudioOutput(format=PCM(rate=24000), voice=settings.voice, speed=1.0),
        ),
        tools=(),
        tool_choice="auto",
        parallel_tool_calls=True if settings.reasoning else None,
        reasoning=None,
        max_output_tokens="inf",
        truncation="auto",
        tracing=None,
        prompt=None,
        include=None,
    )


def _given(value: Any) -> dict[str, Any]:
    """Return the fields that are present."""
    fields = attrs.fields(type(value))
    pairs = ((field.name, getattr(value, field.name)) for field in fields)
    return {name: content for name, content in pairs if content is not UNSET}


def _over(base: T, patch: Any) -> T:
    return attrs.evolve(base, **_given(patch))  # type: ignore[misc]


def patched(
    session: Session,
    patch: SessionPatch,
    settings: Settings,
    *,
    voice_fixed: bool,
    responding: bool,
) -> Session:
    """Return the session with the patch applied; nothing is applied if it raises.

    Args:
        session: the session as it is.
        patch: what to change.
        settings: what the server accepts.
        voice_fixed: the conversation holds assistant audio.
        responding: a response is being made, so `speed` is fixed.

    Raises:
        Refusal: with the code of the first thing that is not allowed.
    """
    _check_kind(session, patch)
    changes = _given(patch)
    if patch.audio:
        changes["audio"] = _audio(session, patch.audio)
    new = attrs.evolve(session, **changes)
    check_session(session, new, reasoning=settings.reasoning)
    _check_fixed(session, new, voice_fixed=voice_fixed, responding=responding)
    return new


def _check_kind(session: Session, patch: SessionPatch) -> None:
    if patch.type != session.type:
        raise Refusal(
            "invalid_value",
            f"Passing a {patch.type} session update to a {session.type} session is "
            "not allowed.",
            param="session.type",
        )
    if patch.model and patch.model != session.model:
        message = "The model of a session cannot be changed."
        raise Refusal("invalid_value", message, param="session.model")


def _audio(session: Session, patch: AudioConfig) -> AudioConfig:
    assert session.audio
    new_input, new_output = session.audio.input, session.audio.output
    if patch.input:
        new_input = _over(new_input, _filled(new_input, patch.input))
    if patch.output:
        new_output = _over(new_output, patch.output)
    return AudioConfig(input=new_input, output=new_output)


def _filled(old: Any, patch: AudioInput) -> AudioInput:
    """Return the patch with the defaults of what it replaces as a unit."""
    changes: dict[str, Any] = {}
    match patch.turn_detection:
        case ServerVAD() as vad:
            changes["turn_detection"] = _defaulted(SERVER_VAD, vad)
        case SemanticVAD() as vad:
            changes["turn_detection"] = _defaulted(SEMANTIC_VAD, vad)
    if patch.transcription:
        nulls = {
            name: None
            for name in ("language", "prompt")
            if getattr(patch.transcription, name) is UNSET
        }
        changes["transcription"] = attrs.evolve(patch.transcription, **nulls)
    reduction, before = patch.noise_reduction, old.noise_reduction
    if reduction and isinstance(before, NoiseReduction):
        changes["noise_reduction"] = _over(before, reduction)
    if isinstance(patch.format, PCM) and not patch.format.rate:
        changes["format"] = PCM(rate=24000)
    return attrs.evolve(patch, **changes)


def _defaulted(defaults: T, given: Any) -> T:
    present = {
        name: value for name, value in _given(given).items() if value is not None
    }
    return attrs.evolve(defaults, **present)  # type: ignore[misc]


def _check_fixed(
    old: Session, new: Session, *, voice_fixed: bool, responding: bool
) -> None:
    assert old.audio
    assert new.audio
    before, after = old.audio.output, new.audio.output
    if voice_fixed and voice_of(before) != voice_of(after):
        raise Refusal("cannot_update_voice", VOICE_FIXED)
    if responding and before and after and before.speed != after.speed:
        path = "session.audio.output.speed"
        message = f"Cannot change '{path}' during a response."
        raise Refusal("invalid_value", message, param=path)


def voice_of(output: AudioOutput | Any) -> str:
    """Return the name of an output's voice."""
    voice = output.voice
    return voice.id if isinstance(voice, VoiceId) else str(voice)


def tool_names(tools: Any) -> tuple[str, ...]:
    """Return the names of the functions among the tools."""
    return tuple(tool.name for tool in tools if isinstance(tool, FunctionTool))


def choice_name(choice: Any) -> str:
    """Return a tool choice as one word."""
    if isinstance(choice, ToolChoiceFunction):
        return choice.name
    return choice if isinstance(choice, str) else "auto"
