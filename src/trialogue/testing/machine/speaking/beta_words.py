"""What the machine says, in the beta's words (protocol §13)."""

from __future__ import annotations

from typing import Any, Final

from trialogue.testing.machine.outputs import Refusal

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
    own = ("id", "object", "model", "expires_at", "instructions")
    heard, said = shown["audio"]["input"], shown["audio"]["output"]
    return {
        **{name: shown[name] for name in own if name in shown},
        "modalities": _modalities(shown["output_modalities"]),
        "voice": said["voice"],
        "speed": said["speed"],
        "input_audio_format": _FORMATS[heard["format"]["type"]],
        "output_audio_format": _FORMATS[said["format"]["type"]],
        "input_audio_transcription": _only(
            heard["transcription"], "model", "language", "prompt"
        ),
        "input_audio_noise_reduction": _only(heard["noise_reduction"], "type"),
        "turn_detection": _without(heard["turn_detection"], "idle_timeout_ms"),
        "tools": shown["tools"],
        "tool_choice": shown["tool_choice"],
        "temperature": temperature,
        "max_response_output_tokens": shown["max_output_tokens"],
        "tracing": shown["tracing"],
    }


def response(shown: dict[str, Any], temperature: float) -> dict[str, Any]:
    """Return a response."""
    said = shown["audio"]["output"]
    return {
        **_without(shown, "output_modalities", "audio", "output", "usage"),
        "output": [item(one) for one in shown["output"]],
        "modalities": _modalities(shown["output_modalities"]),
        "voice": said["voice"],
        "output_audio_format": _FORMATS[said["format"]["type"]],
        "temperature": temperature,
        "usage": _usage(shown["usage"]),
    }


def item(shown: dict[str, Any]) -> dict[str, Any]:
    """Return an item with the short names of its parts."""
    if "content" not in shown:
        return shown
    parts = [
        {**part, "type": _PARTS.get(part["type"], part["type"])}
        for part in shown["content"]
    ]
    return {**shown, "content": parts}


def _usage(spent: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the tokens; there were no pictures to be counted."""
    if spent is None:
        return None
    details = ("text_tokens", "audio_tokens", "cached_tokens")
    read = _only(spent["input_token_details"], *details)
    return {**spent, "input_token_details": read}


def _modalities(new: list[str]) -> list[str]:
    return ["audio", "text"] if new == ["audio"] else list(new)


def _only(value: dict[str, Any] | None, *names: str) -> dict[str, Any] | None:
    if value is None:
        return None
    return {name: value[name] for name in names if name in value}


def _without(value: Any, *names: str) -> Any:
    if value is None:
        return None
    return {name: one for name, one in value.items() if name not in names}
