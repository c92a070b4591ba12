"""What a model cannot do: each capability denied is a fallback to be heard and seen."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trialogue import ConversionError, Handoff, RunContext, SessionOptions
from trialogue.agents.events import HandoffCompleted, HandoffStarted
from trialogue.testing import Fault, Say, lose, reject, swallow
from watched import Kelly, Sunny, Watch, brain, for_sunny, say, until, watched


async def hand_over(watch: Watch, target: Sunny | Handoff | None = None) -> Any:
    """Greet, hand over from outside, wait until all is said; return the timings."""
    await say(watch, "hello")
    await watch.session.wait_for_playout()
    timings = await watch.session.handoff(target or Sunny())
    await watch.quiet()
    watch.check()
    return timings


class Quick(Sunny):
    """Speaks first, without words of its own for that."""

    name = "Sunny"

    async def begin(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply()


class Fast(Sunny):
    """Brings an option of its own."""

    name = "Sunny"
    options: Any = SessionOptions(speed=1.2)


@pytest.mark.behaviour("H2")
@pytest.mark.parametrize(
    ("flag", "target", "reason"),
    [
        ("mutable_instructions", Sunny(), "instructions are fixed"),
        ("mutable_tools", Sunny(tools=[]), "tools are fixed"),
        (
            "mutable_chat_context",
            Handoff(Sunny(), context="fresh"),
            "the conversation is fixed",
        ),
        ("mutable_options", Fast(), "options are fixed"),
    ],
)
async def test_what_is_fixed_mid_session_takes_a_fresh_connection_opened_first(
    autojump_clock: trio.testing.MockClock, flag: str, target: Any, reason: str
) -> None:
    """The event says why; the new connection serves before the old one is closed."""
    async with watched(capabilities={flag: False}) as watch:
        timings = await hand_over(watch, target)
        ((_, started),) = watch.of(HandoffStarted)
        assert started.why_fresh == timings.why_fresh == reason
        assert not timings.reused
        assert timings.connections == 1
        old, new = watch.connections
        assert len(old.find("session.update", "in")) == 1
        assert old.closed is None or old.closed > new.opened
        kept = [held.item.type for held in new.conversation]
        assert "message" in kept
        first = new.find("response.create", "in")[0]
        items = [e for e in new.entries if e.type == "conversation.item.create"]
        before = [e for e in items if e.time <= first.time]
        assert len(before) == (0 if flag == "mutable_chat_context" else 2)


@pytest.mark.parametrize("flag", ["mutable_chat_context", "mutable_options"])
async def test_what_does_not_change_is_no_reason_for_a_fresh_connection(
    autojump_clock: trio.testing.MockClock, flag: str
) -> None:
    """A fixed conversation that is kept, fixed options that are equal: reused."""
    async with watched(capabilities={flag: False}) as watch:
        timings = await hand_over(watch)
        assert timings.reused
        assert len(watch.connections) == 1


@pytest.mark.behaviour("H4")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
async def test_a_reply_that_can_carry_nothing_waits_for_the_acknowledgement(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """Not one response.create before session.updated, and none with instructions."""
    flags = {"per_response_configuration": False}
    async with watched(capabilities=flags, fresh=fresh) as watch:
        await hand_over(watch, Quick())
        connection = watch.connections[-1]
        create = connection.find("response.create", "in")[0 if fresh else 1]
        (agreed,) = [
            e for e in connection.find("session.updated") if for_sunny(e.event)
        ]
        assert create.time >= agreed.time + 0.04 - 0.001
        for entry in watch.sent("response.create"):
            response = entry.event.get("response", {})
            assert not {"instructions", "tools"} & response.keys()
        assert watch.heard()[-1][2] == "Sunny"


@pytest.mark.behaviour("H4")
@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
@pytest.mark.parametrize(
    "fault",
    [
        lose("session.update", match=for_sunny),
        swallow("session.updated", match=for_sunny),
        reject("session.update", code="server_error", match=for_sunny),
    ],
    ids=["update", "answer", "refused"],
)
async def test_without_an_acknowledgement_such_a_reply_is_asked_for_elsewhere(
    autojump_clock: trio.testing.MockClock, fault: Fault, fresh: bool
) -> None:
    """It never went out where nothing was agreed; Sunny is heard within the budget."""
    flags = {"per_response_configuration": False}
    async with watched(fault, capabilities=flags, fresh=fresh) as watch:
        timings = await hand_over(watch, Quick())
        assert len(watch.connections) == (3 if fresh else 2)
        for connection in watch.connections[1:-1]:
            assert connection.find("response.create", "in") == []
        sunny = [at for at, _, who in watch.heard() if who == "Sunny"]
        assert sunny[0] - timings.committed < 5.0
        assert watch.entered == ["Kelly", "Sunny"]


@pytest.mark.parametrize(
    ("flag", "wish"),
    [
        ("per_response_configuration", {"instructions": "Whisper."}),
        ("per_response_tool_choice", {"tool_choice": "none"}),
    ],
)
async def test_a_wish_that_a_reply_cannot_carry_is_a_typed_error(
    autojump_clock: trio.testing.MockClock, flag: str, wish: dict[str, Any]
) -> None:
    """ConversionError before anything is sent; the next reply is served."""
    async with watched(capabilities={flag: False}) as watch:
        with pytest.raises(ConversionError, match="a reply of this model cannot"):
            await watch.session.generate_reply(**wish)
        assert watch.sent("response.create") == []
        outcome = await watch.session.generate_reply()
        assert outcome.text == "Kelly speaking."


@pytest.mark.parametrize("able", [True, False])
async def test_without_truncation_an_interrupted_item_is_left_as_it_is(
    autojump_clock: trio.testing.MockClock, able: bool
) -> None:
    """No truncate goes over the wire; the reply still says what was heard."""
    flags = {} if able else {"message_truncation": False}

    def think(turn: Any) -> Any:
        return Say("A long story.", ms=5000)

    async with watched(capabilities=flags, think=think) as watch:
        outcomes: list[Any] = []

        async def reply() -> None:
            outcomes.append(await watch.session.generate_reply())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reply)
            await until(lambda: len(watch.heard()) > 100)
            watch.session.interrupt()
        await trio.sleep(5)
        assert len(watch.sent("conversation.item.truncate")) == (1 if able else 0)
        assert watch.sent("conversation.item.delete") == []
        assert len(watch.heard()) < 120
        (item,) = watch.session.chat_ctx
        assert 1000 <= item.heard_ms < 1200


@pytest.mark.parametrize("automatic", [False, True])
async def test_a_model_that_answers_outputs_itself_is_not_asked_to(
    autojump_clock: trio.testing.MockClock, automatic: bool
) -> None:
    """No follow-up create behind a tool output; the next turn is served as ever."""
    flags = {"auto_tool_reply_generation": automatic}
    async with watched(capabilities=flags) as watch:
        await say(watch, "look around")
        await until(lambda: watch.outputs() == ["clear sky"])
        await trio.sleep(5)
        assert len(watch.sent("response.create")) == (1 if automatic else 2)
        await watch.session.generate_reply()
        assert watch.heard()[-1][2] == "Kelly"


@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
async def test_where_nothing_is_acknowledged_what_was_written_counts(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """No answer to updates or items, ever: handed over, and on one connection each."""
    silent = [
        swallow(kind, nth=None)
        for kind in ("session.updated", "conversation.item.added")
    ]
    flags = {"acknowledges_updates": False}
    async with watched(*silent, capabilities=flags, fresh=fresh) as watch:
        report = await watch.session.update_instructions(f"{Kelly.instructions} Smile.")
        assert report.ok
        await hand_over(watch)
        await trio.sleep(30)
        assert len(watch.connections) == (2 if fresh else 1)
        assert len(watch.of(HandoffCompleted)) == 1
        await say(watch, "look around")
        await watch.quiet()
        assert watch.ran[-1] == ("Sunny", "Sunny")
        watch.check()


@pytest.mark.parametrize("fresh", [False, True], ids=["reuse", "fresh"])
async def test_where_answers_have_no_order_a_handoff_still_settles(
    autojump_clock: trio.testing.MockClock, fresh: bool
) -> None:
    """`ordered=False`: nothing is implied by a later answer, each is waited for."""
    flags = {"ordered": False}
    async with watched(capabilities=flags, fresh=fresh, think=brain) as watch:
        timings = await hand_over(watch)
        assert timings.acknowledged is not None
        lost = swallow("conversation.item.added")
        done = swallow("conversation.item.done")
        watch.stage.server.inject(lost, done)
        realtime = watch.session.realtime
        edited = realtime.chat_ctx.add_message("user", "look around")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.session.generate_reply)
            report = await realtime.update_chat_ctx(edited, ack_timeout=3)
        assert not report.ok
