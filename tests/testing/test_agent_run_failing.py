"""What `run_agent` says when a test's script, or its demands, do not fit the agent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import ANY

import pytest
import trio
import trio.lowlevel

from shop import Desk, Refunds
from trialogue import Agent, ConfigurationError, OpenAIRealtime, RunContext
from trialogue.testing import (
    AgentRun,
    Call,
    Rule,
    Say,
    ScriptError,
    TurnUnfinished,
    in_virtual_time,
    reject,
    run_agent,
    swallow,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def lines(error: pytest.ExceptionInfo[BaseException]) -> list[str]:
    return [line.rstrip() for line in str(error.value).splitlines()]


@pytest.mark.behaviour("M21")
@in_virtual_time
async def test_a_reply_that_nobody_scripted_says_what_the_model_saw() -> None:
    rules = [Rule("Hello.", agent="Refunds", user="hello")]
    async with run_agent(Desk(), rules) as run:
        await run.say("Hi.", "Hi.")
        with pytest.raises(ScriptError) as error:
            await run.say("Are you open?")

        assert lines(error) == [
            "nothing in the script says what the model replies here:",
            "  agent         Desk",
            "  instructions  You find out what a caller needs.",
            "  tools         look_up, count, deny, crash, dawdle, search,"
            " ask_consent, to_refunds, hang_up",
            "  asked by      vad",
            "  conversation  user: Hi.",
            "                assistant: Hi.",
            "                user: Are you open?",
            "give it with the user's turn, run.say(words, reply, …), or by a rule:",
            "  Rule(reply, agent='Desk', user='Are you open?')",
            "of these none applies:",
            "  Rule('Hello.', agent='Refunds', user='hello')",
        ]


@pytest.mark.behaviour("M21")
@in_virtual_time
async def test_the_reply_to_a_tools_output_has_to_be_scripted_as_well() -> None:
    async with run_agent(Desk()) as run:
        with pytest.raises(ScriptError, match=r"output='counted'\)$"):
            await run.say("Count!", Call("count"))


@pytest.mark.behaviour("M21")
@in_virtual_time
async def test_a_reply_that_was_not_asked_for_is_an_error() -> None:
    async with run_agent(Desk()) as run:
        with pytest.raises(ScriptError) as error:
            await run.say("Hi.", "Hi.", [Say("One more."), Call("count")])
        assert lines(error) == [
            "the model was not asked for what the script has it reply:",
            "  ['One more.', Call('count', {})]",
        ]
        # It was told of: the next turn is none the worse for it.
        (await run.say("Hi.", "Hello.")).said("hello")


@pytest.mark.behaviour("M21")
@in_virtual_time
async def test_a_model_cannot_call_what_it_was_not_given() -> None:
    async with run_agent(Refunds(), replies=["Hello."]) as run:
        with pytest.raises(ScriptError) as error:
            await run.say("Order 7?", Call("look_up", {"order": 7}))
        assert lines(error)[:4] == [
            "the script has the model call look_up, but it has not been given it:",
            "  agent         Refunds",
            "  instructions  You give money back.",
            "  tools         none",
        ]


@pytest.mark.behaviour("M21")
@in_virtual_time
async def test_the_block_raises_what_no_turn_waited_for() -> None:
    """A reply that the program asks for by itself, with nothing to say."""
    with pytest.raises(ScriptError, match="nothing in the script"):
        async with run_agent(Desk()) as run:
            await run.session.generate_reply()


@in_virtual_time
async def test_what_a_brain_raises_is_raised_by_the_turn() -> None:
    def brain(turn: object) -> str:
        raise LookupError("no words")

    async with run_agent(Desk(), brain) as run:
        with pytest.raises(LookupError, match="no words"):
            await run.say("Hi.")


@in_virtual_time
async def test_a_reply_made_of_something_else_is_refused() -> None:
    async with run_agent(Desk()) as run:
        with pytest.raises(TypeError, match="a reply is made of text and of Say"):
            await run.say("Hi.", [7])  # type: ignore[list-item]  # pyright: ignore


async def stuck_in_a_tool(run: AgentRun[None]) -> None:
    await run.say("Slowly.", [Say("Hm.", ms=300), Call("dawdle")])


async def stuck_in_speech(run: AgentRun[None]) -> None:
    await run.say("Talk.", Say("On and on.", ms=90_000))


async def unheard(run: AgentRun[None]) -> None:
    run.session.muted = True
    await run.say("Hello?")


@pytest.mark.behaviour("M22")
@pytest.mark.parametrize(
    ("act", "named"),
    [
        (stuck_in_a_tool, r"Desk's tool dawdle\(\{\}\) runs for 29\.\d s; it waits in"),
        (stuck_in_speech, r"speech is played, of which \d\d\.\d s are left"),
        (unheard, "'Hello\\?' for a turn .* the session's microphone is muted"),
    ],
)
@in_virtual_time
async def test_a_turn_that_does_not_end_names_what_is_open(
    act: Callable[[AgentRun[None]], Awaitable[None]], named: str
) -> None:
    began = trio.current_time()
    async with run_agent(Desk(), patience=30) as run:
        with pytest.raises(TurnUnfinished, match=named):
            await act(run)
        assert trio.current_time() - began < 40


@pytest.mark.behaviour("M22")
@in_virtual_time
async def test_where_a_tool_waits_is_said_with_the_course_of_the_turn() -> None:
    async with run_agent(Desk(), patience=30) as run:
        with pytest.raises(TurnUnfinished) as error:
            await stuck_in_a_tool(run)

    first, tool, *course = lines(error)
    assert first == "the turn has not ended within 30 s of this clock; still open:"
    assert "it waits in Desk.dawdle (" in tool
    assert course == ["what happened:", "  user: Slowly.", "  Desk: Hm."]


@pytest.mark.behaviour("M22")
@in_virtual_time
async def test_an_agent_that_does_not_finish_entering_is_named() -> None:
    class Waiting(Agent):
        instructions = "You wait."

        async def on_enter(self, ctx: RunContext) -> None:
            await trio.sleep_forever()

    with pytest.raises(TurnUnfinished, match=r"Waiting\.on_enter has not returned"):
        async with run_agent(Waiting()):
            pytest.fail("the block has begun")


@in_virtual_time
async def test_an_answer_that_is_over_cannot_be_interrupted() -> None:
    async with run_agent(Desk()) as run:
        with pytest.raises(ScriptError, match="over after 600 ms, before the 900 ms"):
            await run.say("Hi.", Say("Hello.", ms=600), listen_ms=900)


@in_virtual_time
async def test_a_conversation_that_is_over_takes_no_more_turns() -> None:
    async with run_agent(Desk()) as run:
        await run.say("Bye.", ["Bye.", Call("hang_up")])
        with pytest.raises(ScriptError, match="the conversation is over"):
            await run.say("One more thing.")


@in_virtual_time
async def test_what_a_hook_raises_is_raised_as_itself() -> None:
    class Broken(Agent):
        instructions = "You break."

        async def on_enter(self, ctx: RunContext) -> None:
            raise ValueError("broken")

    with pytest.raises(ValueError, match=r"^broken$"):
        async with run_agent(Broken()):
            pytest.fail("the block has begun")


@in_virtual_time
async def test_a_failing_demand_passes_as_itself() -> None:
    """No group around it, so that a test's report shows it."""
    with pytest.raises(AssertionError) as error:
        async with run_agent(Desk()) as run:
            (await run.say("Hi.", "Hi.")).called("count")

    assert type(error.value) is AssertionError


@pytest.mark.behaviour("M23")
@in_virtual_time
async def test_demands_say_what_happened_instead() -> None:
    async with run_agent(Desk()) as run:
        turn = await run.say(
            "Order 7, and my money.",
            [Call("look_up", {"order": 7, "year": 2025}), Call("count")],
            Call("to_refunds"),
            "Refunds, hello.",
        )
        happened = [
            "what happened:",
            "  user: Order 7, and my money.",
            "  Desk: look_up(order=7, year=2025) -> Returned: order 7 of 2025 is paid",
            "  Desk: count() -> Returned: counted",
            "  Desk: to_refunds() -> Transferred: transferred to Refunds",
            "  Desk handed over to Refunds",
            "  Refunds: Refunds, hello.",
        ]

        with pytest.raises(AssertionError) as error:
            turn.called("look_up", order=8, year=2025, express=True)
        assert lines(error) == [
            "look_up(order=8, year=2025, express=True) was not run",
            "  look_up(order=7, year=2025) -> Returned: order 7 of 2025 is paid"
            "   <- order is 7, not 8, express is not given",
            "  count() -> Returned: counted",
            "  to_refunds() -> Transferred: transferred to Refunds",
            *happened,
        ]
        with pytest.raises(AssertionError) as error:
            turn.handed_off_to("Billing")
        assert lines(error) == [
            "nobody handed over to Billing",
            "  Desk handed over to Refunds",
            *happened,
        ]
        with pytest.raises(AssertionError) as error:
            turn.said("good bye", agent=Desk())
        assert lines(error) == [
            "nothing matching 'good bye' was said by Desk",
            "  Refunds: Refunds, hello.",
            *happened,
        ]
        demands: list[Callable[[], None]] = [
            lambda: turn.not_called("count"),
            turn.not_called,
            turn.not_handed_off,
            lambda: turn.not_said("hello"),
        ]
        for demand in demands:
            with pytest.raises(AssertionError, match="what happened:"):
                demand()


@pytest.mark.behaviour("M23")
@in_virtual_time
async def test_demands_that_hold_are_not_too_narrow() -> None:
    async with run_agent(Desk()) as run:
        turn = await run.say("7.", Call("look_up", {"order": 7, "year": 1}), "Paid.")

        turn.called("look_up", year=ANY, order=7.0)
        turn.not_called("count")
        turn.not_handed_off()
        turn.not_said("paid", agent="Refunds")
        turn.said(re.compile("Paid"))
        with pytest.raises(AssertionError, match="nothing matching 'paid' was said"):
            turn.said(re.compile("paid"))
        with pytest.raises(AssertionError, match="there was no handoff"):
            turn.handed_off_to(Refunds)


@pytest.mark.behaviour("M23")
@in_virtual_time
async def test_a_handoff_that_failed_is_none() -> None:
    """Nor is a call with arguments that are no JSON one that ran."""
    rules = [
        Rule("Never heard.", agent="Refunds"),
        Rule("That did not work.", agent="Desk", output="handoff failed"),
    ]
    async with run_agent(Desk(), rules) as run:
        run.server.inject(reject("session.update", code="invalid_value"))
        turn = await run.say("Money!", Call("to_refunds"))

        with pytest.raises(AssertionError) as error:
            turn.handed_off_to(Refunds)
        assert lines(error)[1].startswith("  the handoff to Refunds failed: ")
        assert str(turn).splitlines()[-2:] == [
            lines(error)[1].strip(),
            "Desk: That did not work.",
        ]

        turn = await run.say("Seven?", Call("look_up", "{order: 7}"), "Again?")
        (call,) = turn.calls
        assert call.arguments == {}
        assert str(call).startswith("look_up({order: 7}) -> BadArguments: ")


@pytest.mark.behaviour("M22")
@in_virtual_time
async def test_a_server_that_is_silent_is_named() -> None:
    """As long as the library itself still waits for it."""
    async with run_agent(Desk(), patience=3) as run:
        run.server.inject(swallow("response.create", nth=None))
        with pytest.raises(TurnUnfinished, match="the server has not begun it"):
            await run.write("Hello?")


def with_a_model(**options: Any) -> Agent:
    return Agent("You are far away.", name="Far", model=OpenAIRealtime(**options))


@in_virtual_time
async def test_no_agent_leaves_for_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that would dial a model of its own is refused, before anything is sent."""

    async def dial(*args: object, **options: object) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise OSError("there is no network in a test")

    monkeypatch.setattr("trio.open_tcp_stream", dial)

    async def leave(first: Agent, *then: Agent) -> None:
        async with run_agent(first) as run:
            for agent in then:
                await run.session.handoff(agent)

    far = with_a_model(api_key="sk-test")
    with pytest.raises(
        ConfigurationError, match=r"(Far|next agent) has a model of its own"
    ):
        await leave(far)
    with pytest.raises(
        ConfigurationError, match=r"(Far|next agent) has a model of its own"
    ):
        await leave(Desk(), far)


@in_virtual_time
async def test_an_agents_own_model_may_be_the_tests() -> None:
    async with run_agent(Desk()) as run:
        near = with_a_model(
            name="gpt-realtime-mini",
            api_key="any",
            base_url="ws://localhost/v1/realtime",
            connect=run.server.connect,
        )
        async with run.exchange("Hello from afar.") as turn:
            await run.session.handoff(near)

        assert not turn.handed_off_to(near).reused
        turn.said("afar", agent="Far")
