"""Faults that are about sockets, over real ones and in real time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from by_hand import DOOR, TARGET, UPGRADE, Client, dialled
from trialogue import ConnectionLost, OpenAIRealtime, open_session
from trialogue.realtime.connection import Timing
from trialogue.testing import (
    RealtimeServer,
    half_open,
    slow_accept,
    stall,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SMALL = 4096
QUIET = 0.4


@asynccontextmanager
async def over_tcp(*faults: Any) -> AsyncIterator[RealtimeServer]:
    """A server whose buffers are small, so that it is felt when it does not read."""
    with trio.fail_after(30):
        async with RealtimeServer(faults=faults).serving() as server:
            await server.listen(receive_buffer=SMALL)
            yield server


async def connect(server: RealtimeServer) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, SMALL)
    return stream


@asynccontextmanager
async def greeted(server: RealtimeServer) -> AsyncIterator[Client]:
    async with dialled(server, DOOR, await connect(server)) as client:
        assert (await client.read())["type"] == "session.created"
        yield client


async def test_a_half_open_socket_takes_bytes_and_gives_none() -> None:
    """No end of the stream, no pong, no room once the buffers are full."""
    async with over_tcp(half_open(after="session.updated")) as server:
        stream = await connect(server)
        async with dialled(server, DOOR, stream) as client:
            await client.read()
            await client.update()
            await client.until("session.updated")
            with trio.move_on_after(QUIET) as pinging:
                await client.ws.ping()
            assert pinging.cancelled_caught
            with trio.move_on_after(QUIET) as writing:
                while True:
                    await stream.send_all(bytes(65536))
            assert writing.cancelled_caught
            assert client.ws.closed is None
            assert len(server.live) == 1
            await trio.aclose_forcefully(stream)
        await trio.sleep(QUIET)
        assert len(server.live) == 1  # its end is not noticed


async def test_a_server_that_does_not_read_blocks_its_client_for_so_long() -> None:
    async with (
        over_tcp(stall(after="session.update", seconds=QUIET)) as server,
        greeted(server) as client,
    ):
        await client.update()
        await client.until("session.updated")
        begin = server.connections[0].find("session.updated")[0].time
        # More than Linux takes into any of the two buffers.
        await client.ws.send_message("x" * 4_000_000)
        assert trio.current_time() - begin >= QUIET
        assert (await client.read())["error"]["code"] is not None
        assert trio.current_time() - begin >= QUIET


async def test_a_server_that_does_not_write_answers_later() -> None:
    fault = stall(after="session.updated", seconds=QUIET, side="writes")
    async with over_tcp(fault) as server, greeted(server) as client:
        await client.update()
        await client.until("session.updated")
        begin = server.connections[0].find("session.updated")[0].time
        await client.update()
        await client.until("session.updated")
        assert trio.current_time() - begin >= QUIET


async def test_a_slow_accept_is_slow_in_the_upgrade_and_not_before() -> None:
    async with over_tcp(slow_accept(QUIET)) as server:
        begin = trio.current_time()
        async with await connect(server) as stream:
            await stream.send_all(UPGRADE % TARGET)
            answer, pieces = b"", 0
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive_some()
                pieces += 1
            assert trio.current_time() - begin >= QUIET
            assert pieces > 10


@pytest.mark.parametrize("gone", [half_open(after="response.create"), None])
async def test_our_session_leaves_a_socket_that_is_dead(gone: Any) -> None:
    """By its own deadlines: the socket says nothing of it."""
    faults = [gone] if gone is not None else [slow_accept(60, 100)]
    timing = Timing(connect=0.3, reply_start=0.3, pong=0.3, ping_every=0.2, close=0.3)
    async with over_tcp(*faults) as server:
        model = OpenAIRealtime(api_key="key", base_url=server.url)
        if gone is None:
            with pytest.raises(ConnectionLost, match="no first event in time"):
                async with open_session(model, timing=timing):
                    pass
            return
        async with open_session(model, timing=timing) as session:
            outcomes = [(await session.generate_reply()).outcome for _ in range(2)]
            assert outcomes[-1] == "completed"
            assert len(server.connections) == 2
