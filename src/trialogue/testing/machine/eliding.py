"""Sound left out of events, and silence in its place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from trialogue._codec import b64encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["is_too_silent", "with_sound", "without_sound"]

_SOUND: Final = frozenset({"audio", "data"})
_SOUND_OR_DELTA: Final = _SOUND | {"delta"}
_NESTING: Final = frozenset({dict, list})
_ELIDED: Final = re.compile(r"<(\d{1,8}) bytes>")
_TOO_LONG: Final = re.compile(r"<\d{9,} bytes>")


def without_sound(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event with the length of sound in place of sound."""
    return _mapped(event, _length)


def with_sound(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event with silence where its sound was left out."""
    return _mapped(event, _silence)


def is_too_silent(text: str) -> bool:
    """Whether it stands for more sound than fits into a frame, and into memory."""
    return _TOO_LONG.fullmatch(text) is not None


def _length(text: str) -> str:
    return text if _ELIDED.fullmatch(text) else f"<{len(text) * 3 // 4} bytes>"


def _silence(text: str) -> str:
    elided = _ELIDED.fullmatch(text)
    # Samples have two bytes.
    return text if elided is None else b64encode(bytes(int(elided[1]) & ~1))


def _mapped(
    event: Mapping[str, Any], change: Callable[[str], str]
) -> Mapping[str, Any]:
    keys = _SOUND_OR_DELTA if "audio.delta" in str(event.get("type")) else _SOUND

    def walk(value: Any, name: str) -> Any:
        if name == "metadata":
            return value  # a client's own words, whatever they are called
        if isinstance(value, dict):
            return {key: walk(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, "") for inner in value]
        return change(value) if name in keys and isinstance(value, str) else value

    # Nearly all of what is searched is one frame of audio: no call for what is flat.
    if _NESTING.isdisjoint(map(type, event.values())):
        flat = dict(event)
        for key in keys:
            if isinstance(value := flat.get(key), str):
                flat[key] = change(value)
        return flat
    return {key: walk(value, key) for key, value in event.items()}
