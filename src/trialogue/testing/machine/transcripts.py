"""What user turns are transcribed to, told when it is known (protocol §6.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from trialogue.dialects.openai.wire import server_events as wire
from trialogue.dialects.openai.wire.base import UNSET
from trialogue.dialects.openai.wire.error import ErrorDetails
from trialogue.testing.machine.conversation import BYTES_PER_MS
from trialogue.testing.machine.usage import text_tokens

if TYPE_CHECKING:
    from trialogue.dialects.openai.wire.session import Session
    from trialogue.testing.machine.conversation import Held
    from trialogue.testing.machine.host import Host

__all__ = ["transcribe_later"]

LOGPROBS: Final = "item.input_audio_transcription.logprobs"
#: Tells a whole transcript at once, and is paid by the second.
_AT_ONCE: Final = "whisper-1"
_UNINTELLIGIBLE: Final = ErrorDetails(
    type="transcription_error",
    code="audio_unintelligible",
    message="The audio could not be transcribed.",
    param=None,
)


def transcribe_later(host: Host, held: Held, session: Session, number: int) -> None:
    """Tell the transcript of a turn, if the session wants one, after its delay.

    Args:
        host: the connection's.
        held: the item, and what was heard in it.
        session: as it was when the turn was committed: it decides.
        number: the turn's, from 1.
    """
    assert session.audio
    assert session.audio.input
    wanted: Any = session.audio.input.transcription
    if not wanted:
        return
    delays = host.settings.pace.transcript_ms
    at_once = wanted.model == _AT_ONCE
    logprobs = LOGPROBS in (session.include or ())
    host.after(
        delays[min(number, len(delays)) - 1],
        lambda: _transcribed(host, held, at_once=at_once, logprobs=logprobs),
    )


def _transcribed(host: Host, held: Held, *, at_once: bool, logprobs: bool) -> None:
    where: dict[str, Any] = {"item_id": held.id, "content_index": 0}
    if host.settings.unintelligible(held.heard):
        host.emit(wire.InputAudioTranscriptionFailed, **where, error=_UNINTELLIGIBLE)
        return
    for delta in [held.heard] if at_once else _halves(held.heard):
        if delta:
            shown = _logprobs(delta) if logprobs else UNSET
            host.emit(
                wire.InputAudioTranscriptionDelta, **where, delta=delta, logprobs=shown
            )
    held.set_transcript(held.heard)
    host.emit(
        wire.InputAudioTranscriptionCompleted,
        **where,
        transcript=held.heard,
        usage=_usage_by_time(held) if at_once else _usage(held),
        logprobs=_logprobs(held.heard) if logprobs else UNSET,
    )


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [text[:middle], text[middle:]]


def _logprobs(text: str) -> tuple[wire.LogProb, ...]:
    """Return words as tokens; joined they are the text."""
    return tuple(
        wire.LogProb(token=token, logprob=-0.01, bytes=tuple(token.encode()))
        for token in re.findall(r"\s*\S+|\s+", text)
    )


def _usage(held: Held) -> dict[str, Any]:
    heard, said = len(held.pcm) // BYTES_PER_MS // 100, text_tokens(held.heard)
    return {
        "type": "tokens",
        "total_tokens": heard + said,
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": said,
    }


def _usage_by_time(held: Held) -> dict[str, Any]:
    return {"type": "duration", "seconds": len(held.pcm) / BYTES_PER_MS / 1000}
