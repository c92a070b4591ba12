"""A server that runs for a day keeps the tails of what happened."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from stage import realtime_stage, until
from trialogue.dialects.openai.wire.server_events import InputAudioBufferCommitted
from trialogue.testing import Keeping, Say, close, quiet
from trialogue.testing.machine import Machine

if TYPE_CHECKING:
    import trio


async def test_by_default_everything_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A test of a few minutes looks at all of it."""
    async with realtime_stage(lambda _: Say("Yes.", ms=20)) as (server, session):
        for _ in range(30):
            await session.generate_reply()
    (connection,) = server.connections
    assert len(connection.responses) == 30
    assert len(connection.find("response.done")) == 30
    assert connection.counts["out", "response.done"] == 30


async def test_a_server_that_keeps_tails_still_counts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Frames, responses and connections that are over are forgotten; counts stay."""
    keeping = Keeping(entries=50, responses=3, connections=2)
    async with realtime_stage(
        lambda _: Say("Yes.", ms=20), server={"keeping": keeping}
    ) as (server, session):
        for number in range(1, 7):
            for _ in range(10):
                await session.generate_reply()
            assert server.connections[-1].counts["out", "response.done"] == 10
            server.inject(close(1011, after="session.updated"))
            await session.update_instructions(f"Version {number}.")
            await until(lambda n=number: server.accepted > n)
            await until(lambda: session.settled)
        assert [one.index for one in server.connections] == [4, 5, 6]
        assert len(server.connections[0].entries) == 50
        assert len(server.connections[0].responses) == 3
    assert server.protocol_errors == []


@pytest.mark.parametrize("seconds", [None, 2.0])
def test_the_sample_clock_goes_on_whatever_is_kept(seconds: float | None) -> None:
    """Turns and positions do not depend on how much of the audio is remembered."""
    machine = Machine(keeping=Keeping(audio_seconds=seconds))
    machine.open(0.0, model="gpt-realtime", key="sk")
    for second in range(10):
        audio = b64encode(quiet(1000)).decode()
        append = {"type": "input_audio_buffer.append", "audio": audio}
        machine.receive(json.dumps(append), float(second))
    assert len(machine.audio) == 48_000 * (10 if seconds is None else 2)
    said = machine.receive('{"type":"input_audio_buffer.commit"}', 10.0)
    assert isinstance(said[0], InputAudioBufferCommitted)
    assert (machine.committed[0].start_ms, machine.committed[0].end_ms) == (0, 10_000)
