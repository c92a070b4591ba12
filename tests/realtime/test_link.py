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
    Request,
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


async def test_a_ping_beside_a_send_that_takes_its_time_waits_its_turn(
    autojump_clock: MockClock,
) -> None:
    async def read_late(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(3)
        await peer.echo_forever()

    async with playing(read_late, lockstep=True) as line, opened(line) as (link, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send, "x" * 1000)
            await trio.testing.wait_all_tasks_blocked()
            await link.ping()
            assert trio.current_time() == pytest.approx(3)
        assert await link.receive() == "x" * 1000


async def test_leaving_beside_a_send_that_takes_its_time_says_goodbye(
    autojump_clock: MockClock,
) -> None:
    async def read_late(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep(1)
        await peer.read_to_end()

    async with playing(read_late, lockstep=True) as line:
        async with opened(line) as (link, service):
            service.start_soon(link.send, "x" * 1000)
            await trio.testing.wait_all_tasks_blocked()
        assert line.peer.texts == ["x" * 1000]
        assert line.peer.close_code == 1000


async def test_several_messages_leave_in_one_piece(autojump_clock: MockClock) -> None:
    pieces: list[bytes] = []

    class Weighed(trio.abc.Stream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            pieces.append(bytes(data))
            await line.stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await line.stream.wait_send_all_might_not_block()

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            return await line.stream.receive_some(max_bytes)

        async def aclose(self) -> None:
            await line.stream.aclose()

    async def weigh() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Weighed()

    async with (
        playing(behave) as line,
        open_link(
            weigh, host="peer.test", resource="/", connect_timeout=10, close_timeout=2
        ) as (link, _),
    ):
        pieces.clear()
        await link.send("one", "two", "three")
        assert [await link.receive() for _ in range(3)] == ["one", "two", "three"]
        assert len(pieces) == 1
        await link.send()
        assert len(pieces) == 1


async def test_what_came_at_once_is_given_at_once_and_in_order(
    autojump_clock: MockClock,
) -> None:
    async def say_many(peer: Peer) -> None:
        await peer.accept()
        await peer.say(*map(str, range(1000)))
        await peer.close(1001)
        await peer.stay()

    heard: list[str] = []
    async with playing(say_many) as line, opened(line) as (link, _):
        with pytest.raises(ConnectionLost, match="1001"):  # noqa: PT012 - a loop
            while True:
                texts = await link.receive_many()
                assert texts, "it waits for one at least"
                heard += texts
    assert heard == [*map(str, range(1000))]


async def test_whoever_receives_lets_others_run(autojump_clock: MockClock) -> None:
    """A flood that is taken as fast as it comes does not starve the other tasks."""
    turns = 0

    async def flood(peer: Peer) -> None:
        await peer.accept()
        await peer.say(*["x"] * 5000)
        await peer.read_to_end()

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    for many in (False, True):
        turns = taken = 0
        async with (
            playing(flood) as line,
            opened(line) as (link, _),
            trio.open_nursery() as nursery,
        ):
            await link.receive()
            nursery.start_soon(take_turns)
            while taken < 4900:
                taken += len(await link.receive_many()) if many else 1
                if not many:
                    await link.receive()
            assert turns > taken / 100
            nursery.cancel_scope.cancel()


async def test_receiving_is_cancelled_also_where_messages_wait(
    autojump_clock: MockClock,
) -> None:
    async def say_two(peer: Peer) -> None:
        await peer.accept()
        await peer.say("one", "two", "three")
        await peer.read_to_end()

    async with playing(say_two) as line, opened(line) as (link, _):
        assert await link.receive() == "one"
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.receive()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.receive_many()
        assert scope.cancelled_caught
        assert await link.receive() == "two"


async def test_a_message_may_come_in_pieces(autojump_clock: MockClock) -> None:
    """Of any size, cut within a character, with a ping between them."""

    async def say_in_pieces(peer: Peer) -> None:
        await peer.accept()
        whole = "füüünf".encode()
        frames = [b"\x01\x02" + whole[:2], b"\x89\x00", b"\x00\x00"]
        frames += [bytes([0, 1, byte]) for byte in whole[2:-1]]
        frames += [b"\x80\x01" + whole[-1:], b"\x02\x01\xff", b"\x80\x01x"]
        for byte in b"".join(frames):
            await peer.stream.send_all(bytes([byte]))
        await peer.wait_pong()
        await peer.say("whole")
        await peer.read_to_end()

    async with playing(say_in_pieces) as line, opened(line) as (link, _):
        assert await link.receive() == "füüünf"
        assert await link.receive() == "\N{REPLACEMENT CHARACTER}x"
        assert await link.receive() == "whole"


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


async def test_a_ping_is_answered_within_a_second_where_nobody_receives_any_more(
    autojump_clock: MockClock,
) -> None:
    async def talk_then_ping(peer: Peer) -> None:
        await peer.accept()
        await peer.say("one")
        await trio.sleep(10)
        start = trio.current_time()
        await peer.send(Ping(payload=b"there?"))
        await peer.wait_pong()
        assert trio.current_time() - start <= 1
        answered.set()
        await peer.read_to_end()

    answered = trio.Event()
    async with playing(talk_then_ping) as line, opened(line) as (link, _):
        assert await link.receive() == "one"
        with trio.fail_after(12):
            await answered.wait()


async def test_what_nobody_takes_is_bounded(autojump_clock: MockClock) -> None:
    """The peer has to wait, then; nothing is lost."""
    said = 0

    async def flood(peer: Peer) -> None:
        nonlocal said
        await peer.accept()
        while said < 5000:
            await peer.say(f"{said:05}" + "x" * 1000)
            said += 1
        await peer.read_to_end()

    async with playing(flood, lockstep=True) as line, opened(line) as (link, _):
        await trio.testing.wait_all_tasks_blocked()
        assert 0 < said <= 260
        for number in range(5000):
            assert int((await link.receive())[:5]) == number


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x02\xc3\x28", 1007),
        (b"\x01\x01\xc3\x80\x01\x28", 1007),
        (b"\x88\x03\x03\xe8\xff", 1007),
        (b"\xf1\x01x", 1002),
        (b"\x83\x00", 1002),
        (b"\x88\x01\x03", 1002),
        (b"\x80\x00", 1002),
        (b"\x81\x81\x00\x00\x00\x00x", 1002),
        (b"\x89\x7e\x00\x7e" + b"x" * 126, 1002),
        (b"\x88\x02\x03\xec", 1002),
    ],
)
async def test_the_peer_is_told_what_it_did_wrong(
    autojump_clock: MockClock, each_engine: str, frame: bytes, code: int
) -> None:
    if each_engine == "trio-websocket":
        pytest.skip("it ends the link without a word; that it ends is tested above")

    async def break_the_rules(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.send_all(frame)
        await peer.say("this comes too late")
        await peer.read_to_end()

    async with playing(break_the_rules) as line:
        async with opened(line) as (link, _):
            with pytest.raises(ConnectionLost) as caught:
                await link.receive()
            assert caught.value.code == link.close_code == code
            with pytest.raises(ConnectionLost):
                await link.receive()
        assert line.peer.close_code == code


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


async def test_no_key_is_logged_at_any_level(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither ours, in the request, nor one that the peer quotes."""
    caplog.set_level(0)

    async def quote(peer: Peer) -> None:
        await peer.accept()
        await peer.say(f"I was given {SECRET}")
        await peer.event()
        await peer.close(3000, f"what is {SECRET}?")
        await peer.stay()

    async with playing(quote) as line, opened(line) as (link, _):
        assert SECRET in await link.receive()
        await link.send(f"you were given {SECRET}")
        with pytest.raises(ConnectionLost, match=r"3000: what is \[key\]") as caught:
            await link.receive()
        assert SECRET not in tell(caught.value)
    assert SECRET not in caplog.text


async def test_no_compression_is_offered(autojump_clock: MockClock) -> None:
    """Sound as it is sent costs more to compress than it saves."""

    async def look(peer: Peer) -> None:
        request = await peer.event()
        assert isinstance(request, Request)
        asked.append(request)
        await peer.send(AcceptConnection())
        await peer.echo_forever()

    asked: list[Request] = []
    async with playing(look) as line, opened(line, subprotocols=["realtime"]):
        pass
    [request] = asked
    assert request.extensions == []
    assert request.subprotocols == ["realtime"]
    assert (request.host, request.target) == ("peer.test", "/v1?x=1")


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
