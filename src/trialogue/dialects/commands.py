"""What the session can ask of a provider, in neutral form.

A dialect turns each command into one frame (`Dialect.encode`), or raises
`ConversionError` before anything was sent.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs

from trialogue.conversation.items import Item
from trialogue.dialects.options import (
    UNCHANGED,
    AudioFormat,
    Modality,
    Prompt,
    SessionOptions,
    ToolChoice,
    Unchanged,
    Voice,
    check_values,
)
from trialogue.tools.spec import ToolSpec

__all__ = [
    "AppendAudio",
    "CancelResponse",
    "ClearAudio",
    "Command",
    "CommitAudio",
    "CreateItem",
    "CreateResponse",
    "CreateUserAudio",
    "Creation",
    "DeleteItem",
    "RetrieveItem",
    "SendRaw",
    "TruncateItem",
    "UpdateSession",
]


@attrs.frozen
class UpdateSession:
    """Change the session. Only fields that are given go over the wire (H16)."""

    instructions: str | Unchanged = UNCHANGED
    tools: tuple[ToolSpec, ...] | Unchanged = UNCHANGED
    options: SessionOptions = attrs.field(factory=SessionOptions)


@attrs.frozen
class CreateItem:
    """Add an item. `after` is the id it follows, "root" for first, None for last.

    Audio is sent as its transcript: `AudioTranscribed` becomes text, `AudioPending`
    and `AudioUnintelligible` become "[unintelligible]" (a provider takes no assistant
    audio). Use `CreateUserAudio` to replay a user's turn as sound.
    """

    item: Item
    after: str | None = None

    @property
    def item_id(self) -> str:
        """The id of the item."""
        return self.item.id


@attrs.frozen
class CreateUserAudio:
    """Add a user message whose content is PCM16 24 kHz audio."""

    item_id: str
    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    after: str | None = None


Creation: TypeAlias = CreateItem | CreateUserAudio
"""What adds an item, in words or as sound."""


@attrs.frozen
class DeleteItem:
    """Remove an item from the model's view."""

    item_id: str


@attrs.frozen
class TruncateItem:
    """Cut a spoken item at what was heard; the provider forgets the rest."""

    item_id: str
    audio_end_ms: int
    content_index: int = 0


@attrs.frozen
class RetrieveItem:
    """Ask for an item in full, audio included."""

    item_id: str


@attrs.frozen
class SendRaw:
    """An event in the provider's own form, as the program wrote it; not answered.

    Attributes:
        data: a JSON object, or an event of the dialect's own wire classes.
    """

    data: Any = attrs.field(repr=lambda data: f"<{type(data).__name__}>")


@attrs.frozen
class AppendAudio:
    """A piece of the microphone, PCM16 24 kHz mono; the dialect transcodes."""

    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")


@attrs.frozen
class CommitAudio:
    """End a manual turn: what is in the input buffer becomes a user item."""


@attrs.frozen
class ClearAudio:
    """Drop what is in the input buffer."""


@attrs.frozen
class CreateResponse:
    """Ask for a reply.

    Attributes:
        key: what the provider echoes, so that the response is known as ours.
        instructions: the complete instructions for this reply, session's included.
        tools: the complete tools for this reply.
        out_of_band: the reply is not written to the conversation.
        input: items to answer instead of the conversation.
        metadata: the program's own pairs, echoed as well.
        parallel_tool_calls, reasoning_effort, voice, output_format, prompt: as in
            `SessionOptions`, for this reply.
    """

    key: str
    instructions: str | Unchanged = UNCHANGED
    tools: tuple[ToolSpec, ...] | Unchanged = UNCHANGED
    tool_choice: ToolChoice | Unchanged = UNCHANGED
    output_modalities: tuple[Modality, ...] | Unchanged = UNCHANGED
    max_output_tokens: int | Literal["inf"] | Unchanged = UNCHANGED
    parallel_tool_calls: bool | Unchanged = UNCHANGED
    reasoning_effort: str | Unchanged = UNCHANGED
    voice: Voice | Unchanged = UNCHANGED
    output_format: AudioFormat | Unchanged = UNCHANGED
    prompt: Prompt | Unchanged | None = UNCHANGED
    out_of_band: bool = False
    input: tuple[Item, ...] | Unchanged = UNCHANGED
    metadata: dict[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        check_values(self)


@attrs.frozen
class CancelResponse:
    """Stop a response; None means the one in the default conversation."""

    response_id: str | None = None


Command: TypeAlias = (
    UpdateSession
    | CreateItem
    | CreateUserAudio
    | DeleteItem
    | TruncateItem
    | RetrieveItem
    | SendRaw
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | CreateResponse
    | CancelResponse
)
