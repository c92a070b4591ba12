"""Responses: the object, its usage, and the parameters that ask for one (§6.6, §9)."""

from typing import Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire.base import UNSET, Maybe, Nullable
from trialogue.dialects.openai.wire.items import Item
from trialogue.dialects.openai.wire.session import (
    AudioOutput,
    Modality,
    Prompt,
    Reasoning,
    Tool,
    ToolChoice,
)

__all__ = [
    "CachedTokenDetails",
    "InputTokenDetails",
    "OutputTokenDetails",
    "Response",
    "ResponseAudio",
    "ResponseParams",
    "Status",
    "StatusDetails",
    "StatusError",
    "Usage",
]

Status: TypeAlias = Literal[
    "in_progress", "completed", "cancelled", "incomplete", "failed"
]


@attrs.frozen(kw_only=True)
class CachedTokenDetails:
    """Cached input tokens by modality."""

    text_tokens: Nullable[int] = UNSET
    audio_tokens: Nullable[int] = UNSET
    image_tokens: Nullable[int] = UNSET


@attrs.frozen(kw_only=True)
class InputTokenDetails:
    """Input tokens by modality; the cached ones are part of them."""

    text_tokens: Nullable[int] = UNSET
    audio_tokens: Nullable[int] = UNSET
    image_tokens: Nullable[int] = UNSET
    cached_tokens: Nullable[int] = UNSET
    cached_tokens_details: Nullable[CachedTokenDetails] = UNSET


@attrs.frozen(kw_only=True)
class OutputTokenDetails:
    """Output tokens by modality; spoken replies also count their transcript as text."""

    text_tokens: Nullable[int] = UNSET
    audio_tokens: Nullable[int] = UNSET


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens of one response (§11.1)."""

    total_tokens: Nullable[int] = UNSET
    input_tokens: Nullable[int] = UNSET
    output_tokens: Nullable[int] = UNSET
    input_token_details: Nullable[InputTokenDetails] = UNSET
    output_token_details: Nullable[OutputTokenDetails] = UNSET


@attrs.frozen(kw_only=True)
class StatusError:
    """Why a response failed."""

    type: Nullable[str] = UNSET
    code: Nullable[str] = UNSET
    message: Nullable[str] = UNSET


@attrs.frozen(kw_only=True)
class StatusDetails:
    """Why a response ended as it did."""

    type: Nullable[str] = UNSET
    reason: Nullable[str] = UNSET
    error: Nullable[StatusError] = UNSET


@attrs.frozen(kw_only=True)
class ResponseAudio:
    """`response.audio`."""

    output: Maybe[AudioOutput] = UNSET


@attrs.frozen(kw_only=True)
class Response:
    """A response as the server shows it; every field may be absent."""

    object: Maybe[str] = UNSET
    id: Maybe[str] = UNSET
    status: Maybe[Status] = UNSET
    status_details: Nullable[StatusDetails] = UNSET
    output: Nullable[tuple[Item, ...]] = UNSET
    conversation_id: Nullable[str] = UNSET
    output_modalities: Nullable[tuple[Modality, ...]] = UNSET
    max_output_tokens: Nullable[int | Literal["inf"]] = UNSET
    audio: Nullable[ResponseAudio] = UNSET
    usage: Nullable[Usage] = UNSET
    metadata: Nullable[dict[str, str]] = UNSET


@attrs.frozen(kw_only=True)
class ResponseParams:
    """What `response.create` overrides for one response (§9.1).

    `instructions` and `tools` replace the session's, they do not add to them; `input`
    replaces the conversation as the context.
    """

    conversation: Maybe[Literal["auto", "none"]] = UNSET
    input: Maybe[tuple[Item, ...]] = UNSET
    instructions: Nullable[str] = UNSET
    tools: Maybe[tuple[Tool, ...]] = UNSET
    tool_choice: Maybe[ToolChoice] = UNSET
    parallel_tool_calls: Nullable[bool] = UNSET
    reasoning: Nullable[Reasoning] = UNSET
    output_modalities: Maybe[tuple[Modality, ...]] = UNSET
    max_output_tokens: Maybe[int | Literal["inf"]] = UNSET
    audio: Maybe[ResponseAudio] = UNSET
    prompt: Nullable[Prompt] = UNSET
    metadata: Nullable[dict[str, str]] = UNSET
