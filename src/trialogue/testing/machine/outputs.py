"""What a connection's state machine hands to its shell, and how it refuses."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from trialogue.dialects.openai.wire import ServerEvent

__all__ = ["Hangup", "Output", "Refusal", "too_long"]


@attrs.frozen
class Hangup:
    """Close the WebSocket with this code, after everything before it was sent."""

    code: int
    reason: str = ""


Output: TypeAlias = ServerEvent | Hangup


class Refusal(Exception):
    """A client event cannot be done; becomes an `error` event (protocol §2.3, §2.4)."""

    def __init__(
        self, code: str | None, message: str, *, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def too_long(path: str, limit: int, length: int) -> Refusal:
    """Return the refusal of an id beyond the limit."""
    return Refusal(
        "string_above_max_length",
        f"Invalid '{path}': string too long. Expected a string with maximum length "
        f"{limit}, but got a string with length {length} instead.",
        param=path,
    )
