"""Our items as the wire takes them (protocol §4): words only, ids within the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trialogue.conversation import items as ours
from trialogue.dialects.openai.wire import items as wire
from trialogue.dialects.openai.wire.base import UNSET
from trialogue.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.dialects.openai._ids import Ids

__all__ = ["UNINTELLIGIBLE", "item_out", "reference_or_item_out"]

UNINTELLIGIBLE: Final = "[unintelligible]"


def item_out(item: ours.Item, ids: Ids) -> wire.Item:
    """Return the item as it is created on the wire.

    Raises:
        ConversionError: it has no content, or content or a kind that a client may not
            create.
    """
    match item:
        case ours.Message():
            return _message(item, ids)
        case ours.FunctionCall():
            return wire.FunctionCall(
                id=ids.out(item.id),
                call_id=ids.out(item.call_id),
                name=item.name,
                arguments=item.arguments,
            )
        case ours.FunctionCallOutput():
            return wire.FunctionCallOutput(
                id=ids.out(item.id),
                call_id=ids.out(item.call_id),
                output=item.output,
            )
        case ours.OpaqueItem():
            return _opaque(item, ids)


def reference_or_item_out(item: ours.Item, ids: Ids) -> wire.Item:
    """Return the item as it stands in the input of a response.

    There an `OpaqueItem` of type "item_reference" names an item of the conversation.
    """
    if isinstance(item, ours.OpaqueItem) and item.type == "item_reference":
        return wire.ItemReference(id=ids.out(item.id))
    return item_out(item, ids)


def _message(message: ours.Message, ids: Ids) -> wire.Message:
    content = tuple(_parts(message))
    if not content:
        raise ConversionError(
            f"message {message.id!r} has no content: an empty message is never sent; "
            "give it text, or leave it out"
        )
    return wire.Message(id=ids.out(message.id), role=message.role, content=content)


def _parts(message: ours.Message) -> Iterator[wire.ContentPart]:
    for part in message.content:
        match part:
            case ours.TextContent(text=text):
                if text:
                    yield _text(message, text)
            case ours.ImageContent():
                yield _image(message, part)
            case ours.AudioTranscribed(transcript=words) if words.strip():
                yield _text(message, words)
            case _:
                # A turn without words keeps its place, and says that it has none.
                yield _text(message, UNINTELLIGIBLE)


def _text(message: ours.Message, text: str) -> wire.ContentPart:
    if message.role == "assistant":
        return wire.OutputText(text=text)
    return wire.InputText(text=text)


def _image(message: ours.Message, image: ours.ImageContent) -> wire.InputImage:
    if message.role != "user":
        raise ConversionError(
            f"message {message.id!r} of role {message.role!r} holds an image: only "
            "messages of role 'user' may"
        )
    if not image.url.startswith("data:"):
        raise ConversionError(
            f"message {message.id!r} holds an image that is not a data URI: the "
            "provider fetches nothing, so give it as 'data:image/png;base64,...'"
        )
    detail = UNSET if image.detail is None else image.detail
    return wire.InputImage(image_url=image.url, detail=detail)


def _opaque(item: ours.OpaqueItem, ids: Ids) -> wire.MCPApprovalResponse:
    data = item.data
    match data:
        case {"approval_request_id": str(request), "approve": bool(approve)} if (
            item.type == "mcp_approval_response"
        ):
            return wire.MCPApprovalResponse(
                id=ids.out(item.id),
                approval_request_id=request,
                approve=approve,
                reason=data.get("reason", UNSET),
            )
    raise ConversionError(
        f"item {item.id!r} of type {item.type!r} cannot be created by a client; "
        "messages, function calls and their outputs can"
    )
