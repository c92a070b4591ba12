"""The floor: asyncio, `websockets`, orjson, the standard library's Base64, by hand."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from websockets.asyncio.client import connect

# Last: the folders of the tests are named like other packages.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from peers import asyncio_loop
from peers.by_hand import stage_of
from peers.driving import main, versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Wire:
    """A WebSocket of `websockets.asyncio`."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def send(self, event: dict[str, Any]) -> None:
        await self._socket.send(orjson.dumps(event), text=True)

    async def receive(self) -> Any:
        return orjson.loads(await self._socket.recv(decode=False))


@asynccontextmanager
async def dial(url: str) -> AsyncIterator[Wire]:
    async with connect(f"{url}?model=gpt-realtime", compression=None) as socket:
        yield Wire(socket)


if __name__ == "__main__":
    main(stage_of(asyncio_loop, dial), lambda: versions("websockets", "orjson"))
