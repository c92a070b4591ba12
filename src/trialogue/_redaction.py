"""Keys are struck out of what others say, before anybody is shown it (X1)."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["without_keys"]

_KEYS: Final = re.compile(
    r"\b(?:sk|ek|xai|rk|pk)[-_][\w.*-]{4,}"
    r"|(?<=[Bb]earer )\S+"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*"  # a JSON Web Token
    r"|(?<=://)[^/\s:@?#\"]*:[^/\s@?#\"]+(?=@)"  # https://user:password@host
)
_IN_QUERIES: Final = re.compile(
    r"(?i)([?&][\w-]{0,40}(?:key|token|secret|signature|password)=)[^&\s#\"'<>]+"
)


_MARKS: Final = ("-", "_", "eyJ", "://", "earer ", "=")
"""One of them is in whatever has a key in it; most texts have none."""


def without_keys(message: str) -> str:
    """Return the message without what looks like a key: providers quote them."""
    if not any(mark in message for mark in _MARKS):
        return message
    return _IN_QUERIES.sub(r"\1[key]", _KEYS.sub("[key]", message))
