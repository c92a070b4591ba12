"""What a session remembers besides its conversation has bounds of its own."""

from __future__ import annotations

import gc
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from stage import realtime_stage, until
from trialogue.dialects.openai._ids import REMEMBERED, Ids
from trialogue.errors import ConnectionLost
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.input_ring import SAMPLE_RATE, AudioClock
from trialogue.realtime.listening import WORDLESS_TURNS, Listening
from trialogue.realtime.replies import Response
from trialogue.realtime.responding import REMEMBERED as RESPONSES
from trialogue.testing import Say, close

if TYPE_CHECKING:
    import trio

    from trialogue.realtime.session import RealtimeSession

SECOND = bytes(SAMPLE_RATE * 2)


async def ask_beside(session: RealtimeSession, told: list[str]) -> None:
    """Ask for a reply beside the conversation; its connection ends before it does."""
    try:
        await session.generate_reply(out_of_band=True)
    except ConnectionLost as error:
        told.append(str(error))


def _responses() -> list[Response]:
    return [thing for thing in gc.get_objects() if isinstance(thing, Response)]


@pytest.mark.behaviour("C2")
async def test_replies_beside_the_conversation_are_over_with_their_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever asked is told, and of the response itself nothing goes on."""
    told: list[str] = []
    before = _responses()  # of others, which somebody may still hold

    def brain(_: Any) -> Any:
        return Say("A very long story.", ms=60_000)

    async with realtime_stage(brain, backoff=Backoff(attempts=100)) as (
        server,
        session,
    ):
        for number in range(1, 81):
            await until(lambda: session.settled)
            server.inject(close(1011, after="response.created"))
            await ask_beside(session, told)
            await until(lambda n=number: len(server.connections) > n)
        await until(lambda: session.settled)
        gc.collect()
        others = set(map(id, before))
        kept = [response for response in _responses() if id(response) not in others]
        assert not any(response.running for response in kept)
        assert len(kept) <= RESPONSES + 1
    assert len(told) == 80


def test_turns_whose_words_never_come_are_not_waited_for_for_ever() -> None:
    """A provider that loses transcripts costs so many entries, and no more."""
    listening = Listening()
    clock = AudioClock()
    for number in range(1000):
        listening.push(SECOND, float(number), None)
        listening.started(clock, 0)
        listening.stopped(clock, 0, float(number))
        listening.committed(f"u{number}", 0, inf, words_by=number + 5.0)
    assert listening.words_until == 1004.0
    for number in range(1000 - WORDLESS_TURNS, 1000):
        listening.transcribed(f"u{number}")
    assert listening.words_until == -inf


def test_of_a_turn_that_the_ring_has_lost_nothing_is_kept() -> None:
    """Its sound is gone, and it does not take anybody's place."""
    listening = Listening(1.0)
    for _ in range(3):
        listening.push(SECOND, 0.0, None)
    listening.committed("first", 3 * SAMPLE_RATE, inf)
    assert listening.sound_of("first") is not None
    for number in range(100):
        listening.committed(f"empty{number}", 0, inf)
        assert listening.sound_of(f"empty{number}") is None
    assert listening.sound_of("first") is not None


@pytest.mark.behaviour("S10")
def test_one_connection_knows_the_way_back_of_its_latest_long_ids() -> None:
    """A conversation without end shortens ids without end."""
    ids = Ids()
    long = "x" * 40
    first = ids.out(long)
    second = ids.out(f"{long}1")
    for number in range(2, REMEMBERED + 1):
        ids.out(f"{long}{number}")
        ids.out(long)  # still in use
    ids.out(f"{long} one more")
    assert ids.back(first) == long
    assert ids.back(second) == second
    assert ids.out(f"{long}1") == second
