"""One response from `response.created` to `response.done` (protocol §7.3, §9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal

import attrs

from trialogue.dialects.openai.wire import server_events as wire
from trialogue.dialects.openai.wire.response import (
    Response,
    ResponseAudio,
    StatusDetails,
    StatusError,
    Usage,
)
from trialogue.dialects.openai.wire.server_events import RateLimit
from trialogue.dialects.openai.wire.session import AudioOutput
from trialogue.testing.live_reply import LiveReply
from trialogue.testing.machine.agenda import Entry
from trialogue.testing.machine.configuration import voice_of
from trialogue.testing.machine.conversation import Held
from trialogue.testing.machine.host import Host
from trialogue.testing.machine.output_items import (
    CallItem,
    OutputItem,
    SpokenItem,
    WrittenItem,
)
from trialogue.testing.machine.request import Request
from trialogue.testing.machine.usage import ZERO, usage
from trialogue.testing.script import Call, Fail, Part, Pause, Say, Stop

__all__ = ["Running"]


@attrs.define(eq=False, repr=False)
class Running:
    """A response being made: a generator of delays, driven by the host's agenda.

    Attributes:
        request: what it is made under; the record in it is kept up to date.
        cached: how many text tokens of its input the model had read before.
        on_end: called once, after `response.done` was emitted.
        held: its output items.
        ending: its cancel was decided.
    """

    _host: Host
    request: Request
    cached: int
    on_end: Callable[[Running], None]
    held: list[Held] = attrs.field(factory=list, init=False)
    ending: bool = attrs.field(default=False, init=False)
    _open: OutputItem | None = attrs.field(default=None, init=False)
    _steps: Iterator[float | None] = attrs.field(factory=lambda: iter(()), init=False)
    _live: LiveReply | None = attrs.field(default=None, init=False)
    _next: Entry | None = attrs.field(default=None, init=False)
    _waits: bool = attrs.field(default=False, init=False)
    _place: int | None = attrs.field(default=None, init=False)
    _spent: int = attrs.field(default=0, init=False)

    def __repr__(self) -> str:
        return f"<Running {self.id} {self.request.record.status}>"

    @property
    def id(self) -> str:
        """Its id."""
        return self.request.record.id

    def start(self, parts: Sequence[Part] | LiveReply) -> None:
        """Announce it, and begin with what it is to say."""
        if isinstance(parts, LiveReply):
            self._live = parts
            self._place = self._host.agenda.place()
            parts.begin(self._go_on)
        self._host.emit(wire.ResponseCreated, response=self._shown(None, None))
        if self._host.settings.oddities:
            self._host.emit_raw("response.mood.updated", mood="calm")
        self._steps = self._ladder(parts)
        self._advance(self._host.now)

    def cancel(self, reason: str) -> None:
        """Stop it after the configured delay; what is open is closed as incomplete."""
        if self.ending:
            return
        self.ending = True
        delay = self._host.settings.pace.cancel_ms
        if delay:
            self._host.after(delay, lambda: self._cancelled(reason))
        else:
            self._cancelled(reason)

    def _cancelled(self, reason: str) -> None:
        if self.request.record.done is None:
            self._end("cancelled", StatusDetails(type="cancelled", reason=reason))

    def _advance(self, due: float) -> None:
        """Take a step; it is due a delay after the last was, however late that ran."""
        for delay in self._steps:
            if delay is None:
                self._waits = True
            elif self.request.record.done is None:
                self._go_on_at(due + delay / 1000)
            return

    def _go_on_at(self, due: float, place: int | None = None) -> None:
        act = partial(self._advance, due)
        self._next = self._host.agenda.at(due, act, place)

    def _go_on(self, now: float) -> None:
        """Take up what has come, if it is waited for."""
        if self._waits:
            self._waits = False
            self._go_on_at(now, self._place)

    def abandon(self) -> None:
        """Leave it where it is: its connection is over, and nobody hears of it."""
        if self._live is not None:
            self._live.end()

    def _ladder(self, parts: Iterable[Part | None]) -> Iterator[float | None]:
        """Make it; yields the ms until the next step, None where none is known."""
        yield self._host.settings.pace.think_ms
        for part in parts:
            match part:
                case None:
                    yield None  # until there is something to go on with
                case Pause(seconds):
                    yield seconds * 1000
                case Fail():
                    self._fail(part)
                    return
                case Stop(reason):
                    self._incomplete(reason)
                    return
                case Say() | Call():
                    yield from self._make(part)
                    if self._exhausted:
                        self._incomplete("max_output_tokens")
                        return
        self._end("completed", None)

    @property
    def _exhausted(self) -> bool:
        limit = self.request.record.max_output_tokens
        return isinstance(limit, int) and self._spent >= limit

    def _make(self, part: Say | Call) -> Iterator[float]:
        self._open = item = self._begin(part)
        self.held.append(item.held)
        self.request.record.item_ids.append(item.held.id)
        for delay, tokens in item.pieces():
            self._spent += tokens
            if self._exhausted:
                return
            yield delay
        self._open = None
        item.end("completed")

    def _begin(self, part: Say | Call) -> OutputItem:
        record = self.request.record
        place = (self._host, record.id, len(self.held), record.in_conversation)
        if isinstance(part, Call):
            return CallItem(*place, part)
        if record.modality == "text":
            return WrittenItem(*place, part)
        return SpokenItem(*place, part, record.watermark, self.request.audio.format)

    def _fail(self, part: Fail) -> None:
        error = StatusError(type=part.type, code=part.code, message=part.message)
        self._end("failed", StatusDetails(type="failed", error=error))

    def _incomplete(self, reason: str) -> None:
        self._end("incomplete", StatusDetails(type="incomplete", reason=reason))

    def _end(
        self,
        status: Literal["completed", "cancelled", "incomplete", "failed"],
        details: StatusDetails | None,
    ) -> None:
        if self._next is not None:
            self._next.cancel()
        if self._open is not None:
            self._open.end("incomplete")
            self._open = None
        record = self.request.record
        record.status, record.done = status, self._host.now
        record.reason = _reason(details)
        self._host.emit(wire.ResponseDone, response=self._shown(details, self._used()))
        self._announce_limits()
        if self._live is not None:
            self._live.end()
        self.on_end(self)

    def _used(self) -> Usage:
        if self.request.record.status == "failed":
            return ZERO
        return usage(self.request.prefix, self.request.context, self.held, self.cached)

    def _announce_limits(self) -> None:
        delay = self._host.settings.pace.rate_limits_ms
        if delay is None:
            return
        limit = RateLimit(
            name="tokens", limit=200_000, remaining=199_000, reset_seconds=0.3
        )
        self._host.after(
            delay,
            lambda: self._host.emit(wire.RateLimitsUpdated, rate_limits=(limit,)),
        )

    def _shown(self, details: StatusDetails | None, spent: Usage | None) -> Response:
        record, audio = self.request.record, self.request.audio
        own = self._host.conversation.id if record.in_conversation else None
        output = AudioOutput(format=audio.format, voice=voice_of(audio))
        return Response(
            object="realtime.response",
            id=record.id,
            status=record.status,
            status_details=details,
            output=tuple(held.item for held in self.held),
            conversation_id=own,
            output_modalities=(record.modality,),
            max_output_tokens=record.max_output_tokens,
            audio=ResponseAudio(output=output),
            usage=spent,
            metadata=dict(record.metadata) if record.metadata is not None else None,
        )


def _reason(details: StatusDetails | None) -> str | None:
    if details is None:
        return None
    if details.error:
        return details.error.code or None
    return details.reason or None
