"""The end of a spoken turn is noted once, whatever the provider says, or omits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stage import realtime_stage, until
from trialogue.conversation.items import Message
from trialogue.testing import (
    Say,
    Utterances,
    close,
    duplicate,
    quiet,
    refuse_connect,
    swallow,
    voice,
)

if TYPE_CHECKING:
    import trio

    from trialogue.realtime.session import RealtimeSession


def brain(_: Any) -> Any:
    return Say("Yes.", ms=50)


def turns(session: RealtimeSession) -> list[str]:
    """Return the ids of the user's turns."""
    return [
        item.id
        for item in session.chat_ctx
        if isinstance(item, Message) and item.role == "user"
    ]


async def answered(session: RealtimeSession) -> None:
    await until(lambda: session.settled and not any(session.open_work.values()))


@pytest.mark.behaviour("H5", "C2")
async def test_a_turn_whose_commit_was_not_told_is_not_spoken_twice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its item says as much: the next connection is not given its sound again."""
    fault = swallow("input_audio_buffer.committed")
    async with realtime_stage(brain, server={"faults": [fault]}) as (server, session):
        await until(lambda: session.settled)
        session.push_audio(voice("Hello.", 500) + quiet(800))
        await until(lambda: turns(session))
        await answered(session)
        server.inject(close(1011, after="session.updated"))
        await session.update_instructions("Another version.")
        await until(lambda: len(server.connections) > 1)
        await answered(session)
        session.push_audio(quiet(1000))
        await until(lambda: len(server.connections[1].audio) >= 48 * 1000)
        assert len(turns(session)) == 1
        assert server.connections[1].committed == []


@pytest.mark.behaviour("H5")
async def test_a_commit_that_is_told_twice_takes_nothing_of_the_next_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What was said behind it is given to the next connection from its start."""
    said = voice("Where were we?", 500)
    async with realtime_stage(brain) as (server, session):
        await until(lambda: session.settled)
        server.inject(duplicate("input_audio_buffer.committed"))
        session.push_audio(voice("Hello.", 500) + quiet(800) + said[:4800])
        await until(lambda: turns(session))
        await answered(session)
        server.inject(close(1011, after="session.updated"), refuse_connect())
        await session.update_instructions("Another version.")
        await until(lambda: not session.settled)
        session.push_audio(said[4800:] + quiet(800))
        await until(lambda: len(turns(session)) == 2)
        await answered(session)
        assert said in server.connections[1].committed[0].pcm
        assert len(turns(session)) == 2


@pytest.mark.behaviour("H5", "H6")
async def test_the_words_of_a_turn_without_a_told_commit_are_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It stands in the record once, with its transcript."""
    utterances = Utterances()
    fault = swallow("input_audio_buffer.committed")
    server_is = {"faults": [fault], "utterances": utterances}
    async with realtime_stage(brain, server=server_is) as (_, session):
        await until(lambda: session.settled)
        session.push_audio(utterances.say("Is it sunny?", 500) + quiet(800))
        await until(lambda: turns(session))
        await answered(session)
        (turn,) = turns(session)
        await until(lambda: "sunny" in getattr(session.record.get(turn), "text", ""))
