"""Which frames belong to the handoff, and to which of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from faults.cast import COMPLAINTS, REFUNDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trialogue.testing import LogEntry

__all__ = ["STEPS", "Aim"]

STEPS: Final = {
    "call": "the call is announced",
    "call over": "the response that calls has ended",
    "update": "the update is read",
    "output": "the call's output is read",
    "create": "the request for the reply is read",
    "created": "the reply begins",
    "first sound": "the reply's first sound leaves",
    "sound": "a good part of the reply has left",
}
"""The moments, in order, at which a caller can speak, or a program leave."""

_MUCH: Final = 4


@attrs.define(eq=False)
class Aim:
    """Knows the frames of the handoff, once the model has called the tool.

    Attributes:
        calling: the response that calls it; None before.
        reached: the steps that have been, in order.
    """

    calling: str | None = None
    reached: list[str] = attrs.field(factory=list)
    _sounds: int = 0

    # --- requests --------------------------------------------------------------

    def update(self, event: Mapping[str, Any]) -> bool:
        """Whether a session becomes, or became, that of the next agent."""
        instructions = str((event.get("session") or {}).get("instructions") or "")
        return self.calling is not None and (
            REFUNDS in instructions or COMPLAINTS in instructions
        )

    def output(self, event: Mapping[str, Any]) -> bool:
        """Whether an item is the output of the call."""
        item = event.get("item") or {}
        return self.calling is not None and item.get("type") == "function_call_output"

    def create(self, event: Mapping[str, Any]) -> bool:
        """Whether a reply is asked for after the call."""
        return self.calling is not None

    # --- answers ---------------------------------------------------------------

    def of_call(self, event: Mapping[str, Any]) -> bool:
        """Whether it is about the response that calls."""
        return self.calling is not None and self._response(event) == self.calling

    def of_reply(self, event: Mapping[str, Any]) -> bool:
        """Whether it is about a response after the one that calls."""
        return self.calling is not None and self._response(event) != self.calling

    @staticmethod
    def _response(event: Mapping[str, Any]) -> Any:
        response = event.get("response") or {}
        return event.get("response_id") or response.get("id")

    # --- steps -----------------------------------------------------------------

    def step(self, entry: LogEntry) -> str | None:
        """Return which step is reached with a frame, if it is for the first time."""
        name = self._name(entry)
        if name is None or name in self.reached:
            return None
        self.reached.append(name)
        return name

    def _name(self, entry: LogEntry) -> str | None:
        kind, event = entry.type, entry.event
        if kind == "response.output_item.added" and self.of_call(event):
            return "call"
        if kind == "response.done" and self.of_call(event):
            return "call over"
        if kind == "session.update" and self.update(event):
            return "update"
        if kind == "conversation.item.create" and self.output(event):
            return "output"
        if kind == "response.create" and self.create(event):
            return "create"
        if kind == "response.created" and self.of_reply(event):
            return "created"
        if kind == "response.output_audio.delta" and self.of_reply(event):
            self._sounds += 1
            return "sound" if self._sounds >= _MUCH else "first sound"
        return None
