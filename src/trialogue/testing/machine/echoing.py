"""A configuration as a server confirms it, where the client asks for another one.

A lenient replay minds no words. A client does: it takes a confirmation of what it has
not asked for as a fault of the connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Echo"]


class Echo:
    """What a client has asked for so far, put into what the recording confirms."""

    def __init__(self) -> None:
        self._asked: dict[str, Any] = {}
        self._session: Mapping[str, Any] = {}
        self._made = 0

    def __repr__(self) -> str:
        return f"<Echo of {', '.join(self._asked) or 'nothing'}>"

    def ask(self, update: Mapping[str, Any]) -> None:
        """The client sends a `session.update`."""
        session = update.get("session")
        if isinstance(session, Mapping):
            self._asked = _laid_over(self._asked, session)

    def told(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an event of the recording with what was asked for in it."""
        session = event.get("session")
        if not isinstance(session, Mapping):
            return event
        self._session = session
        if event.get("type") != "session.updated":
            return event
        return {**event, "session": _laid_over(session, self._asked)}

    def confirm(self) -> Mapping[str, Any]:
        """Return the answer to an update that was never recorded."""
        self._made += 1
        return {
            "type": "session.updated",
            "event_id": f"event_replay_{self._made}",
            "session": _laid_over(self._session, self._asked),
        }


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        result[key] = _laid_over(under, value) if both and under else value
    return result
