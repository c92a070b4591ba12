"""What the server makes: responses, bound to what they are made under.

A response is bound, when it is created, to the configuration it is made under. If that
is not the one the session wants, the response is cancelled by id and never heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trialogue.conversation.items import FunctionCall, Message
from trialogue.dialects.commands import (
    CancelResponse,
    Creation,
)
from trialogue.dialects.events import (
    CallReady,
    ErrorClass,
    OutputAudio,
    OutputAudioEnded,
    OutputItemAdded,
    OutputItemDone,
    OutputText,
    ResponseCreated,
    ResponseDone,
)
from trialogue.errors import (
    ResponseFailed,
)
from trialogue.realtime.asking import Asking
from trialogue.realtime.notices import ReplyEnded, ReplyStarted
from trialogue.realtime.probing import imply
from trialogue.realtime.replies import Reply, ReplyOutcome, Response, Tap

if TYPE_CHECKING:
    from trialogue.conversation.items import Item
    from trialogue.realtime.connection import Connection

__all__ = ["Responding"]

REMEMBERED = 64
"""Responses that ended and are still known by id, for what arrives late."""


class Responding(Asking):
    """The responses of one session, from their creation to their end."""

    # --- responses -----------------------------------------------------------

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
        self._note_turn(response)
        self._begin(connection, response, ours=event.key is not None)

    def _note_turn(self, response: Response) -> None:
        """If it answers the user, it answers the turn that was committed last."""
        if response.answers_user:
            response.turn = self._session.listening.last_turn

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
            return self.taken_for_lost(event.key)
        imply(self._session, connection, request)
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
        self._tell_beginning(response)
        self._session.listener.response_created(response)

    def _tell_beginning(self, response: Response) -> None:
        if not response.told:  # it may be announced after some of it has come
            response.told = True
            self._session.publish(ReplyStarted(response.id, self._name(response)))

    def _tell_end(self, response: Response) -> None:
        if response.told:
            outcome = response.result(self.items_of(response))
            name = self._name(response)
            self._session.publish(ReplyEnded(response.id, outcome, name))

    def _talks_over_the_user(self, response: Response) -> bool:
        """Whether it was asked for in the moment in which the user began to speak."""
        session = self._session
        stops = session.speech_interrupts() or session.listener.stops_for_voice
        interrupts = session.turns_are_automatic() and stops
        speaking = interrupts and session.listening.speaking
        return speaking and response.interruptible and not response.out_of_band

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
            if reply.required:
                continue
            if reply.purpose != "program":
                self.slot.drop(reply)
                reply.finish(ReplyOutcome("superseded", response_id=response.id))
            elif reply.held_for_user and (served is None or served.purpose == "owed"):
                self.slot.drop(reply)
                reply.response, response.reply = response, reply
        posted = self.slot.posted
        tools = posted is not None and posted.purpose == "tools"
        if posted is None or not tools or posted.required:
            return
        if self._knows_outputs():
            # Should it be made after all, or asked for again, it would say it twice.
            posted.unwanted = True
            posted.finish(ReplyOutcome("superseded", response_id=response.id))

    def _knows_outputs(self) -> bool:
        """Whether the server has all items that it was given."""
        connection = self._session.connection
        return connection is not None and not any(
            isinstance(request.command, Creation) for request in connection.ledger
        )

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
            record = self._session.record
            self._session.tell(record.set_agent(event.item.id, name))
        ended = isinstance(event, OutputItemDone)
        if response.discard or response.cut:
            return
        if ended and isinstance(event.item, Message):
            listener = self._session.listener
            listener.message_ended(response, event.item.id, event.item.text)
        if response.tap is not None:
            response.tap.item(event.item, ended=ended)

    def audio(self, connection: Connection, event: OutputAudio) -> bool:
        """Audio: handed on only if it may be heard.

        Returns:
            Whether it is the first of its item, or else of any interest.
        """
        item_id = event.item_id
        response = self._responses.get(event.response_id)
        begins = response is None
        if response is None:
            response = self._response(connection, event.response_id)
        if response.done is None and not response.lost:
            self._watch(connection)
        new = item_id not in response.given
        if new and item_id not in response.items:
            response.items.append(item_id)
        if response.discard or response.cut or response.done is not None:
            return begins
        if new or not response.emitted:
            response.given.add(item_id)
            response.emitted = begins = True
        if response.first_audio_at is None:
            response.first_audio_at = trio.current_time()
            self._session.meter.first_audio(response)
        self._session.listener.audio(response, item_id, event.pcm)
        if response.reply is not None and response.reply.tap is not None:
            response.reply.tap.audio(item_id, event.pcm)
        return begins

    def audio_ended(self, connection: Connection, event: OutputAudioEnded) -> None:
        """An item's audio is complete."""
        response = self._response(connection, event.response_id)
        if not (response.discard or response.cut):
            self._session.listener.audio_ended(response, event.item_id)
            if response.tap is not None:
                response.tap.audio_ended(event.item_id)

    def text(self, connection: Connection, event: OutputText) -> None:
        """Text or transcript: recorded only if it may be heard."""
        response = self._response(connection, event.response_id)
        self._watch_running(connection, response)
        if response.discard or response.cut:
            return
        if not event.spoken:
            response.given.add(event.item_id)
        self._session.listener.text(response, event.item_id, event.text)
        if response.tap is not None:
            response.tap.text(event.item_id, event.text, spoken=event.spoken)

    def call(self, connection: Connection, event: CallReady) -> None:
        """A call is complete: run it, or see to it that it is answered unrun."""
        response = self._response(connection, event.response_id)
        self._announce_call(response, event.call)

    def _announce_call(self, response: Response, call: FunctionCall) -> None:
        if call.call_id in response.calls:
            return
        response.calls[call.call_id] = call
        if response.tap is not None:
            response.tap.call(call)
        if response.out_of_band:
            return  # only whoever asked for it can know what to make of it
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
        self._unclaimed = self._still_unclaimed()
        if not (response.out_of_band or event.out_of_band):
            self._adopt(connection, event)
        self.slot.finished(response)
        self._session.meter.response_done(response, event, self._name(response))
        self._conclude(connection, response, event)
        self._session.spending.spent(self.usage)

    def _adopt(self, connection: Connection, event: ResponseDone) -> None:
        """Take what was never announced, or never called final, from the end."""
        record, view = self._session.record, connection.view
        for item in event.items:
            known = record.get(item.id)
            open_ = known is None or getattr(known, "status", "") == "in_progress"
            if view is not None and open_:
                self._session.tell(record.item_done(view, item))

    def item_made(self, item: Item) -> None:
        """The server has an item that it made itself; its response may be told later.

        Until then nothing of it can be heard, and nobody runs it.
        """
        assistant = isinstance(item, Message) and item.role == "assistant"
        if assistant or isinstance(item, FunctionCall):
            self._unclaimed = [*self._still_unclaimed(), item.id][-REMEMBERED:]

    def _still_unclaimed(self) -> list[str]:
        return [i for i in self._unclaimed if self.of_item(i) is None]

    def _bind_late(
        self, connection: Connection, response: Response, event: ResponseDone
    ) -> None:
        """Its end says who asked for it, where its beginning was never announced."""
        response.answers_user = False
        response.reply = reply = self._claim(connection, event)
        if reply is not None:
            reply.response = response
            self._unpost(reply)
            if reply.tap is not None:
                self._catch_up(reply.tap, response, event)

    @staticmethod
    def _catch_up(tap: Tap, response: Response, event: ResponseDone) -> None:
        """What came before anybody knew whose it was: all of it but the sound."""
        for item in event.items:
            tap.item(item, ended=True)
            if isinstance(item, Message) and item.text:
                tap.text(item.id, item.text, spoken=False)
        for call in response.calls.values():
            tap.call(call)

    def _conclude(
        self, connection: Connection, response: Response, event: ResponseDone
    ) -> None:
        self._cutting.tidy(connection, response)
        if response.turn and not response.discard and event.status == "completed":
            self._session.listening.answered_turn = response.turn
        self._settle(response, event)
        response.ended.set()
        if response.discard or (response.stopped and event.status != "completed"):
            self._answer_again(response)
        self._tell_end(response)
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
            self._failed(response, event)
        elif reply is not None:
            reply.finish(response.result(self.items_of(response) or event.items))

    def _failed(self, response: Response, event: ResponseDone) -> None:
        reply, nothing = response.reply, not (response.items or response.emitted)
        terminal = event.error_class is ErrorClass.TERMINAL
        message = event.error_message or "the provider reported no reason"
        error = ResponseFailed(
            f"the response failed: {message}",
            code=event.error_code,
            recoverable=not terminal,
        )
        if reply is None:
            self._tell_failure(error)
            # The server has answered by itself, and will not do so again.
            transient = event.error_class is ErrorClass.TRANSIENT
            self.owed |= response.answers_user and transient and nothing
        elif not (nothing and self._ask_again(reply, event.error_class, error)):
            self._fail(reply, error)
        if terminal:
            self._session.fail(error)
