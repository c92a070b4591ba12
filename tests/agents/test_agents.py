"""What an agent brings along: words, tools, options, a model; and what stays."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from stage import Line, Stage, Weather, model_of, on_stage, running, until
from trialogue import (
    Agent,
    FunctionCall,
    FunctionCallOutput,
    Handoff,
    Message,
    RunContext,
    SemanticVAD,
    SessionOptions,
    function_tool,
    open_agent_session,
)
from trialogue.agents.events import HandoffCompleted
from trialogue.events import ReplyEnded
from trialogue.testing import (
    Call,
    Network,
    RealtimeServer,
    Say,
    Turn,
    Utterances,
    decode,
)

MO = "You are Mo."


@attrs.define
class Caller:
    name: str


def speaking(turn: Turn) -> Any:
    """Everybody says who they are; Kelly calls her tool if she is asked to."""
    name = turn.instructions.split()[2].strip(".,")
    if "note" in turn.user_text and "take_note" in turn.tools and not turn.output:
        return [Say(f"{name} notes."), Call("take_note")]
    return Say(f"{name} speaking.")


async def written(stage: Stage, text: str) -> None:
    """Write something as the user, and have it answered."""
    edited = stage.session.chat_ctx.add_message("user", text)
    (await stage.session.update_chat_ctx(edited)).raise_for_failures()
    await stage.session.generate_reply()


# --- made of arguments, or a class ---------------------------------------------------


@function_tool
async def take_note(ctx: RunContext[Caller]) -> str:
    """Take a note."""
    return f"noted for {ctx.userdata.name}"


def by_name(ctx: RunContext[Caller]) -> str:
    return f"You are Mo, and talk to {ctx.userdata.name}."


async def looked_up(ctx: RunContext[Caller]) -> str:
    await trio.sleep(0.2)
    return by_name(ctx)


class AsMethod(Agent):
    """Its instructions are a method, which sees the agent and the context."""

    guest = "Ann"

    def instructions(self, ctx: RunContext[Caller]) -> str:  # pyright: ignore
        assert ctx.agent is self
        return f"You are Mo, and talk to {self.guest}."


@pytest.mark.parametrize("make", [by_name, looked_up, None])
async def test_instructions_may_be_a_function_of_the_context(
    autojump_clock: trio.testing.MockClock, make: Any
) -> None:
    """Async or not, a method too; called anew each time the agent is to begin."""
    agent = AsMethod() if make is None else Agent(make, tools=[take_note])
    caller = Caller("Ann")
    async with on_stage(speaking, userdata=caller) as stage, running(stage, agent):
        await until(lambda: stage.session.realtime.settled)
        await stage.session.handoff(Weather())
        caller.name = AsMethod.guest = "Bob"
        await stage.session.handoff(agent)
        AsMethod.guest = "Ann"
        said = [
            entry.event["session"]["instructions"]
            for entry in stage.sent("session.update")
        ]
        assert said[0] == "You are Mo, and talk to Ann."
        assert said[2] == "You are Mo, and talk to Bob."


async def test_an_agent_of_arguments_has_tools_that_know_the_userdata(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`Agent(instructions=…, tools=[…])`; the session hands the userdata on."""
    agent = Agent(instructions=by_name, tools=[take_note], name="desk")
    async with on_stage(speaking, userdata=Caller("Ann")) as stage:
        async with running(stage, agent):
            await until(lambda: stage.session.realtime.settled)
            await written(stage, "take a note")
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
        assert stage.session.userdata.name == "Ann"
        (output,) = [
            i for i in stage.session.chat_ctx if isinstance(i, FunctionCallOutput)
        ]
        assert output.output == "noted for Ann"


# --- options -------------------------------------------------------------------------


@pytest.mark.behaviour("H16")
async def test_what_an_agent_overrides_is_in_its_one_update_and_taken_back_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Voice (nobody was heard yet), turn detection, tool choice: only what differs."""
    vad = SemanticVAD(eagerness="high")
    options = SessionOptions(voice="cedar", turn_detection=vad, tool_choice="none")
    async with (
        on_stage(speaking, model={"voice": "marin"}) as stage,
        running(stage, Agent("You are Kelly.")),
    ):
        await until(lambda: stage.session.realtime.settled)
        mo = Agent(MO, options=options)
        timings = await stage.session.handoff(Handoff(mo, reply="none"))
        assert timings.reused
        assert timings.messages == 1
        update = stage.sent("session.update")[1].event["session"]
        assert update == {
            "type": "realtime",
            "instructions": MO,
            "tool_choice": "none",
            "audio": {
                "input": {
                    "turn_detection": {
                        "type": "semantic_vad",
                        "eagerness": "high",
                        "create_response": True,
                        "interrupt_response": True,
                    }
                },
                "output": {"voice": "cedar"},
            },
        }
        kelly = Agent("You are Kelly.")
        await stage.session.handoff(Handoff(kelly, reply="none"))
        back = stage.sent("session.update")[2].event["session"]
        assert back["tool_choice"] == "auto"
        assert back["audio"]["input"]["turn_detection"]["type"] == "server_vad"
        assert back["audio"]["output"] == {"voice": "marin"}


# --- another model -------------------------------------------------------------------


@pytest.mark.behaviour("H2", "H5", "H6")
@pytest.mark.parametrize("offset", [-0.5, -0.04, 0.1])
async def test_another_model_takes_over_in_the_middle_of_a_sentence(
    autojump_clock: trio.testing.MockClock, offset: float
) -> None:
    """Dialled before the old one is left; record, playout, microphone, events go on.

    The turn that is open is whole where it is answered, and stands once.
    """
    utterances = Utterances()
    words = utterances.say("will it rain tomorrow", ms=800)
    network = Network(one_way=0.02)
    options: dict[str, Any] = {"network": network, "utterances": utterances}
    other = RealtimeServer(speaking, **options)
    async with (
        other.serving(),
        on_stage(speaking, microphone=True, server=options) as stage,
        running(stage, Agent("You are Kelly.", name="kelly")),
        trio.open_nursery() as nursery,
    ):
        assert stage.microphone is not None
        line = Line(stage.microphone)
        nursery.start_soon(line.run)
        await until(lambda: stage.session.realtime.settled)
        await written(stage, "hello")
        await stage.session.wait_for_playout()
        decided = trio.current_time() + 1
        spoken = line.say(words, decided + offset)
        await trio.sleep_until(decided)
        mo = Agent(MO, model=model_of(other), name="mo")
        timings = await stage.session.handoff(Handoff(mo, reply="none"))
        assert (timings.reused, timings.connections) == (False, 1)
        assert timings.why_fresh == "another model"
        await trio.sleep_until(spoken + 3)
        nursery.cancel_scope.cancel()

    (old,), (new,) = stage.server.connections, other.connections
    assert old.closed is None or old.closed > new.opened
    (turn,) = [one.pcm for one in new.committed if any(one.pcm)]
    assert turn.count(words) == 1
    assert not [one for one in old.committed if any(one.pcm)]
    said = [(i.role, i.text) for i in stage.session.chat_ctx if isinstance(i, Message)]
    assert said == [
        ("user", "hello"),
        ("assistant", "Kelly speaking."),
        ("user", "will it rain tomorrow"),
        ("assistant", "Mo speaking."),
    ]
    marks = decode(stage.output.pcm)
    under = stage.server.watermarks | other.watermarks
    assert list(dict.fromkeys(under[mark.config][0] for mark in marks)) == [
        "You are Kelly.",
        MO,
    ]
    assert [event.agent for event in stage.of(ReplyEnded)] == ["kelly", "mo"]
    assert stage.server.protocol_errors == other.protocol_errors == []


async def test_an_agents_own_model_decides_how_its_tools_are_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It answers tool outputs by itself, where the session's model does not."""
    async with RealtimeServer(speaking).serving() as other, on_stage(speaking) as stage:
        flags = {"auto_tool_reply_generation": True}
        mo = Agent(MO, tools=[take_note], model=model_of(other, capabilities=flags))
        async with running(stage, Agent("You are Kelly.")):
            await until(lambda: stage.session.realtime.settled)
            stage.session.userdata = Caller("Ann")
            await stage.session.handoff(Handoff(mo, reply="none"))
            await written(stage, "take a note")
            await trio.sleep(5)
        (connection,) = other.connections
        assert len(connection.find("response.create", "in")) == 1
        outputs = [
            i.output
            for i in stage.session.chat_ctx
            if isinstance(i, FunctionCallOutput)
        ]
        assert outputs == ["noted for Ann"]


# --- leaving -------------------------------------------------------------------------


class Leaving(Agent):
    """Notes what ends when, and takes its time to leave."""

    instructions = "You are Kelly."

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    async def on_enter(self, ctx: RunContext) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.order.append("emptied")

    async def on_exit(self, ctx: RunContext) -> None:
        self.order.append("leaving")
        await trio.sleep(2)
        self.order.append("left")


@pytest.mark.behaviour("H3")
async def test_an_agent_leaves_when_its_scope_is_empty_beside_what_follows(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`on_exit` delays nothing: the new agent is agreed upon meanwhile."""
    kelly = Leaving()
    network = {"network": Network(one_way=0.03)}
    async with on_stage(speaking, server=network) as stage, running(stage, kelly):
        await until(lambda: stage.session.realtime.settled)
        timings = await stage.session.handoff(Weather())
        assert timings.acknowledged is not None
        assert timings.acknowledged - timings.committed < 0.065
        assert kelly.order == ["emptied", "leaving"]
        await trio.sleep(3)
        assert kelly.order == ["emptied", "leaving", "left"]


# --- who said what -------------------------------------------------------------------


class Kelly(Agent):
    """Takes notes, and hands over to Sunny."""

    instructions = "You are Kelly."
    tools = (take_note,)


@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
async def test_every_item_of_the_record_knows_which_agent_said_it(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Messages and calls; through handoffs, and on connections they are told again."""
    model = {"capabilities": {"mutable_instructions": False}} if fresh else {}
    async with on_stage(speaking, model=model, userdata=Caller("Ann")) as stage:
        async with running(stage, Kelly()):
            await until(lambda: stage.session.realtime.settled)
            await written(stage, "take a note")
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
            await stage.session.handoff(Weather())
            await until(lambda: stage.of(HandoffCompleted))
            await until(lambda: stage.session.realtime.replying.slot.idle)
            await stage.session.handoff(Agent(MO, name="mo"))
            await until(lambda: len(stage.of(HandoffCompleted)) == 2)
            await until(lambda: stage.session.realtime.replying.slot.idle)
            await stage.session.realtime.restart()
            await written(stage, "hello")
        by = [
            (item.agent, getattr(item, "text", "") or getattr(item, "name", ""))
            for item in stage.session.chat_ctx
            if isinstance(item, Message | FunctionCall)
        ]
        assert by == [
            (None, "take a note"),
            ("Kelly", "Kelly notes."),
            ("Kelly", "take_note"),
            ("Kelly", "Kelly speaking."),
            ("Weather", "Sunny speaking."),
            ("mo", "Mo speaking."),
            (None, "hello"),
            ("mo", "Mo speaking."),
        ]


async def test_a_session_without_userdata_has_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        RealtimeServer().serving() as server,
        open_agent_session(model_of(server)) as session,
    ):
        assert session.userdata is None
