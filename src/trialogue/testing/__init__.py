"""A local realtime server with a script, faults on demand, and tools to test with.

The server is a product of its own: programs built on trialogue can be tested against it
without a key, a network or a real clock.
"""

from trialogue.testing.agent_run import AgentRun, Exchange
from trialogue.testing.connection import Connection, LogEntry
from trialogue.testing.cue_sheet import CueSheet
from trialogue.testing.faults import (
    ConnectFault,
    Fault,
    Mixture,
    close,
    cut,
    duplicate,
    expire,
    fail_response,
    garbage,
    half_open,
    hold,
    late,
    lose,
    mixture,
    quota,
    refuse_connect,
    refuse_upgrade,
    reject,
    silence,
    silent_connect,
    slow_accept,
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
from trialogue.testing.machine.matching import Difference
from trialogue.testing.machine.mismatch import ReplayMismatch
from trialogue.testing.network import Network
from trialogue.testing.observed import ModelReply, ToolCall
from trialogue.testing.recording import Recording, record
from trialogue.testing.replay import ReplayServer, replay
from trialogue.testing.running import run_agent
from trialogue.testing.scenarios import Scenario, dump_scenario, load_scenario
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
from trialogue.testing.wire_file import (
    RecordedConnection,
    RecordedEnd,
    RecordingError,
    WireRecording,
    load_recording,
)
from trialogue.testing.wire_trace import WireTrace

__all__ = [
    "AgentRun",
    "Answer",
    "AsyncReply",
    "Brain",
    "Call",
    "CancelAtStep",
    "Committed",
    "ConnectFault",
    "Connection",
    "Cue",
    "CueSheet",
    "Difference",
    "Exchange",
    "Fail",
    "Fault",
    "Happenings",
    "Keeping",
    "LogEntry",
    "Mark",
    "Mixture",
    "ModelReply",
    "Network",
    "Pace",
    "Pause",
    "RealtimeServer",
    "RecordedConnection",
    "RecordedEnd",
    "Recording",
    "RecordingError",
    "ReplayMismatch",
    "ReplayServer",
    "Reply",
    "ResponseRecord",
    "Rule",
    "Rules",
    "Say",
    "Scenario",
    "ScriptError",
    "Settings",
    "Stop",
    "ToolCall",
    "Turn",
    "TurnUnfinished",
    "Utterances",
    "WireRecording",
    "WireTrace",
    "XAIQuirks",
    "close",
    "config_hash",
    "cut",
    "decode",
    "dump_scenario",
    "duplicate",
    "expire",
    "fail_response",
    "garbage",
    "half_open",
    "hold",
    "hold_clock",
    "in_virtual_time",
    "late",
    "load_recording",
    "load_scenario",
    "lose",
    "mixture",
    "open_realtime_server",
    "quiet",
    "quota",
    "record",
    "refuse_connect",
    "refuse_upgrade",
    "reject",
    "replay",
    "run_agent",
    "seeded",
    "silence",
    "silent_connect",
    "slow_accept",
    "stall",
    "swallow",
    "voice",
]
