"""What is said about a tool's result: when, by whom, and when nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

from delegating import Doing
from stage import (
    PROMPT,
    Greeter,
    Prompted,
    Weather,
    on_stage,
    outputs,
    prompted,
    running,
    speak,
    until,
)
from trialogue import Agent, NoReply, RunContext, ToolError, function_tool
from trialogue.agents.events import (
    AgentEntered,
    DelegationEnded,
    ToolFinished,
    ToolNoted,
    ToolStarted,
)
from trialogue.realtime.notices import ReplyEnded, UserStoppedSpeaking
from trialogue.testing import Call, Network, Say, Turn


class Bench(Prompted):
    """One tool for each wish about replies."""

    @function_tool
    async def auto(self, ctx: RunContext, seconds: float = 0) -> str:
        """Have it told as usual."""
        await trio.sleep(seconds)
        return "auto"

    @function_tool(reply="none")
    async def none(self, ctx: RunContext, seconds: float = 0) -> str:
        """Have nothing said."""
        await trio.sleep(seconds)
        return "none"

    @function_tool(reply="none")
    async def none_fails(self, ctx: RunContext, seconds: float = 0) -> str:
        """Have nothing said about a failure either."""
        msg = "none"
        raise ToolError(msg)

    @function_tool
    async def no_reply(self, ctx: RunContext, seconds: float = 0) -> NoReply:
        """Have nothing said this time."""
        await trio.sleep(seconds)
        return NoReply("no reply")

    @function_tool(reply="required")
    async def required(self, ctx: RunContext, seconds: float = 0) -> NoReply:
        """Have it told in any case."""
        await trio.sleep(seconds)
        return NoReply("required")

    @function_tool(on_handoff="detach")
    async def detach(self, ctx: RunContext) -> str:
        """Work on, whoever is current."""
        await trio.sleep(20)
        return "booked"

    @function_tool(on_handoff="detach")
    async def detach_fails(self, ctx: RunContext) -> str:
        """Work on in vain."""
        await trio.sleep(20)
        msg = "the hotel is full"
        raise ToolError(msg)

    @function_tool(on_handoff="detach", reply="none")
    async def detach_none(self, ctx: RunContext) -> str:
        """Work on, and have nothing said."""
        await trio.sleep(20)
        return "booked"

    @function_tool(on_handoff="detach")
    async def detach_no_reply(self, ctx: RunContext) -> NoReply:
        """Work on, and have nothing said this time."""
        await trio.sleep(20)
        return NoReply("booked")

    @function_tool(on_handoff="detach", reply="required")
    async def detach_required(self, ctx: RunContext) -> NoReply:
        """Work on, and have it told in any case."""
        await trio.sleep(20)
        return NoReply("booked")

    @function_tool(on_handoff="detach")
    async def detach_for_ever(self, ctx: RunContext) -> str:
        """Work on, and refuse to be cancelled."""
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
        return "late"

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer."""
        return Weather()


def answers(stage: Any) -> list[str]:
    return [output for _, output in outputs(stage)]


def creates(stage: Any) -> int:
    return len(stage.sent("response.create"))


def notes(stage: Any) -> list[str]:
    items = [e.event["item"] for e in stage.sent("conversation.item.create")]
    return [i["content"][0]["text"] for i in items if i.get("role") == "system"]


# --- beside each other ---------------------------------------------------------------


@pytest.mark.behaviour("T4", "T1")
@pytest.mark.parametrize(
    ("tools", "replies"),
    [
        (("auto",), 1),
        (("none",), 0),
        (("none_fails",), 0),
        (("no_reply",), 0),
        (("required",), 1),
        (("none", "auto"), 1),
        (("auto", "none"), 1),
        (("none", "no_reply", "none_fails"), 0),
        (("none", "required"), 1),
        (("no_reply", "required", "auto"), 1),
    ],
)
@pytest.mark.parametrize("slowest", ["first", "last"])
async def test_one_reply_answers_all_calls_if_any_asks_for_it(
    autojump_clock: trio.testing.MockClock,
    tools: tuple[str, ...],
    replies: int,
    slowest: str,
) -> None:
    """All outputs together, in call order, whichever is the slowest."""
    seconds = [float(n) for n in range(len(tools))]
    if slowest == "first":
        seconds.reverse()
    calls = [
        Call(t, {"seconds": s} if s else {})
        for t, s in zip(tools, seconds, strict=True)
    ]
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, Bench()):
            await until(lambda: len(outputs(stage)) == len(tools))
            await trio.sleep(30)
        expected = [t.removesuffix("_fails").replace("_", " ") for t in tools]
        assert answers(stage) == expected
        assert len({e.time for e in stage.sent("conversation.item.create")}) == 1
        assert creates(stage) == 1 + replies


@pytest.mark.behaviour("T3")
@pytest.mark.parametrize(("tool", "spoken"), [("auto", 0), ("required", 1)])
async def test_a_reply_that_is_required_comes_although_the_user_was_answered(
    autojump_clock: trio.testing.MockClock, tool: str, spoken: int
) -> None:
    """The result comes while the user speaks; their answer tells of it, or may not."""

    def brain(turn: Turn) -> Any:
        if turn.override:
            return Call(tool, {"seconds": 3})
        return Say(
            "You asked." if turn.user_text and not turn.output else "It is done."
        )

    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        async with running(stage, Bench()):
            await until(lambda: stage.of(ToolStarted))
            words = stage.server.utterances.say("And what is the weather?", ms=5000)
            await speak(stage.microphone, words)
            assert stage.of(UserStoppedSpeaking)
            assert stage.of(ToolFinished)
            await until(lambda: len(stage.of(ReplyEnded)) >= 2)
            await trio.sleep(30)
        # The prompt; the turn's answer, which nobody has to ask for; and the reply.
        assert creates(stage) == 1 + spoken
        assert len(stage.of(ReplyEnded)) == 2 + spoken
        assert len(outputs(stage)) == 1


# --- notes ---------------------------------------------------------------------------


@pytest.mark.behaviour("T8")
@pytest.mark.parametrize(
    ("tool", "note", "speaks"),
    [
        ("detach", "Result of detach: booked", True),
        ("detach_fails", "Result of detach_fails: the hotel is full", True),
        ("detach_none", "Result of detach_none: booked", False),
        ("detach_no_reply", "Result of detach_no_reply: booked", False),
        ("detach_required", "Result of detach_required: booked", True),
    ],
)
async def test_what_comes_of_a_detached_tool_is_a_note_to_whoever_is_current(
    autojump_clock: trio.testing.MockClock, tool: str, note: str, speaks: bool
) -> None:
    """Two handoffs later; that agent speaks about it, if the tool has it told."""
    async with on_stage(prompted(Call(tool), Call("transfer"))) as stage:
        async with running(stage, Bench()):
            await until(lambda: isinstance(stage.session.agent, Weather))
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
            await stage.session.handoff(Greeter())
            await until(lambda: len(stage.of(ReplyEnded)) == 3)
            before = creates(stage)
            await until(lambda: stage.of(ToolNoted))
            await trio.sleep(20)
            assert isinstance(stage.session.agent, Greeter)
        assert answers(stage)[0] == "in progress: the result will follow"
        assert notes(stage) == [note]
        (noted,) = stage.of(ToolNoted)
        assert (noted.agent, noted.tool, noted.note) == ("Bench", tool, note)
        assert noted.seconds == pytest.approx(20, abs=0.1)
        assert creates(stage) - before == int(speaks)
        if speaks:
            assert stage.of(ReplyEnded)[-1].agent == "Greeter"


@pytest.mark.behaviour("T8", "H12")
async def test_what_a_delegate_leaves_behind_is_a_note_to_whoever_delegated(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A detached tool of the child ends when the parent is back."""

    class Child(Bench):
        instructions = "You are the child, and you have tools."

        @function_tool
        async def complete(self, ctx: RunContext) -> None:
            """Complete."""
            ctx.complete("the value")

    class Parent(Prompted):
        instructions = "You are the parent."

        @function_tool
        async def ask(self, ctx: RunContext) -> str:
            """Ask the child."""
            return str(await ctx.session.delegate(Child()))

    def brain(turn: Turn) -> Any:
        if PROMPT not in (turn.override or ""):
            return Say("Done.")
        child = "detach" in turn.tools
        return [Call("detach"), Call("complete")] if child else Call("ask")

    async with on_stage(brain) as stage:
        async with running(stage, Parent()):
            await until(lambda: stage.of(DelegationEnded))
            await until(lambda: stage.of(ToolNoted))
            await until(lambda: stage.of(ReplyEnded)[-1].outcome.text == "Done.")
            await trio.sleep(5)
        assert notes(stage) == ["Result of detach: booked"]
        assert stage.of(ReplyEnded)[-1].agent == "Parent"
        assert "the value" in answers(stage)


@pytest.mark.behaviour("T8")
async def test_a_detached_tool_that_ends_when_nobody_is_current_asks_for_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The run is over and the block is not: the note stands in the conversation."""
    async with on_stage(prompted(Call("detach"), Call("transfer"))) as stage:
        async with running(stage, Bench()):
            await until(lambda: isinstance(stage.session.agent, Weather))
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
        before = creates(stage)
        assert stage.session.agent is None
        await until(lambda: stage.of(ToolNoted))
        await trio.sleep(10)
        assert creates(stage) == before
        assert notes(stage) == ["Result of detach: booked"]


@pytest.mark.behaviour("T8", "C6")
async def test_a_detached_tool_that_refuses_to_end_is_named_at_the_blocks_end(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A second after it was cancelled; only it is waited for."""
    brain = prompted(Call("detach_for_ever"), Call("transfer"))
    with caplog.at_level(logging.WARNING, logger="trialogue"):
        async with on_stage(brain) as stage:
            async with running(stage, Bench()):
                await until(lambda: isinstance(stage.session.agent, Weather))
            left_at = trio.current_time()
    named = "tool detach_for_ever of agent Bench was stopped and does not end"
    assert named in caplog.text
    assert trio.current_time() - left_at < 31
    assert answers(stage)[0] == "in progress: the result will follow"


@pytest.mark.behaviour("T4", "T9")
async def test_a_tool_that_delegates_beside_others_is_answered_with_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One burst, in call order, when the parent is back; no call is answered twice."""

    async def late(ctx: RunContext) -> None:
        await trio.sleep(4)
        ctx.complete("asked")

    class Parent(Bench):
        @function_tool
        async def ask(self, ctx: RunContext) -> str:
            """Ask somebody."""
            return str(await ctx.session.delegate(Doing(late)))

    calls = [Call("auto"), Call("ask"), Call("none", {"seconds": 9})]
    network = Network(one_way=0.05)
    async with on_stage(prompted(*calls), server={"network": network}) as stage:
        async with running(stage, Parent()):
            await until(lambda: len(outputs(stage)) == 3)
            await trio.sleep(20)
        assert answers(stage) == ["auto", "asked", "none"]
        entered = [e.agent for e in stage.of(AgentEntered)]
        assert entered[:2] == ["Parent", "Doing"]
        assert len(stage.of(ToolFinished)) == 3
