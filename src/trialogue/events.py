"""Everything that a session tells its subscribers, in one place.

`session.subscribe(ConnectionOpened, UserTranscript)` inside an `async with` gives a
`Subscription` of these; each is an immutable value to `match` on.
"""

from __future__ import annotations

from trialogue.agents.events import (
    AgentEntered,
    AgentStateChanged,
    AgentTranscript,
    ApprovalRequested,
    ApprovalSettled,
    DelegationEnded,
    DelegationStarted,
    DelegationTimings,
    HandoffCompleted,
    HandoffDiscarded,
    HandoffFailed,
    HandoffMeasured,
    HandoffStarted,
    HandoffTimings,
    ScopeStalled,
    ToolFailed,
    ToolFinished,
    ToolNoted,
    ToolStalled,
    ToolStarted,
    UserStateChanged,
)
from trialogue.agents.states import AgentState, UserState
from trialogue.audio.playout import AudioRefused
from trialogue.dialects.events import RateLimit
from trialogue.realtime.broadcast import Subscription
from trialogue.realtime.metrics import ResponseMetrics
from trialogue.realtime.notices import (
    AudioDropped,
    ConnectionEnded,
    ConnectionOpened,
    ErrorNotice,
    HistoryTrimmed,
    ItemChanged,
    MalformedFrame,
    OpenReason,
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

__all__ = [
    "AgentEntered",
    "AgentState",
    "AgentStateChanged",
    "AgentTranscript",
    "ApprovalRequested",
    "ApprovalSettled",
    "AudioDropped",
    "AudioRefused",
    "ConnectionEnded",
    "ConnectionOpened",
    "DelegationEnded",
    "DelegationStarted",
    "DelegationTimings",
    "ErrorNotice",
    "HandoffCompleted",
    "HandoffDiscarded",
    "HandoffFailed",
    "HandoffMeasured",
    "HandoffStarted",
    "HandoffTimings",
    "HistoryTrimmed",
    "ItemChanged",
    "MalformedFrame",
    "OpenReason",
    "RateLimit",
    "RateLimitsUpdated",
    "RawEvent",
    "RawServerEvent",
    "ReplayTruncated",
    "ReplyEnded",
    "ReplyStarted",
    "ResponseMetrics",
    "ScopeStalled",
    "SpendWarning",
    "Subscription",
    "ToolFailed",
    "ToolFinished",
    "ToolNoted",
    "ToolStalled",
    "ToolStarted",
    "UnknownAnchorNotice",
    "UserIdle",
    "UserStartedSpeaking",
    "UserState",
    "UserStateChanged",
    "UserStoppedSpeaking",
    "UserTranscript",
]
