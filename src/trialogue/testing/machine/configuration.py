"""The session's configuration: defaults and patches (protocol §3, §16.6, §16.17-23)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.dialects.openai.wire.base import UNSET
from trialogue.dialects.openai.wire.session import (
    PCM,
    AudioConfig,
    AudioOutput,
    FunctionTool,
    Reasoning,
    Session,
    SessionPatch,
    ToolChoiceFunction,
    VoiceId,
)
from trialogue.testing.machine import transcription
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.machine.patching import (
    FRESH_INPUT,
    check_kind,
    given,
    patched_audio,
)
from trialogue.testing.machine.ranges import check_reasoning, check_session

if TYPE_CHECKING:
    from trialogue.testing.machine.settings import Settings

__all__ = ["VOICE_FIXED", "choice_name", "initial", "patched", "tool_names", "voice_of"]

VOICE_FIXED: Final = (
    "Cannot update a conversation's voice if assistant audio is present."
)


def initial(
    settings: Settings, *, session_id: str, model: str, kind: str = "realtime"
) -> Session:
    """Return the session as a connection begins it, every field present (§16.6)."""
    expires_at = int(settings.wall() + settings.max_duration)
    if kind == "transcription":
        return transcription.initial(session_id, expires_at)
    reasons = settings.reasons(model)
    return Session(
        type="realtime",
        object="realtime.session",
        id=session_id,
        model=model or UNSET,
        expires_at=expires_at,
        output_modalities=("audio",),
        instructions=settings.instructions,
        audio=AudioConfig(
            input=FRESH_INPUT,
            output=AudioOutput(format=PCM(rate=24000), voice=settings.voice, speed=1.0),
        ),
        tools=(),
        tool_choice="auto",
        parallel_tool_calls=True if reasons else None,
        reasoning=Reasoning(effort="low") if reasons else None,
        max_output_tokens="inf",
        truncation="auto",
        tracing=None,
        prompt=None,
        include=None,
    )


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
    check_kind(session, patch)
    if session.type == "transcription":
        return transcription.patched(session, patch)
    if patch.model is not UNSET and patch.model != session.model:
        message = "The model of a session cannot be changed."
        raise Refusal("invalid_value", message, param="session.model")
    changes = given(patch)
    if patch.audio:
        changes["audio"] = patched_audio(session, patch.audio)
    new = attrs.evolve(session, **changes)
    check_reasoning(patch, "session", reasons=settings.reasons(session.model or ""))
    check_session(session, new)
    _check_fixed(session, new, voice_fixed=voice_fixed, responding=responding)
    return new


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
