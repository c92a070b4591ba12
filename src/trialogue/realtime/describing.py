"""What the description of a model is made of: its defaults, and what is given."""

from __future__ import annotations

from typing import Any

import attrs

from trialogue.dialects.dialect import Capabilities
from trialogue.dialects.openai import check_options
from trialogue.dialects.options import (
    UNCHANGED,
    ServerVAD,
    SessionOptions,
    Transcription,
    Voice,
)
from trialogue.errors import ConfigurationError, ConversionError

__all__ = ["capabilities_of", "options_of"]


def options_of(
    given: SessionOptions | None, *, voice: Voice | None, transcription: Transcription
) -> SessionOptions:
    """Return the options a conversation begins with: speech, turns, transcripts.

    Raises:
        ConfigurationError: one is out of the range that OpenAI documents.
    """
    defaults = SessionOptions(
        output_modalities=("audio",),
        turn_detection=ServerVAD(),
        transcription=transcription,
        voice=UNCHANGED if voice is None else voice,
    )
    chosen = defaults.merged(given or SessionOptions())
    try:
        check_options(chosen)
    except ConversionError as error:
        raise ConfigurationError(str(error)) from None
    return chosen


def capabilities_of(given: Capabilities | dict[str, bool] | None) -> Capabilities:
    """Return capabilities that were given whole, or by the flags that differ.

    Raises:
        ConfigurationError: there is no such flag.
    """
    if isinstance(given, Capabilities):
        return given
    changes: dict[str, Any] = dict(given or {})
    unknown = changes.keys() - attrs.fields_dict(Capabilities).keys()
    if unknown:
        known = ", ".join(attrs.fields_dict(Capabilities))
        msg = f"unknown capabilities: {', '.join(sorted(unknown))}; known are {known}"
        raise ConfigurationError(msg)
    return attrs.evolve(Capabilities(), **changes)
