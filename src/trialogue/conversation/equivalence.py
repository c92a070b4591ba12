"""When two items say the same to a model."""

from __future__ import annotations

import attrs

from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    Content,
    FunctionCall,
    ImageContent,
    Item,
    Message,
    TextContent,
)
from trialogue.conversation.parts import is_audio

__all__ = [
    "as_words",
    "can_be_made_again",
    "has_content",
    "is_spoken",
    "is_untranscribed",
    "really_changed",
    "same_meaning",
]


def same_meaning(one: Item, other: Item) -> bool:
    """Whether the items are equal but for what is volatile.

    Volatile are the status, durations, interim transcripts, and the annotations `agent`
    and `heard_ms`: none of them is part of what a provider is given.
    """
    return _essence(one) == _essence(other)


def really_changed(before: Item, after: Item) -> bool:
    """Whether whoever wrote `after` meant to say something else than `before`.

    Stricter than inequality: audio whose transcript is known in one of the two only is
    the same audio, and so is audio that stands in `after` as a text of the same words.
    A spoken item can only be re-created as text, so a mere difference in knowledge must
    never count as a change.
    """
    if not (isinstance(before, Message) and isinstance(after, Message)):
        return not same_meaning(before, after)
    if before.role != after.role or len(before.content) != len(after.content):
        return True
    pairs = zip(before.content, after.content, strict=True)
    return any(_part_changed(old, new) for old, new in pairs)


def is_spoken(item: Item) -> bool:
    """Whether the item is sound at the provider, which re-creating it would lose."""
    return isinstance(item, Message) and any(is_audio(part) for part in item.content)


def is_untranscribed(item: Item) -> bool:
    """Whether the item is a turn of the user's whose words are not known."""
    return (
        isinstance(item, Message)
        and item.role == "user"
        and any(isinstance(p, AudioPending | AudioUnintelligible) for p in item.content)
    )


def has_content(item: Item) -> bool:
    """Whether there is anything to send; only a message can have nothing (S1).

    Audio without a known word counts as content: silence is not emptiness.
    """
    if not isinstance(item, Message):
        return True
    return any(_says_something(part) for part in item.content)


def can_be_made_again(item: Item) -> bool:
    """Whether a server takes it once more: not if no word of it is known.

    The sound of a user's turn may be kept here; a reply is lost with its server.
    """
    return has_content(as_words(item))


def as_words(item: Item) -> Item:
    """Take what is known of a reply's words for all of them: no more will come."""
    if not isinstance(item, Message) or item.role != "assistant":
        return item
    content = tuple(map(_as_transcript, item.content))
    return attrs.evolve(item, content=content)


def _says_something(part: Content) -> bool:
    match part:
        case TextContent(text=text) | AudioTranscribed(transcript=text):
            return bool(text.strip())
        case ImageContent(url=url):
            return bool(url)
        case AudioPending() | AudioUnintelligible():
            return True


def _part_changed(before: Content, after: Content) -> bool:
    match before, after:
        case AudioTranscribed(transcript=old), AudioTranscribed(transcript=new):
            return old != new
        case AudioTranscribed(transcript=old), TextContent(text=new):
            return old != new
        case _ if is_audio(before) and is_audio(after):
            return False
        case _:
            return before != after


def _essence(item: Item) -> Item:
    match item:
        case Message():
            content = tuple(_part_essence(part) for part in item.content)
            return attrs.evolve(
                item, content=content, status="completed", agent=None, heard_ms=None
            )
        case FunctionCall():
            return attrs.evolve(item, status="completed", agent=None)
        case _:
            return attrs.evolve(item, status="completed")


def _part_essence(part: Content) -> Content:
    match part:
        case AudioPending():
            return AudioPending()
        case AudioTranscribed(transcript=words):
            return AudioTranscribed(words)
        case AudioUnintelligible():
            return AudioUnintelligible()
        case _:
            return part


def _as_transcript(part: Content) -> Content:
    match part:
        case AudioPending(transcript_so_far=words, duration_ms=ms):
            return AudioTranscribed(words, ms)
        case AudioUnintelligible(duration_ms=ms):
            return AudioTranscribed("", ms)
        case _:
            return part
