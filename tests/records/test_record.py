"""What the record of a conversation says is what has happened in it (M1, M2, M3)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio

from reported import BEGAN
from stage import Greeter, Prompted, Weather, on_stage, running, until
from trialogue import (
    Agent,
    ChatContext,
    FunctionCall,
    Handoff,
    Message,
    ServerError,
    SessionOptions,
    Usage,
)
from trialogue.events import (
    HandoffMeasured,
    ReplyEnded,
    ResponseMetrics,
    ToolFinished,
    ToolStarted,
    UserStateChanged,
)
from trialogue.testing import Say, quiet, reject

if TYPE_CHECKING:
    from reported import Held
    from trialogue.records import Report

PADDING = 0.35
"""Seconds that turn detection adds before a voice."""
SILENCE = 0.55
"""Seconds that it waits for behind one."""


def names(report: Report) -> list[str]:
    return [agent.agent for agent in report.agents]


# --- what was said -------------------------------------------------------------------


@pytest.mark.behaviour("M1")
def test_every_item_of_the_conversation_is_there_in_its_order(held: Held) -> None:
    report, context = held.report, held.stage.session.chat_ctx

    assert [item.id for item in report.items if item.removed is None] == [*context.ids]
    for record, item in zip(report.items, context, strict=True):
        assert record.at is not None
        if isinstance(item, Message):
            assert (record.role, record.text) == (item.role, item.text)
            assert record.agent == item.agent
            assert record.heard_ms == item.heard_ms
        if isinstance(item, FunctionCall):
            assert (record.tool, record.call_id) == (item.name, item.call_id)


@pytest.mark.behaviour("M1")
def test_speech_stands_where_it_was_heard(held: Held) -> None:
    """Against the loudspeaker: what was played, from the first sample to the last."""
    speech = held.report.speech
    sounds: list[tuple[float, float]] = []
    for said in speech:
        assert said.began is not None
        assert said.ended is not None
        if sounds and said.began - sounds[-1][1] < 0.001:  # one behind the other
            sounds[-1] = (sounds[-1][0], said.ended)
        else:
            sounds.append((said.began, said.ended))

    assert len(sounds) == len(held.heard)
    for (began, ended), (first, last) in zip(sounds, held.heard, strict=True):
        assert began == pytest.approx(first, abs=0.02)
        assert ended == pytest.approx(last, abs=0.02)
    words = {item.id: item for item in held.report.items}
    assert all(words[said.item_id].agent == said.agent for said in speech)


@pytest.mark.behaviour("M1")
def test_what_the_user_cut_short_ends_where_it_fell_silent(held: Held) -> None:
    (cut,) = [said for said in held.report.speech if said.interrupted]
    (item,) = [item for item in held.report.items if item.heard_ms is not None]

    assert cut.item_id == item.id
    assert cut.heard_ms == item.heard_ms
    assert cut.began is not None
    assert item.heard_ms is not None
    assert cut.ended == pytest.approx(cut.began + item.heard_ms / 1000, abs=0.02)


@pytest.mark.behaviour("M1")
def test_turns_stand_where_the_user_spoke(held: Held) -> None:
    """Not where the session was told of it, which is later."""
    words = {item.id: item.text for item in held.report.items}

    assert len(held.report.turns) == len(held.said) == 6
    for turn, (began, ended, text) in zip(held.report.turns, held.said, strict=True):
        assert words[turn.item_id or ""] == text
        assert turn.ended is not None
        assert began - PADDING <= turn.began <= began + 0.05
        assert ended <= turn.ended <= ended + SILENCE
        assert turn.noticed_end is not None
        assert turn.ended <= turn.noticed_end < turn.ended + 0.1
        assert turn.transcribed is not None
        assert turn.transcribed > turn.ended


@pytest.mark.behaviour("M2")
def test_a_reply_time_is_from_the_end_of_the_turn_to_the_first_sound(
    held: Held,
) -> None:
    """By the loudspeaker's own account of when it began to sound again."""
    sounds = [first for first, _ in held.heard]
    for turn in held.report.turns:
        assert turn.ended is not None
        answer = min(at for at in sounds if at > turn.ended)

        assert turn.answered == pytest.approx(answer, abs=0.02)
        assert turn.reply_seconds == pytest.approx(answer - turn.ended, abs=0.02)
    by = [turn.answered_by for turn in held.report.turns]
    assert by == ["Kelly", "Sunny", "Sunny", "Sunny", "Consent", "Kelly"]


# --- what was done -------------------------------------------------------------------


@pytest.mark.behaviour("M1")
def test_who_was_current_follows_without_a_gap(held: Held) -> None:
    report = held.report

    assert names(report) == ["Kelly", "Sunny", "Kelly", "Consent", "Kelly"]
    for one, two in pairwise(report.agents):
        assert one.ended == two.began
        assert two.previous == one.agent
    assert [agent.delegated_by for agent in report.agents] == [
        *(None, None, None, "Kelly", None)
    ]
    assert report.agents[-1].ended is not None


@pytest.mark.behaviour("M1")
def test_calls_are_told_as_their_events_told_them(held: Held) -> None:
    started = {e.call_id: e for e in held.stage.of(ToolStarted)}
    finished = {e.call_id: e for e in held.stage.of(ToolFinished)}
    tools = {call.call_id: call for call in held.report.tools}

    assert list(tools) == list(started)
    for call_id, call in tools.items():
        event = finished[call_id]
        assert (call.tool, call.outcome) == (event.tool, event.outcome)
        assert call.output == event.output
        assert call.agent == started[call_id].agent
        assert call.seconds == pytest.approx(event.seconds, abs=0.001)
        assert call.ended is not None
        assert call.ended - call.began >= (event.seconds or 0) - 0.001
    crashed = [call for call in tools.values() if call.outcome == "Crashed"]
    assert [call.problem for call in crashed] == ["the tool raised LookupError"]
    assert [call.arguments for call in crashed] == [
        '{"location":"Oslo","day":"Sunday"}'
    ]


@pytest.mark.behaviour("M1")
def test_handoffs_have_the_times_that_were_measured(held: Held) -> None:
    measured = [event.timings for event in held.stage.of(HandoffMeasured)]

    assert len(held.report.handoffs) == len(measured) == 2
    for handoff, timings in zip(held.report.handoffs, measured, strict=True):
        for name in ("requested", "committed", "acknowledged", "first_audio"):
            moment = getattr(timings, name) - held.zero
            assert getattr(handoff, name) == pytest.approx(moment, abs=0.001)
        for name in ("previous", "next", "reused", "messages", "bytes"):
            assert getattr(handoff, name) == getattr(timings, name)


@pytest.mark.behaviour("M1")
def test_a_delegation_lasts_as_long_as_the_other_agent_is_current(held: Held) -> None:
    (asked,) = held.report.delegations
    consent = held.report.agents[3]

    assert (asked.agent, asked.to, asked.outcome) == ("Kelly", "Consent", "completed")
    assert (asked.began, asked.ended) == (consent.began, consent.ended)


@pytest.mark.behaviour("M1")
def test_connections_and_what_went_wrong_are_there(held: Held) -> None:
    report = held.report
    one, two = report.connections

    assert (one.generation, one.reason, one.lost, one.code) == (1, "first", True, 1011)
    assert (two.reason, two.lost) == ("reconnect", False)
    assert one.ended is not None
    assert two.opened is not None
    assert one.ended <= two.opened
    assert [note.kind for note in report.errors] == ["ToolFailed", "ConnectionEnded"]
    assert [note.level for note in report.errors] == ["error", "warning"]
    assert "1011" in report.errors[1].text


@pytest.mark.behaviour("M1")
def test_the_usage_of_the_replies_adds_up_to_that_of_the_session(held: Held) -> None:
    report = held.report
    told = {event.response_id: event for event in held.stage.of(ResponseMetrics)}
    total = Usage()
    for spent in report.usage_by_agent().values():
        total += spent

    assert total == report.usage == held.stage.session.usage
    assert {reply.response_id for reply in report.replies} == set(told)
    for reply in report.replies:
        assert reply.outcome == told[reply.response_id].outcome
        assert reply.agent == told[reply.response_id].agent


# --- at any time ---------------------------------------------------------------------


@pytest.mark.behaviour("M3")
def test_a_report_is_made_after_the_end_outside_of_trio(held: Held) -> None:
    session = held.report.session

    assert session.began == BEGAN
    assert session.end == "ended"
    assert session.error is None
    assert session.seconds == pytest.approx(held.seconds, abs=0.01)
    assert held.report == held.report


@pytest.mark.behaviour("M3")
def test_a_report_of_a_conversation_that_goes_on_is_its_beginning(held: Held) -> None:
    live, final = held.live, held.report

    assert live is not None
    assert live.session.end is None
    assert live.session.seconds < final.session.seconds
    assert live.agents[-1].ended is None
    assert live.speech[-1].ended is None
    assert live.turns == final.turns[: len(live.turns)]
    assert live.tools == final.tools[: len(live.tools)]
    assert [i.id for i in live.items] == [i.id for i in final.items][: len(live.items)]


class Silent(Agent):
    """Says nothing."""

    instructions = "You are silent."


async def leave(session: Any) -> None:
    await trio.sleep(1)


async def end(session: Any) -> None:
    session.end()
    await trio.sleep(1)


async def fall(session: Any) -> None:
    raise KeyError("nothing of that name")


@pytest.mark.behaviour("M3")
@pytest.mark.parametrize(
    ("body", "how", "problem"),
    [(leave, "left", None), (end, "ended", None), (fall, "failed", "KeyError")],
)
async def test_it_says_how_the_session_ended(
    autojump_clock: trio.testing.MockClock, body: Any, how: str, problem: str | None
) -> None:
    sessions = []
    with trio.CancelScope():
        try:
            async with on_stage() as stage:
                sessions.append(stage.session)
                await body(stage.session)
        except* KeyError:
            pass
    report = sessions[0].report()

    assert report.session.end == how
    assert (report.session.error or "").partition(":")[0] == (problem or "")
    assert [note.kind for note in report.errors] == ["SessionFailed"] * bool(problem)


@pytest.mark.behaviour("M3")
async def test_a_session_that_was_cancelled_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sessions = []
    with trio.move_on_after(3):
        async with on_stage(lambda turn: Say("A long story. " * 9)) as stage:
            sessions.append(stage.session)
            await stage.session.run(Prompted())
    report = sessions[0].report()

    assert report.session.end == "cancelled"
    assert report.session.seconds == pytest.approx(3, abs=0.1)
    assert [said.interrupted for said in report.speech] == [True]
    assert report.speech[0].ended == pytest.approx(3, abs=0.1)
    assert report.agents[-1].ended == pytest.approx(3, abs=0.1)
    assert report.connections[-1].ended is not None


@pytest.mark.behaviour("M3")
async def test_a_session_that_failed_says_with_what(
    autojump_clock: trio.testing.MockClock,
) -> None:
    fault = reject("response.create", code="insufficient_quota")
    sessions = []
    with pytest.RaisesGroup(ServerError, flatten_subgroups=True, allow_unwrapped=True):
        async with on_stage(server={"faults": [fault]}) as stage:
            sessions.append(stage.session)
            await stage.session.run(Prompted())
    report = sessions[0].report()

    assert report.session.end == "failed"
    assert (report.session.error or "").startswith("ServerError: ")


@pytest.mark.behaviour("M3")
async def test_an_input_that_ended_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(microphone=True) as stage:
        assert stage.microphone is not None
        await stage.microphone.send(quiet(100))
        stage.microphone.end()
        with trio.fail_after(60):
            await stage.session.run(Silent())

    assert stage.session.report().session.end == "input_ended"


# --- without turn detection, without sound -------------------------------------------


@pytest.mark.behaviour("M1", "M2")
async def test_turns_that_the_program_ends_are_there_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Push to talk: from the press of the button to the release."""
    options = SessionOptions(turn_detection=None)
    async with on_stage(model={"options": options}, microphone=True) as stage:
        async with running(stage, Silent()):
            await until(lambda: stage.session.agent)
            began = trio.current_time()
            await stage.session.start_user_turn()
            assert stage.microphone is not None
            for _ in range(50):
                await stage.microphone.send(quiet(20))
                await trio.sleep(0.02)
            ended = trio.current_time()
            await stage.session.commit_user_turn()
            await until(lambda: stage.of(ReplyEnded))
            await stage.session.wait_for_playout()
        changes = stage.of(UserStateChanged)
    (turn,) = stage.session.report().turns
    zero = began - turn.began

    assert [change.new for change in changes][:2] == ["speaking", "listening"]
    assert turn.ended == pytest.approx(ended - zero, abs=0.05)
    assert turn.item_id == stage.session.chat_ctx.ids[0]
    assert turn.reply_seconds is not None
    assert 0 < turn.reply_seconds < 1
    assert stage.output.runs[0].time - zero == pytest.approx(turn.answered, abs=0.02)


@pytest.mark.behaviour("M1")
async def test_what_left_the_conversation_is_still_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An agent that begins afresh does not make the record forget."""

    class Afresh(Weather):
        pass

    hello = on_stage(lambda turn: Say("Hello."))
    async with hello as stage, running(stage, Greeter()):
        await stage.session.send_message("Remember me.")
        await trio.sleep(1)
        await stage.session.handoff(Handoff(Afresh(), context="fresh"))
        await until(lambda: stage.of(ReplyEnded))
    report = stage.session.report()
    (gone,) = [item for item in report.items if item.removed is not None]

    assert gone.text == "Remember me."
    assert gone.id not in stage.session.chat_ctx
    assert gone.at is not None
    assert gone.removed is not None
    assert gone.at < gone.removed


@pytest.mark.behaviour("M1")
async def test_a_conversation_to_begin_with_is_there_from_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    before = ChatContext().add_message("user", "Long ago.")
    going_on = on_stage(lambda turn: Say("Yes."), chat_ctx=before)
    async with going_on as stage, running(stage, Prompted()):
        await until(lambda: stage.of(ReplyEnded))
    first, second = stage.session.report().items

    assert (first.text, first.at) == ("Long ago.", None)
    assert second.at is not None
