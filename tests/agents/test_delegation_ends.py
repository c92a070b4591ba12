"""What may end, cut or outlast a delegation: nobody is left waiting or alone."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
import trio
import trio.testing

from delegating import Caller, Doing, asks, done, endless, nothing, spoken
from stage import Line, model_of, on_stage, outputs, prompted, running, speak, until
from trialogue import (
    Agent,
    AgentSession,
    RunContext,
    Timing,
    function_tool,
    open_agent_session,
)
from trialogue.agents.events import DelegationEnded, DelegationStarted
from trialogue.audio import MemoryInput, MemoryOutput
from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.realtime.notices import UserStartedSpeaking
from trialogue.testing import (
    Call,
    Network,
    RealtimeServer,
    Say,
    Turn,
    close,
    cut,
    silence,
    swallow,
)
from trialogue.testing.scheduling import CancelAtStep, seeded

CLOSE = Timing().close
SOON = 0.05
LONG = "I talk and talk. " * 20
VERY_LONG = LONG * 4
"""A minute and a half of it."""


async def talking(ctx: RunContext) -> None:
    """Talk, and stay."""
    await ctx.session.generate_reply(instructions="Say who you are.")
    await trio.sleep_forever()


def deeper(what: Any) -> Any:
    async def delegate(ctx: RunContext) -> None:
        ctx.complete(await ctx.session.delegate(Doing(what, "inner")))

    return delegate


def answered(session: Any) -> bool:
    """Whether each call of the record has exactly one output."""
    items = session.chat_ctx.items
    calls = sorted(i.call_id for i in items if isinstance(i, FunctionCall))
    told = sorted(i.call_id for i in items if isinstance(i, FunctionCallOutput))
    return calls == told


# --- closing --------------------------------------------------------------------------

SCENES = {
    "a child that does nothing": (endless, ()),
    "a child that talks": (talking, ()),
    "a child of a child": (deeper(talking), ()),
    "a child whose tool delegates": (None, ()),
    "a child that the server is silent about": (
        talking,
        (swallow("session.updated", nth=2),),
    ),
    "a server that has fallen silent": (
        talking,
        (silence(before="session.updated", nth=2, pongs=False),),
    ),
    "a child that has just been lost": (
        talking,
        (cut(after="response.created", nth=2),),
    ),
}


@pytest.mark.behaviour("H13", "H12")
@pytest.mark.parametrize("way", ["leave", "cancel", "end now", "outside"])
@pytest.mark.parametrize("scene", SCENES)
async def test_closing_during_a_delegation_takes_at_most_the_close_deadline(
    autojump_clock: trio.testing.MockClock, scene: str, way: str
) -> None:
    """However it is closed; nothing is left, and the call is answered."""
    what, faults = SCENES[scene]
    child = Caller(Doing(endless)) if what is None else Doing(what, "child")
    caller = Caller(child)
    brain = prompted(*asks(0), then=LONG)
    left: list[tuple[float, AgentSession]] = []
    with trio.fail_after(100):
        async with RealtimeServer(
            brain, network=Network(one_way=0.05), faults=faults
        ).serving() as server:
            with trio.CancelScope() as host:
                async with (
                    trio.open_nursery() as outside,
                    open_agent_session(
                        model_of(server), audio=(None, MemoryOutput())
                    ) as session,
                    trio.open_nursery() as inside,
                ):
                    nursery = outside if way == "outside" else inside
                    nursery.start_soon(session.run, caller)
                    await until(lambda: server.live and len(updates(server)) >= 2)
                    await trio.sleep(0.5)
                    left.append((trio.current_time(), session))
                    if way == "leave":
                        inside.cancel_scope.cancel()
                    elif way == "cancel":
                        host.cancel()
                    elif way == "end now":
                        session.end(now=True)
            closed_at = trio.current_time()
            await trio.sleep(5)
    ((left_at, session),) = left
    took = closed_at - left_at
    assert took <= CLOSE + SOON
    assert not any(session.realtime.open_work.values())
    assert session.agent is None
    assert not server.protocol_errors
    assert answered(session)


def updates(server: RealtimeServer) -> list[Any]:
    return server.connections[0].find("session.update", "in")


@pytest.mark.behaviour("H13", "T9")
@pytest.mark.parametrize("depth", [1, 2])
async def test_a_child_may_end_the_conversation(
    autojump_clock: trio.testing.MockClock, depth: int
) -> None:
    """What it has said is played out first; then everybody ends, and `run` returns."""

    async def end(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        ctx.session.end()
        await trio.sleep_forever()

    child = Doing(end if depth == 1 else deeper(end), "child")
    async with on_stage(prompted(*asks(0), then="Goodbye.")) as stage:
        with trio.fail_after(30):
            await stage.session.run(Caller(child))
        assert stage.output.pcm
        assert answered(stage.session)
    ended = stage.of(DelegationEnded)
    assert [e.outcome for e in ended] == ["cancelled"] * depth


@pytest.mark.behaviour("H13")
async def test_a_child_that_completes_after_the_end_was_asked_for_ends_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And its parent does not begin to speak."""

    async def end(ctx: RunContext) -> None:
        ctx.session.end()
        ctx.complete(1)

    async with on_stage(prompted(*asks(0))) as stage:
        with trio.fail_after(60):
            await stage.session.run(Caller(Doing(end, "child")))
        assert answered(stage.session)


@pytest.mark.behaviour("H13")
@pytest.mark.parametrize("depth", [1, 2])
async def test_a_child_that_never_falls_silent_is_cut_in_the_end(
    autojump_clock: trio.testing.MockClock, depth: int
) -> None:
    """What it has said gets thirty seconds to be heard, however deep it is."""

    async def end(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        ctx.session.end()
        ended.append(trio.current_time())

    ended: list[float] = []
    child = Doing(end if depth == 1 else deeper(end), "child")
    brain = prompted(*asks(0), then=VERY_LONG)
    async with on_stage(brain) as stage:
        with trio.fail_after(200):
            await stage.session.run(Caller(child))
        assert trio.current_time() - ended[0] == pytest.approx(30, abs=SOON)
        assert answered(stage.session)


@pytest.mark.behaviour("H13")
@pytest.mark.parametrize("others", [(), ("talk",)])
async def test_the_conversation_is_over_when_the_user_has_hung_up_on_a_child(
    autojump_clock: trio.testing.MockClock, others: tuple[str, ...]
) -> None:
    """The child would have waited for an answer for ever, and its parent for it."""

    class Talker(Caller):
        @function_tool
        async def talk(self, ctx: RunContext) -> str:
            """Wait for the floor, which the parent does not have."""
            await trio.sleep(1)
            await ctx.session.generate_reply()
            return "said"

    caller = Talker(Doing(nothing, "child"), Doing(nothing, "waiting"))
    calls = (*asks(0, 1), *map(Call, others))
    async with on_stage(prompted(*calls), microphone=True) as stage:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.session.run, caller)
                await until(lambda: stage.of(DelegationStarted))
                await trio.sleep(5)
                assert stage.session.agent is not None
                assert stage.microphone is not None
                stage.microphone.end()
        assert answered(stage.session)
    assert stage.session.agent is None


# --- loss -----------------------------------------------------------------------------

LOSSES = {
    "as the child begins": cut(before="session.updated", nth=2),
    "as the child speaks": cut(after="response.created", nth=2),
    "as the parent comes back": cut(before="session.updated", nth=3),
    "the parent's update is lost": swallow("session.updated", nth=3),
    "the child's update is lost": swallow("session.updated", nth=2),
    "closed as the call is answered": close(
        1011, before="conversation.item.added", nth=3
    ),
}


@pytest.mark.behaviour("H12", "C2")
@pytest.mark.parametrize("loss", LOSSES)
async def test_a_delegation_outlives_the_connection(
    autojump_clock: trio.testing.MockClock, loss: str
) -> None:
    """The next one is brought to whoever is current; the call is answered once."""

    async def talk(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        ctx.complete("well")

    caller = Caller(Doing(talk, "child"))
    options = {"faults": [LOSSES[loss]], "network": Network(one_way=0.03)}
    brain = prompted(*asks(0))
    async with on_stage(brain, server=options) as stage, running(stage, caller):
        await done(stage, "Caller")
        await until(lambda: stage.session.realtime.settled)
        held = stage.server.live[-1].machine.session.instructions
        assert held == Caller.instructions
    assert caller.got == ["well"]
    assert answered(stage.session)
    assert stage.server.protocol_errors == []
    assert [agent for agent, _ in spoken(stage)][-2:] == ["child", "Caller"]


# --- the user -------------------------------------------------------------------------


@pytest.mark.behaviour("H12", "U3")
async def test_the_users_voice_cuts_the_child_and_not_the_delegation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The child answers the user and goes on; tools of the parent are left alone."""

    class Fickle(Caller):
        @function_tool(on_interrupt="cancel")
        async def ask_unless_interrupted(self, ctx: RunContext) -> str:
            """Ask the child, unless the user interrupts this agent."""
            return f"got {await ctx.session.delegate(self.agents[0])}"

    class Listener(Agent[str]):
        instructions = "You are listening."

        @function_tool
        async def take_down(self, ctx: RunContext) -> str:
            """Take down what the user said."""
            ctx.complete("noted")
            return "taken down"

    def brain(turn: Turn) -> Any:
        if "listening" in turn.instructions:
            if turn.user_text and turn.output is None:
                return [Call("take_down")]
            return Say(LONG, ms=8000)
        return prompted(Call("ask_unless_interrupted"))(turn)

    caller = Fickle(Listener())
    async with on_stage(brain, microphone=True) as stage, running(stage, caller):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.run)
            await until(lambda: stage.output.pcm)
            await trio.sleep(1)
            line.say(stage.server.utterances.say("I agree", ms=600))
            await until(lambda: stage.of(UserStartedSpeaking))
            noticed = trio.current_time()
            await until(lambda: spoken(stage)[-1] == ("Fickle", "Done."))
            nursery.cancel_scope.cancel()
    assert stage.output.runs[0].end <= noticed + 0.02
    assert [o for _, o in outputs(stage)] == ["taken down", "got noted"]
    (ended,) = stage.of(DelegationEnded)
    assert ended.outcome == "completed"


@pytest.mark.behaviour("H12", "H6")
async def test_who_speaks_while_the_parent_comes_back_is_answered_by_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A turn that begins under the child and ends under the parent is the parent's."""
    began = trio.Event()

    async def wait(ctx: RunContext) -> None:
        await began.wait()
        ctx.complete("done")

    caller = Caller(Doing(wait, "child"))
    options = {"network": Network(one_way=0.05)}
    async with (
        on_stage(prompted(*asks(0)), microphone=True, server=options) as stage,
        running(stage, caller),
    ):
        assert stage.microphone is not None
        await until(lambda: stage.of(DelegationStarted))
        await until(lambda: len(stage.sent("session.update")) == 2)
        async with trio.open_nursery() as nursery:
            said = stage.server.utterances.say("And another thing", ms=600)
            nursery.start_soon(speak, stage.microphone, said, 1500)
            await until(lambda: stage.of(UserStartedSpeaking))
            began.set()
        await until(lambda: spoken(stage)[-1] == ("Caller", "Done."))
        await until(lambda: not any(stage.session.realtime.open_work.values()))
    assert caller.got == ["done"]
    assert answered(stage.session)
    assert stage.server.protocol_errors == []


# --- at any step ----------------------------------------------------------------------

SEEDS = int(os.environ.get("TRIALOGUE_SWEEP_SEEDS", "120"))


async def story(seed: int, step: int | None, problems: list[str]) -> int:
    """Delegate, nested, twice at once; cancelled at a step. Return the steps taken."""

    async def talk(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        ctx.complete(1)

    async def hand_over(ctx: RunContext) -> Agent:
        return Doing(talk, "successor")

    caller = Caller(Doing(deeper(talk), "outer"), Doing(hand_over, "first"))
    brain, session = prompted(*asks(0, 1)), None
    with trio.fail_after(300):
        async with RealtimeServer(brain, seed=seed).serving() as server:
            with trio.CancelScope() as scope, CancelAtStep(step, scope) as sweep:
                async with (
                    open_agent_session(
                        model_of(server),
                        audio=(MemoryInput(), MemoryOutput()),
                        seed=seed,
                    ) as session,
                    trio.open_nursery() as tasks,
                ):
                    tasks.start_soon(session.run, caller)
                    await until(lambda: len(caller.got) == 2)
                    await until(lambda: not any(session.realtime.open_work.values()))
                    session.end()
            await until(lambda: not server.live)
    problems += server.protocol_errors
    if session is not None:
        left = session.realtime.open_work
        if any(left.values()) or session.agent is not None:
            problems.append(f"left behind: {left} {session.agent}")
        if not answered(session):
            problems.append(f"not answered once: {session.chat_ctx.items}")
    return sweep.steps


@pytest.mark.behaviour("H13", "H12")
@pytest.mark.parametrize("chunk", range(4))
def test_a_delegation_may_be_cancelled_at_any_step(chunk: int) -> None:
    """No hang, nothing left behind, one output for each call that was run."""

    def run(seed: int, step: int | None, problems: list[str]) -> int:
        with seeded(seed):
            clock = trio.testing.MockClock(autojump_threshold=0)
            return trio.run(story, seed, step, problems, clock=clock)

    found: dict[int, list[str]] = {}
    steps = run(0, None, found.setdefault(-1, []))
    for seed in range(chunk, SEEDS, 4):
        run(seed, random.Random(seed).randint(1, steps), found.setdefault(seed, []))
    assert {seed: problems for seed, problems in found.items() if problems} == {}
