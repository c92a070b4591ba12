"""What the machine says of sessions and errors, in xAI's words (protocol §15)."""

from __future__ import annotations

from typing import Any, Final

from trialogue.testing.machine.outputs import Refusal

__all__ = ["refusal", "response", "session"]

_FLAT_PATHS: Final = (
    ("session.audio.input.turn_detection", "session.turn_detection"),
    ("session.audio.output.voice", "session.voice"),
)


def refusal(wrong: Refusal, *, flat: bool, own_code: bool) -> Refusal:
    """Return a refusal of the machine with xAI's paths, and without OpenAI's code."""
    param, message = wrong.param, wrong.message
    for nested, path in _FLAT_PATHS if flat else ():
        message = message.replace(nested, path)
        param = param.replace(nested, path) if param else param
    return Refusal(None if own_code else wrong.code, message, param=param)


def session(
    shown: dict[str, Any], kept: dict[str, Any], *, flat: bool
) -> dict[str, Any]:
    """Return the session; `kept` is what the machine does not know of it."""
    heard, said = shown["audio"]["input"], shown["audio"]["output"]
    detection = {"turn_detection": heard["turn_detection"]}
    voice = {"voice": said["voice"]}
    own = ("type", "id", "object", "model", "expires_at", "instructions")
    return {
        **{name: shown[name] for name in own if name in shown},
        **({**voice, **detection} if flat else {}),
        "audio": {
            "input": {
                "format": _format(heard["format"], kept["input_rate"]),
                "transcription": kept["transcription"],
                **({} if flat else detection),
            },
            "output": {
                "format": _format(said["format"], kept["output_rate"]),
                "speed": said["speed"],
                **({} if flat else voice),
            },
        },
        "tools": kept["tools"] if kept["tools"] is not None else shown["tools"],
        "tool_choice": shown["tool_choice"],
        "reasoning": shown["reasoning"],
        "resumption": kept["resumption"],
    }


def response(shown: dict[str, Any], *, rate: int, flat: bool) -> dict[str, Any]:
    """Return a response."""
    said = dict(shown["audio"]["output"])
    said["format"] = _format(said["format"], rate)
    voice = {"voice": said.pop("voice")} if flat else {}
    return {**shown, **voice, "audio": {"output": said}}


def _format(shown: dict[str, Any], rate: int) -> dict[str, Any]:
    return {**shown, "rate": rate} if shown["type"] == "audio/pcm" else shown
