"""Sound over the wire in each of its formats: what is said is what is heard."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import pytest

from stage import on_stage, realtime_stage, running, until
from trialogue import Agent, RunContext
from trialogue.dialects.options import UNCHANGED, AudioFormat, SessionOptions, Unchanged
from trialogue.realtime.listener import Listener
from trialogue.testing import Say

if TYPE_CHECKING:
    from trialogue.realtime.replies import Response
    from trialogue.testing import Connection

FORMATS = pytest.mark.parametrize("wire", ["pcm16", "pcmu", "pcma"])
TYPES = {"pcm16": "audio/pcm", "pcmu": "audio/pcmu", "pcma": "audio/pcma"}
LOUD = 12_000


def tone(hertz: float, ms: int = 600) -> bytes:
    step = 2 * math.pi * hertz / 24_000
    return array(
        "h", [round(LOUD * math.sin(step * t)) for t in range(ms * 24)]
    ).tobytes()


def alike(heard: bytes, said: bytes) -> bool:
    """Whether two sounds are the same, as far as a telephone carries them.

    On the way three samples become one and three again, which moves them by one or two.
    """
    one, other = array("h", heard), array("h", said)
    return len(one) == len(other) and any(
        max(abs(one[t + shift] - other[t]) for t in range(10, len(one) - 10))
        < 0.1 * LOUD
        for shift in range(-3, 4)
    )


def made_in(connection: Connection) -> list[str]:
    """Return the formats of the responses, as the server shows them."""
    created = connection.find("response.created", "out")
    shown = [entry.event["response"]["audio"]["output"] for entry in created]
    return [output["format"]["type"] for output in shown]


class Speaker(Agent):
    """Speaks when it enters."""

    instructions = "Hum."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Hum.")


def test_the_yardstick_tells_sounds_apart() -> None:
    said = tone(200)
    assert alike(said, said)
    assert not alike(tone(203), said)
    assert not alike(said[:-6], said)
    assert not alike(bytes(len(said)), said)
    assert not alike(said[12:] + bytes(12), said), "six samples late"


@FORMATS
@pytest.mark.behaviour("A1")
async def test_user_is_heard_by_the_server_as_he_spoke(
    wire: AudioFormat, autojump_clock: object
) -> None:
    options = SessionOptions(turn_detection=None, input_format=wire)
    async with realtime_stage(options=options) as (server, session):
        said = tone(200)
        for at in range(0, len(said), 1001):  # through samples as well
            session.push_audio(said[at : at + 1001])
        report = await session.commit_audio()
        report.raise_for_failures()
        [turn] = server.connections[0].committed
        assert alike(turn.pcm, said)
        assert wire != "pcm16" or turn.pcm == said
        sent = server.connections[0].find("session.update", "in")[0].event["session"]
        assert sent["audio"]["input"]["format"]["type"] == TYPES[wire]


@FORMATS
@pytest.mark.behaviour("A1")
async def test_agent_is_heard_by_the_user_as_it_spoke(
    wire: AudioFormat, autojump_clock: object
) -> None:
    said = tone(200)
    options = SessionOptions(output_format=wire)
    async with on_stage(
        lambda turn: Say("Hum.", audio=said), model={"options": options}
    ) as stage:
        async with running(stage, Speaker()):
            await until(lambda: len(stage.output.pcm) >= len(said))
        [connection] = stage.server.connections
        assert alike(stage.output.pcm[: len(said)], said)
        assert made_in(connection) == [TYPES[wire]]


@pytest.mark.behaviour("A1")
async def test_one_reply_may_come_in_another_format(autojump_clock: object) -> None:
    """Each response is read in the format that it is made in."""
    said = tone(200)
    heard: dict[str, bytes] = {}

    class Ear(Listener):
        def audio(self, response: Response, item_id: str, pcm: bytes) -> None:
            heard[response.id] = heard.get(response.id, b"") + pcm

    async with realtime_stage(lambda turn: Say("Hum.", audio=said), listener=Ear()) as (
        server,
        session,
    ):
        wishes: list[AudioFormat | Unchanged] = ["pcmu", UNCHANGED, "pcma", "pcm16"]
        for wish in wishes:
            reply = await session.generate_reply(output_format=wish)
            assert reply.outcome == "completed"
        made = made_in(server.connections[0])
    assert [alike(pcm, said) for pcm in heard.values()] == [True] * len(wishes)
    assert made == ["audio/pcmu", "audio/pcm", "audio/pcma", "audio/pcm"]
