"""One connection of the local server, as a state machine without I/O.

Text and time go in, events come out: `open`, then `receive` for each frame and `tick`
when `deadline` has passed. Nothing that a client sends makes it raise (§16.16).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.dialects.openai.wire import (
    UNSET,
    UnknownClientEvent,
    WireError,
    check_client_event,
    decode_client_event,
    or_none,
    structure_client_event,
)
from trialogue.dialects.openai.wire import client_events as ask
from trialogue.dialects.openai.wire import server_events as tell
from trialogue.dialects.openai.wire.response import ResponseParams
from trialogue.testing.machine import configuration
from trialogue.testing.machine.host import Host
from trialogue.testing.machine.ids import Ids
from trialogue.testing.machine.items import Items
from trialogue.testing.machine.keeping import Keeping
from trialogue.testing.machine.outputs import Output, Refusal, too_long
from trialogue.testing.machine.responses import Responses
from trialogue.testing.machine.settings import Settings
from trialogue.testing.machine.turns import Turns
from trialogue.testing.script import Brain, echo
from trialogue.testing.speech import Cues, Transcriber

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.dialects.openai.wire.session import AudioConfig, Session
    from trialogue.testing.machine.client_secrets import Attached
    from trialogue.testing.machine.conversation import Conversation
    from trialogue.testing.machine.records import Committed, ResponseRecord

__all__ = ["Machine"]

EVENT_ID_LIMIT: Final = 512
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

    Attributes:
        session: the session's configuration as it is.
    """

    def __init__(
        self,
        brain: Brain = echo,
        transcriber: Transcriber = _NO_CUES,
        settings: Settings | None = None,
        *,
        index: int = 0,
        seed: int = 0,
        next_mark: Callable[[], int] | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        keeping = keeping if keeping is not None else Keeping()
        self._settings = settings if settings is not None else Settings()
        mark = next_mark if next_mark is not None else itertools.count().__next__
        self._host = Host(self._settings, Ids(f"{seed}/{index}"), mark)
        self.session: Session = configuration.initial(
            self._settings, session_id=self._host.ids.new("sess"), model=""
        )
        self._responses = Responses(
            self._host, brain, lambda: self.session, index, keeping
        )
        self._turns = Turns(
            self._host, transcriber, self._responses, self._input_config, keeping
        )
        self._responses.idle = self._turns
        self._items = Items(self._host, self._turns.recognise, self._audio_config)
        self._over = False

    def __repr__(self) -> str:
        state = "over" if self._over else "live"
        return f"<Machine {state} {self._host.conversation!r} {self._responses!r}>"

    def _input_config(self) -> Any:
        return self._audio_config().input

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
        return bytes(self._turns.audio.received)

    def open(
        self,
        now: float,
        *,
        model: str | None,
        key: str | None,
        beta: bool = False,
        attached: Attached | None = None,
    ) -> list[Output]:
        """Judge key and model after the upgrade, and greet or refuse (§1.3).

        Args:
            now: the server's clock.
            model: of the URL; None if it named none.
            key: the API key, or None.
            beta: the client asked for the beta's shape.
            attached: what a client secret brings along, if the key is a good one.
        """
        self._host.now = now
        if attached is not None:
            model = model or attached.model
            self.session = attached.begin(self.session, self._settings)
        known = attached is not None or self._settings.accepts_key(key)
        refusal = self._judge(model, known, beta)
        if refusal is not None:
            code, name, message = refusal
            self._host.error(name, message)
            self._close(code, f"invalid_request_error.{name}")
            return self._host.take()
        self.session = attrs.evolve(self.session, model=model or UNSET)
        self._host.emit(tell.SessionCreated, session=self.session)
        self._host.after(self._settings.max_duration * 1000, self._expire)
        return self._host.take()

    def _judge(
        self, model: str | None, known: bool, beta: bool
    ) -> tuple[int, str, str] | None:
        if not known:
            return 3000, "invalid_api_key", "Incorrect API key provided."
        if beta:
            message = "The beta shape of this API is disabled."
            return 4000, "beta_api_shape_disabled", message
        if not model:
            return 4000, "missing_model", "You must provide a model parameter."
        if not self._settings.accepts_model(model):
            message = f'Model "{model}" is not supported in realtime mode.'
            return 4000, "invalid_model", message
        return None

    def _close(self, code: int, reason: str) -> None:
        self._host.hang_up(code, reason)
        self._host.agenda.clear()
        self._over = True

    def _expire(self) -> None:
        minutes = round(self._settings.max_duration / 60)
        message = f"Your session hit the maximum duration of {minutes} minutes."
        self._host.error("session_expired", message)
        self._close(1001, message)

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
        return self._host.take()

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
        return outputs + self._host.take()

    def receive_binary(self, now: float) -> list[Output]:
        """Refuse a binary frame (§1.4)."""
        return self.reject(
            "invalid_event", "Binary frames are not supported.", None, now
        )

    def reject(
        self, code: str | None, message: str, event_id: str | None, now: float
    ) -> list[Output]:
        """Answer with an error as if an event could not be done (for faults)."""
        outputs = self.tick(now)
        if not self._over:
            self._host.error(code, message, event_id=event_id)
        return outputs + self._host.take()

    def _receive(self, text: str, data: dict[str, Any] | None) -> None:
        try:
            event = (
                decode_client_event(text)
                if data is None
                else structure_client_event(data)
            )
        except WireError as wrong:
            self._object(wrong, wrong.event_id)
            return
        if isinstance(event, UnknownClientEvent):
            unsupported = check_client_event(event.data)[0]
            self._object(unsupported, unsupported.event_id)
            return
        try:
            length = len(event.event_id or "")
            if length > EVENT_ID_LIMIT:
                raise too_long("event_id", EVENT_ID_LIMIT, length)
            self._do(event)
        except Refusal as refusal:
            self._object(refusal, or_none(event.event_id))

    def _object(self, wrong: WireError | Refusal, event_id: str | None) -> None:
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
                self._responses.create(event.response or ResponseParams())
            case ask.ResponseCancel():
                self._responses.cancel(or_none(event.response_id))
            case ask.OutputAudioBufferClear():
                message = f"Invalid value: '{event.type}' is not supported here."
                raise Refusal("invalid_value", message, param="type")
            case _:
                self._items.do(event)

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
