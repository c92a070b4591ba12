"""What a record takes down of each event: the table, and what stands in it.

A line of `TABLE` says what becomes of a class of events. `noted` makes a mark of one:
its text is a template over the fields of the event. None is for what the record has
from elsewhere. A class that has no line is a note of its own name and plain fields, so
that nothing happens unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from trialogue.agents.events import (
    AgentEntered,
    AgentStateChanged,
    AgentTranscript,
    ApprovalRequested,
    ApprovalSettled,
    DelegationEnded,
    DelegationStarted,
    GuardrailTripped,
    HandoffCompleted,
    HandoffDiscarded,
    HandoffFailed,
    HandoffMeasured,
    HandoffStarted,
    ScopeStalled,
    ToolFailed,
    ToolFinished,
    ToolNoted,
    ToolSetFailed,
    ToolStalled,
    ToolStarted,
    UserStateChanged,
)
from trialogue.audio.playout import AudioRefused
from trialogue.conversation.items import Message
from trialogue.conversation.parts import is_audio
from trialogue.realtime.metrics import ResponseMetrics
from trialogue.realtime.notices import (
    AudioDropped,
    ConnectionEnded,
    ConnectionOpened,
    ErrorNotice,
    HistoryTrimmed,
    ItemChanged,
    MalformedFrame,
    RateLimitsUpdated,
    RawEvent,
    RawServerEvent,
    ReplayTruncated,
    ReplyEnded,
    ReplyStarted,
    UnknownAnchorNotice,
    UserIdle,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserTranscript,
)
from trialogue.realtime.spending import SpendWarning
from trialogue.records.entries import (
    ConnectionRecord,
    DelegationRecord,
    HandoffRecord,
    NoteRecord,
    ReplyRecord,
    ToolRecord,
    TurnRecord,
)
from trialogue.records.wording import kept, kept_json

if TYPE_CHECKING:
    from trialogue.agents.events import HandoffTimings
    from trialogue.agents.recording import Recorder
    from trialogue.conversation.items import Item
    from trialogue.records.entries import Level

__all__ = ["TABLE", "unknown"]

Take: TypeAlias = Callable[["Recorder", Any, float], None]

_MOMENTS: Final = {
    "requested",
    "committed",
    "burst_written",
    "acknowledged",
    "response_created",
    "first_audio",
}
"""The fields of `HandoffTimings` that are on Trio's clock."""
_SHOWN: Final = 500
"""Characters of each field of an unknown event that are kept."""


def noted(level: Level, template: str, *, merge: bool = False) -> Take:
    """Return what makes a note of an event; with `merge` several in a row are one."""

    def take(record: Recorder, event: Any, at: float) -> None:
        fields = {f.name: getattr(event, f.name) for f in attrs.fields(type(event))}
        text = template.format(**fields)
        record.note(_note(event, at, text, level), merge=merge)

    return take


def unknown(record: Recorder, event: object, at: float) -> None:
    """Note an event that nobody has thought of: its plain fields, if they show."""
    shown = []
    cls: Any = type(event)
    for field in attrs.fields(cls) if attrs.has(cls) else ():
        value = getattr(event, field.name)
        if field.repr is True and isinstance(value, str | int | float):
            shown.append(f"{field.name}={str(value)[:_SHOWN]}")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(event).__name__).lower()
    text = f"{words}: {', '.join(shown)}" if shown else words
    record.note(_note(event, at, text, "info"))


def _note(event: object, at: float, text: str, level: Level) -> NoteRecord:
    return NoteRecord(
        at=at,
        kind=type(event).__name__,
        text=kept(text),
        level=level,
        agent=_named(event, "agent"),
        call_id=_named(event, "call_id"),
    )


def _named(event: object, field: str) -> str | None:
    value = getattr(event, field, None)
    return value if isinstance(value, str) else None


# --- connections ---------------------------------------------------------------------


def _connection_opened(record: Recorder, event: ConnectionOpened, at: float) -> None:
    opened = ConnectionRecord(
        generation=event.generation,
        reason=event.reason,
        opened=at,
        dial_seconds=round(event.seconds, 4),
    )
    record.connections.put(event.generation, opened)


def _connection_ended(record: Recorder, event: ConnectionEnded, at: float) -> None:
    what: dict[str, Any] = {
        "ended": at,
        "message": kept(event.message),
        "code": event.code,
        "lost": event.will_retry,
    }
    if not record.connections.change(event.generation, **what):
        ended = ConnectionRecord(generation=event.generation, **what)
        record.connections.put(event.generation, ended)
    if event.will_retry:
        text = f"connection {event.generation} was lost: {event.message}"
        record.note(_note(event, at, text, "warning"))


# --- the user ------------------------------------------------------------------------


def _turn_begins(record: Recorder, item_id: str | None, at: float) -> None:
    turn = None if record.turn is None else record.turns.get(record.turn)
    if turn is None or turn.ended is not None:
        record.turn = record.new_key()
        record.turns.put(record.turn, TurnRecord(began=at, item_id=item_id))
    elif item_id is not None:
        record.turns.change(record.turn, item_id=item_id)


def _voice_began(record: Recorder, event: UserStartedSpeaking, at: float) -> None:
    _turn_begins(record, event.item_id, at)


def _voice_ended(record: Recorder, event: UserStoppedSpeaking, at: float) -> None:
    if record.turn is not None:
        record.turns.change(record.turn, ended=at, noticed_end=at)


def _user_state(record: Recorder, event: UserStateChanged, at: float) -> None:
    """Where the program says when a turn begins and ends, nothing else tells of it."""
    if event.new == "speaking":
        _turn_begins(record, None, at)
    elif event.old == "speaking":
        turn = None if record.turn is None else record.turns.get(record.turn)
        if turn is not None and turn.ended is None:
            record.turns.change(record.turn, ended=at, noticed_end=at)
        record.turn = None
    if event.new == "away":
        record.note(_note(event, at, "the user is away", "info"))


def _user_transcript(record: Recorder, event: UserTranscript, at: float) -> None:
    if event.final:
        key = record.turns.key_of(lambda turn: turn.item_id == event.item_id)
        record.turns.change(key, transcribed=at)


def _item_changed(record: Recorder, event: ItemChanged, at: float) -> None:
    if event.change == "deleted":
        record.item_left(event.item_id, at)
        return
    record.item_added(event.item_id, event.item, at)
    turn = record.turns.newest() if event.change == "added" else None
    if turn is not None and turn.item_id is None and _is_voice(event.item):
        record.turns.change_newest(item_id=event.item_id)


def _is_voice(item: Item | None) -> bool:
    return (
        isinstance(item, Message)
        and item.role == "user"
        and any(map(is_audio, item.content))
    )


# --- replies and tools ---------------------------------------------------------------


def _reply_started(record: Recorder, event: ReplyStarted, at: float) -> None:
    began = ReplyRecord(response_id=event.response_id, began=at, agent=event.agent)
    record.replies.put(event.response_id, began)


def _response_measured(record: Recorder, event: ResponseMetrics, at: float) -> None:
    what: dict[str, Any] = {
        "ended": at,
        "outcome": event.outcome,
        "first_audio": _rounded(event.first_audio),
        "turn_to_audio": _rounded(event.turn_to_audio),
        "usage": event.usage,
    }
    if not record.replies.change(event.response_id, **what):
        began = max(0.0, round(at - event.seconds, 4))
        unheard = ReplyRecord(
            response_id=event.response_id, began=began, agent=event.agent, **what
        )
        record.replies.put(event.response_id, unheard)
    if event.outcome in {"failed", "lost"}:
        why = "failed" if event.outcome == "failed" else "was lost with its connection"
        level: Level = "error" if event.outcome == "failed" else "warning"
        record.note(_note(event, at, f"a reply {why}", level))


def _reply_ended(record: Recorder, event: ReplyEnded, at: float) -> None:
    """How it ended for those who hear; the measures have come before."""
    reply = record.replies.get(event.response_id)
    if reply is not None and reply.outcome is None:
        outcome = event.outcome.outcome
        record.replies.change(event.response_id, ended=at, outcome=outcome)


def _tool_started(record: Recorder, event: ToolStarted, at: float) -> None:
    call = ToolRecord(
        call_id=event.call_id,
        tool=event.tool,
        began=at,
        agent=event.agent,
        arguments=kept_json(event.arguments),
    )
    record.tools.put(event.call_id, call)


def _tool_finished(record: Recorder, event: ToolFinished, at: float) -> None:
    if event.call_id not in record.tools:
        call = ToolRecord(
            call_id=event.call_id, tool=event.tool, began=at, agent=event.agent
        )
        record.tools.put(event.call_id, call)
    goes_on = event.outcome == "InProgress"
    record.tools.change(
        event.call_id,
        ended=None if goes_on else at,
        outcome=event.outcome,
        output=kept_json(event.output),
        seconds=_rounded(event.seconds),
        detached=goes_on,
    )


def _tool_noted(record: Recorder, event: ToolNoted, at: float) -> None:
    record.tools.change(
        event.call_id,
        ended=at,
        outcome=event.outcome,
        output=kept_json(event.note),
        seconds=_rounded(event.seconds),
    )


def _tool_failed(record: Recorder, event: ToolFailed, at: float) -> None:
    """The text of an exception may hold anything: it is not taken down."""
    problem = kept(event.problem)
    record.tools.change(event.call_id, problem=problem)
    record.note(_note(event, at, f"{event.tool}: {event.problem}", "error"))


# --- agents --------------------------------------------------------------------------


def _agent_entered(record: Recorder, event: AgentEntered, at: float) -> None:
    record.agent_entered(event.agent, at, previous=event.previous)


def _agent_state(record: Recorder, event: AgentStateChanged, at: float) -> None:
    if event.new == "initializing":
        record.agent_left(at)


def _open_handoff(record: Recorder, previous: str | None, following: str) -> Any:
    return record.handoffs.key_of(
        lambda h: (h.previous, h.next, h.failed) == (previous, following, None)
    )


def _handoff_started(record: Recorder, event: HandoffStarted, at: float) -> None:
    begun = HandoffRecord(
        previous=event.previous,
        next=event.next,
        committed=at,
        reused=event.why_fresh is None,
        why_fresh=event.why_fresh,
    )
    record.handoffs.put(record.new_key(), begun)


def _handoff_timed(
    record: Recorder, event: HandoffCompleted | HandoffMeasured, at: float
) -> None:
    timings: HandoffTimings = event.timings
    key = _open_handoff(record, timings.previous, timings.next)
    record.handoffs.change(
        key,
        **{
            field.name: record.since(value) if field.name in _MOMENTS else value
            for field in attrs.fields(type(timings))
            if (value := getattr(timings, field.name)) is not None
        },
    )


def _handoff_failed(record: Recorder, event: HandoffFailed, at: float) -> None:
    key = _open_handoff(record, event.previous, event.next)
    problem = kept(event.message)
    if not record.handoffs.change(key, failed=problem):
        failed = HandoffRecord(
            previous=event.previous, next=event.next, committed=at, failed=problem
        )
        record.handoffs.put(record.new_key(), failed)
    text = f"handing over to {event.next} failed: {event.message}"
    record.note(_note(event, at, text, "error"))


def _delegation_started(record: Recorder, event: DelegationStarted, at: float) -> None:
    key = record.new_key()
    begun = DelegationRecord(agent=event.agent, to=event.to, began=at)
    record.delegations.put(key, begun)
    record.waiting.append((event.agent, key))


def _delegation_ended(record: Recorder, event: DelegationEnded, at: float) -> None:
    for place in reversed(range(len(record.waiting))):
        agent, key = record.waiting[place]
        if agent == event.agent:
            del record.waiting[place:]
            record.delegations.change(key, ended=at, outcome=event.outcome)
            break
    record.agent_entered(event.agent, at, previous=event.to)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


TABLE: Final[dict[type, Take | None]] = {
    # connections
    ConnectionOpened: _connection_opened,
    ConnectionEnded: _connection_ended,
    # the user
    UserStartedSpeaking: _voice_began,
    UserStoppedSpeaking: _voice_ended,
    UserStateChanged: _user_state,
    UserTranscript: _user_transcript,
    UserIdle: noted("info", "nobody spoke for the idle timeout"),
    # the conversation
    ItemChanged: _item_changed,
    UnknownAnchorNotice: noted("info", "an item was appended: nobody knew its place"),
    HistoryTrimmed: noted("info", "the oldest turns left; {remaining} items remain"),
    ReplayTruncated: noted(
        "warning", "{omitted} items were not told to a fresh connection"
    ),
    # replies and tools
    ReplyStarted: _reply_started,
    ResponseMetrics: _response_measured,
    ReplyEnded: _reply_ended,
    ToolStarted: _tool_started,
    ToolFinished: _tool_finished,
    ToolNoted: _tool_noted,
    ToolFailed: _tool_failed,
    ToolSetFailed: noted("warning", "the tool set {tool_set} failed"),
    ToolStalled: noted("warning", "{tool} was stopped and does not end"),
    ApprovalRequested: noted("info", "{tool} waits for approval"),
    ApprovalSettled: noted("info", "{tool} was {outcome}"),
    # agents
    AgentEntered: _agent_entered,
    AgentStateChanged: _agent_state,
    HandoffStarted: _handoff_started,
    HandoffCompleted: _handoff_timed,
    HandoffMeasured: _handoff_timed,
    HandoffFailed: _handoff_failed,
    HandoffDiscarded: noted("warning", "a handoff to {next} came too late"),
    DelegationStarted: _delegation_started,
    DelegationEnded: _delegation_ended,
    ScopeStalled: noted("warning", "{agent} was left and {task} does not end"),
    # trouble and limits
    GuardrailTripped: noted(
        "warning", "the guardrail {guardrail} of {place} tripped: {reason}"
    ),
    ErrorNotice: noted("error", "the provider reported: {message}"),
    MalformedFrame: noted("warning", "a frame was passed over: {message}", merge=True),
    AudioDropped: noted(
        "warning",
        "microphone audio was dropped, {total_seconds:.1f} s up to here",
        merge=True,
    ),
    AudioRefused: noted("warning", "more was said than can wait to be played"),
    SpendWarning: noted("warning", "{spent:g} of {limit:g} {kind} are spent"),
    # what the record has from elsewhere, or has no use for
    AgentTranscript: None,
    RateLimitsUpdated: None,
    RawEvent: None,
    RawServerEvent: None,
}
