"""The handoff as the server and the user see it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from stage import KELLY, SUNNY, Greeter, Weather, on_stage, transferring_brain, until
from trialogue import (
    Agent,
    ConfigurationError,
    Handoff,
    HandoffError,
    HandoffLoop,
    OpenAIRealtime,
    RunContext,
    SessionOptions,
    function_tool,
)
from trialogue.agents.events import (
    HandoffCompleted,
    HandoffMeasured,
    HandoffStarted,
    ToolFailed,
    ToolFinished,
)
from trialogue.realtime.notices import ReplyEnded
from trialogue.testing import Call, Network, Say, Turn


class Caller(Greeter):
    """A greeter that the model makes transfer as soon as it enters."""

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Please transfer to weather.")


def eager(turn: Turn) -> Any:
    """Kelly transfers at once; Sunny speaks."""
    if "transfer" in (turn.override or "").lower() and turn.output is None:
        return [Say("One moment."), Call("transfer_to_weather")]
    return Say("Sunny here." if "Sunny" in turn.instructions else "Kelly here.")


def kinds(stage: Any, connection: int = -1) -> list[str]:
    return [entry.type for entry in stage.sent(connection=connection)]


async def run_to_end(stage: Any, agent: Agent, seconds: float = 60.0) -> None:
    """Run until the handoff was heard and the new agent fell silent."""
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, agent)
            await until(lambda: stage.of(HandoffMeasured))
            await until(lambda: stage.session.realtime.replying.slot.idle)
            await stage.session.wait_for_playout()
            stage.session.end()


@pytest.mark.behaviour("H1", "H16")
async def test_reuse_with_copied_context_sends_one_update_the_output_and_a_create(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Reuse, keep: session.update first, then the output, then the reply; no more."""
    async with on_stage(eager) as stage:
        await run_to_end(stage, Caller())
        assert len(stage.server.connections) == 1
        after = kinds(stage)
        burst = after[after.index("session.update", 1) :]
        assert burst == [
            "session.update",
            "conversation.item.create",
            "response.create",
        ]
        update = stage.sent("session.update")[1].event["session"]
        assert set(update) == {"type", "instructions", "tools"}
        assert update["instructions"] == SUNNY
        assert stage.heard_under() == [
            f"{KELLY}\n\nPlease transfer to weather.",
            f"{SUNNY}\n\nIntroduce yourself.",
        ]


@pytest.mark.behaviour("H1", "H16")
async def test_one_round_trip_from_the_calls_end_to_the_new_agents_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """At 60 ms: response.done leaves, 60 ms later update, output and create arrive."""
    async with on_stage(eager, server={"network": Network(one_way=0.03)}) as stage:
        await run_to_end(stage, Caller())
        connection = stage.server.connections[0]
        done = connection.find("response.done", "out")[0].time
        create = connection.find("response.create", "in")[1].time
        update = connection.find("session.update", "in")[1].time
        assert done < update <= create <= done + 0.060 + 0.001


class FreshGreeter(Caller):
    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Handoff:
        """Transfer with an empty conversation."""
        return Handoff(Weather(), context="fresh")


@pytest.mark.behaviour("H1")
async def test_reuse_with_empty_context_deletes_what_was_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Reuse, fresh: the same burst deletes the items; the new agent sees none."""
    seen: list[int] = []

    def brain(turn: Turn) -> Any:
        seen.append(len(turn.items))
        return eager(turn)

    async with on_stage(brain) as stage:
        await run_to_end(stage, FreshGreeter())
        assert len(stage.server.connections) == 1
        burst = kinds(stage)[2:]
        assert burst[0] == "session.update"
        assert burst[-1] == "response.create"
        assert set(burst[1:-1]) == {"conversation.item.delete"}
        assert seen == [0, 0]
        assert len(stage.session.chat_ctx) == 1


@pytest.mark.behaviour("H1", "H2")
@pytest.mark.parametrize("flag", ["mutable_instructions", "mutable_tools"])
async def test_what_cannot_change_takes_a_fresh_connection_with_the_context_replayed(
    autojump_clock: trio.testing.MockClock, flag: str
) -> None:
    """Fresh, keep: configuration, items, reply in one burst on a new connection."""
    async with on_stage(eager, model={"capabilities": {flag: False}}) as stage:
        await run_to_end(stage, Caller())
        assert len(stage.server.connections) == 2
        assert kinds(stage, 1) == [
            "session.update",
            "conversation.item.create",
            "conversation.item.create",
            "conversation.item.create",
            "response.create",
        ]
        kept = [item["type"] for item in conversation(stage, 1)]
        assert kept[:3] == ["message", "function_call", "function_call_output"]


@pytest.mark.behaviour("H1", "H2")
async def test_a_fresh_connection_with_empty_context_is_given_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Fresh, fresh: the configuration and the reply, no item."""
    flags = {"mutable_chat_context": False}
    async with on_stage(eager, model={"capabilities": flags}) as stage:
        await run_to_end(stage, FreshGreeter())
        assert len(stage.server.connections) == 2
        assert kinds(stage, 1) == ["session.update", "response.create"]


def conversation(stage: Any, connection: int = -1) -> list[dict[str, Any]]:
    """Return the items that were created on a connection, by the client."""
    sent = stage.sent("conversation.item.create", connection)
    return [entry.event["item"] for entry in sent]


@pytest.mark.behaviour("H2")
async def test_another_voice_takes_a_fresh_connection_once_audio_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A voice is fixed once assistant audio exists: then the handoff goes fresh."""

    class Loud(Weather):
        options = SessionOptions(voice="cedar")

    class ToLoud(Caller):
        @function_tool
        async def transfer_to_weather(self, ctx: RunContext) -> Agent:
            """Transfer."""
            return Loud()

    async with on_stage(eager, model={"voice": "marin"}) as stage:
        await run_to_end(stage, ToLoud())
        assert len(stage.server.connections) == 2
        assert stage.of(HandoffStarted)[0].why_fresh == "the voice was heard"


@pytest.mark.behaviour("H2")
async def test_models_that_are_equal_by_value_share_the_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An agent that brings an equal model of its own reuses the connection."""

    class Own(Weather):
        pass

    class ToOwn(Caller):
        @function_tool
        async def transfer_to_weather(self, ctx: RunContext) -> Agent:
            """Transfer."""
            own = ctx.session.model
            assert isinstance(own, OpenAIRealtime)
            return Own(model=attrs.evolve(own))

    async with on_stage(eager) as stage:
        await run_to_end(stage, ToOwn())
        assert len(stage.server.connections) == 1


@pytest.mark.behaviour("H3")
async def test_the_old_scope_is_empty_before_the_new_agent_enters(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A task of the old agent that is slow to clean up ends before on_enter begins."""
    order: list[str] = []

    class Entering(Weather):
        async def on_enter(self, ctx: RunContext) -> None:
            order.append("entered")
            await super().on_enter(ctx)

    class Slow(Caller):
        async def on_enter(self, ctx: RunContext) -> None:
            ctx.nursery.start_soon(self.linger)
            await super().on_enter(ctx)

        async def linger(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.3)
                order.append("emptied")

        @function_tool
        async def transfer_to_weather(self, ctx: RunContext) -> Agent:
            """Transfer."""
            return Entering()

    async with on_stage(eager) as stage:
        await run_to_end(stage, Slow())
    assert order == ["emptied", "entered"]


@pytest.mark.behaviour("H14")
async def test_every_handoff_publishes_its_timings_as_the_server_saw_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Commit, burst, acknowledgement and first audio, against the server's stamps."""
    async with on_stage(eager, server={"network": Network(one_way=0.03)}) as stage:
        await run_to_end(stage, Caller())
        (completed,) = stage.of(HandoffCompleted)
        timings = stage.session.handoffs[0]
        assert completed.timings.next == timings.next == "Weather"
        assert timings.reused
        assert timings.connections == 0
        assert timings.messages == 3
        connection = stage.server.connections[0]
        arrived = connection.find("session.update", "in")[1].time
        assert timings.burst_written == pytest.approx(arrived - 0.03, abs=0.002)
        answered = connection.find("session.updated", "out")[1].time
        assert timings.acknowledged == pytest.approx(answered + 0.03, abs=0.002)
        assert timings.acknowledged is not None
        assert timings.response_created is not None
        assert timings.first_audio is not None
        assert timings.acknowledged <= timings.response_created <= timings.first_audio


@pytest.mark.behaviour("H19")
async def test_a_new_agent_that_asks_for_nothing_is_asked_to_speak(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Rule 8: after a handoff somebody speaks, unless it was asked to be silent."""

    class Silent(Agent):
        instructions = SUNNY

    class ToSilent(Caller):
        @function_tool
        async def transfer_to_weather(self, ctx: RunContext) -> Agent:
            """Transfer."""
            return Silent()

    async with on_stage(eager) as stage:
        await run_to_end(stage, ToSilent())
        assert stage.heard_under()[-1] == SUNNY


@pytest.mark.behaviour("H19")
async def test_reply_none_leaves_the_new_agent_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`reply="none"`: nothing is asked for."""

    class Silent(Agent):
        instructions = SUNNY

    class ToSilent(Caller):
        @function_tool
        async def transfer_to_weather(self, ctx: RunContext) -> Handoff:
            """Transfer."""
            return Handoff(Silent(), reply="none")

    async with on_stage(eager) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, ToSilent())
            await until(lambda: stage.of(HandoffCompleted))
            await trio.sleep(10)
            stage.session.end()
        assert len(stage.sent("response.create")) == 1


@pytest.mark.behaviour("H20")
async def test_more_than_five_handoffs_without_the_user_raise_handoff_loop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two agents that send each other the conversation are stopped, by name."""

    class Ping(Agent):
        instructions = "Ping."

        async def on_enter(self, ctx: RunContext) -> Agent:
            return Pong()

    class Pong(Agent):
        instructions = "Pong."

        async def on_enter(self, ctx: RunContext) -> Agent:
            return Ping()

    async with on_stage(eager) as stage:
        with trio.fail_after(60), pytest.raises(HandoffLoop, match="6 handoffs"):
            await stage.session.run(Ping())
        assert len(stage.of(HandoffStarted)) == 5


@pytest.mark.behaviour("H20")
async def test_a_word_of_the_users_lets_handoffs_be_counted_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Ten handoffs, with something written after each fourth: no loop."""
    async with on_stage(lambda turn: "Hello.") as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.session.run, Greeter())
        await until(lambda: stage.session.realtime.settled)
        for number in range(10):
            if number % 4 == 0:
                await say(stage, "Go on.")
            await stage.session.handoff(Handoff(Greeter(), reply="none"))
        assert len(stage.session.handoffs) == 10
        stage.session.end()


class _Refuses(Agent):
    """Its instructions cannot be made."""

    def __init__(self) -> None:
        super().__init__(instructions=self.fail)

    @staticmethod
    def fail(ctx: RunContext) -> str:
        msg = "the prompt store is down"
        raise RuntimeError(msg)


class _TwoTools(Agent):
    instructions = "Two tools of one name."

    def __init__(self) -> None:
        @function_tool(name="lookup")
        async def first() -> str:
            """One."""
            return ""

        @function_tool(name="lookup")
        async def second() -> str:
            """Two."""
            return ""

        super().__init__(tools=[first, second])


@pytest.mark.behaviour("H7", "H21")
@pytest.mark.parametrize("target", [_Refuses, _TwoTools, Agent])
async def test_what_fails_in_preparation_leaves_the_old_agent_live_and_untouched(
    autojump_clock: trio.testing.MockClock, target: type[Agent]
) -> None:
    """The call reads "handoff failed", the event has the error, nothing was sent."""

    class ToNowhere(Caller):
        @function_tool
        async def transfer_to_weather(self, ctx: RunContext) -> Agent:
            """Transfer."""
            return target()

    async with on_stage(eager) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, ToNowhere())
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
            assert isinstance(stage.session.agent, ToNowhere)
            stage.session.end()
        assert len(stage.sent("session.update")) == 1
        (failed,) = stage.of(ToolFailed)
        assert isinstance(failed.error, RuntimeError | ConfigurationError)
        (finished,) = stage.of(ToolFinished)
        assert finished.output.startswith("handoff failed")
        assert "prompt store" not in finished.output
        assert stage.heard_under() == [f"{KELLY}\n\nPlease transfer to weather.", KELLY]


@pytest.mark.behaviour("H7", "H21")
async def test_handing_over_from_outside_raises_what_preparation_raised(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`session.handoff` raises; the old agent goes on and nothing was sent."""
    async with on_stage(eager) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.session.run, Greeter())
        await until(lambda: stage.session.realtime.settled)
        with pytest.raises(RuntimeError, match="prompt store"):
            await stage.session.handoff(_Refuses())
        assert isinstance(stage.session.agent, Greeter)
        assert len(stage.sent("session.update")) == 1
        stage.session.end()


async def test_handing_over_from_outside_returns_when_the_server_agreed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`session.handoff` waits for the settlement and returns the timings."""
    async with on_stage(eager) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.session.run, Greeter())
        await until(lambda: stage.session.realtime.settled)
        timings = await stage.session.handoff(Weather())
        assert timings.acknowledged is not None
        assert isinstance(stage.session.agent, Weather)
        stage.session.end()


async def test_handing_over_from_inside_raises_with_the_remedy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Inside its own scope `session.handoff` would wait for itself: it says so."""
    raised: list[HandoffError] = []

    class Inside(Agent):
        instructions = KELLY

        async def on_enter(self, ctx: RunContext) -> None:
            try:
                await ctx.session.handoff(Weather())
            except HandoffError as error:
                raised.append(error)
            ctx.session.handoff_soon(Weather())

    async with on_stage(eager) as stage:
        await run_to_end(stage, Inside())
    assert "return the agent" in str(raised[0])


async def test_the_whole_story_with_the_users_words(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Written turns: to the weather and back; the record has every word once."""
    async with on_stage(transferring_brain) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.session.run, Greeter())
        await until(lambda: stage.session.realtime.settled)
        await say(stage, "What is the weather?")
        await until(lambda: isinstance(stage.session.agent, Weather))
        await until(lambda: stage.of(HandoffMeasured))
        await until(lambda: stage.session.realtime.replying.slot.idle)
        await say(stage, "Take me back.")
        await until(lambda: isinstance(stage.session.agent, Greeter))
        await until(lambda: len(stage.of(HandoffMeasured)) == 2)
        await until(lambda: stage.session.realtime.replying.slot.idle)
        stage.session.end()
        said = [getattr(item, "text", "") for item in stage.session.chat_ctx]
        assert [text for text in said if text] == [
            "What is the weather?",
            "One moment.",
            "Sunny speaking.",
            "Take me back.",
            "Kelly speaking.",
        ]


async def say(stage: Any, text: str) -> None:
    """Write something as the user and ask for a reply."""
    realtime = stage.session.realtime
    report = await realtime.update_chat_ctx(realtime.chat_ctx.add_message("user", text))
    assert report.ok
    with trio.move_on_after(5):
        await stage.session.generate_reply()
