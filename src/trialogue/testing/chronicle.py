"""Where what happened in a conversation under test is looked up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from trialogue.agents.events import (
    AgentTranscript,
    HandoffMeasured,
    HandoffTimings,
    ToolFailed,
    ToolFinished,
    ToolNoted,
    ToolStarted,
)
from trialogue.agents.session import AgentSession
from trialogue.conversation.items import FunctionCall, Message
from trialogue.realtime.broadcast import Subscription
from trialogue.realtime.notices import (
    ItemChanged,
    ReplyEnded,
    ReplyStarted,
    UserTranscript,
)
from trialogue.testing.observed import ModelReply, ToolCall
from trialogue.testing.script import Turn
from trialogue.testing.scripted import ScriptedModel
from trialogue.testing.server import RealtimeServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trialogue.testing.machine import ResponseRecord

__all__ = ["Chronicle"]

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class Chronicle:
    """What session, server, model and loudspeaker know of one conversation."""

    session: AgentSession[Any]
    server: RealtimeServer
    model: ScriptedModel
    _subscription: Subscription[Any]
    _events: list[Any] = attrs.field(factory=list, init=False)
    _heard: dict[str, int] = attrs.field(factory=dict, init=False)

    def __repr__(self) -> str:
        return f"<Chronicle events={len(self._events)}>"

    def events(self) -> Sequence[Any]:
        """Return all events up to now, in order."""
        while self._subscription.unread:
            self._events.append(self._subscription.receive_nowait())
        return self._events

    def prompt_of(self, response_id: str) -> Turn:
        """Return what the model was given for a response."""
        asked = reversed(self.model.asked)
        return next((one for one in asked if one.response_id == response_id), Turn())

    def record_of(self, response_id: str) -> ResponseRecord | None:
        """Return what the server wrote down of a response."""
        records = (
            record
            for connection in reversed(self.server.connections)
            for record in connection.responses
        )
        return next((record for record in records if record.id == response_id), None)

    def heard_ms(self, item_id: str) -> int:
        """Return how much of an item was played; the playout forgets old items."""
        now = self.session.playout.position(item_id).ms
        self._heard[item_id] = max(now, self._heard.get(item_id, 0))
        return self._heard[item_id]

    # --- made of events ----------------------------------------------------

    def call(self, first: ToolStarted | ToolFinished) -> ToolCall:
        """Return a call, by an event that tells of it."""
        # What began here may have ended later.
        mine = [
            event
            for event in self.events()
            if getattr(event, "call_id", None) == first.call_id
        ]
        started = _first(mine, ToolStarted)
        finished = _first(mine, ToolFinished)
        failed = _first(mine, ToolFailed)
        noted = _first(mine, ToolNoted)  # of a detached one: its real end
        raw = self._arguments(first.call_id) if started is None else started.arguments
        end = noted or finished
        output = None if finished is None else finished.output
        return ToolCall(
            first.agent,
            first.tool,
            _parsed(raw),
            started is not None,
            None if end is None else end.outcome,
            output if noted is None else noted.note,
            None if end is None else end.seconds,
            None if failed is None else failed.error,
            raw,
            first.call_id,
        )

    def _arguments(self, call_id: str) -> str:
        """The arguments of a call whose tool was not run."""
        items = (
            item
            for event in self.events()
            if isinstance(event, ReplyEnded)
            for item in event.outcome.items
        )
        return next(
            (
                item.arguments
                for item in items
                if isinstance(item, FunctionCall) and item.call_id == call_id
            ),
            "",
        )

    def reply(self, started: ReplyStarted) -> ModelReply:
        """Return a reply, by the event of its beginning."""
        record = self.record_of(started.response_id)
        item_ids = [] if record is None else record.item_ids
        spoken = record is not None and record.modality == "audio"
        ended = self._ended(started.response_id)
        outcome = None if ended is None else ended.outcome
        return ModelReply(
            started.agent,
            self._text(item_ids),
            None if outcome is None else outcome.outcome,
            sum(self.heard_ms(item_id) for item_id in item_ids),
            (outcome is not None and outcome.outcome == "interrupted")
            or any(self._was_cut(item_id, spoken) for item_id in item_ids),
            self.prompt_of(started.response_id),
            started.response_id,
        )

    def _ended(self, response_id: str) -> ReplyEnded | None:
        return next(
            (
                event
                for event in self.events()
                if isinstance(event, ReplyEnded) and event.response_id == response_id
            ),
            None,
        )

    def _text(self, item_ids: Sequence[str]) -> str:
        """The words of some items, as they were told."""
        texts = dict.fromkeys(item_ids, "")
        for event in self.events():
            if isinstance(event, AgentTranscript) and event.item_id in texts:
                texts[event.item_id] += event.text
        return " ".join(text.strip() for text in texts.values() if text.strip())

    def words_of(self, item_id: str) -> str:
        """What the user was heard to say, which is known only later."""
        transcripts = (
            event.text
            for event in self.events()
            if isinstance(event, UserTranscript)
            and event.final
            and event.item_id == item_id
        )
        return next(transcripts, "")

    def _was_cut(self, item_id: str, spoken: bool) -> bool:
        """Whether an item was truncated, or taken back since nothing was heard."""
        last = None
        for event in self.events():
            if isinstance(event, ItemChanged) and event.item_id == item_id:
                last = event
        if last is None:
            return False
        item = last.item
        heard = item.heard_ms if isinstance(item, Message) else None
        unheard = spoken and not self.heard_ms(item_id)
        return heard is not None or (last.change == "deleted" and unheard)

    @property
    def timings(self) -> dict[tuple[str, float], HandoffTimings]:
        """The measured handoffs, by the next agent and when they were asked for."""
        events = (e for e in self.events() if isinstance(e, HandoffMeasured))
        return {(e.timings.next, e.timings.requested): e.timings for e in events}


def _first(events: Sequence[Any], kind: type[T]) -> T | None:
    return next((event for event in events if isinstance(event, kind)), None)


def _parsed(raw: str) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
