"""Between the realtime session and the agents: sound out, calls in."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

import attrs
import trio

from trialogue.agents.events import AgentTranscript, ToolFinished
from trialogue.conversation.items import FunctionCall, FunctionCallOutput
from trialogue.errors import ConfigurationError
from trialogue.realtime.listener import CutItem, Listener
from trialogue.realtime.notices import UserStartedSpeaking, UserStoppedSpeaking
from trialogue.tools import render
from trialogue.tools.outcome import HandedOff

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession
    from trialogue.audio.playout import AudioRefused, Playout
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.replies import Reply, Response

__all__ = ["Stage"]

REMEMBERED = 256
"""Spoken items whose length is still known; older ones have long been played."""


@attrs.frozen(eq=False)
class _Spoken:
    """The item that the latest piece of sound was of, and what it was bound to then.

    What these do not change, no further piece of it changes.
    """

    item_id: str
    response: Response
    reply: Reply | None
    config: Configuration | None
    key: tuple[int, str]


class Stage(Listener):
    """Plays what may be heard, and takes calls to the scope that answers for them."""

    plays = True

    def __init__(
        self,
        session: AgentSession,
        playout: Playout,
        barge_in: Literal["provider", "client"],
    ) -> None:
        if barge_in not in {"provider", "client"}:
            msg = f'barge_in={barge_in!r}: give "provider" or "client"'
            raise ConfigurationError(msg)
        self.stops_for_voice = barge_in == "client"
        self._session = session
        self._playout = playout
        self._received: OrderedDict[str, int] = OrderedDict()
        self._kept: set[str] = set()
        self._spoken: _Spoken | None = None  # NB: of one only, or replies were kept
        self._last_refused: str | None = None
        playout.on_started = self._began
        playout.on_finished = self._finished
        playout.on_refused = self._refused

    @staticmethod
    def _scope(response: Response) -> AgentScope | None:
        owner: AgentScope | None = response.owner
        return owner

    def published(self, event: object) -> None:
        now, voice = trio.current_time(), None
        listening = self._session.realtime.listening
        if isinstance(event, UserStartedSpeaking):
            voice = listening.turn_began_at(now)
        elif isinstance(event, UserStoppedSpeaking):
            voice = listening.turn_ended_at(now)
        self._session.recorder.observe(event, now, voice)

    def response_created(self, response: Response) -> None:
        scope = self._scope(response)
        if scope is not None:
            scope.transition.note(response_created=response.created_at)
        asked_for = response.reply is not None and response.reply.purpose == "program"
        if self._session.scope is None and not asked_for:
            # No agent is there any more; the provider answers for the last one.
            self._session.realtime.replying.cut(response)
        self._session.guarding.response_created(response)
        self._session.presence.look()

    def audio(self, response: Response, item_id: str, pcm: bytes) -> None:
        spoken = self._spoken
        if (
            spoken is None
            or spoken.item_id != item_id
            or spoken.response is not response
            or spoken.reply is not response.reply
            or spoken.config is not response.config
        ):
            spoken = self._spoken = self._goes_on(response, item_id)
        key = spoken.key
        self._received[item_id] += len(pcm)
        self._playout.push(key, item_id, pcm)

    def _goes_on(self, response: Response, item_id: str) -> _Spoken:
        """Sound of another item than before, or of one that is now bound otherwise."""
        scope = self._scope(response)
        if item_id not in self._received:
            name = None if scope is None else scope.name
            self._session.recorder.spoken(item_id, response.id, name)
            self._received[item_id] = 0
        if not response.interruptible:
            self._kept.add(item_id)
        if len(self._received) > REMEMBERED:
            old, _ = self._received.popitem(last=False)
            self._kept.discard(old)
        if scope is not None and response.first_audio_at is not None:
            self._session.steps.first_audio(scope.transition, response.first_audio_at)
        key = (response.generation, response.id)
        return _Spoken(item_id, response, response.reply, response.config, key)

    def audio_ended(self, response: Response, item_id: str) -> None:
        self._playout.end_item(item_id)

    def text(self, response: Response, item_id: str, text: str) -> None:
        scope = self._scope(response)
        name = None if scope is None else scope.name
        self._session.publish(AgentTranscript(name, item_id, text))
        self._session.guarding.text(response, item_id, text)

    def message_ended(self, response: Response, item_id: str, text: str) -> None:
        self._session.guarding.message_ended(response, item_id, text)

    def call_ready(self, response: Response, call: FunctionCall) -> None:
        scope = self._scope(response)
        if scope is None or scope.closed:
            self.call_refused(response, call)
        else:
            scope.calls.dispatch(response, call)

    def call_refused(self, response: Response, call: FunctionCall) -> None:
        outcome, scope = HandedOff(), self._scope(response)
        text = render(outcome)
        name = None if scope is None else scope.name
        kind = type(outcome).__name__
        self._session.publish(ToolFinished(name, call.name, call.call_id, kind, text))
        output = FunctionCallOutput(
            self._session.realtime.new_item_id("out"), call.call_id, text
        )
        self._session.realtime.add_items([output])

    def response_done(self, response: Response) -> None:
        self._spoken = None
        self._playout.end_reply((response.generation, response.id))
        self._session.step_limit.ended(response)
        self._session.guarding.response_done(response)
        scope = self._scope(response)
        if scope is not None:
            scope.calls.response_done(response)
        self._session.presence.look()
        self._session.changed.pulse()

    def cut(
        self, response: Response | None, *, force: bool = False
    ) -> Sequence[CutItem]:
        self._spoken = None
        if response is None:
            stopped = self._playout.interrupt(spare=() if force else self._kept)
            for each in stopped:
                self._stopped(each.item_id, each.heard_ms, done=each.state == "done")
            cut = [i for i in stopped if i.state != "done"]
            for one in cut:
                self._received.pop(one.item_id, None)
            return [CutItem(i.item_id, i.heard_ms, i.received_ms) for i in cut]
        return [
            item
            for item_id in response.items
            if (item := self._cut_item(item_id)) is not None
        ]

    def _cut_item(self, item_id: str) -> CutItem | None:
        received = self._received.get(item_id)
        if received is None or self._playout.position(item_id).complete:
            return None
        heard = self._playout.discard(item_id)
        self._stopped(item_id, heard.ms, done=heard.complete)
        del self._received[item_id]  # what is cut once more was heard no further
        return CutItem(item_id, heard.ms, received // 48)

    def heard_ms(self, response: Response) -> int:
        return sum(self._playout.position(item).ms for item in response.items)

    def playing(self) -> bool:
        return not self._playout.idle

    def running_calls(self) -> Collection[str]:
        scope = self._session.scope
        if scope is None:
            return ()
        return [
            opened.call.call_id
            for current in scope.lineage()
            for opened in current.calls.open
        ]

    def working(self) -> bool:
        scope = self._session.scope
        return scope is not None and bool(scope.calls.open)

    def user_started_speaking(self) -> None:
        if self._session.scope is not None:
            self._session.scope.calls.user_interrupted()
        self._session.presence.look()

    def transcribed(self, item_id: str, text: str) -> None:
        self._session.guarding.transcribed(item_id, text)

    def user_turn(self, item_id: str) -> None:
        self._session.steps.user_spoke()
        self._session.step_limit.reset()
        self._session.guarding.user_turn(item_id)
        self._session.presence.acted()

    def connection_changed(self) -> None:
        self._session.changed.pulse()

    def failed(self) -> None:
        self._session.changed.pulse()

    # --- what the playout tells ----------------------------------------------

    def _began(self, item_id: str) -> None:
        at = self._playout.first_audio_time(item_id)
        now = trio.current_time() if at is None else at
        self._session.recorder.speech_began(item_id, now)
        self._moved()

    def _finished(self, item_id: str) -> None:
        self._session.recorder.speech_ended(item_id, trio.current_time())
        self._moved()

    def _stopped(self, item_id: str, heard_ms: int, *, done: bool) -> None:
        recorder, now = self._session.recorder, trio.current_time()
        at = self._playout.first_audio_time(item_id)
        if at is not None:  # it may be cut before its beginning was told
            recorder.speech_began(item_id, at)
        recorder.speech_ended(item_id, now, cut=not done, heard_ms=heard_ms)

    def _moved(self) -> None:
        self._session.presence.look()
        self._session.changed.pulse()

    def _refused(self, refused: AudioRefused) -> None:
        """Speech beyond the playout's bound was not taken: said once per item."""
        if refused.item_id != self._last_refused:
            self._last_refused = refused.item_id
            self._session.publish(refused)
