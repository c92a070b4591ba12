"""The recorder by itself: events and moments in, a report out (M4, M8, X1)."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import trialogue.events
from trialogue import ChatContext, Metrics, Usage
from trialogue.agents.recorded import TABLE
from trialogue.agents.recording import ITEMS, MOST, Recorder
from trialogue.conversation import (
    AudioTranscribed,
    FunctionCall,
    FunctionCallOutput,
    Message,
    OpaqueItem,
    TextContent,
)
from trialogue.events import (
    AgentEntered,
    AgentTranscript,
    ApprovalRequested,
    ApprovalSettled,
    AudioDropped,
    ConnectionEnded,
    ConnectionOpened,
    DelegationEnded,
    DelegationStarted,
    DelegationTimings,
    ErrorNotice,
    HandoffFailed,
    HandoffStarted,
    ItemChanged,
    ReplyEnded,
    ReplyStarted,
    ResponseMetrics,
    ToolFailed,
    ToolFinished,
    ToolNoted,
    ToolStarted,
    UserStartedSpeaking,
    UserStateChanged,
    UserStoppedSpeaking,
    UserTranscript,
)
from trialogue.realtime.replies import ReplyOutcome

if TYPE_CHECKING:
    from trialogue.records import Report

KEY = "sk-proj-abcdefghijklmnop"
PRECIOUS = "hunter2hunter2"


def recorder() -> Recorder:
    made = Recorder("tri_test", lambda: 1_800_000_000.0)
    made.begin(100.0)
    return made


def report_of(
    made: Recorder, now: float = 200.0, context: ChatContext | None = None
) -> Report:
    return made.report(now, "a-model", context or ChatContext(), Metrics())


def said(item_id: str, text: str) -> Message:
    return Message(item_id, "user", (AudioTranscribed(text),))


# --- bounds --------------------------------------------------------------------------


def fill(made: Recorder, count: int) -> None:
    """Let everything that has a list happen so often."""
    for n in range(count):
        at = 100.0 + n
        made.observe(UserStartedSpeaking(f"user_{n}"), at)
        made.observe(UserStoppedSpeaking(f"user_{n}"), at + 0.1)
        made.observe(ItemChanged("added", f"user_{n}", said(f"user_{n}", "?")), at)
        made.observe(AgentEntered(f"agent {n}"), at)
        made.observe(ReplyStarted(f"resp_{n}"), at + 0.2)
        made.spoken(f"item_{n}", f"resp_{n}", "agent")
        made.speech_began(f"item_{n}", at + 0.3)
        made.speech_ended(f"item_{n}", at + 0.4)
        made.observe(ToolStarted("agent", "tool", f"call_{n}", "{}"), at)
        made.observe(HandoffStarted("agent", f"agent {n}"), at)
        made.observe(DelegationStarted("agent", "other"), at)
        ended = DelegationTimings(at, at, at)
        made.observe(DelegationEnded("agent", "other", "failed", ended), at)
        made.observe(ConnectionOpened(n, "sess", 0.1), at)
        made.observe(ErrorNotice(f"problem {n}"), at)
        made.observe(UserStateChanged("listening", "away"), at)
        made.observe(ItemChanged("deleted", f"user_{n}"), at + 0.5)


@pytest.mark.behaviour("M4")
def test_of_each_list_the_newest_are_kept_and_the_others_counted() -> None:
    made = recorder()
    fill(made, ITEMS + 7)
    report = report_of(made)
    lists = {
        name: getattr(report, name)
        for name in (
            *("turns", "speech", "replies", "tools", "handoffs"),
            *("delegations", "connections", "errors", "notes"),
        )
    }

    assert {name: len(each) for name, each in lists.items()} == dict.fromkeys(
        lists, MOST
    )
    assert report.omitted == {
        **dict.fromkeys(lists, ITEMS + 7 - MOST),
        "agents": 2 * (ITEMS + 7) - MOST,  # a delegation makes one current again
        "items": 7,
    }
    assert len(report.items) == ITEMS
    assert report.items[0].id == "user_7"
    assert report.turns[-1].item_id == f"user_{ITEMS + 6}"
    assert report.tools[0].call_id == f"call_{ITEMS + 7 - MOST}"


@pytest.mark.behaviour("M4")
def test_a_long_text_is_cut() -> None:
    made = recorder()
    long = "x" * 300_000
    made.observe(ItemChanged("added", "one", said("one", long)), 101)
    made.observe(ToolStarted("agent", "tool", "call", f'{{"a":"{long}"}}'), 101)
    made.observe(ToolFinished("agent", "tool", "call", "Returned", long), 102)
    made.observe(ErrorNotice(long), 103)
    made.observe(ItemChanged("deleted", "one"), 104)
    report = report_of(made)

    texts = [report.items[0].text, report.tools[0].output, report.errors[0].text]
    assert [len(text) for text in texts] == [2000, 2000, 2000]
    assert all(text.endswith(" [cut]") for text in texts)
    assert report.tools[0].arguments == f"<{len(long) + 8} characters>"


@pytest.mark.behaviour("M4")
def test_what_comes_in_floods_is_one_note() -> None:
    """Dropped audio is told of with every push."""
    made = recorder()
    for n in range(500):
        made.observe(AudioDropped(0.02, 0.02 * n), 100 + n)
    (note,) = report_of(made).errors

    assert (note.at, note.count) == (0.0, 500)
    assert "10.0 s" in note.text


@pytest.mark.behaviour("M4")
def test_deltas_add_nothing_to_the_record() -> None:
    """They come many a second; what they lead to stands in the item."""
    made = recorder()
    for n in range(5000):
        made.observe(AgentTranscript("agent", "item", "word"), 100 + n)
        item = said("item", "word " * n)
        made.observe(ItemChanged("added" if n == 0 else "updated", "item", item), 101)
        made.observe(UserTranscript("item", "word", False), 100 + n)
    report = report_of(made, context=ChatContext((said("item", "words"),)))

    assert [record.id for record in report.items] == ["item"]
    assert report.notes == report.errors == ()


# --- the table -----------------------------------------------------------------------


@attrs.frozen
class EventOfTomorrow:
    """Nobody has thought of it."""

    agent: str
    call_id: str
    tool: str
    question: str = attrs.field(repr=False)
    seconds: float = 2.5
    error: BaseException | None = None


@pytest.mark.behaviour("M8")
def test_an_event_that_nobody_has_thought_of_is_a_note() -> None:
    """With its plain fields, but for those that it does not show of itself."""
    made = recorder()
    made.observe(EventOfTomorrow("Kelly", "call_1", "refund", "may I?"), 103)
    made.observe(object(), 104)
    one, two = report_of(made).notes

    assert (one.at, one.kind, one.level) == (3.0, "EventOfTomorrow", "info")
    assert (one.agent, one.call_id) == ("Kelly", "call_1")
    assert one.text == (
        "event of tomorrow: agent=Kelly, call_id=call_1, tool=refund, seconds=2.5"
    )
    assert two.kind == "object"


@pytest.mark.behaviour("M8")
def test_every_event_there_is_has_its_line() -> None:
    """A new one has to be thought about; what has none is noted all the same."""
    published = {
        event
        for name in trialogue.events.__all__
        if inspect.isclass(event := getattr(trialogue.events, name))
    }
    carried = {
        *("DelegationTimings", "HandoffTimings", "RateLimit", "Subscription"),
    }

    missing = {e.__name__ for e in published - TABLE.keys()} - carried
    # Whoever adds an event may leave it to be noted by its name.
    for name in missing:
        made = recorder()
        cls = getattr(importlib.import_module("trialogue.events"), name)
        made.observe(blank(cls), 101)
        assert [note.kind for note in report_of(made).notes] == [name]


def blank(cls: type[Any]) -> Any:
    """An instance of an event class, whatever its fields are."""
    values = dict.fromkeys((f.name for f in attrs.fields(cls)), "x")
    return cls(**values)


@pytest.mark.behaviour("M1")
def test_what_became_of_an_approval_is_noted() -> None:
    made = recorder()
    made.observe(ApprovalRequested("Kelly", "refund", "call", "{}", 160.0), 101)
    made.observe(ApprovalSettled("Kelly", "refund", "call", "denied"), 104)
    asked, settled = report_of(made).notes

    assert (asked.text, settled.text) == (
        *("refund waits for approval", "refund was denied"),
    )
    assert [note.call_id for note in (asked, settled)] == ["call", "call"]


@pytest.mark.behaviour("M1")
def test_a_detached_tool_is_followed_to_its_end() -> None:
    made = recorder()
    made.observe(ToolStarted("Kelly", "book", "call", "{}"), 101)
    made.observe(ToolFinished("Kelly", "book", "call", "InProgress", "wait", 1), 102)
    (open_call,) = report_of(made).tools
    made.observe(ToolNoted("Kelly", "book", "call", "Returned", "booked", 8.0), 109)
    (call,) = report_of(made).tools

    assert (open_call.ended, open_call.detached) == (None, True)
    assert (call.ended, call.outcome, call.output) == (9.0, "Returned", "booked")
    assert (call.seconds, call.detached) == (8.0, True)


@pytest.mark.behaviour("M1")
def test_a_call_that_was_never_run_is_there() -> None:
    made = recorder()
    made.observe(ToolFinished(None, "dance", "call", "UnknownTool", "no such"), 101)
    (call,) = report_of(made).tools

    assert (call.began, call.ended, call.seconds) == (1.0, 1.0, None)
    assert (call.tool, call.outcome) == ("dance", "UnknownTool")


@pytest.mark.behaviour("M1")
def test_a_handoff_that_failed_says_why() -> None:
    made = recorder()
    made.observe(AgentEntered("Kelly"), 100)
    made.observe(HandoffStarted("Kelly", "Sunny"), 101)
    made.observe(HandoffFailed("Kelly", "Sunny", "not agreed"), 102)
    made.observe(HandoffStarted("Kelly", "Sunny", "another voice"), 110)
    first, second = report_of(made).handoffs

    assert (first.failed, first.committed) == ("not agreed", 1.0)
    assert (second.failed, second.reused) == (None, False)
    assert second.why_fresh == "another voice"


@pytest.mark.behaviour("M1")
def test_delegations_inside_of_one_another_end_in_their_order() -> None:
    made = recorder()
    times = DelegationTimings(0, 0, 0)
    made.observe(AgentEntered("A"), 100)
    made.observe(DelegationStarted("A", "B"), 101)
    made.observe(AgentEntered("B", "A"), 101)
    made.observe(DelegationStarted("B", "C"), 102)
    made.observe(AgentEntered("C", "B"), 102)
    made.observe(DelegationEnded("B", "C", "completed", times), 103)
    made.observe(DelegationEnded("A", "B", "completed", times), 104)
    report = report_of(made)

    assert [(a.agent, a.delegated_by) for a in report.agents] == [
        *(("A", None), ("B", "A"), ("C", "B"), ("B", "A"), ("A", None)),
    ]
    assert [(d.began, d.ended) for d in report.delegations] == [(1, 4), (2, 3)]


@pytest.mark.behaviour("M2")
def test_what_was_being_said_already_is_no_answer() -> None:
    """Speech that the user could not interrupt goes on behind the turn."""
    made = recorder()
    made.observe(ReplyStarted("old", "Kelly"), 101)
    made.observe(UserStartedSpeaking("user"), 102)
    made.observe(UserStoppedSpeaking("user"), 104, 103.5)
    made.spoken("late", "old", "Kelly")
    made.speech_began("late", 104.2)
    made.observe(ReplyStarted("new", "Kelly"), 104.5)
    made.spoken("answer", "new", "Kelly")
    made.speech_began("answer", 105.0)
    made.spoken("more", "new", "Kelly")
    made.speech_began("more", 108.0)
    (turn,) = report_of(made).turns

    assert (turn.ended, turn.noticed_end, turn.answered) == (3.5, 4.0, 5.0)
    assert turn.reply_seconds == 1.5


# --- no keys -------------------------------------------------------------------------


def planted() -> Recorder:
    """A recorder that has seen a key in every text there is."""
    made = recorder()
    k = f"see {KEY} there"
    texts = {"api_key": PRECIOUS, "deep": [{"password": PRECIOUS, "note": k}]}
    secret = str(texts).replace("'", '"')
    for event in (
        ConnectionOpened(1, k, 0.1),
        ConnectionEnded(1, k),
        UserStartedSpeaking(k),
        UserStoppedSpeaking(k),
        UserTranscript(k, k, True),
        ItemChanged("added", k, said(k, k)),
        ItemChanged("added", "gone", Message("gone", "system", (TextContent(k),))),
        ItemChanged("deleted", "gone"),
        AgentEntered(k, k),
        ReplyStarted(k, k),
        ReplyEnded(k, ReplyOutcome("completed", k), k),
        ResponseMetrics("other", "failed", k, Usage(), 0.1, 0.2),
        ToolStarted(k, k, "call", secret),
        ToolFinished(k, k, "call", "Returned", secret),
        ToolStarted(k, k, k, k),
        ToolNoted(k, k, k, k, k, 0.1),
        ToolFailed(k, k, k, k, ValueError(k)),
        HandoffStarted(k, k, k),
        HandoffFailed(k, k, k),
        DelegationStarted(k, k),
        ErrorNotice(k, k, k),
        ApprovalRequested(k, k, k, k, 0.0),
        ApprovalSettled(k, k, k, "denied", k),
        EventOfTomorrow(k, k, k, k),
    ):
        made.observe(event, 110)
    made.spoken(k, k, k)
    made.speech_began(k, 111)
    made.finish(120, "failed", f"ServerError: {KEY[:3]}…")
    return made


@pytest.mark.behaviour("X1")
def test_no_key_is_in_a_report_wherever_one_stood() -> None:
    k = f"see {KEY} there"
    context = ChatContext(
        (
            said("item_1", k),
            FunctionCall("item_2", k, k, f'{{"token":"{PRECIOUS}","to":"{KEY}"}}'),
            FunctionCallOutput("item_3", k, f'{{"secret":"{PRECIOUS}"}}'),
            OpaqueItem("item_4", k, {"key": KEY}),
        )
    )
    report = planted().report(130, k, context, Metrics())

    for shown in (report.to_json(), report.to_html(), repr(report)):
        assert KEY not in shown
        assert PRECIOUS not in shown
        assert "[key]" in shown
    assert '"api_key":"<hidden>"' in report.tools[0].arguments
    assert report.tools[0].output == report.tools[0].arguments
    assert report.items[1].text == '{"token":"<hidden>","to":"[key]"}'


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("at", [1990, 1999, 2005, 7000])
def test_a_key_across_the_cut_is_found(at: int) -> None:
    made = recorder()
    made.observe(ErrorNotice("x " * (at // 2) + KEY), 101)
    text = report_of(made).errors[0].text

    assert not any(KEY[:n] in text for n in range(8, len(KEY)))
