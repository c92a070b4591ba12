"""Server events as neutral events (protocol §6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from trialogue._codec import b64decode, is_flat
from trialogue._redaction import without_keys
from trialogue.dialects import events as ours
from trialogue.dialects.openai._errors import reported
from trialogue.dialects.openai._items_in import item_in
from trialogue.dialects.openai._responses import Responses
from trialogue.dialects.openai.wire import items as wire_items
from trialogue.dialects.openai.wire import server_events as wire
from trialogue.dialects.openai.wire.base import UNSET, Nullable, or_none
from trialogue.dialects.openai.wire.error import ErrorDetails
from trialogue.dialects.openai.wire.session import FunctionTool
from trialogue.dialects.options import UNCHANGED

if TYPE_CHECKING:
    from trialogue.dialects.openai._audio import AudioFormats
    from trialogue.dialects.openai._ids import Ids

__all__ = ["Incoming"]

_Data: TypeAlias = dict[str, Any]
_SOUND_FIELDS: Final = 7
_Translation: TypeAlias = Sequence[ours.Event] | None
_Translator: TypeAlias = Callable[["Incoming", Any, _Data], _Translation]


@final
class Incoming:
    """Translates the server events of one connection."""

    def __init__(self, ids: Ids, audio: AudioFormats) -> None:
        self._ids = ids
        self._audio = audio
        self._responses = Responses(ids)

    def __repr__(self) -> str:
        return f"<Incoming {self._responses!r}>"

    def translate(self, event: wire.ServerEvent, data: _Data) -> Sequence[ours.Event]:
        """Return what an event means, in order; `data` is its raw form.

        What has no neutral form, or lacks the id that it would be known by, passes raw.
        """
        translator = _TRANSLATORS.get(type(event))
        found = None if translator is None else translator(self, event, data)
        if found is None:
            return (ours.UnknownEvent(type=event.type, data=data),)
        return found

    def _nothing(self, _event: object, _data: _Data) -> _Translation:
        """Pass over an event that others repeat: parts, and calls in the making."""
        return ()

    # Session

    def _error(self, event: wire.ErrorEvent, _: _Data) -> _Translation:
        return (reported(event.error, self._ids.back),)

    def _session_created(self, event: wire.SessionCreated, _: _Data) -> _Translation:
        session = event.session
        return (
            ours.SessionStarted(
                session_id=or_none(session.id) or "",
                expires_at=or_none(session.expires_at),
                model=or_none(session.model),
            ),
        )

    def _session_updated(self, event: wire.SessionUpdated, _: _Data) -> _Translation:
        session = event.session
        self._audio.session_is(session)
        instructions, tools = session.instructions, session.tools
        return (
            ours.Configured(
                instructions=UNCHANGED if instructions is UNSET else instructions,
                tool_names=UNCHANGED
                if tools is UNSET
                else tuple(
                    tool.name for tool in tools if isinstance(tool, FunctionTool)
                ),
            ),
        )

    def _rate_limits(self, event: wire.RateLimitsUpdated, _: _Data) -> _Translation:
        limits = (
            ours.RateLimit(
                name=or_none(limit.name) or "",
                limit=or_none(limit.limit),
                remaining=or_none(limit.remaining),
                reset_seconds=or_none(limit.reset_seconds),
            )
            for limit in event.rate_limits
        )
        return (ours.RateLimits(tuple(limits)),)

    # Conversation

    def _predecessor(self, previous: Nullable[str]) -> tuple[str | None, bool]:
        """Return our id of the predecessor, and whether the server named one at all.

        Null names the beginning; an absent key says nothing (§4.3).
        """
        if previous is UNSET or previous == "":
            return None, False
        return (None if previous is None else self._ids.back(previous)), True

    def _item_added(self, event: wire.ConversationItemAdded, _: _Data) -> _Translation:
        item = item_in(event.item, self._ids)
        if item is None:
            return None
        return (ours.ItemAdded(item, *self._predecessor(event.previous_item_id)),)

    def _item_created(
        self, event: wire.ConversationItemCreated, _: _Data
    ) -> _Translation:
        """One event where newer servers send two; what is being made ends later."""
        item = item_in(event.item, self._ids)
        if item is None:
            return None
        where = self._predecessor(event.previous_item_id)
        added = ours.ItemAdded(item, *where)
        if item.status == "in_progress":
            return (added,)
        return (added, ours.ItemDone(item, *where))

    def _item_done(self, event: wire.ConversationItemDone, _: _Data) -> _Translation:
        item = item_in(event.item, self._ids)
        if item is None:
            return None
        return (ours.ItemDone(item, *self._predecessor(event.previous_item_id)),)

    def _item_retrieved(
        self, event: wire.ConversationItemRetrieved, data: _Data
    ) -> _Translation:
        item = item_in(event.item, self._ids)
        if item is None:
            return None
        return (ours.ItemRetrieved(item, data["item"], self._audio_of(event.item)),)

    def _audio_of(self, item: wire_items.Item) -> bytes:
        if not isinstance(item, wire_items.Message):
            return b""
        spoken = (
            or_none(part.audio)
            for part in item.content
            if isinstance(part, wire_items.InputAudio | wire_items.OutputAudio)
        )
        by_user = item.role == "user"
        return b"".join(self._audio.held(d, by_user=by_user) for d in spoken if d)

    def _item_truncated(
        self, event: wire.ConversationItemTruncated, _: _Data
    ) -> _Translation:
        return (
            ours.ItemTruncated(
                item_id=self._ids.back(event.item_id),
                audio_end_ms=event.audio_end_ms,
                content_index=event.content_index,
            ),
        )

    def _item_deleted(
        self, event: wire.ConversationItemDeleted, _: _Data
    ) -> _Translation:
        return (ours.ItemDeleted(self._ids.back(event.item_id)),)

    def _transcript_delta(
        self, event: wire.InputAudioTranscriptionDelta, _: _Data
    ) -> _Translation:
        if not event.delta:
            return ()
        return (
            ours.TranscriptDelta(
                item_id=self._ids.back(event.item_id),
                text=event.delta,
                content_index=event.content_index or 0,
            ),
        )

    def _transcript_done(
        self, event: wire.InputAudioTranscriptionCompleted, _: _Data
    ) -> _Translation:
        return (
            ours.TranscriptDone(
                item_id=self._ids.back(event.item_id),
                text=event.transcript,
                content_index=event.content_index or 0,
                usage=or_none(event.usage),
            ),
        )

    def _transcript_failed(
        self, event: wire.InputAudioTranscriptionFailed, _: _Data
    ) -> _Translation:
        error = event.error or ErrorDetails()
        return (
            ours.TranscriptFailed(
                item_id=self._ids.back(event.item_id),
                message=without_keys(or_none(error.message) or ""),
                code=or_none(error.code),
                content_index=event.content_index or 0,
            ),
        )

    # Input audio buffer

    def _committed(
        self, event: wire.InputAudioBufferCommitted, _: _Data
    ) -> _Translation:
        previous, _known = self._predecessor(event.previous_item_id)
        return (ours.AudioCommitted(self._ids.back(event.item_id), previous),)

    def _cleared(self, _e: wire.InputAudioBufferCleared, _: _Data) -> _Translation:
        return (ours.AudioCleared(),)

    def _speech_started(
        self, event: wire.InputAudioBufferSpeechStarted, _: _Data
    ) -> _Translation:
        return (ours.SpeechStarted(or_none(event.item_id), event.audio_start_ms),)

    def _speech_stopped(
        self, event: wire.InputAudioBufferSpeechStopped, _: _Data
    ) -> _Translation:
        return (ours.SpeechStopped(or_none(event.item_id), event.audio_end_ms),)

    def _idle(
        self, event: wire.InputAudioBufferTimeoutTriggered, _: _Data
    ) -> _Translation:
        return (ours.IdleTimedOut(self._ids.back(event.item_id)),)

    # Responses

    def _response_created(self, event: wire.ResponseCreated, _: _Data) -> _Translation:
        created = self._responses.created(event.response)
        if created is None:
            return None
        self._audio.began(created.response_id, event.response)
        return (created,)

    def _response_done(self, event: wire.ResponseDone, _: _Data) -> _Translation:
        done = self._responses.done(event.response)
        if done is not None:
            self._audio.ended(done[-1].response_id)
        return done

    def _output_item_added(
        self, event: wire.ResponseOutputItemAdded, _: _Data
    ) -> _Translation:
        item = item_in(event.item, self._ids)
        if item is None:
            return None
        return (ours.OutputItemAdded(event.response_id, item, event.output_index),)

    def _output_item_done(
        self, event: wire.ResponseOutputItemDone, _: _Data
    ) -> _Translation:
        item = item_in(event.item, self._ids)
        if item is None:
            return None
        response_id, index = event.response_id, event.output_index
        done = ours.OutputItemDone(response_id, item, index)
        call = self._responses.call_done(response_id, index, event.item)
        return (done,) if call is None else (done, call)

    def _text(self, event: wire.ResponseOutputTextDelta, _: _Data) -> _Translation:
        return (self._words(event, event.delta, spoken=False),)

    def _transcript(
        self, event: wire.ResponseOutputAudioTranscriptDelta, _: _Data
    ) -> _Translation:
        return (self._words(event, event.delta, spoken=True),)

    def _words(
        self,
        event: wire.ResponseOutputTextDelta | wire.ResponseOutputAudioTranscriptDelta,
        text: str,
        *,
        spoken: bool,
    ) -> ours.OutputText:
        return ours.OutputText(
            response_id=event.response_id,
            item_id=self._ids.back(event.item_id),
            text=text,
            content_index=event.content_index,
            spoken=spoken,
        )

    def _text_ended(self, event: wire.ResponseOutputTextDone, _: _Data) -> _Translation:
        return (self._all_words(event, event.text, spoken=False),)

    def _transcript_ended(
        self, event: wire.ResponseOutputAudioTranscriptDone, _: _Data
    ) -> _Translation:
        return (self._all_words(event, event.transcript, spoken=True),)

    def _all_words(
        self,
        event: wire.ResponseOutputTextDone | wire.ResponseOutputAudioTranscriptDone,
        text: str,
        *,
        spoken: bool,
    ) -> ours.OutputTextEnded:
        return ours.OutputTextEnded(
            response_id=event.response_id,
            item_id=self._ids.back(event.item_id),
            text=text,
            content_index=event.content_index,
            spoken=spoken,
        )

    def audio(self, data: _Data) -> ours.OutputAudio | None:
        """Translate the event that makes up most of the traffic, without a detour.

        None if it is out of order in any way: then the usual way says what is wrong.
        """
        try:
            response_id, item_id = data["response_id"], data["item_id"]
            text, index = data["delta"], data["content_index"]
            if not (
                response_id.__class__ is item_id.__class__ is text.__class__ is str
                and data["event_id"].__class__ is str
                and index.__class__ is data["output_index"].__class__ is int
                # With its type these are all fields: nothing is nested.
                and (len(data) == _SOUND_FIELDS or is_flat(data))
            ):
                return None
            pcm = b64decode(text)
        except (KeyError, ValueError):
            return None
        pcm = self._audio.heard(response_id, item_id, pcm)
        return ours.OutputAudio(response_id, self._ids.back(item_id), pcm, index)

    def _audio_delta(
        self, event: wire.ResponseOutputAudioDelta, _: _Data
    ) -> _Translation:
        return (
            ours.OutputAudio(
                response_id=event.response_id,
                item_id=self._ids.back(event.item_id),
                pcm=self._audio.heard(event.response_id, event.item_id, event.delta),
                content_index=event.content_index,
            ),
        )

    def _audio_ended(
        self, event: wire.ResponseOutputAudioDone, _: _Data
    ) -> _Translation:
        return (
            ours.OutputAudioEnded(
                response_id=event.response_id,
                item_id=self._ids.back(event.item_id),
                content_index=event.content_index,
            ),
        )


_TRANSLATORS: Final[dict[type, _Translator]] = {
    wire.ErrorEvent: Incoming._error,
    wire.SessionCreated: Incoming._session_created,
    wire.SessionUpdated: Incoming._session_updated,
    wire.RateLimitsUpdated: Incoming._rate_limits,
    wire.ConversationItemAdded: Incoming._item_added,
    wire.ConversationItemCreated: Incoming._item_created,
    wire.ConversationItemDone: Incoming._item_done,
    wire.ConversationItemRetrieved: Incoming._item_retrieved,
    wire.ConversationItemTruncated: Incoming._item_truncated,
    wire.ConversationItemDeleted: Incoming._item_deleted,
    wire.InputAudioTranscriptionDelta: Incoming._transcript_delta,
    wire.InputAudioTranscriptionCompleted: Incoming._transcript_done,
    wire.InputAudioTranscriptionFailed: Incoming._transcript_failed,
    wire.InputAudioBufferCommitted: Incoming._committed,
    wire.InputAudioBufferCleared: Incoming._cleared,
    wire.InputAudioBufferSpeechStarted: Incoming._speech_started,
    wire.InputAudioBufferSpeechStopped: Incoming._speech_stopped,
    wire.InputAudioBufferTimeoutTriggered: Incoming._idle,
    wire.ResponseCreated: Incoming._response_created,
    wire.ResponseDone: Incoming._response_done,
    wire.ResponseOutputItemAdded: Incoming._output_item_added,
    wire.ResponseOutputItemDone: Incoming._output_item_done,
    wire.ResponseContentPartAdded: Incoming._nothing,
    wire.ResponseContentPartDone: Incoming._nothing,
    wire.ResponseOutputTextDelta: Incoming._text,
    wire.ResponseOutputTextDone: Incoming._text_ended,
    wire.ResponseOutputAudioDelta: Incoming._audio_delta,
    wire.ResponseOutputAudioDone: Incoming._audio_ended,
    wire.ResponseOutputAudioTranscriptDelta: Incoming._transcript,
    wire.ResponseOutputAudioTranscriptDone: Incoming._transcript_ended,
    wire.ResponseFunctionCallArgumentsDelta: Incoming._nothing,
    wire.ResponseFunctionCallArgumentsDone: Incoming._nothing,
}
