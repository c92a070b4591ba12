"""User turns on one connection: VAD, commits, transcripts (protocol §7.4, §7.5, §8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from trialogue.dialects.openai.wire import server_events as wire
from trialogue.dialects.openai.wire.items import InputAudio as InputAudioPart
from trialogue.dialects.openai.wire.items import Message
from trialogue.testing.machine.conversation import Held
from trialogue.testing.machine.input_audio import InputAudio
from trialogue.testing.machine.keeping import Keeping, Tail
from trialogue.testing.machine.records import Committed
from trialogue.testing.machine.transcripts import transcribe_later
from trialogue.testing.vad import SpeechStarted, SpeechStopped, VADEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.dialects.openai.wire.session import Session
    from trialogue.testing.cue_sheet import CueSheet
    from trialogue.testing.machine.agenda import Entry
    from trialogue.testing.machine.host import Host
    from trialogue.testing.script import AskedBy
    from trialogue.testing.speech import Transcriber

__all__ = ["Turns"]


class _Responder(Protocol):
    """What a turn can cause."""

    def interrupt(self) -> None: ...
    def answer(self, asked_by: AskedBy) -> None: ...


class Turns:
    """Makes items of the user's audio.

    Args:
        host: the connection's.
        transcriber: knows what is said.
        responder: is interrupted and asked to answer.
        session: returns the session as it is now.
        keeping: how much is remembered.
        sheet: tells where turns are, in place of a VAD.
    """

    def __init__(
        self,
        host: Host,
        transcriber: Transcriber,
        responder: _Responder,
        session: Callable[[], Session],
        keeping: Keeping,
        sheet: CueSheet | None = None,
    ) -> None:
        self.audio = InputAudio(keeping.audio_seconds, sheet)
        self.committed: Tail[Committed] = Tail(keeping.turns)
        self._host = host
        self._transcriber = transcriber
        self._responder = responder
        self._session = session
        self._idle: Entry | None = None
        self.audio.configure(self._input_config().turn_detection)

    def __repr__(self) -> str:
        return f"<Turns {self.audio!r} committed={self.committed.total}>"

    def _input_config(self) -> Any:
        audio = self._session().audio
        assert audio
        return audio.input

    def reconfigured(self) -> None:
        """Take up the session's turn detection."""
        self.audio.configure(self._input_config().turn_detection)
        if not self._idle_ms:
            self.disarm()

    def append(self, data: bytes) -> None:
        """Take audio from the client.

        Raises:
            Refusal: too much at once.
        """
        for event in self.audio.append(data, self._input_config().format):
            self._decided(event)

    def _decided(self, event: VADEvent) -> None:
        match event:
            case SpeechStarted():
                self._started(event)
            case SpeechStopped() if self.audio.speech_item is not None:
                self._stopped(event, self.audio.speech_item)

    def _started(self, event: SpeechStarted) -> None:
        self.disarm()
        item_id = self._host.ids.new("item")
        self.audio.started(event, item_id)
        self._host.emit(
            wire.InputAudioBufferSpeechStarted,
            audio_start_ms=event.start_ms,
            item_id=item_id,
        )
        if self._input_config().turn_detection.interrupt_response:
            self._responder.interrupt()

    def _stopped(self, event: SpeechStopped, item_id: str) -> None:
        self._host.emit(
            wire.InputAudioBufferSpeechStopped,
            audio_end_ms=event.end_ms,
            item_id=item_id,
        )
        self._commit(item_id, "vad", end_ms=event.end_ms)
        if self._input_config().turn_detection.create_response:
            self._responder.answer("vad")

    def commit(self) -> None:
        """Do as the client says; the id reserved by an open turn is used (§16.31).

        Raises:
            Refusal: there are less than 100 ms.
        """
        self.audio.require()
        self._commit(self.audio.speech_item or self._host.ids.new("item"), "client")
        self.audio.end_turn()

    def clear(self) -> None:
        """Empty the buffer."""
        self.audio.clear()
        self._host.emit(wire.InputAudioBufferCleared)

    def recognise(self, pcm: bytes) -> str:
        """Return what is said in audio that came as an item."""
        return self._transcriber.transcribe(pcm, 0, 0)

    def _commit(self, item_id: str, by: AskedBy, *, end_ms: int | None = None) -> None:
        pcm, start, end = self.audio.cut(end_ms)
        text = self._transcriber.transcribe(pcm, start, end)
        self.committed.append(Committed(item_id, pcm, start, end, text, by))
        held = Held(_user_item(item_id), pcm, heard=text, spoken_ms=(start, end))
        where = {"previous_item_id": self._host.conversation.append(held)}
        self._host.emit(wire.InputAudioBufferCommitted, item_id=item_id, **where)
        self._host.emit(wire.ConversationItemAdded, item=held.item, **where)
        self._host.emit(wire.ConversationItemDone, item=held.item, **where)
        transcribe_later(self._host, held, self._session(), self.committed.total)

    @property
    def _idle_ms(self) -> int:
        return getattr(self._input_config().turn_detection, "idle_timeout_ms", 0) or 0

    def arm(self, playback_ms: float) -> None:
        """Start waiting for the user, once what was said has been played (§8.4)."""
        self.disarm()
        if self._idle_ms and self.audio.speech_item is None:
            due = self._host.now + playback_ms / 1000
            self._idle = self._host.agenda.at(due, lambda: self._played(due))

    def disarm(self) -> None:
        """Stop waiting."""
        if self._idle is not None:
            self._idle.cancel()

    def _played(self, now: float) -> None:
        """From here on the user is waited for; the silence begins here, too."""
        start = self.audio.position_ms
        due = now + self._idle_ms / 1000
        self._idle = self._host.agenda.at(due, lambda: self._idled(start))

    def _idled(self, start: int) -> None:
        item_id = self._host.ids.new("item")
        self._host.emit(
            wire.InputAudioBufferTimeoutTriggered,
            audio_start_ms=start,
            audio_end_ms=self.audio.position_ms,
            item_id=item_id,
        )
        self.audio.skip_to(start)
        self._commit(item_id, "idle")
        self._responder.answer("idle")


def _user_item(item_id: str) -> Message:
    return Message(
        id=item_id,
        object="realtime.item",
        status="completed",
        role="user",
        content=(InputAudioPart(transcript=None),),
    )
