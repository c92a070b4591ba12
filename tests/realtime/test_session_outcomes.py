"""What becomes of a reply where things cross, fail, are unknown, or come in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import collecting, realtime_stage, until
from trialogue import OpenAIRealtime
from trialogue.conversation.items import FunctionCall, Message, TextContent
from trialogue.errors import ResponseFailed
from trialogue.realtime.listener import CutItem, Listener
from trialogue.realtime.notices import ErrorNotice, MalformedFrame, RawEvent
from trialogue.realtime.opening import open_session
from trialogue.realtime.requests import RequestState
from trialogue.testing import Call, Fail, Network, RealtimeServer, Say, reject
from trialogue.tools.spec import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.realtime.replies import ReplyOutcome, Response

ANYTHING: dict[str, Any] = {"type": "object", "properties": {}}
TOOLS = [ToolSpec(name, "Look.", ANYTHING) for name in ("look_up", "look_down")]
TRUNCATE = "conversation.item.truncate"


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=400)


class Ear(Listener):
    """Hears 100 ms of what is said, and notes the calls as they become ready."""

    def __init__(self) -> None:
        self.items: dict[str, int] = {}
        self.calls: list[str] = []

    def audio(self, response: Response, item_id: str, pcm: bytes) -> None:
        self.items[item_id] = self.items.get(item_id, 0) + len(pcm) // 48

    def heard_ms(self, response: Response) -> int:
        return 100

    def call_ready(self, response: Response, call: FunctionCall) -> None:
        self.calls.append(call.name)

    def cut(
        self, response: Response | None, *, force: bool = False
    ) -> Sequence[CutItem]:
        stopped, self.items = self.items, {}
        return [CutItem(item_id, 100, ms) for item_id, ms in stopped.items()]


# --- what crosses -----------------------------------------------------------------


@pytest.mark.behaviour("R3", "R9")
async def test_an_interruption_that_crosses_the_end_is_no_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The server was done already: nothing to cancel, and still it was not heard."""
    ear = Ear()
    line = {"network": Network(one_way=0.4)}
    async with (
        realtime_stage(short, server=line, listener=ear) as (server, session),
        collecting(session) as events,
    ):
        await until(lambda: session.settled)
        outcomes: list[ReplyOutcome] = []

        async def ask() -> None:
            outcomes.append(await session.generate_reply())

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await until(lambda: ear.items)
                assert server.connections[0].responses[0].done is not None
                session.interrupt()
            await trio.sleep(3)
        [error] = server.connections[0].find("error")
        assert error.event["error"]["code"] == "response_cancel_not_active"
        assert [e for e in events if isinstance(e, ErrorNotice)] == []
        assert (outcomes[0].outcome, outcomes[0].heard_ms) == ("interrupted", 100)
        [cut] = server.connections[0].find(TRUNCATE, "in")
        assert cut.event["audio_end_ms"] == 100
        assert (await session.generate_reply()).outcome == "completed"


@pytest.mark.behaviour("R3")
async def test_truncating_what_is_gone_is_no_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        realtime_stage(short) as (server, session),
        collecting(session) as events,
    ):
        await until(lambda: session.settled)
        report = await session.truncate("item_gone", 500)
        assert report.ok
        assert [entry.type for entry in server.connections[0].find("error")]
        assert [e for e in events if isinstance(e, ErrorNotice)] == []


# --- what fails -------------------------------------------------------------------


@pytest.mark.behaviour("R4")
@pytest.mark.parametrize("code", ["rate_limit_exceeded", "server_error", "some_new"])
async def test_a_passing_error_is_its_waiters_alone(
    autojump_clock: trio.testing.MockClock, code: str
) -> None:
    """The item was refused; the session goes on, on the connection that it has."""
    faults = [reject("conversation.item.create", code=code)]
    async with realtime_stage(short, server={"faults": faults}) as (server, session):
        await until(lambda: session.settled)
        note = Message("item_a", "user", (TextContent("A note."),))
        edited = session.chat_ctx.insert(note)
        report = await session.update_chat_ctx(edited)
        [request] = report.requests
        assert (request.state, request.code) == (RequestState.REJECTED, code)
        assert (await session.update_chat_ctx(edited)).ok
        assert (await session.generate_reply()).outcome == "completed"
        assert server.dials == 1


@pytest.mark.behaviour("R4")
async def test_a_response_that_fails_for_now_leaves_the_session_alive(
    autojump_clock: trio.testing.MockClock,
) -> None:
    replies = iter([Fail("rate_limit_exceeded", "Slow down."), short(None)])
    async with realtime_stage(lambda turn: next(replies)) as (server, session):
        with pytest.raises(ResponseFailed, match="Slow down") as caught:
            await session.generate_reply()
        assert caught.value.recoverable
        assert (await session.generate_reply()).outcome == "completed"
        assert server.dials == 1


# --- what comes in numbers ----------------------------------------------------------


@pytest.mark.behaviour("R12")
async def test_messages_and_calls_of_one_response_keep_their_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """For whoever asked, for whoever runs the calls, and in the conversation."""
    parts: list[Any] = [Say("One.", ms=200), Call("look_up"), Say("Two.", ms=200)]
    brain = lambda turn: [*parts, Call("look_down"), Call("look_up")]  # noqa: E731
    ear = Ear()
    async with realtime_stage(brain, listener=ear, tools=TOOLS) as (server, session):
        outcome = await session.generate_reply()
        assert outcome.text == "One. Two."
        said = [
            getattr(item, "text", getattr(item, "name", "")) for item in outcome.items
        ]
        assert said == ["One.", "look_up", "Two.", "look_down", "look_up"]
        assert ear.calls == ["look_up", "look_down", "look_up"]
        ids = [item.id for item in outcome.items]
        assert ids == [item.id for item in server.connections[0].conversation]
        assert ids == list(session.chat_ctx.ids)


# --- what nobody knows --------------------------------------------------------------


class Renaming(trio.abc.Stream):
    """Puts other names, of the same length, in what the server says."""

    def __init__(self, stream: trio.abc.Stream, names: dict[bytes, bytes]) -> None:
        self._stream = stream
        self._names = names

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(max_bytes))
        for known, unknown in self._names.items():
            assert len(known) == len(unknown)
            data = data.replace(b'"%s"' % known, b'"%s"' % unknown)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


def renaming(server: RealtimeServer, names: dict[bytes, bytes]) -> OpenAIRealtime:
    async def connect() -> trio.abc.Stream:
        return Renaming(await server.connect(), names)

    url = "ws://localhost/v1/realtime"
    return OpenAIRealtime(api_key="sk-test-key", base_url=url, connect=connect)


@pytest.mark.behaviour("C9")
async def test_an_unknown_event_is_passed_over_and_seen_raw(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In a stream of events that are known; whoever subscribes has all of it."""
    names = {b"rate_limits.updated": b"mind_limits.updated"}
    async with (
        RealtimeServer(short).serving() as server,
        open_session(renaming(server, names)) as session,
        collecting(session) as events,
    ):
        assert (await session.generate_reply()).outcome == "completed"
        await trio.sleep(1)
        [sent] = server.connections[0].find("rate_limits.updated", "out")
        raw = {e.type: e.data for e in events if isinstance(e, RawEvent)}
        unknown = "mind_limits.updated"
        assert raw[unknown] == {**sent.event, "type": unknown}
        assert [e for e in events if isinstance(e, MalformedFrame | ErrorNotice)] == []
        assert server.dials == 1


@pytest.mark.behaviour("R7", "C9")
async def test_an_end_without_usage_and_details_is_an_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """They go by names that nobody knows: the reply is whole, and the next one too."""
    names = {b"usage": b"spent", b"status_details": b"status_matters"}
    async with (
        RealtimeServer(short).serving() as server,
        open_session(renaming(server, names)) as session,
        collecting(session) as events,
    ):
        for _ in range(2):
            with trio.fail_after(30):
                outcome = await session.generate_reply()
            assert (outcome.outcome, outcome.text) == ("completed", "Hello there.")
            assert outcome.usage is None
        assert [e for e in events if isinstance(e, MalformedFrame | ErrorNotice)] == []
        assert server.dials == 1
