"""The parts of a session, what they tell one another, and how it ends.

Nothing here is for programs: `RealtimeSession` is. Everything is synchronous but the
wait for an agreed configuration, and runs in the step of whoever calls.
"""

from __future__ import annotations

import itertools
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from trialogue.conversation.items import (
    new_item_id,
)
from trialogue.conversation.record import Record
from trialogue.dialects.commands import (
    Creation,
)
from trialogue.dialects.options import (
    UNCHANGED,
    SemanticVAD,
    ServerVAD,
)
from trialogue.errors import (
    ConnectionLost,
    ProtocolError,
    SessionClosed,
    TrialogueError,
)
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.bounding import Bounding
from trialogue.realtime.broadcast import Broadcast
from trialogue.realtime.connection import Connection, Timing, Traffic
from trialogue.realtime.history import History
from trialogue.realtime.intake import Intake
from trialogue.realtime.interrupting import provider_interrupts
from trialogue.realtime.limits import Limits
from trialogue.realtime.listener import Listener
from trialogue.realtime.listening import Listening
from trialogue.realtime.logbook import Logbook
from trialogue.realtime.metrics import Meter
from trialogue.realtime.notices import (
    MalformedFrame,
    RawServerEvent,
    raw_event,
)
from trialogue.realtime.replying import Replying
from trialogue.realtime.requests import Request, item_of
from trialogue.realtime.signal import Signal
from trialogue.realtime.spending import Spending
from trialogue.realtime.supervisor import Supervisor
from trialogue.realtime.trimming import Trimming
from trialogue.realtime.updating import Updating

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.conversation.changes import Change
    from trialogue.conversation.context import ChatContext
    from trialogue.dialects.events import OutputAudio
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.spending import SpendLimit
    from trialogue.realtime.wirelog import WireEar

__all__ = ["SessionCore"]


class SessionCore:
    """Holds the parts of one conversation together.

    Attributes:
        id: names the session in logs, and begins the ids of what it sends.
        limits: how large things may become.
        record: the one true record of the conversation.
        failure: why the session ended, once it has failed for good.
    """

    def __init__(
        self,
        model: RealtimeModel,
        *,
        listener: Listener | None = None,
        chat_ctx: ChatContext | None = None,
        timing: Timing | None = None,
        backoff: Backoff | None = None,
        history: History | None = None,
        seed: int | None = None,
        standby: bool = False,
        wall: Callable[[], float] = time.time,
        limits: Limits | None = None,
        spend_limit: SpendLimit | None = None,
        wire_log: WireEar | None = None,
    ) -> None:
        self.record = Record()
        self.limits = limits or Limits()
        self.listening = Listening(self.limits.audio_seconds)
        self.listener = listener or Listener()
        self.failure: TrialogueError | None = None
        self.timing = timing or Timing()
        self.changed = Signal()
        self.body = trio.CancelScope()
        self._turnstile = trio.StrictFIFOLock()
        self.traffic = Traffic()
        self._model = model
        self._closed = False
        self._numbers = itertools.count(1)
        # NB: keys and jitter come from one seeded source where a seed is given, so
        # that the same script gives the same frames.
        self._random = random.Random(seed)
        self.id = f"tri_{self._random.getrandbits(32):08x}"
        self.logbook = Logbook(self.id)
        self._broadcast = Broadcast(self.logbook.lagging)
        self.bounding = Bounding(self.limits)
        self.meter = Meter(self, self._broadcast)
        self.spending = Spending(self, spend_limit)
        self._wire = None if wire_log is None else wire_log.tap(self.id)
        history = history or History()
        self.replying = Replying(self, self.new_id)
        self.supervisor = Supervisor(
            self,
            model,
            self.changed,
            self.timing,
            backoff or Backoff(),
            self._random.random,
            wall,
            history,
            standby=standby,
        )
        self._intake = Intake(self)
        self._updating = Updating(self)
        self._trimming = Trimming(self, history.items)
        for item in () if chat_ctx is None else chat_ctx.items:
            self.limits.check_item(item)
            self.record.add_local(item)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "failed" if self.failure else "live"
        return f"<RealtimeSession {state} {self.connection!r} {self.replying.slot!r}>"

    # --- what is -------------------------------------------------------------

    @property
    def model(self) -> RealtimeModel:
        """The model of the connection that is wanted."""
        return self._model if self.wanted is None else self.wanted.model

    @property
    def connection(self) -> Connection | None:
        """The connection that serves, or served last."""
        return self.supervisor.connection

    @property
    def wanted(self) -> Configuration | None:
        """The configuration the session should have."""
        return self.supervisor.wanted

    async def agreement(self, deadline: float) -> bool:
        """Wait until a connection serves the configuration that is wanted, or not."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        if not self.settled or self._turnstile.locked():
            # Whoever has to wait goes on in the order of the calls.
            with trio.CancelScope(deadline=deadline):
                async with self._turnstile:
                    await self.changed.until(lambda: self.over or self.settled)
        self.check_open()
        return self.settled

    @property
    def settled(self) -> bool:
        """Whether a live connection has the wanted configuration, by its own word."""
        connection, wanted = self.connection, self.wanted
        if connection is None or wanted is None or not connection.live:
            return False
        held = connection.config
        return held is not None and held.epoch is wanted.epoch

    # --- for the parts of the session ----------------------------------------

    def new_id(self) -> str:
        """Return an id for an event or a reply, unique in this session."""
        return f"{self.id}_{next(self._numbers)}"

    def new_item_id(self, prefix: str) -> str:
        """Return an id for an item made here."""
        return new_item_id(prefix, self._random)

    def new_connection(self, generation: int, model: RealtimeModel) -> Connection:
        """Return a connection that is not yet dialled."""
        connection = Connection(
            generation,
            model,
            self,
            self.listening.ring,
            self.changed,
            self.timing,
            self.traffic,
            self.new_id,
            self.limits,
            self._wire,
        )
        self.meter.watch(connection)
        return connection

    def tell(self, change: Change) -> None:
        """Publish what became of the record."""
        self._intake.tell(change)

    def publish(self, event: object) -> None:
        """Hand an event to the subscribers."""
        self.meter.observe(event)
        self.logbook.observe(event)
        self.listener.published(event)
        self._broadcast.publish(event)

    def pulse(self) -> None:
        """State changed: whoever waits looks again."""
        self.changed.pulse()

    def received(self, connection: Connection, event: Any) -> None:
        """A connection read an event."""
        self._intake.received(connection, event)
        self._trimming.look()

    def sound(self, connection: Connection, event: OutputAudio) -> bool:
        """A connection read sound; tell whether it is the first of its response.

        It makes no conversation longer, and settles nothing.
        """
        return self._intake.sound(connection, event)

    def reads_frames(self) -> bool:
        """Whether anybody asked for raw events."""
        return self._broadcast.wants(RawServerEvent)

    def read(self, connection: Connection, text: str) -> None:
        """A connection read a frame, for whoever asked for raw events."""
        with suppress(ProtocolError):  # it is told of when it is decoded
            event = connection.parse(text)
            self.publish(raw_event(event, connection.generation))

    def malformed(self, connection: Connection, error: ProtocolError) -> None:
        """A connection read what nobody can read; it goes on (C10)."""
        self.publish(MalformedFrame(str(error), error.detail))

    def overdue(self, connection: Connection, request: Request) -> None:
        """A server did not answer in time: the connection is of no more use."""
        if self.replying.probing.overdue(connection, request):
            return
        what = type(request.command).__name__
        connection.end(ConnectionLost(f"{what} was not answered in time"))

    def unanswered(self, connection: Connection, request: Request) -> None:
        """A request that no server answers was written: that is all there will be."""
        item_id = item_of(request.command)
        created = isinstance(request.command, Creation)
        if created and item_id is not None and connection.view is not None:
            self._intake.tell(self.record.confirmed(connection.view, item_id))

    def timer(self) -> float:
        """When `on_timer` wants to be called."""
        return self.listening.timer()

    def on_timer(self, now: float) -> None:
        """A turn's end, or its answer, did not come."""
        if self.listening.expire(now):
            self.replying.owed = True
        self.replying.advance()

    def ended(self, connection: Connection) -> None:
        """A connection ended."""
        self.meter.ended(connection)
        self.supervisor.ended(connection)

    def repeat_update(self, connection: Connection, config: Configuration) -> None:
        """See `Supervisor.repeat_update`."""
        self.supervisor.repeat_update(connection, config)

    def turns_are_automatic(self) -> bool:
        """Whether the provider finds the user's turns and answers them by itself."""
        detection = self._turn_detection()
        return detection is UNCHANGED or (
            isinstance(detection, ServerVAD | SemanticVAD) and detection.create_response
        )

    def turns_are_manual(self) -> bool:
        """Whether the program says where the user's turns end."""
        return self._turn_detection() is None

    def speech_interrupts(self) -> bool:
        """Whether the provider stops what is being said for the user's voice."""
        return provider_interrupts(self._turn_detection())

    def _turn_detection(self) -> Any:
        wanted = self.wanted
        return (
            self._model.options if wanted is None else wanted.options
        ).turn_detection

    @property
    def user_has_the_floor(self) -> bool:
        """Whether the user speaks, or is about to be answered by turn detection."""
        return self.turns_are_automatic() and self.listening.has_the_floor

    # --- ending --------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the session takes no more work: closed, or failed for good."""
        return self._closed or self.failure is not None

    def check_open(self) -> None:
        """Raise `SessionClosed` unless the session takes work (invariant 9)."""
        if self.over:
            msg = "this session is closed and takes no more work; open another one"
            raise SessionClosed(msg) from self.failure

    def fail(self, error: TrialogueError) -> None:
        """The session cannot go on: its block is cancelled, and raises this error."""
        if self.failure is None and not self._closed:
            self.failure = error
            self.logbook.failed(error)
            self.supervisor.close()
            self.listener.failed()
            self.body.cancel(reason=f"the session failed: {error}")
            self.changed.pulse()

    def close(self) -> None:
        """Take no more work; what is queued is not asked for any more."""
        self.logbook.closed(self.supervisor.opened)
        self._closed = True
        self.supervisor.close()
        self.replying.close()
        self._broadcast.close()
        self.changed.pulse()

    @property
    def open_work(self) -> dict[str, int]:
        """What is under way, by kind; all zero once a conversation is quiet."""
        connection = self.connection
        slot = self.replying.slot
        return {
            "owed": 0 if connection is None else len(connection.ledger),
            "queued": len(slot.queue),
            "posted": int(slot.posted is not None),
            "active": int(slot.active is not None),
            "turn": int(slot.turn is not None),
        }
