"""How one content part changes: small total functions from part to part.

A part only gains knowledge. Interim text never replaces a final transcript, a pending
state never replaces a known one, and audio stays audio even when another connection
was given its transcript as text. `None` stands for a part that nobody has announced;
what is learned about it early is a part too, and meets the announced one in
`merge_part`.
"""

from __future__ import annotations

from typing import TypeAlias

from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    Content,
    ImageContent,
    TextContent,
)

__all__ = [
    "AUDIO",
    "is_audio",
    "merge_part",
    "speak",
    "speak_out",
    "transcribe",
    "transcribed",
    "untranscribable",
]

Audio: TypeAlias = AudioPending | AudioTranscribed | AudioUnintelligible
AUDIO = (AudioPending, AudioTranscribed, AudioUnintelligible)


def is_audio(part: Content) -> bool:
    """Whether the part is sound, whatever is known of its words."""
    return isinstance(part, AUDIO)


def merge_part(known: Content, incoming: Content) -> Content:
    """Return what is known once `incoming` was reported for a part we know."""
    if isinstance(known, AUDIO):
        return _merge_audio(known, incoming) if isinstance(incoming, AUDIO) else known
    if isinstance(known, TextContent) and isinstance(incoming, TextContent):
        return incoming if incoming.text else known
    if isinstance(incoming, AudioPending) and not incoming.transcript_so_far:
        return known
    return incoming


def _merge_audio(known: Audio, incoming: Audio) -> Content:
    duration = incoming.duration_ms if known.duration_ms is None else known.duration_ms
    match known, incoming:
        case AudioTranscribed(transcript=old), AudioTranscribed(transcript=new):
            return AudioTranscribed(new or old, duration)
        case (AudioTranscribed(transcript=text), _) | (
            _,
            AudioTranscribed(transcript=text),
        ):
            return AudioTranscribed(text, duration)
        case (AudioUnintelligible(reason=reason), _) | (
            _,
            AudioUnintelligible(reason=reason),
        ):
            return AudioUnintelligible(reason, duration)
        case AudioPending(transcript_so_far=old), AudioPending(transcript_so_far=new):
            return AudioPending(new or old, duration)


def transcribe(part: Content | None, text: str, *, cumulative: bool) -> Content:
    """Add interim text; with `cumulative` it replaces what there was."""
    match part:
        case None:
            return AudioPending(text)
        case AudioPending(transcript_so_far=so_far, duration_ms=duration):
            return AudioPending(text if cumulative else so_far + text, duration)
        case _:
            return part


def transcribed(part: Content | None, text: str) -> Content:
    """Make the transcript final. The first final transcript stands (S15)."""
    match part:
        case None:
            return AudioTranscribed(text)
        case AudioPending(duration_ms=ms) | AudioUnintelligible(duration_ms=ms):
            return AudioTranscribed(text, ms)
        case _:
            return part


def untranscribable(part: Content | None, reason: str) -> Content:
    """There will be no transcript, unless one arrives after all."""
    match part:
        case None:
            return AudioUnintelligible(reason)
        case AudioPending(duration_ms=ms):
            return AudioUnintelligible(reason, ms)
        case _:
            return part


def speak(part: Content | None, text: str, *, spoken: bool) -> Content:
    """Add text of the model; with `spoken` it is what its audio says."""
    match part:
        case None:
            return AudioPending(text) if spoken else TextContent(text)
        case AudioPending(transcript_so_far=so_far, duration_ms=duration):
            return AudioPending(so_far + text, duration)
        case TextContent(text=so_far):
            return TextContent(so_far + text)
        case _:
            return part


def speak_out(part: Content | None, text: str, *, spoken: bool) -> Content:
    """The whole text of the model's part. An empty one keeps what was collected."""
    match part:
        case None:
            return AudioTranscribed(text) if spoken else TextContent(text)
        case AudioPending(transcript_so_far=so_far, duration_ms=duration):
            return AudioTranscribed(text or so_far, duration)
        case AudioTranscribed(transcript=so_far, duration_ms=duration):
            return AudioTranscribed(text or so_far, duration)
        case AudioUnintelligible(duration_ms=duration):
            return AudioTranscribed(text, duration)
        case TextContent(text=so_far):
            return TextContent(text or so_far)
        case ImageContent():
            return part
