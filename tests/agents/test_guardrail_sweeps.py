"""Sweeps: guardrails that trip at any moment, with a cancellation or a lost connection.

A fifth of `TRIALOGUE_SWEEP_SEEDS` (500) is how many seeds are run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from leftovers import QUIET
from stage import KELLY, SUNNY, model_of
from sweeping import EXPECTED, MOST_STEPS
from trialogue import (
    Agent,
    FunctionCall,
    FunctionCallOutput,
    Guardrail,
    RunContext,
    TrialogueError,
    Trip,
    function_tool,
    input_guardrail,
    open_agent_session,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from trialogue.audio import MemoryOutput
from trialogue.events import (
    GuardrailTripped,
    HandoffDiscarded,
    HandoffStarted,
    ReplyEnded,
    ReplyStarted,
    ToolFinished,
    ToolStarted,
)
from trialogue.testing import (
    Call,
    Network,
    Pace,
    RealtimeServer,
    Say,
    Settings,
    Turn,
    cut,
)
from trialogue.testing.scheduling import CancelAtStep, seeded

SEEDS = max(5, int(os.environ.get("TRIALOGUE_SWEEP_SEEDS", "500")) // 5)
CHUNKS = 5
CROSSED = "response_cancel_not_active"
"""A cancel and the end of its response have crossed: no error (R3)."""
MAKERS: dict[str, Any] = {
    "output": output_guardrail,
    "input": input_guardrail,
    "tool_input": tool_input_guardrail,
    "tool_output": tool_output_guardrail,
}


class Talks(Agent):
    """Says something, works, and may hand over in the same reply."""

    def __init__(self, words: str, *, speaks: bool = True) -> None:
        super().__init__(words)
        self.speaks = speaks

    async def on_enter(self, ctx: RunContext) -> None:
        if self.speaks:
            with suppress(TrialogueError):
                await ctx.session.generate_reply(instructions="Begin.")

    @function_tool
    async def work(self, ctx: RunContext) -> str:
        """Work for a while."""
        await trio.sleep(0.4)
        return "worked"

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer to another agent."""
        await trio.sleep(0.2)
        return Talks(SUNNY)


def guardrails(rng: random.Random) -> list[Guardrail]:
    """One or two, anywhere, that pass, trip in any way, raise, or take too long."""

    def one(place: str, number: int) -> Guardrail:
        seconds = rng.choice((0.0, 0.05, 0.2, 0.5, 1.0, 3.0))
        trips = rng.choice((0.3, 0.6, 1.0))
        cuts = rng.random() < 0.8

        async def check(ctx: RunContext, what: Any) -> Trip | None:
            if seconds:
                await trio.sleep(seconds)
            if rng.random() > trips:
                return None
            match rng.randrange(4):
                case 0:
                    return Trip("found", cut=cuts)
                case 1:
                    return Trip("found", say="Say it otherwise.", cut=cuts)
                case 2:
                    agent = Talks(SUNNY, speaks=rng.random() < 0.5)
                    return Trip("found", handoff=agent, cut=cuts)
                case _:
                    raise ValueError(what)

        made = MAKERS[place](name=f"{place} {number}", timeout=rng.choice((0.3, 2.0)))
        guardrail: Guardrail = made(check)
        return guardrail

    places = rng.choices(list(MAKERS), k=rng.randint(1, 3))
    return [one(place, number) for number, place in enumerate(places)]


@attrs.define(eq=False)
class Run:
    """One conversation, and what broke the rules in it."""

    seed: int
    faulty: bool
    step: int | None = None
    events: list[Any] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)
    steps: int = 0

    def check(self, good: object, problem: str) -> None:
        if not good:
            self.problems.append(problem)

    def server(self, rng: random.Random) -> RealtimeServer:
        calls = rng.sample(["work", "transfer", "work"], k=rng.randint(0, 3))

        def brain(turn: Turn) -> Any:
            words = Say("One thing. And another one. That is all.", ms=1500)
            first = "Begin." in (turn.override or "") and KELLY in turn.instructions
            return [words, *map(Call, calls)] if first else words

        kinds = ("response.output_audio.delta", "response.done", "session.updated")
        fault = cut(after=rng.choice(kinds), nth=rng.randint(1, 6))
        return RealtimeServer(
            brain,
            network=Network(one_way=rng.choice((0.0, 0.03))),
            settings=Settings(pace=Pace(burst=rng.choice((1.0, 10.0)))),
            faults=[fault] if self.faulty else (),
            seed=self.seed,
        )

    async def main(self) -> None:
        rng = random.Random(self.seed)
        server = self.server(rng)
        fresh = {"mutable_instructions": False} if rng.random() < 0.3 else {}
        async with server.serving():
            with (
                trio.move_on_after(600) as time,
                trio.CancelScope() as scope,
                CancelAtStep(self.step or MOST_STEPS, scope) as sweep,
            ):
                try:
                    await self.converse(rng, server, fresh)
                except BaseExceptionGroup as group:
                    rest = group.split(EXPECTED)[1]
                    self.check(rest is None, f"raised {rest!r}")
                    if group.split(trio.Cancelled)[0] is not None:
                        raise
                except TrialogueError as error:
                    self.check(isinstance(error, EXPECTED), f"raised {error!r}")
            self.steps = sweep.steps
            self.check(not time.cancelled_caught, "it hung")
            self.check(sweep.fired == (self.step is not None), "it never rested")
        self.check(not server.protocol_errors, f"{server.protocol_errors}")
        found = [e.event for c in server.connections for e in c.find("error")]
        errors = [e for e in found if e["error"]["code"] != CROSSED]
        self.check(self.faulty or not errors, f"the server refused: {errors}")

    async def converse(
        self, rng: random.Random, server: RealtimeServer, fresh: dict[str, Any]
    ) -> None:
        model = model_of(server, capabilities=fresh)
        async with (
            open_agent_session(
                model,
                audio=(None, MemoryOutput()),
                seed=self.seed,
                guardrails=guardrails(rng),
            ) as session,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(self.note, session)
            nursery.start_soon(session.run, Talks(KELLY))
            for words in ("Hello.", "Go on."):
                await trio.sleep(rng.choice((0.3, 1.0, 2.0, 30.0)))
                with suppress(TrialogueError):
                    await session.send_message(words)
                    await session.generate_reply()
            await trio.sleep(120)
            self.judge(session)
            nursery.cancel_scope.cancel()

    async def note(  # noqa: ASYNC114 - started in one place, with start()
        self, session: Any, task_status: trio.TaskStatus[None]
    ) -> None:
        async with session.subscribe(buffer=100_000) as subscription:
            task_status.started()
            async for event in subscription:
                self.events.append(event)

    def judge(self, session: Any) -> None:
        """The conversation is quiet: nothing is owed, open, doubled, or half told."""
        work = session.realtime.open_work
        self.check(work == QUIET, f"left behind: {work} {session.scope}")
        items = session.chat_ctx.items
        outputs = Counter(i.call_id for i in items if isinstance(i, FunctionCallOutput))
        calls = Counter(i.call_id for i in items if isinstance(i, FunctionCall))
        self.check(outputs == calls, f"calls {calls}, outputs {outputs}")
        for begin, end, key in (
            (ReplyStarted, ReplyEnded, "response_id"),
            (ToolStarted, ToolFinished, "call_id"),
        ):
            began = Counter(getattr(e, key) for e in self.of(begin))
            ended = Counter(getattr(e, key) for e in self.of(end))
            self.check(began <= ended, f"{begin.__name__} without end: {began - ended}")
            self.check(max(ended.values(), default=1) == 1, f"twice: {ended}")
        cuts = Counter(
            e.response_id
            for e in self.of(GuardrailTripped)
            if e.place == "output" and e.response_id is not None
        )
        self.check(max(cuts.values(), default=1) <= 3, f"tripped again: {cuts}")
        asked = len(self.of(HandoffStarted)) + len(self.of(HandoffDiscarded))
        self.check(asked <= 30, "handed over without end")

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def tell(seed: int, *, faulty: bool, step: int | None = None) -> Run:
    """Run one conversation; the seed fixes all of it, Trio's schedule too."""
    run = Run(seed, faulty, step)
    with seeded(seed):
        trio.run(run.main, clock=trio.testing.MockClock(autojump_threshold=0))
    return run


@pytest.mark.behaviour("G13", "G14", "G17")
@pytest.mark.parametrize("faulty", [False, True], ids=["", "a lost connection"])
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_guardrails_may_trip_at_any_moment(chunk: int, faulty: bool) -> None:
    """The conversation comes to rest; each call is answered once, nobody is told twice,
    and the server never refuses what a cut asks of it."""
    problems = {
        seed: found
        for seed in range(chunk, SEEDS, CHUNKS)
        if (found := tell(seed, faulty=faulty).problems)
    }
    assert problems == {}


@pytest.mark.behaviour("G17")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_guarded_session_may_be_cancelled_at_any_step(chunk: int) -> None:
    """It ends at once, with no other error than the cancellation."""
    problems = {}
    for seed in range(chunk, SEEDS, CHUNKS):
        steps = tell(seed, faulty=False).steps
        step = random.Random(f"step {seed}").randint(1, steps)
        if found := tell(seed, faulty=False, step=step).problems:
            problems[seed, step] = found
    assert problems == {}
