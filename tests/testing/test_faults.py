"""What a client notices of each fault, in memory and in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed

from by_hand import TARGET, UPGRADE, Client, dialled
from trialogue._codec import b64encode
from trialogue.errors import ConfigurationError
from trialogue.testing import (
    Network,
    RealtimeServer,
    close,
    cut,
    expire,
    fail_response,
    garbage,
    half_open,
    in_virtual_time,
    open_realtime_server,
    quiet,
    quota,
    reject,
    silence,
    slow_accept,
    stall,
    swallow,
)

QUOTA = "You exceeded your current quota, please check your plan and billing details."


async def greeted(client: Client) -> None:
    assert (await client.read())["type"] == "session.created"


async def closing(client: Client) -> tuple[int, str | None]:
    """Read to the end; return the close code and the reason."""
    with pytest.raises(ConnectionClosed) as closed:
        await client.until("never")
    assert closed.value.reason is not None
    return closed.value.reason.code, closed.value.reason.reason


async def ping(client: Client) -> None:
    with trio.fail_after(60):
        await client.ws.ping()


async def is_dead(client: Client, seconds: float = 1000) -> bool:
    """Whether nothing comes, not even a pong."""
    with trio.move_on_after(seconds) as patience:
        await client.ws.ping()
    return patience.cancelled_caught


# --- stalls ---------------------------------------------------------------------------


@in_virtual_time
async def test_a_server_that_does_not_write_reads_on_and_answers_later() -> None:
    """Answers and pongs come together, in order, when the stall is over."""
    fault = stall(after="session.updated", side="writes", seconds=7)
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await greeted(client)
        await client.update(instructions="1")
        await client.until("session.updated")
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping, client)
            for number in "23":
                await client.update(instructions=number)
            answers = [await client.read(), await client.read()]
            assert trio.current_time() - begin == pytest.approx(7)
        assert trio.current_time() - begin == pytest.approx(7)
        read = [e.time for e in server.connections[0].find("session.update")[1:]]
    assert [event["session"]["instructions"] for event in answers] == ["2", "3"]
    assert read == [pytest.approx(begin)] * 2


@in_virtual_time
async def test_a_stall_of_both_sides_begins_behind_the_answer() -> None:
    fault = stall(after="session.update", side="both", seconds=7)
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await greeted(client)
        begin = trio.current_time()
        await client.update()
        await client.until("session.updated")
        assert trio.current_time() == begin
        await client.update()
        await client.until("session.updated")
        assert trio.current_time() - begin == pytest.approx(7)
        assert server.connections[0].find("session.update")[1].time == begin + 7


@in_virtual_time
async def test_a_client_that_leaves_a_server_which_does_not_write_is_let_go() -> None:
    fault = stall(after="session.updated", side="writes")
    async with open_realtime_server(faults=[fault]) as server:
        async with dialled(server) as client:
            await greeted(client)
            await client.update()
            await client.until("session.updated")
            with trio.move_on_after(2.1):
                await client.ws.aclose()
            assert server.live == []
        assert server.connections[0].close_code == 1000


# --- half-open ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "read", "answered"),
    [
        (half_open(before="session.update"), 1, 0),
        (half_open(after="session.update"), 1, 1),
        (half_open(before="session.updated"), 1, 0),
        (half_open(after="session.updated"), 1, 1),
        (half_open(at=5), 2, 2),
    ],
)
@in_virtual_time
async def test_a_half_open_connection_stays_and_is_dead(
    fault: Any, read: int, answered: int
) -> None:
    async with open_realtime_server(faults=[fault]) as server:
        async with dialled(server) as client:
            await greeted(client)
            got = 0
            for _ in range(2):
                await client.update()
                with trio.move_on_after(4):
                    await client.until("session.updated")
                    got += 1
                    await trio.sleep(1)
            await trio.sleep_until(6)
            await client.update()
            assert await is_dead(client)
            assert client.ws.closed is None
            assert got == answered
            (connection,) = server.live
            assert len(connection.find("session.update")) == read
        # The end of the client's side is not noticed either.
        assert server.live == [connection]
        async with dialled(server) as client:
            await greeted(client)
        begin = trio.current_time()
    assert trio.current_time() == begin
    assert connection.close_code == 1006


# --- garbage --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("utf8", 1007),
        ("opcode", 1002),
        ("rsv", 1002),
        ("masked", 1002),
        ("continuation", 1002),
        ("ping", 1002),
    ],
)
@in_virtual_time
async def test_a_frame_that_is_none_is_refused_by_a_client(
    what: Any, code: int
) -> None:
    """Read by wsproto, which knows nothing of ours."""
    fault = garbage(what, after="session.updated")
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await greeted(client)
        await client.update()
        await client.until("session.updated")
        assert (await closing(client))[0] == code


@pytest.mark.parametrize(
    ("what", "text"), [("json", '{"type": "session.upd'), ("array", "[]")]
)
@in_virtual_time
async def test_a_message_that_is_no_event_comes_and_all_goes_on(
    what: Any, text: str
) -> None:
    faults = [garbage(what, before=f"session.{kind}") for kind in ("update", "updated")]
    async with open_realtime_server(faults=faults) as server, dialled(server) as client:
        await greeted(client)
        await client.update()
        for _ in range(2):
            assert await client.ws.get_message() == text
        assert (await client.read())["type"] == "session.updated"


@pytest.mark.parametrize("what", ["truncated", "oversized"])
@in_virtual_time
async def test_a_frame_without_end_swallows_what_follows(what: Any) -> None:
    fault = garbage(what, at=5)
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await greeted(client)
        await trio.sleep(6)
        await client.update()
        assert await is_dead(client, 30)
        assert len(server.connections[0].find("session.updated")) == 1
        assert server.live != []


@in_virtual_time
async def test_a_silent_server_sends_no_garbage() -> None:
    faults = [silence(before="session.update"), garbage("opcode", at=5)]
    async with open_realtime_server(faults=faults) as server, dialled(server) as client:
        await greeted(client)
        await client.update()
        await trio.sleep(10)
        await ping(client)


# --- connecting -----------------------------------------------------------------------


@in_virtual_time
async def test_an_upgrade_can_be_answered_byte_by_byte() -> None:
    async with open_realtime_server(faults=[slow_accept(12, skip=1)]) as server:
        async with dialled(server) as client:
            await greeted(client)
            assert trio.current_time() == 0
        async with await server.connect() as stream:
            await stream.send_all(UPGRADE % TARGET)
            answer, pieces = b"", []
            while not answer.endswith(b"\r\n\r\n"):
                pieces.append(bytes(await stream.receive_some()))
                answer += pieces[-1]
            assert {len(piece) for piece in pieces} == {1}
            assert answer.startswith(b"HTTP/1.1 101")
            assert trio.current_time() == pytest.approx(12)
            assert b"session.created" in await stream.receive_some()
            assert trio.current_time() == pytest.approx(12)
        async with dialled(server) as client:
            begin = trio.current_time()
            await greeted(client)
            assert trio.current_time() == begin


# --- expiry ---------------------------------------------------------------------------

EXPIRED = "Your session hit the maximum duration of 60 minutes."


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (expire(before="session.update"), ["error"]),
        (expire(after="session.update"), ["session.updated", "error"]),
        (expire(before="session.updated"), ["error"]),
        (expire(after="session.updated"), ["session.updated", "error"]),
    ],
)
@in_virtual_time
async def test_a_session_expires_at_a_frame(fault: Any, kinds: list[str]) -> None:
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await greeted(client)
        await client.update()
        events = await client.until("error")
        assert [event["type"] for event in events] == kinds
        assert events[-1]["error"]["code"] == "session_expired"
        assert events[-1]["error"]["message"] == EXPIRED
        assert await closing(client) == (1001, EXPIRED)


@in_virtual_time
async def test_a_session_expires_at_an_age_the_first_that_reaches_it() -> None:
    faults = [expire(at=30, message="Enough."), expire(at=40, nth=None, connection=2)]
    async with open_realtime_server(faults=faults) as server:
        async with dialled(server) as client:
            await greeted(client)
            await trio.sleep(21)
        async with dialled(server) as client:
            begin = trio.current_time()
            await greeted(client)
            assert (await client.read())["error"]["code"] == "session_expired"
            assert await closing(client) == (1001, "Enough.")
            assert trio.current_time() - begin == pytest.approx(30)
        async with dialled(server) as client:
            begin = trio.current_time()
            await greeted(client)
            assert (await closing(client))[0] == 1001
            assert trio.current_time() - begin == pytest.approx(40)
        async with dialled(server) as client:
            await greeted(client)
            await trio.sleep(1001)
            assert client.ws.closed is None


@in_virtual_time
async def test_an_expiry_is_no_error_that_other_faults_wait_for() -> None:
    """Or it would expire for ever."""
    fault = expire(after="error", nth=None)
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await greeted(client)
        await client.send("nonsense")
        codes = [(await client.read())["error"]["code"] for _ in range(2)]
        assert codes[1] == "session_expired"
        assert (await closing(client))[0] == 1001


# --- quota and failing responses ------------------------------------------------------


async def asked(client: Client) -> dict[str, Any]:
    """Ask for a response; return its end, or the error."""
    await client.send("response.create", event_id="e1")
    event = await client.read()
    while event["type"] not in {"response.done", "error"}:
        event = await client.read()
    return event


@in_virtual_time
async def test_without_quota_responses_begin_and_fail_from_the_nth_on() -> None:
    """On every connection, whoever asks; the brain is not asked."""
    turns = []

    def brain(turn: Any) -> str:
        turns.append(turn)
        return "Hello."

    async with open_realtime_server(brain, faults=[quota(nth=2)]) as server:
        for statuses in (["completed", "failed"], ["failed"]):
            async with dialled(server) as client:
                await greeted(client)
                responses = [(await asked(client))["response"] for _ in statuses]
                assert [one["status"] for one in responses] == statuses
                assert responses[-1]["status_details"] == {
                    "type": "failed",
                    "error": {
                        "type": "insufficient_quota",
                        "code": "insufficient_quota",
                        "message": QUOTA,
                    },
                }
        async with dialled(server) as client:
            await greeted(client)
            spoken = server.utterances.say("hello") + quiet(1000)
            for at in range(0, len(spoken), 4800):
                audio = b64encode(spoken[at : at + 4800])
                await client.send("input_audio_buffer.append", audio=audio)
            done = (await client.until("response.done"))[-1]["response"]
    assert done["status"] == "failed"
    assert len(turns) == 1


@in_virtual_time
async def test_without_quota_requests_are_refused() -> None:
    fault = quota(on="request", nth=2)
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await greeted(client)
        assert (await asked(client))["response"]["status"] == "completed"
        for _ in range(2):
            error = (await asked(client))["error"]
            assert (error["code"], error["message"]) == ("insufficient_quota", QUOTA)
            assert error["event_id"] == "e1"
        await client.update()
        await client.until("session.updated")


@in_virtual_time
async def test_one_response_can_fail_and_the_next_is_made() -> None:
    faults = [fail_response(code="rate_limit_exceeded", message="Slow down.", nth=2)]
    async with open_realtime_server(faults=faults) as server, dialled(server) as client:
        await greeted(client)
        ends = [(await asked(client))["response"] for _ in range(3)]
    assert [end["status"] for end in ends] == ["completed", "failed", "completed"]
    assert ends[1]["status_details"]["error"]["code"] == "rate_limit_exceeded"
    assert ends[1]["output"] == []


@in_virtual_time
async def test_a_failing_response_is_counted_on_its_connection_only() -> None:
    fault = fail_response(connection=1, nth=None)
    async with open_realtime_server(faults=[fault]) as server:
        for status in ("completed", "failed"):
            async with dialled(server) as client:
                await greeted(client)
                assert (await asked(client))["response"]["status"] == status


# --- closing, with any code, at any byte ----------------------------------------------


async def raw_frames(server: RealtimeServer, sent: bytes) -> bytes:
    """Upgrade, send, and return every byte that came behind the answer."""
    async with await server.connect() as stream:
        await stream.send_all(UPGRADE % TARGET + sent)
        received = b""
        with trio.move_on_after(60):
            while data := await stream.receive_some():
                received += data
    return received.partition(b"\r\n\r\n")[2]


def masked(text: bytes) -> bytes:
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


UPDATE = masked(b'{"type":"session.update","session":{"type":"realtime"}}')


@pytest.mark.parametrize("code", [0, 999, 1000, 1004, 1006, 1011, 1015, 2999, 4999])
@in_virtual_time
async def test_the_server_closes_with_any_code(code: int) -> None:
    fault = close(code, reason="so", before="session.updated")
    async with open_realtime_server(faults=[fault]) as server:
        received = await raw_frames(server, UPDATE)
        assert received.endswith(b"\x88\x04" + code.to_bytes(2, "big") + b"so")
        assert server.connections[0].close_code == code


@in_virtual_time
async def test_the_server_closes_without_a_code() -> None:
    async with open_realtime_server(faults=[close(1005, at=3)]) as server:
        assert (await raw_frames(server, b"")).endswith(b"}\x88\x00")


@in_virtual_time
async def test_a_close_comes_in_the_middle_of_a_message() -> None:
    """The message never ends, and the code arrives all the same."""
    fault = close(1012, before="session.updated", after_bytes=9, nth=None)
    async with open_realtime_server(faults=[fault]) as server:
        received = await raw_frames(server, UPDATE)
        assert received.endswith(b'\x01\x09{"type":"\x88\x02\x03\xf4')
        async with dialled(server) as client:
            await greeted(client)
            await client.update()
            assert (await closing(client))[0] == 1012


@in_virtual_time
async def test_connections_end_at_an_age() -> None:
    faults = [
        close(1011, at=2, connection=0),
        cut(at=3, connection=1),
        silence(at=4, pongs=False, connection=2),
    ]
    async with open_realtime_server(faults=faults) as server:
        for code, after in ((1011, 2), (1006, 3)):
            async with dialled(server) as client:
                begin = trio.current_time()
                assert (await closing(client))[0] == code
                assert trio.current_time() - begin == pytest.approx(after)
        async with dialled(server) as client:
            await greeted(client)
            await trio.sleep(3.9)
            await ping(client)
            await trio.sleep(0.2)
            assert await is_dead(client, 60)


# --- planning -------------------------------------------------------------------------


@in_virtual_time
async def test_a_fault_for_an_age_that_is_past_happens_at_once() -> None:
    async with open_realtime_server() as server, dialled(server) as client:
        await greeted(client)
        await trio.sleep(100)
        server.inject(close(1011, at=50))
        assert (await closing(client))[0] == 1011
        assert trio.current_time() == pytest.approx(100)


@in_virtual_time
async def test_from_the_nth_request_on_all_are_refused() -> None:
    fault = reject("session.update", nth=2, onwards=True)
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await greeted(client)
        for _ in range(4):
            await client.update()
        kinds = [(await client.read())["type"] for _ in range(4)]
    assert kinds == ["session.updated", "error", "error", "error"]


@in_virtual_time
async def test_jitter_keeps_the_order_and_is_the_same_for_a_seed() -> None:
    async def times(seed: int) -> list[float]:
        network = Network(0.1, jitter=0.3)
        async with (
            open_realtime_server(network=network, seed=seed) as server,
            dialled(server) as client,
        ):
            await greeted(client)
            begin = trio.current_time()
            for number in range(8):
                await client.update(instructions=str(number))
            seen = []
            for number in range(8):
                event = await client.read()
                assert event["session"]["instructions"] == str(number)
                seen.append(trio.current_time() - begin)
        return seen

    first = await times(1)
    assert first == pytest.approx(await times(1))
    assert first != pytest.approx(await times(2))
    assert all(0.2 <= one <= 0.8 for one in first)
    assert len({round(one, 6) for one in first}) > 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cut(), "exactly one of before=, after= and at="),
        (lambda: close(1000, before="error", at=3), "exactly one"),
        (lambda: cut(after="error", after_bytes=3), "named with before="),
        (lambda: close(70_000, at=1), "0 to 65535, not 70000"),
        (lambda: swallow("error", nth=0), "nth is 1 or more, not 0"),
        (lambda: swallow("error", connection=-1), "connection is 0 or more"),
        (lambda: half_open(at=float("nan")), "at is 0 or more, not nan"),
        (lambda: stall(at=1, seconds=-1), "seconds is 0 or more"),
        (lambda: garbage("noise", at=1), "utf8, json, .* not 'noise'"),  # type: ignore[arg-type]
        (lambda: stall(at=1, side="left"), "reads, writes, both, not 'left'"),  # type: ignore[arg-type]
        (lambda: Network(jitter=-1), "jitter is a number from 0"),
        (lambda: Network(float("inf")), "one_way is a number from 0"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()
