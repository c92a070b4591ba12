"""What a conversation is made of: items and their content, as immutable values.

The state of a piece of content is its type. Audio whose transcript has not arrived is
`AudioPending`, not an empty string; emptiness never means anything. Ids are the ones
both ends use; an item made here gets one from `new_item_id`.
"""

from __future__ import annotations

import random
from typing import Any, Literal, TypeAlias

import attrs

from trialogue._codec import b64encode
from trialogue.errors import ConfigurationError

__all__ = [
    "AudioPending",
    "AudioTranscribed",
    "AudioUnintelligible",
    "Content",
    "FunctionCall",
    "FunctionCallOutput",
    "ImageContent",
    "Item",
    "ItemStatus",
    "Message",
    "OpaqueItem",
    "Role",
    "TextContent",
    "new_item_id",
]

Role: TypeAlias = Literal["system", "user", "assistant"]
ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]

_RANDOM = random.SystemRandom()

_MAGIC = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
"""How the files begin that providers take."""


def new_item_id(prefix: str = "item", source: random.Random | None = None) -> str:
    """Return a fresh id that every provider accepts (at most 32 characters).

    With a seeded `source` the ids are the same on every run.
    """
    source = source or _RANDOM
    return f"{prefix}_{source.getrandbits(96):024x}"


@attrs.frozen
class TextContent:
    """Written text."""

    text: str


@attrs.frozen
class AudioPending:
    """Spoken audio whose transcript has not arrived.

    `transcript_so_far` holds interim text; it is never final (U2).
    """

    transcript_so_far: str = ""
    duration_ms: int | None = None


@attrs.frozen
class AudioTranscribed:
    """Spoken audio with its final transcript (which may rightly be empty: silence)."""

    transcript: str
    duration_ms: int | None = None


@attrs.frozen
class AudioUnintelligible:
    """Spoken audio that the provider could not, or was not asked to, transcribe."""

    reason: str = ""
    duration_ms: int | None = None


@attrs.frozen
class ImageContent:
    """A picture as a data URI (PNG or JPEG).

    Attributes:
        url: the data URI.
        detail: how closely the model looks; None for the provider's default.
    """

    url: str
    detail: Literal["auto", "low", "high"] | None = None

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        media_type: Literal["image/png", "image/jpeg"],
        *,
        detail: Literal["auto", "low", "high"] | None = None,
    ) -> ImageContent:
        """Return the content of a picture file.

        Raises:
            ConfigurationError: it is of another type, or is not what it says it is.
        """
        magic = _MAGIC.get(media_type)
        if magic is None:
            raise ConfigurationError(
                f"a picture of type {media_type!r} cannot be sent; "
                f"convert it to {' or '.join(_MAGIC)}"
            )
        if not data.startswith(magic):
            raise ConfigurationError(
                f"the {len(data)} bytes of a picture are no {media_type}: they do not "
                "begin as one does"
            )
        return cls(f"data:{media_type};base64,{b64encode(data)}", detail)


Content: TypeAlias = (
    TextContent | AudioPending | AudioTranscribed | AudioUnintelligible | ImageContent
)


@attrs.frozen
class Message:
    """One utterance.

    Attributes:
        agent: the name of the agent that said it, for role "assistant".
        heard_ms: how much of its audio the user heard, when it was interrupted;
            None means all of it.
    """

    id: str
    role: Role
    content: tuple[Content, ...]
    status: ItemStatus = "completed"
    agent: str | None = None
    heard_ms: int | None = None

    @property
    def text(self) -> str:
        """The words of the message: texts and transcripts (interim ones included)."""
        return " ".join(words for part in self.content if (words := _words(part)))


@attrs.frozen
class FunctionCall:
    """The model's wish to call a tool. `arguments` is JSON as the model wrote it."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus = "completed"
    agent: str | None = None


@attrs.frozen
class FunctionCallOutput:
    """The one output of a call, paired with it by `call_id`."""

    id: str
    call_id: str
    output: str
    status: ItemStatus = "completed"


@attrs.frozen
class OpaqueItem:
    """An item of a kind this library does not interpret; kept, never rewritten."""

    id: str
    type: str
    data: dict[str, Any] = attrs.field(factory=dict)
    status: ItemStatus = "completed"


Item: TypeAlias = Message | FunctionCall | FunctionCallOutput | OpaqueItem


def _words(part: Content) -> str:
    match part:
        case TextContent(text=text):
            return text
        case AudioTranscribed(transcript=text):
            return text
        case AudioPending(transcript_so_far=text):
            return text
        case _:
            return ""
