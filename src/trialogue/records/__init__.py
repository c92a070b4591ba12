"""The record of a conversation: a `Report`, as JSON and as a page to look at.

`AgentSession.report` makes one. Everything here is values; nothing waits.
"""

from __future__ import annotations

from trialogue.records.entries import (
    AgentRecord,
    ConnectionRecord,
    DelegationRecord,
    End,
    HandoffRecord,
    ItemRecord,
    Level,
    NoteRecord,
    ReplyRecord,
    SessionRecord,
    SpeechRecord,
    ToolRecord,
    TurnRecord,
)
from trialogue.records.report import Report

__all__ = [
    "AgentRecord",
    "ConnectionRecord",
    "DelegationRecord",
    "End",
    "HandoffRecord",
    "ItemRecord",
    "Level",
    "NoteRecord",
    "ReplyRecord",
    "Report",
    "SessionRecord",
    "SpeechRecord",
    "ToolRecord",
    "TurnRecord",
]
