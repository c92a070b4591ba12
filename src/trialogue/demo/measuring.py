"""What one handoff came to, from the server's own stamps.

Nothing here does I/O: frames with stamps in, figures out.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from trialogue.demo.server_log import Stamped, makes_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trialogue.agents.events import HandoffTimings

__all__ = ["COLUMNS", "Mode", "Row", "row_of"]

CONNECT_ROUND_TRIPS: Final = 3
"""What the local server charges for connecting: TCP, TLS, and the upgrade."""

COLUMNS: Final = """\
Every handoff is made by a tool. The clock of a row starts when the response.done of the
response that calls it leaves the server. From the server's own stamps, unless it says
"client":

  connect_ms       what connecting costs at that distance: three round trips
  handoff_ms       until the session.update with the new agent's instructions and tools
                   reaches the server
  acknowledged_ms  client: from the decision to reading the session.updated
  reply_ms         until the new agent's response.create reaches the server
  budget           not in the JSON: what reply_ms may come to. On reuse that is 1.10
                   round trips + 10 ms, on fresh 1.10 x (connect + 1 round trip) + 15 ms
  first_audio_ms   until the first audio of that response leaves the server, which
                   thinks for 50 ms
  connections      opened for the handoff
  messages         sent for it, up to the first audio, without user audio
  session_updates  of those, how many are session.update
  acknowledged     n/m: of m updates, and items created or deleted, n were answered
"""
"""What the columns of the table mean."""

_Key: TypeAlias = tuple[int, str, str]

_ANSWERS: Final = {
    "session.update": "session.updated",
    "conversation.item.create": "conversation.item.added",
    "conversation.item.delete": "conversation.item.deleted",
}


@attrs.frozen
class Mode:
    """How to hand over.

    Attributes:
        reuse: on the session that there is, or on a fresh connection.
        copy: with the conversation so far, or with an empty one.
    """

    reuse: bool
    copy: bool

    def __str__(self) -> str:
        first = "reuse" if self.reuse else "fresh"
        return f"{first} {'copy' if self.copy else 'empty'}"


@attrs.frozen
class Row:
    """One line of the table; times in milliseconds, see `COLUMNS`.

    Attributes:
        burst: the types of the frames that the handoff sent up to the
            `response.create`, in order.
    """

    mode: str
    rtt_ms: float
    connect_ms: float
    handoff_ms: float
    acknowledged_ms: float
    reply_ms: float
    first_audio_ms: float
    connections: int
    messages: int
    session_updates: int
    acknowledged: str
    burst: tuple[str, ...] = ()

    @property
    def budget_ms(self) -> float:
        """What `reply_ms` may come to on this way of handing over."""
        if self.mode.startswith("reuse"):
            return 1.10 * self.rtt_ms + 10
        return 1.10 * (self.connect_ms + self.rtt_ms) + 15

    def to_json(self) -> dict[str, Any]:
        """Return the row for the JSON file; a time that never came is null."""
        row = attrs.asdict(self)
        del row["burst"]
        return {
            name: _finite(value) if name.endswith("_ms") else value
            for name, value in row.items()
        }


def _finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None


def row_of(
    mode: Mode, rtt_ms: float, log: Sequence[Stamped], timings: HandoffTimings
) -> Row:
    """Work out the figures of a handoff.

    Args:
        mode: how it was made.
        rtt_ms: how far away the server was.
        log: all frames of its session, in the order of their stamps.
        timings: what the client said of it.

    Raises:
        ValueError: no response in the log calls a tool.
    """
    at = next((n for n, entry in enumerate(log) if makes_call(entry.event)), None)
    if at is None:
        raise ValueError("no response in the server's log calls a tool")
    start, after = log[at].time, log[at + 1 :]
    create = _first(after, "response.create")
    audio = _first(_since(after, create), "response.output_audio.delta")
    sent = [
        entry
        for entry in _until(after, audio)
        if entry.incoming and entry.type != "input_audio_buffer.append"
    ]
    return Row(
        mode=str(mode),
        rtt_ms=rtt_ms,
        connect_ms=CONNECT_ROUND_TRIPS * rtt_ms,
        handoff_ms=_ms(start, _first(after, "session.update")),
        acknowledged_ms=_acknowledged_ms(timings),
        reply_ms=_ms(start, create),
        first_audio_ms=_ms(start, audio),
        connections=len({e.connection for e in log} - {e.connection for e in log[:at]}),
        messages=len(sent),
        session_updates=sum(entry.type == "session.update" for entry in sent),
        acknowledged=_acknowledged(sent, after),
        burst=tuple(entry.type for entry in _until(sent, create)),
    )


def _first(log: Iterable[Stamped], kind: str) -> Stamped | None:
    return next((entry for entry in log if entry.type == kind), None)


def _since(log: Iterable[Stamped], entry: Stamped | None) -> list[Stamped]:
    if entry is None:
        return []
    return [e for e in log if e.connection == entry.connection and e.time >= entry.time]


def _until(log: Iterable[Stamped], entry: Stamped | None) -> list[Stamped]:
    """Return what came no later than an entry; everything if there is none."""
    end = math.inf if entry is None else entry.time
    return [e for e in log if e.time <= end]


def _ms(start: float, entry: Stamped | None) -> float:
    return math.nan if entry is None else (entry.time - start) * 1000


def _acknowledged_ms(timings: HandoffTimings) -> float:
    if timings.acknowledged is None:
        return math.nan
    return (timings.acknowledged - timings.committed) * 1000


def _acknowledged(sent: Iterable[Stamped], after: Sequence[Stamped]) -> str:
    """Count requests that are answered one by one, and those that were.

    An answer that the server withheld still uses up its request: the next one is not
    taken for it.
    """
    answers: defaultdict[_Key, deque[Stamped]] = defaultdict(deque)
    for entry in after:
        if not entry.incoming:
            answers[entry.connection, entry.type, _item_id(entry)].append(entry)
    asked = [key for entry in sent if (key := _awaited(entry)) is not None]
    given = [answers[key].popleft() for key in asked if answers[key]]
    return f"{sum(not answer.lost for answer in given)}/{len(asked)}"


def _awaited(entry: Stamped) -> _Key | None:
    """Return where the answer to this request is found, if it is answered by itself."""
    answer = _ANSWERS.get(entry.type)
    return None if answer is None else (entry.connection, answer, _item_id(entry))


def _item_id(entry: Stamped) -> str:
    item = entry.event.get("item") or {}
    return str(entry.event.get("item_id") or item.get("id") or "")
