"""One connection of the local server, as a state machine without I/O.

Text and time go in, events come out: `open`, then `receive` for each frame and `tick`
when `deadline` has passed. Nothing that a client sends makes it raise (§16.16).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from trialogue.dialects.openai.wire import WireError, or_none
from trialogue.dialects.openai.wire import client_events as ask
from trialogue.dialects.openai.wire import server_events as tell
from trialogue.dialects.openai.wire.response import ResponseParams
from trialogue.testing.machine import configuration
from trialogue.testing.machine.host import Host
from trialogue.testing.machine.ids import Ids
from trialogue.testing.machine.items import Items
from trialogue.testing.machine.keeping import Keeping
from trialogue.testing.machine.outputs import Output, Refusal
from trialogue.testing.machine.parsing import CONVERSATION, TRANSCRIPTION
from trialogue.testing.machine.ranges import check_reasoning
from trialogue.testing.machine.responses import Responses
from trialogue.testing.machine.settings import Settings
from trialogue.testing.machine.speaking import speaking
from trialogue.testing.machine.turns import Turns
from trialogue.testing.script import Brain, Reply, Turn, echo
from trialogue.testing.speech import Cues, Transcriber

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.dialects.openai.wire.session import AudioConfig, Session
    from trialogue.testing.cue_sheet import CueSheet
    from trialogue.testing.live_reply import LiveReply
    from trialogue.testing.machine.client_secrets import Attached
    from trialogue.testing.machine.conversation import Conversation
    from trialogue.testing.machine.records import Committed, ResponseRecord

__all__ = ["Machine"]

CALL_MODEL: Final = "gpt-realtime"
"""What a call that a client joins runs on; the client does not say."""
_NO_CUES: Final = Cues(())


class Machine:
    """The server's side of one connection. It begins with an empty conversation.

    Args:
        brain: what the model says.
        transcriber: what the user says.
        settings: what is accepted, and how fast it goes.
        index: the connection's number, counted by the server.
        seed: of the ids.
        next_mark: numbers the items that carry a watermark.
        keeping: how much is remembered; everything by default.
        sheet: tells where the user's turns are, in place of a VAD.

    Attributes:
        session: the session's configuration as it is.
    """

    def __init__(
        self,
        brain: Brain | Callable[[Turn], Reply | LiveReply] = echo,
        transcriber: Transcriber = _NO_CUES,
        settings: Settings | None = None,
        *,
        index: int = 0,
        seed: int = 0,
        next_mark: Callable[[], int] | None = None,
        keeping: Keeping | None = None,
        sheet: CueSheet | None = None,
    ) -> None:
        keeping = keeping if keeping is not None else Keeping()
        self._settings = settings if settings is not None else Settings()
        mark = next_mark if next_mark is not None else itertools.count().__next__
        self._host = Host(self._settings, Ids(f"{seed}/{index}"), mark)
        self.session: Session = configuration.initial(
            self._settings, session_id=self._host.ids.new("sess"), model=""
        )
        self._speaking = speaking(self._host)
        self._responses = Responses(
            self._host,
            self._speaking.brain(brain),
            lambda: self.session,
            index,
            keeping,
            lambda item: self._items.hold(item),
        )
        self._turns = Turns(
            self._host,
            transcriber,
            self._responses,
            lambda: self.session,
            keeping,
            sheet,
        )
        self._responses.idle = self._turns
        self._items = Items(self._host, self._turns.recognise, self._audio_config)
        self._supported = CONVERSATION
        self._over = False

    def __repr__(self) -> str:
        state = "over" if self._over else "live"
        return f"<Machine {state} {self._host.conversation!r} {self._responses!r}>"

    def _audio_config(self) -> AudioConfig:
        assert self.session.audio
        return self.session.audio

    @property
    def conversation(self) -> Conversation:
        """The conversation as the server holds it."""
        return self._host.conversation

    @property
    def responses(self) -> list[ResponseRecord]:
        """Every response of this connection, in order, or the latest."""
        return self._responses.records

    @property
    def committed(self) -> list[Committed]:
        """Every user turn of this connection, in order, or the latest."""
        return self._turns.committed

    @property
    def audio(self) -> bytes:
        """All audio that came, or the latest, as 24 kHz PCM."""
        return self._turns.audio.received

    def open(
        self,
        now: float,
        *,
        model: str | None,
        key: str | None,
        beta: bool = False,
        attached: Attached | None = None,
        intent: str | None = None,
        call_id: str | None = None,
    ) -> list[Output]:
        """Judge key and model after the upgrade, and greet or refuse (§1.3).

        There are no calls here: a connection to one has a conversation of its own.

        Args:
            now: the server's clock.
            model: of the URL; None if it named none.
            key: the API key, or None.
            beta: the client asked for the beta's shape.
            attached: what a client secret brings along, if the key is a good one.
            intent: of the URL; "transcription" begins a session that only transcribes.
            call_id: of the URL.
        """
        self._host.now = now
        if attached is not None:
            model = model or attached.model
            if intent is None and not call_id:
                intent = attached.patch.type
        transcribes = intent == "transcription"
        known = attached is not None or self._settings.accepts_key(key)
        unjudged = transcribes or (call_id is not None and not model)
        refusal = self._judge(None if unjudged else model or "", known, beta)
        if refusal is not None:
            self._turn_away(*refusal)
            return self._take()
        assert self.session.id
        self.session = configuration.initial(
            self._settings,
            session_id=self.session.id,
            model=model or CALL_MODEL,
            kind="transcription" if transcribes else "realtime",
        )
        if transcribes:
            self._supported = TRANSCRIPTION
        if attached is not None:
            try:
                self.session = attached.begin(self.session, self._settings)
            except Refusal as wrong:
                self._turn_away(4000, wrong)
                return self._take()
        self._turns.reconfigured()
        self._host.emit(tell.SessionCreated, session=self.session)
        self._host.after(self._settings.max_duration * 1000, self._expire)
        return self._take()

    def _turn_away(self, code: int, refusal: Refusal) -> None:
        self._object(self._speaking.reworded(refusal))
        self._close(code, f"invalid_request_error.{refusal.code}")

    def _judge(
        self, model: str | None, known: bool, beta: bool
    ) -> tuple[int, Refusal] | None:
        """Return close code and refusal, if any; the model may need no judging."""
        if not known:
            return 3000, Refusal("invalid_api_key", "Incorrect API key provided.")
        if beta and self._settings.dialect != "beta":
            message = "The beta shape of this API is disabled."
            return 4000, Refusal("beta_api_shape_disabled", message)
        if model is None:
            return None
        if not model:
            message = "You must provide a model parameter."
            return 4000, Refusal("missing_model", message)
        if not self._settings.accepts_model(model):
            message = f'Model "{model}" is not supported in realtime mode.'
            return 4000, Refusal("invalid_model", message)
        return None

    def _close(self, code: int, reason: str) -> None:
        self._host.hang_up(code, reason)
        self._responses.abandon()
        self._host.agenda.clear()
        self._over = True

    def _expire(self) -> None:
        seconds = self._settings.max_duration
        limit = f"{seconds:g} seconds" if seconds % 60 else f"{seconds / 60:g} minutes"
        message = f"Your session hit the maximum duration of {limit}."
        self._object(self._speaking.reworded(Refusal("session_expired", message)))
        self._close(1001, message)

    def _take(self) -> list[Output]:
        return self._speaking.told(self._host.take())

    def deadline(self) -> float:
        """Return when `tick` has something to do, or infinity."""
        return self._host.agenda.deadline()

    def tick(self, now: float) -> list[Output]:
        """Do what is due by then, and return what it sends."""
        while (entry := self._host.agenda.pop_due(now)) is not None:
            self._host.now = max(self._host.now, entry.due)
            if entry.act is not None:
                entry.act()
        self._host.now = max(self._host.now, now)
        return self._take()

    def receive(
        self, text: str, now: float, data: dict[str, Any] | None = None
    ) -> list[Output]:
        """Take a frame, and return what is sent because of it, or was due before.

        Args:
            text: the frame.
            now: the server's clock.
            data: the JSON object that the text is, if it was read already.
        """
        outputs = self.tick(now)
        if not self._over:
            self._receive(text, data)
        return outputs + self._take()

    def receive_binary(self, now: float) -> list[Output]:
        """Refuse a binary frame (§1.4)."""
        outputs = self.tick(now)
        if not self._over:
            wrong = Refusal("invalid_event", "Binary frames are not supported.")
            self._object(self._speaking.reworded(wrong))
        return outputs + self._take()

    def reject(
        self, code: str | None, message: str, event_id: str | None, now: float
    ) -> list[Output]:
        """Answer with an error as if an event could not be done (for faults)."""
        outputs = self.tick(now)
        if not self._over:
            self._host.error(code, message, event_id=event_id)
        return outputs + self._take()

    def _receive(self, text: str, data: dict[str, Any] | None) -> None:
        try:
            event = self._speaking.read(text, self._supported, data)
        except WireError as wrong:
            self._object(wrong, wrong.event_id)
            return
        try:
            self._do(event)
        except Refusal as refusal:
            self._object(self._speaking.reworded(refusal), or_none(event.event_id))

    def _object(self, wrong: WireError | Refusal, event_id: str | None = None) -> None:
        echoed = event_id if self._settings.echo_event_id else None
        self._host.error(wrong.code, wrong.message, param=wrong.param, event_id=echoed)

    def _do(self, event: Any) -> None:
        match event:
            case ask.InputAudioBufferAppend():
                self._turns.append(event.audio)
            case ask.InputAudioBufferCommit():
                self._turns.commit()
            case ask.InputAudioBufferClear():
                self._turns.clear()
            case ask.SessionUpdate():
                self._update(event)
            case ask.ResponseCreate():
                self._respond(event.response or ResponseParams())
            case ask.ResponseCancel():
                self._responses.cancel(or_none(event.response_id))
            case _:
                self._items.do(event)

    def _respond(self, params: ResponseParams) -> None:
        reasons = self._settings.reasons(self.session.model or "")
        check_reasoning(params, "response", reasons=reasons)
        self._responses.create(params)

    def _update(self, event: ask.SessionUpdate) -> None:
        self.session = configuration.patched(
            self.session,
            event.session,
            self._settings,
            voice_fixed=self.conversation.ever_spoke,
            responding=self._responses.active is not None,
        )
        self._turns.reconfigured()
        self._host.emit(tell.SessionUpdated, session=self.session)
