"""The wire's items as ours (protocol §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from trialogue.conversation import items as ours
from trialogue.dialects.openai.wire import items as wire
from trialogue.dialects.openai.wire.base import Nullable, Raw, or_none
from trialogue.dialects.openai.wire.codec import unstructure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.dialects.openai._ids import Ids

__all__ = ["is_completed_call", "item_in"]

_ROLES: Final = get_args(ours.Role)
_STATUSES: Final = get_args(ours.ItemStatus)


def item_in(item: wire.Item, ids: Ids) -> ours.Item | None:
    """Return the item as ours, or None if it has no id: nothing could refer to it.

    What this library does not interpret (remote tools, unknown kinds and roles) becomes
    an `OpaqueItem` with all its data.
    """
    wire_id = item.data.get("id") if isinstance(item, Raw) else or_none(item.id)
    if not wire_id or not isinstance(wire_id, str):
        return None
    item_id = ids.back(wire_id)
    match item:
        case wire.Message() if item.role in _ROLES:
            return ours.Message(
                id=item_id,
                role=item.role,
                content=tuple(_content(item)),
                status=_status(item.status),
            )
        case wire.FunctionCall():
            return ours.FunctionCall(
                id=item_id,
                call_id=ids.back(or_none(item.call_id) or wire_id),
                name=item.name,
                arguments=item.arguments,
                status=_status(item.status),
            )
        case wire.FunctionCallOutput():
            return ours.FunctionCallOutput(
                id=item_id,
                call_id=ids.back(item.call_id),
                output=item.output,
                status=_status(item.status),
            )
        case _:
            return _opaque(item, item_id)


def is_completed_call(item: wire.Item) -> bool:
    """Tell whether the provider itself says that this is a whole call (R11)."""
    return isinstance(item, wire.FunctionCall) and item.status == "completed"


def _opaque(item: wire.Item, item_id: str) -> ours.OpaqueItem:
    data = unstructure(item)
    kind = data.get("type")
    return ours.OpaqueItem(
        id=item_id,
        type=kind if isinstance(kind, str) else "",
        data=data,
        status=_status(data.get("status")),
    )


def _status(status: Nullable[str]) -> ours.ItemStatus:
    """The status is informational (§4.1): absent or new ones do not matter."""
    return status if status in _STATUSES else "completed"  # type: ignore[return-value]


def _content(message: wire.Message) -> Iterator[ours.Content]:
    for part in message.content:
        match part:
            case wire.InputText() | wire.OutputText() | wire.Text():
                yield ours.TextContent(or_none(part.text) or "")
            case wire.InputAudio():
                yield _said_by_user(part)
            case wire.OutputAudio() | wire.Audio():
                yield _said_by_model(part, message)
            case wire.InputImage():
                yield ours.ImageContent(part.image_url, or_none(part.detail))
            case Raw(data={"text": str(text)}):
                yield ours.TextContent(text)


def _said_by_user(part: wire.InputAudio) -> ours.Content:
    # Null until transcribed, and the transcript comes when it likes (§7.4).
    words = or_none(part.transcript)
    return ours.AudioPending() if words is None else ours.AudioTranscribed(words)


def _said_by_model(
    part: wire.OutputAudio | wire.Audio, message: wire.Message
) -> ours.Content:
    words = or_none(part.transcript)
    if message.status == "in_progress":
        return ours.AudioPending(words or "")
    if words is None:
        # A truncated item has audio and no text (§9.3).
        return ours.AudioUnintelligible("the provider keeps no transcript")
    return ours.AudioTranscribed(words)
