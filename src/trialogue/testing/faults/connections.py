"""What goes wrong with a connection: before a frame, behind it, or at some age."""

from __future__ import annotations

import attrs

from trialogue.errors import ConfigurationError
from trialogue.testing.faults.actions import (
    Close,
    Cut,
    Expire,
    Garbage,
    HalfOpen,
    Side,
    Silence,
    Stall,
)
from trialogue.testing.faults.broken_frames import (
    BrokenFrame,  # noqa: TC001 - read when a scenario is loaded
)
from trialogue.testing.faults.fault import Fault, Match
from trialogue.testing.faults.wording import EXPIRED

__all__ = ["close", "cut", "expire", "garbage", "half_open", "silence", "stall"]


@attrs.frozen
class _When:
    """The moment at which it happens."""

    type: str | None
    at: float | None
    before: bool

    @classmethod
    def of(
        cls, before: str | None, after: str | None, at: float | None, part: int = 0
    ) -> _When:
        if [before, after, at].count(None) != 2:
            raise ConfigurationError("give exactly one of before=, after= and at=")
        if part and before is None:
            raise ConfigurationError(
                "after_bytes= is of the frame that is named with before=: the first so "
                "many bytes of it are sent"
            )
        kind = before if before is not None else after
        return cls(kind, at, before is not None)


def cut(
    *,
    before: str | None = None,
    after: str | None = None,
    at: float | None = None,
    after_bytes: int = 0,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The connection drops before or after a frame, or in the middle of an answer.

    Args:
        before: the type of the frame that is not processed, or not sent, any more.
        after: the type of the frame behind which it drops.
        at: the age of the connection, in seconds, at which it drops.
        after_bytes: of the answer named with `before`, send that many bytes, of its
            head and what follows it, and no more.
        nth: which frame of that type, or which connection of that age, from 1; None is
            each.
        connection: the index of the only connection it applies to, or None.
        match: a further condition on the frame.
    """
    when = _When.of(before, after, at, after_bytes)
    action = Cut(when.before, after_bytes)
    return Fault(
        action, when.type, nth=nth, connection=connection, match=match, at=when.at
    )


def close(
    code: int,
    *,
    reason: str = "",
    before: str | None = None,
    after: str | None = None,
    at: float | None = None,
    after_bytes: int = 0,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The server closes the WebSocket before or after a frame, or in an answer.

    Args:
        code: any code of two bytes, also one that is not allowed; 1005 sends none.
        reason: the reason that goes along.
        before: the type of the frame that is not processed, or not sent, any more.
        after: the type of the frame behind which it closes.
        at: the age of the connection, in seconds, at which it closes.
        after_bytes: of the answer named with `before`, that many bytes of text are sent
            as the first fragment of a message that has no other.
        nth: which frame of that type, or which connection of that age, from 1; None is
            each.
        connection: the index of the only connection it applies to, or None.
        match: a further condition on the frame.
    """
    when = _When.of(before, after, at, after_bytes)
    action = Close(code, reason, when.before, after_bytes)
    return Fault(
        action, when.type, nth=nth, connection=connection, match=match, at=when.at
    )


def expire(
    *,
    before: str | None = None,
    after: str | None = None,
    at: float | None = None,
    message: str = EXPIRED,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The session is too old: an error `session_expired`, and a close with 1001.

    Every session expires, after `Settings.max_duration`; this one does so earlier, at a
    frame or at an age, in seconds. The arguments are those of `close`.
    """
    when = _When.of(before, after, at)
    action = Expire(message, when.before)
    return Fault(
        action, when.type, nth=nth, connection=connection, match=match, at=when.at
    )


def silence(
    *,
    before: str | None = None,
    after: str | None = None,
    at: float | None = None,
    pongs: bool = True,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The server never answers again: this frame included (before) or not (after).

    It goes on reading, and doing what it is asked. With `pongs` it answers pings too,
    like a proxy in front of a server that hangs. The other arguments are those of
    `close`.
    """
    when = _When.of(before, after, at)
    action = Silence(when.before, pongs)
    return Fault(
        action, when.type, nth=nth, connection=connection, match=match, at=when.at
    )


def half_open(
    *,
    before: str | None = None,
    after: str | None = None,
    at: float | None = None,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The server is gone, and nobody told the client: it lost its power, or its route.

    From then on nothing is read, nothing is answered, no ping either, and the socket
    stays open until the server ends. What the client writes goes into buffers for as
    long as they have room. The arguments are those of `close`.
    """
    when = _When.of(before, after, at)
    action = HalfOpen(when.before)
    return Fault(
        action, when.type, nth=nth, connection=connection, match=match, at=when.at
    )


def stall(
    *,
    after: str | None = None,
    at: float | None = None,
    seconds: float = float("inf"),
    side: Side = "reads",
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The server stops reading or writing behind a frame, and goes on later.

    Args:
        after: the type of the frame behind which it stops.
        at: the age of the connection, in seconds, at which it stops.
        seconds: for how long.
        side: "reads": nothing that the client sends is looked at until then, pings
            neither, and on TCP the client cannot write once the buffers are full;
            "writes": requests are processed, and their answers all come when it is
            over; "both".
        nth: which frame of that type, or which connection of that age, from 1; None is
            each.
        connection: the index of the only connection it applies to, or None.
        match: a further condition on the frame.
    """
    when = _When.of(None, after, at)
    action = Stall(seconds, side)
    return Fault(
        action, when.type, nth=nth, connection=connection, match=match, at=when.at
    )


def garbage(
    what: BrokenFrame,
    *,
    before: str | None = None,
    after: str | None = None,
    at: float | None = None,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The server sends what is no event, or no WebSocket, and goes on as if it were.

    Args:
        what: a message of text that is not UTF-8 ("utf8"), no JSON ("json"), or a JSON
            array ("array"); a frame with an opcode that is none ("opcode"), with a
            reserved bit ("rsv"), with a mask ("masked"), or that continues nothing
            ("continuation"); a ping that is too long ("ping"); a frame that claims to
            be longer than it is, so that all that follows is taken for the rest of it:
            64 kB ("truncated"), or 1 TB ("oversized").
        before: the type of the frame, of either side, that it comes before.
        after: the type of the frame, of either side, that it comes behind.
        at: the age of the connection, in seconds, at which it comes.
        nth: which frame of that type, or which connection of that age, from 1; None is
            each.
        connection: the index of the only connection it applies to, or None.
        match: a further condition on the frame.
    """
    when = _When.of(before, after, at)
    action = Garbage(what, when.before)
    return Fault(
        action, when.type, nth=nth, connection=connection, match=match, at=when.at
    )
