"""How a local server behaves where real servers differ, and how fast it is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import attrs

from trialogue.errors import ConfigurationError
from trialogue.testing.machine.quirks import XAIQuirks

__all__ = ["DEFAULT_INSTRUCTIONS", "SECRET_PREFIX", "Dialect", "Pace", "Settings"]

Dialect: TypeAlias = Literal["openai", "azure", "beta", "xai"]

SECRET_PREFIX: Final = "ek_"
"""How an ephemeral client secret begins."""

DEFAULT_INSTRUCTIONS: Final = "You are a helpful, witty, and friendly AI."


@attrs.frozen(kw_only=True)
class Pace:
    """When a response's events leave.

    Attributes:
        think_ms: from `response.created` to the first output.
        burst: how many times faster than it plays audio is sent.
        delta_ms: the lengths of successive audio deltas, repeated.
        text_ms: between two deltas of text or of arguments.
        rate_limits_ms: from `response.done` to `rate_limits.updated`; None never sends.
        transcript_ms: from a commit to its transcript; each entry serves one turn, the
            last all that follow, so a later turn may be transcribed first.
        cancel_ms: from a cancel, or the user's speech, to the cancelled response's end.
    """

    think_ms: float = 50
    burst: float = 10
    delta_ms: tuple[int, ...] = (40, 100, 200, 160, 60)
    text_ms: float = 2
    rate_limits_ms: float | None = 40
    transcript_ms: tuple[float, ...] = (150,)
    cancel_ms: float = 0


def _any_realtime(model: str) -> bool:
    return "realtime" in model


def _any_grok_voice(model: str) -> bool:
    return "grok-voice" in model


_VOICES: Final[dict[Dialect, str]] = {
    "openai": "marin",
    "azure": "marin",
    "beta": "alloy",
    "xai": "eve",
}


def _known(dialect: Dialect) -> Dialect:
    """Refuse any other at once: the defaults of other fields depend on it."""
    if dialect not in _VOICES:
        known = ", ".join(map(repr, _VOICES))
        raise ConfigurationError(f"no dialect {dialect!r}: give one of {known}")
    return dialect


def _default_models(settings: Settings) -> Callable[[str], bool]:
    return _any_grok_voice if settings.dialect == "xai" else _any_realtime


def _default_voice(settings: Settings) -> str:
    return _VOICES[settings.dialect]


def _reasoning_model(model: str) -> bool:
    return re.search(r"realtime-2(?!\d)", model) is not None


def _nothing(text: str) -> bool:
    return False


@attrs.frozen(kw_only=True)
class Settings:
    """What a local server accepts, and which of the real servers it takes after.

    Attributes:
        dialect: whose manner it has: "openai" (the default: at its own paths Azure's
            manner too), "azure" (only that), "beta" (OpenAI's protocol before it was
            generally available, which Azure's dated versions still speak) or "xai".
        xai: which of xAI's peculiarities it shows, in that dialect.
        keys: the accepted API keys; None accepts any that is not empty.
        accepts_model: whether a model of that name exists.
        reasoning: whether models reason, so that they take `reasoning` and
            `parallel_tool_calls`; or a function that tells of each by its name. By
            default the `gpt-realtime-2` family does.
        instructions: the session's default ones.
        voice: the session's default voice; if it is the dialect's usual one, a path
            that speaks another dialect has the usual one of that.
        max_duration: seconds until the session expires.
        echo_event_id: errors name the client event at fault.
        duplicate_items: "append" takes an item whose id exists, as older models did.
        unknown_calls: whether an output of a call that does not exist is refused.
        unintelligible: whether what a turn says cannot be transcribed: its
            transcription fails. The model hears it all the same.
        when_busy: a turn that ends while a response runs and is not interrupted:
            answered by none, or by one that waits, unless the user speaks before.
        oddities: adds an unknown field to some deltas and an unknown event to each
            response, as real servers may.
        pace: how fast it is.
        wall: seconds since 1970, for `expires_at`.
    """

    dialect: Dialect = attrs.field(default="openai", converter=_known)
    xai: XAIQuirks = attrs.field(factory=XAIQuirks)
    keys: frozenset[str] | None = attrs.field(default=None, repr=False)
    accepts_model: Callable[[str], bool] = attrs.field(
        default=attrs.Factory(_default_models, takes_self=True)
    )
    reasoning: bool | Callable[[str], bool] = _reasoning_model
    instructions: str = DEFAULT_INSTRUCTIONS
    voice: str = attrs.field(default=attrs.Factory(_default_voice, takes_self=True))
    max_duration: float = 3600.0
    echo_event_id: bool = True
    duplicate_items: Literal["reject", "append"] = "reject"
    unknown_calls: Literal["reject", "accept"] = "reject"
    unintelligible: Callable[[str], bool] = _nothing
    when_busy: Literal["skip", "queue"] = "skip"
    oddities: bool = True
    pace: Pace = Pace()
    wall: Callable[[], float] = time.time

    def on_surface(self, dialect: Dialect) -> Settings:
        """Return the settings where that is spoken: its usual voice is another."""
        usual = self.voice == _VOICES[self.dialect]
        voice = _VOICES[dialect] if usual else self.voice
        return attrs.evolve(self, dialect=dialect, voice=voice)

    def accepts_key(self, key: str | None) -> bool:
        """Whether that is an API key; a client secret is none."""
        if self.keys is not None:
            return key in self.keys
        return bool(key) and not str(key).startswith(SECRET_PREFIX)

    def reasons(self, model: str) -> bool:
        """Whether a model of that name reasons."""
        return self.reasoning(model) if callable(self.reasoning) else self.reasoning
