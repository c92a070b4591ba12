"""The conversation as the server holds it (protocol §4, §9.3, §16.42-49)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.dialects.openai.wire.base import UNSET, Raw
from trialogue.dialects.openai.wire.items import (
    Audio,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputImage,
    InputText,
    Item,
    Message,
    OutputAudio,
    OutputText,
    Text,
)
from trialogue.testing.machine.formats import encoded
from trialogue.testing.machine.outputs import Refusal, too_long
from trialogue.testing.machine.shapes import check_item_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BYTES_PER_MS", "Conversation", "Held", "check_item"]

ID_LIMIT: Final = 32
BYTES_PER_MS: Final = 48


@attrs.define(eq=False)
class Held:
    """One item, with what the server alone has of it.

    Attributes:
        item: as clients see it, without audio.
        sound: its audio, and what is still to come of it.
        made: how many bytes of that there are by now; None for all.
        heard: what was said in user audio, whether transcribed for the client or not.
        deleted: it is no longer part of the conversation.
        cut_ms: where the client truncated it, or None.
        spoken_ms: where it begins and ends in the connection's audio, if it is a turn
            that the user spoke there, else None.
    """

    item: Any
    sound: bytes = attrs.field(default=b"", repr=lambda sound: f"{len(sound)} B")
    made: int | None = None
    heard: str = ""
    deleted: bool = False
    cut_ms: int | None = None
    spoken_ms: tuple[int, int] | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.item.id)

    @property
    def pcm(self) -> memoryview:
        """Its audio, as far as it came or was kept; without a copy."""
        return memoryview(self.sound)[: self.made]

    @property
    def text(self) -> str:
        """All its text, transcripts and what was heard included."""
        match self.item:
            case Message(content=content):
                return " ".join(filter(None, map(_text, content))) or self.heard
            case FunctionCall(name=name, arguments=arguments):
                return f"{name}({arguments})"
            case FunctionCallOutput(output=output):
                return output
        return ""

    @property
    def is_assistant_audio(self) -> bool:
        """Whether it is speech of the model, of which some exists."""
        return (
            isinstance(self.item, Message)
            and self.item.role == "assistant"
            and bool(self.pcm)
        )

    def with_audio(self, audio_format: Any) -> Item:
        """Return the item as `retrieved` shows it, its audio in that format."""
        item: Item = self.item
        if not (self.pcm and isinstance(item, Message)):
            return item
        content = tuple(
            attrs.evolve(part, audio=encoded(bytes(self.pcm), audio_format))
            if isinstance(part, (InputAudio, OutputAudio))
            else part
            for part in item.content
        )
        return attrs.evolve(item, content=content)

    def set_transcript(self, text: str | None) -> None:
        """Write the transcript of its audio, or wipe it."""
        content = tuple(
            attrs.evolve(part, transcript=text)
            if isinstance(part, (InputAudio, OutputAudio))
            else part
            for part in self.item.content
        )
        self.item = attrs.evolve(self.item, content=content)


def _text(part: Any) -> str:
    match part:
        case InputText() | OutputText() | Text():
            return part.text or ""
        case InputAudio() | OutputAudio() | Audio():
            return part.transcript or ""
    return ""


class Conversation:
    """A list of items in order. It begins empty.

    Attributes:
        id: its id.
        items: what it holds, oldest first.
        ever_spoke: the model has spoken in it, so its voice is fixed.
    """

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self.items: list[Held] = []
        self.ever_spoke = False

    def __iter__(self) -> Iterator[Held]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<Conversation {self.id} items={len(self.items)}>"

    def find(self, item_id: str) -> Held | None:
        """Return the item of that id, or None."""
        return next((held for held in self.items if held.id == item_id), None)

    def has_call(self, call_id: str) -> bool:
        """Whether a call of that id is in it."""
        calls = (held.item for held in self.items)
        return any(
            isinstance(item, FunctionCall) and item.call_id == call_id for item in calls
        )

    def get(self, item_id: str, verb: str, code: str) -> Held:
        """Return the item of that id.

        Raises:
            Refusal: it is not there (any more).
        """
        held = self.find(item_id)
        if held is None:
            raise Refusal(
                code,
                f"Error {verb} item: the item with id '{item_id}' does not exist.",
            )
        return held

    def place(self, previous: str | None) -> int:
        """Return the index that `previous_item_id` asks for.

        Raises:
            Refusal: no such item.
        """
        if not previous:
            return len(self.items)
        if previous == "root":
            return 0
        for index, held in enumerate(self.items):
            if held.id == previous:
                return index + 1
        raise Refusal(
            "item_create_invalid_previous_item_id",
            f"Error adding item: the previous item with id '{previous}' does not "
            "exist.",
        )

    def insert(self, index: int, held: Held) -> str | None:
        """Put an item there and return the id of the one before it, or None."""
        self.items.insert(index, held)
        return self.items[index - 1].id if index else None

    def append(self, held: Held) -> str | None:
        """Add an item last; as `insert`."""
        return self.insert(len(self.items), held)

    def previous(self, held: Held) -> str | None:
        """Return the id of the item before it, or None."""
        index = self.items.index(held)
        return self.items[index - 1].id if index else None

    def delete(self, item_id: str) -> None:
        """Remove an item.

        Raises:
            Refusal: it is not there.
        """
        held = self.get(item_id, "deleting", "item_delete_invalid_item_id")
        held.deleted = True
        self.items.remove(held)

    def truncate(self, item_id: str, content_index: int, end_ms: int) -> None:
        """Cut an assistant's audio and wipe its transcript.

        Raises:
            Refusal: no such item, no such audio, or not that much of it.
        """
        held = self.get(item_id, "truncating", "item_truncate_invalid_item_id")
        if not held.is_assistant_audio or content_index != 0:
            raise Refusal(None, "Only model output audio messages can be truncated")
        if end_ms < 0:
            message = "Invalid 'audio_end_ms': expected a value of 0 or more."
            raise Refusal("invalid_value", message, param="audio_end_ms")
        length = len(held.pcm) // BYTES_PER_MS
        if end_ms > length:
            raise Refusal(
                None,
                f"Audio content of {length}ms is already shorter than {end_ms}ms",
                param="audio_end_ms",
            )
        held.made = end_ms * BYTES_PER_MS
        held.cut_ms = end_ms
        held.set_transcript(None)


_IMAGES: Final = ("data:image/png;", "data:image/jpeg;")
_ALLOWED: Final[dict[str, dict[str, type]]] = {
    "system": {"input_text": InputText},
    "user": {
        "input_text": InputText,
        "input_audio": InputAudio,
        "input_image": InputImage,
    },
    "assistant": {"output_text": OutputText, "text": Text},
}


def check_item(item: Item, path: str = "item") -> None:
    """Refuse what a client may not create (§16.45).

    Raises:
        Refusal: `invalid_value` or `string_above_max_length`, with the path.
    """
    if isinstance(item, Raw):
        message = f"Invalid value: '{item.type}' is not a supported item type."
        raise Refusal("invalid_value", message, param=f"{path}.type")
    for key in ("id", "call_id"):
        value = getattr(item, key, UNSET)
        if isinstance(value, str) and len(value) > ID_LIMIT:
            raise too_long(f"{path}.{key}", ID_LIMIT, len(value))
    check_item_shape(item, path)
    if isinstance(item, Message):
        for index, part in enumerate(item.content):
            _check_part(item.role, part, f"{path}.content[{index}]")


def _check_part(role: str, part: Any, path: str) -> None:
    allowed = _ALLOWED[role]
    if not isinstance(part, tuple(allowed.values())):
        kinds = ", ".join(f"'{kind}'" for kind in allowed)
        message = f"Invalid value: '{part.type}'. Supported values are: {kinds}."
        raise Refusal("invalid_value", message, param=f"{path}.type")
    if isinstance(part, InputImage) and not part.image_url.startswith(_IMAGES):
        message = "Invalid image URL: expected a data URI of a PNG or JPEG image."
        raise Refusal("invalid_value", message, param=f"{path}.image_url")
