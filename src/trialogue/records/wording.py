"""Texts as a record keeps them: without keys, of a bounded length, fit for a file."""

from __future__ import annotations

from typing import Any, Final

from trialogue._codec import dumps, loads
from trialogue._redaction import without_keys
from trialogue.realtime.limits import CUT
from trialogue.realtime.redaction import names_a_secret

__all__ = ["MOST", "kept", "kept_json"]

MOST: Final = 2000
"""Characters of one text that are kept."""
_SEARCHED: Final = 4 * MOST
"""Characters that are searched for keys: one that lies across the cut is found."""
_PARSED: Final = 64 * 1024
"""Characters of JSON that is looked into; of a longer one only the length is kept."""
_DEPTH: Final = 12


def kept(text: str) -> str:
    """Return what a record keeps of a text."""
    return _cut(without_keys(_whole(text[:_SEARCHED])), more=len(text) > _SEARCHED)


def kept_json(text: str) -> str:
    """Return what a record keeps of a text that may be JSON: no field with a secret."""
    if text.lstrip()[:1] not in ("{", "["):
        return kept(text)
    if len(text) > _PARSED:
        return f"<{len(text)} characters>"
    try:
        return _cut(dumps(_shown(loads(_whole(text)), 0)))
    except ValueError:  # it only began like JSON
        return kept(text)


def _shown(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return without_keys(_whole(value))
    if not isinstance(value, dict | list):
        return value
    if depth > _DEPTH:
        return f"<{len(value)} entries>"
    if isinstance(value, list):
        return [_shown(each, depth + 1) for each in value]
    return {
        without_keys(_whole(name)): "<hidden>"
        if names_a_secret(name) and each is not None
        else _shown(each, depth + 1)
        for name, each in value.items()
    }


def _whole(text: str) -> str:
    """Half of a character, which no file can hold, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _cut(text: str, *, more: bool = False) -> str:
    if len(text) <= MOST and not more:
        return text
    return text[: MOST - len(CUT)] + CUT
