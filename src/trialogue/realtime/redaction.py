"""What of a frame may be shown: never a key, never sound; words only on request (X1).

Shapes are shown by an allow-list: a string is written out only where the protocol puts
a name of its own there. A field that nobody has heard of shows its length.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from trialogue._codec import dumps, loads
from trialogue._redaction import without_keys

__all__ = [
    "MOST",
    "names_a_secret",
    "redacted",
    "without_named_secrets",
    "without_secrets",
]

MOST: Final = 4000
"""Characters of one redacted frame that are kept."""

HIDDEN: Final = "<hidden>"
"""What stands in place of a secret."""

_NAMES: Final = frozenset(
    {
        "type", "id", "object", "event_id", "item_id", "response_id", "call_id",
        "previous_item_id", "conversation_id", "session_id", "client_event_id",
        "status", "role", "reason", "code", "param", "model", "voice", "format",
        "eagerness", "language", "detail", "phase", "tool_choice", "name",
        "modalities", "output_modalities", "modality", "include",
    }
)  # fmt: skip
"""Fields that hold the protocol's own names; a tool's name counts as one."""
_SOUND: Final = frozenset({"audio", "data", "pcm"})
_PICTURES: Final = frozenset({"image_url", "url"})
_SECRETS: Final = re.compile(
    r"(?is)(headers|bearer|jwt|pwd|.*authorization|.*secret.*|.*passw(or)?d.*"
    r"|.*passphrase|.*cookie|.*credentials?|.*token"
    r"|.*(api|access|private|ephemeral|signing|encryption)[-_]?key)$"
)
_TOKENS: Final = frozenset({"logprobs", "top_logprobs"})
"""Fields whose tokens are pieces of words."""
_NAMED: Final = re.compile(r'"([^"\\]{1,100})"\s*:\s*')
_VALUE: Final = re.compile(
    r'(?s)"(?:[^"\\]|\\.)*(?:"|$)|\{[^{}]*(?:\}|$)|\[[^][]*(?:\]|$)'
)
"""A text, or a flat object or list, as JSON has them; or the beginning of one."""
_HIDDEN: Final = frozenset({"parameters", "metadata", "logprobs", "bytes", "schema"})
"""Fields whose structure alone would tell what a program or a person said."""
_NAME_LENGTH: Final = 100
_LONG_NAME: Final = 16
_USUAL: Final = 40
_DEPTH: Final = 12
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}")
"""What is this long without a space or a full stop is no sentence of anybody's."""


def redacted(text: str, *, texts: bool = False) -> str:
    """Return a frame as it may be logged, on one line, cut to a bounded length.

    Sound, pictures and keys are never in it. Without `texts`, neither is what anybody
    wrote or said: instructions, transcripts, arguments, outputs, messages.
    """
    try:
        data = loads(text)
    except ValueError:
        return f"<{len(text)} characters that are not JSON>"
    try:
        shown = dumps(_shown(_without_sound(data), "", texts=texts, depth=0))
    except ValueError:  # a number or a character that JSON has no form for
        return f"<a frame of {len(text)} characters>"
    return shown if len(shown) <= MOST else f"{shown[:MOST]}… <{len(shown)} characters>"


def names_a_secret(name: str) -> bool:
    """Whether a field is called as fields are that hold keys, passwords or tokens."""
    if len(name) <= _USUAL:
        return _is_secret(name)
    return _SECRETS.match(name) is not None


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    """A program's fields are few, and are looked at with each call of a tool."""
    return _SECRETS.match(name) is not None


def without_secrets(value: Any, name: str = "") -> Any:
    """Return a value as JSON has it without keys and tokens; all else is as it was.

    A tool's schema may name a parameter `password`: that says nothing of anybody's.
    What a tool returns is looked into if it is JSON; what it is called with comes in
    pieces too, and is left.
    """
    if isinstance(value, dict):
        harmless = name == "properties" or name in _TOKENS
        return {
            _key(key): HIDDEN
            if not harmless
            and names_a_secret(key)
            and v is not None
            and not _is_number(v)
            else without_secrets(v, key if not harmless or key in _TOKENS else "")
            for key, v in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(v, name if name in _TOKENS else "") for v in value]
    if isinstance(value, str):
        shown = without_named_secrets(value) if name == "output" else value
        # Sound, which is most of what there is, has none of these characters.
        if any(mark in shown for mark in "-_ :."):
            return without_keys(shown)
        return shown
    return value


def without_named_secrets(text: str) -> str:
    """Return a text that has JSON in it, perhaps cut off, with its secrets hidden."""
    kept, at = [], 0
    for field in _NAMED.finditer(text):
        if field.start() >= at and names_a_secret(field[1]):
            value = _VALUE.match(text, field.end())
            if value is not None:
                kept += [text[at : field.end()], f'"{HIDDEN}"']
                at = value.end()
    return "".join([*kept, text[at:]])


def _key(key: str) -> str:
    """A field's own name; keys are longer than names are."""
    return without_keys(key) if len(key) > _LONG_NAME else key


def _without_sound(data: Any) -> Any:
    """Sound that comes in pieces is called `delta`, as words are; the type tells."""
    sounds = isinstance(data, dict) and "audio.delta" in str(data.get("type"))
    return (
        {("audio" if k == "delta" else k): v for k, v in data.items()}
        if sounds
        else data
    )


def _shown(value: Any, name: str, *, texts: bool, depth: int) -> Any:
    if names_a_secret(name) and value is not None and not _is_number(value):
        return HIDDEN
    if isinstance(value, str):
        return _text(value, name, texts=texts)
    if not isinstance(value, dict | list):
        return value
    if depth > _DEPTH or (name in _HIDDEN and not texts):
        return f"<{len(value)} entries>"
    if isinstance(value, list):
        return [_shown(v, name, texts=texts, depth=depth + 1) for v in value]
    return {
        _field(key): _shown(v, key, texts=texts, depth=depth + 1)
        for key, v in value.items()
    }


def _field(key: str) -> str:
    """A field's own name; an overlong one is nobody's name."""
    return without_keys(key) if len(key) <= _NAME_LENGTH else f"<{len(key)} characters>"


def _text(value: str, name: str, *, texts: bool) -> str:
    if name in _SOUND:
        return _sound(value)
    if name in _PICTURES or value.startswith("data:"):
        return f"<a picture, {len(value)} characters>"
    named = name in _NAMES and len(value) <= _NAME_LENGTH
    if not (texts or named):
        return f"<{len(value)} characters>"
    return _ENCODED.sub(lambda m: f"<{len(m[0])} characters>", without_keys(value))


def _sound(value: str) -> str:
    return f"<{len(value) * 3 // 4} bytes of audio>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
