"""Streams between a client and the local server that jam, or spoil what they carry."""

from __future__ import annotations

import re

import trio

__all__ = ["Garbling", "Jammed"]


class _Between(trio.abc.Stream):
    """Hands everything on."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class Garbling(_Between):
    """Spoils the JSON of certain events on their way to the client."""

    def __init__(self, stream: trio.abc.Stream, kind: str) -> None:
        super().__init__(stream)
        self._head = re.compile(rb'\{("type": ?"' + re.escape(kind.encode()) + rb'")')

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return self._head.sub(rb"[\1", await self._stream.receive_some(max_bytes))


class Jammed(_Between):
    """Takes nothing while there is no room, like a socket whose peer does not read."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self._room = trio.Event()
        self._room.set()

    def jam(self) -> None:
        """There is no room from now on."""
        self._room = trio.Event()

    def free(self) -> None:
        """There is room again."""
        self._room.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._room.wait()
        await self._stream.send_all(data)
