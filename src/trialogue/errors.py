"""Every error that trialogue raises, as one tree rooted at `TrialogueError`.

Messages say what happened, what was expected and what to do. Errors that come from the
provider carry its code, so that a program can decide without reading prose.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AnswerTimeout",
    "ApprovalError",
    "ConfigurationError",
    "ConnectRefused",
    "ConnectionLost",
    "ConversionError",
    "DelegationError",
    "DrainStarted",
    "HandoffError",
    "HandoffLoop",
    "ProtocolError",
    "ResponseBusy",
    "ResponseFailed",
    "ServerError",
    "SessionClosed",
    "SessionUpdateError",
    "SpendLimitReached",
    "SubscriberLagged",
    "ToolError",
    "ToolSetError",
    "TrialogueError",
]


class TrialogueError(Exception):
    """The root of every error that this library raises on purpose."""


class ConfigurationError(TrialogueError, ValueError):
    """Something the program supplied cannot work; nothing was sent.

    Raised for an agent without instructions, a tool whose signature has no schema, two
    tools of one name, a recording with another sample rate, a malformed URL.
    """


class ConversionError(TrialogueError, ValueError):
    """A value has no form in the provider's protocol; nothing was sent (S18)."""


class ProtocolError(TrialogueError):
    """The peer sent something its protocol does not allow.

    The text of the offending message is not part of the error: it may hold what the
    user said. `detail` names the place.
    """

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail


class ConnectionLost(TrialogueError):
    """The connection ended, and with it whatever the server still owed.

    Attributes:
        code: the WebSocket close code, or None where there was no close frame.
        reason: the peer's reason, or ours.
    """

    def __init__(
        self, message: str, *, code: int | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class ConnectRefused(ConnectionLost):
    """The provider refused the connection; trying again would not help.

    Wrong key, unknown model, refused upgrade, malformed URL.

    Attributes:
        status: the HTTP status of a refused upgrade, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        reason: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, code=code, reason=reason)
        self.status = status


class ServerError(TrialogueError):
    """The provider reported an error.

    Attributes:
        code: the provider's code, or None where it gave none.
        event_id: the client event at fault, where the provider named one.
        recoverable: False if the session cannot go on (key, quota, deactivated).
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        event_id: str | None = None,
        recoverable: bool = True,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.event_id = event_id
        self.recoverable = recoverable


class AnswerTimeout(TrialogueError, TimeoutError):
    """The provider did not answer within the time that the caller gave it."""


class ResponseBusy(TrialogueError):
    """A reply was asked for with `if_busy="raise"` while another response runs.

    Attributes:
        code: the provider's code if the provider refused it, else None.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class ResponseFailed(ServerError):
    """The provider made a response and then reported that it failed."""


class SessionUpdateError(TrialogueError):
    """An update was rejected or not answered.

    Attributes:
        report: what became of each request of the update.
    """

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class HandoffError(TrialogueError):
    """A handoff could not be carried out.

    Attributes:
        previous: the name of the agent that was live before, or None.
        next: the name of the agent that should have taken over.
        report: what became of each request of the handoff, or None if nothing was sent.
    """

    def __init__(
        self,
        message: str,
        *,
        previous: str | None = None,
        next: str | None = None,  # noqa: A002
        report: Any = None,
    ) -> None:
        super().__init__(message)
        self.previous = previous
        self.next = next
        self.report = report


class HandoffLoop(HandoffError):
    """More handoffs than allowed happened without a word from the user (H20)."""


class DelegationError(TrialogueError):
    """A delegation cannot be begun, or not be ended, like this; nothing was sent.

    Raised by `session.delegate` outside of the agent that is current, in a detached
    tool, or for an agent that runs already; and by `ctx.complete` outside of a
    delegation, the second time, or with a value of another type than was declared.
    """


class ToolError(TrialogueError):
    """Raise it in a tool to tell the model, verbatim, why the tool did not succeed."""


class ToolSetError(TrialogueError):
    """A tool set could not be opened; nothing was sent, and it can be tried again.

    What its `open` raised is the cause, if it raised something.

    Attributes:
        tool_set: its name.
    """

    def __init__(self, message: str, *, tool_set: str) -> None:
        super().__init__(message)
        self.tool_set = tool_set


class ApprovalError(TrialogueError):
    """`approve` or `deny` came for a call that does not wait for it (any more).

    Attributes:
        call_id: the call that was meant.
        outcome: how its approval was settled ("approved", "denied", "expired",
            "withdrawn"); None if nobody knows of such a call.
    """

    def __init__(
        self, message: str, *, call_id: str, outcome: str | None = None
    ) -> None:
        super().__init__(message)
        self.call_id = call_id
        self.outcome = outcome


class SessionClosed(TrialogueError):
    """The session is closed or dead and takes no more work (invariant 9)."""


class DrainStarted(TrialogueError):
    """No session was opened: the process is being drained, see `Drain`."""


class SpendLimitReached(TrialogueError):
    """The conversation has cost what it may cost, and was ended (`SpendLimit`).

    Attributes:
        kind: "tokens", "audio_tokens" or "seconds".
        limit: how much of that was allowed.
        spent: how much of that was spent.
    """

    def __init__(self, message: str, *, kind: str, limit: float, spent: float) -> None:
        super().__init__(message)
        self.kind = kind
        self.limit = limit
        self.spent = spent


class SubscriberLagged(TrialogueError):
    """A subscriber that asked to be told fell behind by more than its buffer.

    Attributes:
        missed: how many events were not delivered.
    """

    def __init__(self, message: str, *, missed: int) -> None:
        super().__init__(message)
        self.missed = missed
