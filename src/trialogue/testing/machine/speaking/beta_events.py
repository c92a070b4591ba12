"""What a client of the beta sends (protocol §13), where it differs.

As everywhere in the wire classes, what is absent is `UNSET`. A class that stands beside
`Raw` in a union is the only one allowed there: reading clients is strict.
"""

from typing import ClassVar, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire import CLIENT_EVENTS, UNSET, ClientEvents
from trialogue.dialects.openai.wire.base import Maybe, Nullable, Raw
from trialogue.dialects.openai.wire.items import (
    Audio,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputText,
    ItemReference,
    ItemStatus,
    Text,
)
from trialogue.dialects.openai.wire.session import (
    FunctionTool,
    Modality,
    SemanticVAD,
    ToolChoiceFunction,
    Tracing,
)

__all__ = [
    "EVENTS",
    "BetaItemCreate",
    "BetaMessage",
    "BetaNoiseReduction",
    "BetaResponseCreate",
    "BetaResponseParams",
    "BetaServerVAD",
    "BetaSessionPatch",
    "BetaSessionUpdate",
    "BetaTranscription",
    "NoTurnDetection",
]

Format: TypeAlias = Literal["pcm16", "g711_ulaw", "g711_alaw"]
Tools: TypeAlias = tuple[FunctionTool | Raw, ...]
ToolChoice: TypeAlias = Literal["auto", "none", "required"] | ToolChoiceFunction | Raw
Part: TypeAlias = InputText | InputAudio | Text | Audio | Raw


@attrs.frozen(kw_only=True)
class BetaTranscription:
    """How user audio is transcribed."""

    model: Nullable[str] = UNSET
    language: Nullable[str] = UNSET
    prompt: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class BetaNoiseReduction:
    """Noise reduction, which had no strength yet."""

    type: Literal["near_field", "far_field"]


@attrs.frozen(kw_only=True)
class BetaServerVAD:
    """Turn detection by energy, which knew no idle timeout yet."""

    type: ClassVar[Literal["server_vad"]] = "server_vad"
    threshold: Nullable[float] = UNSET
    prefix_padding_ms: Nullable[int] = UNSET
    silence_duration_ms: Nullable[int] = UNSET
    create_response: Nullable[bool] = UNSET
    interrupt_response: Nullable[bool] = UNSET


@attrs.frozen
class NoTurnDetection:
    """Azure's other word for null (§14)."""

    type: ClassVar[Literal["none"]] = "none"


@attrs.frozen(kw_only=True)
class BetaSessionPatch:
    """A change of the session, which is flat."""

    model: Maybe[str] = UNSET
    modalities: Maybe[tuple[Modality, ...]] = UNSET
    instructions: Maybe[str] = UNSET
    voice: Maybe[str] = UNSET
    speed: Maybe[float] = UNSET
    input_audio_format: Maybe[Format] = UNSET
    output_audio_format: Maybe[Format] = UNSET
    input_audio_transcription: Nullable[BetaTranscription] = UNSET
    input_audio_noise_reduction: Nullable[BetaNoiseReduction] = UNSET
    turn_detection: Nullable[BetaServerVAD | SemanticVAD | NoTurnDetection] = UNSET
    tools: Maybe[Tools] = UNSET
    tool_choice: Maybe[ToolChoice] = UNSET
    temperature: Maybe[float] = UNSET
    max_response_output_tokens: Nullable[int | Literal["inf"]] = UNSET
    tracing: Nullable[Literal["auto"] | Tracing] = UNSET


@attrs.frozen(kw_only=True)
class BetaMessage:
    """One utterance; what the assistant says is `text` or `audio`."""

    type: ClassVar[Literal["message"]] = "message"
    role: Literal["system", "user", "assistant"]
    content: tuple[Part, ...]
    id: Nullable[str] = UNSET
    object: Nullable[str] = UNSET
    status: Nullable[ItemStatus] = UNSET


Item: TypeAlias = BetaMessage | FunctionCall | FunctionCallOutput | Raw


@attrs.frozen(kw_only=True)
class BetaResponseParams:
    """What `response.create` overrides for one response."""

    conversation: Maybe[Literal["auto", "none"]] = UNSET
    input: Maybe[
        tuple[BetaMessage | FunctionCall | FunctionCallOutput | ItemReference, ...]
    ] = UNSET
    instructions: Nullable[str] = UNSET
    modalities: Maybe[tuple[Modality, ...]] = UNSET
    voice: Maybe[str] = UNSET
    output_audio_format: Maybe[Format] = UNSET
    tools: Maybe[Tools] = UNSET
    tool_choice: Maybe[ToolChoice] = UNSET
    temperature: Maybe[float] = UNSET
    max_response_output_tokens: Maybe[int | Literal["inf"]] = UNSET
    metadata: Nullable[dict[str, str]] = UNSET


@attrs.frozen(kw_only=True)
class BetaSessionUpdate:
    """Change the session; all or nothing."""

    type: ClassVar[Literal["session.update"]] = "session.update"
    session: BetaSessionPatch
    event_id: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class BetaItemCreate:
    """Add an item after another one, or last."""

    type: ClassVar[Literal["conversation.item.create"]] = "conversation.item.create"
    item: Item
    previous_item_id: Nullable[str] = UNSET
    event_id: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class BetaResponseCreate:
    """Ask for a response."""

    type: ClassVar[Literal["response.create"]] = "response.create"
    response: Maybe[BetaResponseParams] = UNSET
    event_id: Maybe[str] = UNSET


EVENTS: ClientEvents = {
    **CLIENT_EVENTS,
    BetaSessionUpdate.type: BetaSessionUpdate,
    BetaItemCreate.type: BetaItemCreate,
    BetaResponseCreate.type: BetaResponseCreate,
}
"""The class of every event of a beta client, by its `type`."""
