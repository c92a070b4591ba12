"""The local server over memory streams and TCP, through trio-websocket's client."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream

from by_hand import DOOR, KEY, TARGET, UPGRADE, Client, dialled
from trialogue._codec import b64decode, b64encode
from trialogue.errors import ConfigurationError
from trialogue.testing import (
    Call,
    Network,
    RealtimeServer,
    Rule,
    Rules,
    Say,
    close,
    config_hash,
    cut,
    decode,
    duplicate,
    hold,
    late,
    lose,
    open_realtime_server,
    quiet,
    refuse_connect,
    refuse_upgrade,
    reject,
    silence,
    silent_connect,
    stall,
    swallow,
)


async def test_a_typed_message_is_answered_in_speech(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Item, response, deltas, done: and the audio says under what it was made."""
    async with (
        open_realtime_server(lambda turn: Say("Hi there.", ms=500)) as server,
        dialled(server) as client,
    ):
        assert (await client.read())["type"] == "session.created"
        await client.update(instructions="You are Kelly.")
        await client.until("session.updated")
        await client.send("response.create")
        events = await client.until("response.done")
    pcm = b"".join(
        b64decode(event["delta"])
        for event in events
        if event["type"] == "response.output_audio.delta"
    )
    marks = decode(pcm)
    assert len(pcm) == 500 * 48
    assert [mark.seq for mark in marks] == list(range(50))
    assert {mark.config for mark in marks} == {config_hash("You are Kelly.", [])}
    assert server.watermarks[marks[0].config] == ("You are Kelly.", ())
    assert server.protocol_errors == []
    assert server.connections[0].close_code == 1000


@pytest.mark.parametrize("tcp", [False, True])
async def test_connecting_costs_three_round_trips_and_an_answer_one(tcp: bool) -> None:
    """The same over memory and over TCP, in real time."""
    network = Network(one_way=0.02)
    async with open_realtime_server(network=network, port=0) as server:
        port = server.port
        begin = trio.current_time()
        if tcp:
            stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
        else:
            stream = await server.connect()
        async with dialled(server, DOOR, stream) as client:
            await client.read()
            connected = trio.current_time()
            await client.update(instructions="x")
            await client.until("session.updated")
            answered = trio.current_time()
    assert connected - begin == pytest.approx(0.12, abs=0.03)
    assert answered - connected == pytest.approx(0.04, abs=0.02)


async def test_distance_in_virtual_time_is_exact(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_realtime_server(network=Network(one_way=0.5)) as server:
        begin = trio.current_time()
        async with dialled(server) as client:
            await client.read()
            assert trio.current_time() - begin == pytest.approx(3.0)
            await client.update()
            await client.until("session.updated")
            assert trio.current_time() - begin == pytest.approx(4.0)
        [update] = server.connections[0].find("session.update")
        [updated] = server.connections[0].find("session.updated")
    assert update.time == updated.time == pytest.approx(begin + 3.5)


@pytest.mark.parametrize(
    ("resource", "key", "code", "reason"),
    [
        ("/v1/realtime?model=gpt-realtime", None, 3000, "invalid_api_key"),
        ("/v1/realtime", "key", 4000, "missing_model"),
        ("/v1/realtime?model=gpt-5", "key", 4000, "invalid_model"),
    ],
)
async def test_key_and_model_are_judged_after_the_upgrade(
    autojump_clock: trio.testing.MockClock,
    resource: str,
    key: str | None,
    code: int,
    reason: str,
) -> None:
    async with open_realtime_server() as server:
        stream = await server.connect()
        async with stream, trio.open_nursery() as nursery:
            ws = await wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]
                "localhost",
                resource,
                extra_headers=KEY if key else [],
            )
            client = Client(ws)
            assert (await client.read())["error"]["code"] == reason
            with pytest.raises(ConnectionClosed) as closed:
                await client.read()
            assert closed.value.reason is not None
            assert closed.value.reason.code == code
            assert closed.value.reason.reason == f"invalid_request_error.{reason}"


async def test_upgrades_and_connects_can_be_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [refuse_connect(), refuse_upgrade(429), silent_connect()]
    async with open_realtime_server(faults=faults) as server:
        with pytest.raises(OSError, match="refuses"):
            await server.connect()
        with pytest.RaisesGroup(ConnectionRejected) as rejected:
            async with dialled(server):
                pass
        [refusal] = rejected.value.exceptions
        assert isinstance(refusal, ConnectionRejected)
        assert refusal.status_code == 429
        with trio.move_on_after(30) as patience:
            async with dialled(server):
                pass
        assert patience.cancelled_caught
        async with dialled(server) as client:
            assert (await client.read())["type"] == "session.created"


ECHO = Rules.of(
    Rule((Say("One moment."), Call("look", {"x": 1})), user="look"),
    Rule(Say("Found it."), output="."),
)


async def test_an_answer_can_be_lost_late_doubled_or_out_of_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [
        swallow("session.updated"),
        late("session.updated", seconds=5.5, nth=2),
        duplicate("session.updated", nth=3),
        hold("session.updated", nth=4),
    ]
    async with open_realtime_server(faults=faults) as server, dialled(server) as client:
        await client.read()
        for number in range(1, 6):
            await client.update(instructions=str(number))
        begin = trio.current_time()
        seen = [await client.read() for _ in range(5)]
    assert [event["session"]["instructions"] for event in seen] == list("33542")
    assert trio.current_time() - begin == pytest.approx(5.5)


async def test_a_request_can_be_lost_or_refused_without_its_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [
        lose("session.update"),
        reject("session.update", code="unknown_parameter", null_id=True, nth=2),
        reject("session.update", code="server_error", nth=3),
    ]
    async with open_realtime_server(faults=faults) as server, dialled(server) as client:
        await client.read()
        for number in range(1, 4):
            await client.send(
                "session.update",
                event_id=f"e{number}",
                session={"type": "realtime", "instructions": "x"},
            )
        first, second = (
            (await client.read())["error"],
            (await client.read())["error"],
        )
    assert (first["code"], first["event_id"]) == ("unknown_parameter", None)
    assert (second["code"], second["event_id"]) == ("server_error", "e3")
    machine = server.connections[0].machine
    assert machine.session.instructions == server.settings.instructions


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (close(1011, before="session.update"), 1011),
        (close(1011, after="session.updated"), 1011),
        (cut(before="session.update"), 1006),
        (cut(after="session.updated"), 1006),
        (cut(before="session.updated", after_bytes=7), 1006),
    ],
)
async def test_a_connection_can_end_at_any_frame(
    autojump_clock: trio.testing.MockClock, fault: Any, code: int
) -> None:
    """A cut connection is read as code 1006, a closed one with its code."""
    async with open_realtime_server(faults=[fault]) as server:
        async with dialled(server) as client:
            await client.read()
            await client.update()
            with pytest.raises(ConnectionClosed) as closed:
                await client.until("never")
            assert closed.value.reason is not None
            assert closed.value.reason.code == code
            assert server.connections[0].close_code == code
        async with dialled(server) as client:
            assert (await client.read())["type"] == "session.created"
    assert server.connections[1].conversation.items == []


async def test_a_silent_server_reads_on_and_says_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_realtime_server(
        faults=[silence(before="session.update")]
    ) as server:
        async with dialled(server) as client:
            await client.read()
            await client.update(instructions="heard")
            with trio.move_on_after(30) as patience:
                await client.read()
            assert patience.cancelled_caught
            await client.ws.ping()
        assert server.connections[0].machine.session.instructions == "heard"


async def test_a_stalled_server_reads_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    fault = stall(after="session.update", seconds=7)
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await client.read()
        await client.update()
        await client.until("session.updated")
        begin = trio.current_time()
        await client.update()
        await client.until("session.updated")
    assert trio.current_time() - begin >= 7


async def test_a_spoken_turn_calls_a_tool_and_its_output_is_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tool = {"type": "function", "name": "look"}
    async with open_realtime_server(ECHO) as server:
        spoken = quiet(400) + server.utterances.say("please look") + quiet(600)
        async with dialled(server) as client:
            await client.read()
            await client.update(tools=[tool])
            for start in range(0, len(spoken), 4800):
                audio = b64encode(spoken[start : start + 4800])
                await client.send("input_audio_buffer.append", audio=audio)
            done = (await client.until("response.done"))[-1]["response"]
            assert [item["type"] for item in done["output"]] == [
                "message",
                "function_call",
            ]
            call_id = done["output"][1]["call_id"]
            item = {"type": "function_call_output", "call_id": call_id, "output": "y"}
            await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            done = (await client.until("response.done"))[-1]["response"]
        connection = server.connections[0]
    assert done["output"][0]["content"][0]["transcript"] == "Found it."
    assert [turn.text for turn in connection.committed] == ["please look"]
    [turn] = connection.committed
    assert turn.pcm == spoken[turn.start_ms * 48 : turn.end_ms * 48]
    assert connection.audio == spoken
    assert [record.asked_by for record in connection.responses] == ["vad", "client"]


async def test_the_server_pings_every_twenty_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_realtime_server() as server:
        async with dialled(server) as client:
            await client.read()
            await trio.sleep(65)
            assert server.connections[0].pongs == 3
            assert server.live == server.connections
        assert server.live == []


async def test_leaving_the_block_says_goodbye_to_clients(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        server = RealtimeServer()
        async with server.serving():
            stream = await server.connect()
            ws = await wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]
                "localhost",
                "/v1/realtime?model=gpt-realtime",
                extra_headers=KEY,
            )
            await ws.get_message()
        assert ws.closed is not None
        assert ws.closed.code == 1001
        await stream.aclose()
        nursery.cancel_scope.cancel()
    with pytest.raises(RuntimeError, match="not serving"):
        await server.connect()


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x02hi",  # not masked
        b"\x83\x80\0\0\0\0",  # an opcode that does not exist
        b"\x81\x82\0\0\0\0\xff\xff",  # text that is not UTF-8
    ],
)
async def test_a_malformed_frame_is_a_protocol_error_and_ends_the_connection(
    autojump_clock: trio.testing.MockClock, frame: bytes
) -> None:
    async with open_realtime_server() as server:
        async with await server.connect() as stream:
            await stream.send_all(UPGRADE % TARGET)
            await stream.receive_some()
            await stream.send_all(frame)
            received = b""
            with trio.fail_after(30):
                while data := await stream.receive_some():
                    received += data
        assert len(server.protocol_errors) == 1
        assert server.connections[0].close_code == 1002
        assert b"\x03\xea" in received  # the close frame's 1002


async def test_a_vanished_client_is_closed_abnormally_without_protocol_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also in the middle of a frame: a cut socket is no breach of the protocol."""
    async with open_realtime_server() as server:
        async with await server.connect() as stream:
            await stream.send_all(UPGRADE % TARGET)
            await stream.receive_some()
            await stream.send_all(b"\x81\xfe")
        await trio.testing.wait_all_tasks_blocked()
        assert server.connections[0].close_code == 1006
        assert server.protocol_errors == []


@pytest.mark.parametrize("rest", [b"", b"\0nonsense\r\n\r\n"])
async def test_what_is_no_upgrade_is_no_connection(
    autojump_clock: trio.testing.MockClock, rest: bytes
) -> None:
    async with open_realtime_server() as server:
        async with await server.connect() as stream:
            if rest:
                await stream.send_all(rest)
            with trio.fail_after(61):
                assert await stream.receive_some() == b""
        assert server.connections == []


async def test_a_latency_that_is_no_number_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_realtime_server() as server, await server.connect() as stream:
        await stream.send_all(UPGRADE % (TARGET + b"&latency_ms=soon"))
        assert b" 400 " in await stream.receive_some()


async def test_binary_frames_are_refused_and_the_session_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_realtime_server() as server, dialled(server) as client:
        await client.read()
        await client.ws.send_message(b"\0\1")
        assert (await client.read())["error"]["code"] == "invalid_event"
        await client.update()
        assert (await client.read())["type"] == "session.updated"


async def test_requests_can_be_late_doubled_or_out_of_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [
        late("session.update", seconds=3),
        duplicate("session.update", nth=2),
        hold("session.update", nth=3),
    ]
    async with open_realtime_server(faults=faults) as server, dialled(server) as client:
        await client.read()
        for number in range(1, 5):
            await client.update(instructions=str(number))
        seen = [await client.read() for _ in range(5)]
    assert [event["session"]["instructions"] for event in seen] == list("22431")


async def test_faults_can_be_planned_for_one_connection_and_one_content(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = RealtimeServer(seed=1)
    server.inject(
        swallow(
            "session.updated",
            connection=1,
            match=lambda event: event["session"]["instructions"] == "b",
        )
    )
    async with server.serving():
        for expected in ("ab", "a"):
            async with dialled(server) as client:
                await client.read()
                for letter in "ab":
                    await client.update(instructions=letter)
                seen = ""
                with trio.move_on_after(1):
                    while True:
                        seen += (await client.read())["session"]["instructions"]
            assert seen == expected
    notes = [entry.note for entry in server.connections[1].find("session.updated")]
    assert notes == ["", "drop"]


async def test_silence_can_take_the_pongs_along(
    autojump_clock: trio.testing.MockClock,
) -> None:
    fault = silence(after="session.updated", pongs=False)
    async with (
        open_realtime_server(faults=[fault]) as server,
        dialled(server) as client,
    ):
        await client.read()
        await client.update()
        await client.until("session.updated")
        with trio.move_on_after(30) as patience:
            await client.ws.ping()
        assert patience.cancelled_caught


async def test_an_error_of_the_script_ends_the_server_as_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def brain(turn: object) -> str:
        raise ZeroDivisionError

    async def ask() -> None:
        async with open_realtime_server(brain) as server, await server.connect() as it:
            # A masked response.create, with a mask of zeros, right behind the request.
            text = b'{"type":"response.create"}'
            head = b"\x81" + bytes([0x80 | len(text)]) + bytes(4)
            await it.send_all(UPGRADE % TARGET + head + text)
            await trio.sleep_forever()

    with pytest.raises(ZeroDivisionError):
        await ask()


async def test_misuse_is_named() -> None:
    server = RealtimeServer()
    with pytest.raises(RuntimeError, match="listen"):
        _ = server.url
    async with server.serving():
        with pytest.raises(RuntimeError, match="already"):
            async with server.serving():
                pass
    with pytest.raises(ConfigurationError, match="exactly one"):
        cut()


async def test_the_log_has_no_sound_whatever_it_came_in() -> None:
    """Nor is anything else left out that goes by the same name."""
    sound = b64encode(bytes(4800))
    part = {"type": "input_audio", "audio": sound}
    item = {"id": "a", "type": "message", "role": "user", "content": [part]}
    own = {"conversation": "none", "input": [item], "metadata": {"audio": "loud"}}
    async with open_realtime_server() as server, dialled(server) as client:
        await client.send("conversation.item.create", item=item)
        await client.send("conversation.item.retrieve", item_id="a")
        await client.send("response.create", response=own)
        await client.until("response.done")
        log = server.connections[0]
    for kind in ("conversation.item.create", "conversation.item.retrieved"):
        [entry] = log.find(kind)
        assert entry.event["item"]["content"][0]["audio"] == "<4800 bytes>"
    [asked] = log.find("response.create")
    response = asked.event["response"]
    assert response["input"][0]["content"][0]["audio"] == "<4800 bytes>"
    assert response["metadata"] == {"audio": "loud"}
