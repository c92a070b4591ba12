"""The session over a protocol as unlike OpenAI's as can be.

No ids, no acknowledgements, tools and instructions that are set once, and a server that
answers tool results by itself. Nothing above the dialect knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from dialects.plain import PLAIN, PlainDialect
from trialogue import (
    Agent,
    ConnectionLost,
    RealtimeSession,
    RunContext,
    SessionClosed,
    SessionOptions,
    function_tool,
    open_agent_session,
    open_session,
)
from trialogue._codec import b64encode, dumps, loads
from trialogue.conversation.items import FunctionCall, FunctionCallOutput, Message
from trialogue.dialects.dialect import Capabilities
from trialogue.realtime.notices import ReplyEnded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

Frame = dict[str, Any]
Mind = Callable[["Connection"], Sequence[Frame]]
"""What a server says when it is its turn."""


class Connection:
    """One connection's server: what it was told, and what it makes of it."""

    def __init__(self, mind: Mind) -> None:
        self.mind = mind
        self.frames: list[Frame] = []
        self.instructions = ""
        self.tools: list[str] = []
        self.told: list[str] = []
        self.pending_calls = 0
        self.hung_up = False
        self.errors: list[str] = []
        self._outgoing, self._incoming = trio.open_memory_channel[str](math.inf)
        self.say({"hello": "plain-1"})

    def say(self, *frames: Frame) -> None:
        for frame in frames:
            self.pending_calls += "call" in frame
            self._outgoing.send_nowait(dumps(frame))

    def hang_up(self) -> None:
        self.hung_up = True
        self._outgoing.close()

    async def send(self, *texts: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.hung_up:
            raise ConnectionLost("the peer hung up")
        for text in texts:
            frame = loads(text)
            self.frames.append(frame)
            ((kind, value),) = frame.items()
            getattr(self, f"_{kind}")(value)

    async def receive_many(self) -> list[str]:
        try:
            return [await self._incoming.receive()]
        except trio.EndOfChannel:
            raise ConnectionLost("the peer hung up") from None

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()

    def _setup(self, setup: Frame) -> None:
        if self.instructions:
            self.errors.append("set up twice")
        self.instructions = setup["instructions"]
        self.tools = setup["tools"]

    def _say(self, said: Frame) -> None:
        self.told.append(f"{said['role']}: {said['text']}")

    def _result(self, text: str) -> None:
        if not self.pending_calls:
            self.errors.append("the result of no call")
            return
        self.pending_calls -= 1
        self.told.append(f"result: {text}")
        if not self.pending_calls:
            self.answer()

    def _audio(self, audio: str) -> None:
        self.told.append("audio")

    def _end_of_turn(self, _: bool) -> None:
        self.say({"heard": "what is the weather?"})
        self.answer()

    def _reply(self, _: bool) -> None:
        self.answer()

    def _stop(self, _: bool) -> None:
        self.say({"stopped": True})

    def answer(self) -> None:
        self.say(*self.mind(self))


@attrs.define(eq=False)
class Plain:
    """The provider: every connection there was, in order."""

    mind: Mind
    connections: list[Connection] = attrs.field(factory=list)
    dialects: int = 0


@attrs.frozen
class PlainModel:
    provider: Plain
    name: str = "plain"
    options: SessionOptions = attrs.field(factory=SessionOptions)
    capabilities: Capabilities = PLAIN

    def dialect(self) -> PlainDialect:
        self.provider.dialects += 1
        return PlainDialect(f"{self.provider.dialects}.")

    @asynccontextmanager
    async def open_link(
        self,
        *,
        connect_timeout: float,
        close_timeout: float,
        drain: Callable[[], Awaitable[None]] | None = None,
        max_message_size: int = 0,
    ) -> AsyncIterator[tuple[Any, trio.Nursery]]:
        connection = Connection(self.provider.mind)
        self.provider.connections.append(connection)
        async with trio.open_nursery() as nursery:
            try:
                yield connection, nursery
            finally:
                with trio.move_on_after(close_timeout, shield=True):
                    if drain is not None:
                        await drain()
                nursery.cancel_scope.cancel()


def speech(text: str) -> list[Frame]:
    return [{"text": text}, {"audio": b64encode(bytes(480))}, {"done": True}]


def calls(*names: str) -> list[Frame]:
    return [*({"call": {"name": n, "args": {}}} for n in names), {"done": True}]


def conversation(items: Sequence[object]) -> list[str]:
    """The record as a transcript."""
    lines = []
    for item in items:
        match item:
            case Message(role=role, text=text):
                lines.append(f"{role}: {text}")
            case FunctionCall(name=name):
                lines.append(f"call: {name}")
            case FunctionCallOutput(output=output):
                lines.append(f"output: {output}")
    return lines


class Weather(Agent):
    instructions = "You are Sunny."

    async def on_enter(self, ctx: RunContext) -> None:
        outcome = await ctx.session.generate_reply()
        assert outcome.text == "Sunny here."
        ctx.session.end()


class Greeter(Agent):
    instructions = "You are Kelly."
    looked = 0

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply()

    @function_tool
    async def look_outside(self, ctx: RunContext) -> str:
        """Look."""
        self.looked += 1
        return "rain"

    @function_tool
    async def to_weather(self, ctx: RunContext) -> Agent:
        """Hand over."""
        return Weather()


def two_agents(connection: Connection) -> list[Frame]:
    if "Sunny" in connection.instructions:
        return speech("Sunny here.")
    if "result: rain" not in connection.told:
        return [{"text": "Let me see."}, *calls("look_outside")]
    return [{"text": "Rain. One moment."}, *calls("to_weather")]


async def hand_over() -> tuple[Plain, Sequence[object]]:
    """Hold the whole conversation; return the provider and the record."""
    provider, greeter = Plain(two_agents), Greeter()
    with trio.fail_after(60):
        async with open_agent_session(PlainModel(provider)) as session:
            await session.run(greeter)
            (handoff,) = session.handoffs
            items = session.chat_ctx.items
    assert greeter.looked == 1
    assert not handoff.reused
    return provider, items


@pytest.mark.behaviour("H2")
async def test_conversation_with_a_tool_and_a_handoff(
    autojump_clock: MockClock,
) -> None:
    """The tool's result is answered once; immutable tools take a fresh connection."""
    provider, items = await hand_over()
    first, second = provider.connections
    assert (first.instructions, first.tools) == (
        "You are Kelly.",
        ["look_outside", "to_weather"],
    )
    assert (second.instructions, second.tools) == ("You are Sunny.", [])
    assert first.errors == []
    assert "set up twice" not in second.errors
    kinds = [next(iter(frame)) for frame in first.frames]
    assert kinds == ["setup", "reply", "result"]
    assert sum("reply" in frame for frame in second.frames) == 1
    lines = conversation(items)
    assert [line for line in lines if not line.startswith("output")] == [
        "assistant: Let me see.",
        "call: look_outside",
        "assistant: Rain. One moment.",
        "call: to_weather",
        "assistant: Sunny here.",
    ]
    assert sum(line.startswith("output") for line in lines) == 2


async def test_item_that_is_never_echoed_stands_where_it_was_added(
    autojump_clock: MockClock,
) -> None:
    _, items = await hand_over()
    assert conversation(items) == [
        "assistant: Let me see.",
        "call: look_outside",
        "output: rain",
        "assistant: Rain. One moment.",
        "call: to_weather",
        "output: transferred to Weather",
        "assistant: Sunny here.",
    ]


async def test_result_is_not_replayed_where_its_call_cannot_be(
    autojump_clock: MockClock,
) -> None:
    """This protocol has no form for a call that somebody else has made."""
    provider, _ = await hand_over()
    assert provider.connections[1].errors == []


async def test_reply_is_claimed_by_whoever_asked(autojump_clock: MockClock) -> None:
    provider = Plain(lambda connection: speech("Hello."))
    with trio.fail_after(60):
        async with opened(provider) as session:
            outcome = await session.generate_reply()
            again = await session.generate_reply()
    assert (outcome.outcome, outcome.text) == ("completed", "Hello.")
    assert (again.outcome, again.text) == ("completed", "Hello.")
    assert again.response_id != outcome.response_id
    (connection,) = provider.connections
    assert [next(iter(f)) for f in connection.frames] == ["setup", "reply", "reply"]


def opened(provider: Plain) -> AbstractAsyncContextManager[RealtimeSession]:
    return open_session(PlainModel(provider), instructions="Be kind.")


async def test_manual_turn_is_heard_and_answered_by_itself(
    autojump_clock: MockClock,
) -> None:
    """The commit follows the audio; nobody asks for the reply that comes."""
    provider = Plain(lambda connection: speech("Rain."))
    with trio.fail_after(60):
        async with opened(provider) as session, session.subscribe(ReplyEnded) as ends:
            session.push_audio(bytes(4800))
            report = await session.commit_audio()
            ended = await ends.receive()
            lines = conversation(session.chat_ctx.items)
    assert report.ok
    assert ended.outcome.text == "Rain."
    assert lines == ["user: what is the weather?", "assistant: Rain."]
    (connection,) = provider.connections
    kinds = [next(iter(f)) for f in connection.frames]
    assert kinds == ["setup", "audio", "end_of_turn"]


async def test_cancelled_reply_is_stopped_and_the_next_one_works(
    autojump_clock: MockClock,
) -> None:
    """Where the conversation cannot be edited, what was said simply stays."""
    answers = iter([[{"text": "Once upon"}], speech("Hello.")])
    provider = Plain(lambda connection: next(answers))
    with trio.fail_after(60):
        async with opened(provider) as session:
            with trio.move_on_after(1):
                await session.generate_reply()
            outcome = await session.generate_reply()
    assert outcome.text == "Hello."
    (connection,) = provider.connections
    kinds = [next(iter(f)) for f in connection.frames]
    assert kinds == ["setup", "reply", "stop", "reply"]


async def test_lost_connection_is_replaced_and_given_the_conversation(
    autojump_clock: MockClock,
) -> None:
    provider = Plain(lambda connection: speech("Hello."))
    with trio.fail_after(60):
        async with opened(provider) as session:
            await session.generate_reply()
            provider.connections[0].hang_up()
            outcome = await session.generate_reply()
    assert outcome.text == "Hello."
    _, second = provider.connections
    assert (second.instructions, second.told[:1]) == ("Be kind.", ["assistant: Hello."])


@pytest.mark.behaviour("C7")
async def test_session_that_was_left_refuses_work(autojump_clock: MockClock) -> None:
    provider = Plain(lambda connection: speech("Hello."))
    async with opened(provider) as session:
        pass
    with pytest.raises(SessionClosed):
        session.push_audio(bytes(2))
    for work in (
        session.generate_reply,
        session.commit_audio,
        session.clear_audio,
        session.update_session,
    ):
        with pytest.raises(SessionClosed):
            await work()
