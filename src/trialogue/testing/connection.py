"""What a server knows of one connection, for tests to look at."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.testing.faults import Direction
from trialogue.testing.machine import Committed, Machine, ResponseRecord
from trialogue.testing.machine.eliding import without_sound

if TYPE_CHECKING:
    from trialogue.testing.machine.conversation import Conversation

__all__ = ["Connection", "LogEntry", "elided"]

_SOUNDING: Final = frozenset(
    {
        "conversation.item.create",
        "conversation.item.retrieved",
        "input_audio_buffer.append",
        "response.audio.delta",
        "response.create",
        "response.output_audio.delta",
    }
)
"""The events that may hold audio; the others are not searched for any."""


@attrs.frozen
class LogEntry:
    """One frame.

    Attributes:
        time: on the server's clock: when the frame had reached the server's logic
            ("in"), or left it ("out"); the way there and back is outside.
        direction: "in" from the client, "out" to it.
        event: the JSON object, with the length of audio in place of audio.
        note: what a fault did to it, or "".
    """

    time: float
    direction: Direction
    event: Mapping[str, Any]
    note: str = ""

    @property
    def type(self) -> str:
        """The type of the event."""
        return str(self.event.get("type", ""))

    def as_json(self, connection: int) -> dict[str, Any]:
        """Return it as a JSON object, with the index of its connection."""
        return {
            "connection": connection,
            "time": self.time,
            "direction": self.direction,
            "note": self.note,
            "event": dict(self.event),
        }


def elided(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event with audio replaced by its length."""
    return without_sound(event) if str(event.get("type")) in _SOUNDING else event


@attrs.define(eq=False, repr=False)
class Connection:
    """One connection, live or over.

    Attributes:
        index: its number, from 0.
        machine: the protocol's state.
        url: the path and query that were asked for.
        opened: when it was accepted, on the server's clock.
        entries: every frame, in the order in which the server's logic saw them, or the
            latest of them (see `Keeping`).
        counts: how many frames there were of each direction and type.
        protocol_errors: what came that is no WebSocket frame.
        close_code: with which code it ended; 1006 without a close frame; None while
            it lives.
        close_reason: the reason given.
        closed: when it ended, or None.
        pongs: how many of the server's pings were answered.
    """

    index: int
    machine: Machine
    opened: float
    url: str = ""
    entries: deque[LogEntry] = attrs.field(factory=deque)
    counts: Counter[tuple[Direction, str]] = attrs.field(factory=Counter)
    protocol_errors: list[str] = attrs.field(factory=list)
    close_code: int | None = None
    close_reason: str = ""
    closed: float | None = None
    pongs: int = 0

    def __repr__(self) -> str:
        state = "live" if self.closed is None else f"closed {self.close_code}"
        return f"<Connection {self.index} {state} frames={len(self.entries)}>"

    def note(self, entry: LogEntry) -> None:
        """Write a frame down."""
        self.entries.append(entry)
        kind = entry.direction, entry.type
        self.counts[kind] = self.counts.get(kind, 0) + 1

    @property
    def audio(self) -> bytes:
        """All input audio as it came, or the latest of it, as 24 kHz PCM."""
        return self.machine.audio

    @property
    def committed(self) -> list[Committed]:
        """Every user turn that was committed, in order, or the latest."""
        return self.machine.committed

    @property
    def responses(self) -> list[ResponseRecord]:
        """Every response, in order, or the latest."""
        return self.machine.responses

    @property
    def conversation(self) -> Conversation:
        """The conversation as the server holds it."""
        return self.machine.conversation

    def find(self, type: str, direction: Direction | None = None) -> list[LogEntry]:  # noqa: A002
        """Return the frames of that type, faults or not."""
        return [
            entry
            for entry in self.entries
            if entry.type == type and direction in (None, entry.direction)
        ]

    def types(self, direction: Direction) -> list[str]:
        """Return the types of all frames of that direction, in order."""
        return [entry.type for entry in self.entries if entry.direction == direction]

    def report(self) -> Iterator[dict[str, Any]]:
        """Yield the log as JSON objects, one per frame."""
        for entry in self.entries:
            yield entry.as_json(self.index)
