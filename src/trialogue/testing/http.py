"""The local server's end of a plain HTTP request, over any Trio stream."""

from __future__ import annotations

from typing import Any, Final

import attrs
import h11
import trio

from trialogue._codec import dumps

__all__ = ["Posted", "read_post"]

_MAX_BODY: Final = 2**20
_CHUNK: Final = 65536


@attrs.define(eq=False)
class Posted:
    """A POST request that waits for its answer.

    Attributes:
        target: path and query.
        headers: as they came.
        body: all of it.
    """

    target: str
    headers: list[tuple[bytes, bytes]] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    _stream: trio.abc.Stream
    _http: h11.Connection

    async def answer(self, status: int, content: dict[str, Any]) -> None:
        """Answer with JSON; the connection is over then."""
        body = dumps(content).encode()
        head = h11.Response(
            status_code=status,
            headers=[
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
            ],
        )
        await self._stream.send_all(
            (self._http.send(head) or b"")
            + (self._http.send(h11.Data(data=body)) or b"")
            + (self._http.send(h11.EndOfMessage()) or b"")
        )


async def read_post(stream: trio.abc.Stream, received: bytes) -> Posted | None:
    """Read a POST request whose beginning was received; None if it is none."""
    http = h11.Connection(h11.SERVER)
    http.receive_data(received)
    request, body = None, bytearray()
    try:
        while True:
            event = http.next_event()
            match event:
                case h11.NEED_DATA:
                    http.receive_data(bytes(await stream.receive_some(_CHUNK)))
                case h11.Request():
                    request = event
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage() if request is not None:
                    target = request.target.decode("latin-1")
                    headers = [(bytes(k), bytes(v)) for k, v in request.headers]
                    return Posted(target, headers, bytes(body), stream, http)
                case _:
                    return None
            if len(body) > _MAX_BODY:
                return None
    except (h11.RemoteProtocolError, trio.BrokenResourceError):
        return None
