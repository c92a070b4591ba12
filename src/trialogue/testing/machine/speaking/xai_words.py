"""What the machine says of sessions and errors, in xAI's words (protocol §15)."""

from __future__ import annotations

from typing import Any, Final

from trialogue._codec import b64decode, b64encode
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.machine.speaking.rates import OWN_RATE, Rate

__all__ = ["item", "refusal", "response", "session"]

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
    heard = shown["audio"]["input"]
    said = shown["audio"].get("output", {})  # a session may have nothing to say
    detection, voice = _some(heard, "turn_detection"), _some(said, "voice")
    return {
        **_some(shown, "type", "id", "object", "model", "expires_at", "instructions"),
        **(voice | detection if flat else {}),
        "audio": {
            "input": {
                **_with_rate(heard, kept["input_rate"]),
                "transcription": kept["transcription"],
                **({} if flat else detection),
            },
            "output": {
                **_with_rate(said, kept["output_rate"]),
                **_some(said, "speed"),
                **({} if flat else voice),
            },
        },
        "tools": kept["tools"] if kept["tools"] is not None else shown.get("tools"),
        **_some(shown, "tool_choice"),
        "reasoning": kept["reasoning"],
        "resumption": kept["resumption"],
    }


def response(shown: dict[str, Any], *, rate: int, flat: bool) -> dict[str, Any]:
    """Return a response."""
    said = shown["audio"]["output"]
    voice = _some(said, "voice")
    output = {**_with_rate(said, rate), **({} if flat else voice)}
    return {**shown, **(voice if flat else {}), "audio": {"output": output}}


def item(shown: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """Return an item with its sound at the rates that the client knows."""
    if "content" not in shown:
        return shown
    rate = kept["input_rate" if shown["role"] == "user" else "output_rate"]
    convert = Rate(OWN_RATE, rate)
    content = [
        {**part, "audio": b64encode(convert(b64decode(part["audio"])))}
        if part.get("audio")
        else part
        for part in shown["content"]
    ]
    return {**shown, "content": content}


def _some(shown: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: shown[name] for name in names if name in shown}


def _with_rate(side: dict[str, Any], rate: int) -> dict[str, Any]:
    """Return the format, with the rate that the client knows."""
    found = _some(side, "format")
    return {
        name: {**one, "rate": rate} if one["type"] == "audio/pcm" else one
        for name, one in found.items()
    }
