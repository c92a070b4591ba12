"""`run_agent`: the user's turns in, what happened out, in virtual time."""

from __future__ import annotations

import inspect
import json
from typing import Any

import attrs
import pytest
import trio

from shop import Consent, Desk, Refunds
from trialogue import (
    Agent,
    ConnectionLost,
    Message,
    RunContext,
    SemanticVAD,
    ServerVAD,
    SessionOptions,
    function_tool,
    open_agent_session,
)
from trialogue.events import (
    ApprovalRequested,
    ConnectionOpened,
    DelegationEnded,
    ReplyEnded,
    ToolFinished,
    UserStateChanged,
    UserTranscript,
)
from trialogue.testing import (
    Call,
    Fail,
    Reply,
    Rule,
    Say,
    Turn,
    cut,
    in_virtual_time,
    lose,
    refuse_connect,
    run_agent,
)


@pytest.mark.behaviour("M20")
@in_virtual_time
async def test_a_spoken_turn_goes_through_tool_and_answer() -> None:
    async with run_agent(Desk()) as run:
        turn = await run.say(
            "Where is order seven?", Call("look_up", {"order": 7}), "It is paid."
        )

        call = turn.called("look_up", order=7)
        assert (call.agent, call.outcome) == ("Desk", "Returned")
        assert call.output == "order 7 of 2026 is paid"
        assert call.seconds == pytest.approx(2)
        assert call.error is None
        assert turn.said("paid").heard_ms == 660
        assert [event.text for event in turn.of(UserTranscript) if event.final] == [
            "Where is order seven?"
        ]
        assert str(turn).splitlines() == [
            "user: Where is order seven?",
            "Desk: look_up(order=7) -> Returned: order 7 of 2026 is paid",
            "Desk: It is paid.",
        ]
    assert run.server.protocol_errors == []


@pytest.mark.behaviour("M20")
@in_virtual_time
async def test_a_written_turn_is_answered() -> None:
    async with run_agent(Desk()) as run:
        turn = await run.write("Are you open?", "We are.")

        turn.said("^we are", agent="Desk")
        turn.not_called()
        turn.not_handed_off()
        assert turn.events
        assert str(turn) == "user: Are you open?\nDesk: We are."


@pytest.mark.behaviour("M20")
@in_virtual_time
async def test_a_handoff_with_what_each_reply_was_made_under() -> None:
    async with run_agent(Desk()) as run:
        turn = await run.say(
            "My money!", ["One moment.", Call("to_refunds")], "Refunds, hello."
        )

        timings = turn.handed_off_to(Refunds)
        assert turn.handed_off_to("Refunds") is timings
        assert turn.handed_off_to(Refunds()) is timings
        assert timings.previous == "Desk"
        assert timings.first_audio is not None
        before, after = turn.replies
        assert (before.agent, before.text) == ("Desk", "One moment.")
        assert before.instructions == "You find out what a caller needs."
        assert "look_up" in before.tools
        assert (after.agent, after.text) == ("Refunds", "Refunds, hello.")
        assert after.instructions == "You give money back.\n\nSay who you are."
        assert after.prompt.override == after.instructions
        assert after.tools == ()
        assert ("user", "My money!") in after.prompt.said


@in_virtual_time
async def test_rules_speak_for_agents_by_their_names() -> None:
    """Though the one's instructions may contain the other's name."""

    class Desk(Agent):
        instructions = "Transfer to Refunds."

        @function_tool
        async def to_refunds(self) -> Agent:
            """Transfer."""
            return Refunds()

    rules = [
        Rule("Refunds here.", agent="Refunds"),
        Rule(Call("to_refunds"), agent="Desk", user="money"),
        Rule("Hello.", agent="Desk"),
    ]
    async with run_agent(Desk(), rules) as run:
        (await run.write("Hi")).said("hello", agent="Desk")
        (await run.write("My money!")).said("here", agent="Refunds")

        assert [turn.agent for turn in run.prompts] == ["Desk", "Desk", "Refunds"]


@in_virtual_time
async def test_the_brain_may_be_a_function_and_so_may_a_reply() -> None:
    def echo(turn: Turn) -> Reply:
        return f"{turn.agent} heard {turn.user_text}"

    async with run_agent(Desk(), echo) as run:
        (await run.write("one")).said("Desk heard one")
        (await run.write("two", lambda turn: turn.user_text * 2)).said("twotwo")


@in_virtual_time
async def test_what_is_beside_the_conversation_takes_no_reply_from_it() -> None:
    """It comes when it comes, so that only a rule can speak for it."""

    class Classified(Agent):
        instructions = "You listen."

        async def on_enter(self, ctx: RunContext) -> None:
            ctx.nursery.start_soon(self.classify, ctx)

        async def classify(self, ctx: RunContext) -> None:
            async with ctx.session.subscribe(UserTranscript) as said:
                async for words in said:
                    if not words.final:
                        continue
                    await ctx.session.generate_reply(
                        out_of_band=True, metadata={"topic": "classify"}
                    )

    def aside(turn: Turn) -> Reply:
        assert not turn.in_conversation
        return "angry"

    async with run_agent(Classified(), aside) as run:
        turn = await run.say("Hey!", "Good evening.")
        assert sorted(reply.text for reply in turn.replies) == [
            "Good evening.",
            "angry",
        ]


@pytest.mark.behaviour("M20")
@in_virtual_time
async def test_the_user_interrupts_by_speaking() -> None:
    story = Say("Once upon a time there was a desk.", ms=5000)
    async with run_agent(Desk()) as run:
        first = await run.say("A story!", story, listen_ms=700)
        assert not first.replies[0].cut
        second = await run.say("Stop.", "As you like.")

        told = first.said("once upon")
        assert told.cut
        assert 700 <= told.heard_ms < 900
        assert "[cut after" in str(first)
        assert not second.said("as you like").cut
        messages = [item for item in run.items if isinstance(item, Message)]
        assert [message.heard_ms for message in messages] == [
            None,
            told.heard_ms,
            None,
            None,
        ]


@in_virtual_time
async def test_the_program_interrupts() -> None:
    async with run_agent(Desk()) as run:
        turn = await run.write("A story!", Say("Once. " * 20, ms=5000), listen_ms=400)
        run.session.interrupt()
        await run.wait(0)

        assert turn.said("once").heard_ms == 400
        assert turn.said("once").cut


@in_virtual_time
async def test_silence_makes_what_silence_makes() -> None:
    async with run_agent(Desk(), away_after=10) as run:
        turn = await run.wait(30)

        (change,) = turn.of(UserStateChanged)
        assert change.new == "away"
        assert str(turn) == "nothing happened"


@in_virtual_time
async def test_a_tool_that_fails_is_told_with_its_error() -> None:
    async with run_agent(Desk()) as run:
        denied = await run.say("Pay!", Call("deny"), "The till is closed.")
        crashed = await run.say("Pay!", Call("crash"), "Sorry.")

        assert denied.called("deny").outcome == "Failed"
        assert denied.called("deny").output == "the till is closed"
        call = crashed.called("crash")
        assert call.outcome == "Crashed"
        assert repr(call.error) == "KeyError('till')"
        assert "till" not in str(call.output)
        assert "Desk: crash raised KeyError('till')" in str(crashed)


@pytest.mark.behaviour("M23")
@in_virtual_time
async def test_a_call_that_was_not_run_is_told_of() -> None:
    async with run_agent(Desk()) as run:
        turn = await run.say("Seven?", Call("look_up", {"order": "x"}), "Again?")

        (call,) = turn.calls
        assert not call.ran
        assert call.outcome == "BadArguments"
        assert call.arguments == {"order": "x"}
        with pytest.raises(AssertionError, match="look_up\\(\\) was not run"):
            turn.called("look_up")
        with pytest.raises(AssertionError, match="look_up was called"):
            turn.not_called("look_up")


@in_virtual_time
async def test_a_detached_tool_is_waited_for_when_a_test_says_so() -> None:
    async with run_agent(Desk()) as run:
        calls: Reply = [Call("search"), Call("to_refunds")]
        turn = await run.say("Search, and my money.", calls, "Refunds, hello.")
        turn.handed_off_to(Refunds)
        assert turn.called("search").outcome == "InProgress"
        later = await run.wait(30, "It was found.")

        later.said("found", agent=Refunds)
        call = turn.called("search")
        assert call.outcome == "Returned"
        assert call.seconds == pytest.approx(20)
        assert "found" in str(call.output)


class Bank(Agent):
    instructions = "You are a bank."

    @function_tool(needs_approval=True)
    async def pay(self, euros: int) -> str:
        """Pay."""
        return f"{euros} euros were paid"


@in_virtual_time
async def test_a_test_approves_what_waits_for_it() -> None:
    async with run_agent(Bank()) as run:
        turn = await run.say("Pay!", Call("pay", {"euros": 5}))
        (request,) = run.session.approvals
        assert turn.calls == []
        async with run.exchange("Paid.") as paid:
            run.session.approve(request.call_id)

        assert paid.called("pay", euros=5).output == "5 euros were paid"
        paid.said("paid")


@in_virtual_time
async def test_a_handler_that_approves_is_part_of_the_turn() -> None:
    async def approve(ctx: RunContext, request: ApprovalRequested) -> bool:
        await trio.sleep(5)
        return bool(json.loads(request.arguments)["euros"] < 100)

    async with run_agent(Bank(), approve=approve) as run:
        paid = await run.say("Pay!", Call("pay", {"euros": 5}), "Paid.")
        denied = await run.say("Pay more!", Call("pay", {"euros": 500}), "No.")

        paid.called("pay", euros=5)
        (call,) = denied.calls
        assert not call.ran
        assert call.outcome == "Denied"


@in_virtual_time
async def test_a_transcript_that_does_not_come_is_not_waited_for_forever() -> None:
    async with run_agent(Desk()) as run:
        kind = "conversation.item.input_audio_transcription.completed"
        run.server.inject(lose(kind))
        began = trio.current_time()
        turn = await run.say("Hello?", "Hello.")

        turn.said("hello")
        assert 5 < trio.current_time() - began < 15


@in_virtual_time
async def test_a_delegation_goes_over_several_turns() -> None:
    """The tool that asked stays open meanwhile; a turn does not wait for it."""
    async with run_agent(Desk()) as run:
        asked = await run.say("Sign me up.", Call("ask_consent"), "Do you consent?")
        assert isinstance(run.session.agent, Consent)
        assert asked.called("ask_consent").outcome is None
        answered = await run.say(
            "I do.", Call("answered", {"consents": True}), "Thank you."
        )

        answered.called("answered", consents=True)
        answered.said("thank", agent="Desk")
        assert asked.called("ask_consent").output == "consent: True"
        assert [e.outcome for e in run.of(DelegationEnded)] == ["completed"]


@in_virtual_time
async def test_an_agent_that_speaks_first_has_an_opening() -> None:
    async with run_agent(Refunds(), replies=["Refunds, hello."]) as run:
        run.opening.said("hello")
        assert run.turns == [run.opening]
        await run.say("Hi.", "Hi.")
        run.opening.not_said("hi\\.")
        assert len(run.turns) == 2


@in_virtual_time
async def test_what_else_a_program_does_can_be_a_turn() -> None:
    async with run_agent(Desk()) as run:
        async with run.exchange("Hello.") as handed:
            await run.session.handoff(Refunds())

        handed.handed_off_to(Refunds)
        handed.said("hello", agent="Refunds")


@in_virtual_time
async def test_a_lost_connection_is_no_matter() -> None:
    """What was being made is made anew: by a rule, which is not used up."""
    async with run_agent(Desk(), [Rule("I am.")]) as run:
        await run.say("Hello.", "Hello.")
        run.server.inject(cut(after="input_audio_buffer.committed"))
        turn = await run.say("Are you there?")

        turn.said("i am")
        assert [e.reason for e in turn.of(ConnectionOpened)] == ["reconnect"]


@in_virtual_time
async def test_the_whole_conversation_can_be_asked_too() -> None:
    async with run_agent(Desk()) as run:
        await run.say("Order 7?", Call("look_up", {"order": 7}), "Paid.")
        await run.say("And 8?", Call("look_up", {"order": 8}), "Paid too.")

        run.called("look_up", order=7)
        assert [call.arguments for call in run.calls] == [{"order": 7}, {"order": 8}]
        assert len(run.of(ToolFinished)) == 2
        assert [item.text for item in run.items if isinstance(item, Message)] == [
            "Order 7?",
            "Paid.",
            "And 8?",
            "Paid too.",
        ]
        assert len(run.speaker.pcm) > 0


@in_virtual_time
async def test_an_agent_may_end_the_conversation() -> None:
    async with run_agent(Desk()) as run:
        turn = await run.say("Bye.", [Say("Good bye.", ms=900), Call("hang_up")])

        assert run.ended
        assert turn.said("good bye").heard_ms == 900
        turn.called("hang_up")


async def test_agent_is_for_whatever_model_and_so_are_its_options(
    autojump_clock: object,
) -> None:
    """Also those that only some models take."""
    options = SessionOptions(reasoning_effort="high", parallel_tool_calls=False)
    async with run_agent(Desk(), options=options) as run:
        (await run.write("Hello?", "Good morning.")).said("morning")
        session = run.server.connections[0].find("session.updated")[-1].event["session"]
        assert session["reasoning"] == {"effort": "high"}


@pytest.mark.parametrize(
    "options",
    [
        SessionOptions(turn_detection=None),
        SessionOptions(turn_detection=SemanticVAD(eagerness="low")),
        SessionOptions(turn_detection=ServerVAD(silence_duration_ms=1500)),
        SessionOptions(input_format="pcmu", output_format="pcma"),
        SessionOptions(output_modalities=("text",)),
    ],
    ids=["manual", "semantic", "patient", "telephone", "text"],
)
@in_virtual_time
async def test_speech_is_heard_whoever_finds_the_turns(options: SessionOptions) -> None:
    async with run_agent(Desk(), options=options) as run:
        turn = await run.say("Are you open?", "We are.")

        assert str(turn) == "user: Are you open?\nDesk: We are."
        assert len(turn.of(ReplyEnded)) == 1


@in_virtual_time
async def test_a_program_may_decide_when_to_answer() -> None:
    quiet = SessionOptions(turn_detection=ServerVAD(create_response=False))
    async with run_agent(Desk(), options=quiet) as run:
        assert (await run.say("One.")).replies == []
        async with run.exchange("Two.") as turn:
            await run.session.generate_reply()
        turn.said("two")


@in_virtual_time
async def test_what_follows_a_transcript_is_part_of_the_turn() -> None:
    """Though for a moment nothing was under way."""

    class Deliberate(Agent):
        instructions = "You answer when you like."

        async def on_enter(self, ctx: RunContext) -> None:
            ctx.nursery.start_soon(self.answer, ctx)

        async def answer(self, ctx: RunContext) -> None:
            async with ctx.session.subscribe(UserTranscript) as transcripts:
                async for transcript in transcripts:
                    if transcript.final:
                        await ctx.session.generate_reply()

    quiet = SessionOptions(turn_detection=ServerVAD(create_response=False))
    async with run_agent(Deliberate(), options=quiet) as run:
        (await run.say("One.", "Two.")).said("two")


@in_virtual_time
async def test_a_reply_that_fails_is_incomplete() -> None:
    """Where the error may pass it is asked for again: an answer that the provider had
    begun by itself twice, a reply of the agent's once; not one that somebody awaits."""
    fails = Fail("rate_limit_exceeded")
    async with run_agent(Desk()) as run:
        spoken = await run.say("Hello.", fails, fails, fails)
        written = await run.write("Hello.", fails)

        assert [reply.outcome for reply in spoken.replies] == ["incomplete"] * 3
        assert [reply.outcome for reply in written.replies] == ["incomplete"]


@in_virtual_time
async def test_userdata_reaches_tools() -> None:
    @attrs.define
    class Basket:
        orders: list[int] = attrs.field(factory=list)

    @function_tool
    async def add(ctx: RunContext[Basket], order: int) -> str:
        """Add."""
        ctx.userdata.orders.append(order)
        return "added"

    clerk = Agent("You sell.", name="Clerk", tools=[add])
    async with run_agent(clerk, userdata=Basket()) as run:
        await run.say("Seven.", Call("add", {"order": 7}), "Added.")
        assert run.userdata.orders == [7]


@in_virtual_time
async def test_the_same_script_sends_the_same() -> None:
    """But for where tasks compete: the order of what the client sent is the same."""

    async def sent() -> list[Any]:
        async with run_agent(Desk()) as run:
            await run.say("Order 7?", Call("look_up", {"order": 7}), "Paid.")
            (connection,) = run.server.connections
            return [e.event for e in connection.entries if e.direction == "in"]

    assert await sent() == await sent()


@in_virtual_time
async def test_two_conversations_at_once_know_nothing_of_each_other() -> None:
    async with run_agent(Desk()) as one, run_agent(Refunds(), replies=["Hi."]) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.say, "Count!", Call("count"), "One.")
            nursery.start_soon(two.say, "Hello.", "Two.")

        one.called("count")
        one.said("one", agent=Desk)
        two.said("two", agent=Refunds)
        two.not_called()
        one.not_said("two")


@in_virtual_time
async def test_a_session_that_is_lost_ends_the_block() -> None:
    """With its own error, whatever the test was waiting for."""

    async def lose() -> None:
        async with run_agent(Desk(), [Rule("Yes.")]) as run:
            await run.say("Are you there?")
            lost = cut(after="input_audio_buffer.committed")
            run.server.inject(lost, refuse_connect(20))
            await run.say("Still?")

    with pytest.raises(ConnectionLost):
        await lose()


@in_virtual_time
async def test_a_test_that_gives_up_leaves_at_once() -> None:
    began = trio.current_time()
    with trio.move_on_after(1):
        async with run_agent(Desk()) as run:
            await run.say("Slowly.", Call("dawdle"))
    assert trio.current_time() - began < 10


def test_it_takes_what_an_application_gives_to_its_session() -> None:
    """All but what the test itself is: the model, the devices, the process."""
    theirs, ours = keywords(open_agent_session), keywords(run_agent)

    assert set(theirs) - set(ours) == {"audio", "drain"}
    assert {name: ours[name] for name in theirs if name in ours} == {
        name: default for name, default in theirs.items() if name in ours
    }


def keywords(function: Any) -> dict[str, Any]:
    """The keywords of a function, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
