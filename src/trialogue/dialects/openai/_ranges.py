"""The ranges that OpenAI Realtime documents (§3.1, §8), checked before sending.

A value out of range would cost a round trip, and take the rest of its update with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trialogue.dialects.options import ServerVAD, SessionOptions
from trialogue.errors import ConversionError

if TYPE_CHECKING:
    from trialogue.dialects.commands import CreateResponse
    from trialogue.dialects.options import Unchanged

__all__ = ["check_options", "check_response"]

SPEED: Final = (0.25, 1.5)
IDLE_TIMEOUT_MS: Final = (5_000, 30_000)
MAX_OUTPUT_TOKENS: Final = (1, 4_096)


def check_options(options: SessionOptions) -> None:
    """Check session options against what the provider documents.

    Raises:
        ConversionError: a value is out of its range; names field, value and range.
    """
    _within("speed", options.speed, SPEED)
    _check_reply(options)
    if isinstance(options.turn_detection, ServerVAD):
        idle = options.turn_detection.idle_timeout_ms
        _within("turn_detection.idle_timeout_ms", idle, IDLE_TIMEOUT_MS)


def check_response(command: CreateResponse) -> None:
    """Check what a reply overrides; raises as `check_options`."""
    _check_reply(command)


def _check_reply(options: SessionOptions | CreateResponse) -> None:
    _within("max_output_tokens", options.max_output_tokens, MAX_OUTPUT_TOKENS)
    modalities = options.output_modalities
    if isinstance(modalities, tuple) and len(modalities) != 1:
        raise ConversionError(
            f"output_modalities is {modalities!r}: OpenAI Realtime takes exactly one, "
            '("audio",), which brings a transcript, or ("text",)'
        )


def _within(
    field: str, value: float | str | Unchanged | None, limits: tuple[float, float]
) -> None:
    low, high = limits
    if isinstance(value, int | float) and not low <= value <= high:
        raise ConversionError(
            f"{field} is {value!r}: OpenAI Realtime takes {low} to {high}"
        )
