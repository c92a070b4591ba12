"""Session options in neutral form. A dialect maps what its provider knows.

A constructor refuses with `ConfigurationError` what can mean nothing at any provider;
what one provider does not take, its dialect refuses (`ConversionError`) before anything
is sent. A provider's own shape is passed on in two places only, `Prompt.variables` and
`Tracing.metadata`; any other event of its own goes as `SendRaw`.
"""

from __future__ import annotations

import enum
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

from trialogue.dialects import _validators as be

__all__ = [
    "UNCHANGED",
    "AudioFormat",
    "CustomVoice",
    "Modality",
    "NamedMCPTool",
    "NamedTool",
    "NoiseReduction",
    "Prompt",
    "RetentionRatio",
    "SemanticVAD",
    "ServerVAD",
    "SessionOptions",
    "ToolChoice",
    "Tracing",
    "Transcription",
    "Truncation",
    "TurnDetection",
    "Unchanged",
    "Voice",
    "check_values",
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

Modality: TypeAlias = Literal["audio", "text"]
"""audio: speech with its transcript. text: written words alone."""


@attrs.frozen
class CustomVoice:
    """A voice that was made for this account, by its id at the provider."""

    id: str = attrs.field(validator=be.text)


Voice: TypeAlias = str | CustomVoice
"""The name of a voice of the provider's, or a voice of one's own."""


@attrs.frozen
class ServerVAD:
    """Turns are found by the energy of the voice (OpenAI Realtime, `server_vad`).

    Attributes:
        threshold: how loud is speech, 0 to 1; higher for noisy places.
        prefix_padding_ms: what is kept from before the speech began.
        silence_duration_ms: how much silence ends a turn.
        idle_timeout_ms: silence after a reply upon which the model speaks again; None
            for never.
        create_response: whether the end of a turn is answered without being asked.
        interrupt_response: whether the user's voice cancels a reply.
    """

    threshold: float = attrs.field(default=0.5, validator=be.number(0, 1))
    prefix_padding_ms: int = attrs.field(
        default=300, validator=be.whole(0, be.MILLISECONDS)
    )
    silence_duration_ms: int = attrs.field(
        default=500, validator=be.whole(0, be.MILLISECONDS)
    )
    idle_timeout_ms: int | None = attrs.field(
        default=None, validator=be.optional(be.whole(1, be.MILLISECONDS), None)
    )
    create_response: bool = attrs.field(default=True, validator=be.flag)
    interrupt_response: bool = attrs.field(default=True, validator=be.flag)


@attrs.frozen
class SemanticVAD:
    """Turns are found by a model that judges whether the user has finished.

    Attributes:
        eagerness: how soon it answers; "auto" is as "medium". It waits 8 s at most with
            "low", 4 s with "medium", 2 s with "high" (OpenAI Realtime).
        create_response, interrupt_response: as in `ServerVAD`.
    """

    # pyright widens the default of a field that has a validator to any string.
    eagerness: Literal["auto", "low", "medium", "high"] = attrs.field(  # pyright: ignore
        default="auto", validator=be.one_of("auto", "low", "medium", "high")
    )
    create_response: bool = attrs.field(default=True, validator=be.flag)
    interrupt_response: bool = attrs.field(default=True, validator=be.flag)


TurnDetection: TypeAlias = ServerVAD | SemanticVAD


@attrs.frozen
class Transcription:
    """How user audio is transcribed. On by default: a record without words cannot be
    replayed on another connection.

    Attributes:
        model: the provider's model for it.
        language: the one language that is spoken, as ISO 639-1 ("en"); None to detect.
        languages: the languages that may be spoken, where the model takes several.
        prompt: text that guides the model, such as words to expect.
        keywords: words and phrases to expect, where the model takes them.
        delay: how long the model waits before it writes; more is more accurate.
    """

    model: str = attrs.field(default="gpt-4o-mini-transcribe", validator=be.text)
    language: str | None = attrs.field(
        default=None, validator=be.optional(be.text, None)
    )
    prompt: str | None = attrs.field(default=None, validator=be.optional(be.text, None))
    languages: tuple[str, ...] = attrs.field(default=(), validator=be.texts)
    keywords: tuple[str, ...] = attrs.field(default=(), validator=be.texts)
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = attrs.field(
        default=None,
        validator=be.optional(
            be.one_of("minimal", "low", "medium", "high", "xhigh"), None
        ),
    )


@attrs.frozen
class NoiseReduction:
    """Noise reduction ahead of turn detection.

    Attributes:
        type: a microphone at the mouth ("near_field") or in the room ("far_field").
        strength: how much is suppressed, 0 or more; None for the provider's default
            (OpenAI: 1).
    """

    type: Literal["near_field", "far_field"] = attrs.field(  # pyright: ignore
        default="near_field", validator=be.one_of("near_field", "far_field")
    )
    strength: float | None = attrs.field(
        default=None, validator=be.optional(be.number(0), None)
    )


@attrs.frozen
class NamedTool:
    """A tool choice that forces one tool."""

    name: str = attrs.field(validator=be.text)


@attrs.frozen
class NamedMCPTool:
    """A tool choice that forces a remote tool server, or (by name) one tool of it."""

    server_label: str = attrs.field(validator=be.text)
    name: str | None = attrs.field(default=None, validator=be.optional(be.text, None))


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool | NamedMCPTool


@attrs.frozen
class RetentionRatio:
    """Drop more than is needed at once, so that the provider's cache stays useful.

    Attributes:
        ratio: the share of the conversation that stays when it gets too long, 0 to 1.
        post_instructions_tokens: how long is too long, in tokens after instructions and
            tools; None for the model's own limit.
    """

    ratio: float = attrs.field(validator=be.number(0, 1))
    post_instructions_tokens: int | None = attrs.field(
        default=None, validator=be.optional(be.whole(0), None)
    )


Truncation: TypeAlias = Literal["auto", "disabled"] | RetentionRatio
"""What happens when the conversation outgrows the model: the oldest is left out
("auto", `RetentionRatio`), or the reply fails ("disabled")."""


@attrs.frozen
class Tracing:
    """Where the provider files its traces of the session.

    Attributes:
        workflow_name: what the trace is called.
        group_id: by what traces are grouped.
        metadata: anything to find it by, in the provider's own shape.
    """

    workflow_name: str | None = attrs.field(
        default=None, validator=be.optional(be.text, None)
    )
    group_id: str | None = attrs.field(
        default=None, validator=be.optional(be.text, None)
    )
    metadata: dict[str, Any] | None = attrs.field(
        default=None, validator=be.optional(be.instance_of(dict), None)
    )


@attrs.frozen
class Prompt:
    """A prompt that is stored with the provider.

    Attributes:
        id: its id there.
        version: one version of it; None for the current one.
        variables: what its placeholders become: strings, or the provider's own input
            parts as it writes them (images, files).
    """

    id: str = attrs.field(validator=be.text)
    version: str | None = attrs.field(
        default=None, validator=be.optional(be.text, None)
    )
    variables: dict[str, str | dict[str, Any]] | None = attrs.field(
        default=None, validator=be.optional(be.instance_of(dict), None)
    )


def _modalities(owner: Any, field: Any, value: Any) -> None:
    legal = isinstance(value, tuple) and set(value) <= set(get_args(Modality))
    if not legal or not value or len(set(value)) < len(value):
        be.refuse(owner, field, value, 'a tuple such as ("audio",) or ("text",)')


def _voice(owner: Any, field: Any, value: Any) -> None:
    if not isinstance(value, CustomVoice) and (not isinstance(value, str) or not value):
        be.refuse(owner, field, value, "the name of a voice, or a CustomVoice,")


_CHECKS: Final[dict[str, be.Validator]] = {
    "voice": _voice,
    "speed": be.number(0),
    "output_modalities": _modalities,
    "input_format": be.one_of(*get_args(AudioFormat)),
    "output_format": be.one_of(*get_args(AudioFormat)),
    "turn_detection": be.optional(be.instance_of(ServerVAD, SemanticVAD), None),
    "transcription": be.optional(be.instance_of(Transcription), None),
    "noise_reduction": be.optional(be.instance_of(NoiseReduction), None),
    "tool_choice": be.instance_of(
        NamedTool, NamedMCPTool, words=("auto", "none", "required")
    ),
    "parallel_tool_calls": be.flag,
    "max_output_tokens": be.optional(be.whole(1, "a whole number", "inf"), "inf"),
    "truncation": be.instance_of(RetentionRatio, words=("auto", "disabled")),
    "reasoning_effort": be.text,
    "tracing": be.optional(be.instance_of(Tracing, words=("auto",)), None),
    "prompt": be.optional(be.instance_of(Prompt), None),
    "include": be.optional(be.texts, None),
}


def check_values(options: Any) -> None:
    """Check those fields of an attrs instance that are named as session options are.

    Raises:
        ConfigurationError: a value can mean nothing at any provider.
    """
    for field in attrs.fields(type(options)):
        value = getattr(options, field.name)
        if field.name in _CHECKS and value is not UNCHANGED:
            _CHECKS[field.name](options, field, value)


@attrs.frozen
class SessionOptions:
    """Everything of a session but instructions and tools.

    `UNCHANGED` leaves a field to the provider; None clears it where None is legal
    (`turn_detection=None` means manual turns).

    Attributes:
        voice: who speaks; fixed once the conversation holds assistant audio.
        speed: how fast it speaks, 1.0 being normal (OpenAI: 0.25 to 1.5).
        output_modalities: what a reply consists of (OpenAI: exactly one).
        input_format, output_format: how audio travels; the program's side is PCM16
            24 kHz whatever they are. Fixed after the first update of a connection.
        turn_detection: who finds the end of the user's turn; None for the program.
        transcription: how user audio is transcribed; None for not at all.
        noise_reduction: what is done about noise; None for nothing.
        tool_choice: whether a reply may, must or must not call tools.
        parallel_tool_calls: whether a reply may call several (reasoning models).
        max_output_tokens: the most tokens of a reply, tool calls included (OpenAI: 1 to
            4096), or "inf".
        truncation: what is left out when the conversation gets too long.
        reasoning_effort: how hard the model thinks, in the provider's words (OpenAI:
            "minimal", "low", "medium", "high", "xhigh"; reasoning models only).
        tracing: whether the provider keeps a trace; "auto" for its own naming. Fixed
            once it is on.
        prompt: a prompt stored with the provider.
        include: what more the provider shall send, by the provider's names.

    Raises:
        ConfigurationError: a value can mean nothing at any provider.
    """

    voice: Voice | Unchanged = UNCHANGED
    speed: float | Unchanged = UNCHANGED
    output_modalities: tuple[Modality, ...] | Unchanged = UNCHANGED
    input_format: AudioFormat | Unchanged = UNCHANGED
    output_format: AudioFormat | Unchanged = UNCHANGED
    turn_detection: TurnDetection | Unchanged | None = UNCHANGED
    transcription: Transcription | Unchanged | None = UNCHANGED
    noise_reduction: NoiseReduction | Unchanged | None = UNCHANGED
    tool_choice: ToolChoice | Unchanged = UNCHANGED
    parallel_tool_calls: bool | Unchanged = UNCHANGED
    max_output_tokens: int | Literal["inf"] | Unchanged = UNCHANGED
    truncation: Truncation | Unchanged = UNCHANGED
    reasoning_effort: str | Unchanged = UNCHANGED
    tracing: Literal["auto"] | Tracing | Unchanged | None = UNCHANGED
    prompt: Prompt | Unchanged | None = UNCHANGED
    include: tuple[str, ...] | Unchanged | None = UNCHANGED

    def __attrs_post_init__(self) -> None:
        check_values(self)

    def merged(self, other: SessionOptions) -> SessionOptions:
        """Return these options with every field that `other` sets taken from it."""
        return attrs.evolve(self, **given(other))

    def changed_from(self, base: SessionOptions) -> SessionOptions:
        """Return only the fields whose value differs from that in `base`."""
        mine = given(self).items()
        return SessionOptions(**{k: v for k, v in mine if getattr(base, k) != v})


def given(options: SessionOptions) -> dict[str, Any]:
    """Return the fields that are set, by name."""
    return {
        name: value
        for name in _NAMES
        if (value := getattr(options, name)) is not UNCHANGED
    }


_NAMES = tuple(field.name for field in attrs.fields(SessionOptions))
