"""What the reader does with each event: the record, the ledger, and whoever is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.dialects.commands import (
    CreateItem,
    CreateResponse,
    CreateUserAudio,
    Creation,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
    UpdateSession,
)
from trialogue.dialects.events import (
    AudioCleared,
    AudioCommitted,
    CallReady,
    Configured,
    ErrorClass,
    ErrorReported,
    Event,
    IdleTimedOut,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemRetrieved,
    ItemTruncated,
    OutputAudio,
    OutputAudioEnded,
    OutputItemAdded,
    OutputItemDone,
    OutputText,
    OutputTextEnded,
    RateLimits,
    ResponseCreated,
    ResponseDone,
    SessionStarted,
    SpeechStarted,
    SpeechStopped,
    TranscriptDelta,
    TranscriptDone,
    TranscriptFailed,
    UnknownEvent,
)
from trialogue.errors import ConnectRefused, ServerError
from trialogue.realtime.configuration import Configuration
from trialogue.realtime.listening import ANSWER_DUE, WORDS_DUE
from trialogue.realtime.notices import (
    ErrorNotice,
    ItemChanged,
    RateLimitsUpdated,
    RawEvent,
    UnknownAnchorNotice,
    UserIdle,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserTranscript,
)
from trialogue.realtime.probing import Probe, cannot_tell, imply, is_held, is_missing
from trialogue.realtime.replies import Reply
from trialogue.realtime.reply_probing import Behind
from trialogue.realtime.requests import RequestState
from trialogue.realtime.retrieving import Retrieval

if TYPE_CHECKING:
    from trialogue.conversation.changes import Change
    from trialogue.conversation.items import Item
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.parts import SessionParts
    from trialogue.realtime.requests import Request

__all__ = ["Intake"]

UNDELIVERED = "The tool's output could not be delivered."


def _acceptable(command: Creation) -> Creation | None:
    """Return what to send instead of an item that is refused for what it says.

    A call has to be answered, if only by saying that there is no answer.
    """
    output = _output_in(command)
    if output is None:
        return None
    return CreateItem(attrs.evolve(output, output=UNDELIVERED))


def _output_in(command: Creation) -> FunctionCallOutput | None:
    item = command.item if isinstance(command, CreateItem) else None
    return item if isinstance(item, FunctionCallOutput) else None


class Intake:
    """Takes each event of a connection where it belongs; nothing here waits."""

    def __init__(self, session: SessionParts) -> None:
        self._session = session

    def received(self, connection: Connection, event: Event) -> None:
        """Act on one event."""
        session = self._session
        event = session.bounding.bounded(event)
        if not connection.started:
            self._first(connection, event)
        elif connection.retired or connection is not session.connection:
            self._late(event)
            if isinstance(event, ErrorReported) and not connection.retired:
                self._error(connection, event)  # it came before the first request
        else:
            self._current(connection, event)
            self._settle_doubts(connection)

    def sound(self, connection: Connection, event: OutputAudio) -> bool:
        """Most of the traffic: nothing that `received` looks at could speak of it.

        Returns:
            Whether it is the first of its response.
        """
        session = self._session
        current = connection is session.connection
        if current and connection.started and not connection.retired:
            return session.replying.audio(connection, event)
        return False

    def _first(self, connection: Connection, event: Event) -> None:
        if isinstance(event, SessionStarted):
            self._session.supervisor.started(connection, event)
        elif isinstance(event, ErrorReported):
            # An error instead of a beginning: key, model or shape is wrong, and the
            # provider closes. A passing fault may be tried again.
            passing = event.error_class in {ErrorClass.TRANSIENT, ErrorClass.STATE}
            if not passing:
                msg = f"the provider refused the session: {event.message}"
                connection.end(ConnectRefused(msg, reason=event.code))

    def _late(self, event: Event) -> None:
        """An old connection is read for the words of turns that it holds."""
        if not isinstance(event, TranscriptDelta | TranscriptDone | TranscriptFailed):
            return
        if self._session.record.get(event.item_id) is not None:
            self._transcript(event)

    def _current(self, connection: Connection, event: Event) -> None:
        replying = self._session.replying
        match event:
            case OutputText():
                replying.text(connection, event)
                self._output_text(connection, event)
            case OutputTextEnded():
                self._output_text(connection, event)
            case OutputAudioEnded():
                replying.audio_ended(connection, event)
            case OutputItemAdded() | OutputItemDone():
                replying.output_item(connection, event)
                self._output_item(connection, event)
            case CallReady():
                replying.call(connection, event)
            case ResponseCreated():
                replying.created(connection, event)
            case ResponseDone():
                replying.done(connection, event)
                self._session.supervisor.progressed()
            case ItemAdded() | ItemDone() | ItemDeleted() | ItemTruncated():
                self._item(connection, event)
            case ItemRetrieved():
                self._retrieved(connection, event)
            case TranscriptDelta() | TranscriptDone() | TranscriptFailed():
                self._transcript(event)
            case SpeechStarted() | SpeechStopped() | AudioCommitted() | AudioCleared():
                self._speech(connection, event)
            case Configured():
                self._session.supervisor.configured(connection, event)
            case ErrorReported():
                self._error(connection, event)
            case UnknownEvent(type=kind, data=data):
                self._session.publish(RawEvent(kind, data))
            case RateLimits(limits=limits):
                self._session.publish(RateLimitsUpdated(limits))
            case IdleTimedOut(item_id=item_id):
                self._session.publish(UserIdle(item_id))
            case _:
                pass

    # --- items ---------------------------------------------------------------

    def _item(
        self,
        connection: Connection,
        event: ItemAdded | ItemDone | ItemDeleted | ItemTruncated,
    ) -> None:
        session, view = self._session, connection.view
        record = session.record
        assert view is not None
        request = self._request(connection, event)
        if isinstance(event, ItemDone) and event.item.id in view:
            # Its announcement was the answer. What is asked for under the same id by
            # now is another item, and is announced for itself (S8).
            request = None
        if request is not None:
            imply(session, connection, request)
            connection.ledger.settle(request, RequestState.ACKNOWLEDGED)
        elif isinstance(event, ItemDeleted) and connection.ledger.comes_late(
            event.answers
        ):
            return
        match event:
            case ItemAdded(item, previous, known):
                if session.listening.ends_as(item.id):
                    self._committed(connection, item.id, previous)
                if request is None and not record.is_local(item.id):
                    session.replying.item_made(item)
                change = record.item_announced(view, item, previous, known)
            case ItemDone(item, previous, known):
                change = record.item_done(view, item, previous, known)
            case ItemDeleted(item_id):
                change = record.deleted(view, item_id)
            case ItemTruncated(item_id, audio_end_ms, content_index):
                # What nobody asked for was cut at what had been heard.
                asked = request is not None and request.first.subject is not None
                change = record.truncated(
                    view, item_id, content_index, audio_end_ms, on_purpose=asked
                )
        self.tell(change)

    @staticmethod
    def _request(
        connection: Connection,
        event: ItemAdded | ItemDone | ItemDeleted | ItemTruncated,
    ) -> Request | None:
        """Return what the event answers: of several truncations the very one."""
        if isinstance(event, ItemTruncated):
            for request in connection.ledger:
                cut = request.command
                if isinstance(cut, TruncateItem) and cut == TruncateItem(
                    event.item_id, event.audio_end_ms, event.content_index
                ):
                    return request
        return connection.ledger.find(event.answers)

    def _retrieved(self, connection: Connection, event: ItemRetrieved) -> None:
        request = connection.ledger.answered(event.answers)
        match None if request is None else request.subject:
            case Retrieval() as retrieval:
                retrieval.answer(event)
            case Probe() as probe:
                is_held(self._session, connection, probe)
            case Behind(asked):
                self._session.replying.probing.passed_over(connection, asked)

    def _output_item(
        self, connection: Connection, event: OutputItemAdded | OutputItemDone
    ) -> None:
        # What a call is run with must be in the record, even if the connection ends
        # before the conversation's own word on the item.
        record, view = self._session.record, connection.view
        known = record.get(event.item.id) is not None
        if isinstance(event, OutputItemDone) and known and view is not None:
            self.tell(record.item_done(view, event.item))

    def _output_text(
        self, connection: Connection, event: OutputText | OutputTextEnded
    ) -> None:
        record = self._session.record
        at = (event.item_id, event.content_index, event.text)
        if isinstance(event, OutputText):
            change = record.output_text(*at, spoken=event.spoken)
        else:
            change = record.output_text_ended(*at, spoken=event.spoken)
        self.tell(change)

    def _transcript(
        self, event: TranscriptDelta | TranscriptDone | TranscriptFailed
    ) -> None:
        record, item_id = self._session.record, event.item_id
        match event:
            case TranscriptDelta():
                change = record.transcript_delta(
                    item_id, event.content_index, event.text, event.cumulative
                )
                self.tell(change)
                if change:
                    item = record.get(item_id)
                    words = getattr(item, "text", "") or event.text
                    self._session.publish(UserTranscript(item_id, words, final=False))
                return
            case TranscriptDone():
                change = record.transcript_done(
                    item_id, event.content_index, event.text
                )
                self._session.listening.transcribed(item_id)
                self._session.meter.transcribed(event.usage)
            case TranscriptFailed():
                change = record.transcript_failed(
                    item_id, event.content_index, event.message
                )
                self._session.listening.wordless(item_id)
        self.tell(change)

    def tell(self, change: Change) -> None:
        """Publish what became of the record."""
        publish, record = self._session.publish, self._session.record
        for item_id in change.added:
            publish(ItemChanged("added", item_id, record.get(item_id)))
        for item_id in change.updated:
            publish(ItemChanged("updated", item_id, record.get(item_id)))
        for item_id in change.deleted:
            publish(ItemChanged("deleted", item_id))
        for item_id in change.transcribed:
            words = getattr(record.get(item_id), "text", "")
            publish(UserTranscript(item_id, words, final=True))
            self._session.listener.transcribed(item_id, words)
        for warning in change.warnings:
            publish(UnknownAnchorNotice(warning.item_id, warning.previous_item_id))

    # --- the user's turns ----------------------------------------------------

    def _speech(
        self,
        connection: Connection,
        event: SpeechStarted | SpeechStopped | AudioCommitted | AudioCleared,
    ) -> None:
        session, view = self._session, connection.view
        assert view is not None
        match event:
            case SpeechStarted(item_id, ms):
                session.listening.started(connection.clock, ms, item_id)
                self.tell(session.record.speech_started(view, item_id))
                session.publish(UserStartedSpeaking(item_id))
                if session.speech_interrupts():
                    session.replying.cut_everything()
                elif session.listener.stops_for_voice:
                    session.replying.stop_for_voice()
                session.listener.user_started_speaking()
            case SpeechStopped(item_id, ms):
                now = trio.current_time()
                session.listening.stopped(connection.clock, ms, now)
                connection.rearm()
                session.publish(UserStoppedSpeaking(item_id))
                session.listener.user_stopped_speaking()
            case AudioCommitted(item_id, previous):
                self._committed(connection, item_id, previous)
            case AudioCleared():
                asked = connection.ledger.answered(("cleared", None))
                upto = None if asked is None else asked.subject
                if not isinstance(upto, int):
                    upto = connection.cursor or 0
                session.listening.cleared(upto)
                self.tell(session.record.speech_abandoned(view))

    def _committed(
        self, connection: Connection, item_id: str, previous: str | None
    ) -> None:
        session = self._session
        if session.listening.knows(item_id):
            return  # said twice, or read from its item: what followed is another turn
        asked = connection.ledger.answered(("committed", None))
        upto = connection.cursor or 0
        if asked is not None and isinstance(asked.subject, int):
            upto = asked.subject
        expects = asked is None and session.turns_are_automatic()
        now = trio.current_time()
        due = now + ANSWER_DUE if expects else float("inf")
        session.listening.committed(item_id, upto, due, now + WORDS_DUE)
        connection.rearm()
        assert connection.view is not None
        self.tell(session.record.committed(connection.view, item_id, previous))
        session.supervisor.progressed()
        session.listener.user_turn(item_id)

    # --- errors --------------------------------------------------------------

    def _error(self, connection: Connection, event: ErrorReported) -> None:
        session = self._session
        request = connection.ledger.rejected(event)
        self._settle_doubts(connection)
        if request is not None and isinstance(request.subject, Behind):
            # It says nothing but that its turn has come.
            session.replying.probing.passed_over(connection, request.subject.request)
            return
        about = None if request is None else request.command
        session.logbook.error(connection.generation, event, about)
        terminal = event.error_class is ErrorClass.TERMINAL
        if terminal and connection is session.supervisor.spare:
            # The connection that serves goes on; if it is refused too, it tells.
            connection.end(ConnectRefused(event.message, reason=event.code))
        elif terminal:
            session.fail(
                ServerError(
                    event.message,
                    code=event.code,
                    event_id=event.event_id,
                    recoverable=False,
                )
            )
        if request is None:
            self._unclaimed(connection, event)
            session.replying.probing.doubted(connection, event)
            return
        match request.command:
            case UpdateSession():
                self._left_behind(request, event)
                session.supervisor.update_refused(connection, request, event)
            case CreateResponse() if isinstance(request.subject, Reply):
                session.replying.refused(connection, request.subject, event)
            case CreateItem() | CreateUserAudio() | DeleteItem():
                permanent = event.error_class is ErrorClass.PERMANENT
                self._item_refused(connection, request, event, permanent=permanent)
                self._left_behind(request, event)
            case TruncateItem():
                self._truncate_again(connection, request, event)
                self._left_behind(request, event)
            case RetrieveItem() if isinstance(request.subject, Probe):
                if "retrieved" in event.kinds:
                    is_missing(self._session, connection, request.subject)
                else:
                    cannot_tell(connection, request.subject)
            case _:
                self._left_behind(request, event)

    @staticmethod
    def _truncate_again(
        connection: Connection, request: Request, event: ErrorReported
    ) -> None:
        """Ask once more: nobody waits who could, and it may be taken now."""
        once = request.first is request and not request.waited
        lasting = {ErrorClass.PERMANENT, ErrorClass.BENIGN}
        if once and event.error_class not in lasting:
            connection.post([connection.encode(request.command, subject=request)])

    def _left_behind(self, request: Request, event: ErrorReported) -> None:
        """Whoever waited for this request has left: the subscribers are told (S7)."""
        config = request.subject if isinstance(request.subject, Configuration) else None
        agents = config is not None and not config.amends
        refused = request.state is RequestState.REJECTED
        if refused and not request.waited and not agents:
            notice = ErrorNotice(event.message, event.code, event.event_id)
            self._session.publish(notice)

    def _unclaimed(self, connection: Connection, event: ErrorReported) -> None:
        # An empty commit under turn detection is a race between two who may commit.
        empty = event.kinds == ("committed",) and self._session.turns_are_automatic()
        if event.error_class is ErrorClass.BENIGN or empty:
            return
        conflict = event.error_class is ErrorClass.CONFLICT
        if conflict and self._session.replying.has_begun(event.event_id):
            return  # it was asked for twice, since the first seemed lost, and is made
        self._session.publish(ErrorNotice(event.message, event.code, event.event_id))

    def _settle_doubts(self, connection: Connection) -> None:
        """An error named nothing, and an answer passed over these: they were meant."""
        for request in connection.ledger.take_doubted():
            if request.doubt is None:
                continue
            if isinstance(request.command, TruncateItem):
                self._truncate_again(connection, request, request.doubt)
            else:
                self._item_refused(connection, request, request.doubt, permanent=False)

    def _outputs_of(self, command: Creation) -> list[Item]:
        """Return what was refused with a call: no server takes an output before it."""
        item = command.item if isinstance(command, CreateItem) else None
        call_id = item.call_id if isinstance(item, FunctionCall) else None
        return [
            other
            for other in self._session.record.items
            if isinstance(other, FunctionCallOutput) and other.call_id == call_id
        ]

    def _is_needed(self, output: FunctionCallOutput | None) -> bool:
        """Whether a call of the record has no other answer than this."""
        calls = (i for i in self._session.record.items if isinstance(i, FunctionCall))
        return output is not None and any(c.call_id == output.call_id for c in calls)

    def _item_refused(
        self,
        connection: Connection,
        request: Request,
        event: ErrorReported,
        *,
        permanent: bool,
    ) -> None:
        record, view, command = self._session.record, connection.view, request.command
        assert view is not None
        waited = request.waited or request.first.waited
        if isinstance(command, DeleteItem):
            if event.error_class is ErrorClass.BENIGN:
                self.tell(record.deleted(view, command.item_id))
                for lost in connection.ledger.creations_before(request):
                    connection.ledger.settle(lost, RequestState.UNANSWERED)
                    self.tell(record.drop_local(command.item_id))
            elif request.subject is None and not waited:
                again = connection.encode(DeleteItem(command.item_id), subject="again")
                connection.post([again])
            else:
                record.delete_refused(view, command.item_id)
        elif request.state is RequestState.ACKNOWLEDGED:
            assert isinstance(command, Creation)
            self.tell(record.confirmed(view, command.item_id))
        elif isinstance(command, Creation) and not waited:
            # Nobody waits for this item: it is sent once more, last, and then dropped,
            # unless it is an output, which the next connection still needs.
            better = _acceptable(command) if permanent else command
            if request.subject is None and better is not None:
                connection.post(
                    [
                        connection.encode(one, subject="again")
                        for one in (
                            attrs.evolve(better, after=None),
                            *map(CreateItem, self._outputs_of(command)),
                        )
                    ]
                )
            else:
                kept = self._is_needed(_output_in(command))
                self.tell(record.drop_local(command.item_id, keep=kept))
                for output in self._outputs_of(command):
                    # No server takes it without its call, also not the next one.
                    self.tell(record.drop_local(output.id))
