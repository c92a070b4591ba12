"""One conversation with a realtime model, whatever connections it is held over."""

from __future__ import annotations

import itertools
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Unpack

import trio

from trialogue.conversation.edits import Delete
from trialogue.conversation.items import (
    FunctionCall,
    FunctionCallOutput,
    Item,
    new_item_id,
)
from trialogue.conversation.record import Record
from trialogue.dialects.commands import (
    CreateItem,
    CreateResponse,
    Creation,
    TruncateItem,
)
from trialogue.dialects.options import (
    UNCHANGED,
    SemanticVAD,
    ServerVAD,
    SessionOptions,
    Unchanged,
)
from trialogue.errors import (
    ConnectionLost,
    ProtocolError,
    SessionClosed,
    TrialogueError,
)
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.bounding import Bounding
from trialogue.realtime.broadcast import Broadcast, Subscription
from trialogue.realtime.commanding import Commanding
from trialogue.realtime.connection import Connection, Timing, Traffic
from trialogue.realtime.history import History
from trialogue.realtime.intake import Intake
from trialogue.realtime.ledger import (
    Request,
    RequestReport,
    RequestState,
    UpdateReport,
    item_of,
)
from trialogue.realtime.limits import Limits
from trialogue.realtime.listener import Listener
from trialogue.realtime.listening import Listening
from trialogue.realtime.logbook import Logbook
from trialogue.realtime.metrics import Meter
from trialogue.realtime.notices import (
    AudioDropped,
    MalformedFrame,
    RawServerEvent,
    raw_event,
)
from trialogue.realtime.replying import Replying
from trialogue.realtime.retrieving import retrieve
from trialogue.realtime.signal import Signal
from trialogue.realtime.spending import Spending
from trialogue.realtime.streaming import DEFAULT_LIMITS, StreamLimits, streamed
from trialogue.realtime.supervisor import Supervisor
from trialogue.realtime.syncing import (
    Sync,
    apply_here,
    plan_sync,
)
from trialogue.realtime.trimming import Trimming
from trialogue.realtime.updating import Updating
from trialogue.realtime.wirelog import WireTap
from trialogue.realtime.wishes import ReplyOptions, wish_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from trialogue.conversation.changes import Change
    from trialogue.conversation.context import ChatContext
    from trialogue.conversation.items import Role
    from trialogue.dialects.events import Usage
    from trialogue.realtime.commanding import MessageContent
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.metrics import Metrics
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.replies import Reply, ReplyOutcome, Tap, Turn
    from trialogue.realtime.retrieving import RetrievedItem
    from trialogue.realtime.spending import SpendLimit
    from trialogue.realtime.streaming import ReplyStream
    from trialogue.realtime.wirelog import WireLog
    from trialogue.tools.spec import ToolSpec

__all__ = ["RealtimeSession"]

_NOT_SENT = UpdateReport((RequestReport("UpdateSession", RequestState.NOT_SENT),))
"""No connection served in time: nothing was sent."""


class RealtimeSession:
    """A conversation with one realtime model; made by `open_session`.

    Everything that changes the conversation goes through here: updates, audio, replies.
    Synchronous methods take effect in the step in which they are called; asynchronous
    ones can be cancelled at any time without leaving anything half done.

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
        wire_log: WireLog | None = None,
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
        self._wire = None if wire_log is None else WireTap(wire_log, self.id)
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
        self._commanding = Commanding(self, self._updating)
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

    @property
    def chat_ctx(self) -> ChatContext:
        """The conversation as it is now: an immutable, versioned snapshot."""
        return self.record.snapshot()

    @property
    def usage(self) -> Usage:
        """The tokens of all responses so far, the cancelled ones included."""
        return self.replying.usage

    @property
    def metrics(self) -> Metrics:
        """What the session has done, cost and taken up to now: one snapshot."""
        return self.meter.snapshot()

    @property
    def late_answers(self) -> int:
        """Answers on the present connection that nobody waited for any more."""
        return 0 if self.connection is None else self.connection.ledger.late_answers

    def subscribe(
        self,
        *kinds: type[Any],
        buffer: int | None = None,
        on_overflow: Literal["drop_oldest", "raise"] = "drop_oldest",
    ) -> AbstractAsyncContextManager[Subscription[Any]]:
        """Receive events inside an `async with`; see `trialogue.realtime.notices`.

        A subscriber can never make the session wait: beyond `buffer` events (by
        default `Limits.subscriber_events`) the oldest is dropped and counted, or
        `SubscriberLagged` is raised in `receive`.
        """
        if buffer is None:
            buffer = self.limits.subscriber_events
        return self._broadcast.subscribe(*kinds, buffer=buffer, on_overflow=on_overflow)

    # --- updates -------------------------------------------------------------

    async def update_session(
        self,
        *,
        instructions: str | Unchanged = UNCHANGED,
        tools: Sequence[ToolSpec] | Unchanged = UNCHANGED,
        options: SessionOptions | None = None,
        chat_ctx: ChatContext | Unchanged = UNCHANGED,
        ack_timeout: float = 5.0,
    ) -> UpdateReport:
        """Change instructions, tools, options, conversation; wait for the answers.

        Everything is converted before anything is sent, and leaves as one batch. The
        wait ends when every request has its outcome, after `ack_timeout` seconds, or by
        cancellation; whichever it is, nothing stays behind, and a late acknowledgement
        is harmless. A batch that was not yet written is withdrawn ("not_sent").

        Returns:
            What became of each request. Look at `ok`, or call `raise_for_failures`.

        Raises:
            ConversionError: something has no form in the protocol; nothing was sent.
            ConfigurationError: another audio format; they are fixed by then.
            SessionClosed: the session takes no more work.
        """
        deadline = trio.current_time() + ack_timeout
        if not await self.agreement(deadline):
            return _NOT_SENT
        return await self._updating.update(
            instructions, tools, options, chat_ctx, deadline
        )

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

    @property
    def standby(self) -> bool:
        """Whether a second connection is kept open, so that no handoff has to dial."""
        return self.supervisor.standby

    @standby.setter
    def standby(self, wanted: bool) -> None:
        self.supervisor.keep_standby(wanted)

    async def restart(self, *, within: float = 60.0) -> None:
        """Have a fresh connection take over, and wait until it serves.

        It is dialled first and takes over as soon as nobody speaks, nothing plays and
        nothing is under way; the conversation, the configuration and the microphone go
        on. If none takes over `within` seconds the present one stays. Cancelling stays
        with the present one too.

        Raises:
            ConnectionLost: none could be had in time, or there was no moment to switch.
            SessionClosed: the session takes no more work, or failed meanwhile.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        before = self.supervisor.opened
        self.supervisor.ask_for_restart(True)
        try:
            with trio.move_on_after(within):
                await self.changed.until(
                    lambda: (
                        self._closed
                        or self.failure is not None
                        or (self.supervisor.opened > before and self.settled)
                    )
                )
        finally:
            if self.supervisor.opened == before:
                self.supervisor.ask_for_restart(False)
        self.check_open()
        if self.supervisor.opened == before or not self.settled:
            msg = f"no fresh connection took over within {within:g} s"
            raise ConnectionLost(msg)

    async def update_instructions(
        self, instructions: str, *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Change the instructions; see `update_session`."""
        return await self.update_session(
            instructions=instructions, ack_timeout=ack_timeout
        )

    async def update_tools(
        self, tools: Sequence[ToolSpec], *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Replace the tools; see `update_session`."""
        return await self.update_session(tools=tools, ack_timeout=ack_timeout)

    async def update_options(
        self, options: SessionOptions, *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Change options that are given; see `update_session`."""
        return await self.update_session(options=options, ack_timeout=ack_timeout)

    async def update_chat_ctx(
        self, chat_ctx: ChatContext, *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Bring the conversation to an edited snapshot; see `update_session`.

        Only what the editor changed is applied, to the conversation as it is now: an
        item that it never saw stays (S14); two edits at once both take effect (S17).
        """
        return await self.update_session(chat_ctx=chat_ctx, ack_timeout=ack_timeout)

    def add_items(self, items: Sequence[Item]) -> list[Request]:
        """Append items in this very step; they survive a change of connection.

        Raises:
            ConversionError: an item has no form in the protocol, or is beyond the
                limits; none was added.
        """
        for item in items:
            self.limits.check_item(item)
        connection = self.connection
        configured = connection is not None and connection.sent_config is not None
        requests: list[Request] = []
        if connection is not None and connection.live and configured:
            requests = [connection.encode(CreateItem(item)) for item in items]
        for item in items:
            self._intake.tell(self.record.add_local(item))
        if connection is not None and requests:
            connection.post(requests)
        return requests

    def edit_here(self, edited: ChatContext) -> None:
        """Apply an edit to the record alone, for the next connection to be given."""
        apply_here(self.record, edited)

    # --- audio ---------------------------------------------------------------

    def push_audio(self, pcm: bytes) -> None:
        """Add microphone audio: PCM16 24 kHz mono, any number of bytes. Never waits.

        Audio is held, not sent, until the first configuration is acknowledged, and
        while no connection serves; beyond 30 s the oldest is dropped, counted and
        announced (`AudioDropped`).

        Raises:
            SessionClosed: the session takes no more work.
        """
        self.check_open()
        connection = self.connection
        usable = connection is not None and connection.live
        cursor = connection.cursor if connection is not None and usable else None
        lost = self.listening.push(pcm, trio.current_time(), cursor)
        if lost:
            total = self.listening.ring.dropped
            self.publish(AudioDropped(lost / 24_000, total / 24_000))
        if connection is not None:
            connection.wake()

    async def commit_audio(self, *, ack_timeout: float = 5.0) -> UpdateReport:
        """End a manual turn with all audio pushed so far; wait for the answer.

        Raises:
            ServerError: the buffer was empty (R3) or the commit was refused otherwise.
            SessionClosed: the session takes no more work.
        """
        return await self._commanding.commit_audio(ack_timeout)

    async def clear_audio(self, *, ack_timeout: float = 5.0) -> UpdateReport:
        """Drop what is in the input buffer; wait for the answer."""
        return await self._commanding.clear_audio(ack_timeout)

    # --- replies -------------------------------------------------------------

    async def generate_reply(
        self,
        *,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        **options: Unpack[ReplyOptions],
    ) -> ReplyOutcome:
        """Ask for a reply and wait until it is complete.

        At most one response of the conversation runs at a time. With `if_busy="wait"`
        (default) this waits for its turn; while the user is speaking under automatic
        turn taking nothing is asked for, since the turn's own response serves. Out of
        band replies run beside it and are not written to the conversation.

        `instructions` are added to the session's, or stand alone with `replace=True`;
        the further keywords are those of `ReplyOptions`, for this reply alone.
        Cancelling cancels the response at the server, by its id, whenever it appears.

        Returns:
            How it ended; "interrupted" with what was heard is no error.

        Raises:
            ResponseFailed, ServerError: the provider failed or refused it.
            ResponseBusy: with `if_busy="raise"`.
            ConfigurationError, ConversionError: an option is impossible, or has no form
                in the provider's protocol; nothing was sent.
            SessionClosed: the session takes no more work.
        """
        wish = wish_for(self.replying.new_key(), **options)
        return await self.reply(
            wish.command, add_instructions=wish.add_instructions, if_busy=if_busy
        )

    def open_reply(
        self,
        *,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        limits: StreamLimits = DEFAULT_LIMITS,
        **options: Unpack[ReplyOptions],
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Ask for a reply and take it while it is made, inside an `async with`.

        The options are those of `generate_reply`. The block begins when the reply was
        asked for, which may be before its turn has come; its streams wait for what
        comes. They are bounded by `limits` and never make the session wait.

        Leaving the block before the reply has ended, in any way, cancels the response
        at the server, by its id, whenever it appears. In any case what was spoken is
        truncated at what was heard, what was neither heard nor read is deleted from
        the conversation, and what still comes is dropped. `await reply.outcome()`
        takes the reply as a whole. All of this is done in the step that leaves the
        block; nothing is waited for. Where agents speak, what was said plays on if the
        reply had ended, and their playout decides what was heard.

        A reply of which nothing was taken yet survives the loss of its connection: it
        is asked for again, and its streams begin anew.

        Raises:
            ResponseBusy: with `if_busy="raise"`, on entering.
            ResponseFailed, ServerError, ConnectionLost: it failed. They come out of its
                streams or of `outcome()`; out of the block, if nobody asked.
            SessionClosed: the session takes no more work.
        """
        wish = wish_for(self.replying.new_key(), **options)
        return self.stream_reply(
            wish.command,
            add_instructions=wish.add_instructions,
            if_busy=if_busy,
            limits=limits,
        )

    def stream_reply(
        self,
        command: CreateResponse,
        *,
        config: Configuration | None = None,
        add_instructions: str | None = None,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        within: Turn | None = None,
        silence: Callable[[], bool] = lambda: True,
        limits: StreamLimits = DEFAULT_LIMITS,
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Stream a reply on behalf of a configuration; see `open_reply`."""

        def ask(tap: Tap) -> Reply:
            return self.replying.ask(
                command=command,
                config=config or self.wanted,
                add_instructions=add_instructions,
                if_busy=if_busy,
                within=within,
                tap=tap,
            )

        return streamed(self, ask, limits, silence)

    async def reply(
        self,
        command: CreateResponse,
        *,
        config: Configuration | None = None,
        add_instructions: str | None = None,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        within: Turn | None = None,
        silence: Callable[[], bool] = lambda: True,
    ) -> ReplyOutcome:
        """Ask for a reply on behalf of a configuration; see `generate_reply`."""
        self.check_open()
        reply = self.replying.ask(
            command=command,
            config=config or self.wanted,
            add_instructions=add_instructions,
            if_busy=if_busy,
            within=within,
        )
        try:
            await reply.settled.wait()
        finally:
            self.replying.leave(reply, silence=silence())
        return self._result(reply)

    @staticmethod
    def _result(reply: Reply) -> ReplyOutcome:
        if reply.error is not None:
            raise reply.error
        assert reply.outcome is not None
        return reply.outcome

    def interrupt(self) -> None:
        """Stop what is being said, now: cancelled, and truncated at what was heard.

        A reply that was asked for and has not begun is stopped as soon as it appears;
        what waits in the queue still gets its turn.
        """
        posted = self.replying.slot.posted
        if posted is not None:
            self.replying.leave(posted, silence=True)
        active = self.replying.slot.active
        if active is not None:
            self.replying.cut(active)
        self.replying.cut_everything()

    # --- commands ------------------------------------------------------------

    async def send_message(
        self,
        content: MessageContent,
        *,
        role: Role = "user",
        ack_timeout: float = 5.0,
    ) -> UpdateReport:
        """Add a message to the conversation; wait for the answer. It asks for no reply.

        A message of the user's counts as a turn. Once sent it is part of the record,
        and a connection that replaces this one is given it as well. If it is not
        written within `ack_timeout` seconds, or the caller is cancelled before it was
        written, it is withdrawn ("not_sent").

        Args:
            content: text; a sequence of texts (`str`, `TextContent`) and pictures
                (`ImageContent`); or audio alone, as bytes of PCM16 24 kHz mono.
            role: "user", "system" or "assistant"; pictures and audio are the user's.

        Raises:
            ConversionError: it has no form in the protocol; nothing was sent (S18).
            SessionClosed: the session takes no more work.
        """
        return await self._commanding.send_message(content, role, ack_timeout)

    async def send_tool_output(
        self, call: FunctionCall | str, output: str, *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Answer a call; wait for the answer to that. Then ask for the next reply.

        For sessions without agents, which run their tools by themselves. The output is
        part of the record at once and survives cancellation and a change of connection,
        whichever comes first; the next connection is given the call and its output.

        Args:
            call: the call, or its `call_id`.
            output: what the model is told.

        Raises:
            ConversionError: it has no form in the protocol; nothing was sent.
            SessionClosed: the session takes no more work.
        """
        return await self._commanding.send_tool_output(call, output, ack_timeout)

    async def delete_items(
        self, *item_ids: str, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Take items out of the conversation; wait for the answers.

        An item that is gone already counts as deleted (R3). A connection that replaces
        this one before the answer is not given what was to be deleted.
        """
        return await self._commanding.delete(item_ids, ack_timeout)

    async def truncate(
        self, item_id: str, audio_end_ms: int, *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Cut a spoken item at `audio_end_ms`; wait for the answer."""
        command = TruncateItem(item_id, max(0, audio_end_ms))
        return await self._commanding.truncate(command, ack_timeout)

    async def retrieve_item(
        self, item_id: str, *, ack_timeout: float = 15.0
    ) -> RetrievedItem:
        """Ask the provider for an item in full, its processed audio included.

        It comes in one message: audio so long that it exceeds the link's bound on a
        message (16 MiB by default, some five minutes) ends the connection, which is
        then replaced.

        Args:
            ack_timeout: seconds, the wait for a connection included.

        Raises:
            ServerError: there is no such item, or it cannot be had.
            AnswerTimeout: it did not come in time.
            ConnectionLost: the connection ended first, or none served.
            ConversionError: the provider's protocol has no such request.
            SessionClosed: the session takes no more work.
        """
        return await retrieve(self, item_id, ack_timeout)

    def send_raw(self, event: Any) -> str:
        """Send an event in the provider's own form, in this very step; return its id.

        For what this library has no method for. It is sent as it is, with an `event_id`
        if it has none, once, on the present connection: nothing is repeated on the
        next. What the session owns (instructions, tools, options, items, replies) is to
        be changed by its methods; it does not learn what a raw event changed. An error
        that names the event comes as an `ErrorNotice` with its id, a harmless one (R3)
        excepted; every answer can be seen as a `RawServerEvent`.

        Args:
            event: a dict, or an event of the provider's typed wire classes.

        Raises:
            ConnectionLost: no connection serves at the moment; nothing was sent.
            ConversionError: it is not a JSON object with a type.
            SessionClosed: the session takes no more work.
        """
        return self._commanding.send_raw(event)

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
        self._broadcast.publish(event)

    def pulse(self) -> None:
        """State changed: whoever waits looks again."""
        self.changed.pulse()

    def received(self, connection: Connection, event: Any) -> None:
        """A connection read an event."""
        self._intake.received(connection, event)
        self._trimming.look()

    def read(self, connection: Connection, text: str) -> None:
        """A connection read a frame: whoever asked for raw events is given it."""
        if self._broadcast.wants(RawServerEvent):
            with suppress(ProtocolError):  # it is told of when it is decoded
                event = connection.parse(text)
                self.publish(raw_event(event, connection.generation))

    def malformed(self, connection: Connection, error: ProtocolError) -> None:
        """A connection read what nobody can read; it goes on (C10)."""
        self.publish(MalformedFrame(str(error), error.detail))

    def overdue(self, connection: Connection, request: Request) -> None:
        """A server did not answer in time: the connection is of no more use."""
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

    def speech_interrupts(self) -> bool:
        """Whether the user's voice stops what is being said."""
        detection = self._turn_detection()
        return detection is UNCHANGED or (
            isinstance(detection, ServerVAD | SemanticVAD)
            and detection.interrupt_response
        )

    def _turn_detection(self) -> Any:
        wanted = self.wanted
        return (
            self._model.options if wanted is None else wanted.options
        ).turn_detection

    @property
    def user_has_the_floor(self) -> bool:
        """Whether the user speaks, or is about to be answered by turn detection."""
        return self.turns_are_automatic() and self.listening.has_the_floor

    @property
    def counters(self) -> tuple[int, int, int]:
        """Control messages sent, their bytes, and connections opened, so far."""
        return self.traffic.messages, self.traffic.bytes, self.supervisor.opened

    def activate(
        self,
        config: Configuration,
        items: Sequence[Item] = (),
        edited: ChatContext | None = None,
    ) -> None:
        """Bring the session to a configuration, in this very step.

        One batch: the update, then `items` (tool outputs, in call order), then the
        operations of an edit of the conversation. Where no connection serves, or a
        fresh one is on its way, all of it is kept for that one.
        """
        connection = self.connection
        reuse = (
            connection is not None
            and connection.live
            and connection.sent_config is not None
            and not self.supervisor.replacing
        )
        sync = Sync(())
        if edited is not None and reuse:
            assert connection is not None
            assert connection.view is not None
            sync = plan_sync(self.record, connection.view, edited)
            items = [item for item in items if not self._falls_with_call(item, sync)]
        commands = (
            *(CreateItem(item) for item in items),
            *sync.commands(self.listening.sound_of),
        )
        for item in items:
            self._intake.tell(self.record.add_local(item))
        if reuse:
            assert connection is not None
            assert connection.view is not None
            sync.note(self.record, connection.view)
        elif edited is not None:
            apply_here(self.record, edited)
        self.supervisor.activate(config, commands if reuse else ())

    def _falls_with_call(self, item: Item, sync: Sync) -> bool:
        """Whether an output's call is deleted by the same batch."""
        if not isinstance(item, FunctionCallOutput):
            return False
        deleted = {o.item_id for o in sync.operations if isinstance(o, Delete)}
        calls = (self.record.get(item_id) for item_id in deleted)
        return any(
            isinstance(call, FunctionCall) and call.call_id == item.call_id
            for call in calls
        )

    def replace_connection(self) -> None:
        """Have a fresh connection take over from the present one."""
        self.supervisor.replace()

    def answer(self, items: Sequence[Item], *, turn: Turn | None, reply: bool) -> None:
        """Post tool outputs in this very step, and the follow-up they call for."""
        self.add_items(items)
        if turn is not None:
            self.replying.slot.close_turn(turn)
        wanted = self.wanted
        model_replies = self.model.capabilities.auto_tool_reply_generation
        if reply and wanted is not None and not model_replies:
            command = CreateResponse(self.new_id())
            self.replying.ask(command=command, config=wanted, purpose="tools")
        else:
            self.replying.advance()

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
