"""The local server's own log of every frame, with its own stamps, read over TCP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from trialogue._codec import loads
from trialogue.errors import ConnectionLost
from trialogue.realtime.dial import parse_url, tcp_connector
from trialogue.realtime.link import open_link

__all__ = ["Stamped", "makes_call", "read_log"]

_PATH: Final = "/debug/log"
_SECONDS: Final = 30.0


@attrs.frozen
class Stamped:
    """One frame as the server saw it.

    Attributes:
        connection: the server's number of the connection.
        time: seconds on the server's clock: when a frame from the client had reached
            the server's logic, or when an answer left it. The way there, and the way
            back, are outside.
        incoming: from the client, or else to it.
        event: the JSON object.
        lost: a fault withheld it.
    """

    connection: int
    time: float
    incoming: bool
    event: Mapping[str, Any] = attrs.field(repr=False)
    lost: bool = False

    @property
    def type(self) -> str:
        """The type of the event."""
        return str(self.event.get("type", ""))

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Stamped:
        """Read a line of the log."""
        return cls(
            entry["connection"],
            entry["time"],
            entry["direction"] == "in",
            entry["event"],
            bool(entry["note"]),
        )


async def read_log(url: str) -> list[Stamped]:
    """Fetch every frame of every connection, in the order of their stamps.

    Args:
        url: the address of the server, with any path and query.

    Raises:
        ConnectionLost: the server is gone, or sends no log within half a minute.
    """
    target = parse_url(url)
    lines: list[str] = []
    with trio.move_on_after(_SECONDS) as patience:
        async with open_link(
            tcp_connector(target),
            host=target.authority,
            resource=_PATH,
            connect_timeout=_SECONDS,
            close_timeout=1.0,
        ) as (link, _):
            try:
                while True:
                    lines.append(await link.receive())
            except ConnectionLost:
                if link.close_code != 1000:
                    raise
    if patience.cancelled_caught:
        raise ConnectionLost(f"the local server sent no log within {_SECONDS:g} s")
    return sorted(
        (Stamped.of(loads(line)) for line in lines), key=lambda entry: entry.time
    )


def makes_call(event: Mapping[str, Any]) -> bool:
    """Whether this event ends a response that calls a function."""
    if event.get("type") != "response.done":
        return False
    output = event["response"].get("output") or ()
    return any(item.get("type") == "function_call" for item in output)
