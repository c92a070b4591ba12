"""The session object, its patches, and the tools they carry (protocol §3, §12)."""

from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire.base import UNSET, Maybe, Nullable, Raw

__all__ = [
    "PCM",
    "PCMA",
    "PCMU",
    "AudioConfig",
    "AudioFormat",
    "AudioInput",
    "AudioOutput",
    "FunctionTool",
    "MCPTool",
    "Modality",
    "NoiseReduction",
    "Prompt",
    "Reasoning",
    "RetentionRatio",
    "SemanticVAD",
    "ServerVAD",
    "Session",
    "SessionPatch",
    "TokenLimits",
    "Tool",
    "ToolChoice",
    "ToolChoiceFunction",
    "ToolChoiceMCP",
    "Tracing",
    "Transcription",
    "Truncation",
    "TurnDetection",
    "VoiceId",
]

Modality: TypeAlias = Literal["text", "audio"]


@attrs.frozen
class PCM:
    """Signed 16 bit little endian, mono, 24 kHz."""

    type: ClassVar[Literal["audio/pcm"]] = "audio/pcm"
    rate: Maybe[int] = UNSET


@attrs.frozen
class PCMU:
    """G.711 µ-law, 8 kHz."""

    type: ClassVar[Literal["audio/pcmu"]] = "audio/pcmu"


@attrs.frozen
class PCMA:
    """G.711 A-law, 8 kHz."""

    type: ClassVar[Literal["audio/pcma"]] = "audio/pcma"


AudioFormat: TypeAlias = PCM | PCMU | PCMA | Raw


@attrs.frozen(kw_only=True)
class Transcription:
    """How user audio is transcribed. The server echoes unused fields as null."""

    model: Nullable[str] = UNSET
    language: Nullable[str] = UNSET
    languages: Nullable[tuple[str, ...]] = UNSET
    prompt: Nullable[str] = UNSET
    keywords: Nullable[tuple[str, ...]] = UNSET
    delay: Nullable[Literal["minimal", "low", "medium", "high", "xhigh"]] = UNSET


@attrs.frozen
class NoiseReduction:
    """Noise reduction; an omitted strength keeps the old one."""

    type: Literal["near_field", "far_field"]
    strength: Nullable[float] = UNSET


@attrs.frozen(kw_only=True)
class ServerVAD:
    """Turn detection by energy (§8.1)."""

    type: ClassVar[Literal["server_vad"]] = "server_vad"
    threshold: Nullable[float] = UNSET
    prefix_padding_ms: Nullable[int] = UNSET
    silence_duration_ms: Nullable[int] = UNSET
    idle_timeout_ms: Nullable[int] = UNSET
    create_response: Nullable[bool] = UNSET
    interrupt_response: Nullable[bool] = UNSET


@attrs.frozen(kw_only=True)
class SemanticVAD:
    """Turn detection by a model (§8.2)."""

    type: ClassVar[Literal["semantic_vad"]] = "semantic_vad"
    eagerness: Nullable[Literal["auto", "low", "medium", "high"]] = UNSET
    create_response: Nullable[bool] = UNSET
    interrupt_response: Nullable[bool] = UNSET


TurnDetection: TypeAlias = ServerVAD | SemanticVAD | Raw


@attrs.frozen(kw_only=True)
class AudioInput:
    """`session.audio.input`; merged key by key by the server, each leaf as a unit."""

    format: Maybe[AudioFormat] = UNSET
    transcription: Nullable[Transcription] = UNSET
    noise_reduction: Nullable[NoiseReduction] = UNSET
    turn_detection: Nullable[TurnDetection] = UNSET


@attrs.frozen
class VoiceId:
    """A custom voice."""

    id: str


@attrs.frozen(kw_only=True)
class AudioOutput:
    """`session.audio.output`, and the same in responses (without speed)."""

    format: Maybe[AudioFormat] = UNSET
    voice: Nullable[str | VoiceId] = UNSET
    speed: Nullable[float] = UNSET


@attrs.frozen(kw_only=True)
class AudioConfig:
    """`session.audio`."""

    input: Maybe[AudioInput] = UNSET
    output: Maybe[AudioOutput] = UNSET


@attrs.frozen
class FunctionTool:
    """A function that the client runs; `parameters` is a JSON Schema."""

    type: ClassVar[Literal["function"]] = "function"
    name: str
    description: Nullable[str] = UNSET
    parameters: Nullable[dict[str, Any]] = UNSET


@attrs.frozen(kw_only=True)
class MCPTool:
    """A remote tool server that the provider calls (§12.2). Its repr hides keys."""

    type: ClassVar[Literal["mcp"]] = "mcp"
    server_label: str
    server_url: Nullable[str] = attrs.field(default=UNSET, repr=False)
    connector_id: Nullable[str] = UNSET
    tunnel_id: Nullable[str] = UNSET
    authorization: Nullable[str] = attrs.field(default=UNSET, repr=False)
    headers: Nullable[dict[str, str]] = attrs.field(default=UNSET, repr=False)
    allowed_tools: Any = UNSET
    require_approval: Any = UNSET
    server_description: Nullable[str] = UNSET
    defer_loading: Nullable[bool] = UNSET
    allowed_callers: Nullable[tuple[str, ...]] = UNSET


Tool: TypeAlias = FunctionTool | MCPTool | Raw


@attrs.frozen
class ToolChoiceFunction:
    """The model must call this function."""

    type: ClassVar[Literal["function"]] = "function"
    name: str


@attrs.frozen
class ToolChoiceMCP:
    """The model must call this remote tool server, or one tool of it."""

    type: ClassVar[Literal["mcp"]] = "mcp"
    server_label: str
    name: Nullable[str] = UNSET


ToolChoice: TypeAlias = (
    Literal["auto", "none", "required"] | ToolChoiceFunction | ToolChoiceMCP | Raw
)


@attrs.frozen
class Reasoning:
    """Reasoning effort; refused by models that do not reason."""

    effort: Nullable[str] = UNSET


@attrs.frozen
class TokenLimits:
    """Limits of the context window."""

    post_instructions: Nullable[int] = UNSET


@attrs.frozen
class RetentionRatio:
    """Truncation that drops further at once, to keep caching effective (§11.2)."""

    type: ClassVar[Literal["retention_ratio"]] = "retention_ratio"
    retention_ratio: float
    token_limits: Nullable[TokenLimits] = UNSET


Truncation: TypeAlias = Literal["auto", "disabled"] | RetentionRatio | Raw


@attrs.frozen(kw_only=True)
class Tracing:
    """Where traces are filed."""

    workflow_name: Nullable[str] = UNSET
    group_id: Nullable[str] = UNSET
    metadata: Any = UNSET


@attrs.frozen
class Prompt:
    """A prompt stored with the provider."""

    id: str
    version: Nullable[str] = UNSET
    variables: Nullable[dict[str, Any]] = UNSET


@attrs.frozen(kw_only=True)
class _SessionFields:
    """What a session and a patch of it have in common (§3.1)."""

    model: Maybe[str] = UNSET
    output_modalities: Maybe[tuple[Modality, ...]] = UNSET
    instructions: Maybe[str] = UNSET
    audio: Maybe[AudioConfig] = UNSET
    tools: Maybe[tuple[Tool, ...]] = UNSET
    tool_choice: Maybe[ToolChoice] = UNSET
    parallel_tool_calls: Nullable[bool] = UNSET
    reasoning: Nullable[Reasoning] = UNSET
    max_output_tokens: Nullable[int | Literal["inf"]] = UNSET
    truncation: Nullable[Truncation] = UNSET
    tracing: Nullable[Literal["auto"] | Tracing] = UNSET
    prompt: Nullable[Prompt] = UNSET
    include: Nullable[tuple[str, ...]] = UNSET


@attrs.frozen(kw_only=True)
class SessionPatch(_SessionFields):
    """A change of the session: absent keys stay as they are (§3.2).

    `type` is required by the server in every `session.update`.
    """

    type: Literal["realtime", "transcription"]


@attrs.frozen(kw_only=True)
class Session(_SessionFields):
    """The session as the server shows it; servers differ, every field may be absent."""

    type: Maybe[Literal["realtime", "transcription"]] = UNSET
    object: Maybe[str] = UNSET
    id: Maybe[str] = UNSET
    expires_at: Nullable[float] = UNSET
