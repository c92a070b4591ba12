"""What stands between our client and a server whose protocol has a hole."""

from __future__ import annotations

import json
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
    serve_websocket,
)

from interop.seen import Frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Relay"]


class Relay:
    """Passes frames on, notes them, and adds the metadata that the server forgets.

    The real server echoes the `metadata` of a `response.create` in the response. Our
    client knows its responses by it, as LiveKit's does: without it, it cannot tell
    which of two is which. A server without it can serve one response at a time.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.frames: list[Frame] = []
        self.repaired = 0
        """How many responses lacked their metadata."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Relay while the block runs; gives the address to dial instead."""
        serve = partial(
            serve_websocket, self._connected, "127.0.0.1", 0, ssl_context=None
        )
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve)
            yield f"ws://127.0.0.1:{server.port}/v1/realtime"
            nursery.cancel_scope.cancel()

    async def _connected(self, request: WebSocketRequest) -> None:
        near = await request.accept()
        query = request.path.partition("?")[2]
        asked: deque[Any] = deque()
        async with (
            open_websocket_url(f"{self.url}?{query}") as far,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._to_server, near, far, asked)
            await self._to_client(far, near, asked)
            nursery.cancel_scope.cancel()

    async def _to_server(
        self, near: WebSocketConnection, far: WebSocketConnection, asked: deque[Any]
    ) -> None:
        try:
            while True:
                event = json.loads(await near.get_message())
                if event["type"] == "response.create":
                    asked.append((event.get("response") or {}).get("metadata"))
                self.frames.append(Frame(0, True, event))
                await far.send_message(json.dumps(event))
        except ConnectionClosed:
            await far.aclose()

    async def _to_client(
        self, far: WebSocketConnection, near: WebSocketConnection, asked: deque[Any]
    ) -> None:
        running: dict[str, Any] = {}
        try:
            while True:
                event = json.loads(await far.get_message())
                self._repair(event, asked, running)
                self.frames.append(Frame(0, False, event))
                await near.send_message(json.dumps(event))
        except ConnectionClosed:
            await near.aclose()

    def _repair(
        self, event: dict[str, Any], asked: deque[Any], running: dict[str, Any]
    ) -> None:
        if event["type"] not in ("response.created", "response.done"):
            return
        response = event["response"]
        if event["type"] == "response.created":
            running[response["id"]] = asked.popleft()
            self.repaired += "metadata" not in response
        if "metadata" not in response:
            response["metadata"] = running[response["id"]]
