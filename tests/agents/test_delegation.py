"""Delegation: another agent is current for a while, and gives back a value."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing

from delegating import (
    Caller,
    Doing,
    asks,
    current,
    done,
    endless,
    giving,
    named,
    nothing,
    spoken,
    wanted,
    wrote,
)
from stage import Prompted, model_of, on_stage, outputs, prompted, running, until
from trialogue import (
    Agent,
    Capabilities,
    DelegationError,
    HandoffError,
    RunContext,
    SessionOptions,
    Timing,
    ToolError,
    function_tool,
)
from trialogue.agents.events import (
    AgentEntered,
    DelegationEnded,
    DelegationStarted,
)
from trialogue.realtime.notices import ConnectionOpened
from trialogue.testing import Call, Say, Turn, reject

HOST = "You are the host."
ASK = "Ask whether the talk may be recorded."


class Consent(Agent[bool]):
    """Asks, and is told by the model what the user said."""

    instructions = ASK

    @function_tool
    async def record_consent(self, ctx: RunContext, given: bool) -> str:
        """Write down what the user said."""
        ctx.complete(given)
        return "written down"


class Host(Agent):
    """Needs to know before it does anything."""

    instructions = HOST

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bool] = []

    @function_tool
    async def begin(self, ctx: RunContext) -> str:
        """Begin, once the user has agreed."""
        self.answers.append(await ctx.session.delegate(Consent()))
        return f"consent: {self.answers[-1]}"


def consenting(turn: Turn) -> Any:
    """The host asks for consent on "begin"; who asks for it hears "yes" or "no"."""
    if HOST in turn.instructions:
        if turn.output is None and "begin" in turn.user_text:
            return [Say("Just a moment.", ms=100), Call("begin")]
        return Say(f"Host: {turn.output or 'hello'}", ms=100)
    if turn.user_text in {"yes", "no"}:
        given = "true" if turn.user_text == "yes" else "false"
        return [Call("record_consent", f'{{"given": {given}}}')]
    return Say("May we record this?", ms=100)


@pytest.mark.behaviour("H12")
@pytest.mark.parametrize("said", ["yes", "no"])
async def test_a_delegation_returns_the_value_and_the_parent_goes_on(
    autojump_clock: trio.testing.MockClock, said: str
) -> None:
    """Two updates, and nothing else; every call is answered once, in order."""
    host = Host()
    async with on_stage(consenting) as stage, running(stage, host):
        await current(stage, Host)
        await wrote(stage, "please begin")
        await current_or_turn(stage, Consent)
        assert stage.session.agent is not host
        await wrote(stage, said)
        await current(stage, Host)
        await until(lambda: "Host: consent" in spoken(stage)[-1][1])
    assert host.answers == [said == "yes"]
    updates = [e.event["session"] for e in stage.sent("session.update")]
    assert [u.get("instructions") for u in updates] == [HOST, ASK, HOST]
    tools = [[t["name"] for t in u["tools"]] for u in updates]
    assert tools == [["begin"], ["record_consent"], ["begin"]]
    answered = [output for _, output in outputs(stage)]
    assert answered == ["written down", f"consent: {said == 'yes'}"]
    assert not stage.sent("conversation.item.delete")
    assert stage.server.protocol_errors == []
    (started,), (ended,) = stage.of(DelegationStarted), stage.of(DelegationEnded)
    assert (started.agent, started.to) == ("Host", "Consent")
    assert (ended.agent, ended.to, ended.outcome) == ("Host", "Consent", "completed")
    times = ended.timings
    assert times.requested <= times.began <= times.acknowledged
    assert times.acknowledged <= times.completed <= times.ended
    assert [e.previous for e in stage.of(AgentEntered)] == [None, "Host"]


async def current_or_turn(stage: Any, agent: type[Agent]) -> None:
    """Wait until a child is current and has nothing more to say."""
    realtime = stage.session.realtime
    await until(lambda: isinstance(stage.session.agent, agent))
    await until(lambda: spoken(stage)[-1][0] == agent.__name__)
    await until(lambda: not any(realtime.open_work.values()))


# --- agents that need no model --------------------------------------------------------


@pytest.mark.behaviour("H12", "T9")
async def test_delegations_nest(autojump_clock: trio.testing.MockClock) -> None:
    """Each value goes to whoever asked for it; the tools are restored at each level."""

    async def deeper(ctx: RunContext) -> None:
        inner = await ctx.session.delegate(Doing(giving(20), "inner"))
        assert ctx.session.agent is outer
        ctx.complete(inner + 1)

    outer = Doing(deeper, "outer")
    caller = Caller(outer)
    async with on_stage(prompted(*asks(0))) as stage, running(stage, caller):
        await done(stage, "Caller")
    assert caller.got == [21]
    entered = [(e.agent, e.previous) for e in stage.of(AgentEntered)]
    assert entered[1:] == [("outer", "Caller"), ("inner", "outer")]
    ended = [(e.agent, e.to, e.outcome) for e in stage.of(DelegationEnded)]
    assert ended == [
        ("outer", "inner", "completed"),
        ("Caller", "outer", "completed"),
    ]
    assert wanted(stage) == Caller.instructions
    assert stage.server.protocol_errors == []


@pytest.mark.behaviour("H12")
async def test_an_agent_that_a_child_hands_over_to_takes_its_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def hand_over(ctx: RunContext) -> Agent:
        return Doing(talk, "second")

    async def talk(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        ctx.complete("from the second")

    caller = Caller(Doing(hand_over, "first"))
    async with on_stage(prompted(*asks(0))) as stage, running(stage, caller):
        await done(stage, "Caller")
    assert caller.got == ["from the second"]
    assert [o for _, o in outputs(stage)] == ["got from the second"]
    (ended,) = stage.of(DelegationEnded)
    assert (ended.to, ended.outcome) == ("second", "completed")
    assert [t.next for t in stage.session.handoffs] == ["second"]


@pytest.mark.behaviour("H12")
async def test_a_handoff_from_outside_replaces_the_child(
    autojump_clock: trio.testing.MockClock,
) -> None:
    caller = Caller(Doing(endless, "first"))
    async with on_stage(prompted(*asks(0))) as stage, running(stage, caller):
        await until(lambda: stage.of(DelegationStarted))
        await stage.session.handoff(Doing(giving(3), "second"))
        await done(stage, "Caller")
    assert caller.got == [3]


@pytest.mark.behaviour("H12", "H7")
@pytest.mark.parametrize("error", [ToolError("no line"), ValueError("secret")])
async def test_what_a_child_raises_is_raised_in_its_caller(
    autojump_clock: trio.testing.MockClock, error: Exception
) -> None:
    """In the tool, which tells the model what any tool would; the parent goes on."""

    async def fail(ctx: RunContext) -> None:
        await trio.sleep(0.5)
        raise error

    caller = Caller(Doing(fail, "failing"))
    async with on_stage(prompted(*asks(0))) as stage, running(stage, caller):
        await done(stage, "Caller")
    assert caller.errors == [error]
    told = {ToolError: "no line", ValueError: "the tool failed with an internal error"}
    assert [o for _, o in outputs(stage)] == [told[type(error)]]
    (ended,) = stage.of(DelegationEnded)
    assert (ended.outcome, ended.timings.completed) == ("failed", None)
    assert wanted(stage) == Caller.instructions


@pytest.mark.behaviour("H12", "T7")
async def test_a_caller_that_is_cancelled_takes_the_child_along(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """By the tool's own timeout: the child is gone, and its parent current again."""
    child = Doing(endless, "endless")
    caller = Caller(child)
    brain = prompted(Call("ask_briefly"))
    async with on_stage(brain) as stage, running(stage, caller):
        await done(stage, "Caller")
        assert stage.session.agent is caller
    told = "the tool did not finish within 2 s and was stopped"
    assert [o for _, o in outputs(stage)] == [told]
    (ended,) = stage.of(DelegationEnded)
    assert ended.outcome == "cancelled"
    updates = [e.event["session"] for e in stage.sent("session.update")]
    assert [u["instructions"] for u in updates][-1] == Caller.instructions


@pytest.mark.behaviour("H12")
async def test_two_delegations_at_once_take_turns(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In the order in which they were asked for; one reply tells of both."""
    order: list[str] = []

    def slow(name: str) -> Doing:
        async def work(ctx: RunContext) -> None:
            order.append(f"{name} in")
            await trio.sleep(1)
            order.append(f"{name} out")
            ctx.complete(name)

        return Doing(work, name)

    caller = Caller(slow("a"), slow("b"), slow("c"))
    async with on_stage(prompted(*asks(0, 1, 2))) as stage, running(stage, caller):
        await done(stage, "Caller")
    assert caller.got == ["a", "b", "c"]
    assert order == ["a in", "a out", "b in", "b out", "c in", "c out"]
    assert [o for _, o in outputs(stage)] == ["got a", "got b", "got c"]
    assert stage.server.protocol_errors == []


@pytest.mark.behaviour("H12", "T4")
async def test_the_answers_to_other_tools_wait_until_the_parent_is_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Neither the child nor anybody else is asked to speak about them."""

    async def slow(ctx: RunContext) -> None:
        await trio.sleep(3)
        ctx.complete("late")

    caller = Caller(Doing(slow, "slow"))
    calls = [Call("work", {"seconds": 1}), *asks(0)]
    async with on_stage(prompted(*calls)) as stage, running(stage, caller):
        await until(lambda: stage.of(DelegationStarted))
        await trio.sleep(2)
        assert not outputs(stage)
        await done(stage, "Caller")
    assert [o for _, o in outputs(stage)] == ["worked 1 s", "got late"]
    assert [agent for agent, _ in spoken(stage)] == ["Caller", "Caller"]


@pytest.mark.behaviour("H12")
@pytest.mark.parametrize("tool", ["work", "leave"])
async def test_a_tool_that_ends_while_on_enter_delegates_waits_as_well(
    autojump_clock: trio.testing.MockClock, tool: str
) -> None:
    """All calls of its response are done: its answer, or its handoff, comes later."""

    async def slow(ctx: RunContext) -> None:
        await trio.sleep(3)
        ctx.complete("late")

    class First(Caller):
        async def on_enter(self, ctx: RunContext) -> None:
            await super().on_enter(ctx)
            self.got.append(await ctx.session.delegate(Doing(slow, "slow")))

        @function_tool
        async def leave(self, ctx: RunContext, seconds: float) -> Agent:
            """Hand over."""
            await trio.sleep(seconds)
            return Doing(nothing, "next")

    first = First()
    brain = prompted(Call(tool, {"seconds": 1}))
    async with on_stage(brain) as stage, running(stage, first):
        await until(lambda: stage.of(DelegationStarted))
        await trio.sleep(2)
        assert named(stage) == "slow"
        assert not outputs(stage)
        await until(lambda: spoken(stage)[-1][1] == "Done.")
        assert named(stage) == ("First" if tool == "work" else "next")
    assert first.got == ["late"]
    told = {"work": "worked 1 s", "leave": "transferred to next"}
    assert [o for _, o in outputs(stage)] == [told[tool]]


@pytest.mark.behaviour("H12")
async def test_what_the_parent_wants_to_say_waits_until_it_is_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A reply that another tool of the parent asks for is its own, and comes later."""

    async def slow(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        await trio.sleep(3)
        ctx.complete("late")

    class Talker(Caller):
        @function_tool
        async def talk(self, ctx: RunContext) -> str:
            """Say something, while another tool delegates."""
            await trio.sleep(1)
            outcome = await ctx.session.generate_reply(instructions="Talk.")
            skipped = await ctx.session.generate_reply(if_busy="skip")
            return f"{outcome.outcome}, {skipped.outcome}"

    caller = Talker(Doing(slow, "slow"))
    brain = prompted(*asks(0), Call("talk"))
    async with on_stage(brain) as stage, running(stage, caller):
        await done(stage, "Talker")
    order = [agent for agent, _ in spoken(stage)]
    assert order[:3] == ["Talker", "slow", "Talker"]
    creates = [e.event["response"] for e in stage.sent("response.create")]
    talks = [c["instructions"] for c in creates if "Talk." in c.get("instructions", "")]
    assert len(talks) == 1
    assert Talker.instructions in talks[0]
    got, told = (o for _, o in outputs(stage))
    assert got == "got late"
    assert told.startswith("completed, ")


@pytest.mark.behaviour("H12")
async def test_another_tool_hands_over_only_when_the_parent_is_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The delegation comes to its end; then the handoff is decided and carried out."""

    async def slow(ctx: RunContext) -> None:
        await trio.sleep(3)
        ctx.complete("late")

    class Leaver(Caller):
        @function_tool
        async def leave(self, ctx: RunContext) -> Agent:
            """Hand over, while another tool delegates."""
            await trio.sleep(1)
            return Doing(nothing, "next")

        @function_tool
        async def leave_soon(self, ctx: RunContext) -> str:
            """Hand over, while another tool delegates."""
            await trio.sleep(1)
            ctx.session.handoff_soon(Doing(nothing, "next"))
            return "soon"

    for tool in ("leave", "leave_soon"):
        caller = Leaver(Doing(slow, "slow"))
        brain = prompted(*asks(0), Call(tool))
        async with on_stage(brain) as stage, running(stage, caller):
            await until(lambda: stage.of(DelegationStarted))
            await trio.sleep(2)
            assert named(stage) == "slow"
            await until(lambda: named(stage) == "next")
        assert caller.got == ["late"]
        (ended,) = stage.of(DelegationEnded)
        assert ended.outcome == "completed"
        (timings,) = stage.session.handoffs
        assert (timings.previous, timings.next) == ("Leaver", "next")
        assert timings.committed >= ended.timings.ended


@pytest.mark.behaviour("H12")
async def test_on_enter_may_delegate_before_it_says_anything(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def first(ctx: RunContext) -> None:
        got.append(await ctx.session.delegate(Doing(giving(1), "child")))
        got.append(await ctx.session.delegate(Doing(giving(2), "child")))
        await ctx.session.generate_reply()

    got: list[int] = []
    async with on_stage(prompted()) as stage, running(stage, Doing(first, "first")):
        await done(stage, "first")
    assert got == [1, 2]
    assert [agent for agent, _ in spoken(stage)] == ["first"]


@pytest.mark.behaviour("H12")
async def test_a_child_that_asks_for_nothing_is_asked_to_speak_and_stays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It converses for as long as it likes; completing is for its tools to do."""
    async with on_stage(consenting) as stage, running(stage, Host(), 600):
        await current(stage, Host)
        await wrote(stage, "please begin")
        await current_or_turn(stage, Consent)
        for number in range(1, 4):
            await wrote(stage, f"what for? ({number})")
            await trio.sleep(60)
            assert isinstance(stage.session.agent, Consent)
        await wrote(stage, "yes")
        await until(lambda: "Host: consent: True" in spoken(stage)[-1][1])
    asked = [words for agent, words in spoken(stage) if agent == "Consent" and words]
    assert asked == ["May we record this?"] * 4


# --- what is restored -----------------------------------------------------------------


@pytest.mark.behaviour("H12", "H16")
async def test_options_and_edits_of_the_parent_are_restored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What the parent changed in its own scope, too; only what differs is sent."""
    child = Doing(giving(1), "child")
    child.options = SessionOptions(tool_choice="none", max_output_tokens=50)
    caller = Caller(child)
    caller.options = SessionOptions(tool_choice="auto")
    edited = "You are Kelly, and in a hurry."

    class Editing(Caller):
        @function_tool
        async def edit_and_ask(self, ctx: RunContext) -> str:
            """Edit, then ask."""
            await ctx.session.update_instructions(edited)
            return f"got {await ctx.session.delegate(child)}"

    brain = prompted(Call("edit_and_ask"))
    async with on_stage(brain) as stage, running(stage, Editing(child)):
        await done(stage, "Editing")
    updates = [e.event["session"] for e in stage.sent("session.update")]
    first, second, third, fourth = updates
    assert set(second) - {"type"} == {"instructions"}
    for update in (third, fourth):
        assert set(update) - {"type"} == {
            "instructions",
            "tools",
            "tool_choice",
            "max_output_tokens",
        }
    assert (third["tool_choice"], third["max_output_tokens"]) == ("none", 50)
    assert (fourth["tool_choice"], fourth["max_output_tokens"]) == ("auto", "inf")
    assert fourth["instructions"] == edited
    assert fourth["tools"] == first["tools"]


@pytest.mark.behaviour("H12")
async def test_a_child_on_another_model_has_a_connection_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And so has the parent afterwards; its open call is known there and answered."""

    async def talk(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        ctx.complete(1)

    child = Doing(talk, "child")
    caller = Caller(child)
    async with on_stage(prompted(*asks(0))) as stage, running(stage, caller):
        child.model = attrs.evolve(model_of(stage.server), name="gpt-realtime-mini")
        await done(stage, "Caller")
    assert len(stage.server.connections) == 3
    assert caller.got == [1]
    assert [o for _, o in outputs(stage)] == ["got 1"]
    assert stage.server.protocol_errors == []
    kinds = [type(i).__name__ for i in stage.session.chat_ctx]
    assert kinds == ["FunctionCall", "Message", "FunctionCallOutput", "Message"]


@pytest.mark.behaviour("H12", "C3")
async def test_a_connection_is_replaced_in_time_while_a_child_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The open call of the parent is known on the next one, and answered there."""

    async def wait(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        await trio.sleep(50)
        ctx.complete(1)

    class Leaving(Doing):
        async def on_exit(self, ctx: RunContext) -> None:
            with pytest.raises(DelegationError):
                await ctx.session.delegate(Doing(giving(2)))
            left.append(ctx.session.agent)

    left: list[Agent | None] = []
    caller = Caller(Leaving(wait, "child"))
    brain, timing = prompted(*asks(0)), Timing(max_age=20.0)
    async with on_stage(brain, timing=timing) as stage, running(stage, caller):
        await done(stage, "Caller")
    assert len(stage.server.connections) > 2
    assert not any(c.reason == "reconnect" for c in stage.of(ConnectionOpened))
    assert [o for _, o in outputs(stage)] == ["got 1"]
    assert stage.server.protocol_errors == []
    assert left == [caller]


@pytest.mark.behaviour("H12")
async def test_a_model_that_takes_no_open_call_is_answered_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The calls read "in progress", and what comes of them follows as notes."""
    caller = Caller(Doing(giving(5), "child"))
    calls = [*asks(0), Call("work", {"seconds": 1})]
    able = {"capabilities": Capabilities(open_calls=False)}
    brain = prompted(*calls)
    async with on_stage(brain, model=able) as stage, running(stage, caller):
        await done(stage, "Caller")
    said = [e.event for e in stage.sent() if e.type != "response.create"]
    order = [
        e.get("session", {}).get("instructions")
        or e["item"].get("output")
        or e["item"]["content"][0]["text"]
        for e in said
    ]
    later = "in progress: the result will follow"
    assert order[1:] == [
        Doing.instructions,
        later,
        later,
        Caller.instructions,
        "Result of ask: got 5",
        "Result of work: worked 1 s",
    ]


@pytest.mark.behaviour("H12", "H4")
@pytest.mark.parametrize("code", ["invalid_value", "server_error"])
async def test_a_child_that_the_server_refuses_is_an_error_in_the_caller(
    autojump_clock: trio.testing.MockClock, code: str
) -> None:
    """The parent goes on, and nothing was heard of the child."""
    again = "You are Kelly, unperturbed."

    async def talk(ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say who you are.")
        ctx.complete(1)

    class Trying(Prompted):
        instructions = again

        @function_tool
        async def try_it(self, ctx: RunContext) -> str:
            """Try to delegate."""
            try:
                await ctx.session.delegate(Doing(talk, "child"))
            except HandoffError as error:
                return f"no: {error.next}"
            return "yes"

    faults = [reject("session.update", code=code, nth=2)]
    async with (
        on_stage(prompted(Call("try_it")), server={"faults": faults}) as stage,
        running(stage, Trying()),
    ):
        await done(stage, "Trying")
    (_, told) = outputs(stage)[-1]
    assert told == ("no: child" if code == "invalid_value" else "yes")
    assert wanted(stage) == again
    child = f"{Doing.instructions}\n\nSay who you are."
    heard = [again] if code == "invalid_value" else [child, again]
    assert stage.heard_under() == heard
