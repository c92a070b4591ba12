"""What of a reply has come, and how much of it has reached the program.

Plain state between two sides: the connection's reader puts in what comes (it is the
`Tap` of the reply), the program takes it out (`streaming`). From what was taken follows
what was heard, and so where a reply that is left early is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trialogue.conversation.items import FunctionCall, Item, Message
from trialogue.realtime.replies import CutItem
from trialogue.realtime.reply_log import Log, Piece

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Part", "ReplyContent"]

SAMPLES_PER_MS = 24


@attrs.define(eq=False)
class Part:
    """One message of a reply.

    Attributes:
        spoken: it has sound, or words that are said.
        sound_ended: all of its sound has come.
        ended: it is final.
        taken: samples of it that were taken out.
        read: some of its words were taken out.
        cut: it was cut at what was heard of it.
    """

    item_id: str
    spoken: bool = False
    sound_ended: bool = False
    ended: bool = False
    taken: int = 0
    read: bool = False
    cut: bool = False


class ReplyContent:
    """The content of one reply.

    Attributes:
        reached: something of it has reached the program; it cannot be made anew.
        accepted: the program took its outcome, and with that all of it.
        listened: the program takes it as sound; its words are only the transcript.
        ended: nothing more comes.
        silenced: its sound was cut off; nothing more of it is handed out.
        cut_short: some of it will never be heard.
    """

    def __init__(
        self, audio_seconds: float, text_chars: int, changed: Callable[[], None]
    ) -> None:
        self.sound = Log[bytes](round(audio_seconds * 1000) * SAMPLES_PER_MS, unit=2)
        self.words = Log[str](text_chars)
        self.parts: list[Part] = []
        self.calls: list[FunctionCall] = []
        self.reached = False
        self.accepted = False
        self.listened = False
        self.ended = False
        self.silenced = False
        self.cut_short = False
        self._played_ms: int | None = None
        self._changed = changed

    def __repr__(self) -> str:
        return f"<ReplyContent {len(self.parts)} messages ended={self.ended}>"

    def part(self, item_id: str) -> Part:
        """Return the part of this id, which may be new."""
        for part in self.parts:
            if part.item_id == item_id:
                return part
        self.parts.append(part := Part(item_id))
        return part

    def knows(self, item_id: str) -> bool:
        """Whether this message began before everything else was dropped."""
        return any(part.item_id == item_id for part in self.parts)

    # --- what comes ----------------------------------------------------------

    def item(self, item: Item, *, ended: bool) -> None:
        """An output item was announced, or is final."""
        if isinstance(item, Message) and not self.ended:
            part = self.part(item.id)
            part.ended |= ended
            part.sound_ended |= ended
            self._changed()

    def audio(self, item_id: str, pcm: bytes) -> None:
        """More sound of a message, PCM16 24 kHz."""
        if not (self.ended or self.silenced):
            part = self.parts[-1] if self.parts else None
            if part is None or part.item_id != item_id:
                part = self.part(item_id)
            part.spoken = True
            self.sound.append(item_id, pcm)
            self._changed()

    def audio_ended(self, item_id: str) -> None:
        """All sound of a message has come."""
        if not self.ended:
            self.part(item_id).sound_ended = True

    def text(self, item_id: str, text: str, *, spoken: bool) -> None:
        """More words of a message; with `spoken`, of what its sound says."""
        if not self.ended:
            self.part(item_id).spoken |= spoken
            self.words.append(item_id, text)
            self._changed()

    def call(self, call: FunctionCall) -> None:
        """A call is complete."""
        if not self.ended:
            self.calls.append(call)
            self._changed()

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        self._changed()

    def restart(self) -> None:
        """Its connection was lost before anything reached anybody: it comes anew."""
        if not (self.ended or self.reached):
            self.sound.restart()
            self.words.restart()
            self.parts.clear()
            self.calls.clear()
            self._changed()

    # --- what is taken -------------------------------------------------------

    def take_sound(self, piece: Piece[bytes]) -> bytes:
        """A piece of sound is handed to the program: by default it hears it."""
        self.reached = True
        part = self.part(piece.item_id)
        if piece.end > part.taken:
            part.taken = piece.end
        return piece.value

    def take_words(self, piece: Piece[str]) -> str:
        """A piece of text is handed to the program."""
        self.reached = self.part(piece.item_id).read = True
        return piece.value

    def played(self, ms: int) -> None:
        """A loudspeaker has played so much of the reply's sound."""
        self.reached = self.listened = True
        self._played_ms = max(0, ms)

    # --- what was heard ------------------------------------------------------

    def received_ms(self, part: Part) -> int:
        """How much sound of a message has come."""
        return self.sound.received(part.item_id) // SAMPLES_PER_MS

    def heard_of(self, part: Part) -> int:
        """How much of a message was heard (ms), never more than has come (U3)."""
        received = self.received_ms(part)
        if self._played_ms is None:
            return min(received, part.taken // SAMPLES_PER_MS)
        before = self.parts[: self.parts.index(part)]
        played = self._played_ms - sum(map(self.received_ms, before))
        return max(0, min(received, played))

    @property
    def heard_ms(self) -> int:
        """How much of the reply was heard."""
        return sum(map(self.heard_of, self.parts))

    @property
    def unheard(self) -> bool:
        """Whether nothing of it was heard or read."""
        if self.accepted and not self.listened:
            return False
        return not self.heard_ms and not any(map(self._was_read, self.parts))

    def _was_read(self, part: Part) -> bool:
        """Whether its words count: not, where they are a transcript of the sound."""
        return (part.read or self.accepted) and not (part.spoken and self.listened)

    def silence(self) -> list[CutItem]:
        """Stop what is being said; return what of it was not heard to its end."""
        if self.silenced:
            return []
        cut = self._cut([part for part in self.parts if part.spoken])
        self.silenced = self.listened or bool(cut)
        if self.silenced:
            self.sound.let_go()
        self._changed()
        return cut

    def leave(self) -> list[CutItem]:
        """Nobody takes anything any more; return what was not heard to its end."""
        cut = self._cut(self.parts)
        self.ended = self.silenced = True
        # The reply is remembered for a while, for what arrives late.
        self.sound.let_go()
        self._changed()
        return cut

    def _cut(self, parts: list[Part]) -> list[CutItem]:
        cut = []
        for part in parts:
            if part.cut:
                continue
            heard, received = self.heard_of(part), self.received_ms(part)
            whole = part.sound_ended and 0 < received <= heard
            part.cut = not (whole or self._was_read(part))
            if part.cut:
                cut.append(CutItem(part.item_id, heard, received, part.sound_ended))
        self.cut_short |= bool(cut)
        return cut
