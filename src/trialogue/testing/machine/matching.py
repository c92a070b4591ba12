"""What a client sends, held against what it sent when it was recorded.

A client makes ids up: of its events, of the items it creates, of the replies it asks
for. They differ from run to run, so each id of the recording is matched with the one
that stands in its place now, and put there in whatever is served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from trialogue.dialects.openai._outgoing import METADATA_KEY

__all__ = ["Difference", "Matching", "is_id", "made_by_clients"]

_MISSING: Final = object()
_VOLATILE: Final = frozenset({"event_id"})
"""Ids that a client may give, or not."""


@attrs.frozen
class Difference:
    """Where two frames are not the same.

    Attributes:
        path: the field.
        expected: its value in the recording; None if it is not there.
        got: its value now; None if it is not there.
    """

    path: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return (
            f"{self.path or 'the frame'}: expected {self.expected!r}, got {self.got!r}"
        )


def is_id(name: str) -> bool:
    """Whether a field of that name holds an id."""
    return name == "id" or name.endswith("_id") or name == METADATA_KEY


def made_by_clients(events: Iterable[tuple[str, Mapping[str, Any]]]) -> set[str]:
    """Return the ids that a client was the first to name, of (direction, event)."""
    first: dict[str, str] = {}
    for direction, event in events:
        for text in _ids(event):
            first.setdefault(text, direction)
    return {text for text, direction in first.items() if direction == "in"}


def _ids(value: Any, name: str = "") -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _ids(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _ids(inner)
    elif isinstance(value, str) and is_id(name):
        yield value


class Matching:
    """Which id of this run stands for which of the recording.

    Args:
        free: the ids of the recording that a client made up.
    """

    def __init__(self, free: set[str]) -> None:
        self._free = free
        self._now: dict[str, str] = {}
        self._then: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Matching ids={len(self._now)} of {len(self._free)}>"

    def difference(self, recorded: Any, actual: Any) -> Difference | None:
        """Return the first difference of two frames, and match their ids."""
        return self._compare(recorded, actual, "", "")

    def _compare(self, then: Any, now: Any, path: str, name: str) -> Difference | None:
        if isinstance(then, Mapping) and isinstance(now, Mapping):
            for key in [*then, *(key for key in now if key not in then)]:
                if key in _VOLATILE and not (key in then and key in now):
                    continue
                inner = f"{path}.{key}" if path else key
                one, other = then.get(key, _MISSING), now.get(key, _MISSING)
                found = self._compare(one, other, inner, key)
                if found is not None:
                    return found
            return None
        if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
            pairs = zip(then, now, strict=True)
            each = (
                self._compare(one, other, f"{path}[{at}]", "")
                for at, (one, other) in enumerate(pairs)
            )
            return next((found for found in each if found is not None), None)
        if then == now and type(then) is type(now):
            self._bind(then, now, name)
            return None
        if self._bind(then, now, name):
            return None
        return Difference(path, _or_none(then), _or_none(now))

    def _bind(self, then: Any, now: Any, name: str) -> bool:
        """Whether these ids are the same, now that they are seen together."""
        if not (is_id(name) and isinstance(then, str) and isinstance(now, str)):
            return False
        if then in self._now or now in self._then:
            return self._now.get(then) == now
        if then in self._free:
            self._now[then], self._then[now] = now, then
        return then == now or then in self._free

    def served(self, event: Any, name: str = "") -> Any:
        """Return a frame of the recording with the ids of this run."""
        if isinstance(event, Mapping):
            return {key: self.served(inner, key) for key, inner in event.items()}
        if isinstance(event, list):
            return [self.served(inner) for inner in event]
        if isinstance(event, str):
            if is_id(name):
                return self._now.get(event, event)
            if name == "message":  # errors quote ids
                for then, now in self._now.items():
                    if then != now:
                        event = event.replace(then, now)
        return event


def _or_none(value: Any) -> Any:
    return None if value is _MISSING else value
