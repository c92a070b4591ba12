"""The file of a session's wire: JSON, a line for each frame.

One form for both sides: `record` writes what a client sent and received, `python -m
trialogue serve --log` what a server did.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue._codec import dumps, loads
from trialogue.errors import TrialogueError
from trialogue.testing.connection import LogEntry
from trialogue.testing.machine.eliding import is_too_silent

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "RecordedConnection",
    "RecordedEnd",
    "RecordingError",
    "WireRecording",
    "check_event",
    "ended_line",
    "frame_line",
    "load_recording",
]

_CLOSE_CODES: Final = range(1000, 5000)
_DEEPEST: Final = 100
_LONGEST: Final = 1e9
"""Seconds; the clock of a server may be that of its machine."""


class RecordingError(TrialogueError):
    """A file is no recording of a session's wire.

    Attributes:
        path: the file.
        line: the number of the line at fault, from 1; None if there are none.
    """

    def __init__(self, message: str, *, path: Path, line: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


@attrs.frozen
class RecordedEnd:
    """The end of a connection that was lost, or closed by the server.

    Attributes:
        time: when, as in `LogEntry`.
        code: the WebSocket close code; None where there was no close frame.
        reason: the server's reason.
    """

    time: float
    code: int | None
    reason: str = ""


@attrs.frozen
class RecordedConnection:
    """One connection of a recording.

    Attributes:
        index: its number, from 0.
        entries: its frames, in order; `time` counts from the recording's beginning.
        ended: how it was lost; None if the client left it, or nothing tells.
    """

    index: int
    entries: tuple[LogEntry, ...] = attrs.field(repr=lambda held: f"<{len(held)}>")
    ended: RecordedEnd | None = None


@attrs.frozen
class WireRecording:
    """All frames of one session, read from a file.

    Attributes:
        connections: every connection, in the order in which they were opened.
        path: the file.
    """

    connections: tuple[RecordedConnection, ...]
    path: Path


def load_recording(path: str | Path) -> WireRecording:
    """Read what `record`, or `python -m trialogue serve --log`, has written.

    Each line is a JSON object with the `connection` (from 0), the `time` in seconds,
    the `direction` as the server has it ("in" from the client, "out" to it), a `note`
    of what a fault did, and the `event`. Where a connection was lost, a line has
    `ended`, with `code` and `reason`, in place of an event. Empty lines do not count.

    Raises:
        OSError: the file cannot be read.
        RecordingError: a line is none of a recording, as the last one is if the program
            that wrote it was killed; or there are none.
    """
    path = Path(path)
    entries: dict[int, list[LogEntry]] = {}
    ends: dict[int, RecordedEnd] = {}
    # By bytes: what ends a line of text for Python may stand in what somebody said.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                connection, read = _read(loads(line))
            except (ValueError, KeyError) as error:
                why = f"it has no {error}" if isinstance(error, KeyError) else error
                msg = f"{path}:{number} is no line of a recording: {why}"
                if not line.endswith(b"\n"):
                    msg += "; what was cut off can be used without its last line"
                raise RecordingError(msg, path=path, line=number) from error
            if isinstance(read, RecordedEnd):
                ends[connection] = read
            else:
                entries.setdefault(connection, []).append(read)
    if not entries:
        raise RecordingError(f"{path} has no frames: nothing was recorded", path=path)
    began = min(one[0].time for one in entries.values())
    return WireRecording(
        tuple(
            RecordedConnection(index, _since(began, found), _end(began, ends.get(key)))
            for index, (key, found) in enumerate(sorted(entries.items()))
        ),
        path,
    )


def _read(data: Any) -> tuple[int, LogEntry | RecordedEnd]:
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    connection, time = data["connection"], data["time"]
    if not (_is_count(connection) and _is_time(time)):
        raise ValueError("its connection and its time are to be numbers, from 0 on")
    if "ended" in data:
        return connection, _read_end(time, data["ended"])
    direction, event = data["direction"], data["event"]
    if direction not in ("in", "out") or not isinstance(event, dict):
        raise ValueError('its direction is to be "in" or "out", its event an object')
    check_event(event)
    return connection, LogEntry(time, direction, event, str(data.get("note", "")))


def _read_end(time: float, ended: Any) -> RecordedEnd:
    if not isinstance(ended, dict):
        raise ValueError("its end is to be an object")
    code, reason = ended["code"], ended["reason"]
    if not (code is None or (_is_count(code) and code in _CLOSE_CODES)):
        raise ValueError("the code of its end is to be a WebSocket close code, or null")
    if not isinstance(reason, str):
        raise ValueError("the reason of its end is to be a text")
    return RecordedEnd(time, code, reason)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value < _LONGEST
    )


def _since(began: float, entries: Iterable[LogEntry]) -> tuple[LogEntry, ...]:
    return tuple(attrs.evolve(entry, time=entry.time - began) for entry in entries)


def _end(began: float, ended: RecordedEnd | None) -> RecordedEnd | None:
    return None if ended is None else attrs.evolve(ended, time=ended.time - began)


def check_event(value: Any, depth: int = 0) -> None:
    """Refuse what no peer sends, before whoever works with it stumbles.

    Raises:
        ValueError: it is nested too deeply, or stands for too much sound.
    """
    if depth > _DEEPEST:
        raise ValueError(f"its event is nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            check_event(inner, depth + 1)
    elif isinstance(value, str) and is_too_silent(value):
        raise ValueError("it leaves out more sound than a frame can hold")


def frame_line(connection: int, entry: LogEntry) -> str:
    """Return the line of a frame."""
    return dumps(entry.as_json(connection)) + "\n"


def ended_line(connection: int, ended: RecordedEnd) -> str:
    """Return the line of a connection's end."""
    how = {"code": ended.code, "reason": ended.reason}
    line = {"connection": connection, "time": ended.time, "ended": how}
    return dumps(line) + "\n"
