"""Transcripts of the user as xAI tells them (protocol §15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.testing.machine.quirks import XAIQuirks

__all__ = ["Transcripts"]

PARTIAL_MODEL: Final = "grok-transcribe"


class Transcripts:
    """Turns deltas into the text so far, and says more than once that it is complete.

    Args:
        quirks: whether it does.
    """

    def __init__(self, quirks: XAIQuirks) -> None:
        self._quirks = quirks
        self._so_far: dict[str, str] = {}

    def told(
        self, event: dict[str, Any], transcription: dict[str, Any] | None
    ) -> Iterator[dict[str, Any]]:
        """Yield what is said instead; an event without an id is to be given one."""
        kind, item_id = event["type"], event["item_id"]
        if kind.endswith(".delta") and self._quirks.updated_transcripts:
            so_far = self._so_far.get(item_id, "") + event["delta"]
            self._so_far[item_id] = so_far
            if (transcription or {}).get("model") == PARTIAL_MODEL:
                updated = {name: event[name] for name in event if name != "delta"}
                updated["type"] = kind.replace(".delta", ".updated")
                yield {**updated, "transcript": so_far}
            return
        self._so_far.pop(item_id, None)
        if kind.endswith(".completed") and self._quirks.repeated_completed:
            begun = event["transcript"].rpartition(" ")[0]
            early = {"transcript": begun, "status": "in_progress", "event_id": None}
            yield {**event, **early}
            event = {**event, "status": "completed"}
        yield event
