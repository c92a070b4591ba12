"""What a client of xAI sends (protocol §15), where it differs.

As everywhere in the wire classes, what is absent is `UNSET`. A class that stands beside
`Raw` in a union is the only one allowed there: reading clients is strict.
"""

from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire import CLIENT_EVENTS, UNSET, ClientEvents
from trialogue.dialects.openai.wire.base import Maybe, Nullable, Raw
from trialogue.dialects.openai.wire.items import (
    FunctionCall,
    FunctionCallOutput,
    Message,
    OutputText,
)
from trialogue.dialects.openai.wire.session import (
    PCMA,
    PCMU,
    FunctionTool,
    MCPTool,
    Modality,
    ServerVAD,
    ToolChoiceFunction,
)

__all__ = [
    "FLAT_EVENTS",
    "NESTED_EVENTS",
    "FileSearch",
    "FlatPatch",
    "ForceMessage",
    "NestedPatch",
    "WebSearch",
    "XAIItemCreate",
    "XAIResponseCreate",
    "XAIResponseParams",
    "XAITranscription",
    "XSearch",
]


@attrs.frozen(kw_only=True)
class XAIPCM:
    """Signed 16 bit little endian, mono."""

    type: ClassVar[Literal["audio/pcm"]] = "audio/pcm"
    rate: Maybe[int] = UNSET


@attrs.frozen(kw_only=True)
class XAITranscription:
    """How user audio is transcribed."""

    model: Nullable[str] = UNSET
    language_hint: Nullable[str] = UNSET
    keyterms: Nullable[tuple[str, ...]] = UNSET


@attrs.frozen(kw_only=True)
class WebSearch:
    """A tool that the server runs."""

    type: ClassVar[Literal["web_search"]] = "web_search"


@attrs.frozen(kw_only=True)
class XSearch:
    """A tool that the server runs."""

    type: ClassVar[Literal["x_search"]] = "x_search"
    allowed_x_handles: Nullable[tuple[str, ...]] = UNSET


@attrs.frozen(kw_only=True)
class FileSearch:
    """A tool that the server runs."""

    type: ClassVar[Literal["file_search"]] = "file_search"
    vector_store_ids: tuple[str, ...]
    max_num_results: Nullable[int] = UNSET


@attrs.frozen(kw_only=True)
class XAIReasoning:
    """Reasoning, or none."""

    effort: Literal["high", "none"]


@attrs.frozen(kw_only=True)
class Resumption:
    """Whether the server keeps the turns of a conversation for a later session."""

    enabled: bool


Format: TypeAlias = XAIPCM | PCMU | PCMA
Tool: TypeAlias = FunctionTool | MCPTool | WebSearch | XSearch | FileSearch
ToolChoice: TypeAlias = Literal["auto", "none", "required"] | ToolChoiceFunction | Raw
TurnDetection: TypeAlias = ServerVAD | Raw


@attrs.frozen(kw_only=True)
class FlatInput:
    """`session.audio.input`."""

    format: Maybe[Format] = UNSET
    transcription: Nullable[XAITranscription] = UNSET


@attrs.frozen(kw_only=True)
class FlatOutput:
    """`session.audio.output`."""

    format: Maybe[Format] = UNSET
    speed: Maybe[float] = UNSET


@attrs.frozen(kw_only=True)
class FlatAudio:
    """`session.audio`."""

    input: Maybe[FlatInput] = UNSET
    output: Maybe[FlatOutput] = UNSET


@attrs.frozen(kw_only=True)
class NestedInput(FlatInput):
    """The same with what OpenAI has there."""

    turn_detection: Nullable[TurnDetection] = UNSET


@attrs.frozen(kw_only=True)
class NestedOutput(FlatOutput):
    """The same with what OpenAI has there."""

    voice: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class NestedAudio:
    """The same with what OpenAI has there."""

    input: Maybe[NestedInput] = UNSET
    output: Maybe[NestedOutput] = UNSET


@attrs.frozen(kw_only=True)
class _Patch:
    type: Maybe[Literal["realtime"]] = UNSET
    model: Maybe[str] = UNSET
    instructions: Maybe[str] = UNSET
    tools: Maybe[tuple[Tool, ...]] = UNSET
    tool_choice: Maybe[ToolChoice] = UNSET
    reasoning: Maybe[XAIReasoning] = UNSET
    resumption: Nullable[Resumption] = UNSET


@attrs.frozen(kw_only=True)
class FlatPatch(_Patch):
    """A change of the session."""

    voice: Maybe[str] = UNSET
    turn_detection: Nullable[TurnDetection] = UNSET
    audio: Maybe[FlatAudio] = UNSET


@attrs.frozen(kw_only=True)
class NestedPatch(_Patch):
    """A change of the session, with voice and turn detection where OpenAI has them."""

    audio: Maybe[NestedAudio] = UNSET


@attrs.frozen(kw_only=True)
class ForceMessage:
    """A line that the model speaks as it is, at once."""

    type: ClassVar[Literal["force_message"]] = "force_message"
    role: Literal["assistant"]
    content: tuple[OutputText | Raw, ...]
    id: Nullable[str] = UNSET
    interruptible: Maybe[bool] = UNSET


@attrs.frozen(kw_only=True)
class XAIResponseParams:
    """What `response.create` overrides for one response: not much."""

    modalities: Maybe[tuple[Modality, ...]] = UNSET
    instructions: Nullable[str] = UNSET
    metadata: Nullable[dict[str, str]] = UNSET


@attrs.frozen(kw_only=True)
class FlatSessionUpdate:
    """Change the session; all or nothing."""

    type: ClassVar[Literal["session.update"]] = "session.update"
    session: FlatPatch
    event_id: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class NestedSessionUpdate:
    """Change the session; all or nothing."""

    type: ClassVar[Literal["session.update"]] = "session.update"
    session: NestedPatch
    event_id: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class XAIItemCreate:
    """Add an item after another one, or last; or have a line spoken."""

    type: ClassVar[Literal["conversation.item.create"]] = "conversation.item.create"
    item: Message | FunctionCall | FunctionCallOutput | ForceMessage
    previous_item_id: Nullable[str] = UNSET
    event_id: Maybe[str] = UNSET


@attrs.frozen(kw_only=True)
class XAIResponseCreate:
    """Ask for a response."""

    type: ClassVar[Literal["response.create"]] = "response.create"
    response: Maybe[XAIResponseParams] = UNSET
    event_id: Maybe[str] = UNSET


def _events(*classes: Any) -> ClientEvents:
    return {**CLIENT_EVENTS, **{cls.type: cls for cls in classes}}


FLAT_EVENTS = _events(FlatSessionUpdate, XAIItemCreate, XAIResponseCreate)
"""The class of every event of a client, by its `type`."""

NESTED_EVENTS = _events(NestedSessionUpdate, XAIItemCreate, XAIResponseCreate)
"""The same where the session is not flat."""
