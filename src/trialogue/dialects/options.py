"""Session options in neutral form. A dialect maps what its provider knows."""

from __future__ import annotations

import enum
from typing import Any, Final, Literal, TypeAlias

import attrs

__all__ = [
    "UNCHANGED",
    "AudioFormat",
    "NamedTool",
    "NoiseReduction",
    "SemanticVAD",
    "ServerVAD",
    "SessionOptions",
    "ToolChoice",
    "Transcription",
    "TurnDetection",
    "Unchanged",
    "given",
]


class Unchanged(enum.Enum):
    """The type of `UNCHANGED`: absent on the wire; the provider keeps what it has."""

    UNCHANGED = "UNCHANGED"

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged.UNCHANGED

AudioFormat: TypeAlias = Literal["pcm16", "pcmu", "pcma"]
"""pcm16: 24 kHz, signed 16 bit little endian, mono. pcmu, pcma: G.711, 8 kHz."""


@attrs.frozen
class ServerVAD:
    """Turns are found by the energy of the voice (OpenAI Realtime, `server_vad`)."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    idle_timeout_ms: int | None = None
    create_response: bool = True
    interrupt_response: bool = True


@attrs.frozen
class SemanticVAD:
    """Turns are found by a model that judges whether the user has finished."""

    eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection: TypeAlias = ServerVAD | SemanticVAD


@attrs.frozen
class Transcription:
    """How user audio is transcribed. On by default: a record without words cannot be
    replayed on another connection."""

    model: str = "gpt-4o-mini-transcribe"
    language: str | None = None
    prompt: str | None = None


@attrs.frozen
class NoiseReduction:
    """Noise reduction ahead of turn detection."""

    type: Literal["near_field", "far_field"] = "near_field"


@attrs.frozen
class NamedTool:
    """A tool choice that forces one tool."""

    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool


@attrs.frozen
class SessionOptions:
    """Everything of a session but instructions and tools.

    `UNCHANGED` leaves a field to the provider; None clears it where None is legal
    (`turn_detection=None` means manual turns).
    """

    voice: str | Unchanged = UNCHANGED
    speed: float | Unchanged = UNCHANGED
    output_modalities: tuple[Literal["audio", "text"], ...] | Unchanged = UNCHANGED
    input_format: AudioFormat | Unchanged = UNCHANGED
    output_format: AudioFormat | Unchanged = UNCHANGED
    turn_detection: TurnDetection | Unchanged | None = UNCHANGED
    transcription: Transcription | Unchanged | None = UNCHANGED
    noise_reduction: NoiseReduction | Unchanged | None = UNCHANGED
    tool_choice: ToolChoice | Unchanged = UNCHANGED
    parallel_tool_calls: bool | Unchanged = UNCHANGED
    max_output_tokens: int | Literal["inf"] | Unchanged = UNCHANGED
    truncation: Any = UNCHANGED
    reasoning_effort: str | Unchanged = UNCHANGED
    tracing: Any = UNCHANGED
    prompt: Any = UNCHANGED
    include: tuple[str, ...] | Unchanged | None = UNCHANGED

    def merged(self, other: SessionOptions) -> SessionOptions:
        """Return these options with every field that `other` sets taken from it."""
        return attrs.evolve(self, **given(other))

    def changed_from(self, base: SessionOptions) -> SessionOptions:
        """Return only the fields whose value differs from that in `base`."""
        before = attrs.asdict(base, recurse=False)
        return SessionOptions(
            **{k: v for k, v in given(self).items() if before[k] != v}
        )


def given(options: SessionOptions) -> dict[str, Any]:
    """Return the fields that are set, by name."""
    fields = attrs.asdict(options, recurse=False)
    return {name: value for name, value in fields.items() if value is not UNCHANGED}
