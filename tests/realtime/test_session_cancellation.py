"""Callers cancelled at random, over sockets that are full: the session is unharmed."""

from __future__ import annotations

import random
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trustme

from stage import until
from trialogue import (
    OpenAIRealtime,
    RealtimeSession,
    ServerError,
    SessionOptions,
    open_session,
)
from trialogue.realtime.dial import parse_url, tcp_connector
from trialogue.testing import Pace, RealtimeServer, Say, Settings, stall
from websocket_peer import SMALL_BUFFER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

CANCELLATIONS = 1000
SECONDS = 120
"""Of real time, for everything: many times what it takes."""

AUTHORITY = trustme.CA()
HASTE = Pace(think_ms=0, burst=1000, text_ms=0, rate_limits_ms=None)


class Narrow(trio.abc.Stream):
    """A stream whose send buffer is soon full; it knows whether a send is under way."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.sending = False
        below = (
            stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        )
        assert isinstance(below, trio.SocketStream)
        below.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sending = True
        await self.stream.send_all(data)
        self.sending = False

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


def model_of(server: RealtimeServer, dialled: list[Narrow]) -> OpenAIRealtime:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    target = parse_url(server.url)
    dial = tcp_connector(target, ssl_context=context if target.secure else None)

    async def connect() -> trio.abc.Stream:
        dialled.append(Narrow(await dial()))
        return dialled[-1]

    return OpenAIRealtime(
        api_key="any",
        base_url=server.url,
        connect=connect,
        options=SessionOptions(turn_detection=None),
    )


@attrs.define
class Callers:
    """What agents do to their session, by chance; and what they said into it."""

    session: RealtimeSession
    rng: random.Random
    pushed: bytearray = attrs.field(factory=bytearray)
    acts: int = 0

    async def agent(self) -> None:
        """Do one thing after the other until cancelled."""
        ways: tuple[Callable[[], Awaitable[Any]], ...] = (
            self.speak,
            self.ask,
            self.instruct,
            self.write,
            self.commit,
        )
        while True:
            self.acts += 1
            await self.rng.choice(ways)()

    async def speak(self) -> None:
        for _ in range(self.rng.randrange(4)):
            pcm = self.rng.randbytes(2 * self.rng.randrange(1200))
            self.session.push_audio(pcm)
            self.pushed += pcm
            await trio.lowlevel.checkpoint()

    async def ask(self) -> None:
        with_words = "x" * self.rng.randrange(3000)
        await self.session.generate_reply(instructions=with_words)

    async def instruct(self) -> None:
        words = "y" * self.rng.randrange(3000)
        await self.session.update_session(instructions=words)

    async def write(self) -> None:
        words = "z" * self.rng.randrange(1, 3000)
        edited = self.session.chat_ctx.truncate(4).add_message("user", words)
        await self.session.update_chat_ctx(edited)

    async def commit(self) -> None:
        with suppress(ServerError):  # there may be nothing to commit
            await self.session.commit_audio()


async def cancel_after_steps(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


def now_and_then(rng: random.Random) -> Callable[[Mapping[str, Any]], bool]:
    return lambda event: rng.random() < 0.01


@pytest.mark.behaviour("C11", "C12")
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
async def test_a_thousand_cancelled_callers_do_no_harm_to_their_session(
    secure: bool,
) -> None:
    """No frame is torn, no audio lost, nothing stays behind, and it goes on."""
    rng = random.Random(20)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    stalls = [
        stall(after=kind, seconds=0.01, nth=None, match=now_and_then(rng))
        for kind in ("input_audio_buffer.append", "session.update")
    ]
    server = RealtimeServer(
        lambda turn: Say("Yes.", ms=40),
        settings=Settings(pace=HASTE),
        faults=stalls,
    )
    dialled: list[Narrow] = []
    cut_in = 0
    with trio.fail_after(SECONDS):
        async with server.serving():
            await server.listen(
                ssl_context=context if secure else None, receive_buffer=SMALL_BUFFER
            )
            async with open_session(model_of(server, dialled)) as session:
                callers = Callers(session, rng)
                for _ in range(CANCELLATIONS):
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(
                                cancel_after_steps,
                                scope,
                                rng.randrange(rng.choice((5, 20, 20, 100))),
                            )
                            for _ in range(2):
                                nursery.start_soon(callers.agent)
                    cut_in += dialled[0].sending
                [connection] = server.connections
                await until(lambda: not any(session.open_work.values()))
                await until(lambda: len(connection.audio) == len(callers.pushed))
                reply = await session.generate_reply(instructions="Are you there?")
                assert reply.outcome == "completed"
                assert connection.audio == bytes(callers.pushed)
    assert server.protocol_errors == []
    assert server.connections == [connection]
    assert connection.close_code == 1000
    assert callers.acts > CANCELLATIONS
    assert cut_in > CANCELLATIONS / 20, "hardly a frame was under way"
