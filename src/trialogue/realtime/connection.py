"""One connection: a reader, one writer, a heartbeat, and what its server owes.

Agents never touch the socket. They put batches on the outbox with `post`, which is
synchronous and whole or not at all; the one writer task is cancelled only together
with the connection, so that no frame is ever cut in half. The network's failures never
raise out of a task: they end the connection (`end`), and whoever waits is told.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from trialogue.dialects.commands import AppendAudio, UpdateSession
from trialogue.dialects.events import OutputAudio
from trialogue.errors import ConnectionLost, ProtocolError
from trialogue.realtime.heartbeat import Heartbeat
from trialogue.realtime.input_ring import SAMPLE_RATE, AudioClock, InputRing
from trialogue.realtime.joining import Joining
from trialogue.realtime.ledger import Ledger
from trialogue.realtime.lifetime import Lifetime
from trialogue.realtime.requests import Request, RequestState, changes_items
from trialogue.realtime.signal import Signal
from trialogue.realtime.wirelog import tapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trialogue.conversation.view import View
    from trialogue.dialects.dialect import Dialect
    from trialogue.dialects.events import Event
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.limits import Limits
    from trialogue.realtime.link import Link
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.wirelog import WireTap

__all__ = ["Batch", "Connection", "Timing", "Traffic"]

AUDIO_FRAME = SAMPLE_RATE // 5
"""Samples of at most one frame (200 ms), which only a backlog ever fills."""


@attrs.frozen
class Timing:
    """The deadlines of a connection, in seconds on Trio's clock.

    When `connect`, `update`, `answer`, `reply_start`, `reply_silence`, `pong` or
    `pong_owed` is over, the connection counts as lost, and another one is dialled.

    Attributes:
        connect: for one attempt in all: a function that gives the key, dialling, TLS,
            the upgrade, and the provider's first event.
        hedge: after so much of it, or twice what the last one took if that is longer,
            another is begun beside it, and whichever is answered first serves; not
            for the first connection of a session.
        close: for leaving, in all.
        update: for the answer to the configuration that a connection, or a handoff,
            begins with.
        answer: for the answer to any other request.
        reply_start: from `response.create` to `response.created`.
        reply_look: after so much of it the provider is asked for an item, whose answer
            tells whether it has passed over the `response.create`. If it has, the reply
            is asked for again.
        reply_silence: between two events of a running response.
        ping_every: between two pings, whatever else goes on.
        pong: for the answer to a ping.
        quiet: for how long nothing may be read, while something is owed, until a ping
            asks whether the peer is there at all. A provider that is slow answers it.
        pong_owed: for the answer to that ping, or anything else that is read. Longer
            where much was sent before it.
        linger: how long a replaced connection is still read for transcripts.
        rotate_before: how long before a connection's known end another one is kept
            ready, to take over as soon as nobody speaks.
        max_age: how long a connection may serve, whatever the provider allows.
    """

    connect: float = 10.0
    hedge: float = 1.25
    close: float = 2.0
    update: float = 1.5
    answer: float = 15.0
    reply_start: float = 5.0
    reply_look: float = 1.0
    reply_silence: float = 15.0
    ping_every: float = 15.0
    pong: float = 10.0
    quiet: float = 0.5
    pong_owed: float = 1.15
    linger: float = 3.0
    rotate_before: float = 120.0
    max_age: float = math.inf


@attrs.define(eq=False)
class Traffic:
    """What a session has sent over all of its connections, audio aside."""

    messages: int = 0
    bytes: int = 0

    def count(self, frame: str) -> None:
        """One control message."""
        self.messages += 1
        self.bytes += len(frame if frame.isascii() else frame.encode())


@attrs.define(eq=False)
class Batch:
    """Frames that leave together, in order, or not at all."""

    requests: tuple[Request, ...]
    after_audio: int | None = None
    taken: bool = False
    counted: int = 0
    """frames that count against the bound of the outbox"""


class Handler(Protocol):
    """What a connection tells its session; everything is synchronous."""

    def received(self, connection: Connection, event: Event) -> None: ...

    def sound(self, connection: Connection, event: OutputAudio) -> bool: ...

    def reads_frames(self) -> bool: ...

    def read(self, connection: Connection, text: str) -> None: ...

    def malformed(self, connection: Connection, error: ProtocolError) -> None: ...

    def overdue(self, connection: Connection, request: Request) -> None: ...

    def unanswered(self, connection: Connection, request: Request) -> None: ...

    def timer(self) -> float: ...

    def on_timer(self, now: float) -> None: ...

    def ended(self, connection: Connection) -> None: ...


class Connection:
    """A connection scope; its identity is its generation."""

    def __init__(
        self,
        generation: int,
        model: RealtimeModel,
        handler: Handler,
        ring: InputRing,
        changed: Signal,
        timing: Timing,
        traffic: Traffic,
        new_event_id: Callable[[], str],
        limits: Limits,
        wire: WireTap | None = None,
    ) -> None:
        self.generation = generation
        self.model = model
        self.timing = timing
        self.ledger = Ledger(ordered=model.capabilities.ordered)
        self.clock = AudioClock()
        self.view: View | None = None
        self.cursor: int | None = None
        self.proven: int | None = None  # the cursor at its last sign of life
        self.config: Configuration | None = None
        self.sent_config: Configuration | None = None
        self.started = False
        self.session_id: str | None = None
        self.connect_seconds = 0.0
        self.lifetime = Lifetime()
        self.retired = False
        self.muted = False
        self.error: ConnectionLost | None = None
        self.ended = trio.Event()
        self.response_deadline = math.inf
        self.retire_at = math.inf
        self._start_by = math.inf
        self._dialled_at = math.inf
        self._handler = handler
        self._ring = ring
        self._changed = changed
        self._work = Signal()
        self._traffic = traffic
        self._new_event_id = new_event_id
        self._limits = limits
        self._wire = wire
        self._dialect: Dialect = model.dialect()
        self._control: deque[Batch] = deque()
        self._queued = 0
        self._busy = False
        self._reading: trio.CancelScope | None = None
        self._came_at: float | None = None
        self._joining = Joining()
        self._news = False  # more came than the rest of what is being said
        self._heart = Heartbeat(timing)

    def __repr__(self) -> str:
        state = (
            "ended" if self.ended.is_set() else "live" if self.started else "dialling"
        )
        owed = len(self.ledger)
        return (
            f"<Connection {self.generation} {state} owed={owed} queued={self._queued}>"
        )

    @property
    def live(self) -> bool:
        """Whether it takes work: started, neither ended nor replaced."""
        return self.started and not self.retired and not self.ended.is_set()

    # --- sending -------------------------------------------------------------

    def encode(
        self, command: Any, *, patience: float | None = None, subject: Any = None
    ) -> Request:
        """Turn a command into a request that can be posted.

        Raises:
            ConversionError: it has no form in this protocol, or is beyond the limits;
                nothing was sent.
        """
        self._limits.check(command)
        event_id = self._new_event_id()
        encoded = self._dialect.encode(command, event_id=event_id)
        self._limits.check_frame(encoded.text)
        patience = self.timing.answer if patience is None else patience
        answer = encoded.answer
        update = isinstance(command, UpdateSession) or changes_items(command)
        if update and not self.model.capabilities.acknowledges_updates:
            answer = None  # taken as soon as it was written
        return Request(command, event_id, encoded.text, answer, patience, subject)

    def post(
        self, requests: Sequence[Request], *, after_audio: int | None = None
    ) -> Batch:
        """Queue frames to leave together, in order; never waits.

        On a connection that has ended every request is "lost" at once.
        """
        batch = Batch(tuple(requests), after_audio)
        if not batch.requests:
            batch.taken = True
            return batch
        for request in batch.requests:
            self.ledger.enter(request)
        if self.ended.is_set():
            self.ledger.lose()
            return batch
        self._control.append(batch)
        # NB: what a connection begins with is as long as the conversation, and is
        # bounded by it: it says nothing of whether the peer still reads.
        begins = self.sent_config is None
        # Nor does an edit of all of it: alone, no batch is more than the outbox holds.
        most = max(1, self._limits.outbox_frames // 2)
        batch.counted = 0 if begins else min(len(batch.requests), most)
        self._queued += batch.counted
        if self._queued > self._limits.outbox_frames:
            self.end(ConnectionLost("the peer has stopped reading: outbox full"))
        self._work.pulse()
        return batch

    def withdraw(self, batch: Batch) -> None:
        """Take back a batch that the writer has not taken: it is "not_sent"."""
        if not batch.taken and batch in self._control:
            self._control.remove(batch)
            self._queued -= batch.counted
            for request in batch.requests:
                self.ledger.withdraw(request)

    def withdraw_requests(self, requests: Sequence[Request]) -> None:
        """Take back the batches that hold these requests, where still unwritten."""
        for batch in tuple(self._control):
            if any(request in batch.requests for request in requests):
                self.withdraw(batch)

    def wake(self) -> None:
        """Tell the writer that there may be audio, or that it may now be sent."""
        self._work.pulse()

    @property
    def drained(self) -> bool:
        """Whether everything posted has been handed to the socket."""
        return not self._control and not self._busy

    async def wait_drained(self) -> None:
        """Wait until the outbox is empty or the connection has ended."""
        await self._work.until(lambda: self.drained or self.ended.is_set())

    async def writer(self, link: Link) -> None:
        """Send control first, then the microphone, until the connection ends."""
        try:
            while not self.ended.is_set():
                await self._work.until(
                    lambda: self.ended.is_set() or self._next() is not None
                )
                await self._write(link)
        except ConnectionLost as error:
            self.end(error)

    def _next(self) -> Batch | int | None:
        """What to write next: a batch, so many samples of audio, or nothing yet.

        Control goes first, but a commit waits for the audio it ends.
        """
        head = self._control[0] if self._control else None
        if head is not None and head.after_audio is None:
            return head
        limit = self._ring.end
        if head is not None and head.after_audio is not None:
            limit = min(limit, head.after_audio)
        hears = self.cursor is not None and self.live and not self.muted
        if hears and self.cursor is not None and self.cursor < limit:
            return min(limit - max(self.cursor, self._ring.start), AUDIO_FRAME)
        return head

    async def _write(self, link: Link) -> None:
        following = self._next()
        if isinstance(following, Batch):
            await self._write_batch(link, following)
        elif following is not None:
            await self._write_audio(link, following)

    async def _write_batch(self, link: Link, batch: Batch) -> None:
        self._control.popleft()
        self._queued -= batch.counted
        batch.taken = True
        self._busy = True
        now = trio.current_time()
        frames = [request.frame for request in batch.requests if request.frame]
        for request in batch.requests:
            request.written_at = now
            if request.answer is None:
                self.ledger.settle(request, RequestState.ACKNOWLEDGED)
                self._handler.unanswered(self, request)
        self.rearm()
        self._changed.pulse()
        for frame in frames:
            self._traffic.count(frame)
        if frames:
            await link.send(*frames)
        self._busy = False
        self.rearm()  # from now on it owes something
        self._work.pulse()
        self._changed.pulse()  # a switch waits until everything has left

    async def _write_audio(self, link: Link, samples: int) -> None:
        assert self.cursor is not None
        # NB: the ring may have dropped what an outage made too old to send.
        self.cursor = max(self.cursor, self._ring.start)
        pcm = self._ring.read(self.cursor, samples)
        if not pcm:
            return  # all that a commit ends had been dropped; the commit is next
        self.clock.wrote(self.cursor, len(pcm) // 2)
        self.cursor += len(pcm) // 2
        frame = self._dialect.encode(AppendAudio(pcm), event_id="").text
        if frame:
            await link.send(frame)

    # --- receiving -----------------------------------------------------------

    async def reader(self, link: Link) -> None:
        """Read until the end; hold the network's deadlines while doing so."""
        try:
            while not self.ended.is_set():
                with trio.CancelScope(deadline=self._next_deadline()) as self._reading:
                    await self._read(link)
                self._reading = None
                self._look_around()
        except ConnectionLost as error:
            self.end(error)

    async def _read(self, link: Link) -> None:
        """Read until a deadline, taking at each wake-up all that has come."""
        while not self.ended.is_set():
            texts = await link.receive_many()
            self._came_at = self._heart.heard_at = now = trio.current_time()
            self._news = False
            self._take_in(texts)
            self._came_at = None
            self.proven = self.cursor
            # NB: no deadline is nearer than the one the reader waits for. The rest of
            # what is being said changes nothing that anybody waits for.
            if self._news or self._reading is None or now >= self._reading.deadline:
                self._look_around()
                self.rearm()

    def _take_in(self, texts: Sequence[str]) -> None:
        handler, joining, ended = self._handler, self._joining, self.ended
        decode, read = self._dialect.decode, handler.reads_frames()
        for text in texts:
            # NB: a rejected update ends the connection right here, so that the
            # response behind it is never looked at (core rule 14).
            if ended.is_set():
                return
            if read:
                handler.read(self, text)
            try:
                events = decode(text)
            except ProtocolError as error:
                handler.malformed(self, error)
                continue
            for event in events:
                if isinstance(event, OutputAudio):
                    before = joining.add(event)
                    if before is not None:
                        self._news |= handler.sound(self, before)
                elif not ended.is_set():
                    self._news = True
                    self._hand_on_sound()
                    handler.received(self, event)
        if not ended.is_set():
            self._hand_on_sound()

    def _hand_on_sound(self) -> None:
        sound = self._joining.take()
        if sound is not None:
            self._news |= self._handler.sound(self, sound)

    def _look_around(self) -> None:
        """Something was read, or a deadline has come."""
        self._expire(trio.current_time())
        self._changed.pulse()

    def now(self) -> float:
        """The time; of what came at once, it is one."""
        return trio.current_time() if self._came_at is None else self._came_at

    def parse(self, text: str) -> Any:
        """Return a frame as the provider's own typed event.

        Raises:
            ProtocolError: nobody can read it.
        """
        return self._dialect.parse(text)

    def rearm(self) -> None:
        """A deadline came into being or moved: the reader waits for the nearest."""
        self.wait_no_longer_than(self._next_deadline())

    def wait_no_longer_than(self, deadline: float) -> None:
        """As `rearm`, for this deadline.

        Deadlines mostly move back, with each event: the reader may wake in vain once.
        """
        if self._reading is not None and deadline < self._reading.deadline:
            self._reading.deadline = deadline

    def _next_deadline(self) -> float:
        timer = math.inf if self.retired else self._handler.timer()
        mine = min(self.response_deadline, self.retire_at, self._start_by)
        mine = min(mine, self._heart.due(self._owed_since()))
        return min(self.ledger.deadline(), mine, timer)

    def _expire(self, now: float) -> None:
        if self.retire_at <= now:
            self.end(ConnectionLost("replaced by another connection"))
            return
        if self._start_by <= now:
            self.end(ConnectionLost("the provider sent no first event in time"))
            return
        if self._heart.due(self._owed_since()) <= now:
            self._heart.doubt(now, self._unread())
        if self.response_deadline <= now:
            self.end(ConnectionLost("a running response fell silent"))
        for request in self.ledger.overdue(now):
            self._handler.overdue(self, request)
        if not self.retired:
            self._handler.on_timer(now)

    def _owed_since(self) -> float:
        """When the server came to owe something; infinity if it owes nothing."""
        if self._busy:
            return math.inf  # it has not been given all of it
        running = self.response_deadline < math.inf
        return -math.inf if running else self.ledger.owed_since()

    def _unread(self) -> int:
        """Bytes that were sent, and that the server may not have read yet."""
        frames = sum(len(r.frame) for r in self.ledger if r.written_at is not None)
        if self.cursor is None or self.proven is None:
            return frames
        # Of the sound what is sent as it is spoken has long gone.
        spoken = (trio.current_time() - self._heart.heard_at) * SAMPLE_RATE
        backlog = max(0, self.cursor - self.proven - int(spoken))
        return frames + backlog * 8 // 3  # two bytes a sample, in base64

    async def heartbeat(self, link: Link) -> None:
        """Notice a peer that is gone, soon if it owes something (C5)."""
        try:
            while await self._heart.beat(link):
                self.proven = self.cursor
                self.rearm()
            self.end(ConnectionLost("no pong within the deadline"))
        except ConnectionLost as error:
            self.end(error)

    # --- ending --------------------------------------------------------------

    def end(self, error: ConnectionLost) -> None:
        """End it, synchronously: what is owed is lost, whoever waits is woken."""
        if self.ended.is_set():
            return
        self.error = error
        self.ended.set()
        self._control.clear()
        self._queued = 0
        self.ledger.lose()
        self._work.pulse()
        self._handler.ended(self)
        self._changed.pulse()

    def retire(self, now: float) -> None:
        """Another connection takes over: no more work, read on for transcripts."""
        self.retired = True
        self.retire_at = now + self.timing.linger
        self.response_deadline = math.inf
        for batch in tuple(self._control):
            self.withdraw(batch)
        for request in self.ledger:
            self.ledger.settle(request, RequestState.LOST)
        self.rearm()

    def began(self, session_id: str) -> None:
        """The provider's first event was read: it is connected (C1)."""
        self.started = True
        self.session_id = session_id
        self.connect_seconds = trio.current_time() - self._dialled_at
        self._start_by = math.inf

    async def serve(self) -> None:
        """Dial, run until it ends, close; everything inside one bounded block."""
        self._dialled_at = trio.current_time()
        self._start_by = self._dialled_at + self.timing.connect
        try:
            async with self.model.open_link(
                connect_timeout=self.timing.connect,
                close_timeout=self.timing.close,
                drain=self.wait_drained,
                max_message_size=self._limits.max_message_chars,
            ) as (link, service):
                if self._wire is not None:
                    link = tapped(link, self._wire, self.generation)
                self._start(service, link)
                await self.ended.wait()
        except ConnectionLost as error:
            self.end(error)
        finally:
            self.end(ConnectionLost("the connection was closed"))

    def _start(self, service: trio.Nursery, link: Link) -> None:
        tasks: Iterable[Callable[[Link], Any]] = (
            self.reader,
            self.writer,
            self.heartbeat,
        )
        for task in tasks:
            service.start_soon(task, link)
