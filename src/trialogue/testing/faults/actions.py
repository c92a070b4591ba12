"""What can go wrong, as data."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import attrs

from trialogue.testing.faults.broken_frames import BROKEN_FRAMES, BrokenFrame
from trialogue.testing.faults.checks import (
    close_code,
    not_negative,
    one_of,
    one_or_more,
)

__all__ = [
    "Action",
    "Close",
    "Cut",
    "Delay",
    "Drop",
    "Duplicate",
    "Expire",
    "FailResponse",
    "Garbage",
    "HalfOpen",
    "Hold",
    "Reject",
    "Side",
    "Silence",
    "Stall",
]

Side: TypeAlias = Literal["reads", "writes", "both"]


def _reads() -> Side:
    return "reads"


@attrs.frozen
class Drop:
    """The frame is lost."""


@attrs.frozen
class Delay:
    """The frame comes that much later; those behind it overtake it."""

    seconds: float = attrs.field(validator=not_negative)


@attrs.frozen
class Hold:
    """The frame comes behind the next so many frames of its direction."""

    frames: int = attrs.field(validator=one_or_more)


@attrs.frozen
class Duplicate:
    """The frame comes twice."""


@attrs.frozen
class Reject:
    """The request is answered with an error, and not done."""

    code: str | None
    message: str
    null_id: bool = False


@attrs.frozen
class FailResponse:
    """The response begins, and fails; its brain is not asked."""

    code: str
    message: str
    type: str


@attrs.frozen
class Close:
    """The server closes the WebSocket, before or behind the frame.

    Attributes:
        before: before the frame is processed, or written; else after.
        after_bytes: of an answer, send that many bytes as the beginning of a message,
            and close in the middle of it.
    """

    code: int = attrs.field(validator=close_code)
    reason: str = ""
    before: bool = False
    after_bytes: int = attrs.field(default=0, validator=not_negative)


@attrs.frozen
class Expire:
    """The session is too old: an error says so, and the server closes (1001)."""

    message: str
    before: bool = False


@attrs.frozen
class Cut:
    """The connection drops without a word.

    Attributes:
        before: before the frame is processed, or written; else after.
        after_bytes: of an answer, write that many bytes and no more.
    """

    before: bool = True
    after_bytes: int = attrs.field(default=0, validator=not_negative)


@attrs.frozen
class Silence:
    """The server reads on and processes, and never answers any more.

    Attributes:
        before: the frame itself is not answered, or not sent, any more; else it is.
        pongs: pings are still answered, as by a proxy in front of a dead server.
    """

    before: bool = True
    pongs: bool = True


@attrs.frozen
class HalfOpen:
    """The server is gone, and nobody told the client: the socket stays, and is dead."""

    before: bool = True


@attrs.frozen
class Stall:
    """The server reads or writes nothing for so many seconds (infinity: ever again)."""

    seconds: float = attrs.field(validator=not_negative)
    side: Side = attrs.field(factory=_reads, validator=one_of(get_args(Side)))


@attrs.frozen
class Garbage:
    """Bytes that break the protocol come before the frame, or behind it."""

    what: BrokenFrame = attrs.field(validator=one_of(BROKEN_FRAMES))
    before: bool = True


Action: TypeAlias = (
    Drop
    | Delay
    | Hold
    | Duplicate
    | Reject
    | FailResponse
    | Close
    | Expire
    | Cut
    | Silence
    | HalfOpen
    | Stall
    | Garbage
)
