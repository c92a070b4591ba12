"""Realtime speech-to-speech agents on Trio.

A person and a cast of agents talk over one realtime model session, which outlives every
agent. `open_agent_session` opens the conversation; an agent hands over by returning
another one from a tool.
"""

from __future__ import annotations

from trialogue._version import __version__ as __version__
from trialogue.agents.agent import Agent, Handoff
from trialogue.agents.run_context import RunContext
from trialogue.agents.session import AgentSession, open_agent_session
from trialogue.conversation.context import ChatContext
from trialogue.conversation.items import (
    FunctionCall,
    FunctionCallOutput,
    Message,
)
from trialogue.dialects.dialect import Capabilities
from trialogue.dialects.options import (
    UNCHANGED,
    NamedTool,
    NoiseReduction,
    SemanticVAD,
    ServerVAD,
    SessionOptions,
    Transcription,
)
from trialogue.errors import (
    ConfigurationError,
    ConnectionLost,
    ConnectRefused,
    ConversionError,
    HandoffError,
    HandoffLoop,
    ProtocolError,
    ResponseBusy,
    ResponseFailed,
    ServerError,
    SessionClosed,
    SessionUpdateError,
    SubscriberLagged,
    ToolError,
    TrialogueError,
)
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.connection import Timing
from trialogue.realtime.history import History
from trialogue.realtime.ledger import RequestReport, RequestState, UpdateReport
from trialogue.realtime.model import RealtimeModel
from trialogue.realtime.openai import OpenAIRealtime
from trialogue.realtime.opening import open_session
from trialogue.realtime.replies import ReplyOutcome
from trialogue.realtime.session import RealtimeSession
from trialogue.tools import FunctionTool, NoReply, ToolSpec, function_tool

__all__ = [
    "UNCHANGED",
    "Agent",
    "AgentSession",
    "Backoff",
    "Capabilities",
    "ChatContext",
    "ConfigurationError",
    "ConnectRefused",
    "ConnectionLost",
    "ConversionError",
    "FunctionCall",
    "FunctionCallOutput",
    "FunctionTool",
    "Handoff",
    "HandoffError",
    "HandoffLoop",
    "History",
    "Message",
    "NamedTool",
    "NoReply",
    "NoiseReduction",
    "OpenAIRealtime",
    "ProtocolError",
    "RealtimeModel",
    "RealtimeSession",
    "ReplyOutcome",
    "RequestReport",
    "RequestState",
    "ResponseBusy",
    "ResponseFailed",
    "RunContext",
    "SemanticVAD",
    "ServerError",
    "ServerVAD",
    "SessionClosed",
    "SessionOptions",
    "SessionUpdateError",
    "SubscriberLagged",
    "Timing",
    "ToolError",
    "ToolSpec",
    "Transcription",
    "TrialogueError",
    "UpdateReport",
    "function_tool",
    "open_agent_session",
    "open_session",
]
