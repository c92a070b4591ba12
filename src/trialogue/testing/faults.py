"""Things that go wrong, as data: what, on which connection, at which frame.

A fault waits for its frame and acts. It counts the frames that it matches over all
connections it applies to; `nth` says at which of them it acts, None at each.

Answers of the server are named by their type, as are requests of the client:
`swallow("session.updated")` loses an answer, `lose("session.update")` a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire import CLIENT_EVENTS
from trialogue.errors import ConfigurationError

__all__ = [
    "Action",
    "Close",
    "ConnectFault",
    "Cut",
    "Delay",
    "Direction",
    "Drop",
    "Duplicate",
    "Fault",
    "FaultPlan",
    "Hold",
    "Match",
    "Reject",
    "Silence",
    "Stall",
    "close",
    "cut",
    "duplicate",
    "hold",
    "late",
    "lose",
    "refuse_connect",
    "refuse_upgrade",
    "reject",
    "silence",
    "silent_connect",
    "stall",
    "swallow",
]

Direction: TypeAlias = Literal["in", "out"]
Match: TypeAlias = Callable[[Mapping[str, Any]], bool]


@attrs.frozen
class Drop:
    """The frame is lost."""


@attrs.frozen
class Delay:
    """The frame comes that much later; those behind it overtake it."""

    seconds: float


@attrs.frozen
class Hold:
    """The frame comes behind the next so many frames of its direction."""

    frames: int


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
class Close:
    """The server closes the WebSocket, before or behind the frame."""

    code: int
    reason: str = ""
    before: bool = False


@attrs.frozen
class Cut:
    """The connection drops without a word.

    Attributes:
        before: before the frame is processed, or written; else after.
        after_bytes: of an answer, write that many bytes and no more.
    """

    before: bool = True
    after_bytes: int = 0


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
class Stall:
    """The server reads nothing for so many seconds (infinity: ever again)."""

    seconds: float


Action: TypeAlias = (
    Drop | Delay | Hold | Duplicate | Reject | Close | Cut | Silence | Stall
)


def _direction(kind: str) -> Direction:
    return "in" if kind in CLIENT_EVENTS else "out"


@attrs.frozen
class Fault:
    """One thing that goes wrong.

    Attributes:
        action: what happens.
        type: the event type that it waits for.
        nth: at which of the frames that match, from 1; None at each.
        connection: the index of the only connection it applies to, or None.
        match: a further condition on the frame.
    """

    action: Action
    type: str
    nth: int | None = attrs.field(default=1, kw_only=True)
    connection: int | None = attrs.field(default=None, kw_only=True)
    match: Match | None = attrs.field(default=None, kw_only=True)

    @property
    def direction(self) -> Direction:
        """Whose frame it waits for: the client's ("in") or the server's ("out")."""
        return _direction(self.type)

    def matches(self, event: Mapping[str, Any], connection: int) -> bool:
        """Whether it waits for this frame, apart from the count."""
        return (
            event.get("type") == self.type
            and self.connection in (None, connection)
            and (self.match is None or self.match(event))
        )


@attrs.frozen
class ConnectFault:
    """Connecting fails.

    Attributes:
        how: "refuse" the socket, never answer ("silent"), or an HTTP status.
        times: how many attempts fail.
        skip: how many succeed before that.
    """

    how: Literal["refuse", "silent"] | int
    times: int = 1
    skip: int = 0


class FaultPlan:
    """The faults of a server, and how far each has counted."""

    def __init__(self, faults: Iterable[Fault | ConnectFault] = ()) -> None:
        self._frame_faults: list[tuple[Fault, list[int]]] = []
        self._connect_faults: list[tuple[ConnectFault, list[int]]] = []
        self.add(*faults)

    def add(self, *faults: Fault | ConnectFault) -> None:
        """Plan more; each counts from now on."""
        for fault in faults:
            if isinstance(fault, Fault):
                self._frame_faults.append((fault, [0]))
            else:
                self._connect_faults.append((fault, [0]))

    def at_frame(self, event: Mapping[str, Any], connection: int) -> list[Action]:
        """Return what happens to this frame."""
        actions = []
        for planned in tuple(self._frame_faults):
            fault, count = planned
            if fault.matches(event, connection):
                count[0] += 1
                if fault.nth in (None, count[0]):
                    actions.append(fault.action)
                if fault.nth == count[0]:
                    self._frame_faults.remove(planned)  # it has happened
        return actions

    def at_connect(self) -> Literal["refuse", "silent"] | int | None:
        """Return how this attempt to connect fails, or None.

        Faults of connecting take their turns: the next begins to count when the one
        before it is used up.
        """
        while self._connect_faults:
            fault, count = self._connect_faults[0]
            count[0] += 1
            if count[0] <= fault.skip:
                return None
            if count[0] <= fault.skip + fault.times:
                return fault.how
            self._connect_faults.pop(0)
        return None


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
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """A request that is refused; with `null_id` the error does not say which one."""
    text = message if message is not None else f"The request was rejected ({code})."
    action = Reject(code, text, null_id)
    return Fault(action, type, nth=nth, connection=connection, match=match)


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


def _side(before: str | None, after: str | None) -> tuple[str, bool]:
    if (before is None) == (after is None):
        raise ConfigurationError("give exactly one of before= and after=")
    return (before, True) if before is not None else (str(after), False)


def cut(
    *,
    before: str | None = None,
    after: str | None = None,
    after_bytes: int = 0,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The connection drops before or after a frame, or in the middle of an answer."""
    kind, first = _side(before, after)
    action = Cut(first, after_bytes)
    return Fault(action, kind, nth=nth, connection=connection, match=match)


def close(
    code: int,
    *,
    reason: str = "",
    before: str | None = None,
    after: str | None = None,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The server closes the WebSocket before or after a frame."""
    kind, first = _side(before, after)
    action = Close(code, reason, first)
    return Fault(action, kind, nth=nth, connection=connection, match=match)


def silence(
    *,
    before: str | None = None,
    after: str | None = None,
    pongs: bool = True,
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The server never answers again: this frame included (before) or not (after)."""
    kind, first = _side(before, after)
    action = Silence(first, pongs)
    return Fault(action, kind, nth=nth, connection=connection, match=match)


def stall(
    *,
    after: str,
    seconds: float = float("inf"),
    nth: int | None = 1,
    connection: int | None = None,
    match: Match | None = None,
) -> Fault:
    """The server stops reading behind a frame."""
    return Fault(Stall(seconds), after, nth=nth, connection=connection, match=match)


def refuse_connect(times: int = 1, *, skip: int = 0) -> ConnectFault:
    """Nobody listens."""
    return ConnectFault("refuse", times, skip)


def silent_connect(times: int = 1, *, skip: int = 0) -> ConnectFault:
    """The upgrade is never answered."""
    return ConnectFault("silent", times, skip)


def refuse_upgrade(status: int, times: int = 1, *, skip: int = 0) -> ConnectFault:
    """The upgrade is answered with an HTTP status: 401, 403, 404, 429, 500."""
    return ConnectFault(status, times, skip)
