"""Cancellation at any moment: no torn frame, no hang, no stream left open."""

from __future__ import annotations

import gc
import random
import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
import trustme
from wsproto.events import AcceptConnection, CloseConnection, TextMessage

from trialogue.errors import ConnectionLost
from trialogue.realtime.dial import Target, tcp_connector
from trialogue.realtime.link import Link, open_link
from websocket_peer import SMALL_BUFFER, Line, Peer, Script, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.usefixtures("each_engine")

# --- over sockets with small buffers, to a peer that reads haltingly --------------


class Secrets:
    """One certificate authority for this module: making keys takes a while."""

    authority = trustme.CA()
    client = ssl.create_default_context()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(client)
    authority.issue_cert("127.0.0.1").configure_cert(server)


def connector(port: int, *, secure: bool) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """Dial with a send buffer that is soon full."""
    target = Target(host="127.0.0.1", port=port, resource="/", secure=secure)
    dial = tcp_connector(target, ssl_context=Secrets.client if secure else None)

    async def connect() -> trio.abc.Stream:
        stream = await dial()
        below = (
            stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        )
        assert isinstance(below, trio.SocketStream)
        below.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        return stream

    return connect


async def read_haltingly(peer: Peer, *, seed: int) -> None:
    """Read to the end, with a stall now and then that lets the buffers fill."""
    rng = random.Random(seed)
    await peer.accept()
    while (event := await peer.event()) is not None:
        if isinstance(event, CloseConnection):
            await peer.send(event.response())
        elif rng.random() < 0.05:
            await trio.sleep(0.002)


async def cancel_after_steps(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


class Outbox:
    """As a connection has it: callers queue, one writer sends, leaving drains."""

    def __init__(self) -> None:
        self.queued: list[str] = []
        self._in, self._out = trio.open_memory_channel[str](2)
        self._drained = trio.Event()

    async def put(self, text: str) -> None:
        await self._in.send(text)
        self.queued.append(text)

    async def writer(self, link: Link) -> None:
        async for text in self._out:
            await link.send(text)
        self._drained.set()

    async def drain(self) -> None:
        self._in.close()
        await self._drained.wait()


def frame(number: int) -> str:
    return f"{number:06}" + "x" * 1400


@pytest.mark.behaviour("C11", "C12")
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
async def test_a_thousand_cancelled_callers_tear_no_frame(secure: bool) -> None:
    """Fault a: what was queued arrives whole and in order, whoever was cancelled."""
    rng = random.Random(20)
    outbox = Outbox()
    server = partial(read_haltingly, seed=1)
    context = Secrets.server if secure else None
    with trio.fail_after(60):
        async with serving(server, ssl_context=context) as (port, peers):
            async with open_link(
                connector(port, secure=secure),
                host="127.0.0.1",
                resource="/",
                connect_timeout=10,
                close_timeout=10,
                drain=outbox.drain,
            ) as (link, service):
                service.start_soon(outbox.writer, link)
                for _ in range(1000):
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as agent:
                            agent.start_soon(
                                cancel_after_steps, scope, rng.randrange(30)
                            )
                            while True:
                                await outbox.put(frame(len(outbox.queued)))
            [peer] = peers
            assert peer.protocol_error is None
            assert peer.texts == outbox.queued
            assert peer.close_code == 1000
            assert len(peer.texts) > 500


@pytest.mark.behaviour("C11", "C6")
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
async def test_program_cancelled_at_any_moment_delivers_and_says_goodbye(
    secure: bool,
) -> None:
    context = Secrets.server if secure else None
    with trio.fail_after(60):
        for seed in range(40):
            rng = random.Random(seed)
            outbox = Outbox()
            server = partial(read_haltingly, seed=seed)
            async with serving(server, ssl_context=context) as (port, peers):
                with trio.CancelScope() as scope:
                    async with (
                        open_link(
                            connector(port, secure=secure),
                            host="127.0.0.1",
                            resource="/",
                            connect_timeout=10,
                            close_timeout=10,
                            drain=outbox.drain,
                        ) as (link, service),
                        trio.open_nursery() as program,
                    ):
                        service.start_soon(outbox.writer, link)
                        program.start_soon(
                            cancel_after_steps, scope, rng.randrange(150)
                        )
                        while True:
                            await outbox.put(frame(len(outbox.queued)))
                assert scope.cancelled_caught
                [peer] = peers
                assert peer.protocol_error is None
                assert peer.texts == outbox.queued
                assert peer.close_code == 1000


@pytest.mark.behaviour("C11")
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
async def test_after_a_cut_frame_nothing_more_is_sent(secure: bool) -> None:
    """A cancelled writer breaks its connection; the peer reads no wrong message."""
    may_read, has_read = trio.Event(), trio.Event()

    async def read_later(peer: Peer) -> None:
        await peer.accept()
        await may_read.wait()
        while await peer.event() is not None:
            pass
        has_read.set()

    context = Secrets.server if secure else None
    with trio.fail_after(60):
        async with serving(read_later, ssl_context=context) as (port, peers):
            sent = 0
            async with open_link(
                connector(port, secure=secure),
                host="127.0.0.1",
                resource="/",
                connect_timeout=10,
                close_timeout=1,
            ) as (link, _):
                with trio.move_on_after(0.2):
                    while True:
                        await link.send(frame(sent))
                        sent += 1
                may_read.set()
                with pytest.raises(ConnectionLost):
                    await link.send("next")
                with pytest.raises(ConnectionLost):
                    await link.ping()
            [peer] = peers
            await has_read.wait()
            assert peer.protocol_error is None
            assert peer.texts == [frame(number) for number in range(sent)]
            assert peer.close_code is None


# --- at every task step, and with the peer gone after every byte ------------------


class CancelAtStep(trio.abc.Instrument):
    """Cancel a scope before the n-th task step that follows the scope's entry."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.scope: trio.CancelScope | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is not None:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


CLOSE_TIMEOUT = 2.0


async def converse(line: Line) -> None:
    """Open, send, receive, ping and leave, with a reader and a writer as services."""
    outbox = Outbox()
    heard, inbox = trio.open_memory_channel[str](10)

    async def reader(link: Link) -> None:
        try:
            while True:
                heard.send_nowait(await link.receive())
        except ConnectionLost:
            heard.close()

    async def writer(link: Link) -> None:
        with suppress(ConnectionLost):
            await outbox.writer(link)

    async with open_link(
        line.connect,
        host="peer.test",
        resource="/",
        connect_timeout=10,
        close_timeout=CLOSE_TIMEOUT,
        drain=outbox.drain,
    ) as (link, service):
        service.start_soon(reader, link)
        service.start_soon(writer, link)
        await outbox.put("first")
        await outbox.put("second")
        with trio.move_on_after(1):
            await link.ping()
        with trio.move_on_after(1):
            async for _ in inbox:
                pass


async def behave(peer: Peer) -> None:
    await peer.accept()
    await peer.echo_forever()


async def fall_silent(peer: Peer) -> None:
    await peer.accept()
    await peer.stay()


async def close_and_stay(peer: Peer) -> None:
    await peer.accept()
    await peer.say("goodbye")
    await peer.close(1001)
    await peer.stay()


async def refuse(peer: Peer) -> None:
    await peer.refuse(503)
    await peer.stay()


async def swept(script: Script, canceller: CancelAtStep, *, lockstep: bool) -> None:
    line = Line(lockstep=lockstep)
    ended_at = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forgiving, script, line.peer)
        with trio.CancelScope() as scope:
            canceller.scope = scope
            with suppress(ConnectionLost):
                await converse(line)
        canceller.scope = None
        ended_at = trio.current_time()
        nursery.cancel_scope.cancel()
    assert not line.handed_over or await line.is_closed()
    assert line.peer.protocol_error is None
    assert ended_at <= 2 + 10 + CLOSE_TIMEOUT + 0.01


async def forgiving(script: Script, peer: Peer) -> None:
    # The link may go away before the script is over.
    with suppress(trio.BrokenResourceError, AssertionError):
        await script(peer)


@pytest.mark.behaviour("C6", "C11")
@pytest.mark.parametrize("lockstep", [False, True], ids=["buffered", "lockstep"])
@pytest.mark.parametrize("script", [behave, fall_silent, close_and_stay, refuse])
def test_cancelled_at_any_step_it_leaves_in_time_and_closes_the_stream(
    script: Script, lockstep: bool
) -> None:
    for step in range(1, 400):
        canceller = CancelAtStep(step)
        trio.run(
            partial(swept, script, canceller, lockstep=lockstep),
            clock=trio.testing.MockClock(autojump_threshold=0),
            instruments=[canceller],
        )
        if canceller.left > 20:  # runs differ by a few steps
            break
    else:
        pytest.fail("the sweep did not reach the end of the conversation")
    gc.collect()


@pytest.mark.behaviour("C6")
def test_peer_gone_after_any_byte_is_a_lost_connection() -> None:
    async def run(length: int) -> int:
        line = Line()
        answer = b""

        async def cut_off(peer: Peer) -> None:
            nonlocal answer
            await peer.event()
            answer = peer.wire.send(AcceptConnection())
            answer += peer.wire.send(TextMessage(data="hello " * 30))
            answer += peer.wire.send(CloseConnection(code=1001))
            await peer.stream.send_all(answer[:length])
            await peer.stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_off, line.peer)
            with pytest.raises(ConnectionLost):  # noqa: PT012 - a block
                async with open_link(
                    line.connect,
                    host="peer.test",
                    resource="/",
                    connect_timeout=10,
                    close_timeout=2,
                ) as (link, _):
                    assert await link.receive() == "hello " * 30
                    await link.receive()
        assert await line.is_closed()
        assert trio.current_time() == 0
        return len(answer)

    length = total = 0
    while length <= total:
        clock = trio.testing.MockClock(autojump_threshold=0)
        total = trio.run(run, length, clock=clock)
        length += 1
    assert total > 200
    gc.collect()
