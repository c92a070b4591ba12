"""The input buffer and its clock (protocol §6.3, §8, §16.24-31)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trialogue.dialects.openai.wire.session import SemanticVAD, ServerVAD
from trialogue.testing.machine.formats import decoded
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.vad import EnergyVAD, SpeechStarted, VADEvent

if TYPE_CHECKING:
    from trialogue.testing.cue_sheet import CueDetector, CueSheet

__all__ = ["InputAudio"]

BYTES_PER_MS: Final = 48
MAX_APPEND: Final = 15 * 2**20
MIN_COMMIT_MS: Final = 100
#: What is kept of a buffer in which nobody speaks or commits.
MAX_BUFFER: Final = 600_000 * BYTES_PER_MS
_MANY: Final = 256
_MUCH: Final = 2**20

#: A guess at how long a pause semantic turn detection tolerates.
EAGERNESS_MS: Final = {"low": 1200, "medium": 600, "auto": 600, "high": 300}


class InputAudio:
    """The user's audio on one connection, and the clock that counts its samples.

    Attributes:
        count: how many bytes of that format came in all.
        speech_item: the id reserved for the turn that is open, or None.
    """

    def __init__(
        self, keep_seconds: float | None = None, sheet: CueSheet | None = None
    ) -> None:
        """Keep all audio that comes, or only the last so many seconds of it.

        With a sheet, turns are where its cues are, whatever is heard.
        """
        self.count = 0
        self._keep: int | None = None
        if keep_seconds is not None:
            self._keep = round(keep_seconds * 1000) * BYTES_PER_MS
        self.speech_item: str | None = None
        self._store = bytearray()  # the buffer, and what is remembered before it
        self._fresh: list[bytes] = []  # what came behind that
        self._stored = 0  # where it begins
        self._begins = 0  # position of the buffer's first byte on the byte clock
        self._speech_from = 0
        self._sheet = sheet
        self._vad: EnergyVAD | CueDetector | None = None

    def __repr__(self) -> str:
        return f"<InputAudio {self.position_ms} ms, {self.buffered_ms:.0f} buffered>"

    @property
    def position_ms(self) -> int:
        """How much audio came on this connection."""
        return self.count // BYTES_PER_MS

    @property
    def buffered_ms(self) -> float:
        """How much is in the buffer."""
        return (self.count - self._begins) / BYTES_PER_MS

    @property
    def received(self) -> bytes:
        """The latest of what came, in the server's own format."""
        start = 0 if self._keep is None else max(self.count - self._keep, 0)
        return self._between(start, self.count)

    def _between(self, start: int, end: int) -> bytes:
        """Return what lies between two positions on the byte clock."""
        self._put_away()
        first = self.count - len(self._store)
        return bytes(self._store[start - first : max(end, start) - first])

    def configure(self, vad: Any) -> None:
        """Take a turn detection; none gives up an open turn, not its audio (§16.37)."""
        tuning = _tuning(vad)
        if tuning is None:
            self._vad = self.speech_item = None
        elif isinstance(self._vad, EnergyVAD):
            self._vad.tune(*tuning)
        elif self._vad is None:
            self._vad = EnergyVAD(*tuning)
            if self._sheet is not None:
                self._vad = self._sheet.detector(lambda: self.count / BYTES_PER_MS)
            self._vad.start_at(self.count)

    def append(self, data: bytes, audio_format: Any) -> list[VADEvent]:
        """Take audio in the session's format and return what the VAD found.

        Raises:
            Refusal: more than 15 MiB at once.
        """
        if len(data) > MAX_APPEND:
            message = f"Audio chunk exceeds the maximum size of {MAX_APPEND} bytes."
            raise Refusal("invalid_value", message, param="audio")
        pcm = decoded(data, audio_format)
        self.count += len(pcm)
        self._fresh.append(pcm)
        if len(self._fresh) >= _MANY or self.count - self._stored >= _MUCH:
            self._put_away()
        self._drop(self.count - self._begins - MAX_BUFFER)
        return self._vad.feed(pcm) if self._vad is not None else []

    def started(self, event: SpeechStarted, item_id: str) -> None:
        """Open a turn; the buffer before it is no part of it."""
        self.speech_item = item_id
        self._speech_from = event.start_ms * BYTES_PER_MS

    def cut(self, end_ms: int | None = None) -> tuple[bytes, int, int]:
        """Take the turn out of the buffer: its audio, and where it begins and ends.

        Without an open turn it is the whole buffer, else what came since the turn
        began; both up to `end_ms` where that is given.
        """
        if self.speech_item is not None:
            self._drop(self._speech_from - self._begins)
        start = self._begins
        end = self.count if end_ms is None else end_ms * BYTES_PER_MS
        pcm = self._between(start, end)
        self._drop(len(pcm))
        self.speech_item = None
        return pcm, start // BYTES_PER_MS, (start + len(pcm)) // BYTES_PER_MS

    def require(self) -> None:
        """Refuse a commit of less than 100 ms (§16.26).

        Raises:
            Refusal: with the measured ms in the text.
        """
        if self.buffered_ms < MIN_COMMIT_MS:
            raise Refusal(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at "
                f"least {MIN_COMMIT_MS}ms of audio, but buffer only has "
                f"{self.buffered_ms:.2f}ms of audio.",
            )

    def end_turn(self) -> None:
        """Let the VAD forget the open turn, after a manual commit or a clear."""
        self.speech_item = None
        if self._vad is not None:
            self._vad.reset()

    def clear(self) -> None:
        """Empty the buffer; the clock goes on (§10)."""
        self._drop(self.count - self._begins)
        self.end_turn()

    def skip_to(self, position_ms: int) -> None:
        """Drop what the buffer holds of before that position."""
        self._drop(position_ms * BYTES_PER_MS - self._begins)

    def _drop(self, count: int) -> None:
        self._begins += min(max(count, 0), self.count - self._begins)

    def _put_away(self) -> None:
        """Store what came; often it would be moved about in memory as often."""
        self._store += b"".join(self._fresh)
        self._fresh.clear()
        self._stored = self.count
        if self._keep is not None:
            needed = max(self._keep, self.count - self._begins)
            del self._store[: max(len(self._store) - needed, 0)]


def _tuning(config: Any) -> tuple[float, int, int] | None:
    """Return threshold, padding and silence of a turn detection."""
    match config:
        case ServerVAD():
            return (
                config.threshold or 0.0,
                config.prefix_padding_ms or 0,
                config.silence_duration_ms or 0,
            )
        case SemanticVAD():
            return 0.5, 300, EAGERNESS_MS[config.eagerness or "auto"]
    return None
