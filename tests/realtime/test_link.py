"""The link over memory streams, in virtual time: every cure, every way out."""

from __future__ import annotations

import gc
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    TextMessage,
)

from trialogue.errors import ConfigurationError, ConnectionLost, ConnectRefused
from trialogue.realtime.link import Link, open_link
from websocket_peer import Line, Peer, playing

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("each_engine")

CLOSE_TIMEOUT = 2.0
CONNECT_TIMEOUT = 10.0
SECRET = "sk-not-for-the-log"


def opened(
    line: Line, **options: Any
) -> AbstractAsyncContextManager[tuple[Link, trio.Nursery]]:
    options.setdefault("connect_timeout", CONNECT_TIMEOUT)
    options.setdefault("close_timeout", CLOSE_TIMEOUT)
    options.setdefault("headers", [("Authorization", f"Bearer {SECRET}")])
    return open_link(line.connect, host="peer.test", resource="/v1?x=1", **options)


async def behave(peer: Peer) -> None:
    await peer.accept()
    await peer.echo_forever()


async def fall_silent(peer: Peer) -> None:
    """Accept, then answer nothing, not even a Close; but do not hang up either."""
    await peer.accept()
    await peer.stay()


# --- what it carries -------------------------------------------------------------


async def test_text_goes_both_ways_in_order(autojump_clock: MockClock) -> None:
    async with playing(behave) as line:
        async with opened(line) as (link, _):
            for number in range(20):
                await link.send(f"message {number}")
            heard = [await link.receive() for _ in range(20)]
        assert heard == [f"message {number}" for number in range(20)]
        assert line.peer.headers[b"authorization"] == f"Bearer {SECRET}".encode()
        assert await line.is_closed()


async def test_ping_returns_when_the_pong_is_read(autojump_clock: MockClock) -> None:
    async def answer_after_a_second(peer: Peer) -> None:
        await peer.accept()
        ping = await peer.event()
        assert isinstance(ping, Ping)
        await trio.sleep(1)
        await peer.send(ping.response())
        await peer.read_to_end()

    async with playing(answer_after_a_second) as line, opened(line) as (link, _):
        start = trio.current_time()
        await link.ping()
        assert trio.current_time() - start == pytest.approx(1)


async def test_a_binary_message_is_taken_for_text(autojump_clock: MockClock) -> None:
    async def say_bytes(peer: Peer) -> None:
        await peer.accept()
        await peer.send(BytesMessage(data="fünf".encode()), BytesMessage(data=b"\xff"))
        await peer.read_to_end()

    async with playing(say_bytes) as line, opened(line) as (link, _):
        assert await link.receive() == "fünf"
        assert await link.receive() == "\N{REPLACEMENT CHARACTER}"


async def test_cancelled_receive_loses_no_message(autojump_clock: MockClock) -> None:
    async def say_many(peer: Peer) -> None:
        await peer.accept()
        for number in range(300):
            await peer.say(str(number))
            if number % 3 == 0:
                await trio.sleep(0.01)
        await peer.read_to_end()

    heard: list[str] = []
    async with playing(say_many) as line, opened(line) as (link, _):
        while len(heard) < 300:
            with trio.move_on_after(0.001):
                while True:
                    heard.append(await link.receive())
    assert heard == [str(number) for number in range(300)]


async def test_what_came_before_the_close_is_still_read(
    autojump_clock: MockClock,
) -> None:
    """An error event followed at once by Close and end of stream is not lost."""

    async def say_and_go(peer: Peer) -> None:
        await peer.event()
        await peer.send(
            AcceptConnection(),
            TextMessage(data="your key is wrong"),
            CloseConnection(code=3000, reason="invalid_api_key"),
        )
        await peer.stream.aclose()

    for _ in range(20):  # the scheduler shuffles
        async with playing(say_and_go) as line, opened(line) as (link, _):
            assert await link.receive() == "your key is wrong"
            with pytest.raises(
                ConnectionLost, match=r"3000.*invalid_api_key"
            ) as caught:
                await link.receive()
            assert (caught.value.code, caught.value.reason) == (3000, "invalid_api_key")
            assert (link.close_code, link.close_reason) == (3000, "invalid_api_key")


# --- leaving ---------------------------------------------------------------------


@pytest.mark.behaviour("C6")
@pytest.mark.parametrize("way", ["return", "raise", "cancel"])
async def test_leaving_takes_the_close_timeout_when_the_close_is_not_answered(
    autojump_clock: MockClock, way: str
) -> None:
    async with playing(fall_silent) as line:
        start = trio.current_time()
        with trio.CancelScope() as scope:
            try:
                async with opened(line):
                    if way == "raise":
                        raise LookupError
                    if way == "cancel":
                        scope.cancel()
                        await trio.sleep_forever()
            except LookupError:
                assert way == "raise"
        assert trio.current_time() - start == pytest.approx(CLOSE_TIMEOUT)
        assert await line.is_closed()


@pytest.mark.behaviour("C6")
async def test_peer_that_closes_but_keeps_the_stream_open_does_not_hold_us(
    autojump_clock: MockClock,
) -> None:
    """Fault b: trio-websocket alone never returns here."""

    async def close_and_stay(peer: Peer) -> None:
        await peer.accept()
        await peer.close(1001, "going away")
        await peer.stay()

    async with playing(close_and_stay) as line:
        start = trio.current_time()
        async with opened(line) as (link, _):
            with pytest.raises(ConnectionLost, match="1001: going away"):
                await link.receive()
            with pytest.raises(ConnectionLost):
                await link.send("too late")
            with pytest.raises(ConnectionLost):
                await link.ping()
        assert trio.current_time() - start <= CLOSE_TIMEOUT
        assert await line.is_closed()
        with pytest.raises(ConnectionLost, match="1001: going away"):
            await link.receive()


@pytest.mark.behaviour("C6")
async def test_cancelled_program_says_goodbye(autojump_clock: MockClock) -> None:
    """Fault e: the peer gets a Close frame with 1000, and everything sent before it."""
    async with playing(behave) as line:
        with trio.CancelScope() as scope:
            async with opened(line) as (link, _):
                await link.send("last words")
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert line.peer.texts == ["last words"]
        assert line.peer.close_code == 1000
        assert await line.is_closed()


@pytest.mark.behaviour("C6")
async def test_services_outlive_the_cancel_until_the_outbox_is_drained(
    autojump_clock: MockClock,
) -> None:
    to_send, outbox = trio.open_memory_channel[str](10)
    drained = trio.Event()

    async def writer(link: Link) -> None:
        async for text in outbox:
            await trio.sleep(0.1)
            await link.send(text)
        drained.set()

    async def drain() -> None:
        to_send.close()
        await drained.wait()

    async with playing(behave) as line:
        start = trio.current_time()
        with trio.CancelScope() as scope:
            async with opened(line, drain=drain) as (link, service):
                service.start_soon(writer, link)
                for number in range(10):
                    to_send.send_nowait(str(number))
                scope.cancel()
                await trio.sleep_forever()
        assert line.peer.texts == [str(number) for number in range(10)]
        assert line.peer.close_code == 1000
        assert trio.current_time() - start == pytest.approx(1)


@pytest.mark.behaviour("C6")
async def test_drain_and_close_share_one_allowance(autojump_clock: MockClock) -> None:
    async def drain() -> None:
        await trio.sleep(0.75 * CLOSE_TIMEOUT)

    async with playing(fall_silent) as line:
        start = trio.current_time()
        async with opened(line, drain=drain):
            pass
        assert trio.current_time() - start == pytest.approx(CLOSE_TIMEOUT)
        await line.peer.event()
        assert line.peer.close_code == 1000


@pytest.mark.behaviour("C6")
async def test_stalled_peer_holds_drain_only_for_the_allowance(
    autojump_clock: MockClock,
) -> None:
    sent = trio.Event()

    async def writer(link: Link) -> None:
        with pytest.raises(ConnectionLost):
            await link.send("x" * 1000)
        sent.set()

    async with playing(fall_silent, lockstep=True) as line:
        start = trio.current_time()
        async with opened(line, drain=sent.wait) as (link, service):
            service.start_soon(writer, link)
        assert trio.current_time() - start == pytest.approx(CLOSE_TIMEOUT)
        assert await line.is_closed()


async def test_connection_lost_while_draining_is_no_error(
    autojump_clock: MockClock,
) -> None:
    """Leaving is quiet: whoever queued has been told, or has left."""

    async def drain() -> None:
        await link.send("last words")

    async def close_and_stay(peer: Peer) -> None:
        await peer.accept()
        await peer.close()
        await peer.stay()

    async with playing(close_and_stay) as line, opened(line, drain=drain) as (link, _):
        await trio.testing.wait_all_tasks_blocked()


async def test_nothing_is_waited_for_when_the_connection_is_gone(
    autojump_clock: MockClock,
) -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    async with playing(hang_up) as line:
        start = trio.current_time()
        async with opened(line, drain=trio.sleep_forever) as (link, _):
            with pytest.raises(ConnectionLost, match="without a close frame") as caught:
                await link.receive()
            assert caught.value.code is None
        assert trio.current_time() == start
        assert await line.is_closed()


async def test_ping_that_crosses_our_close_does_no_harm(
    autojump_clock: MockClock,
) -> None:
    """trio-websocket's reader dies of it: the peer still got our Close, we just go."""

    async def ping_after_close(peer: Peer) -> None:
        await peer.accept()
        assert isinstance(await peer.event(), CloseConnection)
        await peer.stream.send_all(b"\x89\x00")
        await peer.stay()

    async with playing(ping_after_close) as line:
        start = trio.current_time()
        async with opened(line):
            pass
        assert line.peer.close_code == 1000
        assert trio.current_time() - start <= CLOSE_TIMEOUT
        assert await line.is_closed()


# --- a peer that breaks the rules ------------------------------------------------


@pytest.mark.behaviour("C6")
@pytest.mark.parametrize(
    "frame",
    [b"\xf1\x01x", b"\x83\x00", b"\x81\x02\xc3\x28", b"\x88\x01\x03", b"\x80\x00"],
    ids=["reserved bits", "unknown opcode", "not UTF-8", "bad close", "continuation"],
)
async def test_invalid_frame_ends_the_link_and_leaving_is_bounded(
    autojump_clock: MockClock, frame: bytes
) -> None:
    """Fault g."""

    async def break_the_rules(peer: Peer) -> None:
        await peer.accept()
        await peer.say("fine so far")
        await peer.stream.send_all(frame)
        await peer.stay()

    async with playing(break_the_rules) as line:
        start = trio.current_time()
        async with opened(line) as (link, _):
            assert await link.receive() == "fine so far"
            with pytest.raises(ConnectionLost):
                await link.receive()
            with pytest.raises(ConnectionLost):
                await link.send("no")
        assert trio.current_time() - start <= CLOSE_TIMEOUT
        assert await line.is_closed()


async def test_stream_that_fails_in_a_way_of_its_own_is_a_lost_connection(
    autojump_clock: MockClock,
) -> None:
    """A tunnel may raise what trio-websocket does not expect; its reader dies of it."""

    class Tunnel(trio.abc.Stream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await line.stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await line.stream.wait_send_all_might_not_block()

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            data = await line.stream.receive_some(max_bytes)
            if b"poison" in data:
                raise OSError("the tunnel caved in")
            return data

        async def aclose(self) -> None:
            await line.stream.aclose()

    async def dig() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Tunnel()

    async def poison(peer: Peer) -> None:
        await peer.accept()
        await peer.event()
        await peer.say("poison")
        await peer.stay()

    async with playing(poison) as line:
        start = trio.current_time()
        async with open_link(
            dig, host="peer.test", resource="/", connect_timeout=10, close_timeout=2
        ) as (link, _):
            await link.send("go")
            for use in (link.receive(), link.send("more"), link.ping()):
                with pytest.raises(ConnectionLost) as caught:
                    await use
                assert isinstance(caught.value.__cause__, OSError)
            assert "closed" in repr(link)
        assert trio.current_time() == start
        assert await line.is_closed()


@pytest.mark.behaviour("X3")
async def test_message_over_the_limit_is_a_typed_error_and_leaks_nothing(
    autojump_clock: MockClock,
) -> None:
    """Fault d; a warning about a stream left open would be an error here."""

    async def say_too_much(peer: Peer) -> None:
        await peer.accept()
        await peer.say("x" * 1000, "x" * 1001, "more")
        await peer.read_to_end()

    async with playing(say_too_much) as line:
        async with opened(line, max_message_size=1000) as (link, _):
            assert len(await link.receive()) == 1000
            with pytest.raises(ConnectionLost, match=r"1009.*1000") as caught:
                await link.receive()
            assert caught.value.code == 1009
        assert line.peer.close_code == 1009
        assert await line.is_closed()
    gc.collect()


async def test_unread_messages_do_not_delay_a_pong(autojump_clock: MockClock) -> None:
    """Fault c: a queue of 256 keeps trio-websocket's reader going."""

    async def talk_and_ping(peer: Peer) -> None:
        await peer.accept()
        await peer.say(*(["x" * 9000] * 250))
        start = trio.current_time()
        await peer.send(Ping(payload=b"there?"))
        await peer.wait_pong()
        assert trio.current_time() == start
        answered.set()
        await peer.read_to_end()

    answered = trio.Event()
    async with playing(talk_and_ping) as line, opened(line) as (link, _):
        with trio.fail_after(1):
            await answered.wait()
        for _ in range(250):
            assert len(await link.receive()) == 9000


async def test_end_is_seen_behind_a_full_queue_once_it_is_read(
    autojump_clock: MockClock,
) -> None:
    async def flood_and_close(peer: Peer) -> None:
        await peer.accept()
        await peer.say(*map(str, range(600)))
        await peer.close(1001)
        await peer.stay()

    async with playing(flood_and_close) as line, opened(line) as (link, _):
        assert [await link.receive() for _ in range(600)] == [*map(str, range(600))]
        with pytest.raises(ConnectionLost, match="1001"):
            await link.receive()


@pytest.mark.behaviour("C6")
async def test_leaving_with_a_full_queue_is_polite_and_quick(
    autojump_clock: MockClock,
) -> None:
    async def flood(peer: Peer) -> None:
        await peer.accept()
        await peer.say(*map(str, range(600)))
        await peer.read_to_end()

    async with playing(flood) as line:
        start = trio.current_time()
        async with opened(line):
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == start
        assert line.peer.close_code == 1000


# --- opening ---------------------------------------------------------------------

BODY = b'{"error": "Incorrect API key provided: ' + SECRET.encode() + b'"}'


def tell(error: BaseException) -> str:
    """Everything that a traceback, with its causes and contexts, would show."""
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 302, 200])
@pytest.mark.parametrize("body", [None, BODY])
async def test_refused_upgrade_is_final(
    autojump_clock: MockClock, status: int, body: bytes | None
) -> None:
    """Fault f: a typed error with the status, at once, and no key in its text."""

    async def refuse(peer: Peer) -> None:
        await peer.refuse(status, body)
        await peer.stay()

    async with playing(refuse) as line:
        with pytest.raises(ConnectRefused, match=f"HTTP {status}") as caught:
            async with opened(line):
                pytest.fail("it was refused")
        assert caught.value.status == status
        assert trio.current_time() < 1
        assert SECRET not in tell(caught.value)
        assert await line.is_closed()


@pytest.mark.behaviour("C1")
async def test_refusal_that_ends_with_the_stream_is_a_refusal_too(
    autojump_clock: MockClock,
) -> None:
    """HTTP lets a body end where the stream ends; trio-websocket says nothing then."""

    async def refuse(peer: Peer) -> None:
        await peer.event()
        await peer.stream.send_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n" + BODY)
        await peer.stream.aclose()

    async with playing(refuse) as line:
        with pytest.raises(ConnectRefused) as caught:
            async with opened(line):
                pytest.fail("it was refused")
        assert caught.value.status == 401
        assert SECRET not in tell(caught.value)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_overloaded_server_may_be_tried_again(
    autojump_clock: MockClock, status: int
) -> None:
    async with playing(lambda peer: peer.refuse(status, BODY)) as line:
        with pytest.raises(ConnectionLost, match=f"HTTP {status}") as caught:
            async with opened(line):
                pytest.fail("it was refused")
        assert type(caught.value) is ConnectionLost
        assert SECRET not in tell(caught.value)
        assert await line.is_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.peer.test ESMTP\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        bytes(range(256)),
    ],
    ids=["mail", "half an upgrade", "wrong accept", "noise"],
)
async def test_peer_that_is_no_websocket_server_is_refused(
    autojump_clock: MockClock, answer: bytes
) -> None:
    async def talk_nonsense(peer: Peer) -> None:
        await peer.event()
        await peer.stream.send_all(answer)
        await peer.stay()

    async with playing(talk_nonsense) as line:
        with pytest.raises(ConnectRefused, match="check the URL"):
            async with opened(line):
                pytest.fail("that was no handshake")
        assert trio.current_time() < 1
        assert await line.is_closed()


@pytest.mark.parametrize(
    "before",
    [b"", b"HTTP", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso"],
    ids=["nothing", "four bytes", "half the headers"],
)
async def test_peer_that_hangs_up_in_the_handshake_is_noticed_at_once(
    autojump_clock: MockClock, before: bytes
) -> None:
    """Fault h: trio-websocket alone waits for its whole timeout."""

    async def hang_up(peer: Peer) -> None:
        await peer.event()
        if before:
            await peer.stream.send_all(before)
        await peer.stream.aclose()

    async with playing(hang_up) as line:
        with pytest.raises(ConnectionLost, match="hung up") as caught:
            async with opened(line):
                pytest.fail("the peer hung up")
        assert type(caught.value) is ConnectionLost
        assert trio.current_time() == 0
        assert await line.is_closed()


async def test_stream_that_is_broken_from_the_start_is_noticed_at_once(
    autojump_clock: MockClock,
) -> None:
    line = Line()
    await line.peer.stream.aclose()
    with pytest.raises(ConnectionLost, match="hung up"):
        async with opened(line):
            pytest.fail("the stream is broken")
    assert trio.current_time() == 0
    assert await line.is_closed()


async def test_handshake_that_is_never_answered_ends_at_the_deadline(
    autojump_clock: MockClock,
) -> None:
    async with playing(lambda peer: peer.stay()) as line:
        with pytest.raises(ConnectionLost, match="within 10 s"):
            async with opened(line):
                pytest.fail("nobody answered")
        assert trio.current_time() == pytest.approx(CONNECT_TIMEOUT)
        assert await line.is_closed()


async def test_connecting_and_handshake_share_one_deadline(
    autojump_clock: MockClock,
) -> None:
    async with playing(lambda peer: peer.stay()) as line:

        async def connect_slowly() -> trio.abc.Stream:
            await trio.sleep(7)
            return line.stream

        with pytest.raises(ConnectionLost, match="within 10 s"):
            async with open_link(
                connect_slowly,
                host="peer.test",
                resource="/",
                connect_timeout=10,
                close_timeout=1,
            ):
                pytest.fail("nobody answered")
        assert trio.current_time() == pytest.approx(10)


async def test_connector_that_fails_is_a_lost_connection() -> None:
    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise OSError("no route to host")

    with pytest.raises(ConnectionLost, match=r"peer\.test.*no route"):
        async with open_link(
            connect,
            host="peer.test",
            resource="/",
            connect_timeout=10,
            close_timeout=1,
        ):
            pytest.fail("there is no route")


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Bearer {SECRET}\n"),
        ("Authorization", f"Bearer {SECRET} "),
        ("Authorization", f"Bearer {SECRET}\r\nHost: elsewhere"),
        ("Authorization", f"Bearer {SECRET}\N{EN DASH}"),
        (f"Authorization: {SECRET}", "x"),
        ("Host", SECRET),
        ("sec-websocket-key", SECRET),
    ],
)
async def test_header_that_http_does_not_allow_is_refused_without_quoting_it(
    header: tuple[str, str],
) -> None:
    line = Line()
    with pytest.raises(ConfigurationError, match="header") as caught:
        async with opened(line, headers=[header]):
            pytest.fail("that header cannot be sent")
    assert SECRET not in tell(caught.value)


async def test_subprotocol_that_http_does_not_allow_is_refused_without_quoting_it() -> (
    None
):
    line = Line()
    with pytest.raises(ConfigurationError, match="subprotocol 2") as caught:
        async with opened(line, subprotocols=["realtime", f"key {SECRET}"]):
            pytest.fail("that subprotocol cannot be sent")
    assert SECRET not in tell(caught.value)


async def test_repr_shows_the_state_and_no_secret(autojump_clock: MockClock) -> None:
    async with playing(behave) as line:
        async with opened(line) as (link, _):
            assert repr(link) == "<Link peer.test open>"
        assert repr(link) == "<Link peer.test closed code=1000>"
        with pytest.raises(ConnectionLost, match="closed by this end"):
            await link.receive()
