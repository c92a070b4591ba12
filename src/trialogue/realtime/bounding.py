"""Keeping what a provider sends within the limits, event by event."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import attrs

from trialogue.dialects.events import (
    CallReady,
    ItemAdded,
    ItemDone,
    OutputAudio,
    OutputItemAdded,
    OutputItemDone,
    OutputText,
    OutputTextEnded,
    ResponseDone,
    TranscriptDelta,
    TranscriptDone,
)
from trialogue.realtime.limits import CUT, Limits

if TYPE_CHECKING:
    from trialogue.dialects.events import Event

__all__ = ["Bounding"]

WATCHED = 64
"""Texts that may grow at the same time; of more, the one idle longest is forgotten."""


class Bounding:
    """Cuts texts that grow, or arrive, beyond the limits. Sans-IO.

    An event within the limits passes as the same object.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._grown: OrderedDict[tuple[str, int], int] = OrderedDict()

    def __len__(self) -> int:
        """How many growing texts are remembered."""
        return len(self._grown)

    def bounded(self, event: Event) -> Event:
        """Return the event as it may be recorded and handed on."""
        cut_item = self._limits.cut_item
        match event:
            case OutputAudio():
                return event
            case OutputText() | TranscriptDelta():
                return self._delta(event)
            case OutputTextEnded(text=text) | TranscriptDone(text=text):
                short = self._limits.cut(text)
                return event if short is text else attrs.evolve(event, text=short)
            case ItemAdded() | ItemDone() | OutputItemAdded() | OutputItemDone():
                item = cut_item(event.item)
                return event if item is event.item else attrs.evolve(event, item=item)
            case CallReady(call=call):
                kept = self._limits.cut_call(call)
                return event if kept is call else attrs.evolve(event, call=kept)
            case ResponseDone(items=items):
                kept_items = tuple(map(cut_item, items))
                same = all(a is b for a, b in zip(items, kept_items, strict=True))
                return event if same else attrs.evolve(event, items=kept_items)
            case _:
                return event

    def _delta(self, event: OutputText | TranscriptDelta) -> Event:
        if isinstance(event, TranscriptDelta) and event.cumulative:
            short = self._limits.cut(event.text)
            return event if short is event.text else attrs.evolve(event, text=short)
        key = event.item_id, event.content_index
        before = self._grown.pop(key, 0)
        after = before + len(event.text)
        self._grown[key] = after
        if len(self._grown) > WATCHED:
            self._grown.popitem(last=False)
        room = self._limits.max_item_chars - len(CUT)
        if after <= room:
            return event
        # The notice is written once, by the piece that goes over the bound.
        notice = CUT if before <= room else ""
        return attrs.evolve(event, text=event.text[: max(0, room - before)] + notice)
