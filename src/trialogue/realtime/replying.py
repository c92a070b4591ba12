"""Who speaks: moves the response slot on, and binds what the server makes.

All of it runs in the reader's steps or in those of whoever asks; nothing here waits.
A response is bound, when it is created, to the configuration it is made under. If that
is not the one the session wants, the response is cancelled by id and never heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from trialogue.conversation.items import FunctionCall, Item, Message
from trialogue.dialects.commands import (
    CancelResponse,
    CreateResponse,
)
from trialogue.dialects.events import (
    CallReady,
    ErrorClass,
    ErrorReported,
    OutputAudio,
    OutputAudioEnded,
    OutputItemAdded,
    OutputItemDone,
    OutputText,
    ResponseCreated,
    ResponseDone,
    Usage,
)
from trialogue.dialects.options import UNCHANGED
from trialogue.errors import (
    ConnectionLost,
    ConversionError,
    ResponseBusy,
    ResponseFailed,
    ServerError,
    TrialogueError,
)
from trialogue.realtime.cutting import Cutting
from trialogue.realtime.notices import ErrorNotice, ReplyEnded, ReplyStarted
from trialogue.realtime.replies import Reply, ReplyOutcome, Response, ResponseSlot

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.conversation.record import Record
    from trialogue.dialects.dialect import Capabilities
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.listening import Listening

__all__ = ["Replying"]

REMEMBERED = 64
"""Responses that ended and are still known by id, for what arrives late."""


class Session(Protocol):
    """What this module needs of the session."""

    record: Record
    listening: Listening
    listener: Listener

    @property
    def connection(self) -> Connection | None: ...

    @property
    def wanted(self) -> Configuration | None: ...

    def publish(self, event: object) -> None: ...

    def pulse(self) -> None: ...

    def fail(self, error: TrialogueError) -> None: ...

    def turns_are_automatic(self) -> bool: ...

    def speech_interrupts(self) -> bool: ...

    def repeat_update(self, connection: Connection, config: Configuration) -> None: ...


class Replying:
    """The replies of one session, whatever connections they are made over."""

    def __init__(self, session: Session, new_key: Callable[[], str]) -> None:
        self.slot = ResponseSlot()
        self.usage = Usage()
        self.owed = False
        self._closed = False
        self._session = session
        self._new_key = new_key
        self._responses: dict[str, Response] = {}
        self._out_of_band: list[Reply] = []
        self._cutting = Cutting(session, self)

    # --- asking --------------------------------------------------------------

    def ask(self, **wish: Any) -> Reply:
        """Queue a wish for a reply, and post it at once if it may go."""
        command = wish.pop("command", None) or CreateResponse(self._new_key())
        reply = Reply(command.key, command=command, **wish)
        if self._session.wanted is not None and self._foreign(reply.config):
            # Its agent has handed over: no later step would ever ask for it.
            reply.finish(ReplyOutcome("interrupted"))
            return reply
        self._queue(reply)
        self.advance()
        if reply in self.slot.queue:
            self._if_busy(reply)
        return reply

    def new_key(self) -> str:
        """Return a key that no other reply of this session has."""
        return self._new_key()

    def _queue(self, reply: Reply) -> None:
        if reply.purpose == "tools":
            self.slot.queue.insert(0, reply)
        else:
            self.slot.queue.append(reply)

    def _if_busy(self, reply: Reply) -> None:
        if reply.if_busy == "skip":
            self.slot.drop(reply)
            reply.finish(ReplyOutcome("skipped"))
        elif reply.if_busy == "raise":
            self.slot.drop(reply)
            msg = 'a response is running or the user is speaking; use if_busy="wait"'
            reply.fail(ResponseBusy(msg))

    def leave(self, reply: Reply, *, silence: bool) -> None:
        """Nobody waits for this reply any more.

        Args:
            silence: also stop what it is saying; False where a handoff lets the
                agent's last words be heard.
        """
        if reply.settled.is_set():
            return
        self.slot.drop(reply)
        reply.unwanted = True
        connection = self._session.connection
        if reply.batch is not None and connection is not None:
            connection.withdraw(reply.batch)
            if reply.request is not None and reply.request.written_at is None:
                self._unpost(reply)
        if reply.response is not None and reply.response.running and silence:
            self._cutting.cut(reply.response)
        reply.finish(ReplyOutcome("interrupted"))
        self.advance()

    def _unpost(self, reply: Reply) -> None:
        if self.slot.posted is reply:
            self.slot.posted = None
        if reply in self._out_of_band:
            self._out_of_band.remove(reply)

    # --- posting -------------------------------------------------------------

    def advance(self) -> None:
        """Post whatever may go now."""
        if self._closed:
            self.close()
        while (reply := self._next()) is not None:
            self._post(reply)
        self._session.pulse()

    def _next(self) -> Reply | None:
        connection, wanted = self._session.connection, self._session.wanted
        if connection is None or wanted is None or not connection.live:
            return None
        if connection.sent_config is None:
            return None
        self._hold_for_user()
        self._queue_owed(connection, wanted)
        return next((r for r in self.slot.queue if self._may_go(r, connection)), None)

    def _queue_owed(self, connection: Connection, wanted: Configuration) -> None:
        # Ahead of whoever waited for the user's turn: its answer serves them too.
        ahead = (r.held_for_user and r.purpose != "owed" for r in self.slot.queue)
        idle = all(ahead) and self.slot.free_for(None)
        if self.owed and idle and wanted.ready and connection.config is wanted:
            self.owed = False
            command = CreateResponse(self._new_key())
            owed = Reply(command.key, wanted, command=command, purpose="owed")
            owed.answers_user = True
            self.slot.queue.insert(0, owed)

    def _hold_for_user(self) -> None:
        """While a turn of the user's is unanswered, its answer serves whoever asks."""
        active = self.slot.active
        answered_in_vain = active is not None and active.answers_user and active.discard
        if self.owed or answered_in_vain or self._user_has_the_floor():
            for reply in self.slot.queue:
                new = reply.attempts == 0 and reply.within is None
                if new and not reply.out_of_band:
                    reply.held_for_user = True

    def _may_go(self, reply: Reply, connection: Connection) -> bool:
        config = reply.config or self._session.wanted
        if config is None or not config.ready or config.void:
            return False
        wanted = self._session.wanted
        if wanted is None or config.epoch is not wanted.epoch:
            return False
        if not (
            self._agreed(config, connection) or self._may_carry(config, connection)
        ):
            return False
        if reply.out_of_band:
            return True
        if not self.slot.free_for(reply.within):
            return False
        if self._user_has_the_floor():
            reply.held_for_user = True
            return False
        return reply.purpose == "owed" or not (self.owed and reply.held_for_user)

    @staticmethod
    def _agreed(config: Configuration, connection: Connection) -> bool:
        held = connection.config
        return held is not None and held.epoch is config.epoch

    @staticmethod
    def _may_carry(config: Configuration, connection: Connection) -> bool:
        # The first reply is the only command that may run ahead of the settlement.
        able = connection.model.capabilities.per_response_configuration
        pending = connection.sent_config
        same = pending is not None and pending.epoch is config.epoch
        return able and same and not config.verdict.is_set() and not config.carried

    def _user_has_the_floor(self) -> bool:
        if not self._session.turns_are_automatic():
            return False
        return self._session.listening.has_the_floor

    def _post(self, reply: Reply) -> None:
        connection = self._session.connection
        config = reply.config or self._session.wanted
        assert connection is not None
        assert config is not None
        self.slot.drop(reply)
        reply.config = config
        reply.carried = not self._agreed(config, connection)
        command = self._configured(reply, config, connection)
        try:
            _check_carries(command, connection.model.capabilities)
            patience = connection.timing.reply_start
            reply.request = connection.encode(command, patience=patience, subject=reply)
        except ConversionError as error:
            self._fail(reply, error)
            return
        if reply.carried:
            config.carried = True
        if reply.out_of_band:
            self._out_of_band.append(reply)
        else:
            self.slot.posted = reply
        reply.attempts += 1
        reply.batch = connection.post([reply.request])

    @staticmethod
    def _configured(
        reply: Reply, config: Configuration, connection: Connection
    ) -> CreateResponse:
        command = reply.command
        current = config if reply.carried else (connection.sent_config or config)
        if reply.carried:
            words = (
                config.instructions
                if command.instructions is UNCHANGED
                else command.instructions
            )
            tools = config.tools if command.tools is UNCHANGED else command.tools
            command = attrs.evolve(command, instructions=words, tools=tools)
        if reply.add_instructions:
            base = current.instructions
            joined = f"{base}\n\n{reply.add_instructions}" if base else None
            command = attrs.evolve(
                command, instructions=joined or reply.add_instructions
            )
        return command

    def refused(
        self, connection: Connection, reply: Reply, error: ErrorReported
    ) -> None:
        """The server rejected a `response.create`."""
        self._unpost(reply)
        if error.error_class is ErrorClass.CONFLICT and not reply.unwanted:
            if reply.if_busy == "raise":
                reply.fail(ResponseBusy(error.message, code=error.code))
                return
            # A response that we did not ask for is in the way: it is no error (R1).
            # Its end frees the slot; if nothing is heard of it, the deadline does.
            self.slot.requeue(reply)
            self.slot.blocked = self.slot.active is None
            self._watch(connection)
        else:
            self.owed |= reply.unwanted and reply.answers_user
            self._fail(reply, ServerError(error.message, code=error.code))
            self.advance()

    def _fail(self, reply: Reply, error: TrialogueError) -> None:
        reply.fail(error)
        if reply.purpose != "program":  # nobody waits: whoever listens is told
            self._session.publish(ErrorNotice(str(error), getattr(error, "code", None)))

    # --- responses -----------------------------------------------------------

    def _watch(self, connection: Connection) -> None:
        """A response is, or must be, running: it may not stay silent for ever."""
        now = trio.current_time()
        connection.response_deadline = now + connection.timing.reply_silence
        connection.rearm()

    def created(self, connection: Connection, event: ResponseCreated) -> None:
        """Bind a new response to whoever asked and to what it is made under."""
        reply = self._claim(connection, event)
        config = connection.config
        if reply is not None and reply.carried:
            config = reply.config
        response = self._responses.get(event.response_id)
        if response is None:
            response = self._remember(
                Response(event.response_id, connection.generation, config)
            )
        elif response.announced or not response.running:
            self._announced_again(response, reply)
            return
        response.announced = True
        reply = self._bound_before(response, reply)
        response.config, response.reply = config, reply
        response.out_of_band = event.out_of_band
        if reply is not None:
            reply.response = response
        owed = reply is not None and reply.answers_user
        response.answers_user = owed or (event.key is None and not event.out_of_band)
        self._begin(connection, response, ours=event.key is not None)

    def _bound_before(self, response: Response, reply: Reply | None) -> Reply | None:
        """Its events came first, and it seemed to serve whoever waited for the user."""
        served = response.reply
        if reply is None or served is None:
            return reply or served
        self.slot.requeue(served)
        return reply

    def _announced_again(self, response: Response, reply: Reply | None) -> None:
        """Announced twice, or only after its end: nothing begins any more."""
        response.announced = True
        if reply is not None and response.done is not None:
            response.reply, reply.response = reply, response
            self._unpost(reply)
            self._settle(response, response.done)
            self.advance()

    def _claim(
        self, connection: Connection, event: ResponseCreated | ResponseDone
    ) -> Reply | None:
        if event.answers is None:
            keyless = not connection.model.capabilities.acknowledges_updates
            return self.slot.posted if keyless else None
        request = connection.ledger.find(event.answers)
        if request is None:
            return None
        connection.ledger.imply(request)
        connection.ledger.answered(event.answers)
        return request.subject if isinstance(request.subject, Reply) else None

    def _begin(self, connection: Connection, response: Response, *, ours: bool) -> None:
        if not response.out_of_band:
            self.slot.began(response)
        self._watch(connection)
        reply = response.reply
        if reply is None and not ours:
            self._session.listening.answered()
        stale = self._stale(response) or (ours and reply is None)
        if stale or (reply is not None and reply.unwanted):
            self._discard(connection, response)
            return
        if reply is not None and self._talks_over_the_user(response):
            self._hold_back(connection, response, reply)
            return
        serves = reply is None or reply.purpose == "owed"
        if serves and not response.out_of_band:
            self._serves_the_user(response)
        if not response.out_of_band:
            self.owed = False
        if reply is not None and reply.carried:
            self._note_evidence(connection, reply)
        self._session.publish(ReplyStarted(response.id, self._name(response)))
        self._session.listener.response_created(response)

    def _stale(self, response: Response) -> bool:
        config, wanted = response.config, self._session.wanted
        if config is None or wanted is None or config.void:
            return True
        return config.epoch is not wanted.epoch

    def _talks_over_the_user(self, response: Response) -> bool:
        """Whether it was asked for in the moment in which the user began to speak."""
        session = self._session
        interrupts = session.turns_are_automatic() and session.speech_interrupts()
        speaking = interrupts and session.listening.speaking
        return speaking and not response.out_of_band

    def _hold_back(
        self, connection: Connection, response: Response, reply: Reply
    ) -> None:
        """Nobody speaks now: the answer to the user's turn will serve this reply."""
        response.reply = None
        self.slot.requeue(reply)
        reply.held_for_user = True
        self._discard(connection, response)

    def _note_evidence(self, connection: Connection, reply: Reply) -> None:
        # The server has gone past the update without a word on it. The response is
        # right (it carried everything itself); the session may not be: say it again.
        config = reply.config
        if config is not None and not config.verdict.is_set():
            self._session.repeat_update(connection, config)

    def _serves_the_user(self, response: Response) -> None:
        """The answer to the user's turn serves whoever waited for the user to end."""
        for reply in tuple(self.slot.queue):
            served = response.reply
            if reply.purpose != "program":
                self.slot.drop(reply)
                reply.finish(ReplyOutcome("superseded", response_id=response.id))
            elif reply.held_for_user and (served is None or served.purpose == "owed"):
                self.slot.drop(reply)
                reply.response, response.reply = response, reply

    def _discard(self, connection: Connection, response: Response) -> None:
        response.discard = True
        if response.running:
            self._cutting.post(connection, [CancelResponse(response.id)])

    def _remember(self, response: Response) -> Response:
        self._responses[response.id] = response
        ended = [r.id for r in self._responses.values() if not r.running]
        for old in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._responses[old]
        return response

    def _response(self, connection: Connection, response_id: str) -> Response:
        """Return a response, adopting one whose creation was never announced."""
        response = self._responses.get(response_id)
        if response is None:
            config = connection.config
            response = Response(response_id, connection.generation, config)
            response.answers_user = True
            self._remember(response)
            self._begin(connection, response, ours=False)
        return response

    def of_item(self, item_id: str) -> Response | None:
        """Return the response that an item belongs to."""
        return next((r for r in self._responses.values() if item_id in r.items), None)

    # --- what responses bring ------------------------------------------------

    def output_item(
        self, connection: Connection, event: OutputItemAdded | OutputItemDone
    ) -> None:
        """An output item was announced or is final."""
        response = self._response(connection, event.response_id)
        self._watch_running(connection, response)
        if event.item.id not in response.items:
            response.items.append(event.item.id)
        name = self._name(response)
        if name is not None:
            self._session.record.set_agent(event.item.id, name)

    def audio(self, connection: Connection, event: OutputAudio) -> None:
        """Audio: handed on only if it may be heard."""
        response = self._response(connection, event.response_id)
        self._watch_running(connection, response)
        if event.item_id not in response.items:
            response.items.append(event.item_id)
        if response.discard or response.cut or response.done is not None:
            return
        response.emitted = True
        if response.first_audio_at is None:
            response.first_audio_at = trio.current_time()
        self._session.listener.audio(response, event.item_id, event.pcm)

    def audio_ended(self, connection: Connection, event: OutputAudioEnded) -> None:
        """An item's audio is complete."""
        response = self._response(connection, event.response_id)
        if not (response.discard or response.cut):
            self._session.listener.audio_ended(response, event.item_id)

    def text(self, connection: Connection, event: OutputText) -> None:
        """Text or transcript: recorded only if it may be heard."""
        response = self._response(connection, event.response_id)
        self._watch_running(connection, response)
        if response.discard or response.cut:
            return
        self._session.listener.text(response, event.item_id, event.text)

    def call(self, connection: Connection, event: CallReady) -> None:
        """A call is complete: run it, or see to it that it is answered unrun."""
        response = self._response(connection, event.response_id)
        self._announce_call(response, event.call)

    def _announce_call(self, response: Response, call: FunctionCall) -> None:
        if call.call_id in response.calls or response.out_of_band:
            return
        response.calls[call.call_id] = call
        if response.discard or self._stale(response):
            self._session.listener.call_refused(response, call)
        else:
            self._session.listener.call_ready(response, call)

    def _watch_running(self, connection: Connection, response: Response) -> None:
        if response.running:
            self._watch(connection)

    def done(self, connection: Connection, event: ResponseDone) -> None:
        """A response ended."""
        response = self._response(connection, event.response_id)
        if response.done is not None:
            return
        if response.reply is None and event.key is not None:
            self._bind_late(connection, response, event)
        response.done = event
        others = [r for r in self._responses.values() if r.running]
        if not any(r.generation == connection.generation for r in others):
            connection.response_deadline = float("inf")
        if event.usage is not None:
            self.usage += event.usage
        for item in event.items:
            if item.id not in response.items:
                response.items.append(item.id)
            if isinstance(item, FunctionCall) and item.status == "completed":
                self._announce_call(response, item)
        self.slot.finished(response)
        self._conclude(connection, response, event)

    def _bind_late(
        self, connection: Connection, response: Response, event: ResponseDone
    ) -> None:
        """Its end says who asked for it, where its beginning was never announced."""
        response.answers_user = False
        response.reply = reply = self._claim(connection, event)
        if reply is not None:
            reply.response = response
            self._unpost(reply)

    def _conclude(
        self, connection: Connection, response: Response, event: ResponseDone
    ) -> None:
        self._cutting.tidy(connection, response)
        self._settle(response, event)
        response.ended.set()
        if response.discard or (response.stopped and event.status != "completed"):
            self._answer_again(response)
        if not response.discard:
            outcome = response.result(self.items_of(response))
            self._session.publish(
                ReplyEnded(response.id, outcome, self._name(response))
            )
        self._session.listener.response_done(response)
        self.advance()

    def _answer_again(self, response: Response) -> None:
        if response.answers_user:
            self.owed = True

    def _settle(self, response: Response, event: ResponseDone) -> None:
        reply = response.reply
        if reply is not None and reply in self._out_of_band:
            self._out_of_band.remove(reply)
        if event.status == "failed" and not response.discard:
            self._failed(reply, event)
        elif reply is not None:
            reply.finish(response.result(self.items_of(response) or event.items))

    def _failed(self, reply: Reply | None, event: ResponseDone) -> None:
        terminal = event.error_class is ErrorClass.TERMINAL
        message = event.error_message or "the provider reported no reason"
        error = ResponseFailed(
            f"the response failed: {message}",
            code=event.error_code,
            recoverable=not terminal,
        )
        if reply is None:
            self._session.publish(ErrorNotice(str(error), event.error_code))
        else:
            self._fail(reply, error)
        if terminal:
            self._session.fail(error)

    def items_of(self, response: Response) -> tuple[Item, ...]:
        """Return the items of a response, as the record holds them."""
        record = self._session.record
        found = (record.get(item_id) for item_id in response.items)
        return tuple(item for item in found if item is not None)

    @staticmethod
    def _name(response: Response) -> str | None:
        return getattr(response.owner, "name", None)

    # --- stopping ------------------------------------------------------------

    def cut(self, response: Response) -> None:
        """Stop a response: at the server by id, and where it is played."""
        self._cutting.cut(response)

    def cut_everything(self) -> None:
        """The user speaks, or somebody interrupts: silence at once."""
        self._cutting.cut_everything()

    def close(self) -> None:
        """The session takes no more work: nothing is asked for (again)."""
        self._closed, self.owed = True, False
        active = self.slot.active
        under_way = (self.slot.posted, None if active is None else active.reply)
        for reply in (*self.slot.queue, *under_way):
            if reply is not None:
                self.slot.drop(reply)
                reply.unwanted = True
                reply.finish(ReplyOutcome("interrupted"))

    # --- changes of agent and of connection ----------------------------------

    def epoch_changed(self) -> None:
        """Another configuration is wanted from now on: nothing of the old one begins.

        What the old agent has said plays on; what it would still say is cut.
        """
        for reply in tuple(self.slot.queue):
            if self._foreign(reply.config):
                self.slot.drop(reply)
                reply.finish(ReplyOutcome("interrupted"))
                self.owed |= reply.answers_user
        posted = self.slot.posted
        if posted is not None and self._foreign(posted.config):
            posted.unwanted = True
            posted.finish(ReplyOutcome("interrupted"))
        active = self.slot.active
        if active is not None and self._stale(active) and not active.discard:
            self._leave_off(active)
        self.slot.turn = None

    def _leave_off(self, response: Response) -> None:
        """Its agent is no longer current: no more is made of what is being said.

        What was made plays to its end; if nothing was heard yet, nothing will be.
        """
        if self._session.listener.heard_ms(response) > 0:
            self._cutting.stop(response)
            response.stopped = True
        else:
            self._cutting.cut(response)
            response.discard = True

    def _foreign(self, config: Configuration | None) -> bool:
        wanted = self._session.wanted
        return wanted is None or (config or wanted).epoch is not wanted.epoch

    def connection_lost(self, connection: Connection) -> None:
        """Take back what was under way; it is asked for again, or reported lost."""
        self.slot.blocked = False
        posted = self.slot.posted
        if posted is not None:
            self.slot.requeue(posted)
            if posted.unwanted:
                self.slot.drop(posted)
                self.owed |= posted.answers_user
        for reply in self._out_of_band:
            reply.fail(ConnectionLost("the connection ended before the reply did"))
        self._out_of_band.clear()
        for response in tuple(self._responses.values()):
            here = response.generation == connection.generation
            if response.running and here and not response.out_of_band:
                # One whose end was never announced, with another begun since: its
                # calls still wait for the end, the user has been answered.
                response.answers_user &= response is self.slot.active
                self._lost(connection, response)

    def _lost(self, connection: Connection, response: Response) -> None:
        response.lost = True
        self.slot.finished(response)
        listener, reply = self._session.listener, response.reply
        unheard = not response.discard and listener.heard_ms(response) == 0
        again = (unheard or response.discard) and not response.calls
        if again:
            listener.cut(response)
            self._session.record.forget(response.items)
        elif not response.discard:
            self._keep_what_came(connection, response)
        self._forget_unannounced(response)
        response.ended.set()
        if reply is not None and again and not reply.unwanted and not response.discard:
            if not reply.answers_user:  # else it is owed, below
                self.slot.requeue(reply)
        elif reply is not None:
            response.heard_ms = listener.heard_ms(response)
            reply.finish(response.result(self.items_of(response)))
        if (again or response.stopped) and response.answers_user:
            self.owed = True
        listener.response_done(response)

    def _keep_what_came(self, connection: Connection, response: Response) -> None:
        """What arrived plays on and no more will come: the words so far stand."""
        for item in self.items_of(response):
            unfinished = isinstance(item, Message) and item.status == "in_progress"
            if unfinished and connection.view is not None:
                ended = attrs.evolve(item, status="incomplete")
                self._session.record.item_done(connection.view, ended)

    def _forget_unannounced(self, response: Response) -> None:
        """A call that was not complete when its connection ended was never made.

        Nobody runs it, so nobody will answer it: it may not stand in the record.
        """
        self._session.record.forget(
            item.id
            for item in self.items_of(response)
            if isinstance(item, FunctionCall) and item.call_id not in response.calls
        )

    def config_failed(self, config: Configuration) -> None:
        """The configuration cannot be had: nothing made under it is heard."""
        if config.amends:
            return
        for reply in tuple(self.slot.queue):
            if reply.config is config:
                self.slot.drop(reply)
                reply.finish(ReplyOutcome("interrupted"))
        posted = self.slot.posted
        if posted is not None and posted.config is config:
            # Its scope is told of the failure as a whole; here it is merely over.
            posted.unwanted = True
            posted.finish(ReplyOutcome("interrupted"))
        # One that has ended may still have much to play.
        for response in tuple(self._responses.values()):
            if response.config is config and not response.discard:
                self._cutting.cut(response)


def _check_carries(command: CreateResponse, can: Capabilities) -> None:
    """Raise `ConversionError` for what replies of this model cannot carry."""
    own = command.instructions is not UNCHANGED or command.tools is not UNCHANGED
    if own and not can.per_response_configuration:
        msg = (
            "a reply of this model cannot have instructions or tools of its own; "
            "change the session's, or add a message to the conversation"
        )
        raise ConversionError(msg)
    if command.tool_choice is not UNCHANGED and not can.per_response_tool_choice:
        msg = "a reply of this model cannot force or forbid tools: give no tool_choice"
        raise ConversionError(msg)
