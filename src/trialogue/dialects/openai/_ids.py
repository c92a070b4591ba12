"""Ids within the provider's limit (protocol §2.2), and the way back."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final, final

__all__ = ["MAX_ID_LENGTH", "Ids", "shortened"]

MAX_ID_LENGTH: Final = 32
_PREFIX: Final = "tr_"
REMEMBERED: Final = 16_384
"""Ids of which one connection knows the way back, the latest that it was given."""


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
        self._ours: OrderedDict[str, str] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Ids shortened={len(self._ours)}>"

    def out(self, identifier: str) -> str:
        """Return what stands on the wire for our id."""
        short = shortened(identifier)
        if short is not identifier:
            self._ours[short] = identifier
            self._ours.move_to_end(short)
            if len(self._ours) > REMEMBERED:
                self._ours.popitem(last=False)
        return short

    def back(self, identifier: str) -> str:
        """Return our id for what stands on the wire."""
        return self._ours.get(identifier, identifier)
