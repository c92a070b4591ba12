"""Connections of a session: refused, lost, cut at any frame, stalled; one session."""

from __future__ import annotations

import itertools
import random
import socket
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from faulty_streams import Garbling, Jammed
from stage import collecting, model_of, realtime_stage, until
from trialogue import OpenAIRealtime
from trialogue.conversation.items import Message, TextContent
from trialogue.dialects.options import SessionOptions
from trialogue.errors import ConnectionLost, ConnectRefused, SessionClosed
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.connection import Timing
from trialogue.realtime.listener import Listener
from trialogue.realtime.notices import (
    ConnectionEnded,
    ConnectionOpened,
    MalformedFrame,
)
from trialogue.realtime.opening import open_session
from trialogue.realtime.requests import RequestState
from trialogue.testing import (
    Network,
    RealtimeServer,
    Say,
    Settings,
    close,
    cut,
    open_realtime_server,
    refuse_connect,
    refuse_upgrade,
    reject,
    silence,
    silent_connect,
    stall,
)
from trialogue.testing.scheduling import seeded
from trialogue.tools.spec import ToolSpec

if TYPE_CHECKING:
    from trialogue.conversation.context import ChatContext
    from trialogue.realtime.replies import ReplyOutcome, Response
    from trialogue.realtime.requests import UpdateReport
    from trialogue.realtime.session import RealtimeSession

QUIET = {"owed": 0, "queued": 0, "posted": 0, "active": 0, "turn": 0}
MANUAL = SessionOptions(turn_detection=None)
LOOKUP = ToolSpec("lookup", "Look it up.", {"type": "object", "properties": {}})
TAKEN = {RequestState.ACKNOWLEDGED, RequestState.IMPLIED}


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=400)


def with_notes(context: ChatContext, *ids: str) -> ChatContext:
    for item_id in ids:
        note = Message(item_id, "user", (TextContent(f"Note {item_id}."),))
        context = context.insert(note)
    return context


def held(server: RealtimeServer) -> list[str]:
    return [item.id for item in server.connections[-1].conversation]


def worded(context: ChatContext) -> list[str]:
    """Return the ids of all but replies of which no word is known."""
    return [
        item.id
        for item in context
        if not isinstance(item, Message) or item.role != "assistant" or item.text
    ]


async def settle(session: RealtimeSession) -> None:
    await until(lambda: session.settled and session.open_work == QUIET)


# --- opening -------------------------------------------------------------------


@pytest.mark.behaviour("C1")
async def test_connected_means_that_the_first_event_was_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The block begins when `session.created` arrives, three round trips away."""
    began = trio.current_time()
    network = Network(one_way=0.5)
    async with realtime_stage(server={"network": network}) as (server, session):
        assert trio.current_time() - began == pytest.approx(3.0, abs=0.1)
        assert server.connections[0].find("session.created", "out")
        assert session.connection is not None


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (Settings(keys=frozenset({"sk-another-key"})), 3000),
        (Settings(accepts_model=lambda name: False), 4000),
    ],
    ids=["wrong key", "wrong model"],
)
async def test_a_refusal_behind_the_upgrade_is_a_typed_error_without_a_retry(
    autojump_clock: trio.testing.MockClock, settings: Settings, code: int
) -> None:
    """The upgrade succeeds, and then the provider closes: nothing tries again."""
    async with RealtimeServer(settings=settings).serving() as server:
        with trio.fail_after(30), pytest.raises(ConnectRefused) as caught:
            async with open_session(model_of(server)):
                pytest.fail("the block began without a session")
        await trio.sleep(60)
        assert server.dials == 1
        assert server.connections[0].close_code == code
        assert "sk-" not in f"{caught.value!r} {caught.value}"


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize(
    "fault",
    [
        close(3000, before="session.created"),
        close(4000, before="session.created"),
        reject("session.created", code="invalid_api_key"),
        reject("session.created", code="invalid_model"),
    ],
    ids=["close 3000", "close 4000", "error about the key", "error about the model"],
)
async def test_a_close_or_an_error_in_place_of_the_first_event_is_a_refusal(
    autojump_clock: trio.testing.MockClock, fault: Any
) -> None:
    """Either alone is enough: a typed error, and nobody dials again."""
    async with RealtimeServer(faults=[fault]).serving() as server:
        with trio.fail_after(30), pytest.raises(ConnectRefused):
            async with open_session(model_of(server)):
                pytest.fail("the block began without a session")
        await trio.sleep(60)
        assert server.dials == 1


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refused_upgrade_is_a_typed_error_without_a_retry(
    autojump_clock: trio.testing.MockClock, status: int
) -> None:
    async with RealtimeServer(faults=[refuse_upgrade(status, 99)]).serving() as server:
        with trio.fail_after(30), pytest.raises(ConnectRefused) as caught:
            async with open_session(model_of(server)):
                pytest.fail("the block began without a session")
        assert caught.value.status == status
        await trio.sleep(60)
        assert server.dials == 1


@pytest.mark.behaviour("C1")
@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (refuse_connect(99), 5),
        (refuse_upgrade(503, 99), 5),
        (silent_connect(99), 40),
        (silence(before="session.created", nth=None), 40),
    ],
    ids=["nobody listens", "503", "no answer", "no first event"],
)
async def test_a_server_out_of_reach_is_given_up_after_a_few_tries(
    autojump_clock: trio.testing.MockClock, fault: Any, seconds: float
) -> None:
    """ConnectionLost, and not the kind that says that trying again is useless."""
    async with RealtimeServer(faults=[fault]).serving() as server:
        with trio.fail_after(seconds), pytest.raises(ConnectionLost) as caught:
            async with open_session(model_of(server)):
                pytest.fail("the block began without a session")
        assert not isinstance(caught.value, ConnectRefused)
        assert server.dials == Backoff().first_attempts


async def test_a_server_that_comes_up_late_is_reached(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [refuse_connect(2)]
    async with realtime_stage(short, server={"faults": faults}) as (server, session):
        assert (await session.generate_reply()).outcome == "completed"
        assert server.dials == 3


# --- a drop at any frame -------------------------------------------------------


class Ear(Listener):
    """How much audio of each response may be heard."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()

    def audio(self, response: Response, item_id: str, pcm: bytes) -> None:
        self.bytes[response.id] += len(pcm)

    def heard_ms(self, response: Response) -> int:
        return self.bytes[response.id] // 48


class Exchange:
    """A scripted conversation, and what its callers were told."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self.reports: list[UpdateReport] = []
        self.replies: list[ReplyOutcome] = []

    async def run(self) -> None:
        session = self.session
        context = with_notes(session.chat_ctx, "item_a", "item_b", "item_c")
        self.reports.append(await session.update_chat_ctx(context, ack_timeout=60))
        self.replies.append(await session.generate_reply())
        self.reports.append(
            await session.update_session(
                instructions="You are Sunny.",
                chat_ctx=session.chat_ctx.remove("item_b"),
                ack_timeout=60,
            )
        )
        self.replies.append(await session.generate_reply(instructions="Be short."))
        session.push_audio(b"\x01\x02" * 12_000)
        self.reports.append(await session.commit_audio(ack_timeout=60))


def exchanging(server: RealtimeServer, ear: Ear) -> Any:
    return open_session(
        model_of(server),
        instructions="You are Kelly.",
        tools=[LOOKUP],
        options=SessionOptions(turn_detection=None, speed=1.1),
        listener=ear,
        seed=1,
    )


async def frames_of_exchange() -> list[tuple[str, str]]:
    async with RealtimeServer(short).serving() as server:
        async with exchanging(server, Ear()) as session:
            await Exchange(session).run()
            await settle(session)
        return [
            (entry.direction, entry.type)
            for entry in server.connections[0].entries
            if entry.type != "session.created"
        ]


def dropping(kind: str, nth: int, how: str) -> Any:
    return {
        "cut before": lambda: cut(before=kind, nth=nth, connection=0),
        "torn": lambda: cut(before=kind, nth=nth, connection=0, after_bytes=7),
        "1011": lambda: close(1011, before=kind, nth=nth, connection=0),
    }[how]()


@pytest.mark.behaviour("C2", "C12")
@pytest.mark.parametrize(
    ("how", "every"), [("cut before", 1), ("torn", 3), ("1011", 3)]
)
async def test_a_drop_at_any_frame_is_survived(
    autojump_clock: trio.testing.MockClock, how: str, every: int
) -> None:
    """Cut at every frame: callers are told, everything is restored, in order."""
    with seeded(3):
        frames = await frames_of_exchange()
    assert len(frames) > 50
    counted: Counter[str] = Counter()
    for direction, kind in frames:
        counted[kind] += 1
        if how == "torn" and direction == "in":
            continue
        if kind == "rate_limits.updated" or ("delta" in kind and counted[kind] > 2):
            continue
        with seeded(3):
            await survive(dropping(kind, counted[kind], how), f"{kind} {counted[kind]}")


async def survive(fault: Any, where: str) -> None:
    async with (
        RealtimeServer(short, faults=[fault]).serving() as server,
        exchanging(server, Ear()) as session,
    ):
        exchange = Exchange(session)
        with trio.fail_after(120):
            await exchange.run()
            await trio.sleep(1)
            await settle(session)
        check_restored(server, session, exchange, where)
        # And it goes on as if nothing had been.
        report = await session.update_chat_ctx(
            with_notes(session.chat_ctx, "item_last")
        )
        assert report.ok, where
        assert (await session.generate_reply()).outcome == "completed", where
        assert held(server) == worded(session.chat_ctx), where
        assert session.open_work == QUIET, where


def check_restored(
    server: RealtimeServer, session: RealtimeSession, exchange: Exchange, where: str
) -> None:
    # Each caller has an outcome; a reply that was cut may be in part, or asked again.
    assert len(exchange.replies) == 2, where
    assert {r.outcome for r in exchange.replies} <= {"completed", "lost"}, where
    for report in exchange.reports:
        states = {request.state for request in report.requests}
        lost = {RequestState.LOST, RequestState.NOT_SENT}
        assert states <= TAKEN | lost, (where, report)
    # The record and the server agree, whatever became of the requests; only of a reply
    # of which no word is known there is nothing that a server could be given.
    assert held(server) == worded(session.chat_ctx), where
    assert {"item_a", "item_c"} <= set(held(server)), where
    last = server.connections[-1]
    assert server.protocol_errors == [], where
    if len(server.connections) == 1:
        return
    assert len(server.connections) == 2, where
    # Options, instructions and tools before the context, the context before a reply.
    kinds = [k for k in last.types("in") if k != "input_audio_buffer.append"]
    assert kinds[0] == "session.update", where
    first = last.find("session.update", "in")[0].event["session"]
    assert first["tools"][0]["name"] == "lookup", where
    assert first["audio"]["output"]["speed"] == 1.1, where
    assert first["audio"]["input"]["turn_detection"] is None, where
    if "conversation.item.create" in kinds and "response.create" in kinds:
        assert kinds.index("conversation.item.create") < kinds.index("response.create")
    wanted = session.wanted
    assert wanted is not None
    assert wanted.instructions == "You are Sunny.", where
    updated = last.find("session.updated", "out")[-1].event["session"]
    assert updated["instructions"] == "You are Sunny.", where


@pytest.mark.behaviour("C2")
async def test_what_was_waiting_when_the_connection_dropped_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A written update is "lost", at once; the item itself is there afterwards."""
    async with realtime_stage(short) as (server, session):
        await settle(session)
        server.inject(cut(before="conversation.item.added"))
        began = trio.current_time()
        report = await session.update_chat_ctx(with_notes(session.chat_ctx, "item_a"))
        assert [r.state for r in report.requests] == [RequestState.LOST]
        assert trio.current_time() - began < 1
        await settle(session)
        assert held(server) == ["item_a"] == list(session.chat_ctx.ids)
        async with collecting(session) as events:
            server.inject(close(1011, reason="bye", before="conversation.item.added"))
            await session.update_chat_ctx(with_notes(session.chat_ctx, "item_b"))
            await settle(session)
            [ended] = [e for e in events if isinstance(e, ConnectionEnded)]
            assert (ended.code, ended.will_retry) == (1011, True)
            [opened] = [e for e in events if isinstance(e, ConnectionOpened)]
            assert opened.generation == ended.generation + 1


@pytest.mark.behaviour("C2", "R10")
async def test_a_reply_that_was_not_heard_yet_is_asked_for_again_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The connection drops before its first sound: its caller waits on, and gets it."""
    ear = Ear()
    faults = [cut(before="response.output_audio.delta")]
    async with realtime_stage(short, server={"faults": faults}, listener=ear) as stage:
        server, session = stage
        with trio.fail_after(30):
            outcome = await session.generate_reply(instructions="Say hello.")
        assert outcome.outcome == "completed"
        assert outcome.text == "Hello there."
        assert list(ear.bytes.values()) == [400 * 48]
        assert [len(c.find("response.create")) for c in server.connections] == [1, 1]
        assert held(server) == list(session.chat_ctx.ids)
        assert len(session.chat_ctx) == 1


# --- silence and back-off ------------------------------------------------------


@pytest.mark.behaviour("C5")
@pytest.mark.parametrize("how", ["silence", "stall"])
async def test_no_pong_within_the_deadline_is_a_drop(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    """Nothing is owed and nothing said: the heartbeat notices, and it goes on."""
    async with realtime_stage(short, instructions="You are Kelly.") as stage:
        server, session = stage
        await settle(session)
        dead = {
            "silence": silence(after="conversation.item.done", pongs=False),
            "stall": stall(after="conversation.item.create"),
        }
        server.inject(dead[how])
        async with collecting(session) as events:
            report = await session.update_chat_ctx(
                with_notes(session.chat_ctx, "item_a")
            )
            assert report.ok
            began = trio.current_time()
            await until(lambda: [e for e in events if isinstance(e, ConnectionOpened)])
            timing = Timing()
            assert trio.current_time() - began <= timing.ping_every + timing.pong + 1
            [ended] = [e for e in events if isinstance(e, ConnectionEnded)]
            assert "pong" in ended.message
        assert (await session.generate_reply()).outcome == "completed"
        assert held(server)[0] == "item_a"


async def test_a_live_server_is_not_taken_for_dead(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An hour of nothing but pings and pongs."""
    settings = {"settings": Settings(max_duration=7200)}
    async with realtime_stage(short, server=settings) as (server, session):
        await trio.sleep(3500)
        assert len(server.connections) == 1
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("C8")
async def test_connecting_alone_does_not_restore_the_budget(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each connection drops as soon as it is configured: in the end it is given up."""
    faults = [cut(after="session.updated", nth=None)]
    backoff = Backoff(attempts=5)
    async with RealtimeServer(faults=faults).serving() as server:

        async def connect() -> trio.abc.Stream:
            # Dialling without a pause takes no virtual time: no deadline would end it.
            assert server.dials < 20
            return await server.connect()

        model = OpenAIRealtime(
            api_key="sk-test-key",
            base_url="ws://localhost/v1/realtime",
            connect=connect,
        )
        with trio.fail_after(120), pytest.raises(ConnectionLost):
            async with open_session(model, backoff=backoff):
                await trio.sleep_forever()
        assert 5 <= server.dials <= 6
        opened = [c.opened for c in server.connections]
        pauses = [b - a for a, b in itertools.pairwise(opened)]
        assert pauses[-1] > pauses[0]


@pytest.mark.behaviour("C8")
async def test_progress_restores_the_budget(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each connection drops after a completed reply, more often than the budget."""
    faults = [cut(after="response.done", nth=None), refuse_connect(2, skip=1)]
    async with realtime_stage(
        short, server={"faults": faults}, backoff=Backoff(attempts=4)
    ) as (server, session):
        for _ in range(12):
            with trio.fail_after(60):
                assert (await session.generate_reply()).outcome == "completed"
        assert len(server.connections) >= 12


# --- after the end -------------------------------------------------------------


async def all_refused(session: RealtimeSession) -> None:
    """Every way to give it work raises at once."""
    began = trio.current_time()
    context = with_notes(session.chat_ctx, "item_late")
    for work in (
        partial(session.update_session, instructions="x"),
        partial(session.update_chat_ctx, context),
        partial(session.update_tools, []),
        session.generate_reply,
        session.commit_audio,
        session.clear_audio,
        partial(session.truncate, "item_a", 10),
    ):
        with pytest.raises(SessionClosed):
            await work()
    with pytest.raises(SessionClosed):
        session.push_audio(bytes(960))
    assert trio.current_time() == began


@pytest.mark.behaviour("C7")
async def test_a_closed_session_refuses_work_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with realtime_stage(short) as (server, session):
        await settle(session)
    await all_refused(session)
    async with session.subscribe() as events:
        assert [event async for event in events] == []
    assert server.connections[0].close_code == 1000


@pytest.mark.behaviour("C7")
async def test_a_session_that_failed_refuses_work_and_says_why(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Lost for good: the block raises, what it waits for is cancelled, work refused."""
    server = RealtimeServer(short)
    opened: list[RealtimeSession] = []
    async with server.serving():
        with pytest.raises(ConnectionLost) as caught:  # noqa: PT012
            async with open_session(model_of(server)) as session:
                opened.append(session)
                await settle(session)
                server.inject(cut(before="response.created"), refuse_connect(99))
                with trio.fail_after(120):
                    await session.generate_reply()
                pytest.fail("the reply of a dead session ended")
        await all_refused(opened[0])
        with pytest.raises(SessionClosed) as refused:
            opened[0].push_audio(bytes(2))
        assert refused.value.__cause__ is caught.value


# --- malformed frames ----------------------------------------------------------


@pytest.mark.behaviour("C10")
async def test_a_malformed_frame_is_passed_over_and_its_text_kept_to_itself(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be read is announced without its words; the reply still ends."""
    secret = "My number is 4711-0815."
    async with RealtimeServer(lambda turn: Say(secret, ms=400)).serving() as server:

        async def connect() -> trio.abc.Stream:
            kind = "response.output_audio_transcript.done"
            return Garbling(await server.connect(), kind)

        model = OpenAIRealtime(
            api_key="sk-test-key",
            base_url="ws://localhost/v1/realtime",
            connect=connect,
        )
        async with open_session(model) as session, collecting(session) as events:
            with trio.fail_after(30):
                outcome = await session.generate_reply()
            assert outcome.outcome == "completed"
            await trio.testing.wait_all_tasks_blocked()  # they are told in any order
            [malformed] = [e for e in events if isinstance(e, MalformedFrame)]
            assert "4711" not in repr(malformed)
            assert "4711" not in caplog.text
            assert (await session.generate_reply()).outcome == "completed"
        assert len(server.connections) == 1


# --- over TCP, with little room ------------------------------------------------


def small_connector(port: int) -> Any:
    """Dial with a send buffer that is soon full."""

    async def connect() -> trio.abc.Stream:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return stream

    return connect


def over_tcp(server: RealtimeServer) -> OpenAIRealtime:
    return OpenAIRealtime(
        api_key="sk-test-key",
        base_url=server.url,
        connect=small_connector(server.port),
        options=MANUAL,
    )


def seen_of(server: RealtimeServer, marker: str) -> list[str]:
    """Return the types of the frames of one update, as the server saw them."""
    return [
        entry.type
        for connection in server.connections
        for entry in connection.entries
        if entry.direction == "in" and marker in str(entry.event)
    ]


@pytest.mark.behaviour("C11", "C12")
async def test_callers_cancelled_at_random_cut_neither_frames_nor_batches() -> None:
    """Over TCP, a 4 kB send buffer, a server that stalls: whole batches or nothing."""
    rng = random.Random(7)
    stalls = [
        stall(after="session.update", seconds=0.02, nth=nth) for nth in range(3, 400, 3)
    ]
    states: Counter[str] = Counter()
    async with open_realtime_server(short, port=0, faults=stalls) as server:
        async with open_session(over_tcp(server)) as session:

            async def update(number: int) -> None:
                marker = f"mark_{number}_"
                words = marker + "x" * rng.choice([10, 5_000, 60_000])
                ids = [f"{marker}{n}" for n in range(2)]
                report = None
                with trio.move_on_after(rng.random() * 0.012):
                    report = await session.update_session(
                        instructions=words,
                        chat_ctx=with_notes(session.chat_ctx, *ids),
                        ack_timeout=rng.choice([0.003, 5.0]),
                    )
                if report is not None:
                    states.update(r.state.value for r in report.requests)
                    withheld = {r.state for r in report.requests}
                    unsent[marker] = withheld == {RequestState.NOT_SENT}

            async def talk() -> None:
                with trio.move_on_after(rng.random() * 0.02):
                    await session.generate_reply()

            unsent: dict[str, bool] = {}
            with trio.fail_after(60):
                for number in range(120):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(update, number)
                        if number % 3 == 0:
                            nursery.start_soon(talk)
                last = await session.update_session(instructions="The last word.")
                assert last.ok
                await settle(session)
            counts = Counter(len(seen_of(server, f"mark_{n}_")) for n in range(120))
            for number in range(120):
                marker = f"mark_{number}_"
                seen = seen_of(server, marker)
                whole = ["session.update", *["conversation.item.create"] * 2]
                assert seen in ([], whole), (marker, seen)
                assert not (seen and unsent.get(marker)), marker
            assert held(server) == list(session.chat_ctx.ids)
        assert server.protocol_errors == []
        assert len(server.connections) == 1
    assert counts[0] > 5
    assert counts[3] > 5


@pytest.mark.behaviour("C12")
async def test_a_batch_that_was_not_written_is_withdrawn_and_never_leaves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """There is no room for a while: what its requester gave up on is gone."""
    streams: list[Jammed] = []
    async with RealtimeServer(short).serving() as server:

        async def connect() -> trio.abc.Stream:
            streams.append(Jammed(await server.connect()))
            return streams[-1]

        url = "ws://localhost/v1/realtime"
        model = OpenAIRealtime(api_key="sk-test-key", base_url=url, connect=connect)
        async with open_session(model) as session:
            first = with_notes(session.chat_ctx, "item_a", "item_b")
            assert (await session.update_chat_ctx(first)).ok
            streams[0].jam()
            stuck = await session.update_session(
                instructions="Being written.", ack_timeout=1.0
            )
            assert [r.state for r in stuck.requests] == [RequestState.UNANSWERED]
            report = await session.update_session(
                instructions="Never.",
                chat_ctx=with_notes(session.chat_ctx.remove("item_b"), "item_never"),
                ack_timeout=1.0,
            )
            assert [r.state for r in report.requests] == [RequestState.NOT_SENT] * 3
            with trio.move_on_after(1.0):
                await session.generate_reply(instructions="Never either.")
            streams[0].free()
            await settle(session)
            assert seen_of(server, "Being written.") == ["session.update"]
            assert seen_of(server, "item_never") == []
            assert seen_of(server, "Never") == []
            assert list(session.chat_ctx.ids) == ["item_a", "item_b"] == held(server)
            # What was not sent is not wanted either: neither now nor with the next.
            assert session.wanted is not None
            assert session.wanted.instructions == "Being written."
            edited = session.chat_ctx.remove("item_b")
            again = await session.update_session(tools=[LOOKUP], chat_ctx=edited)
            assert [r.state for r in again.requests] == [RequestState.ACKNOWLEDGED] * 2
            assert held(server) == ["item_a"]
            assert (await session.generate_reply()).outcome == "completed"
            [response] = server.connections[0].responses
            assert response.instructions == "Being written."
            assert response.tools == ("lookup",)
        assert len(server.connections) == 1
