"""Ids within the provider's limit (protocol §2.2), and the way back."""

from __future__ import annotations

import hashlib
from typing import Final, final

__all__ = ["MAX_ID_LENGTH", "Ids", "shortened"]

MAX_ID_LENGTH: Final = 32
_PREFIX: Final = "tr_"


def shortened(identifier: str) -> str:
    """Return the id itself if it is short enough, else a digest of it.

    The same on every connection, so a call and its output meet also when one of them
    is replayed later.
    """
    if len(identifier) <= MAX_ID_LENGTH:
        return identifier
    digest = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()
    return _PREFIX + digest[: MAX_ID_LENGTH - len(_PREFIX)]


@final
class Ids:
    """The ids of one connection: ours on the wire, and the wire's as ours."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Ids shortened={len(self._ours)}>"

    def out(self, identifier: str) -> str:
        """Return what stands on the wire for our id."""
        short = shortened(identifier)
        if short is not identifier:
            self._ours[short] = identifier
        return short

    def back(self, identifier: str) -> str:
        """Return our id for what stands on the wire."""
        return self._ours.get(identifier, identifier)
