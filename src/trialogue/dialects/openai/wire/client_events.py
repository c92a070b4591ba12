"""The events that a client sends (protocol §5)."""

from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire.base import UNSET, Maybe, Nullable
from trialogue.dialects.openai.wire.items import Item
from trialogue.dialects.openai.wire.response import ResponseParams
from trialogue.dialects.openai.wire.session import SessionPatch

__all__ = [
    "ClientEvent",
    "ConversationItemCreate",
    "ConversationItemDelete",
    "ConversationItemRetrieve",
    "ConversationItemTruncate",
    "InputAudioBufferAppend",
    "InputAudioBufferClear",
    "InputAudioBufferCommit",
    "KnownClientEvent",
    "OutputAudioBufferClear",
    "ResponseCancel",
    "ResponseCreate",
    "SessionUpdate",
    "UnknownClientEvent",
]


@attrs.frozen(kw_only=True)
class _ClientEvent:
    event_id: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class SessionUpdate(_ClientEvent):
    """Change the session; all or nothing."""

    type: ClassVar[Literal["session.update"]] = "session.update"
    session: SessionPatch


@attrs.frozen(kw_only=True)
class InputAudioBufferAppend(_ClientEvent):
    """More audio from the user; not acknowledged."""

    type: ClassVar[Literal["input_audio_buffer.append"]] = "input_audio_buffer.append"
    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")


@attrs.frozen(kw_only=True)
class InputAudioBufferCommit(_ClientEvent):
    """Make a user item of the buffered audio."""

    type: ClassVar[Literal["input_audio_buffer.commit"]] = "input_audio_buffer.commit"


@attrs.frozen(kw_only=True)
class InputAudioBufferClear(_ClientEvent):
    """Drop the buffered audio."""

    type: ClassVar[Literal["input_audio_buffer.clear"]] = "input_audio_buffer.clear"


@attrs.frozen(kw_only=True)
class ConversationItemCreate(_ClientEvent):
    """Add an item after another one, or last."""

    type: ClassVar[Literal["conversation.item.create"]] = "conversation.item.create"
    previous_item_id: Nullable[str] = UNSET
    item: Item


@attrs.frozen(kw_only=True)
class ConversationItemRetrieve(_ClientEvent):
    """Ask for an item in full, audio included."""

    type: ClassVar[Literal["conversation.item.retrieve"]] = "conversation.item.retrieve"
    item_id: str


@attrs.frozen(kw_only=True)
class ConversationItemTruncate(_ClientEvent):
    """Cut the audio of an assistant item."""

    type: ClassVar[Literal["conversation.item.truncate"]] = "conversation.item.truncate"
    item_id: str
    content_index: int
    audio_end_ms: int


@attrs.frozen(kw_only=True)
class ConversationItemDelete(_ClientEvent):
    """Remove an item."""

    type: ClassVar[Literal["conversation.item.delete"]] = "conversation.item.delete"
    item_id: str


@attrs.frozen(kw_only=True)
class ResponseCreate(_ClientEvent):
    """Ask for a response."""

    type: ClassVar[Literal["response.create"]] = "response.create"
    response: Maybe[ResponseParams] = UNSET


@attrs.frozen(kw_only=True)
class ResponseCancel(_ClientEvent):
    """Stop a response: the named one, or that of the default conversation."""

    type: ClassVar[Literal["response.cancel"]] = "response.cancel"
    response_id: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class OutputAudioBufferClear(_ClientEvent):
    """Drop the audio being played; WebRTC and SIP only."""

    type: ClassVar[Literal["output_audio_buffer.clear"]] = "output_audio_buffer.clear"


@attrs.frozen
class UnknownClientEvent:
    """A client event of another type, as it came."""

    type: str
    data: dict[str, Any] = attrs.field(repr=lambda data: f"<{', '.join(data)}>")


KnownClientEvent: TypeAlias = (
    SessionUpdate
    | InputAudioBufferAppend
    | InputAudioBufferCommit
    | InputAudioBufferClear
    | ConversationItemCreate
    | ConversationItemRetrieve
    | ConversationItemTruncate
    | ConversationItemDelete
    | ResponseCreate
    | ResponseCancel
    | OutputAudioBufferClear
)
ClientEvent: TypeAlias = KnownClientEvent | UnknownClientEvent
