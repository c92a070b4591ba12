"""What a client does to the items of the conversation (protocol §5, §16.42-49)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from trialogue.dialects.openai.wire import UNSET, or_none
from trialogue.dialects.openai.wire import client_events as ask
from trialogue.dialects.openai.wire import server_events as tell
from trialogue.dialects.openai.wire.items import (
    FunctionCall,
    FunctionCallOutput,
    ItemReference,
    MCPListTools,
    Message,
    OutputText,
    Text,
)
from trialogue.testing.machine.conversation import Held, check_item
from trialogue.testing.machine.formats import decoded
from trialogue.testing.machine.outputs import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.dialects.openai.wire.session import AudioConfig
    from trialogue.testing.machine.host import Host

__all__ = ["Items"]


class Items:
    """Creates, retrieves, truncates and deletes items.

    Args:
        host: the connection's.
        recognise: knows what is said in audio that a client adds as an item.
        audio: tells in which formats the session has its audio now.
    """

    def __init__(
        self,
        host: Host,
        recognise: Callable[[bytes], str],
        audio: Callable[[], AudioConfig],
    ) -> None:
        self._host = host
        self._recognise = recognise
        self._audio = audio

    def do(self, event: Any) -> None:
        """Do what the event asks.

        Raises:
            Refusal: it cannot be done; nothing was changed.
        """
        match event:
            case ask.ConversationItemCreate():
                self._create(event)
            case ask.ConversationItemDelete(item_id=item_id):
                self._host.conversation.delete(item_id)
                self._host.emit(tell.ConversationItemDeleted, item_id=item_id)
            case ask.ConversationItemRetrieve(item_id=item_id):
                held = self._host.conversation.get(
                    item_id, "retrieving", "item_retrieve_invalid_item_id"
                )
                item = held.with_audio(self._format(held.item))
                self._host.emit(tell.ConversationItemRetrieved, item=item)
            case ask.ConversationItemTruncate():
                self._truncate(event)

    def _format(self, item: Any) -> Any:
        """What the client said goes back as it came, the rest as replies do (§10)."""
        audio, by_user = self._audio(), getattr(item, "role", None) == "user"
        side: Any = audio.input if by_user else audio.output
        return side.format

    def _truncate(self, event: ask.ConversationItemTruncate) -> None:
        where = (event.item_id, event.content_index, event.audio_end_ms)
        self._host.conversation.truncate(*where)
        self._host.emit(
            tell.ConversationItemTruncated,
            item_id=event.item_id,
            content_index=event.content_index,
            audio_end_ms=event.audio_end_ms,
        )

    def _create(self, event: ask.ConversationItemCreate) -> None:
        item: Any = event.item
        check_item(item)
        self._check_new(item)
        index = self._host.conversation.place(or_none(event.previous_item_id))
        held = self.hold(item)
        previous = self._host.conversation.insert(index, held)
        for cls in (tell.ConversationItemAdded, tell.ConversationItemDone):
            self._host.emit(cls, item=held.item, previous_item_id=previous)

    def _check_new(self, item: Any) -> None:
        settings, conversation = self._host.settings, self._host.conversation
        if isinstance(item, ItemReference):
            message = "Invalid value: 'item_reference' is not supported here."
            raise Refusal("invalid_value", message, param="item.type")
        known = bool(item.id) and conversation.find(item.id) is not None
        if known and settings.duplicate_items == "reject":
            raise Refusal(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with id '{item.id}' already exists.",
            )
        if (
            isinstance(item, FunctionCallOutput)
            and settings.unknown_calls == "reject"
            and not conversation.has_call(item.call_id)
        ):
            raise Refusal(
                "invalid_tool_call_id",
                f"Tool call ID '{item.call_id}' not found in conversation.",
            )

    def hold(self, item: Any) -> Held:
        """Return the item as held: complete, and without the audio in sight."""
        ours = isinstance(item, (Message, FunctionCall, FunctionCallOutput))
        changes: dict[str, Any] = {
            "id": item.id or self._host.ids.new("item"),
            # Those of remote tool servers have neither (§4.1).
            "object": "realtime.item" if ours else UNSET,
            "status": "completed" if ours else UNSET,
        }
        pcm = b""
        if isinstance(item, FunctionCall) and not item.call_id:
            changes["call_id"] = self._host.ids.new("call")
        if isinstance(item, MCPListTools):
            changes["tools"] = item.tools or ()
        if isinstance(item, Message):
            data = b"".join(map(_audio_of, item.content))
            pcm = decoded(data, self._format(item))
            changes["content"] = tuple(map(_shown, item.content))
        heard = self._recognise(pcm) if pcm else ""
        return Held(attrs.evolve(item, **changes), pcm, heard=heard)


def _audio_of(part: Any) -> bytes:
    return getattr(part, "audio", None) or b""


def _shown(part: Any) -> Any:
    """Return a part as items show it: without audio, text under its long name."""
    if isinstance(part, Text):
        return OutputText(part.text or "")
    if not hasattr(part, "audio"):
        return part
    return attrs.evolve(part, audio=UNSET, transcript=or_none(part.transcript))
