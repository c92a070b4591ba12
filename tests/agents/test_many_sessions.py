"""Many conversations in one nursery: what happens to one is not noticed by another."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from stage import model_of
from trialogue import Agent, RunContext, TrialogueError, open_agent_session
from trialogue.audio import MemoryOutput
from trialogue.events import AgentTranscript, ReplyEnded, ReplyStarted
from trialogue.testing import RealtimeServer, Say, lose, reject, silence, stall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.testing import Fault

TURNS = 3


class Bug(Exception):
    """An agent's own fault."""


class Teller(Agent):
    """Says a few things, one after the other, and ends the conversation."""

    instructions = "You are Kelly."

    def __init__(self, *, bug: bool = False) -> None:
        super().__init__()
        self.bug = bug

    async def on_enter(self, ctx: RunContext) -> None:
        for turn in range(TURNS):
            if self.bug and turn == 1:
                raise Bug("in the middle of the conversation")
            await ctx.session.generate_reply()
            await ctx.session.wait_for_playout()
        ctx.session.end()


class Deaf(MemoryOutput):
    """A loudspeaker that takes no more sound after its first second, for ever."""

    async def write(self, pcm: bytes) -> None:
        if self.written > 24_000:
            await trio.sleep_forever()
        await super().write(pcm)


@attrs.define(eq=False)
class Told:
    """What one conversation came to: what was heard and told, and when."""

    moments: list[tuple[float, str]] = attrs.field(factory=list)
    pcm: bytes = b""
    ended_at: float | None = None
    error: Exception | None = None

    @property
    def whole(self) -> bool:
        return self.ended_at is not None and self.error is None


async def converse(
    server: RealtimeServer,
    told: Told,
    *,
    output: MemoryOutput | None = None,
    bug: bool = False,
) -> None:
    """Hold one conversation, and keep its errors to itself."""
    output = output or MemoryOutput()
    try:
        async with (
            open_agent_session(model_of(server), audio=(None, output)) as session,
            session.subscribe(
                ReplyStarted, AgentTranscript, ReplyEnded, buffer=10_000
            ) as events,
            trio.open_nursery() as listening,
        ):

            async def listen() -> None:
                async for event in events:
                    told.moments.append(
                        (trio.current_time(), type(event).__name__),
                    )

            listening.start_soon(listen)
            await session.run(Teller(bug=bug))
            listening.cancel_scope.cancel()
        told.ended_at = trio.current_time()
    except* (TrialogueError, Bug) as group:
        told.error = group.exceptions[0]
    told.pcm = output.pcm


def story(turn: Any) -> Any:
    return Say(f"Part {turn.ordinal} of a story that takes a while.", ms=2000)


async def alone() -> Told:
    """One conversation with nobody beside it."""
    told = Told()
    async with RealtimeServer(story).serving() as server:
        await converse(server, told)
    return told


FATES: dict[str, Sequence[Fault]] = {
    "quota": [reject("response.create", code="insufficient_quota", nth=2)],
    "unanswered": [lose("response.create", nth=2)],
    "stopped reading": [stall(after="response.create", nth=2)],
    "silent": [silence(after="response.create", nth=2)],
    "bug": [],
    "deaf": [],
}


@pytest.mark.behaviour("C13", "A4")
@pytest.mark.parametrize("fate", FATES)
async def test_of_two_conversations_one_does_not_notice_what_becomes_of_the_other(
    autojump_clock: trio.testing.MockClock, fate: str
) -> None:
    """To the millisecond: it hears and is told what it would be if it were alone."""
    expected = await alone()
    began = trio.current_time()
    sound, sick = Told(), Told()
    async with (
        RealtimeServer(story).serving() as well,
        RealtimeServer(story, faults=FATES[fate]).serving() as ill,
        trio.open_nursery() as process,
    ):
        output = Deaf() if fate == "deaf" else MemoryOutput()

        async def suffer() -> None:
            await converse(ill, sick, output=output, bug=fate == "bug")

        process.start_soon(suffer)
        await converse(well, sound)
        process.cancel_scope.cancel()

    assert expected.whole
    assert sound.whole
    assert not sick.whole
    assert len(sound.pcm) == len(expected.pcm)
    assert _rhythm(sound, began) == _rhythm(expected, 0.0)


def _rhythm(told: Told, began: float) -> list[tuple[float, str]]:
    return [(round(at - began, 2), what) for at, what in told.moments]


@pytest.mark.behaviour("C13", "A4")
async def test_of_fifty_conversations_each_comes_to_its_own_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A third of them fail or hang, each in another way; nobody else is late."""
    expected = await alone()
    began = trio.current_time()
    fates = [*FATES, *["well"] * 2 * len(FATES)]
    tales: dict[str, list[Told]] = defaultdict(list)
    async with (
        RealtimeServer(story).serving() as well,
        trio.open_nursery() as servers,
    ):
        ill: dict[str, RealtimeServer] = {}
        for fate, faults in FATES.items():
            ill[fate] = await servers.start(
                _serve, [attrs.evolve(f, nth=None) for f in faults]
            )
        with trio.move_on_after(20):
            async with trio.open_nursery() as process:
                for number in range(50):
                    fate = fates[number % len(fates)]
                    told = Told()
                    tales[fate].append(told)
                    output = Deaf() if fate == "deaf" else None
                    process.start_soon(
                        _hold, ill.get(fate, well), told, output, fate == "bug"
                    )
        servers.cancel_scope.cancel()

    assert sum(map(len, tales.values())) == 50
    sound = tales.pop("well")
    assert len(sound) > 30
    assert all(told.whole for told in sound)
    assert {len(told.pcm) for told in sound} == {len(expected.pcm)}
    for told in sound:
        assert _rhythm(told, began) == _rhythm(expected, 0.0)
    usual = {
        fate
        for fate, some in tales.items()
        for told in some
        if _rhythm(told, began) == _rhythm(expected, 0.0)
    }
    assert usual == set()  # each of the others was really in trouble


async def _hold(
    server: RealtimeServer, told: Told, output: MemoryOutput | None, bug: bool
) -> None:
    await converse(server, told, output=output, bug=bug)


async def _serve(  # noqa: ASYNC114 - started in one place, with start()
    faults: Sequence[Fault], *, task_status: trio.TaskStatus[RealtimeServer]
) -> None:
    async with RealtimeServer(story, faults=faults).serving() as server:
        task_status.started(server)
        await trio.sleep_forever()
