"""One thing that goes wrong: what happens, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire import CLIENT_EVENTS
from trialogue.testing.faults.actions import Action
from trialogue.testing.faults.checks import not_negative, one_or_more

__all__ = ["ConnectFault", "Direction", "Fault", "HowToFail", "Match"]

Direction: TypeAlias = Literal["in", "out"]
Match: TypeAlias = Callable[[Mapping[str, Any]], bool]
HowToFail: TypeAlias = Literal["refuse", "silent", "slow"] | int


@attrs.frozen
class Fault:
    """One thing that goes wrong on connections.

    Attributes:
        action: what happens.
        type: the event type that it waits for; None where it waits for a time.
        at: the age of a connection that it waits for, in seconds, or None.
        nth: at which of the frames that match, or of the connections that reach the
            age, from 1; None at each.
        onwards: at all that come after the nth as well.
        connection: the index of the only connection it applies to, or None.
        match: a further condition on the frame.
    """

    action: Action
    type: str | None = None
    nth: int | None = attrs.field(default=1, kw_only=True, validator=one_or_more)
    connection: int | None = attrs.field(
        default=None, kw_only=True, validator=not_negative
    )
    match: Match | None = attrs.field(default=None, kw_only=True)
    at: float | None = attrs.field(default=None, kw_only=True, validator=not_negative)
    onwards: bool = attrs.field(default=False, kw_only=True)

    @property
    def direction(self) -> Direction:
        """Whose frame it waits for: the client's ("in") or the server's ("out")."""
        return "in" if self.type in CLIENT_EVENTS else "out"

    def concerns(self, connection: int) -> bool:
        """Whether it applies to that connection."""
        return self.connection in (None, connection)

    def matches(self, event: Mapping[str, Any], connection: int) -> bool:
        """Whether it waits for this frame, apart from the count."""
        return (
            event.get("type") == self.type
            and self.concerns(connection)
            and (self.match is None or self.match(event))
        )

    def strikes(self, count: int) -> bool:
        """Whether it happens at the one of that number, among those that match."""
        if self.nth is None:
            return True
        return count == self.nth or (self.onwards and count > self.nth)

    def is_spent(self, count: int) -> bool:
        """Whether it has happened, and will not again."""
        return self.nth is not None and count >= self.nth and not self.onwards


@attrs.frozen
class ConnectFault:
    """Connecting fails, or is slow.

    Attributes:
        how: "refuse" the socket, never answer ("silent"), answer "slow", or with an
            HTTP status.
        times: how many attempts fail.
        skip: how many succeed before that.
        seconds: how long a slow answer takes.
    """

    how: HowToFail
    times: int = attrs.field(default=1, validator=one_or_more)
    skip: int = attrs.field(default=0, validator=not_negative)
    seconds: float = attrs.field(default=0.0, validator=not_negative)
