"""What a conversation may cost, and its end when that is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import attrs
import trio

from trialogue.errors import ConfigurationError, SpendLimitReached

if TYPE_CHECKING:
    from trialogue.dialects.events import Usage
    from trialogue.errors import TrialogueError

__all__ = ["SpendKind", "SpendLimit", "SpendWarning", "Spending"]

SpendKind: TypeAlias = Literal["tokens", "audio_tokens", "seconds"]


@attrs.frozen(kw_only=True)
class SpendLimit:
    """What one conversation may cost. What is None has no limit.

    Reached, the session ends: its block is cancelled and raises `SpendLimitReached`,
    and no more work is accepted. Tokens are counted when a response ends, cancelled
    ones included, so that the response that goes over the limit is heard as far as it
    was played by then; the time is over at once, whatever is being said.

    Attributes:
        tokens: input and output tokens of all responses together. What transcribing the
            user costs is not among them (`Metrics.transcription`).
        audio_tokens: those of them that are audio, in and out.
        seconds: from the beginning of the session's block, on Trio's clock.
        warn_at: the fraction at which `SpendWarning` is published, once for each limit.

    Raises:
        ConfigurationError: a limit is not positive, or `warn_at` is not within 0 to 1.
    """

    tokens: int | None = None
    audio_tokens: int | None = None
    seconds: float | None = None
    warn_at: float = 0.8

    def __attrs_post_init__(self) -> None:
        for kind in ("tokens", "audio_tokens", "seconds"):
            limit = getattr(self, kind)
            if limit is not None and not limit > 0:
                msg = f"SpendLimit({kind}={limit!r}): a limit is positive, or None"
                raise ConfigurationError(msg)
        if not 0 < self.warn_at <= 1:
            msg = f"SpendLimit(warn_at={self.warn_at!r}): a fraction above 0, at most 1"
            raise ConfigurationError(msg)


@attrs.frozen
class SpendWarning:
    """Most of what the conversation may cost is spent (`SpendLimit.warn_at`)."""

    kind: SpendKind
    limit: float
    spent: float


class Session(Protocol):
    """What this module needs of the session."""

    def publish(self, event: object) -> None: ...

    def fail(self, error: TrialogueError) -> None: ...


class Spending:
    """Holds one session to its limit."""

    def __init__(self, session: Session, limit: SpendLimit | None) -> None:
        self._session = session
        self._limit = limit or SpendLimit()
        self._warned: set[SpendKind] = set()

    def spent(self, usage: Usage) -> None:
        """This is what all responses have cost up to now."""
        audio = usage.input_audio_tokens + usage.output_audio_tokens
        self._check(
            "tokens", self._limit.tokens, usage.input_tokens + usage.output_tokens
        )
        self._check("audio_tokens", self._limit.audio_tokens, audio)

    async def watch(self) -> None:
        """Hold the limit of time, from now until cancelled."""
        limit, began = self._limit.seconds, trio.current_time()
        if limit is None:
            return
        for moment in (limit * self._limit.warn_at, limit):
            await trio.sleep_until(began + moment)
            self._check("seconds", limit, moment)

    def _check(self, kind: SpendKind, limit: float | None, spent: float) -> None:
        if limit is None:
            return
        if spent >= limit:
            msg = (
                f"the conversation has reached its limit of {limit:g} "
                f"{kind.replace('_', ' ')} ({spent:g} spent) and was ended"
            )
            self._session.fail(
                SpendLimitReached(msg, kind=kind, limit=limit, spent=spent)
            )
        elif spent >= limit * self._limit.warn_at and kind not in self._warned:
            self._warned.add(kind)
            self._session.publish(SpendWarning(kind, limit, spent))
