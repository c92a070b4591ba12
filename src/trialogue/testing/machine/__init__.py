"""The server's side of the protocol without I/O: one state machine per connection."""

from trialogue.testing.machine.connection import Machine
from trialogue.testing.machine.keeping import Keeping
from trialogue.testing.machine.outputs import Hangup, Output
from trialogue.testing.machine.quirks import XAIQuirks
from trialogue.testing.machine.records import Committed, ResponseRecord
from trialogue.testing.machine.settings import Pace, Settings

__all__ = [
    "Committed",
    "Hangup",
    "Keeping",
    "Machine",
    "Output",
    "Pace",
    "ResponseRecord",
    "Settings",
    "XAIQuirks",
]
