"""A local realtime server with a script, faults on demand, and tools to test with.

The server is a product of its own: programs built on trialogue can be tested against it
without a key, a network or a real clock.
"""

from trialogue.testing.agent_run import AgentRun, Exchange
from trialogue.testing.connection import Connection, LogEntry
from trialogue.testing.cue_sheet import CueSheet
from trialogue.testing.faults import (
    Fault,
    close,
    cut,
    duplicate,
    hold,
    late,
    lose,
    refuse_connect,
    refuse_upgrade,
    reject,
    silence,
    silent_connect,
    stall,
    swallow,
)
from trialogue.testing.happenings import Happenings
from trialogue.testing.machine import (
    Committed,
    Keeping,
    Pace,
    ResponseRecord,
    Settings,
    XAIQuirks,
)
from trialogue.testing.network import Network
from trialogue.testing.observed import ModelReply, ToolCall
from trialogue.testing.running import run_agent
from trialogue.testing.scheduling import CancelAtStep, seeded
from trialogue.testing.script import (
    AsyncReply,
    Brain,
    Call,
    Fail,
    Pause,
    Reply,
    Rule,
    Rules,
    Say,
    Stop,
    Turn,
)
from trialogue.testing.scripted import Answer, ScriptError
from trialogue.testing.server import RealtimeServer, open_realtime_server
from trialogue.testing.settling import TurnUnfinished
from trialogue.testing.speech import Cue, Utterances, quiet, voice
from trialogue.testing.virtual_time import hold_clock, in_virtual_time
from trialogue.testing.watermark import Mark, config_hash, decode

__all__ = [
    "AgentRun",
    "Answer",
    "AsyncReply",
    "Brain",
    "Call",
    "CancelAtStep",
    "Committed",
    "Connection",
    "Cue",
    "CueSheet",
    "Exchange",
    "Fail",
    "Fault",
    "Happenings",
    "Keeping",
    "LogEntry",
    "Mark",
    "ModelReply",
    "Network",
    "Pace",
    "Pause",
    "RealtimeServer",
    "Reply",
    "ResponseRecord",
    "Rule",
    "Rules",
    "Say",
    "ScriptError",
    "Settings",
    "Stop",
    "ToolCall",
    "Turn",
    "TurnUnfinished",
    "Utterances",
    "XAIQuirks",
    "close",
    "config_hash",
    "cut",
    "decode",
    "duplicate",
    "hold",
    "hold_clock",
    "in_virtual_time",
    "late",
    "lose",
    "open_realtime_server",
    "quiet",
    "refuse_connect",
    "refuse_upgrade",
    "reject",
    "run_agent",
    "seeded",
    "silence",
    "silent_connect",
    "stall",
    "swallow",
    "voice",
]
