"""Interleavings that a reader of the code would not expect."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import trio
import trio.testing

from stage import (
    Greeter,
    Prompted,
    Weather,
    model_of,
    on_stage,
    outputs,
    prompted,
    running,
    until,
)
from trialogue import (
    Agent,
    FunctionCall,
    RunContext,
    SessionOptions,
    function_tool,
)
from trialogue.agents.events import HandoffStarted
from trialogue.testing import Call, Pace, RealtimeServer, Say, Settings, Turn


class Quiet(Agent):
    instructions = "You are Mo, and you wait."


class Relay(Agent):
    instructions = "You pass everybody on."

    async def on_enter(self, ctx: RunContext) -> Agent:
        return Quiet()


async def test_a_handoff_settles_before_the_new_agent_hands_over_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever waits for the first is told, though on_enter returned an agent."""
    async with on_stage() as stage, running(stage, Greeter()):
        await until(lambda: stage.session.realtime.settled)
        with trio.fail_after(10):
            timings = await stage.session.handoff(Relay())
        assert (timings.previous, timings.next) == ("Greeter", "Relay")
        assert timings.acknowledged is not None
        await until(lambda: len(stage.session.handoffs) == 2)
        assert stage.session.handoffs[1].next == "Quiet"
        assert stage.session.handoffs[1].committed >= timings.acknowledged


class Thorough(Prompted):
    """Has a tool that is let finish, so that its scope is emptied late."""

    said: str = ""

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Hand over."""
        return Quiet()

    @function_tool(on_handoff="finish")
    async def file_report(self, ctx: RunContext) -> str:
        """File the report."""
        await trio.sleep(1)
        self.said = (await ctx.session.generate_reply()).outcome
        return "filed"


async def test_a_reply_asked_for_while_a_scope_is_emptied_is_the_next_agents(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After the decision the program's reply waits for the new agent, not for ever."""
    brain: Any = prompted(Call("file_report"), Call("transfer"))
    agent = Thorough()
    async with on_stage(brain) as stage, running(stage, agent):
        await until(lambda: stage.of(HandoffStarted))
        assert stage.session.agent is agent
        with trio.fail_after(10):
            outcome = await stage.session.generate_reply(instructions="Say goodbye.")
        assert outcome.outcome == "completed"
        made = [r.override for r in stage.server.connections[0].responses]
        assert f"{Quiet.instructions}\n\nSay goodbye." in made
        assert agent.said == "interrupted"


async def test_the_first_agent_runs_on_its_own_model(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The session dials before it knows the agent; another model is dialled then."""
    async with RealtimeServer().serving() as other, on_stage() as stage:
        agent = Agent("You are Mo.", model=model_of(other))
        async with running(stage, agent):
            await until(lambda: stage.session.agent is agent)
            outcome = await stage.session.generate_reply()
            assert outcome.outcome == "completed"
            assert len(other.connections[0].responses) == 1
            assert stage.sent("session.update") == []


async def test_a_second_run_takes_a_connection_that_can_be_its_agents(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A voice is fixed once it was heard, also from one run to the next."""
    async with on_stage() as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, Greeter())
            await until(lambda: stage.session.realtime.settled)
            await stage.session.generate_reply()
            nursery.cancel_scope.cancel()
        bass = Agent("You are Mo.", options=SessionOptions(voice="cedar"))
        async with running(stage, bass):
            await until(lambda: stage.session.agent is bass)
            await stage.session.generate_reply()
            assert len(stage.server.connections) == 2
            assert stage.server.connections[1].responses[0].voice == "cedar"


async def test_a_handoff_asked_for_during_another_comes_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The second waits for the first to settle, though its scope is still emptied."""
    brain: Any = prompted(Call("file_report"), Call("transfer"))
    async with on_stage(brain) as stage, running(stage, Thorough()):
        await until(lambda: stage.of(HandoffStarted))
        with trio.fail_after(10):
            timings = await stage.session.handoff(Greeter())
        assert (timings.previous, timings.next) == ("Quiet", "Greeter")
        assert [t.next for t in stage.session.handoffs] == ["Quiet", "Greeter"]


class Saver(Agent):
    instructions = "You keep the minutes."
    saved: bool = False

    async def on_exit(self, ctx: RunContext) -> None:
        await trio.sleep(0.5)
        self.saved = True


async def test_the_last_agent_has_time_to_leave(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """on_exit of the agent with which the conversation ends is not cut off."""
    saver = Saver()
    async with on_stage() as stage, running(stage, saver):
        await until(lambda: stage.session.realtime.settled)
    assert saver.saved


class Hanging(Saver):
    async def on_exit(self, ctx: RunContext) -> None:
        await trio.sleep_forever()


async def test_the_last_agents_time_to_leave_is_bounded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An on_exit that never ends holds the run up for five seconds, and no longer."""
    async with on_stage() as stage:
        with trio.fail_after(20):
            async with running(stage, Hanging()):
                await until(lambda: stage.session.realtime.settled)
                began = trio.current_time()
        assert 4 < trio.current_time() - began < 6


class Torn(Prompted):
    """Three tools hand over to three agents, the third much later."""

    @function_tool
    async def to_quiet(self, ctx: RunContext) -> Agent:
        """Hand over."""
        return Quiet()

    @function_tool
    async def to_greeter(self, ctx: RunContext) -> Agent:
        """Hand over."""
        return Greeter()

    @function_tool
    async def to_saver(self, ctx: RunContext) -> Agent:
        """Hand over, after the others have been judged."""
        await trio.sleep(5)
        return Saver()


async def test_an_agent_returned_after_a_conflict_is_part_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The old agent stays, as the first two calls are told; so is the third."""
    brain: Any = prompted(Call("to_quiet"), Call("to_greeter"), Call("to_saver"))
    torn = Torn()
    async with on_stage(brain) as stage, running(stage, torn):
        await until(lambda: len(outputs(stage)) == 3)
        assert stage.session.agent is torn
        told = [text for _, text in outputs(stage)]
        assert all(text.startswith("no handoff") for text in told)
        assert "Saver" in told[2]
        await until(lambda: stage.session.realtime.replying.slot.idle)
        assert stage.of(HandoffStarted) == []


async def test_an_agent_keeps_nothing_of_the_calls_that_it_has_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What tools returned is let go, however long one agent stays."""
    results: list[weakref.ref[Any]] = []

    class Result:
        def __str__(self) -> str:
            return "a result"

    class Busy(Agent):
        instructions = "You work."

        async def on_enter(self, ctx: RunContext) -> None:
            for _ in range(3):
                await ctx.session.generate_reply(instructions="Work.")

        @function_tool
        async def work(self, ctx: RunContext) -> Result:
            """Work."""
            result = Result()
            results.append(weakref.ref(result))
            return result

    def brain(turn: Turn) -> Any:
        return Call("work") if turn.override else "Done."

    async with on_stage(brain) as stage, running(stage, Busy()):
        await until(lambda: len(results) == 3)
        await until(lambda: stage.session.realtime.replying.slot.idle)
        stage.events.clear()
        gc.collect()
        assert [result() for result in results] == [None, None, None]


async def test_a_call_cut_off_in_its_arguments_leaves_the_conversation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody can answer half a call: it is deleted, here and at the server."""

    def brain(turn: Turn) -> Any:
        return [Say("Let me look."), Call("lookup_weather", {"location": "x" * 4000})]

    settings = Settings(pace=Pace(text_ms=20))
    async with (
        on_stage(brain, server={"settings": settings}) as stage,
        running(stage, Weather()),
    ):
        server = stage.server.connections[0]
        delta = "response.function_call_arguments.delta"
        await until(lambda: server.find(delta, "out"))
        stage.session.interrupt()
        await until(lambda: server.find("conversation.item.deleted", "out"))
        await trio.sleep(1)
        kinds = {type(item) for item in stage.session.chat_ctx}
        assert FunctionCall not in kinds
