"""The wire of a session, for whoever asks for it: a log, or an ear of one's own.

`wire_log` takes a `WireLog`, which writes every frame to the log, redacted; or anything
else with its one method, which is given every frame as it is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, Protocol, cast, final

import attrs
import trio

from trialogue.errors import ConnectionLost
from trialogue.realtime.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.realtime.link import Link

__all__ = ["WireEar", "WireLog", "WireTap", "tapped"]


class WireTap(Protocol):
    """Is told what one session sends and receives, at once; it must not block."""

    def note(self, generation: int, direction: Literal[">", "<"], text: str) -> None:
        """A frame passes: `>` about to be sent, `<` received."""
        ...

    def lost(self, generation: int, error: ConnectionLost) -> None:
        """The peer has ended this connection, or it broke."""
        ...


class WireEar(Protocol):
    """What `wire_log` takes: it is asked for a tap by each session."""

    def tap(self, session_id: str) -> WireTap:
        """Return what the session of that id tells of its frames."""
        ...


@attrs.frozen
class WireLog:
    """Ask for every frame of a session in the log (`wire_log=WireLog()`).

    A record says the session, the connection, the direction (`>` sent, `<` received),
    the size in characters, and the frame with what is private left out: sound,
    pictures and keys always, and what anybody wrote or said unless `texts` is set.
    Its extras are `trialogue_session`, `trialogue_connection`, `trialogue_direction`,
    `trialogue_size` and `trialogue_time` (Trio's clock, seconds).

    Without a wire log nothing is looked at twice. With one, each frame is parsed once
    more, if its logger takes records of that level.

    Attributes:
        texts: show instructions, transcripts, arguments, outputs and messages too.
        logger: the logger's name.
        level: the records' level.
    """

    texts: bool = False
    logger: str = "trialogue.wire"
    level: int = logging.DEBUG

    def tap(self, session_id: str) -> WireTap:
        """Return what writes the log of one session; sessions call it."""
        return _LogTap(self, session_id)


@final
class _LogTap:
    """One session's wire log."""

    def __init__(self, wanted: WireLog, session_id: str) -> None:
        self._wanted = wanted
        self._session_id = session_id
        self._log = logging.getLogger(wanted.logger)

    def note(self, generation: int, direction: Literal[">", "<"], text: str) -> None:
        """Log one frame."""
        level = self._wanted.level
        if not self._log.isEnabledFor(level):
            return
        self._log.log(
            level,
            "[%s] connection %d %s %d %s",
            self._session_id,
            generation,
            direction,
            len(text),
            redacted(text, texts=self._wanted.texts),
            extra={
                "trialogue_session": self._session_id,
                "trialogue_connection": generation,
                "trialogue_direction": direction,
                "trialogue_size": len(text),
                "trialogue_time": trio.current_time(),
            },
        )

    def lost(self, generation: int, error: ConnectionLost) -> None:
        """Ends are told of by events, and by the session's own log."""


def tapped(link: Link, tap: WireTap, generation: int) -> Link:
    """Return the link, with an ear on it."""
    # It has what a connection uses of a link, and nothing else.
    return cast("Link", _TappedLink(link, tap, generation))


@final
class _TappedLink:
    """A link that tells of its frames as they pass."""

    def __init__(self, link: Link, tap: WireTap, generation: int) -> None:
        self._link = link
        self._tap = tap
        self._generation = generation

    async def send(self, *texts: str) -> None:
        for text in texts:
            self._tap.note(self._generation, ">", text)
        await self._link.send(*texts)

    async def receive_many(self) -> Sequence[str]:
        try:
            texts = await self._link.receive_many()
        except ConnectionLost as error:
            if not self._link.closed_here:
                self._tap.lost(self._generation, error)
            raise
        for text in texts:
            self._tap.note(self._generation, "<", text)
        return texts

    async def ping(self) -> None:
        await self._link.ping()
