"""What a report says of an item of the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Item,
    Message,
    OpaqueItem,
)
from trialogue.records.entries import ItemRecord
from trialogue.records.wording import kept, kept_json

if TYPE_CHECKING:
    from trialogue.conversation.items import Content

__all__ = ["ItemTrace", "item_record"]

_AUDIO: Final[dict[type, Literal["transcribed", "pending", "unintelligible"]]] = {
    AudioTranscribed: "transcribed",
    AudioPending: "pending",
    AudioUnintelligible: "unintelligible",
}


@attrs.define(eq=False)
class ItemTrace:
    """An item that is in the conversation, or what is kept of one that has left it."""

    at: float
    item: Item | None
    left: ItemRecord | None = None


def item_record(
    item: Item, at: float | None = None, removed: float | None = None
) -> ItemRecord:
    """Return the record of an item that joined `at`, and perhaps left again."""
    match item:
        case Message():
            return _message(item, at, removed)
        case FunctionCall(id=item_id, call_id=call_id, name=name):
            return ItemRecord(
                id=item_id,
                kind="function_call",
                at=at,
                agent=item.agent,
                text=kept_json(item.arguments),
                status=item.status,
                call_id=call_id,
                tool=name,
                removed=removed,
            )
        case FunctionCallOutput(id=item_id, call_id=call_id):
            return ItemRecord(
                id=item_id,
                kind="function_call_output",
                at=at,
                text=kept_json(item.output),
                status=item.status,
                call_id=call_id,
                removed=removed,
            )
        case OpaqueItem(id=item_id, type=kind):
            return ItemRecord(
                id=item_id,
                kind="opaque",
                at=at,
                text=kept(kind),
                status=item.status,
                removed=removed,
            )


def _message(item: Message, at: float | None, removed: float | None) -> ItemRecord:
    sounds = [part for part in item.content if type(part) in _AUDIO]
    return ItemRecord(
        id=item.id,
        kind="message",
        at=at,
        role=item.role,
        agent=item.agent,
        text=kept(item.text),
        audio=_AUDIO[type(sounds[0])] if sounds else None,
        duration_ms=_milliseconds(item.content),
        status=item.status,
        heard_ms=item.heard_ms,
        pictures=sum(isinstance(part, ImageContent) for part in item.content),
        removed=removed,
    )


def _milliseconds(content: tuple[Content, ...]) -> int | None:
    known = [
        ms for part in content if (ms := getattr(part, "duration_ms", None)) is not None
    ]
    return sum(known) if known else None
