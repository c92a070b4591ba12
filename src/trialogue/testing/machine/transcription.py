"""The session that only transcribes (protocol §12.1, §16.67)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.dialects.openai.wire.base import UNSET
from trialogue.dialects.openai.wire.session import AudioConfig, Session
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.machine.patching import FRESH_INPUT, given, patched_audio
from trialogue.testing.machine.ranges import check_input

if TYPE_CHECKING:
    from trialogue.dialects.openai.wire.session import SessionPatch

__all__ = ["initial", "patched"]

_FIELDS: Final = frozenset(["type", "audio", "include"])
#: What a turn detection has for conversations alone.
_ANSWERING: Final = ("create_response", "interrupt_response", "idle_timeout_ms")
_STREAMING: Final = "gpt-realtime-whisper"


def initial(session_id: str, expires_at: int) -> Session:
    """Return the session as a connection begins it."""
    return Session(
        type="transcription",
        object="realtime.transcription_session",
        id=session_id,
        expires_at=expires_at,
        include=None,
        audio=_unanswering(AudioConfig(input=FRESH_INPUT)),
    )


def patched(session: Session, patch: SessionPatch) -> Session:
    """Return the session with the patch applied; nothing is applied if it raises.

    Raises:
        Refusal: with the code of the first thing that is not allowed.
    """
    changes = given(patch)
    unknown = [f"session.{name}" for name in changes if name not in _FIELDS]
    if patch.audio and patch.audio.output:
        unknown.append("session.audio.output")
    for place in unknown:
        message = f"Unknown parameter: '{place}'."
        raise Refusal("unknown_parameter", message, param=place)
    if patch.audio:
        changes["audio"] = patched_audio(session, patch.audio)
    new = attrs.evolve(session, **changes)
    assert new.audio
    assert new.audio.input
    check_input(new.audio.input)
    _check_streaming(new.audio.input)
    return attrs.evolve(new, audio=_unanswering(new.audio))


def _check_streaming(config: Any) -> None:
    model = config.transcription.model if config.transcription else None
    if model == _STREAMING and config.turn_detection is not None:
        path = "session.audio.input.turn_detection"
        message = f"Turn detection must be null for the model '{_STREAMING}'."
        raise Refusal("invalid_value", message, param=path)


def _unanswering(audio: AudioConfig) -> AudioConfig:
    """Return it with a turn detection that answers nobody, and says nothing of it."""
    assert audio.input
    vad = audio.input.turn_detection
    if not vad:
        return audio
    unsaid: Any = {name: UNSET for name in _ANSWERING if hasattr(vad, name)}
    detection = attrs.evolve(vad, **unsaid)
    return AudioConfig(input=attrs.evolve(audio.input, turn_detection=detection))
