"""A client of the local server by hand, over any stream; it knows no session."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialogue.testing import RealtimeServer

__all__ = ["KEY", "TARGET", "UPGRADE", "Client", "dial"]

UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Authorization: Bearer key\r\n\r\n"
)
TARGET = b"/v1/realtime?model=gpt-realtime"
KEY = [(b"authorization", b"Bearer key")]


class Client:
    """A client by hand: sends objects, reads objects."""

    def __init__(self, ws: WebSocketConnection) -> None:
        self.ws = ws

    async def send(self, kind: str, **fields: Any) -> None:
        await self.ws.send_message(json.dumps({"type": kind, **fields}))

    async def read(self) -> dict[str, Any]:
        with trio.fail_after(60):
            event: dict[str, Any] = json.loads(await self.ws.get_message())
        return event

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Read up to the first event of that type, which is the last returned."""
        events = [await self.read()]
        while events[-1]["type"] != kind:
            events.append(await self.read())
        return events

    async def update(self, **fields: Any) -> None:
        await self.send("session.update", session={"type": "realtime", **fields})


@asynccontextmanager
async def dial(
    server: RealtimeServer | None,
    resource: str = "/v1/realtime?model=gpt-realtime",
    stream: trio.abc.Stream | None = None,
) -> AsyncIterator[Client]:
    """Upgrade over a stream, by default one to the server in memory."""
    if stream is None:
        assert server is not None
        stream = await server.connect()
    own = stream
    async with own, trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery,
            own,  # type: ignore[arg-type]
            "localhost",
            resource,
            extra_headers=KEY,
            max_message_size=2**24,
        )
        yield Client(ws)
        with trio.move_on_after(5):
            await ws.aclose()
        nursery.cancel_scope.cancel()
