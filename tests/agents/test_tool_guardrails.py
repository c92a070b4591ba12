"""Guardrails on calls: what is not run, what is not sent, and what the model reads."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from guarding import Looked, Talker, one_trip, paced, played, spoken
from leftovers import QUIET, tasks
from stage import (
    PROMPT,
    Stage,
    Weather,
    on_stage,
    outputs,
    prompted,
    running,
    until,
)
from trialogue import (
    Agent,
    Guardrail,
    RunContext,
    ToolError,
    Trip,
    function_tool,
    tool_input_guardrail,
    tool_output_guardrail,
)
from trialogue.events import (
    AgentEntered,
    ApprovalRequested,
    GuardrailTripped,
    HandoffStarted,
    ReplyEnded,
    ToolFinished,
    ToolNoted,
    ToolStarted,
)
from trialogue.testing import Call, Pause, Say, Turn
from trialogue.tools import NoReply

CARD = "4000 1234 1234 1234"
NOT_RUN = "not run: this call is not allowed"
WITHHELD = "the tool has run, but its result is withheld: it is not allowed"


class Bank(Talker):
    """Pays, looks up, and refuses."""

    def __init__(self, *guardrails: Guardrail) -> None:
        super().__init__(*guardrails)
        self.paid: list[float] = []

    @function_tool
    async def pay(self, ctx: RunContext, amount: float) -> str:
        """Pay."""
        self.paid.append(amount)
        return f"paid {amount:g} with {CARD}"

    @function_tool
    async def refuse(self, ctx: RunContext) -> str:
        """Say why not."""
        raise ToolError(f"{CARD} is blocked")

    @function_tool
    async def quietly(self, ctx: RunContext) -> NoReply:
        """Return what nobody speaks of."""
        return NoReply({"card": CARD})

    @function_tool
    async def crash(self, ctx: RunContext) -> str:
        """Fail."""
        raise ValueError(CARD)

    @function_tool(timeout=1.0)
    async def hang(self, ctx: RunContext) -> str:
        """Take too long."""
        await trio.sleep_forever()
        raise AssertionError

    @function_tool(timeout=1.0)
    async def punctual(self, ctx: RunContext) -> str:
        """Be just in time."""
        await trio.sleep(0.9)
        return f"in time, with {CARD}"

    @function_tool(on_handoff="detach")
    async def outlive(self, ctx: RunContext) -> str:
        """Go on under another agent."""
        await trio.sleep(3)
        return f"found {CARD}"

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer."""
        return Weather()


def limited(
    most: float, seconds: float = 0.0, looked: Looked | None = None, **trip: Any
) -> Guardrail:
    looked = looked or Looked()

    @tool_input_guardrail(name="limited", timeout=20)
    async def check(ctx: RunContext, arguments: dict[str, Any]) -> Trip | None:
        assert ctx.call is not None
        await looked.look(ctx.call.name, seconds)
        too_much = arguments.get("amount", 0) > most
        arguments.clear()  # its own copy
        return Trip("too much", **trip) if too_much else None

    return check


def no_cards(
    seconds: float = 0.0, looked: Looked | None = None, **trip: Any
) -> Guardrail:
    looked = looked or Looked()

    @tool_output_guardrail(name="no_cards", timeout=20)
    async def check(ctx: RunContext, output: str) -> Trip | None:
        await looked.look(output, seconds)
        return Trip("a card number", **trip) if CARD in output else None

    return check


def everything_sent(stage: Stage) -> str:
    return str(
        [
            e.event
            for c in stage.server.connections
            for e in c.entries
            if e.direction == "in"
        ]
    )


def requests(stage: Stage) -> int:
    return sum(
        len(stage.sent("response.create", n))
        for n in range(len(stage.server.connections))
    )


async def called(*parts: Any, agent: Bank, **stage: Any) -> Stage:
    """Let the model call; return when it has been answered, and spoken again."""
    async with on_stage(prompted(*parts), **stage) as scene, running(scene, agent):
        await until(lambda: len(scene.of(ReplyEnded)) == 2)
        await trio.sleep(5)
        assert scene.session.realtime.open_work == QUIET
    return scene


# --- before it runs ----------------------------------------------------------------


@pytest.mark.behaviour("G16", "T1")
async def test_a_call_that_trips_is_not_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The model reads so, and goes on; what passes is run with its own arguments."""
    agent = Bank(limited(100, cut=False))
    stage = await called(
        Call("pay", {"amount": 500}), Call("pay", {"amount": 50}), agent=agent
    )
    assert agent.paid == [50]
    assert [text for _, text in outputs(stage)] == [NOT_RUN, f"paid 50 with {CARD}"]
    assert [e.outcome for e in stage.of(ToolFinished)] == ["Blocked", "Returned"]
    assert [e.arguments for e in stage.of(ToolStarted)] == ['{"amount": 50}']
    trip = one_trip(stage)
    assert (trip.guardrail, trip.place, trip.reason) == (
        "limited",
        "tool_input",
        "too much",
    )
    assert (trip.agent, trip.text) == ("Bank", '{"amount": 500}')
    assert (trip.call_id, trip.item_id) == (outputs(stage)[0][0], None)
    assert trip.response_id == stage.of(ReplyEnded)[0].response_id
    assert "too much" not in everything_sent(stage)
    assert requests(stage) == 2


@pytest.mark.behaviour("G16")
async def test_the_tool_waits_for_the_check_and_the_speech_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is told of as started when it is, and its own timeout runs from there."""
    agent = Bank(limited(100, 3.0))
    stage = await called(
        Say("One moment, please.", ms=2000), Call("punctual"), agent=agent
    )
    (started,) = [e for e in stage.events if isinstance(e, ToolStarted)]
    (finished,) = stage.of(ToolFinished)
    assert started.call_id == finished.call_id
    assert finished.outcome == "Returned"
    assert finished.seconds == pytest.approx(0.9, abs=0.01)
    assert played(stage)[0] == 2000
    first = stage.output.runs[0]
    assert first.end - first.time == pytest.approx(2.0)


@pytest.mark.behaviour("G16")
async def test_what_the_model_reads_can_be_said_by_the_trip(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = Bank(limited(100, refusal="At most 100; ask for less."))
    stage = await called(Call("pay", {"amount": 500}), agent=agent)
    assert [text for _, text in outputs(stage)] == ["At most 100; ask for less."]


@pytest.mark.behaviour("G16")
async def test_a_guardrail_of_some_tools_is_not_asked_about_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen: list[str] = []

    @tool_input_guardrail(tools=["pay"])
    async def of_pay(ctx: RunContext, arguments: dict[str, Any]) -> Trip | None:
        assert ctx.call is not None
        seen.append(ctx.call.name)
        return None

    await called(
        Call("pay", {"amount": 5}), Call("refuse"), Call("quietly"), agent=Bank(of_pay)
    )
    assert seen == ["pay"]


@pytest.mark.behaviour("G16", "G11")
@pytest.mark.parametrize("burst", [1.0, 10.0], ids=["made", "playing"])
async def test_a_trip_cuts_the_reply_that_calls(
    autojump_clock: trio.testing.MockClock, burst: float
) -> None:
    """What it announces is not so; its later calls are not run."""
    agent = Bank(limited(100, 0.5))
    parts = [Call("pay", {"amount": 500}), Say("I am paying 500 now.", ms=4000)]
    stage = await called(
        *parts, Call("pay", {"amount": 5}), agent=agent, server=paced(burst)
    )
    trip = one_trip(stage)
    assert trip.heard_ms == pytest.approx(played(stage)[0], abs=20)
    assert 0 < played(stage)[0] < 1000
    if burst == 1.0:
        assert agent.paid == []
        assert len(stage.sent("response.cancel")) == 1
    else:
        assert agent.paid == [5]  # it had begun when the trip came
        assert stage.sent("response.cancel") == []
    assert spoken(stage)[-1] == ("Done.", None)


@pytest.mark.behaviour("G16")
async def test_one_that_does_not_cut_lets_the_speech_be_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    agent = Bank(limited(100, cut=False))
    parts = [Call("pay", {"amount": 500}), Say("I am paying.", ms=2000)]
    stage = await called(*parts, Call("pay", {"amount": 5}), agent=agent)
    assert played(stage)[0] == 2000
    assert agent.paid == [5]
    assert outputs(stage)[0][1] == NOT_RUN


# --- before it is sent -------------------------------------------------------------


@pytest.mark.behaviour("G16")
@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (Call("pay", {"amount": 5}), "Blocked"),
        (Call("refuse"), "Blocked"),
        (Call("quietly"), "Blocked"),
        (Call("punctual"), "Blocked"),
        (Call("crash"), "Crashed"),
        (Call("hang"), "TimedOut"),
        (Call("work"), "Returned"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
async def test_an_output_that_trips_never_reaches_the_server(
    autojump_clock: trio.testing.MockClock, call: Call, outcome: str
) -> None:
    """A result, a refusal of the tool's own, one of which nobody was to speak."""
    looked = Looked()
    stage = await called(call, agent=Bank(no_cards(0.5, looked)))
    ((_, text),) = outputs(stage)
    (finished,) = stage.of(ToolFinished)
    assert finished.outcome == outcome
    assert CARD not in everything_sent(stage)
    assert (text == WITHHELD) == (outcome == "Blocked")
    assert bool(looked.texts) == (outcome in {"Blocked", "Returned"})
    if outcome == "Blocked":
        trip = one_trip(stage)
        assert (trip.place, trip.call_id) == ("tool_output", finished.call_id)
        assert CARD in trip.text
    else:
        assert not stage.of(GuardrailTripped)


@pytest.mark.behaviour("G16", "T4")
async def test_siblings_are_answered_together_and_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The check of one is waited for, and holds up no tool."""
    agent = Bank(no_cards(1.0))
    stage = await called(
        Call("pay", {"amount": 1}),
        Call("work"),
        Call("pay", {"amount": 2}),
        agent=agent,
    )
    assert [text for _, text in outputs(stage)] == [WITHHELD, "worked", WITHHELD]
    assert agent.paid == [1, 2]
    assert len({e.time for e in stage.sent("conversation.item.create")}) == 1
    assert requests(stage) == 2


@pytest.mark.behaviour("G16", "G12")
@pytest.mark.parametrize("before", [True, False], ids=["input", "output"])
async def test_one_that_fails_has_tripped(
    autojump_clock: trio.testing.MockClock, before: bool
) -> None:
    """What cannot be checked is not run, and not sent."""

    async def broken(ctx: RunContext, what: Any) -> Trip | None:
        raise ValueError("never mind")

    async def slow(ctx: RunContext, what: Any) -> Trip | None:
        await trio.sleep_forever()
        raise AssertionError

    place = tool_input_guardrail if before else tool_output_guardrail
    for guard in (place(broken), place(timeout=0.5)(slow)):
        agent = Bank(guard)
        stage = await called(Call("pay", {"amount": 5}), agent=agent)
        assert agent.paid == ([] if before else [5])
        ((_, text),) = outputs(stage)
        assert text == (NOT_RUN if before else WITHHELD)
        assert "never mind" not in everything_sent(stage)


@pytest.mark.behaviour("G13", "G16")
async def test_several_check_side_by_side_and_the_first_decides(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The other is cancelled, and the call waits no longer for it."""
    slow = Looked()

    @tool_output_guardrail(timeout=30)
    async def other(ctx: RunContext, output: str) -> Trip | None:
        await slow.look(output, 20.0)
        return None

    stage = await called(Call("pay", {"amount": 5}), agent=Bank(other, no_cards(0.5)))
    assert slow.cancelled == 1
    assert one_trip(stage).guardrail == "no_cards"
    assert outputs(stage)[0][1] == WITHHELD


# --- what follows ------------------------------------------------------------------


@pytest.mark.behaviour("G13", "G16")
@pytest.mark.parametrize("before", [True, False], ids=["input", "output"])
async def test_other_words_follow_the_refusal(
    autojump_clock: trio.testing.MockClock, before: bool
) -> None:
    """Once, behind the outputs of the reply."""
    say = "Explain the limit."
    agent = Bank(limited(100, say=say) if before else no_cards(say=say))
    stage = await called(Call("pay", {"amount": 500}), agent=agent)
    assert outputs(stage)[0][1] == (NOT_RUN if before else WITHHELD)
    _, create = stage.sent("response.create")
    assert say in create.event["response"]["instructions"]
    sent = [e.type for e in stage.sent()]
    assert sent.index("conversation.item.create") < len(sent) - 1 - sent[::-1].index(
        "response.create"
    )
    assert requests(stage) == 2


@pytest.mark.behaviour("G13", "G16")
@pytest.mark.parametrize("before", [True, False], ids=["input", "output"])
@pytest.mark.parametrize("fresh", [False, True], ids=["reused", "fresh"])
async def test_another_agent_may_take_over(
    autojump_clock: trio.testing.MockClock, before: bool, fresh: bool
) -> None:
    """The call has its output, and no agent is current twice."""
    trip: dict[str, Any] = {"handoff": Weather()}
    agent = Bank(limited(100, **trip) if before else no_cards(**trip))
    model = {"capabilities": {"mutable_instructions": False}} if fresh else {}
    stage = await called(
        Call("pay", {"amount": 500}),
        agent=agent,
        model=model,
        server=paced(one_way=0.02),
    )
    assert [e.agent for e in stage.of(AgentEntered)] == ["Bank", "Weather"]
    answered = [
        text
        for n in range(len(stage.server.connections))
        for _, text in outputs(stage, n)
    ]
    assert set(answered) == {NOT_RUN if before else WITHHELD}
    assert len(stage.of(ToolFinished)) == 1
    assert agent.paid == ([] if before else [500])
    assert spoken(stage)[-1] == ("Done.", None)


@pytest.mark.behaviour("G16", "T11")
async def test_a_tool_that_hands_over_is_checked_before_it_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And then does not; there is no output to be checked after that."""

    @tool_input_guardrail(tools=["transfer"])
    async def stay(ctx: RunContext, arguments: dict[str, Any]) -> Trip | None:
        return Trip("stay here")

    stage = await called(Call("transfer"), agent=Bank(stay))
    assert not stage.of(HandoffStarted)
    assert [text for _, text in outputs(stage)] == [NOT_RUN]
    looked = Looked()
    stage = await called(Call("transfer"), agent=Bank(no_cards(looked=looked)))
    assert [e.next for e in stage.of(HandoffStarted)] == ["Weather"]
    assert looked.texts == []


# --- what ends meanwhile -----------------------------------------------------------


def handing_over_during(check: str) -> Any:
    def brain(turn: Turn) -> Any:
        first = turn.override and PROMPT in turn.override
        return (
            [Call(check, {"amount": 5}), Pause(0.5)] if first else Say("Done.", ms=300)
        )

    return brain


@pytest.mark.behaviour("G17", "T3")
@pytest.mark.parametrize("before", [True, False], ids=["input", "output"])
async def test_a_handoff_ends_the_check_and_the_call_is_answered_with_the_truth(
    autojump_clock: trio.testing.MockClock, before: bool
) -> None:
    """Not run; or run, and what it gave was never let pass, so that it is withheld."""
    looked = Looked()
    agent = Bank(limited(100, 9.0, looked) if before else no_cards(9.0, looked))
    count = tasks()
    async with on_stage(handing_over_during("pay")) as stage:
        async with running(stage, agent):
            await until(lambda: looked.under_way)
            await stage.session.handoff(Weather())
            assert looked.cancelled == 1
            await trio.sleep(20)
            assert stage.session.realtime.open_work == QUIET
        assert agent.paid == ([] if before else [5])
        (finished,) = stage.of(ToolFinished)
        assert outputs(stage) == [(finished.call_id, finished.output)]
        assert finished.output == ("not run: handed off" if before else WITHHELD)
        assert bool(stage.of(ToolStarted)) == (not before)
        assert not stage.of(GuardrailTripped)
        assert CARD not in everything_sent(stage)
    assert tasks() == count


@pytest.mark.behaviour("G17")
@pytest.mark.parametrize("before", [True, False], ids=["input", "output"])
async def test_the_end_of_the_session_ends_the_check(
    autojump_clock: trio.testing.MockClock, before: bool
) -> None:
    """At once; no tool is run, and no task stays."""
    looked = Looked()
    agent = Bank(limited(100, 9.0, looked) if before else no_cards(9.0, looked))
    count = tasks()
    async with on_stage(handing_over_during("pay")) as stage:
        async with running(stage, agent):
            await until(lambda: looked.under_way)
            stage.session.end(now=True)
        assert looked.cancelled == 1
        assert agent.paid == ([] if before else [5])
    assert CARD not in everything_sent(stage)
    assert tasks() == count


@pytest.mark.behaviour("G16", "G14", "T8")
async def test_a_detached_tool_is_checked_under_the_next_agent_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its note is withheld; the new agent's speech, and its place, are left alone."""
    agent = Bank(no_cards(handoff=Bank()))
    parts = [Call("outlive"), Call("transfer")]
    async with on_stage(
        prompted(*parts, then="Sunny is speaking for a while.")
    ) as stage:
        async with running(stage, agent):
            await until(lambda: stage.of(ToolNoted))
            await trio.sleep(5)
            assert stage.session.realtime.open_work == QUIET
        (noted,) = stage.of(ToolNoted)
        assert noted.outcome == "Blocked"
        assert noted.note == f"Result of outlive: {WITHHELD}"
        assert CARD not in everything_sent(stage)
        assert [e.agent for e in stage.of(AgentEntered)] == ["Bank", "Weather"]
        assert [ms for _, ms in spoken(stage)] == [None, None]
        assert one_trip(stage).agent == "Bank"


@pytest.mark.behaviour("G16", "T10")
async def test_nobody_is_asked_to_approve_what_a_guardrail_refuses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is looked at before; what passes waits for its approval, and is not run."""

    class Careful(Bank):
        @function_tool(needs_approval=True)
        async def pay(self, ctx: RunContext, amount: float) -> str:
            """Pay, if somebody agrees."""
            self.paid.append(amount)
            return "paid"

    for amount, asked in ((500, []), (50, ["pay"])):
        requests_seen: list[str] = []

        async def approve(
            ctx: RunContext,
            request: ApprovalRequested,
            seen: list[str] = requests_seen,
        ) -> bool:
            seen.append(request.tool)
            return True

        agent = Careful(limited(100, 0.2))
        await called(Call("pay", {"amount": amount}), agent=agent, approve=approve)
        assert requests_seen == asked
        assert agent.paid == ([50] if asked else [])


@pytest.mark.behaviour("G12", "G17")
@pytest.mark.parametrize("before", [True, False], ids=["input", "output"])
async def test_a_check_that_refuses_to_end_lets_nothing_pass(
    autojump_clock: trio.testing.MockClock, before: bool
) -> None:
    """The call is answered a moment after its time; what comes later is nothing."""

    async def deaf(ctx: RunContext, what: Any) -> Trip | None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        return None

    place = tool_input_guardrail if before else tool_output_guardrail
    agent = Bank(place(timeout=1.0)(deaf))
    async with on_stage(prompted(Call("pay", {"amount": 5}))) as stage:
        async with running(stage, agent):
            await until(lambda: outputs(stage))
            assert trio.current_time() < 4
            await trio.sleep(20)
            assert stage.session.realtime.open_work == QUIET
        ((_, text),) = outputs(stage)
        assert text == (NOT_RUN if before else WITHHELD)
        assert agent.paid == ([] if before else [5])
        assert CARD not in everything_sent(stage)
