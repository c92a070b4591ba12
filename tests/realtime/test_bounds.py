"""What a peer or a program may pile up has a bound, and says so when it is reached."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from faulty_streams import Jammed
from stage import collecting, until
from trialogue import ConversionError, OpenAIRealtime
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
