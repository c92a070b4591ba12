"""What a `session.update` does to a session of any kind (protocol §3.2, §16.17)."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import attrs

from trialogue.dialects.openai.wire.base import UNSET
from trialogue.dialects.openai.wire.session import (
    PCM,
    AudioConfig,
    AudioInput,
    NoiseReduction,
    SemanticVAD,
    ServerVAD,
    Session,
    SessionPatch,
)
from trialogue.testing.machine.outputs import Refusal

__all__ = ["FRESH_INPUT", "SERVER_VAD", "check_kind", "given", "patched_audio"]

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
FRESH_INPUT: Final = AudioInput(
    format=PCM(rate=24000),
    transcription=None,
    noise_reduction=None,
    turn_detection=SERVER_VAD,
)


def given(value: Any) -> dict[str, Any]:
    """Return the fields that are present."""
    fields = attrs.fields(type(value))
    pairs = ((field.name, getattr(value, field.name)) for field in fields)
    return {name: content for name, content in pairs if content is not UNSET}


def check_kind(session: Session, patch: SessionPatch) -> None:
    """Refuse a patch that is for a session of another kind.

    Raises:
        Refusal: `invalid_value`.
    """
    if patch.type != session.type:
        raise Refusal(
            "invalid_value",
            f"Passing a {patch.type} session update event to a {session.type} session "
            "is not allowed.",
            param="session.type",
        )


def patched_audio(session: Session, patch: AudioConfig) -> AudioConfig:
    """Return the session's audio with the patch applied, key by key."""
    assert session.audio
    new_input, new_output = session.audio.input, session.audio.output
    if patch.input:
        new_input = _over(new_input, _filled(new_input, patch.input))
    if patch.output:
        new_output = _over(new_output, patch.output)
    return AudioConfig(input=new_input, output=new_output)


def _over(base: T, patch: Any) -> T:
    return attrs.evolve(base, **given(patch))  # type: ignore[misc]


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


def _defaulted(defaults: T, wanted: Any) -> T:
    present = {
        name: value for name, value in given(wanted).items() if value is not None
    }
    return attrs.evolve(defaults, **present)  # type: ignore[misc]
