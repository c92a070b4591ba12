"""What was heard: by the listener, if it plays; else by whoever takes a reply's stream.

A session with agents has a loudspeaker, and its position is the truth. A session alone
has none: there, what a program took out of a stream is what was heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trialogue.realtime.listener import Listener
    from trialogue.realtime.replies import CutItem, Response

__all__ = ["Hearing"]


class Session(Protocol):
    """What this module needs of the session."""

    listener: Listener


class Replying(Protocol):
    """What this module needs of the session's replies."""

    def responses(self) -> Collection[Response]: ...


class Hearing:
    """Who hears the replies of one session, and how far."""

    def __init__(self, session: Session, replying: Replying) -> None:
        self._session = session
        self._replying = replying

    def cut(self, response: Response | None, *, force: bool = False) -> list[CutItem]:
        """Stop a response (None: everything) where it is heard; say what was heard.

        Items that had been heard in full are not listed. Of everything, what may not
        be interrupted stays, unless it is forced to stop.
        """
        meant = [response] if response is not None else self._to_stop(force=force)
        taps = [r.tap for r in meant]
        by_taps = [item for tap in taps if tap is not None for item in tap.silence()]
        stopped = self._session.listener.cut(response, force=force)
        return self._joined(stopped, by_taps)

    def _to_stop(self, *, force: bool) -> list[Response]:
        return [
            r
            for r in self._replying.responses()
            if not r.out_of_band and (force or r.interruptible)
        ]

    def leave(self, response: Response) -> list[CutItem]:
        """Whoever took this response takes no more of it; say what was heard.

        Where the listener plays, it plays on.
        """
        items = [] if response.tap is None else response.tap.leave()
        return self._joined((), items)

    def _joined(
        self, played: Iterable[CutItem], taken: Iterable[CutItem]
    ) -> list[CutItem]:
        played = list(played)
        if self._session.listener.plays:
            return played
        known = {item.item_id for item in played}
        return played + [item for item in taken if item.item_id not in known]

    def heard_ms(self, response: Response) -> int:
        """How much of a response was heard up to now."""
        tap, listener = response.tap, self._session.listener
        if tap is None or listener.plays:
            return listener.heard_ms(response)
        return max(tap.heard_ms, listener.heard_ms(response))

    def reached(self, response: Response) -> bool:
        """Whether something of it has reached somebody, so that it is not made anew."""
        taken = response.tap is not None and response.tap.reached
        read = self._was_read(response)
        return taken or read or self._session.listener.heard_ms(response) > 0

    def began(self, response: Response, item_id: str) -> bool:
        """Whether a message came to be heard or read, before the rest was cut."""
        if response.tap is None or self._session.listener.plays:
            return item_id in response.given
        return response.tap.knows(item_id)

    def unheard(self, response: Response) -> bool:
        """Whether nothing of it was heard or read."""
        if response.tap is None or self._session.listener.plays:
            return not response.emitted and not self._was_read(response)
        return response.tap.unheard

    def _was_read(self, response: Response) -> bool:
        """Whether it is written, and was shown: words are read as they come."""
        shown = response.given and not response.emitted
        return bool(shown) and self._session.listener.plays
