"""The record of one conversation, as a value that can be saved, read back and shown."""

from __future__ import annotations

from typing import Any

import attrs

from trialogue.dialects.events import Usage
from trialogue.realtime.metrics import Metrics
from trialogue.records import loading
from trialogue.records.entries import (
    AgentRecord,
    ConnectionRecord,
    DelegationRecord,
    HandoffRecord,
    ItemRecord,
    NoteRecord,
    ReplyRecord,
    SessionRecord,
    SpeechRecord,
    ToolRecord,
    TurnRecord,
)

__all__ = ["Report"]


@attrs.frozen(kw_only=True)
class Report:
    """What happened in a conversation, and when; made by `AgentSession.report`.

    Each list is in the order in which things began. It holds what people said and what
    tools were told, so it is as private as the conversation; keys are struck out.

    Attributes:
        session: which one, since when, and how it ended.
        items: the conversation, what has left it included.
        turns: when the user spoke, and was answered.
        agents: who was current, when.
        speech: the agents' messages as they were played.
        replies: the model's responses, with their tokens.
        tools: calls, and what became of them.
        handoffs, delegations: from agent to agent.
        connections: to the provider.
        errors: what went wrong: notes whose level is "error" or "warning".
        notes: everything else worth a mark.
        metrics: counts, durations and tokens of the whole session; what was left out
            of the lists is in these.
        omitted: how many of the oldest entries were left out, by list. At most 1000
            are kept of a list, of items 4000.
    """

    session: SessionRecord
    items: tuple[ItemRecord, ...] = ()
    turns: tuple[TurnRecord, ...] = ()
    agents: tuple[AgentRecord, ...] = ()
    speech: tuple[SpeechRecord, ...] = ()
    replies: tuple[ReplyRecord, ...] = ()
    tools: tuple[ToolRecord, ...] = ()
    handoffs: tuple[HandoffRecord, ...] = ()
    delegations: tuple[DelegationRecord, ...] = ()
    connections: tuple[ConnectionRecord, ...] = ()
    errors: tuple[NoteRecord, ...] = ()
    notes: tuple[NoteRecord, ...] = ()
    metrics: Metrics = attrs.field(factory=Metrics)
    omitted: dict[str, int] = attrs.field(factory=dict)

    @property
    def usage(self) -> Usage:
        """The tokens of all responses, by modality."""
        return self.metrics.usage

    def usage_by_agent(self) -> dict[str | None, Usage]:
        """The tokens of the replies that are listed, by who answered for them."""
        spent: dict[str | None, Usage] = {}
        for reply in self.replies:
            if reply.usage is not None:
                spent[reply.agent] = spent.get(reply.agent, Usage()) + reply.usage
        return spent

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` takes back."""
        return loading.dump(self)

    def to_json(self) -> str:
        """Return JSON text that `from_json` takes back."""
        return loading.dump_text(self)

    @classmethod
    def from_dict(cls, data: Any) -> Report:
        """Return the report that `to_dict` was called on.

        Raises:
            ConfigurationError: the data is no report; the message names the place.
        """
        return loading.load(cls, data)

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """Return the report that `to_json` was called on.

        Raises:
            ConfigurationError: the text is no report; the message names the place.
        """
        return loading.load(cls, loading.parse(text))

    def to_html(self) -> str:
        """Return a page that stands alone: a timeline, the conversation, its figures.

        It fetches nothing and runs nothing, and can be printed. Save it as UTF-8.
        """
        from trialogue.records.page import page  # 100 kB that few sessions need

        return page(self)
