"""Found by reading: what second sessions, late tasks and failing clean-ups do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from delegating import Caller, Doing, giving
from stage import (
    PROMPT,
    Greeter,
    Prompted,
    Stage,
    Weather,
    model_of,
    on_stage,
    outputs,
    prompted,
    running,
    speak,
    until,
)
from trialogue import (
    Agent,
    Capabilities,
    ChatContext,
    ConfigurationError,
    ConversionError,
    FunctionCall,
    Message,
    RunContext,
    SessionClosed,
    TextContent,
    Timing,
    function_tool,
    open_agent_session,
)
from trialogue.agents.events import (
    AgentEntered,
    HandoffCompleted,
    HandoffFailed,
    ToolFailed,
    ToolNoted,
    ToolStarted,
)
from trialogue.audio import MemoryInput, MemoryOutput
from trialogue.realtime.notices import ReplyEnded
from trialogue.testing import (
    Call,
    Network,
    RealtimeServer,
    Say,
    late,
    refuse_upgrade,
    reject,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trialogue.agents.session import AgentSession

# --- a tool that works on another session --------------------------------------------


class Consulting(Prompted):
    """Has a tool that does something in another conversation."""

    def __init__(
        self, other: AgentSession, act: Callable[[AgentSession], Awaitable[Any]]
    ) -> None:
        super().__init__()
        self.other, self.act = other, act
        self.result: Any = None

    @function_tool
    async def consult(self, ctx: RunContext) -> str:
        """Do it."""
        self.result = await self.act(self.other)
        return "consulted"


async def consulted(
    act: Callable[[AgentSession], Awaitable[Any]],
) -> tuple[Any, Agent | None]:
    """Return what came of an act on another session, and who was current there."""
    async with (
        on_stage(lambda turn: Say("Hello.")) as other,
        on_stage(prompted(Call("consult"))) as stage,
        running(other, Greeter()),
    ):
        await until(lambda: other.session.realtime.settled)
        agent = Consulting(other.session, act)
        async with running(stage, agent):
            await until(lambda: outputs(stage))
            assert stage.session.agent is agent
        assert [output for _, output in outputs(stage)] == ["consulted"]
        return agent.result, other.session.agent


async def replied(session: AgentSession) -> str:
    return (await session.generate_reply()).outcome


async def streamed(session: AgentSession) -> str:
    async with session.open_reply() as reply:
        return (await reply.outcome()).outcome


async def handed_over(session: AgentSession) -> str:
    return (await session.handoff(Weather())).next


async def handed_over_soon(session: AgentSession) -> str:
    session.handoff_soon(Weather())
    await until(lambda: session.handoffs)
    return session.handoffs[0].next


@pytest.mark.behaviour("C13")
@pytest.mark.parametrize("ask", [replied, streamed])
async def test_a_tool_may_have_another_sessions_agent_speak(
    autojump_clock: trio.testing.MockClock,
    ask: Callable[[AgentSession], Awaitable[str]],
) -> None:
    """There it is anybody: the reply is that session's own, made and heard."""
    outcome, _ = await consulted(ask)
    assert outcome == "completed"


@pytest.mark.behaviour("C13")
@pytest.mark.parametrize("hand_over", [handed_over, handed_over_soon])
async def test_a_tool_may_hand_over_in_another_session(
    autojump_clock: trio.testing.MockClock,
    hand_over: Callable[[AgentSession], Awaitable[str]],
) -> None:
    """It does not wait for itself there, and its own agent stays."""
    followed, current = await consulted(hand_over)
    assert followed == "Weather"
    assert type(current) is Weather


@pytest.mark.behaviour("C13")
async def test_another_session_that_is_closed_fails_the_tool_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its model is told that the tool failed; this conversation goes on."""

    async def send(session: AgentSession) -> None:
        await session.send_message("Are you there?")

    async with on_stage() as left:
        pass
    agent = Consulting(left.session, send)
    async with on_stage(prompted(Call("consult"))) as stage, running(stage, agent):
        await until(lambda: stage.of(ReplyEnded)[1:])
        (failed,) = stage.of(ToolFailed)
        assert isinstance(failed.error, SessionClosed)
        assert stage.session.agent is agent


# --- tools that are stopped ----------------------------------------------------------


class Untidy(Prompted):
    """Has a tool with tasks of its own, whose clean-up fails."""

    @function_tool(on_interrupt="cancel")
    async def work(self, ctx: RunContext) -> str:
        """Work, until somebody stops it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.part)
            await trio.sleep_forever()

    async def part(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("the file cannot be closed")

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Hand over, after a while."""
        await trio.sleep(0.5)
        return Weather()


@pytest.mark.behaviour("T1", "T2")
@pytest.mark.parametrize("stop", ["handoff", "voice"])
async def test_a_tool_whose_clean_up_fails_among_its_tasks_has_failed_and_no_more(
    autojump_clock: trio.testing.MockClock, stop: str
) -> None:
    """The error comes in a group with the cancellation: it is captured all the same."""
    more: Any = Call("transfer") if stop == "handoff" else Say("Let me see. " * 20)
    brain = prompted(Call("work"), more)
    async with on_stage(brain, microphone=True) as stage, running(stage, Untidy()):
        assert stage.microphone is not None
        if stop == "voice":
            await until(lambda: stage.output.pcm)
            await speak(stage.microphone, stage.server.utterances.say("Stop it."))
        await until(lambda: outputs(stage))
        await until(lambda: stage.session.handoffs or stop == "voice")
        (failed,) = stage.of(ToolFailed)
        assert isinstance(failed.error, BaseExceptionGroup)
        assert isinstance(failed.error.exceptions[0], OSError)
        told = dict(outputs(stage))
        assert len(told) == len(outputs(stage))
        assert "failed" in next(iter(told.values()))


class Keeping(Greeter):
    """Keeps its context beyond its time."""

    kept: RunContext

    async def on_enter(self, ctx: RunContext) -> None:
        self.kept = ctx


async def test_the_nursery_of_an_agent_that_was_left_names_the_remedy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A task that outlives its agent is told where to start others."""
    agent = Keeping()
    async with on_stage() as stage, running(stage, agent):
        await until(lambda: stage.session.realtime.settled)
        await stage.session.handoff(Weather())
        with pytest.raises(RuntimeError, match=r"start it in ctx\.session\.nursery"):
            _ = agent.kept.nursery


# --- after the end -------------------------------------------------------------------


class Last(Prompted):
    """Has a tool that outlives it, and one that ends the conversation."""

    @function_tool(on_handoff="detach")
    async def archive(self, ctx: RunContext) -> str:
        """Takes longer than the conversation does."""
        await trio.sleep(3)
        return "archived"

    @function_tool
    async def hang_up(self, ctx: RunContext) -> str:
        """End it."""
        ctx.session.end()
        return "ended"


@pytest.mark.behaviour("T8")
async def test_a_detached_tool_that_outlives_the_conversation_has_nobody_speak(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its result is written down; no agent is there that could tell of it."""
    async with on_stage(prompted(Call("archive"), Call("hang_up"))) as stage:
        await stage.session.run(Last())
        asked = len(stage.sent("response.create"))
        await until(lambda: stage.of(ToolNoted))
        await trio.sleep(5)
        assert len(stage.sent("response.create")) == asked
        told = stage.session.chat_ctx.items[-1]
        assert isinstance(told, Message)
        assert told.text == "Result of archive: archived"


async def test_an_agent_whose_run_is_cancelled_falls_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What it said is truncated at what was heard; the server makes no more of it."""
    async with on_stage(prompted(Say(STORY))) as stage:
        with trio.move_on_after(5):
            await stage.session.run(Prompted())
        heard = len(stage.output.pcm)
        assert heard
        await trio.sleep(5)
        assert len(stage.output.pcm) == heard
        (truncated,) = stage.sent("conversation.item.truncate")
        assert truncated.event["audio_end_ms"] == heard // 48
        assert stage.session.realtime.replying.slot.idle


@pytest.mark.behaviour("T11")
@pytest.mark.parametrize("how", ["ended", "cancelled"])
async def test_who_speaks_when_no_agent_is_there_is_not_answered_by_the_last_one(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    """The provider answers under its words, and with its tools: none of it is heard."""

    def brain(turn: Any) -> Any:
        return [Say("One moment."), Call("transfer_to_weather")]

    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, Greeter())
            await until(lambda: stage.session.realtime.settled)
            if how == "ended":
                stage.session.end()
            else:
                nursery.cancel_scope.cancel()
        await speak(stage.microphone, stage.server.utterances.say("Hello?"))
        await until(lambda: stage.server.connections[0].responses)
        await trio.sleep(5)
        assert not stage.output.pcm
        assert not stage.session.handoffs
        assert stage.session.realtime.replying.slot.idle
        assert all(o.startswith("not run") for _, o in outputs(stage))


@pytest.mark.behaviour("C7")
async def test_a_run_after_the_end_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The conversation is over: nobody begins, and whoever asks is told."""
    async with on_stage() as stage:
        async with running(stage, Greeter()):
            await until(lambda: stage.session.realtime.settled)
        with pytest.raises(SessionClosed, match="open another session"):
            await stage.session.run(Weather())
        assert [entered.agent for entered in stage.of(AgentEntered)] == ["Greeter"]


async def test_an_end_that_comes_before_the_run_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may come in the moment before: the run is over, and nobody has begun."""
    async with on_stage() as stage:
        stage.session.end()
        with trio.fail_after(1):
            await stage.session.run(Prompted())
        await trio.testing.wait_all_tasks_blocked()
        assert not stage.of(AgentEntered)
        assert not stage.sent()


# --- devices -------------------------------------------------------------------------


class Unplugged(MemoryInput):
    """A microphone that cannot be closed."""

    async def aclose(self) -> None:
        await super().aclose()
        raise OSError("it was unplugged")


async def test_a_microphone_that_cannot_be_closed_does_not_keep_the_loudspeaker_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its error is told; a recording is completed all the same."""
    audio = Unplugged(), MemoryOutput()
    async with RealtimeServer().serving() as server:
        with pytest.raises(OSError, match="unplugged"):
            async with open_agent_session(model_of(server), audio=audio):
                pass
    with pytest.raises(trio.ClosedResourceError):
        await audio[1].drain()


STORY = "A long story. " * 20
LONG = ChatContext((Message("msg_1", "user", (TextContent("x" * 300_000),)),))
"""Longer than an item may be."""


@pytest.mark.parametrize(
    "settings",
    [{"away_after": -1}, {"barge_in": "nobody"}, {"chat_ctx": LONG}],
    ids=["away_after", "barge_in", "chat_ctx"],
)
async def test_devices_are_closed_where_a_keyword_is_refused(
    autojump_clock: trio.testing.MockClock, settings: Any
) -> None:
    """The session owns them from the moment in which it is given them."""
    source, output = MemoryInput(), MemoryOutput()
    async with RealtimeServer().serving() as server:
        with pytest.raises((ConfigurationError, ConversionError)):
            async with open_agent_session(
                model_of(server), audio=(source, output), **settings
            ):
                raise AssertionError("it was refused")
        assert server.dials == 0
    with pytest.raises(trio.ClosedResourceError):
        await output.drain()
    with pytest.raises(trio.ClosedResourceError):
        await source.receive()


# --- a decision that waits -----------------------------------------------------------


class Undecided(Prompted):
    """Hands over, and has a second tool that might, and takes for ever."""

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Hand over."""
        return Weather()

    @function_tool
    async def consider(self, ctx: RunContext) -> Agent | str:
        """Consider handing over."""
        await trio.sleep_forever()


@pytest.mark.behaviour("H8")
async def test_a_handoff_that_waits_for_siblings_and_for_the_settlement_is_decided(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The agreement may come later than the siblings are waited for."""
    brain = prompted(Call("transfer"), Call("consider"))
    # The first update is sent once more when its reply has begun.
    slow = [late("session.updated", seconds=5, nth=nth) for nth in (1, 2)]
    timing = Timing(update=10)
    async with on_stage(brain, server={"faults": slow}, timing=timing) as stage:
        async with running(stage, Undecided()):
            await until(lambda: stage.of(HandoffCompleted), 20)
        (completed,) = stage.of(HandoffCompleted)
        assert completed.timings.next == "Weather"


# --- notes in place of outputs -------------------------------------------------------


class Transferring(Caller):
    """Delegates, and hands over once it is back."""

    def __init__(self, *agents: Agent, to: Agent) -> None:
        super().__init__(*agents)
        self.to = to

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Hand over, after a while."""
        await trio.sleep(1)
        return self.to


@pytest.mark.behaviour("H22")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
async def test_a_note_tells_the_truth_of_a_handoff_that_failed(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Where calls cannot stay open, too: what came of both is told once, as a note."""
    dead = RealtimeServer(faults=[refuse_upgrade(401)])
    able = {"capabilities": Capabilities(open_calls=False)}
    brain = prompted(Call("ask"), Call("transfer"))
    faults = [] if fresh else [reject("session.update", code="invalid_value", nth=4)]
    async with (
        dead.serving(),
        on_stage(brain, model=able, server={"faults": faults}) as stage,
    ):
        mo = Agent("You are Mo.", model=model_of(dead, **able) if fresh else None)
        agent = Transferring(Doing(giving(5), "child"), to=mo)
        async with running(stage, agent):
            await until(lambda: stage.of(HandoffFailed))
            await until(lambda: not any(stage.session.realtime.open_work.values()))
            assert stage.session.agent is agent
            held = stage.server.connections[-1].conversation
            notes = [h.text for h in held if (h.text or "").startswith("Result of")]
        assert notes == [
            "Result of ask: got 5",
            "Result of transfer: handoff failed: Agent could not take over",
        ]


# --- speech that is stopped twice ----------------------------------------------------


class Listened(Agent):
    """Notes how much was heard of what it says."""

    instructions = "You are Kelly, and you tell stories."

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[int | None] = []

    async def on_enter(self, ctx: RunContext) -> None:
        outcome = await ctx.session.generate_reply(instructions=PROMPT)
        self.heard.append(outcome.heard_ms)


@pytest.mark.behaviour("U3", "R9")
async def test_speech_that_is_stopped_again_was_heard_no_further(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The program and the provider may both stop it: it is cut once, and told once."""
    agent = Listened()
    network = {"network": Network(0.1)}
    async with on_stage(prompted(Say(STORY)), server=network) as stage:
        async with running(stage, agent):
            await until(lambda: stage.output.pcm)
            await trio.sleep(0.2)
            stage.session.interrupt()
            heard = len(stage.output.pcm) // 48
            stage.session.interrupt()
            await trio.sleep(0.01)
            stage.session.interrupt()
            await until(lambda: agent.heard)
            await until(lambda: not any(stage.session.realtime.open_work.values()))
        assert agent.heard == [heard]
        cuts = stage.sent("conversation.item.truncate")
        assert [cut.event["audio_end_ms"] for cut in cuts] == [heard]
        assert len(stage.sent("response.cancel")) == 1


# --- edits that take a call away ----------------------------------------------------


class Forgetful(Prompted):
    """Works, while somebody takes its call out of the conversation."""

    @function_tool
    async def work(self, ctx: RunContext) -> str:
        """Work for a long time."""
        await trio.sleep(30)
        return "worked"


async def take_calls_out(stage: Stage) -> None:
    """Take every call out of the conversation."""
    context = stage.session.chat_ctx
    for item in context.items:
        if isinstance(item, FunctionCall):
            context = context.remove(item.id)
    await stage.session.update_chat_ctx(context)


@pytest.mark.behaviour("S1", "H8")
@pytest.mark.parametrize("way", ["handoff", "end", "cancelled"])
async def test_a_call_that_an_edit_took_out_is_answered_nowhere(
    way: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Its output would be refused, and nobody would know why."""
    async with on_stage(prompted(Call("work"))) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, Forgetful())
            await until(lambda: stage.of(ToolStarted))
            await until(lambda: stage.session.realtime.settled)
            await take_calls_out(stage)
            if way == "handoff":
                stage.session.handoff_soon(Greeter())
                await until(lambda: stage.of(HandoffCompleted))
            if way == "cancelled":
                nursery.cancel_scope.cancel()
            else:
                stage.session.end()
        await trio.sleep(1)
        assert outputs(stage) == []
        assert stage.server.connections[0].types("out").count("error") == 0
