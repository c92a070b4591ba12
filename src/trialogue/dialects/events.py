"""What a provider tells us, in neutral form.

Every class is frozen. `answers` is the correlation key of the event (see
`dialects.dialect.AnswerKey`): the ledger settles the oldest outstanding request that
was encoded with the same key. An event that answers nothing has None.
"""

from __future__ import annotations

import enum
from typing import Any, Literal, TypeAlias

import attrs

from trialogue.conversation.items import FunctionCall, Item
from trialogue.dialects.options import UNCHANGED, Unchanged

__all__ = [
    "AudioCleared",
    "AudioCommitted",
    "CallReady",
    "Configured",
    "ErrorClass",
    "ErrorReported",
    "Event",
    "IdleTimedOut",
    "ItemAdded",
    "ItemDeleted",
    "ItemDone",
    "ItemRetrieved",
    "ItemTruncated",
    "OutputAudio",
    "OutputAudioEnded",
    "OutputItemAdded",
    "OutputItemDone",
    "OutputText",
    "OutputTextEnded",
    "RateLimit",
    "RateLimits",
    "ResponseCreated",
    "ResponseDone",
    "ResponseStatus",
    "SessionStarted",
    "SpeechStarted",
    "SpeechStopped",
    "TranscriptDelta",
    "TranscriptDone",
    "TranscriptFailed",
    "UnknownEvent",
    "Usage",
]

AnswerKey: TypeAlias = tuple[str, str | None]
ResponseStatus: TypeAlias = Literal[
    "in_progress", "completed", "cancelled", "incomplete", "failed"
]


class _Event:
    """Base of the neutral events; most of them answer nothing."""

    __slots__ = ()

    @property
    def answers(self) -> AnswerKey | None:
        return None


@attrs.frozen
class SessionStarted(_Event):
    """The first event of a connection: only now is it connected (C1)."""

    session_id: str
    expires_at: float | None = None
    model: str | None = None


@attrs.frozen
class Configured(_Event):
    """An update was accepted. The echo is compared with what was sent.

    A field that the provider does not echo is `UNCHANGED` and is not compared.
    """

    instructions: str | Unchanged = UNCHANGED
    tool_names: tuple[str, ...] | Unchanged = UNCHANGED

    @property
    def answers(self) -> AnswerKey:
        return ("configured", None)


@attrs.frozen
class ItemAdded(_Event):
    """An item joined the conversation behind `previous_item_id` (None: first, unknown).

    `previous_known` tells whether the provider named a predecessor at all.
    """

    item: Item
    previous_item_id: str | None = None
    previous_known: bool = True

    @property
    def answers(self) -> AnswerKey:
        return ("item", self.item.id)


@attrs.frozen
class ItemDone(_Event):
    """An item is final."""

    item: Item
    previous_item_id: str | None = None
    previous_known: bool = True

    @property
    def answers(self) -> AnswerKey:
        return ("item", self.item.id)


@attrs.frozen
class ItemRetrieved(_Event):
    """An item in full, as the provider holds it; `data` is its raw form.

    `pcm` is its audio as PCM16 24 kHz mono, empty where it has none.
    """

    item: Item
    data: dict[str, Any] = attrs.field(repr=False)
    pcm: bytes = attrs.field(default=b"", repr=lambda pcm: f"<{len(pcm)} bytes>")

    @property
    def answers(self) -> AnswerKey:
        return ("retrieved", self.item.id)


@attrs.frozen
class ItemDeleted(_Event):
    item_id: str

    @property
    def answers(self) -> AnswerKey:
        return ("deleted", self.item_id)


@attrs.frozen
class ItemTruncated(_Event):
    item_id: str
    audio_end_ms: int
    content_index: int = 0

    @property
    def answers(self) -> AnswerKey:
        return ("truncated", self.item_id)


@attrs.frozen
class TranscriptDelta(_Event):
    """More of a user turn's transcript. With `cumulative`, `text` replaces."""

    item_id: str
    text: str
    content_index: int = 0
    cumulative: bool = False


@attrs.frozen
class TranscriptDone(_Event):
    """The final transcript of a user turn."""

    item_id: str
    text: str
    content_index: int = 0
    usage: dict[str, Any] | None = None


@attrs.frozen
class TranscriptFailed(_Event):
    item_id: str
    message: str = ""
    code: str | None = None
    content_index: int = 0


@attrs.frozen
class SpeechStarted(_Event):
    """Voice was detected. `audio_start_ms` counts audio appended on this connection."""

    item_id: str | None
    audio_start_ms: int


@attrs.frozen
class SpeechStopped(_Event):
    item_id: str | None
    audio_end_ms: int


@attrs.frozen
class AudioCommitted(_Event):
    """The input buffer became the user item `item_id`; its item event follows."""

    item_id: str
    previous_item_id: str | None = None

    @property
    def answers(self) -> AnswerKey:
        return ("committed", None)


@attrs.frozen
class AudioCleared(_Event):
    """The input buffer was emptied on request."""

    @property
    def answers(self) -> AnswerKey:
        return ("cleared", None)


@attrs.frozen
class Usage:
    """Tokens of one response. Cached tokens are part of the input tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    input_text_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    cached_tokens: int = 0
    cached_text_tokens: int = 0
    cached_audio_tokens: int = 0
    cached_image_tokens: int = 0
    output_text_tokens: int = 0
    output_audio_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        mine = attrs.astuple(self)
        return Usage(*(a + b for a, b in zip(mine, attrs.astuple(other), strict=True)))


@attrs.frozen
class ResponseCreated(_Event):
    """A response began. `key` is ours if we asked for it, else None (by the server)."""

    response_id: str
    key: str | None = None
    metadata: dict[str, str] = attrs.field(factory=dict)
    out_of_band: bool = False

    @property
    def answers(self) -> AnswerKey | None:
        return None if self.key is None else ("response", self.key)


@attrs.frozen
class ResponseDone(_Event):
    """A response ended, however it did.

    Attributes:
        reason: "turn_detected", "client_cancelled", "max_output_tokens", … or None.
        error_code, error_message: why it failed, for status "failed".
        items: its output items in order, without audio.
    """

    response_id: str
    status: ResponseStatus
    key: str | None = None
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_class: ErrorClass | None = None
    items: tuple[Item, ...] = ()
    usage: Usage | None = None
    out_of_band: bool = False

    @property
    def answers(self) -> AnswerKey | None:
        return None if self.key is None else ("response", self.key)


@attrs.frozen
class OutputItemAdded(_Event):
    response_id: str
    item: Item
    output_index: int = 0


@attrs.frozen
class OutputItemDone(_Event):
    response_id: str
    item: Item
    output_index: int = 0


@attrs.frozen
class CallReady(_Event):
    """A call whose item is complete; its arguments are whole (R11).

    A dialect emits it only for items that the provider reports as completed.
    """

    response_id: str
    call: FunctionCall
    output_index: int = 0


@attrs.frozen
class OutputText(_Event):
    """More text of an item; with `spoken` it is the transcript of its audio."""

    response_id: str
    item_id: str
    text: str
    content_index: int = 0
    spoken: bool = False


@attrs.frozen
class OutputTextEnded(_Event):
    """The whole text of a content part."""

    response_id: str
    item_id: str
    text: str
    content_index: int = 0
    spoken: bool = False


@attrs.define
class OutputAudio(_Event):
    """Audio of an item, PCM16 24 kHz mono (the dialect transcodes).

    Not frozen: that takes five times as long to make, and nothing is made more often.
    """

    response_id: str
    item_id: str
    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    content_index: int = 0


@attrs.frozen
class OutputAudioEnded(_Event):
    response_id: str
    item_id: str
    content_index: int = 0


class ErrorClass(enum.Enum):
    """What an error means to whoever waits, whatever the provider calls it."""

    BENIGN = "benign"
    """A race that users never need to hear of (R3)."""
    CONFLICT = "conflict"
    """A response that we did not ask for is active (R1)."""
    DUPLICATE = "duplicate"
    """The item is already there: success for whoever re-sent it (S12)."""
    PERMANENT = "permanent"
    """The request is wrong and stays wrong: unknown_parameter, invalid_*, missing_*."""
    STATE = "state"
    """The provider cannot do it now, or on this connection."""
    TRANSIENT = "transient"
    """Overload or an internal error; the same request may succeed later."""
    TERMINAL = "terminal"
    """Key, quota, account: the session ends and nothing redials (R4)."""


@attrs.frozen
class ErrorReported(_Event):
    """The provider reported an error.

    Correlation is tried in this order: `event_id` (the client event at fault),
    `refs` (ids quoted in the message), `kinds` (the kinds of request that the code
    implies, by `AnswerKey[0]`), and last the outstanding update.
    """

    message: str
    code: str | None = None
    type: str | None = None
    param: str | None = None
    event_id: str | None = None
    refs: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    error_class: ErrorClass = ErrorClass.STATE


@attrs.frozen
class IdleTimedOut(_Event):
    """Nobody spoke for the idle timeout: the silence becomes a turn of the user's."""

    item_id: str


@attrs.frozen
class RateLimit:
    """What is left of one of the provider's limits ("requests", "tokens").

    Attributes:
        reset_seconds: until all of it is there again.
    """

    name: str
    limit: int | None = None
    remaining: int | None = None
    reset_seconds: float | None = None


@attrs.frozen
class RateLimits(_Event):
    limits: tuple[RateLimit, ...]


@attrs.frozen
class UnknownEvent(_Event):
    """An event of a type this dialect does not know, passed over and kept raw (C9)."""

    type: str
    data: dict[str, Any] = attrs.field(repr=False)


Event: TypeAlias = (
    SessionStarted
    | Configured
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | TranscriptDelta
    | TranscriptDone
    | TranscriptFailed
    | SpeechStarted
    | SpeechStopped
    | AudioCommitted
    | AudioCleared
    | ResponseCreated
    | ResponseDone
    | OutputItemAdded
    | OutputItemDone
    | CallReady
    | OutputText
    | OutputTextEnded
    | OutputAudio
    | OutputAudioEnded
    | ErrorReported
    | IdleTimedOut
    | RateLimits
    | UnknownEvent
)
