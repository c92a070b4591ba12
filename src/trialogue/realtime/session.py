"""One conversation with a realtime model, whatever connections it is held over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Unpack

import trio

from trialogue.dialects.commands import (
    TruncateItem,
)
from trialogue.dialects.options import (
    UNCHANGED,
    SessionOptions,
    Unchanged,
)
from trialogue.errors import (
    ConnectionLost,
)
from trialogue.realtime.commanding import Commanding
from trialogue.realtime.hosting import Hosting
from trialogue.realtime.notices import (
    AudioDropped,
)
from trialogue.realtime.requests import RequestReport, RequestState, UpdateReport
from trialogue.realtime.retrieving import retrieve
from trialogue.realtime.streaming import DEFAULT_LIMITS, StreamLimits
from trialogue.realtime.wishes import ReplyOptions, wish_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from trialogue.conversation.context import ChatContext
    from trialogue.conversation.items import (
        FunctionCall,
        Role,
    )
    from trialogue.dialects.events import Usage
    from trialogue.realtime.broadcast import Subscription
    from trialogue.realtime.commanding import MessageContent
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.metrics import Metrics
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.replies import ReplyOutcome
    from trialogue.realtime.retrieving import RetrievedItem
    from trialogue.realtime.settings import SessionSettings
    from trialogue.realtime.streaming import ReplyStream
    from trialogue.tools.spec import ToolSpec

__all__ = ["RealtimeSession"]

_NOT_SENT = UpdateReport((RequestReport("UpdateSession", RequestState.NOT_SENT),))
"""No connection served in time: nothing was sent."""


class RealtimeSession(Hosting):
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
        **settings: Unpack[SessionSettings],
    ) -> None:
        super().__init__(model, listener=listener, **settings)
        self._commanding = Commanding(self, self._updating)

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

    # --- audio ---------------------------------------------------------------

    def push_audio(self, pcm: bytes) -> None:
        """Add microphone audio: PCM16 24 kHz mono, any number of bytes. Never waits.

        Audio is held, not sent, until the first configuration is acknowledged, and
        while no connection serves; beyond `Limits.audio_seconds` the oldest is dropped,
        counted and announced (`AudioDropped`).

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
        return await self.reply(wish, if_busy=if_busy)

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
        return self.stream_reply(wish, if_busy=if_busy, limits=limits)

    def interrupt(self, *, force: bool = False) -> None:
        """Stop what is being said, now: cancelled, and truncated at what was heard.

        A reply that was asked for and has not begun is stopped as soon as it appears;
        what waits in the queue still gets its turn. Replies that were asked for with
        `allow_interruptions=False` stay, unless `force` is given.
        """
        self.replying.interrupt(force=force)

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
        """Cut a spoken item at `audio_end_ms`; wait for the answer.

        Only a connection on which it was spoken holds its sound; one that was given it
        in words has nothing to cut, and the report quotes that.
        """
        command = TruncateItem(item_id, max(0, audio_end_ms))
        return await self._commanding.truncate(command, ack_timeout)

    async def retrieve_item(
        self, item_id: str, *, ack_timeout: float = 15.0
    ) -> RetrievedItem:
        """Ask the provider for an item in full, its processed audio included.

        It comes in one message: audio so long that it exceeds the bound on a message
        (`Limits.max_message_chars`, some four minutes by default) ends the connection,
        which is then replaced.

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
