"""What a peer or a program may pile up has a bound, and says so when it is reached."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from faulty_streams import Jammed
from stage import collecting, model_of, realtime_stage, until
from trialogue import ConnectionLost, ConversionError, Limits, OpenAIRealtime
from trialogue.conversation.items import Message, TextContent
from trialogue.dialects.commands import AppendAudio, Command, CreateUserAudio
from trialogue.dialects.openai import OpenAIDialect
from trialogue.realtime.notices import ConnectionEnded
from trialogue.realtime.opening import open_session
from trialogue.testing import RealtimeServer, Say

FRAMES = 1024
"""How many control frames may wait to be written."""
AUDIO_BYTES = 15 * 2**20
"""How much audio the provider takes in one message."""


def short(turn: Any) -> Any:
    return Say("Hello there.", ms=200)


@pytest.mark.behaviour("X3")
async def test_frames_that_nobody_reads_do_not_pile_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Such a peer is given up; what it was to be told stands on the next connection."""
    streams: list[Jammed] = []
    async with RealtimeServer(short).serving() as server:

        async def connect() -> trio.abc.Stream:
            streams.append(Jammed(await server.connect()))
            return streams[-1]

        url = "ws://localhost/v1/realtime"
        model = OpenAIRealtime(api_key="sk-test-key", base_url=url, connect=connect)
        async with open_session(model) as session, collecting(session) as events:
            await until(lambda: session.settled)
            streams[0].jam()
            for number in range(FRAMES + 2):
                note = Message(f"item_{number}", "user", (TextContent("Hm."),))
                session.add_items([note])
                await trio.lowlevel.checkpoint()
            assert len(streams) == 1
            await until(lambda: len(server.connections) == 2 and session.settled, 20)
            [ended] = [e for e in events if isinstance(e, ConnectionEnded)]
            assert "stopped reading" in ended.message
            held = [item.id for item in server.connections[1].conversation]
            assert held[-1] == f"item_{FRAMES + 1}"


@pytest.mark.behaviour("X3", "C12")
async def test_an_edit_longer_than_the_outbox_is_no_sign_of_a_peer_that_stopped_reading(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is as long as the conversation; it leaves whole, and so does what follows."""
    few = Limits(outbox_frames=50)
    async with realtime_stage(short, limits=few) as (server, session):
        await until(lambda: session.settled)
        for number in range(120):
            await session.send_message(str(number))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.send_message, "A word behind it.")
            edited = attrs.evolve(session.chat_ctx, items=())
            report = await session.update_chat_ctx(edited)
        assert report.ok
        assert len(report.requests) >= 120
        [kept] = session.chat_ctx.items
        assert isinstance(kept, Message)
        assert kept.text == "A word behind it."
        assert server.dials == 1


@pytest.mark.behaviour("C2")
async def test_a_retrieval_that_was_never_written_is_lost_with_its_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As one that was written: it may be asked for again, on the next one."""
    streams: list[Jammed] = []
    async with RealtimeServer(short).serving() as server:

        async def connect() -> trio.abc.Stream:
            streams.append(Jammed(await server.connect()))
            return streams[-1]

        async with open_session(model_of(server, connect=connect)) as session:
            await until(lambda: session.settled)
            streams[0].jam()
            connection = session.connection
            assert connection is not None
            session.push_audio(bytes(9600))
            await trio.testing.wait_all_tasks_blocked()  # the writer is stuck with it

            async def ask() -> None:
                with pytest.raises(ConnectionLost, match="ask again"):
                    await session.retrieve_item("msg_1")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await until(lambda: not connection.drained)
                connection.end(ConnectionLost("the cable was pulled"))


@pytest.mark.behaviour("X3")
@pytest.mark.parametrize(
    "command",
    [AppendAudio(bytes(AUDIO_BYTES + 2)), CreateUserAudio("i", bytes(AUDIO_BYTES + 2))],
    ids=["append", "message"],
)
def test_audio_beyond_one_message_is_refused(command: Command) -> None:
    """Before it is sent: the provider would end the session over it."""
    with pytest.raises(ConversionError, match="in pieces"):
        OpenAIDialect().encode(command, event_id="e")
