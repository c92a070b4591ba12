"""How a local server behaves where real servers differ, and how fast it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

import attrs

__all__ = ["DEFAULT_INSTRUCTIONS", "SECRET_PREFIX", "Pace", "Settings"]

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


def _nothing(text: str) -> bool:
    return False


@attrs.frozen(kw_only=True)
class Settings:
    """What a local server accepts, and which of the real servers it takes after.

    Attributes:
        keys: the accepted API keys; None accepts any that is not empty.
        accepts_model: whether a model of that name exists.
        reasoning: whether the models take `reasoning`.
        instructions: the session's default ones.
        voice: the session's default voice.
        max_duration: seconds until the session expires.
        echo_event_id: errors name the client event at fault.
        duplicate_items: "append" takes an item whose id exists, as older models did.
        unknown_calls: whether an output of a call that does not exist is refused.
        unintelligible: whether what a turn says cannot be transcribed: its
            transcription fails. The model hears it all the same.
        when_busy: a turn that ends while a response runs and is not interrupted:
            answered by none, or by one that waits.
        oddities: adds an unknown field to some deltas and an unknown event to each
            response, as real servers may.
        pace: how fast it is.
        wall: seconds since 1970, for `expires_at`.
    """

    keys: frozenset[str] | None = attrs.field(default=None, repr=False)
    accepts_model: Callable[[str], bool] = _any_realtime
    reasoning: bool = True
    instructions: str = DEFAULT_INSTRUCTIONS
    voice: str = "marin"
    max_duration: float = 3600.0
    echo_event_id: bool = True
    duplicate_items: Literal["reject", "append"] = "reject"
    unknown_calls: Literal["reject", "accept"] = "reject"
    unintelligible: Callable[[str], bool] = _nothing
    when_busy: Literal["skip", "queue"] = "skip"
    oddities: bool = True
    pace: Pace = Pace()
    wall: Callable[[], float] = time.time

    def accepts_key(self, key: str | None) -> bool:
        """Whether that is an API key; a client secret is none."""
        if self.keys is not None:
            return key in self.keys
        return bool(key) and not str(key).startswith(SECRET_PREFIX)
