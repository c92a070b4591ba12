"""A reply whose parts come one after another, while its response is open (sans-IO).

Whoever makes the parts adds them, and says when there are no more; the response takes
them, and says when it wants one and when it is over. Both on the server's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import attrs

from trialogue.testing.script import Part, parts_of

__all__ = ["LiveReply"]


def _nothing() -> None:
    """Nobody asked to be told."""


@attrs.define(eq=False, repr=False)
class LiveReply:
    """The parts of a reply as they come.

    Attributes:
        on_want: called when the response has made all that came, and wants more.
        on_over: called once, when the response is over: completed, cancelled or failed,
            or left where it is by the end of its connection.
        over: the response is over; what comes now is dropped.
    """

    on_want: Callable[[], None] = _nothing
    on_over: Callable[[], None] = _nothing
    over: bool = attrs.field(default=False, init=False)
    _parts: deque[Part] = attrs.field(factory=deque, init=False)
    _finished: bool = attrs.field(default=False, init=False)
    _wake: Callable[[float], None] | None = attrs.field(default=None, init=False)

    def __repr__(self) -> str:
        ended = self.over or self._finished
        return f"<LiveReply {'ended' if ended else 'open'} waiting={len(self._parts)}>"

    def add(self, part: Part | str, now: float) -> None:
        """Add a part; the response goes on with it at that time of the server's clock.

        Raises:
            TypeError: it is nothing that a model can do.
        """
        self._parts.extend(parts_of((part,)))
        self._go_on(now)

    def finish(self, now: float) -> None:
        """Say that there are no more parts: the response completes."""
        self._finished = True
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self._wake is not None and not self.over:
            self._wake(now)

    def begin(self, wake: Callable[[float], None]) -> None:
        """The response begins; it is woken when there is something to go on with."""
        self._wake = wake

    def end(self) -> None:
        """The response is over."""
        self.over = True
        self._parts.clear()
        self.on_over()

    def __iter__(self) -> Iterator[Part | None]:
        """Yield the parts; None where the next is still to come."""
        while self._parts or not self._finished:
            if not self._parts:
                self.on_want()  # which may add some at once
            if self._parts:
                yield self._parts.popleft()
            elif not self._finished:
                yield None
