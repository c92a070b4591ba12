"""What a WebSocket close code means to whoever may dial again (protocol §1.3)."""

from __future__ import annotations

from typing import Final

__all__ = ["CLOSE_CODES", "is_refusal"]

CLOSE_CODES: Final[dict[int | None, bool]] = {
    None: True,  # no close frame: the network, or a server that died
    1000: True,  # a normal end that we did not ask for
    1001: True,  # going away: a deploy, or the session's limit
    1005: True,
    1006: True,
    1008: True,  # policy: also sent for limits that pass
    1009: True,  # a message was too big for one side
    1011: True,  # internal error
    1012: True,  # restart
    1013: True,  # try again later
    1014: True,
    1015: True,
    3000: False,  # unauthorised: the key
    3003: False,  # forbidden
    4000: False,  # the model or the shape of the API
}
"""Whether a new connection may succeed; a code that is not here may."""


def is_refusal(code: int | None) -> bool:
    """Whether the code says that dialling again would not help."""
    return not CLOSE_CODES.get(code, True)
