"""The events that a server sends (protocol §6).

The names of the beta (`conversation.item.created`, `response.text.*`,
`response.audio.*`, `response.audio_transcript.*`) are not here: they decode as
`UnknownServerEvent`.
"""

from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire.base import UNSET, Maybe, Nullable
from trialogue.dialects.openai.wire.error import ErrorDetails
from trialogue.dialects.openai.wire.items import ContentPart, Item
from trialogue.dialects.openai.wire.response import Response
from trialogue.dialects.openai.wire.session import Session

__all__ = [
    "Conversation",
    "ConversationCreated",
    "ConversationItemAdded",
    "ConversationItemCreated",
    "ConversationItemDeleted",
    "ConversationItemDone",
    "ConversationItemRetrieved",
    "ConversationItemTruncated",
    "ErrorEvent",
    "InputAudioBufferCleared",
    "InputAudioBufferCommitted",
    "InputAudioBufferDTMFEventReceived",
    "InputAudioBufferSpeechStarted",
    "InputAudioBufferSpeechStopped",
    "InputAudioBufferTimeoutTriggered",
    "InputAudioTranscriptionCompleted",
    "InputAudioTranscriptionDelta",
    "InputAudioTranscriptionFailed",
    "InputAudioTranscriptionSegment",
    "KnownServerEvent",
    "LogProb",
    "MCPListToolsCompleted",
    "MCPListToolsFailed",
    "MCPListToolsInProgress",
    "OutputAudioBufferCleared",
    "OutputAudioBufferStarted",
    "OutputAudioBufferStopped",
    "RateLimit",
    "RateLimitsUpdated",
    "ResponseContentPartAdded",
    "ResponseContentPartDone",
    "ResponseCreated",
    "ResponseDone",
    "ResponseFunctionCallArgumentsDelta",
    "ResponseFunctionCallArgumentsDone",
    "ResponseMCPCallArgumentsDelta",
    "ResponseMCPCallArgumentsDone",
    "ResponseMCPCallCompleted",
    "ResponseMCPCallFailed",
    "ResponseMCPCallInProgress",
    "ResponseOutputAudioDelta",
    "ResponseOutputAudioDone",
    "ResponseOutputAudioTranscriptDelta",
    "ResponseOutputAudioTranscriptDone",
    "ResponseOutputItemAdded",
    "ResponseOutputItemDone",
    "ResponseOutputTextDelta",
    "ResponseOutputTextDone",
    "ServerEvent",
    "SessionCreated",
    "SessionUpdated",
    "UnknownServerEvent",
]


@attrs.frozen(kw_only=True)
class RateLimit:
    """One limit: "requests" or "tokens"."""

    name: Maybe[str] = UNSET
    limit: Nullable[int] = UNSET
    remaining: Nullable[int] = UNSET
    reset_seconds: Nullable[float] = UNSET


@attrs.frozen(kw_only=True)
class Conversation:
    """The one conversation of a session."""

    id: Maybe[str] = UNSET
    object: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class LogProb:
    """The log probability of one transcribed token, and its UTF-8 bytes."""

    token: str
    logprob: float
    bytes: Nullable[tuple[int, ...]] = UNSET


@attrs.frozen(kw_only=True)
class _ServerEvent:
    event_id: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class _PartEvent(_ServerEvent):
    response_id: str
    item_id: str
    output_index: int = 0
    content_index: int = 0


@attrs.frozen(kw_only=True)
class ErrorEvent(_ServerEvent):
    """Something went wrong; the session mostly goes on (§2.3)."""

    type: ClassVar[Literal["error"]] = "error"
    error: ErrorDetails


@attrs.frozen(kw_only=True)
class SessionCreated(_ServerEvent):
    """The first event of a connection."""

    type: ClassVar[Literal["session.created"]] = "session.created"
    session: Session


@attrs.frozen(kw_only=True)
class SessionUpdated(_ServerEvent):
    """An update was accepted; holds the whole session."""

    type: ClassVar[Literal["session.updated"]] = "session.updated"
    session: Session


@attrs.frozen(kw_only=True)
class RateLimitsUpdated(_ServerEvent):
    """What is left of the limits, after a response."""

    type: ClassVar[Literal["rate_limits.updated"]] = "rate_limits.updated"
    rate_limits: tuple[RateLimit, ...]


@attrs.frozen(kw_only=True)
class ConversationCreated(_ServerEvent):
    """Sent by some servers after `session.created`."""

    type: ClassVar[Literal["conversation.created"]] = "conversation.created"
    conversation: Conversation


@attrs.frozen(kw_only=True)
class ConversationItemAdded(_ServerEvent):
    """An item joined the conversation."""

    type: ClassVar[Literal["conversation.item.added"]] = "conversation.item.added"
    previous_item_id: Nullable[str] = UNSET
    item: Item


@attrs.frozen(kw_only=True)
class ConversationItemCreated(_ServerEvent):
    """An item joined the conversation: the older name of `added` and `done` (§13)."""

    type: ClassVar[Literal["conversation.item.created"]] = "conversation.item.created"
    previous_item_id: Nullable[str] = UNSET
    item: Item


@attrs.frozen(kw_only=True)
class ConversationItemDone(_ServerEvent):
    """An item is final."""

    type: ClassVar[Literal["conversation.item.done"]] = "conversation.item.done"
    previous_item_id: Nullable[str] = UNSET
    item: Item


@attrs.frozen(kw_only=True)
class ConversationItemRetrieved(_ServerEvent):
    """An item in full, audio included."""

    type: ClassVar[Literal["conversation.item.retrieved"]] = (
        "conversation.item.retrieved"
    )
    item: Item


@attrs.frozen(kw_only=True)
class ConversationItemTruncated(_ServerEvent):
    """An item was cut."""

    type: ClassVar[Literal["conversation.item.truncated"]] = (
        "conversation.item.truncated"
    )
    item_id: str
    content_index: int
    audio_end_ms: int


@attrs.frozen(kw_only=True)
class ConversationItemDeleted(_ServerEvent):
    """An item was removed."""

    type: ClassVar[Literal["conversation.item.deleted"]] = "conversation.item.deleted"
    item_id: str


@attrs.frozen(kw_only=True)
class InputAudioTranscriptionDelta(_ServerEvent):
    """More of a transcript."""

    type: ClassVar[Literal["conversation.item.input_audio_transcription.delta"]] = (
        "conversation.item.input_audio_transcription.delta"
    )
    item_id: str
    content_index: Maybe[int] = UNSET
    delta: Nullable[str] = UNSET
    logprobs: Nullable[tuple[LogProb, ...]] = UNSET


@attrs.frozen(kw_only=True)
class InputAudioTranscriptionCompleted(_ServerEvent):
    """The transcript of a user turn; comes late, and in any order."""

    type: ClassVar[Literal["conversation.item.input_audio_transcription.completed"]] = (
        "conversation.item.input_audio_transcription.completed"
    )
    item_id: str
    content_index: Maybe[int] = UNSET
    transcript: str
    usage: Nullable[dict[str, Any]] = UNSET
    logprobs: Nullable[tuple[LogProb, ...]] = UNSET
    languages: Nullable[tuple[dict[str, Any], ...]] = UNSET


@attrs.frozen(kw_only=True)
class InputAudioTranscriptionFailed(_ServerEvent):
    """A user turn will have no transcript."""

    type: ClassVar[Literal["conversation.item.input_audio_transcription.failed"]] = (
        "conversation.item.input_audio_transcription.failed"
    )
    item_id: str
    content_index: Maybe[int] = UNSET
    error: Maybe[ErrorDetails] = UNSET


@attrs.frozen(kw_only=True)
class InputAudioTranscriptionSegment(_ServerEvent):
    """What one speaker said, from `start` to `end` seconds."""

    type: ClassVar[Literal["conversation.item.input_audio_transcription.segment"]] = (
        "conversation.item.input_audio_transcription.segment"
    )
    item_id: str
    content_index: Maybe[int] = UNSET
    id: str
    speaker: str
    start: float
    end: float
    text: str


@attrs.frozen(kw_only=True)
class InputAudioBufferCommitted(_ServerEvent):
    """The buffer became an item; the item events follow."""

    type: ClassVar[Literal["input_audio_buffer.committed"]] = (
        "input_audio_buffer.committed"
    )
    item_id: str
    previous_item_id: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class InputAudioBufferCleared(_ServerEvent):
    """The buffer is empty."""

    type: ClassVar[Literal["input_audio_buffer.cleared"]] = "input_audio_buffer.cleared"


@attrs.frozen(kw_only=True)
class InputAudioBufferSpeechStarted(_ServerEvent):
    """Voice, `audio_start_ms` into the audio of the session."""

    type: ClassVar[Literal["input_audio_buffer.speech_started"]] = (
        "input_audio_buffer.speech_started"
    )
    audio_start_ms: int
    item_id: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class InputAudioBufferSpeechStopped(_ServerEvent):
    """Silence again."""

    type: ClassVar[Literal["input_audio_buffer.speech_stopped"]] = (
        "input_audio_buffer.speech_stopped"
    )
    audio_end_ms: int
    item_id: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class InputAudioBufferTimeoutTriggered(_ServerEvent):
    """Nobody spoke for the idle timeout (§8.4)."""

    type: ClassVar[Literal["input_audio_buffer.timeout_triggered"]] = (
        "input_audio_buffer.timeout_triggered"
    )
    audio_start_ms: int
    audio_end_ms: int
    item_id: str


@attrs.frozen(kw_only=True)
class InputAudioBufferDTMFEventReceived(_ServerEvent):
    """A key of a telephone; has no `event_id`."""

    type: ClassVar[Literal["input_audio_buffer.dtmf_event_received"]] = (
        "input_audio_buffer.dtmf_event_received"
    )
    event: str
    received_at: int


@attrs.frozen(kw_only=True)
class ResponseCreated(_ServerEvent):
    """A response began."""

    type: ClassVar[Literal["response.created"]] = "response.created"
    response: Response


@attrs.frozen(kw_only=True)
class ResponseDone(_ServerEvent):
    """A response ended, however it did."""

    type: ClassVar[Literal["response.done"]] = "response.done"
    response: Response


@attrs.frozen(kw_only=True)
class ResponseOutputItemAdded(_ServerEvent):
    """A response began an item."""

    type: ClassVar[Literal["response.output_item.added"]] = "response.output_item.added"
    response_id: str
    output_index: int = 0
    item: Item


@attrs.frozen(kw_only=True)
class ResponseOutputItemDone(_ServerEvent):
    """A response ended an item."""

    type: ClassVar[Literal["response.output_item.done"]] = "response.output_item.done"
    response_id: str
    output_index: int = 0
    item: Item


@attrs.frozen(kw_only=True)
class ResponseContentPartAdded(_PartEvent):
    """An item began a part; the part has its short name (§4.2)."""

    type: ClassVar[Literal["response.content_part.added"]] = (
        "response.content_part.added"
    )
    part: ContentPart


@attrs.frozen(kw_only=True)
class ResponseContentPartDone(_PartEvent):
    """An item ended a part."""

    type: ClassVar[Literal["response.content_part.done"]] = "response.content_part.done"
    part: ContentPart


@attrs.frozen(kw_only=True)
class ResponseOutputTextDelta(_PartEvent):
    """More text."""

    type: ClassVar[Literal["response.output_text.delta"]] = "response.output_text.delta"
    delta: str


@attrs.frozen(kw_only=True)
class ResponseOutputTextDone(_PartEvent):
    """The whole text of a part."""

    type: ClassVar[Literal["response.output_text.done"]] = "response.output_text.done"
    text: str


@attrs.frozen(kw_only=True)
class ResponseOutputAudioDelta(_PartEvent):
    """More audio."""

    type: ClassVar[Literal["response.output_audio.delta"]] = (
        "response.output_audio.delta"
    )
    delta: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")


@attrs.frozen(kw_only=True)
class ResponseOutputAudioDone(_PartEvent):
    """The audio of a part is whole."""

    type: ClassVar[Literal["response.output_audio.done"]] = "response.output_audio.done"


@attrs.frozen(kw_only=True)
class ResponseOutputAudioTranscriptDelta(_PartEvent):
    """More of what is being said."""

    type: ClassVar[Literal["response.output_audio_transcript.delta"]] = (
        "response.output_audio_transcript.delta"
    )
    delta: str


@attrs.frozen(kw_only=True)
class ResponseOutputAudioTranscriptDone(_PartEvent):
    """All that was said in a part."""

    type: ClassVar[Literal["response.output_audio_transcript.done"]] = (
        "response.output_audio_transcript.done"
    )
    transcript: str


@attrs.frozen(kw_only=True)
class ResponseFunctionCallArgumentsDelta(_ServerEvent):
    """More of the JSON text of a call."""

    type: ClassVar[Literal["response.function_call_arguments.delta"]] = (
        "response.function_call_arguments.delta"
    )
    response_id: str
    item_id: str
    output_index: int = 0
    call_id: Maybe[str] = UNSET
    delta: str


@attrs.frozen(kw_only=True)
class ResponseFunctionCallArgumentsDone(_ServerEvent):
    """The arguments as far as they came; run nothing before its item is completed."""

    type: ClassVar[Literal["response.function_call_arguments.done"]] = (
        "response.function_call_arguments.done"
    )
    response_id: str
    item_id: str
    output_index: int = 0
    call_id: Maybe[str] = UNSET
    name: Maybe[str] = UNSET
    arguments: str


@attrs.frozen(kw_only=True)
class ResponseMCPCallArgumentsDelta(_ServerEvent):
    """More of the JSON text of a remote call."""

    type: ClassVar[Literal["response.mcp_call_arguments.delta"]] = (
        "response.mcp_call_arguments.delta"
    )
    response_id: str
    item_id: str
    output_index: int = 0
    delta: str
    obfuscation: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class ResponseMCPCallArgumentsDone(_ServerEvent):
    """The arguments of a remote call."""

    type: ClassVar[Literal["response.mcp_call_arguments.done"]] = (
        "response.mcp_call_arguments.done"
    )
    response_id: str
    item_id: str
    output_index: int = 0
    arguments: str


@attrs.frozen(kw_only=True)
class ResponseMCPCallInProgress(_ServerEvent):
    """A remote call is in progress."""

    type: ClassVar[Literal["response.mcp_call.in_progress"]] = (
        "response.mcp_call.in_progress"
    )
    item_id: str
    output_index: int = 0


@attrs.frozen(kw_only=True)
class ResponseMCPCallCompleted(_ServerEvent):
    """A remote call is completed."""

    type: ClassVar[Literal["response.mcp_call.completed"]] = (
        "response.mcp_call.completed"
    )
    item_id: str
    output_index: int = 0


@attrs.frozen(kw_only=True)
class ResponseMCPCallFailed(_ServerEvent):
    """A remote call failed."""

    type: ClassVar[Literal["response.mcp_call.failed"]] = "response.mcp_call.failed"
    item_id: str
    output_index: int = 0


@attrs.frozen(kw_only=True)
class MCPListToolsInProgress(_ServerEvent):
    """A remote tool server is being asked for its tools."""

    type: ClassVar[Literal["mcp_list_tools.in_progress"]] = "mcp_list_tools.in_progress"
    item_id: str


@attrs.frozen(kw_only=True)
class MCPListToolsCompleted(_ServerEvent):
    """The tools are known; the item holds them."""

    type: ClassVar[Literal["mcp_list_tools.completed"]] = "mcp_list_tools.completed"
    item_id: str


@attrs.frozen(kw_only=True)
class MCPListToolsFailed(_ServerEvent):
    """The tools could not be listed."""

    type: ClassVar[Literal["mcp_list_tools.failed"]] = "mcp_list_tools.failed"
    item_id: str


@attrs.frozen(kw_only=True)
class OutputAudioBufferStarted(_ServerEvent):
    """Playback started; WebRTC and SIP only."""

    type: ClassVar[Literal["output_audio_buffer.started"]] = (
        "output_audio_buffer.started"
    )
    response_id: str


@attrs.frozen(kw_only=True)
class OutputAudioBufferStopped(_ServerEvent):
    """Playback stopped; WebRTC and SIP only."""

    type: ClassVar[Literal["output_audio_buffer.stopped"]] = (
        "output_audio_buffer.stopped"
    )
    response_id: str


@attrs.frozen(kw_only=True)
class OutputAudioBufferCleared(_ServerEvent):
    """Playback cleared; WebRTC and SIP only."""

    type: ClassVar[Literal["output_audio_buffer.cleared"]] = (
        "output_audio_buffer.cleared"
    )
    response_id: str


@attrs.frozen
class UnknownServerEvent:
    """A server event of another type, as it came (C9)."""

    type: str
    data: dict[str, Any] = attrs.field(repr=lambda data: f"<{', '.join(data)}>")


KnownServerEvent: TypeAlias = (
    ErrorEvent
    | SessionCreated
    | SessionUpdated
    | RateLimitsUpdated
    | ConversationCreated
    | ConversationItemAdded
    | ConversationItemCreated
    | ConversationItemDone
    | ConversationItemRetrieved
    | ConversationItemTruncated
    | ConversationItemDeleted
    | InputAudioTranscriptionDelta
    | InputAudioTranscriptionCompleted
    | InputAudioTranscriptionFailed
    | InputAudioTranscriptionSegment
    | InputAudioBufferCommitted
    | InputAudioBufferCleared
    | InputAudioBufferSpeechStarted
    | InputAudioBufferSpeechStopped
    | InputAudioBufferTimeoutTriggered
    | InputAudioBufferDTMFEventReceived
    | ResponseCreated
    | ResponseDone
    | ResponseOutputItemAdded
    | ResponseOutputItemDone
    | ResponseContentPartAdded
    | ResponseContentPartDone
    | ResponseOutputTextDelta
    | ResponseOutputTextDone
    | ResponseOutputAudioDelta
    | ResponseOutputAudioDone
    | ResponseOutputAudioTranscriptDelta
    | ResponseOutputAudioTranscriptDone
    | ResponseFunctionCallArgumentsDelta
    | ResponseFunctionCallArgumentsDone
    | ResponseMCPCallArgumentsDelta
    | ResponseMCPCallArgumentsDone
    | ResponseMCPCallInProgress
    | ResponseMCPCallCompleted
    | ResponseMCPCallFailed
    | MCPListToolsInProgress
    | MCPListToolsCompleted
    | MCPListToolsFailed
    | OutputAudioBufferStarted
    | OutputAudioBufferStopped
    | OutputAudioBufferCleared
)
ServerEvent: TypeAlias = KnownServerEvent | UnknownServerEvent
