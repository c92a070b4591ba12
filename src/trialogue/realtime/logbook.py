"""What a session writes to the log: where it stands, never what anybody said (X1).

Everything goes to loggers below `trialogue`, each record with its session's id: in the
text as `[tri_…]`, and as `record.trialogue_session`. What concerns one connection has
`record.trialogue_connection` too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from trialogue._redaction import without_keys
from trialogue.errors import DrainStarted
from trialogue.realtime.notices import (
    AudioDropped,
    ConnectionEnded,
    ConnectionOpened,
    MalformedFrame,
    ReplayTruncated,
    UnknownAnchorNotice,
)
from trialogue.realtime.spending import SpendWarning

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trialogue.dialects.events import ErrorReported
    from trialogue.errors import TrialogueError
    from trialogue.realtime.broadcast import Subscription

__all__ = ["Logbook", "SessionLog"]

EVERY = 1.0
"""Seconds between two lines about dropped audio, which is told of with each push."""


class SessionLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that knows its session."""

    def __init__(self, name: str, session_id: str) -> None:
        super().__init__(logging.getLogger(name), {"trialogue_session": session_id})
        self._prefix = f"[{session_id}] "

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the session's id to the text and to the extras."""
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return f"{self._prefix}{msg}", kwargs


class Logbook:
    """Turns what a realtime session does into lines."""

    def __init__(self, session_id: str) -> None:
        self._log = SessionLog("trialogue.realtime", session_id)
        self._spoke_of_audio = -EVERY

    def observe(self, event: object) -> None:
        """Something was published."""
        match event:
            case ConnectionOpened(generation, session_id, seconds, reason):
                text = "connection %d serves after %.3f s (%s), session %s there"
                told = (generation, seconds, reason, _short(session_id))
                self._log.info(text, *told, extra=_of(generation))
            case ConnectionEnded():
                self._connection_ended(event)
            case AudioDropped(total_seconds=total):
                self._audio_dropped(total)
            case MalformedFrame(message, detail):
                self._log.warning("a frame was passed over: %s (%s)", message, detail)
            case ReplayTruncated(omitted):
                self._log.warning("%d items were left out of a replay", omitted)
            case UnknownAnchorNotice(item_id):
                text = "item %s was announced behind an unknown one, and appended"
                self._log.warning(text, _short(item_id))
            case SpendWarning(kind, limit, spent):
                self._log.warning("%g of %g %s are spent", spent, limit, kind)
            case _:
                pass

    def _connection_ended(self, event: ConnectionEnded) -> None:
        level = logging.WARNING if event.will_retry else logging.INFO
        following = "; another is dialled" if event.will_retry else ""
        text, why = "connection %d ended: %s%s", _short(event.message)
        extra = _of(event.generation)
        self._log.log(level, text, event.generation, why, following, extra=extra)

    def _audio_dropped(self, total: float) -> None:
        now = trio.current_time()
        if now >= self._spoke_of_audio + EVERY:
            self._spoke_of_audio = now
            text = "microphone audio is dropped: %.1f s up to now"
            self._log.warning(text, total)

    def error(self, generation: int, error: ErrorReported, request: object) -> None:
        """The provider reported an error; its prose may quote anything."""
        text = "the provider reported an error about %s: code=%s type=%s param=%s"
        about = "no known request" if request is None else type(request).__name__
        told = (_short(error.code), _short(error.type), _short(error.param))
        self._log.warning(text, about, *told, extra=_of(generation))

    def lagging(self, subscription: Subscription[Any]) -> None:
        """A subscriber has missed events; said when their number doubles."""
        missed = subscription.total_missed
        if missed & (missed - 1) == 0:
            text = "a subscriber of %s is too slow and has missed %d events"
            self._log.warning(text, ", ".join(subscription.names), missed)

    def failed(self, error: TrialogueError) -> None:
        """The session cannot go on, or is not to begin."""
        if isinstance(error, DrainStarted):
            self._log.info("the session was refused: %s", error)
            return
        code = getattr(error, "code", None)
        text, told = "the session failed: %s (code %s)", _short(str(error))
        self._log.error(text, told, _short(code))

    def closed(self, connections: int) -> None:
        """The session's block is left."""
        self._log.info("the session ends; %d connections served", connections)


def _of(generation: int) -> dict[str, int]:
    return {"trialogue_connection": generation}


def _short(text: object) -> str:
    """What a provider wrote, on one line, without keys, of bounded length."""
    line = without_keys(" ".join(str(text).split()))
    return line if len(line) <= 200 else f"{line[:200]}…"
