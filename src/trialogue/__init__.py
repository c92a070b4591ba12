"""Realtime speech-to-speech agents on Trio.

A person and a cast of agents talk over one realtime model session, which outlives every
agent. `open_agent_session` opens the conversation; an agent hands over by returning
another one from a tool.
"""

from __future__ import annotations

import logging

from trialogue._version import __version__ as __version__
from trialogue.agents.agent import Agent, Handoff
from trialogue.agents.approving import ApprovalHandler
from trialogue.agents.draining import Drain, DrainReport, StuckSession, StuckTask
from trialogue.agents.guardrails import (
    Guardrail,
    Trip,
    input_guardrail,
    output_guardrail,
    tool_input_guardrail,
    tool_output_guardrail,
)
from trialogue.agents.opening import open_agent_session
from trialogue.agents.policies import last_turns
from trialogue.agents.run_context import RunContext
from trialogue.agents.session import AgentSession
from trialogue.conversation.context import ChatContext
from trialogue.conversation.items import (
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Message,
    TextContent,
)
from trialogue.dialects.dialect import Capabilities
from trialogue.dialects.events import Usage
from trialogue.dialects.options import (
    UNCHANGED,
    AudioFormat,
    CustomVoice,
    Modality,
    NamedMCPTool,
    NamedTool,
    NoiseReduction,
    Prompt,
    RetentionRatio,
    SemanticVAD,
    ServerVAD,
    SessionOptions,
    ToolChoice,
    Tracing,
    Transcription,
    Truncation,
    TurnDetection,
    Unchanged,
    Voice,
)
from trialogue.errors import (
    AnswerTimeout,
    ApprovalError,
    ConfigurationError,
    ConnectionLost,
    ConnectRefused,
    ConversionError,
    DelegationError,
    DrainStarted,
    HandoffError,
    HandoffLoop,
    ProtocolError,
    ResponseBusy,
    ResponseFailed,
    ServerError,
    SessionClosed,
    SessionUpdateError,
    SpendLimitReached,
    SubscriberLagged,
    ToolError,
    ToolSetError,
    TrialogueError,
)
from trialogue.realtime.azure import AzureRealtime
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.client_secrets import ClientSecret, create_client_secret
from trialogue.realtime.connection import Timing
from trialogue.realtime.credentials import Secret
from trialogue.realtime.history import History
from trialogue.realtime.limits import Limits
from trialogue.realtime.metrics import (
    Durations,
    Metrics,
    ResponseMetrics,
    SubscriberMetrics,
    TranscriptionUsage,
)
from trialogue.realtime.model import RealtimeModel
from trialogue.realtime.notices import RawServerEvent
from trialogue.realtime.openai import OpenAIRealtime
from trialogue.realtime.opening import open_session
from trialogue.realtime.replies import ReplyOutcome
from trialogue.realtime.requests import RequestReport, RequestState, UpdateReport
from trialogue.realtime.retrieving import RetrievedItem
from trialogue.realtime.session import RealtimeSession
from trialogue.realtime.settings import SessionSettings
from trialogue.realtime.spending import SpendLimit, SpendWarning
from trialogue.realtime.streaming import (
    MessageStream,
    ReplyReader,
    ReplyStream,
    StreamLimits,
)
from trialogue.realtime.wirelog import WireLog
from trialogue.realtime.wishes import ReplyOptions
from trialogue.records.report import Report
from trialogue.tools import (
    AnyTool,
    FunctionTool,
    NoReply,
    ToolSet,
    ToolSpec,
    function_tool,
    tool_set,
)

__all__ = [
    "UNCHANGED",
    "Agent",
    "AgentSession",
    "AnswerTimeout",
    "AnyTool",
    "ApprovalError",
    "ApprovalHandler",
    "AudioFormat",
    "AzureRealtime",
    "Backoff",
    "Capabilities",
    "ChatContext",
    "ClientSecret",
    "ConfigurationError",
    "ConnectRefused",
    "ConnectionLost",
    "ConversionError",
    "CustomVoice",
    "DelegationError",
    "Drain",
    "DrainReport",
    "DrainStarted",
    "Durations",
    "FunctionCall",
    "FunctionCallOutput",
    "FunctionTool",
    "Guardrail",
    "Handoff",
    "HandoffError",
    "HandoffLoop",
    "History",
    "ImageContent",
    "Limits",
    "Message",
    "MessageStream",
    "Metrics",
    "Modality",
    "NamedMCPTool",
    "NamedTool",
    "NoReply",
    "NoiseReduction",
    "OpenAIRealtime",
    "Prompt",
    "ProtocolError",
    "RawServerEvent",
    "RealtimeModel",
    "RealtimeSession",
    "ReplyOptions",
    "ReplyOutcome",
    "ReplyReader",
    "ReplyStream",
    "Report",
    "RequestReport",
    "RequestState",
    "ResponseBusy",
    "ResponseFailed",
    "ResponseMetrics",
    "RetentionRatio",
    "RetrievedItem",
    "RunContext",
    "Secret",
    "SemanticVAD",
    "ServerError",
    "ServerVAD",
    "SessionClosed",
    "SessionOptions",
    "SessionSettings",
    "SessionUpdateError",
    "SpendLimit",
    "SpendLimitReached",
    "SpendWarning",
    "StreamLimits",
    "StuckSession",
    "StuckTask",
    "SubscriberLagged",
    "SubscriberMetrics",
    "TextContent",
    "Timing",
    "ToolChoice",
    "ToolError",
    "ToolSet",
    "ToolSetError",
    "ToolSpec",
    "Tracing",
    "Transcription",
    "TranscriptionUsage",
    "TrialogueError",
    "Trip",
    "Truncation",
    "TurnDetection",
    "Unchanged",
    "UpdateReport",
    "Usage",
    "Voice",
    "WireLog",
    "create_client_secret",
    "function_tool",
    "input_guardrail",
    "last_turns",
    "open_agent_session",
    "open_session",
    "output_guardrail",
    "tool_input_guardrail",
    "tool_output_guardrail",
    "tool_set",
]

# What nobody asked to see goes nowhere, not to stderr either.
logging.getLogger("trialogue").addHandler(logging.NullHandler())
