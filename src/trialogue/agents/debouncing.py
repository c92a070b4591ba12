"""When a guardrail looks at a message that grows. Sans-IO.

A message comes in pieces of a few letters. It is looked at when enough of it is new,
when a sentence has ended, and at its own end; one check at a time, each of all that has
come by then. While one is under way nothing piles up: the next is of the latest text.
"""

from __future__ import annotations

import re

__all__ = ["Watch"]

_QUOTES = "\"')\\]\u201d\u2019"
_WIDE = "\u3002\uff01\uff1f"
_SENTENCE_END = re.compile(rf"[.!?\u2026][{_QUOTES}]*\s|[{_WIDE}\n]")
"""A full stop ends a sentence if space follows: "3.5" goes on. Wide ones need none."""


class Watch:
    """What one guardrail has seen of one message.

    Attributes:
        text: all that has come.
    """

    def __init__(self, length: int, *, sentence_ends: bool = True) -> None:
        self._length = length
        self._sentence_ends = sentence_ends
        self.text = ""
        self._seen = ""
        self._busy = False
        self._ended = False

    def add(self, piece: str) -> str | None:
        """More of it has come: return what to check now, if a check is due."""
        self.text += piece
        return self._next()

    def end(self, text: str | None = None) -> str | None:
        """It has ended: return what to check now, if something of it is unseen.

        Args:
            text: the message in its final form; None for what has come.
        """
        self._ended = True
        self.text = self.text if text is None else text
        return self._next()

    def checked(self) -> str | None:
        """The check has returned: return what to check next, if that is due by now."""
        self._busy = False
        return self._next()

    def _next(self) -> str | None:
        if self._busy or not self._due():
            return None
        self._busy, self._seen = True, self.text
        return self.text

    def _due(self) -> bool:
        seen = len(self._seen)
        if self._ended:
            return self.text.strip() != self._seen.strip()
        if not self.text[seen:].strip():
            return False
        if len(self.text) - seen >= self._length:
            return True
        return self._sentence_ends and bool(_SENTENCE_END.search(self.text, seen))
