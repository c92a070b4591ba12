"""Tool calls as the model sees them: what is run, what is answered, and when."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

from stage import Prompted, Weather, on_stage, outputs, prompted, running, speak, until
from trialogue import Agent, RunContext, SessionOptions, ToolError, function_tool
from trialogue.agents.events import ToolFailed, ToolFinished, ToolStarted
from trialogue.realtime.notices import (
    ReplyEnded,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from trialogue.testing import Call, Network, Pause, Say, Turn
from trialogue.tools import NoReply

SECRET = "SELECT * FROM users WHERE card = 4000123412341234"


class Bench(Prompted):
    """One tool for each way in which a call can end."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[tuple[str, float]] = []
        self.ended: list[tuple[str, float]] = []

    async def work(self, name: str, seconds: float) -> str:
        self.began.append((name, trio.current_time()))
        await trio.sleep(seconds)
        self.ended.append((name, trio.current_time()))
        return f"{name} is done"

    @function_tool
    async def quick(self, ctx: RunContext) -> str:
        """Return at once."""
        return await self.work("quick", 0)

    @function_tool
    async def slow(self, ctx: RunContext, name: str, seconds: float) -> str:
        """Return after a while."""
        return await self.work(name, seconds)

    @function_tool(on_interrupt="cancel")
    async def fickle(self, ctx: RunContext) -> str:
        """Stop when the user speaks."""
        return await self.work("fickle", 30)

    @function_tool
    async def refuses(self, ctx: RunContext) -> str:
        """Explain to the model why not."""
        msg = "the city is unknown; ask for another one"
        raise ToolError(msg)

    @function_tool
    async def crashes(self, ctx: RunContext) -> str:
        """Fail inside."""
        msg = f"connection lost during {SECRET}"
        raise RuntimeError(msg)

    @function_tool(timeout=0.5)
    async def too_slow(self, ctx: RunContext) -> str:
        """Take longer than allowed."""
        return await self.work("too_slow", 30)

    @function_tool
    async def counts(self, ctx: RunContext, number: int) -> int:
        """Count."""
        return number + 1

    @function_tool
    async def records(self, ctx: RunContext) -> NoReply:
        """Have nothing said about it."""
        return NoReply("noted")

    @function_tool(reply="none")
    async def silent(self, ctx: RunContext) -> str:
        """Have nothing said about it, by declaration."""
        return "kept"

    @function_tool
    async def unsendable(self, ctx: RunContext) -> object:
        """Return what has no JSON form."""
        return object()

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer."""
        return Weather()


ANSWERS = [
    (Call("quick"), "quick is done"),
    (Call("refuses"), "the city is unknown; ask for another one"),
    (Call("crashes"), "the tool failed with an internal error"),
    (Call("teleport"), "there is no tool 'teleport'; the tools are: "),
    (Call("counts", '{"number": '), "the arguments are wrong: "),
    (Call("counts", {"number": "many"}), "the arguments are wrong: "),
    (Call("counts", {"number": 2}), "3"),
    (Call("too_slow"), "the tool did not finish within 0.5 s and was stopped"),
    (Call("records"), "noted"),
    (Call("silent"), "kept"),
    (Call("unsendable"), "the tool returned a value that cannot be sent (type object)"),
]


def creates(stage: Any) -> list[float]:
    return [entry.time for entry in stage.sent("response.create")]


def ended(stage: Any) -> int:
    return len(stage.of(ReplyEnded))


# --- every call gets exactly one output --------------------------------------------


@pytest.mark.behaviour("T1")
async def test_every_kind_of_call_gets_exactly_one_output_on_the_wire(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Eleven calls of one response, eleven outputs, in call order, then one reply."""
    calls = [call for call, _ in ANSWERS]
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, Bench()):
            await until(lambda: ended(stage) == 2)
            await trio.sleep(60)
        announced = stage.server.connections[0].find("response.output_item.done")
        ids = [entry.event["item"]["call_id"] for entry in announced[: len(calls)]]
        answered = outputs(stage)
        assert [call_id for call_id, _ in answered] == ids
        for (_, output), (call, expected) in zip(answered, ANSWERS, strict=True):
            assert output.startswith(expected), call
        listed = answered[3][1].partition(": ")[2].split(", ")
        assert set(listed) == set(stage.server.connections[0].responses[0].tools)
        assert len(creates(stage)) == 2


@pytest.mark.behaviour("T1")
@pytest.mark.parametrize(
    ("call", "place"),
    [
        (Call("counts", '{"number": '), "JSON"),
        (Call("counts", "[1]"), "object"),
        (Call("counts", {"number": "many"}), "number"),
        (Call("counts", {}), "number"),
        (Call("counts", {"number": 1, "colour": "red"}), "colour"),
    ],
)
async def test_bad_arguments_are_answered_with_their_place_and_the_tool_is_not_run(
    autojump_clock: trio.testing.MockClock, call: Call, place: str
) -> None:
    """The model is told what is wrong, where, so that it can correct itself."""
    async with on_stage(prompted(call)) as stage:
        async with running(stage, Bench()):
            await until(lambda: ended(stage) == 2)
        ((_, output),) = outputs(stage)
        assert output.startswith("the arguments are wrong: ")
        assert place in output
        assert not stage.of(ToolStarted)


@pytest.mark.behaviour("T1")
@pytest.mark.parametrize("name", ["records", "silent"])
async def test_a_tool_that_wants_no_reply_is_answered_and_nothing_is_said(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    """The output is sent; no response is asked for."""
    async with on_stage(prompted(Call(name))) as stage:
        async with running(stage, Bench()):
            await until(lambda: outputs(stage))
            await trio.sleep(30)
        assert len(outputs(stage)) == len(creates(stage)) == 1


@pytest.mark.behaviour("T1", "H8")
async def test_a_handoff_answers_its_call_and_those_that_it_cancels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The tool that returned the agent, a finished one and one that still ran."""
    calls = [
        Call("slow", {"name": "long", "seconds": 60}),
        Call("quick"),
        Call("transfer"),
    ]
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, Bench()):
            await until(lambda: isinstance(stage.session.agent, Weather))
            await until(lambda: ended(stage) == 2)
        assert [output for _, output in outputs(stage)] == [
            "stopped: handed off",
            "quick is done",
            "transferred to Weather",
        ]


# --- failures ----------------------------------------------------------------------


@pytest.mark.behaviour("T2")
async def test_an_internal_exception_is_logged_and_announced_but_not_told_the_model(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not one frame has its text; the log has the traceback, an event the exception."""
    async with on_stage(prompted(Call("crashes"))) as stage:
        with caplog.at_level(logging.ERROR, logger="trialogue"):
            async with running(stage, Bench()):
                await until(lambda: ended(stage) == 2)
        for connection in stage.server.connections:
            assert "4000123412341234" not in str(list(connection.entries))
        (record,) = [r for r in caplog.records if r.exc_info]
        assert "crashes" in record.getMessage()
        assert "in crashes" in caplog.text
        assert SECRET in caplog.text
        (failed,) = stage.of(ToolFailed)
        assert (failed.tool, failed.agent) == ("crashes", "Bench")
        assert isinstance(failed.error, RuntimeError)


async def test_a_result_that_cannot_be_sent_is_announced_to_the_program(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The model reads what to do about it, and so does the tool's author."""
    async with on_stage(prompted(Call("unsendable"))) as stage:
        async with running(stage, Bench()):
            await until(lambda: ended(stage) == 2)
        (failed,) = stage.of(ToolFailed)
        assert "type object" in failed.problem
        assert "return str or JSON-able data" in failed.problem


@pytest.mark.behaviour("T7")
async def test_a_tool_that_times_out_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is cancelled at its own deadline, and never reports its end."""
    agent = Bench()
    async with on_stage(prompted(Call("too_slow"))) as stage:
        async with running(stage, agent):
            await until(lambda: outputs(stage))
            began = agent.began[0][1]
            assert stage.sent("conversation.item.create")[0].time == pytest.approx(
                began + 0.5, abs=0.02
            )
            await trio.sleep(60)
        assert not agent.ended


# --- in parallel -------------------------------------------------------------------


def parallel(*seconds: float) -> list[Call]:
    return [
        Call("slow", {"name": f"tool {n}", "seconds": s}) for n, s in enumerate(seconds)
    ]


@pytest.mark.behaviour("T4")
@pytest.mark.parametrize("seconds", [(3, 2, 1), (1, 2, 3), (2, 3, 1, 3)])
async def test_parallel_calls_run_together_and_are_answered_in_order_in_one_burst(
    autojump_clock: trio.testing.MockClock, seconds: tuple[float, ...]
) -> None:
    """They take as long as the slowest; outputs in call order, all before one reply."""
    agent = Bench()
    async with on_stage(prompted(*parallel(*seconds))) as stage:
        async with running(stage, agent):
            await until(lambda: ended(stage) == 2)
        names = [f"tool {n}" for n in range(len(seconds))]
        began = dict(agent.began)
        assert max(began.values()) < min(at for _, at in agent.ended)
        assert [output for _, output in outputs(stage)] == [
            f"{n} is done" for n in names
        ]
        *results, create = [
            entry for entry in stage.sent() if entry.time > max(began.values())
        ]
        assert create.type == "response.create"
        assert {entry.type for entry in results} == {"conversation.item.create"}
        assert {entry.time for entry in results} == {create.time}
        assert create.time == pytest.approx(max(at for _, at in agent.ended), abs=0.01)


async def test_a_tool_begins_while_its_response_still_speaks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is started when its call is complete, not when the response is."""
    agent = Bench()
    brain = prompted(Call("quick"), Pause(3.0), Say("One moment."))
    async with on_stage(brain) as stage:
        async with running(stage, agent):
            await until(lambda: ended(stage) == 2)
        done = stage.server.connections[0].find("response.done")[0].time
        assert agent.ended[0][1] < done - 2.5
        assert done <= creates(stage)[1] <= done + 0.01


# --- the user speaks meanwhile -----------------------------------------------------


@pytest.mark.behaviour("T3")
@pytest.mark.parametrize("speaks_for", [800, 4000])
async def test_finished_results_are_sent_although_the_user_interrupts(
    autojump_clock: trio.testing.MockClock, speaks_for: int
) -> None:
    """One tool has finished and one has not when the user begins: both are answered.

    The user may still be speaking when the slow one ends, or be answered already.
    """
    brain = prompted(*parallel(0.1, 3.0), Say("Let me see." * 20))
    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        agent = Bench()
        async with running(stage, agent):
            await until(lambda: len(agent.ended) == 1)
            words = stage.server.utterances.say("Never mind.", ms=speaks_for)
            await speak(stage.microphone, words)
            await until(lambda: len(outputs(stage)) == 2)
            await until(lambda: stage.session.realtime.replying.slot.idle)
        assert stage.of(ReplyEnded)[0].outcome.outcome == "interrupted"
        assert [output for _, output in outputs(stage)] == [
            "tool 0 is done",
            "tool 1 is done",
        ]
        assert stage.server.connections[0].committed[0].text == "Never mind."


@pytest.mark.behaviour("T1", "T3")
async def test_a_tool_that_opts_in_is_stopped_by_the_user_and_the_others_are_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The cancelled call says so; the finished one keeps its result."""
    brain = prompted(Call("quick"), Call("fickle"), Say("Let me see." * 20))
    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        agent = Bench()
        async with running(stage, agent):
            await until(lambda: len(agent.began) == 2)
            await speak(stage.microphone, stage.server.utterances.say("Wait."))
            await until(lambda: len(outputs(stage)) == 2)
        assert [output for _, output in outputs(stage)] == [
            "quick is done",
            "stopped: the user interrupted",
        ]
        began = stage.of(UserStartedSpeaking)
        assert began
        assert [name for name, _ in agent.ended] == ["quick"]


@pytest.mark.behaviour("T3", "U6")
async def test_a_tool_that_opts_in_is_stopped_by_the_users_button_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where the program finds the turns nobody hears the user begin."""
    manual = {"options": SessionOptions(turn_detection=None)}
    brain = prompted(Call("quick"), Call("fickle"), Say("Let me see." * 20))
    async with on_stage(brain, microphone=True, model=manual) as stage:
        agent = Bench()
        async with running(stage, agent):
            await until(lambda: len(agent.began) == 2)
            await until(lambda: stage.output.pcm)
            await stage.session.start_user_turn()
            await until(lambda: len(outputs(stage)) == 2)
            await stage.session.clear_user_turn()
        assert [output for _, output in outputs(stage)] == [
            "quick is done",
            "stopped: the user interrupted",
        ]


@pytest.mark.behaviour("T5")
async def test_a_slow_tool_delays_neither_the_voice_nor_the_barge_in(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Speech plays without a gap beside the tool, and stops at once for the user."""
    words = "This will take a little while, and so I go on talking about it. " * 3
    brain = prompted(*parallel(60), Say(words))
    async with on_stage(brain, microphone=True) as stage:
        assert stage.microphone is not None
        agent = Bench()
        async with running(stage, agent):
            await until(lambda: stage.output.pcm)
            await trio.sleep(2)
            (run,) = stage.output.runs
            assert run.time < agent.began[0][1] + 0.5
            assert run.end >= trio.current_time() - 0.1
            clip = stage.server.utterances.say("Stop talking.")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(speak, stage.microphone, clip)
                await until(lambda: stage.of(UserStartedSpeaking))
                heard = stage.output.played
                await trio.sleep(0.2)
                assert stage.output.played == heard
            await until(lambda: stage.of(UserStoppedSpeaking))
            await until(lambda: ended(stage) == 2)
            assert not agent.ended
            assert stage.of(ReplyEnded)[1].outcome.text == "Done."


# --- agents and their calls --------------------------------------------------------


class Leaving(Bench):
    """Hands over in the middle of its own response."""

    @function_tool
    async def leave(self, ctx: RunContext) -> None:
        """Leave at once."""
        ctx.session.handoff_soon(Weather())
        await trio.sleep_forever()


@pytest.mark.behaviour("T11")
@pytest.mark.parametrize("one_way", [0.03, 0.3])
async def test_a_call_of_the_old_agent_that_comes_after_the_commit_is_not_run(
    autojump_clock: trio.testing.MockClock, one_way: float
) -> None:
    """It is answered "not run: handed off", whoever is current by then."""
    agent = Leaving()
    brain = prompted(
        Call("leave"), Pause(one_way), Call("quick"), Call("transfer"), Pause(5)
    )
    async with on_stage(brain, server={"network": Network(one_way=one_way)}) as stage:
        async with running(stage, agent):
            await until(lambda: isinstance(stage.session.agent, Weather))
            await until(lambda: stage.session.realtime.replying.slot.idle)
            await trio.sleep(5)
        assert not agent.began
        assert [event.tool for event in stage.of(ToolStarted)] == ["leave"]
        texts = dict(outputs(stage))
        assert len(texts) == len(outputs(stage)) == 3
        assert sorted(texts.values()) == [
            "not run: handed off",
            "not run: handed off",
            "stopped: handed off",
        ]
        assert len(stage.session.handoffs) == 1


@pytest.mark.behaviour("T11")
async def test_a_tool_of_the_old_agents_name_is_not_run_by_the_new_agent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Both agents have a tool `quick`: the old agent's call runs neither."""
    ran: list[str] = []

    class Twin(Agent):
        instructions = "You are the twin, and you have tools as well."

        @function_tool
        async def quick(self) -> str:
            """Answer as the twin."""
            ran.append("twin")
            return "from the twin"

    class ToTwin(Bench):
        @function_tool
        async def leave(self, ctx: RunContext) -> None:
            """Leave at once."""
            ctx.session.handoff_soon(Twin())
            await trio.sleep_forever()

    agent = ToTwin()
    brain = prompted(Call("leave"), Pause(0.1), Call("quick"), Pause(5))
    async with on_stage(brain, server={"network": Network(one_way=0.1)}) as stage:
        async with running(stage, agent):
            await until(lambda: isinstance(stage.session.agent, Twin))
            await until(lambda: len(outputs(stage)) == 2)
            await trio.sleep(5)
        assert not ran
        assert not agent.began
        assert "not run: handed off" in dict(outputs(stage)).values()


@pytest.mark.behaviour("T9")
async def test_a_tool_may_have_something_said_while_it_works(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A tool that awaits `generate_reply` is not waiting for its own turn to end."""

    class Talkative(Prompted):
        @function_tool
        async def search(self, ctx: RunContext) -> str:
            """Search, and say so."""
            outcome = await ctx.session.generate_reply(instructions="Say: one moment.")
            return f"after {outcome.text}"

    def brain(turn: Turn) -> Any:
        if "one moment" in (turn.override or ""):
            return Say("One moment.")
        return [Call("search")] if turn.override else Say("Found.")

    async with on_stage(brain) as stage:
        async with running(stage, Talkative()):
            await until(lambda: ended(stage) == 3)
        assert [output for _, output in outputs(stage)] == ["after One moment."]
        assert [event.outcome.text for event in stage.of(ReplyEnded)] == [
            "",
            "One moment.",
            "Found.",
        ]


@pytest.mark.behaviour("T9")
async def test_a_tool_may_wait_for_what_was_said_to_be_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`wait_for_playout` inside a tool ends when the loudspeaker is silent."""

    class Patient(Prompted):
        waited = 0.0

        @function_tool
        async def wait(self, ctx: RunContext) -> str:
            """Wait until the words before the call were heard."""
            began = trio.current_time()
            await ctx.session.wait_for_playout()
            self.waited = trio.current_time() - began
            return "heard"

    agent = Patient()
    async with on_stage(prompted(Say("x", ms=3000), Call("wait"))) as stage:
        async with running(stage, agent):
            await until(lambda: ended(stage) == 2)
        assert 2 < agent.waited < 3.5
        assert [output for _, output in outputs(stage)] == ["heard"]


@pytest.mark.behaviour("T9")
@pytest.mark.parametrize("now", [False, True])
async def test_a_tool_may_end_the_session(
    autojump_clock: trio.testing.MockClock, now: bool
) -> None:
    """`end` plays out what was said, `end(now=True)` cuts it; the call is answered."""

    class Ending(Prompted):
        @function_tool
        async def hang_up(self, ctx: RunContext) -> str:
            """Say goodbye."""
            ctx.session.end(now=now)
            return "good night"

    async with on_stage(prompted(Say("Goodbye." * 8), Call("hang_up"))) as stage:
        with trio.fail_after(30):
            await stage.session.run(Ending())
        await until(lambda: outputs(stage))
        assert [output for _, output in outputs(stage)] == ["good night"]
        assert len(creates(stage)) == 1
        seconds = len(stage.output.pcm) / 48_000
        assert (seconds < 0.5) if now else (seconds == pytest.approx(3.84, abs=0.01))


@pytest.mark.behaviour("T9")
async def test_a_tool_that_ends_the_session_need_not_end_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may wait for the goodbye to be heard, and for whatever it likes."""

    class Ending(Prompted):
        heard: bool | None = None

        @function_tool
        async def hang_up(self, ctx: RunContext) -> str:
            """Say goodbye."""
            ctx.session.end()
            self.heard = await ctx.wait_for_playout()
            await trio.sleep_forever()

    agent = Ending()
    async with on_stage(prompted(Say("Goodbye." * 8), Call("hang_up"))) as stage:
        with trio.fail_after(30):
            await stage.session.run(agent)
        await until(lambda: outputs(stage))
        assert agent.heard
        assert [output for _, output in outputs(stage)] == ["stopped: handed off"]


async def test_the_outcome_of_every_call_is_an_event(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One start for each call that is run and one finish for every call."""
    calls = [Call("quick"), Call("teleport"), Call("refuses")]
    async with on_stage(prompted(*calls)) as stage:
        async with running(stage, Bench()):
            await until(lambda: ended(stage) == 2)
        assert [event.tool for event in stage.of(ToolStarted)] == ["quick", "refuses"]
        finished = stage.of(ToolFinished)
        assert [(event.tool, event.outcome) for event in finished] == [
            ("quick", "Returned"),
            ("teleport", "UnknownTool"),
            ("refuses", "Failed"),
        ]
