"""Ids as the real server makes them, from a seed (protocol §2.2)."""

from __future__ import annotations

import random
import string
from typing import Final

__all__ = ["Ids"]

_BASE62: Final = string.digits + string.ascii_letters
#: Some letters come more often than others: ids are to be unique, not secret.
_LETTERS: Final = bytes(ord(_BASE62[byte % 62]) for byte in range(256))


class Ids:
    """A source of ids; the same seed gives the same ids in the same order."""

    def __init__(self, seed: str = "") -> None:
        self._random = random.Random(f"ids {seed}")  # names, not secrets

    def new(self, prefix: str) -> str:
        """Return a new id: `event_`, `item_`, `resp_`, `conv_`, `sess_`, `call_`."""
        length = 16 if prefix == "call" else 21
        letters = self._random.randbytes(length).translate(_LETTERS)
        return f"{prefix}_{letters.decode()}"
