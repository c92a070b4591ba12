"""The wire log: every frame of a session, redacted, for whoever asks for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, cast, final

import attrs
import trio

from trialogue.realtime.redaction import redacted

if TYPE_CHECKING:
    from trialogue.realtime.link import Link

__all__ = ["WireLog", "WireTap"]


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


@final
class WireTap:
    """One session's wire log; it puts itself around each of its links."""

    def __init__(self, wanted: WireLog, session_id: str) -> None:
        self._wanted = wanted
        self._session_id = session_id
        self._log = logging.getLogger(wanted.logger)

    def around(self, link: Link, generation: int) -> Link:
        """Return the link, with an ear on it."""
        # It has what a connection uses of a link, and nothing else.
        return cast("Link", _TappedLink(link, self, generation))

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


@final
class _TappedLink:
    """A link whose frames are logged as they pass."""

    def __init__(self, link: Link, tap: WireTap, generation: int) -> None:
        self._link = link
        self._tap = tap
        self._generation = generation

    async def send(self, text: str) -> None:
        self._tap.note(self._generation, ">", text)
        await self._link.send(text)

    async def receive(self) -> str:
        text = await self._link.receive()
        self._tap.note(self._generation, "<", text)
        return text

    async def ping(self) -> None:
        await self._link.ping()
