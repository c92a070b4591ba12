"""What the machine says, in the beta's words (protocol §13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trialogue.testing.machine.outputs import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EVENT_TYPES", "item", "refusal", "response", "session"]

EVENT_TYPES: Final = {
    f"response.{new}.{end}": f"response.{old}.{end}"
    for new, old in (
        ("output_text", "text"),
        ("output_audio", "audio"),
        ("output_audio_transcript", "audio_transcript"),
    )
    for end in ("delta", "done")
}
"""The beta's names of events that merely were called otherwise."""

_PARTS: Final = {"output_text": "text", "output_audio": "audio"}
_FORMATS: Final = {
    "audio/pcm": "pcm16",
    "audio/pcmu": "g711_ulaw",
    "audio/pcma": "g711_alaw",
}
_PATHS: Final = (
    ("session.audio.input.format", "session.input_audio_format"),
    ("session.audio.input.transcription", "session.input_audio_transcription"),
    ("session.audio.input.noise_reduction", "session.input_audio_noise_reduction"),
    ("session.audio.input.turn_detection", "session.turn_detection"),
    ("session.audio.output.format", "session.output_audio_format"),
    ("session.audio.output.", "session."),
    ("session.max_output_tokens", "session.max_response_output_tokens"),
    ("response.audio.output.format", "response.output_audio_format"),
    ("response.audio.output.", "response."),
    ("response.max_output_tokens", "response.max_response_output_tokens"),
)


def refusal(wrong: Refusal) -> Refusal:
    """Return a refusal of the machine with the beta's paths."""
    param = _paths(wrong.param) if wrong.param else wrong.param
    return Refusal(wrong.code, _paths(wrong.message), param=param)


def _paths(text: str) -> str:
    for new, old in _PATHS:
        text = text.replace(new, old)
    return text


def session(shown: dict[str, Any], temperature: float) -> dict[str, Any]:
    """Return the session, flat."""
    return {**_flat(shown, _SESSION), "temperature": temperature}


def response(shown: dict[str, Any], temperature: float) -> dict[str, Any]:
    """Return a response, as flat."""
    return {**_flat(shown, _RESPONSE), "temperature": temperature}


def item(shown: dict[str, Any]) -> dict[str, Any]:
    """Return an item with the short names of its parts."""
    if "content" not in shown:
        return shown
    parts = [
        {**part, "type": _PARTS.get(part["type"], part["type"])}
        for part in shown["content"]
    ]
    return {**shown, "content": parts}


def _flat(shown: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """Return those of the fields that are there, each from its place."""
    found = {}
    for name, (path, say) in fields.items():
        value: Any = shown
        for step in path.split("."):
            value = value.get(step, _ABSENT)
            if value is _ABSENT:
                break
        else:
            found[name] = say(value)
    return found


def _same(value: Any) -> Any:
    return value


def _format(value: dict[str, Any]) -> str:
    return _FORMATS[value["type"]]


def _modalities(value: list[str]) -> list[str]:
    return ["audio", "text"] if value == ["audio"] else list(value)


def _output(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item(one) for one in items]


def _only(*names: str) -> Callable[[Any], Any]:
    def say(value: Any) -> Any:
        if value is None:
            return None
        return {name: value[name] for name in names if name in value}

    return say


def _usage(spent: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the tokens; there were no pictures to be counted."""
    if spent is None:
        return None
    read = _READ_TOKENS(spent["input_token_details"])
    return {**spent, "input_token_details": read}


Fields = dict[str, tuple[str, "Callable[[Any], Any]"]]

_ABSENT: Final = {"absent": True}
_READ_TOKENS: Final = _only("text_tokens", "audio_tokens", "cached_tokens")
_VAD: Final = _only(
    "type",
    "threshold",
    "prefix_padding_ms",
    "silence_duration_ms",
    "eagerness",
    "create_response",
    "interrupt_response",
)

_SESSION: Final[Fields] = {
    "id": ("id", _same),
    "object": ("object", _same),
    "model": ("model", _same),
    "expires_at": ("expires_at", _same),
    "modalities": ("output_modalities", _modalities),
    "instructions": ("instructions", _same),
    "voice": ("audio.output.voice", _same),
    "speed": ("audio.output.speed", _same),
    "input_audio_format": ("audio.input.format", _format),
    "output_audio_format": ("audio.output.format", _format),
    "input_audio_transcription": (
        "audio.input.transcription",
        _only("model", "language", "prompt"),
    ),
    "input_audio_noise_reduction": ("audio.input.noise_reduction", _only("type")),
    "turn_detection": ("audio.input.turn_detection", _VAD),
    "tools": ("tools", _same),
    "tool_choice": ("tool_choice", _same),
    "max_response_output_tokens": ("max_output_tokens", _same),
    "tracing": ("tracing", _same),
}
_RESPONSE: Final[Fields] = {
    "object": ("object", _same),
    "id": ("id", _same),
    "status": ("status", _same),
    "status_details": ("status_details", _same),
    "output": ("output", _output),
    "conversation_id": ("conversation_id", _same),
    "modalities": ("output_modalities", _modalities),
    "voice": ("audio.output.voice", _same),
    "output_audio_format": ("audio.output.format", _format),
    "max_output_tokens": ("max_output_tokens", _same),
    "usage": ("usage", _usage),
    "metadata": ("metadata", _same),
}
