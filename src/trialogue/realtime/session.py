"""One conversation with a realtime model, whatever connections it is held over."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any, Literal

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
    ClearAudio,
    Command,
    CommitAudio,
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
    ToolChoice,
    Unchanged,
)
from trialogue.errors import (
    ConnectionLost,
    ProtocolError,
    ServerError,
    SessionClosed,
    TrialogueError,
)
from trialogue.realtime.backoff import Backoff
from trialogue.realtime.broadcast import Broadcast, Subscription
from trialogue.realtime.connection import Connection, Timing, Traffic
from trialogue.realtime.intake import Intake
from trialogue.realtime.ledger import (
    Request,
    RequestReport,
    RequestState,
    UpdateReport,
    item_of,
)
from trialogue.realtime.listener import Listener
from trialogue.realtime.listening import Listening
from trialogue.realtime.notices import AudioDropped, MalformedFrame
from trialogue.realtime.replying import Replying
from trialogue.realtime.signal import Signal
from trialogue.realtime.supervisor import Supervisor
from trialogue.realtime.syncing import (
    Sync,
    apply_here,
    plan_sync,
)
from trialogue.realtime.updating import Updating

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from trialogue.conversation.changes import Change
    from trialogue.conversation.context import ChatContext
    from trialogue.dialects.events import Usage
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.replies import Reply, ReplyOutcome, Turn
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
        replay_budget: int = 400,
        audio_seconds: float = 30.0,
        seed: int | None = None,
    ) -> None:
        self.record = Record()
        self.listening = Listening(audio_seconds)
        self.listener = listener or Listener()
        self.failure: TrialogueError | None = None
        self.timing = timing or Timing()
        self.changed = Signal()
        self.body = trio.CancelScope()
        self._turnstile = trio.StrictFIFOLock()
        self.traffic = Traffic()
        self._model = model
        self._closed = False
        self._broadcast = Broadcast()
        self._numbers = itertools.count(1)
        # NB: keys and jitter come from one seeded source where a seed is given, so
        # that the same script gives the same frames.
        self._random = random.Random(seed)
        self._prefix = f"{self._random.getrandbits(32):08x}"
        self.replying = Replying(self, self.new_id)
        self.supervisor = Supervisor(
            self,
            model,
            self.changed,
            self.timing,
            backoff or Backoff(),
            self._random.random,
            replay_budget,
        )
        self._intake = Intake(self)
        self._updating = Updating(self)
        for item in () if chat_ctx is None else chat_ctx.items:
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
    def late_answers(self) -> int:
        """Answers on the present connection that nobody waited for any more."""
        return 0 if self.connection is None else self.connection.ledger.late_answers

    def subscribe(
        self,
        *kinds: type[Any],
        buffer: int = 256,
        on_overflow: Literal["drop_oldest", "raise"] = "drop_oldest",
    ) -> AbstractAsyncContextManager[Subscription[Any]]:
        """Receive events inside an `async with`; see `trialogue.realtime.notices`.

        A subscriber can never make the session wait: beyond `buffer` events the oldest
        is dropped and counted, or `SubscriberLagged` is raised in `receive`.
        """
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
            SessionClosed: the session takes no more work.
        """
        deadline = trio.current_time() + ack_timeout
        if not await self._agreement(deadline):
            return _NOT_SENT
        return await self._updating.update(
            instructions, tools, options, chat_ctx, deadline
        )

    async def _agreement(self, deadline: float) -> bool:
        """Wait until a connection serves the configuration that is wanted, or not."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_open()
        if not self.settled or self._turnstile.locked():
            # Whoever has to wait goes on in the order of the calls.
            with trio.CancelScope(deadline=deadline):
                async with self._turnstile:
                    await self.changed.until(
                        lambda: self._closed or self.failure is not None or self.settled
                    )
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
            ConversionError: an item has no form in the protocol; none was added.
        """
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
        upto = self.listening.ring.end
        report, error = await self._audio_command(CommitAudio(), upto, ack_timeout)
        if error is not None and not self.turns_are_automatic():
            raise ServerError(error.message, code=error.code)
        return report

    async def clear_audio(self, *, ack_timeout: float = 5.0) -> UpdateReport:
        """Drop what is in the input buffer; wait for the answer."""
        upto = self.listening.ring.end
        report, _ = await self._audio_command(ClearAudio(), upto, ack_timeout)
        return report

    async def _audio_command(
        self, command: Command, upto: int, ack_timeout: float
    ) -> tuple[UpdateReport, Any]:
        deadline = trio.current_time() + ack_timeout
        if not await self._agreement(deadline):
            return _NOT_SENT, None
        connection = self.connection
        assert connection is not None
        request = connection.encode(command, subject=upto)
        connection.post([request], after_audio=upto)
        report = await self._updating.track(connection, [request], Sync(()), deadline)
        return report, request.error

    # --- replies -------------------------------------------------------------

    async def generate_reply(
        self,
        *,
        instructions: str | None = None,
        replace: bool = False,
        tools: Sequence[ToolSpec] | Unchanged = UNCHANGED,
        tool_choice: ToolChoice | Unchanged = UNCHANGED,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        out_of_band: bool = False,
        input: Sequence[Item] | Unchanged = UNCHANGED,  # noqa: A002
        metadata: dict[str, str] | None = None,
    ) -> ReplyOutcome:
        """Ask for a reply and wait until it is complete.

        At most one response of the conversation runs at a time. With `if_busy="wait"`
        (default) this waits for its turn; while the user is speaking under automatic
        turn taking nothing is asked for, since the turn's own response serves. Out of
        band replies run beside it and are not written to the conversation.

        `instructions` are added to the session's, or stand alone with `replace=True`.
        Cancelling cancels the response at the server, by its id, whenever it appears.

        Returns:
            How it ended; "interrupted" with what was heard is no error.

        Raises:
            ResponseFailed, ServerError: the provider failed or refused it.
            ResponseBusy: with `if_busy="raise"`.
            SessionClosed: the session takes no more work.
        """
        command = CreateResponse(
            self.replying.new_key(),
            instructions=instructions if replace and instructions else UNCHANGED,
            tools=UNCHANGED if tools is UNCHANGED else tuple(tools),
            tool_choice=tool_choice,
            out_of_band=out_of_band,
            input=UNCHANGED if input is UNCHANGED else tuple(input),
            metadata=metadata or {},
        )
        added = None if replace else instructions
        return await self.reply(command, add_instructions=added, if_busy=if_busy)

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

    async def truncate(
        self, item_id: str, audio_end_ms: int, *, ack_timeout: float = 5.0
    ) -> UpdateReport:
        """Cut a spoken item at `audio_end_ms`; wait for the answer."""
        deadline = trio.current_time() + ack_timeout
        if not await self._agreement(deadline):
            return _NOT_SENT
        connection = self.connection
        assert connection is not None
        command = TruncateItem(item_id, max(0, audio_end_ms))
        request = connection.encode(command, subject="waited")
        connection.post([request])
        return await self._updating.track(connection, [request], Sync(()), deadline)

    # --- for the parts of the session ----------------------------------------

    def new_id(self) -> str:
        """Return an id for an event or a reply, unique in this session."""
        return f"tri_{self._prefix}_{next(self._numbers)}"

    def new_item_id(self, prefix: str) -> str:
        """Return an id for an item made here."""
        return new_item_id(prefix, self._random)

    def new_connection(self, generation: int, model: RealtimeModel) -> Connection:
        """Return a connection that is not yet dialled."""
        return Connection(
            generation,
            model,
            self,
            self.listening.ring,
            self.changed,
            self.timing,
            self.traffic,
            self.new_id,
        )

    def tell(self, change: Change) -> None:
        """Publish what became of the record."""
        self._intake.tell(change)

    def publish(self, event: object) -> None:
        """Hand an event to the subscribers."""
        self._broadcast.publish(event)

    def pulse(self) -> None:
        """State changed: whoever waits looks again."""
        self.changed.pulse()

    def received(self, connection: Connection, event: Any) -> None:
        """A connection read an event."""
        self._intake.received(connection, event)

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

    def check_open(self) -> None:
        """Raise `SessionClosed` unless the session takes work (invariant 9)."""
        if self._closed or self.failure is not None:
            msg = "this session is closed and takes no more work; open another one"
            raise SessionClosed(msg) from self.failure

    def fail(self, error: TrialogueError) -> None:
        """The session cannot go on: its block is cancelled, and raises this error."""
        if self.failure is None and not self._closed:
            self.failure = error
            self.supervisor.close()
            self.listener.failed()
            self.body.cancel(reason=f"the session failed: {error}")
            self.changed.pulse()

    def close(self) -> None:
        """Take no more work; what is queued is not asked for any more."""
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
