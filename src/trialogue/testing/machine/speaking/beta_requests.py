"""What a beta client asks for, as the machine is asked (protocol §13)."""

from __future__ import annotations

from typing import Any, Final

import attrs

from trialogue.dialects.openai.wire import UNSET, WireError
from trialogue.dialects.openai.wire import client_events as ask
from trialogue.dialects.openai.wire.items import InputText, Message, OutputText, Text
from trialogue.dialects.openai.wire.response import ResponseAudio, ResponseParams
from trialogue.dialects.openai.wire.session import (
    PCM,
    PCMA,
    PCMU,
    AudioConfig,
    AudioInput,
    AudioOutput,
    NoiseReduction,
    ServerVAD,
    SessionPatch,
    Transcription,
)
from trialogue.testing.machine.speaking.beta_events import (
    BetaItemCreate,
    BetaMessage,
    BetaNoiseReduction,
    BetaResponseCreate,
    BetaServerVAD,
    BetaSessionUpdate,
    BetaTranscription,
    NoTurnDetection,
)

__all__ = ["as_asked", "refuse"]

FORMATS: Final[dict[str, Any]] = {
    "pcm16": PCM(rate=24000),
    "g711_ulaw": PCMU(),
    "g711_alaw": PCMA(),
}
_ALLOWED: Final = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio"),
    "assistant": ("text",),
}
_COOLEST, _HOTTEST = 0.6, 1.2


def refuse(path: str, message: str) -> WireError:
    """Return the refusal of a value."""
    return WireError("invalid_value", message, param=path)


def as_asked(event: Any) -> Any:
    """Return the machine's event for one of the beta; most are the same.

    Raises:
        WireError: a value that the beta does not allow.
    """
    match event:
        case BetaSessionUpdate(session=patch):
            session = _session(patch)
            return ask.SessionUpdate(event_id=event.event_id, session=session)
        case BetaItemCreate():
            return ask.ConversationItemCreate(
                event_id=event.event_id,
                previous_item_id=event.previous_item_id,
                item=_item(event.item, "item"),
            )
        case BetaResponseCreate(response=params):
            response = _response(params) if params else UNSET
            return ask.ResponseCreate(event_id=event.event_id, response=response)
    return event


def _session(patch: Any) -> SessionPatch:
    _check_temperature(patch.temperature, "session.temperature")
    return SessionPatch(
        type="realtime",
        model=patch.model,
        output_modalities=_modalities(patch.modalities, "session.modalities"),
        instructions=patch.instructions,
        audio=AudioConfig(
            input=AudioInput(
                format=_format(patch.input_audio_format),
                transcription=_same(
                    BetaTranscription, Transcription, patch.input_audio_transcription
                ),
                noise_reduction=_same(
                    BetaNoiseReduction,
                    NoiseReduction,
                    patch.input_audio_noise_reduction,
                ),
                turn_detection=_turn_detection(patch.turn_detection),
            ),
            output=AudioOutput(
                format=_format(patch.output_audio_format),
                voice=patch.voice,
                speed=patch.speed,
            ),
        ),
        tools=patch.tools,
        tool_choice=patch.tool_choice,
        max_output_tokens=patch.max_response_output_tokens,
        tracing=patch.tracing,
    )


def _response(params: Any) -> ResponseParams:
    _check_temperature(params.temperature, "response.temperature")
    items: Any = UNSET
    if params.input is not UNSET:
        items = tuple(
            _item(item, f"response.input[{index}]")
            for index, item in enumerate(params.input)
        )
    output = AudioOutput(format=_format(params.output_audio_format), voice=params.voice)
    return ResponseParams(
        conversation=params.conversation,
        input=items,
        instructions=params.instructions,
        output_modalities=_modalities(params.modalities, "response.modalities"),
        audio=ResponseAudio(output=output),
        tools=params.tools,
        tool_choice=params.tool_choice,
        max_output_tokens=params.max_response_output_tokens,
        metadata=params.metadata,
    )


def _same(old: type[Any], new: type[Any], value: Any) -> Any:
    """Return an object of the old class as one of the new; anything else as it is."""
    if not isinstance(value, old):
        return value
    return new(**{name: getattr(value, name) for name in attrs.fields_dict(old)})


def _turn_detection(value: Any) -> Any:
    if isinstance(value, NoTurnDetection):
        return None
    return _same(BetaServerVAD, ServerVAD, value)


def _format(name: Any) -> Any:
    return FORMATS[name] if name else UNSET


def _modalities(value: Any, path: str) -> Any:
    """Return the one modality: sound never comes without its text in the beta."""
    if value is UNSET:
        return value
    match sorted(value):
        case ["text"]:
            return ("text",)
        case ["audio", "text"]:
            return ("audio",)
    raise refuse(
        path,
        f"Invalid modalities: {list(value)!r}. Supported combinations are: ['text'] "
        "and ['audio', 'text'].",
    )


def _check_temperature(value: Any, path: str) -> None:
    if value is not UNSET and not _COOLEST <= value <= _HOTTEST:
        between = f"expected a value between {_COOLEST} and {_HOTTEST}"
        raise refuse(path, f"Invalid '{path}': {between}.")


def _item(item: Any, path: str) -> Any:
    if not isinstance(item, BetaMessage):
        return item
    for index, part in enumerate(item.content):
        _check_part(item.role, part, f"{path}.content[{index}].type")
    return Message(
        id=item.id,
        object=item.object,
        status=item.status,
        role=item.role,
        content=tuple(map(_part, item.content)),
    )


def _check_part(role: str, part: Any, path: str) -> None:
    allowed = _ALLOWED[role]
    if part.type not in allowed:
        kinds = ", ".join(f"'{kind}'" for kind in allowed)
        message = f"Invalid value: '{part.type}'. Supported values are: {kinds}."
        raise refuse(path, message)


def _part(part: Any) -> InputText | OutputText | Any:
    return OutputText(part.text or "") if isinstance(part, Text) else part
