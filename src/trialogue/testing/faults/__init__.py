"""Things that go wrong, as data: what, on which connection, at which frame.

A fault waits for its frame and acts. It counts the frames that it matches over all
connections it applies to; `nth` says at which of them it acts, None at each. Some wait
for the age of a connection instead (`at`), and count connections.

Answers of the server are named by their type, as are requests of the client:
`swallow("session.updated")` loses an answer, `lose("session.update")` a request.
"""

from trialogue.testing.faults.actions import (
    Action,
    Close,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Expire,
    FailResponse,
    Garbage,
    HalfOpen,
    Hold,
    Reject,
    Side,
    Silence,
    Stall,
)
from trialogue.testing.faults.broken_frames import (
    BROKEN_FRAMES,
    BrokenFrame,
    beginning_of,
)
from trialogue.testing.faults.connections import (
    close,
    cut,
    expire,
    garbage,
    half_open,
    silence,
    stall,
)
from trialogue.testing.faults.dialling import (
    refuse_connect,
    refuse_upgrade,
    silent_connect,
    slow_accept,
)
from trialogue.testing.faults.fault import ConnectFault, Direction, Fault, Match
from trialogue.testing.faults.frames import (
    duplicate,
    fail_response,
    hold,
    late,
    lose,
    quota,
    reject,
    swallow,
)
from trialogue.testing.faults.mixture import Mixture, mixture
from trialogue.testing.faults.plan import AnyFault, FaultPlan

__all__ = [
    "BROKEN_FRAMES",
    "Action",
    "AnyFault",
    "BrokenFrame",
    "Close",
    "ConnectFault",
    "Cut",
    "Delay",
    "Direction",
    "Drop",
    "Duplicate",
    "Expire",
    "FailResponse",
    "Fault",
    "FaultPlan",
    "Garbage",
    "HalfOpen",
    "Hold",
    "Match",
    "Mixture",
    "Reject",
    "Side",
    "Silence",
    "Stall",
    "beginning_of",
    "close",
    "cut",
    "duplicate",
    "expire",
    "fail_response",
    "garbage",
    "half_open",
    "hold",
    "late",
    "lose",
    "mixture",
    "quota",
    "refuse_connect",
    "refuse_upgrade",
    "reject",
    "silence",
    "silent_connect",
    "slow_accept",
    "stall",
    "swallow",
]
