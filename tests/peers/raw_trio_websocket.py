"""trio-websocket, tuned as a plain install of trialogue tunes it, orjson, by hand."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from trio_websocket import open_websocket_url

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from peers import trio_loop
from peers.by_hand import stage_of
from peers.driving import main, versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUEUE = 256


class Wire:
    """A WebSocket of trio-websocket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def send(self, event: dict[str, Any]) -> None:
        await self._socket.send_message(orjson.dumps(event).decode())

    async def receive(self) -> Any:
        return orjson.loads(await self._socket.get_message())


@asynccontextmanager
async def dial(url: str) -> AsyncIterator[Wire]:
    tuned: Any = {"message_queue_size": QUEUE, "receive_buffer_size": None}
    async with open_websocket_url(f"{url}?model=gpt-realtime", **tuned) as socket:
        yield Wire(socket)


if __name__ == "__main__":
    main(
        stage_of(trio_loop, dial), lambda: versions("trio", "trio-websocket", "orjson")
    )
