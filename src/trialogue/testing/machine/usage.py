"""Token numbers that add up (protocol §11.1, §16.62)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.dialects.openai.wire.items import InputText, Message
from trialogue.dialects.openai.wire.response import (
    CachedTokenDetails,
    InputTokenDetails,
    OutputTokenDetails,
    Usage,
)
from trialogue.testing.machine.conversation import BYTES_PER_MS, Held

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ZERO", "text_tokens", "usage"]


def text_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return -(-len(text) // 4)


def _readable(held: Held) -> str:
    """Return the text that a model reads: of a user's audio it reads no transcript."""
    if isinstance(held.item, Message) and held.item.role == "user":
        parts = held.item.content
        return " ".join(part.text for part in parts if isinstance(part, InputText))
    return held.text


def _audio_tokens(held: Held) -> int:
    """One per 100 ms of a user's audio, per 50 ms of a model's."""
    per = 50 if held.is_assistant_audio else 100
    return len(held.pcm) // BYTES_PER_MS // per


def usage(
    prefix: str, context: Iterable[Held], output: Iterable[Held], cached_text: int
) -> Usage:
    """Count one response.

    Args:
        prefix: instructions and tools.
        context: the items that the model read.
        output: the items that it made.
        cached_text: how many text tokens of the input were read before.
    """
    read, made = list(context), list(output)
    text_in = text_tokens(prefix) + sum(text_tokens(_readable(held)) for held in read)
    return _usage(
        text_in,
        sum(map(_audio_tokens, read)),
        sum(text_tokens(held.text) for held in made),
        sum(map(_audio_tokens, made)),
        min(cached_text, text_in),
    )


def _usage(
    text_in: int, audio_in: int, text_out: int, audio_out: int, cached: int
) -> Usage:
    return Usage(
        total_tokens=text_in + audio_in + text_out + audio_out,
        input_tokens=text_in + audio_in,
        output_tokens=text_out + audio_out,
        input_token_details=InputTokenDetails(
            text_tokens=text_in,
            audio_tokens=audio_in,
            image_tokens=0,
            cached_tokens=cached,
            cached_tokens_details=CachedTokenDetails(
                text_tokens=cached, audio_tokens=0, image_tokens=0
            ),
        ),
        output_token_details=OutputTokenDetails(
            text_tokens=text_out, audio_tokens=audio_out
        ),
    )


ZERO = _usage(0, 0, 0, 0, 0)
