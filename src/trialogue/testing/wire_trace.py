"""What went over the wire, to ask about and to make demands of.

The types of the protocol say who sends them, so that a frame is named by its type alone
where an order is demanded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from trialogue._codec import dumps
from trialogue.realtime.redaction import redacted

if TYPE_CHECKING:
    from trialogue.testing.connection import LogEntry

__all__ = ["WireTrace", "is_within"]

_WITHHELD: Final = frozenset({"drop", "unsent", "reject"})
_SOUND: Final = (
    "input_audio_buffer.append",
    "response.output_audio.delta",
    "response.audio.delta",
)
_WIDTH: Final = 120
_SHOWN: Final = 60

_ANSWERS: Final = {
    "conversation.item.create": "conversation.item.added",
    "conversation.item.delete": "conversation.item.deleted",
    "conversation.item.truncate": "conversation.item.truncated",
    "session.update": "session.updated",
    "response.create": "response.created",
    "input_audio_buffer.commit": "input_audio_buffer.committed",
    "input_audio_buffer.clear": "input_audio_buffer.cleared",
}


_BETA: Final = {"conversation.item.added": "conversation.item.created"}
"""What an answer was called in the beta."""


class Traced(Protocol):
    """A `Connection` of a server, or one of a recording."""

    @property
    def index(self) -> int: ...

    @property
    def entries(self) -> Iterable[LogEntry]: ...


class Traceable(Protocol):
    """A `RealtimeServer`, or a `WireRecording`."""

    @property
    def connections(self) -> Sequence[Traced]: ...


class WireTrace:
    """The frames of a server, of one of its connections, or of a recording.

    It looks at the log whenever it is asked, so that it can be made before anything has
    happened. A demand that fails is an AssertionError that shows the trace. What a
    fault has withheld from the client was not received; sound is left out of what is
    shown.

    Args:
        source: a `RealtimeServer`, a `Connection`, or what `load_recording` returns.
    """

    def __init__(self, source: Traceable | Traced) -> None:
        self._source = source

    def __repr__(self) -> str:
        return f"<WireTrace frames={len(self.entries)} of {self._source!r}>"

    def __str__(self) -> str:
        return "\n".join(_shown(self._numbered())) or "  nothing"

    @property
    def entries(self) -> list[LogEntry]:
        """Every frame, in the order of time."""
        return [entry for _, entry in self._numbered()]

    def _numbered(self) -> list[tuple[int, LogEntry]]:
        source: Any = self._source
        whole = hasattr(source, "connections")
        found: Sequence[Traced] = source.connections if whole else [source]
        every = [(one.index, entry) for one in found for entry in one.entries]
        return sorted(every, key=lambda pair: pair[1].time)

    # --- asking --------------------------------------------------------------

    def sent(self, type: str | None = None, **fields: Any) -> list[LogEntry]:  # noqa: A002
        """Return what the client sent, of that type, with these fields.

        A field given as an object demands what it names, and lets others be:
        `trace.sent("conversation.item.create", item={"role": "user"})`.
        """
        return self._found("in", type, fields)

    def received(self, type: str | None = None, **fields: Any) -> list[LogEntry]:  # noqa: A002
        """Return what the client was sent, of that type, with these fields."""
        return self._found("out", type, fields)

    def _found(
        self, direction: str, kind: str | None, fields: Mapping[str, Any]
    ) -> list[LogEntry]:
        return [
            entry
            for entry in self.entries
            if entry.direction == direction
            and kind in (None, entry.type)
            and not _withheld(entry)
            and is_within(fields, entry.event)
        ]

    # --- demanding -----------------------------------------------------------

    def assert_sent(
        self,
        type: str,  # noqa: A002
        *,
        times: int | None = None,
        **fields: Any,
    ) -> list[LogEntry]:
        """Demand that the client sent it, at least once or so many times; return it.

        Raises:
            AssertionError: it did not.
        """
        __tracebackhide__ = True
        return self._demand("sent", self.sent(type, **fields), type, fields, times)

    def assert_not_sent(self, type: str, **fields: Any) -> None:  # noqa: A002
        """Demand that the client never sent it.

        Raises:
            AssertionError: it did.
        """
        __tracebackhide__ = True
        self._demand("sent", self.sent(type, **fields), type, fields, 0)

    def assert_received(
        self,
        type: str,  # noqa: A002
        *,
        times: int | None = None,
        **fields: Any,
    ) -> list[LogEntry]:
        """Demand that the client was sent it, at least once or so often; return it.

        Raises:
            AssertionError: it was not.
        """
        __tracebackhide__ = True
        found = self.received(type, **fields)
        return self._demand("received", found, type, fields, times)

    def _demand(
        self,
        verb: str,
        found: list[LogEntry],
        kind: str,
        fields: Mapping[str, Any],
        times: int | None,
    ) -> list[LogEntry]:
        __tracebackhide__ = True
        if len(found) == times or (times is None and found):
            return found
        what = f"{kind} with {_short(dumps(dict(fields)))}" if fields else kind
        wanted = "at least once" if times is None else _times(times)
        self._fail(f"{what} was to be {verb} {wanted}, and was {_times(len(found))}")

    def assert_order(self, *types: str) -> None:
        """Demand that frames of these types passed in this order, others between.

        Raises:
            AssertionError: they did not; the text says which one is missing.
        """
        __tracebackhide__ = True
        passed = iter(entry.type for entry in self.entries if not _withheld(entry))
        for at, kind in enumerate(types):
            if kind not in passed:  # goes on where it left off
                behind = f" behind {', '.join(types[:at])}" if at else ""
                self._fail(f"there is no {kind}{behind}")

    def assert_no_error(self) -> None:
        """Demand that the server sent no `error`, and no response failed.

        Raises:
            AssertionError: it did.
        """
        __tracebackhide__ = True
        failed = self.received("response.done", response={"status": "failed"})
        errors = self.received("error")
        if errors:
            error = errors[0].event.get("error")
            found = error if isinstance(error, Mapping) else {}
            self._fail(f"the server sent an error: {found.get('message', errors[0])}")
        if failed:
            self._fail(f"a response failed: {failed[0].event['response']}")

    def assert_acknowledged(self, *types: str) -> None:
        """Demand that each such request got its answer; of all types, if none is named.

        Items are found by their ids; updates, replies, commits and clears are answered
        in their order, so that of these the number counts, and so it does of items
        that have no id. An answer is looked for on the connection of its request.

        Raises:
            AssertionError: one got none.
        """
        __tracebackhide__ = True
        for kind in types or _ANSWERS:
            if kind not in _ANSWERS:
                those = [*_ANSWERS]
                msg = f"{kind} has no answer of its own; those that have are {those}"
                raise ValueError(msg)
            missing = self._unanswered(kind, _ANSWERS[kind])
            if missing:
                self._fail(f"{kind} has no {_ANSWERS[kind]}: {_line(missing[0])}")

    def _unanswered(self, kind: str, answer: str) -> list[LogEntry]:
        every = self._numbered()
        asked = [(n, e) for n, e in every if e.direction == "in" and e.type == kind]
        names = (answer, _BETA.get(answer))
        told = [(n, e) for n, e in every if e.type in names and not _withheld(e)]
        named = {(n, _item_of(e)) for n, e in asked}
        found = {(n, _item_of(e)) for n, e in told}
        # Where one of the two names no item, like answers like, and each but one.
        left = Counter(
            (n, _like(e) if _item_of(e) else None)
            for n, e in told
            if not _item_of(e) or (n, _item_of(e)) not in named
        )
        missing = []
        for number, entry in asked:
            item_id = _item_of(entry)
            if item_id and (number, item_id) in found:
                continue
            like = number, None if item_id else _like(entry)
            left[like] -= 1
            if left[like] < 0:
                missing.append(entry)
        return missing

    def _fail(self, what: str) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError(f"{what}\nwhat went over the wire:\n{self}")


def is_within(wanted: Any, found: Any) -> bool:
    """Whether all that is wanted is found; objects may have more."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and is_within(value, found[key])
            for key, value in wanted.items()
        )
    return bool(wanted == found)


def _withheld(entry: LogEntry) -> bool:
    """Whether a fault has kept it from the client; what that sent, it has sent."""
    return entry.direction == "out" and not _WITHHELD.isdisjoint(entry.note.split())


def _item_of(entry: LogEntry) -> Any:
    item = entry.event.get("item")
    return item.get("id") if isinstance(item, Mapping) else entry.event.get("item_id")


def _like(entry: LogEntry) -> Any:
    """What an item is, if there is one, whatever it is called."""
    item = entry.event.get("item")
    return (item.get("type"), item.get("role")) if isinstance(item, Mapping) else None


def _times(count: int) -> str:
    return {0: "not at all", 1: "once"}.get(count, f"{count} times")


def _shown(entries: Sequence[tuple[int, LogEntry]]) -> Iterator[str]:
    """A line for each frame that is no sound; the last of them, if there are many."""
    several = len({number for number, _ in entries}) > 1
    lines = [
        f"  {f'[{number}] ' if several else ''}{_line(entry)}"
        for number, entry in entries
        if entry.type not in _SOUND or entry.note
    ]
    if len(lines) > _SHOWN:
        yield f"  … {len(lines) - _SHOWN} lines before"
    yield from lines[-_SHOWN:]


def _line(entry: LogEntry) -> str:
    arrow = ">" if entry.direction == "in" else "<"
    event = {k: v for k, v in entry.event.items() if k not in ("type", "event_id")}
    fault = f" [{entry.note}]" if entry.note else ""
    shown = redacted(dumps({"type": entry.type, **event}), texts=True)
    return _short(f"{arrow} {entry.type}{fault} {_without_type(shown)}".rstrip())


def _without_type(shown: str) -> str:
    _, _, rest = shown.partition(",")
    return f"{{{rest}" if rest else ""


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
