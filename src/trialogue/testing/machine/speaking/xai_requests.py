"""What a client of xAI asks for, as the machine is asked (protocol §15)."""

from __future__ import annotations

from typing import Any, Final

import attrs

from trialogue.dialects.openai.wire import UNSET, WireError, or_none
from trialogue.dialects.openai.wire.items import InputAudio, Message, OutputText
from trialogue.dialects.openai.wire.response import ResponseParams
from trialogue.dialects.openai.wire.session import (
    PCM,
    AudioConfig,
    AudioInput,
    AudioOutput,
    FunctionTool,
    MCPTool,
    ServerVAD,
    SessionPatch,
    Transcription,
)
from trialogue.testing.machine.speaking.rates import OWN_RATE, Rate
from trialogue.testing.machine.speaking.xai_events import (
    XAIPCM,
    FlatPatch,
    XAIResponseParams,
    XAITranscription,
)

__all__ = [
    "at_own_rate",
    "forced_line",
    "rate_of",
    "response_params",
    "session_patch",
]

VOICES: Final = frozenset({"ara", "eve", "leo", "rex", "sal"})
RATES: Final = (8000, 16000, 21050, 24000, 32000, 44100, 48000)
_SPEEDS: Final = (0.7, 1.5)
_THRESHOLDS: Final = (0.1, 0.9)


def session_patch(patch: Any) -> SessionPatch:
    """Return a change of the session.

    Raises:
        WireError: a value that xAI does not allow.
    """
    audio = patch.audio
    heard: Any = (audio.input if audio else None) or None
    said: Any = (audio.output if audio else None) or None
    flat = isinstance(patch, FlatPatch)
    vad_path, voice = "session.turn_detection", UNSET
    if flat:
        vad, voice = patch.turn_detection, patch.voice
    else:
        vad_path = "session.audio.input.turn_detection"
        vad = heard.turn_detection if heard else UNSET
        voice = said.voice if said else UNSET
    if isinstance(vad, ServerVAD):
        _check_range(f"{vad_path}.threshold", vad.threshold, *_THRESHOLDS)
    speed = said.speed if said else UNSET
    _check_range("session.audio.output.speed", speed, *_SPEEDS)
    return SessionPatch(
        type="realtime",
        model=patch.model,
        instructions=patch.instructions,
        audio=AudioConfig(
            input=AudioInput(
                format=_format(heard, "session.audio.input.format.rate"),
                transcription=_transcription(heard),
                turn_detection=vad,
            ),
            output=AudioOutput(
                format=_format(said, "session.audio.output.format.rate"),
                voice=_voice(voice),
                speed=speed,
            ),
        ),
        tools=_tools(patch.tools),
        tool_choice=patch.tool_choice,
    )


def response_params(params: XAIResponseParams) -> ResponseParams:
    """Return the overrides of a response.

    Raises:
        WireError: a value that xAI does not allow.
    """
    modalities: Any = params.modalities
    if modalities is not UNSET:
        if not modalities:
            path = "response.modalities"
            message = f"Invalid '{path}': expected 'text', 'audio' or both."
            raise WireError("invalid_value", message, param=path)
        modalities = ("audio",) if "audio" in modalities else ("text",)
    return ResponseParams(
        output_modalities=modalities,
        instructions=params.instructions,
        metadata=params.metadata,
    )


def forced_line(content: tuple[Any, ...]) -> str:
    """Return the text of a forced message."""
    return " ".join(part.text for part in content if isinstance(part, OutputText))


def at_own_rate(item: Any, rate: int) -> Any:
    """Return an item with the sound that the client gave it as the machine takes it."""
    if not isinstance(item, Message):
        return item
    convert = Rate(rate, OWN_RATE)
    content = tuple(
        attrs.evolve(part, audio=convert(part.audio))
        if isinstance(part, InputAudio) and part.audio
        else part
        for part in item.content
    )
    return attrs.evolve(item, content=content)


def rate_of(audio_format: Any) -> int:
    """Return the samples per second of a format; G.711 is the machine's affair."""
    rate = or_none(audio_format.rate) if isinstance(audio_format, XAIPCM) else None
    return OWN_RATE if rate is None else rate


def _format(side: Any, path: str) -> Any:
    if not side or not side.format:
        return UNSET
    if not isinstance(side.format, XAIPCM):
        return side.format
    if rate_of(side.format) not in RATES:
        rates = ", ".join(map(str, RATES))
        message = f"Invalid '{path}': supported values are: {rates}."
        raise WireError("invalid_value", message, param=path)
    return PCM(rate=OWN_RATE)


def _transcription(heard: Any) -> Any:
    given = heard.transcription if heard else UNSET
    if isinstance(given, XAITranscription):
        return Transcription(model=given.model)
    return given


def _tools(tools: Any) -> Any:
    """Return those that clients run; what the server runs is not simulated."""
    if tools is UNSET:
        return tools
    return tuple(tool for tool in tools if isinstance(tool, (FunctionTool, MCPTool)))


def _voice(voice: Any) -> Any:
    return voice.lower() if voice and voice.lower() in VOICES else voice


def _check_range(path: str, value: Any, low: float, high: float) -> None:
    if value is None or value is UNSET or low <= value <= high:
        return
    message = f"Invalid '{path}': expected a value between {low} and {high}."
    raise WireError("invalid_value", message, param=path)
