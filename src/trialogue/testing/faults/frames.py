"""What goes wrong with one frame, or one response."""

from __future__ import annotations

from typing import Literal

from trialogue.testing.faults.actions import (
    Delay,
    Drop,
    Duplicate,
    FailResponse,
    Hold,
    Reject,
)
from trialogue.testing.faults.fault import Fault, Match
from trialogue.testing.faults.wording import OVER_QUOTA, QUOTA

__all__ = [
    "duplicate",
    "fail_response",
    "hold",
    "late",
    "lose",
    "quota",
    "reject",
    "swallow",
]


def swallow(
    type: str,  # noqa: A002 - the protocol's word
    *,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """An answer that is never sent, though what it answers was done."""
    return Fault(Drop(), type, nth=nth, connection=connection, match=match)


def lose(
    type: str,  # noqa: A002
    *,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """A request that is never processed."""
    return Fault(Drop(), type, nth=nth, connection=connection, match=match)


def reject(
    type: str,  # noqa: A002
    *,
    code: str | None = "server_error",
    message: str | None = None,
    null_id: bool = False,
    nth: int | None = 1,
    onwards: bool = False,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """A request that is refused; with `null_id` the error does not say which one.

    With `onwards` all that come after the nth are refused as well.
    """
    text = message if message is not None else f"The request was rejected ({code})."
    action = Reject(code, text, null_id)
    return Fault(
        action, type, nth=nth, onwards=onwards, connection=connection, match=match
    )


def late(
    type: str,  # noqa: A002
    *,
    seconds: float,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """A frame that comes later, overtaken by those behind it."""
    action = Delay(seconds)
    return Fault(action, type, nth=nth, connection=connection, match=match)


def hold(
    type: str,  # noqa: A002
    *,
    frames: int = 1,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """A frame that comes behind the next ones."""
    return Fault(Hold(frames), type, nth=nth, connection=connection, match=match)


def duplicate(
    type: str,  # noqa: A002
    *,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """A frame that comes twice."""
    return Fault(Duplicate(), type, nth=nth, connection=connection, match=match)


def fail_response(
    *,
    code: str = "server_error",
    message: str = "The server had an error while processing your request.",
    error_type: str = "server_error",
    nth: int | None = 1,
    onwards: bool = False,
    connection: int | None = None,
) -> Fault:
    """A response that begins, and fails before it says anything.

    Whoever asked for it, a client or the server's turn detection: it is announced, and
    is done with the status "failed" and this error. The brain is not asked.

    Args:
        code: of the error.
        message: of the error.
        error_type: of the error.
        nth: which response fails, of all that begin, from 1; None is each.
        onwards: all that come after it fail as well.
        connection: the index of the only connection it applies to, or None.
    """
    action = FailResponse(code, message, error_type)
    return Fault(action, nth=nth, onwards=onwards, connection=connection)


def quota(
    *,
    on: Literal["response", "request"] = "response",
    nth: int = 1,
    connection: int | None = None,
) -> Fault:
    """The account is used up: from the nth response on, none is made any more.

    Args:
        on: "response": it begins, and fails with `insufficient_quota`, as one does that
            turn detection begins; "request": `response.create` is answered with that
            error, and none begins.
        nth: the first response, or request, that fails, from 1.
        connection: the index of the only connection it applies to, or None.
    """
    if on == "response":
        return fail_response(
            code=QUOTA,
            message=OVER_QUOTA,
            error_type=QUOTA,
            nth=nth,
            onwards=True,
            connection=connection,
        )
    action = Reject(QUOTA, OVER_QUOTA)
    return Fault(
        action, "response.create", nth=nth, onwards=True, connection=connection
    )
