"""What the user heard of a reply that was cut short.

Providers give no alignment of words and audio, so the words are cut in proportion to
time, at the end of a whole word, unless the caller knows better and says which words
were heard. Where the length of the audio is unknown too, the words stay whole and only
`heard_ms` tells; a position of 0 always means no word at all.
"""

from __future__ import annotations

import attrs

from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    Content,
    Item,
    Message,
)

__all__ = ["Heard", "heard_part_of"]


@attrs.frozen
class Heard:
    """How far a reply was heard.

    Attributes:
        ms: position in the audio of part `content_index`.
        text: the words heard, if known.
        received_ms: how much audio of that part had arrived, if known.
        content_index: the part that was playing; spoken parts behind it were not heard.
    """

    ms: int
    text: str | None = None
    received_ms: int | None = None
    content_index: int = 0

    def at_most(self, cut: Heard) -> Heard:
        """Return this, or less of it if the same part was cut shorter."""
        if cut.content_index != self.content_index or cut.ms >= self.ms:
            return self
        return attrs.evolve(self, ms=cut.ms, text=None)


def heard_part_of(item: Item, heard: Heard) -> Item:
    """Return the item with only the words that were heard. Written text is kept."""
    if not isinstance(item, Message):
        return item
    content = tuple(_cut(part, at, heard) for at, part in enumerate(item.content))
    return attrs.evolve(item, content=content, heard_ms=heard.ms)


def _cut(part: Content, at: int, heard: Heard) -> Content:
    if at < heard.content_index:
        return part
    match part:
        case AudioTranscribed(transcript=words, duration_ms=ms):
            return AudioTranscribed(_words_heard(words, ms, at, heard), ms)
        case AudioPending(transcript_so_far=words, duration_ms=ms):
            return AudioPending(_words_heard(words, ms, at, heard), ms)
        case _:
            return part


def _words_heard(words: str, duration_ms: int | None, at: int, heard: Heard) -> str:
    if at > heard.content_index or heard.ms <= 0:
        return ""
    if heard.text is not None:
        return heard.text
    total = duration_ms if heard.received_ms is None else heard.received_ms
    if not total or heard.ms >= total:
        return words
    return _whole_words(words, len(words) * heard.ms // total)


def _whole_words(words: str, length: int) -> str:
    if words[length : length + 1].strip():  # the cut falls inside a word
        head, space, _ = words[:length].rpartition(" ")
        return head if space else ""
    return words[:length].rstrip()
