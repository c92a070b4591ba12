"""The user's side: the microphone's ring, turns, and what of them must be kept.

Nothing that the user says is lost to a change of connection: what was not committed
is sent again on the next one, from the start of the open turn; a committed turn whose
words have not arrived is kept as sound.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque

from trialogue.realtime.input_ring import SAMPLE_RATE, AudioClock, InputRing

__all__ = ["Listening"]

LOOKBACK = 2 * SAMPLE_RATE
"""Samples before the newest that a fresh connection gets when no turn is open: turn
detection on the old one may have heard a beginning that it could not report."""
SPOKEN_TURNS = 60 * SAMPLE_RATE
"""Samples of committed turns kept until their transcripts arrive."""
WORDS_DUE = 5.0
"""Seconds within which the transcript of a turn usually comes."""
MICROPHONE_PAUSE = 1.0
"""Seconds without any audio from the program after which nobody seems to speak."""
COMMITS = 64
"""Turns that are known by their commit, which may be told again, or late."""
WORDLESS_TURNS = 64
"""Turns whose transcripts are waited for at once; there is more than one only if some
of them never come."""
MICROPHONE_SILENT = 3.0
"""Seconds without any audio from the program after which an open turn cannot end."""
CONFIRMATION = 3.0
"""Seconds within which a fresh connection should have heard a turn that went on."""
ANSWER_DUE = 3.0
"""Seconds within which turn detection should have begun its own response."""


class Listening:
    """State of the user's turns; plain values, moved by the session's reader.

    Attributes:
        manual: the provider finds no turns, so that all that is not committed is the
            open turn.
        sent_by_program: the last message of sound that was not said into a microphone.
        held_back: seconds in which no server was given the microphone, in all; what was
            said in them was given to one later.
    """

    def __init__(self, ring_seconds: float = 30.0) -> None:
        self.ring = InputRing(ring_seconds)
        self.speaking = False
        self.manual = False
        self.answer_due = math.inf
        self._committed_to = 0
        self._sent_to = 0
        self._turn_start: int | None = None
        self._turn_end: int | None = None
        self._answered = False  # a turn whose commit is still to be told
        self._turn_item: str | None = None
        self._committed: deque[str] = deque(maxlen=COMMITS)
        self._last_push = -math.inf
        self.held_back = 0.0
        self._paused_at = math.inf
        self._confirm_by = math.inf
        self._spoken: OrderedDict[str, bytes] = OrderedDict()
        self.sent_by_program: str | None = None
        self.answered_turn: str | None = None
        self._words_by: dict[str, float] = {}

    @property
    def seconds_held(self) -> float:
        return (self.ring.end - self.ring.start) / SAMPLE_RATE

    @property
    def has_the_floor(self) -> bool:
        """Whether the user speaks, or is about to be answered by turn detection."""
        return self.speaking or self.answer_due < math.inf

    @property
    def uncommitted(self) -> bool:
        """Whether there is sound that is part of no turn, nor known to be dropped."""
        return self.ring.end > self._committed_to

    @property
    def pushed_until(self) -> float:
        """When the microphone will have been silent for long enough to say so."""
        return self._last_push + MICROPHONE_PAUSE

    @property
    def words_until(self) -> float:
        """When no transcript is expected any more; -inf if none is now."""
        return max(self._words_by.values(), default=-math.inf)

    def may_be_mid_turn(self, now: float, cursor: int | None) -> bool:
        """Whether a turn that the program will commit may be under way."""
        uncommitted = (cursor or 0) > self._committed_to
        return self.manual and uncommitted and now < self.pushed_until

    def answered(self) -> None:
        """Turn detection began its response."""
        self.speaking = False
        self.answer_due = math.inf
        self._answered = self._turn_end is not None

    def push(self, pcm: bytes, now: float, cursor: int | None) -> int:
        """Add audio; return how many needed samples the bound made us drop."""
        self._last_push = now
        self.ring.append(pcm)
        return self.ring.trim(self._needed_from(cursor))

    def _needed_from(self, cursor: int | None) -> int:
        # What a living connection has been sent is not lost when it is forgotten here.
        return self._open_from() if cursor is None else cursor

    def _open_from(self) -> int:
        """Where the audio begins that a fresh connection has to be given."""
        start = self._turn_start
        if start is None:
            start = self._committed_to if self.manual else self._sent_to - LOOKBACK
        return max(start, self._committed_to)

    def fresh_start(self) -> int:
        """Where the microphone begins on a fresh connection."""
        return max(self._open_from(), self.ring.start)

    def left(self, cursor: int | None, heard: int | None = None) -> bool:
        """A connection is left behind; it was sent audio up to `cursor`.

        Args:
            heard: up to where it is known to have heard it; by default all.

        Returns whether turn detection was about to answer on it, and now will not.
        """
        heard = cursor if heard is None else heard
        unanswered = self.answer_due < math.inf
        self._words_by.clear()
        sent_to = max(self._sent_to, cursor or 0)
        self._sent_to = max(self._sent_to, heard or 0)
        self._miss(min(self.ring.start, sent_to))
        # An open turn goes on: the next connection is given it from its start.
        self.speaking = self._turn_start is not None
        self.answer_due = self._confirm_by = math.inf
        return unanswered

    def _miss(self, gone_to: int) -> None:
        """What was sent and forgotten is wanted once more: now it is lost."""
        missing = gone_to - self._open_from()
        if missing > 0:
            self.ring.dropped += missing
            self._committed_to = gone_to

    def paused(self, now: float) -> None:
        """From now on no server is given the microphone."""
        self._paused_at = min(self._paused_at, now)

    def unpaused(self, now: float) -> None:
        """A server is given the microphone again."""
        self.held_back += max(0.0, now - self._paused_at)
        self._paused_at = math.inf

    def resumed(self, now: float) -> None:
        """A fresh connection begins to be given audio; it should hear an open turn."""
        self.unpaused(now)
        if self.speaking:
            self._confirm_by = now + CONFIRMATION

    def started(
        self, clock: AudioClock, audio_start_ms: int, item_id: str | None = None
    ) -> None:
        """Turn detection heard a voice; the turn will be that item."""
        self.speaking = True
        self._turn_item = item_id
        self.answer_due = self._confirm_by = math.inf
        self._turn_start = clock.at_ms(audio_start_ms)
        self._turn_end = None
        self._answered = False

    def stopped(self, clock: AudioClock, audio_end_ms: int, now: float) -> None:
        """Turn detection heard it end; the commit should follow at once."""
        self._turn_end = clock.at_ms(audio_end_ms)
        self._confirm_by = now + CONFIRMATION

    def ends_as(self, item_id: str) -> bool:
        """Whether this item is the open turn, whose commit nobody has told of."""
        return item_id == self._turn_item

    @property
    def last_turn(self) -> str | None:
        """The item of the turn that was committed last."""
        return self._committed[-1] if self._committed else None

    def knows(self, item_id: str) -> bool:
        """Whether this item was committed before: that counts once."""
        return item_id in self._committed

    def turn_ended_at(self, now: float) -> float:
        """When the turn's end was pushed, if the program pushes at real-time pace."""
        if self._turn_end is None:
            return now
        return now - max(0, self.ring.end - self._turn_end) / SAMPLE_RATE

    def turn_began_at(self, now: float) -> float:
        """When the turn's beginning was pushed, by the same measure."""
        if self._turn_start is None:
            return now
        return now - max(0, self.ring.end - self._turn_start) / SAMPLE_RATE

    def committed(
        self, item_id: str, upto: int, due: float, words_by: float = -math.inf
    ) -> None:
        """The buffer became an item: it ends at the turn's end, or else at `upto`.

        Args:
            due: when turn detection should have begun to answer it.
            words_by: when its transcript should have come.
        """
        if words_by > -math.inf:
            self._words_by[item_id] = words_by
        while len(self._words_by) > WORDLESS_TURNS:
            del self._words_by[next(iter(self._words_by))]
        begin = self._committed_to if self._turn_start is None else self._turn_start
        end = upto if self._turn_end is None else self._turn_end
        self._keep(item_id, self.ring.slice(begin, end))
        self._committed_to = max(self._committed_to, end)
        self._turn_start = self._turn_end = self._turn_item = None
        self._committed.append(item_id)
        self._confirm_by = math.inf
        self.speaking = False
        self.answer_due = math.inf if self._answered else due
        self._answered = False

    def cleared(self, upto: int) -> None:
        """The input buffer was emptied on request."""
        self._committed_to = max(self._committed_to, upto)
        self._turn_start = self._turn_end = self._turn_item = None
        self.speaking = False

    def transcribed(self, item_id: str) -> None:
        """Its words are known: the sound is no longer needed."""
        self._spoken.pop(item_id, None)
        self._words_by.pop(item_id, None)

    def wordless(self, item_id: str) -> None:
        """There will be no transcript: the sound is all there is."""
        self._words_by.pop(item_id, None)

    def keep(self, item_id: str, pcm: bytes) -> None:
        """The program sends a message of sound: it is kept as a spoken turn is."""
        self._keep(item_id, pcm)
        self.sent_by_program = item_id

    def sound_of(self, item_id: str) -> bytes | None:
        """Return a committed turn's audio, if it is still kept."""
        return self._spoken.get(item_id) or None

    def _keep(self, item_id: str, pcm: bytes) -> None:
        if pcm:  # of what the ring has lost there is nothing to keep
            self._spoken[item_id] = pcm
        while sum(map(len, self._spoken.values())) > SPOKEN_TURNS * 2:
            self._spoken.popitem(last=False)

    def timer(self) -> float:
        """When `expire` wants to be called next."""
        if not self.speaking:
            return self.answer_due
        silent = self._last_push + MICROPHONE_SILENT
        return min(self.answer_due, silent, self._confirm_by)

    def expire(self, now: float) -> bool:
        """Give up waiting for what will not come; True if an answer is overdue."""
        silent = self._last_push + MICROPHONE_SILENT <= now
        if self.speaking and (silent or self._confirm_by <= now):
            self.speaking = False
            self._confirm_by = math.inf
        overdue = self.answer_due <= now
        if overdue:
            self.answer_due = math.inf
        return overdue
