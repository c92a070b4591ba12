"""Asking for replies: the queue, the slot, and what may leave now.

A `Reply` is somebody's wish. It is posted as soon as the response slot, the user and
the configuration allow it; nothing here waits. The first reply of a new agent may run
ahead of the settlement, and then carries its instructions and tools itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from trialogue.dialects.commands import (
    CreateResponse,
)
from trialogue.dialects.events import (
    ErrorClass,
    ErrorReported,
    Usage,
)
from trialogue.dialects.options import UNCHANGED
from trialogue.errors import (
    ConversionError,
    ResponseBusy,
    ServerError,
    TrialogueError,
)
from trialogue.realtime.aside import Aside
from trialogue.realtime.cutting import Cutting
from trialogue.realtime.hearing import Hearing
from trialogue.realtime.notices import ErrorNotice
from trialogue.realtime.replies import Reply, ReplyOutcome, Response, ResponseSlot
from trialogue.realtime.reply_probing import ReplyProbing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trialogue.conversation.changes import Change
    from trialogue.conversation.items import Item
    from trialogue.conversation.record import Record
    from trialogue.dialects.dialect import Capabilities
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.listening import Listening
    from trialogue.realtime.metrics import Meter
    from trialogue.realtime.spending import Spending

__all__ = ["Asking", "Session"]


class Session(Protocol):
    """What this module needs of the session."""

    record: Record
    listening: Listening
    listener: Listener
    meter: Meter
    spending: Spending

    @property
    def connection(self) -> Connection | None: ...

    @property
    def wanted(self) -> Configuration | None: ...

    def publish(self, event: object) -> None: ...

    def tell(self, change: Change) -> None: ...

    def pulse(self) -> None: ...

    def fail(self, error: TrialogueError) -> None: ...

    def turns_are_automatic(self) -> bool: ...

    def speech_interrupts(self) -> bool: ...

    def new_item_id(self, prefix: str) -> str: ...

    def repeat_update(self, connection: Connection, config: Configuration) -> None: ...


class Asking:
    """The wishes for replies of one session; `Replying` is the whole."""

    def __init__(self, session: Session, new_key: Callable[[], str]) -> None:
        self.slot = ResponseSlot()
        self.usage = Usage()
        self.owed = False
        self._closed = False
        self._session = session
        self._new_key = new_key
        self._responses: dict[str, Response] = {}
        self._out_of_band: list[Reply] = []
        self._unclaimed: list[str] = []
        self.aside = Aside()
        self.probing = ReplyProbing(session, self)
        self._hearing = Hearing(session, self)
        self._cutting = Cutting(session, self, self._hearing)

    # --- asking --------------------------------------------------------------

    def ask(self, **wish: Any) -> Reply:
        """Queue a wish for a reply, and post it at once if it may go."""
        command = wish.pop("command", None) or CreateResponse(self._new_key())
        reply = Reply(command.key, command=command, **wish)
        if self.aside.take(reply):
            self._if_busy(reply)
            return reply
        if self._session.wanted is not None and self._foreign(reply.config):
            # Its agent has handed over: no later step would ever ask for it.
            reply.finish(ReplyOutcome("interrupted"))
            return reply
        self._queue(reply)
        self.advance()
        if reply in self.slot.queue:
            self._if_busy(reply)
        return reply

    def hold_back(self, config: Configuration) -> None:
        """The owner of this configuration delegates: its wishes wait until it is back.

        Those that are queued, and those that come meanwhile; what was posted ends as
        at any other change of the configuration.
        """
        self.aside.hold(config)

    def let_go(self, held: Configuration, config: Configuration | None) -> None:
        """Its wishes go on, under `config`; None if it does not come back."""
        for reply in self.aside.release(held):
            if config is None:
                reply.finish(ReplyOutcome("interrupted"))
            else:
                reply.config = config
                self._queue(reply)
        self.advance()

    def owe(self) -> None:
        """The user is owed a reply, by whoever is current when it can be made."""
        self.owed = True
        self.advance()

    @property
    def busy(self) -> bool:
        """Whether a reply is wanted, asked for, or being made, out of band included."""
        return not self.slot.idle or self.owed or bool(self._out_of_band)

    def new_key(self) -> str:
        """Return a key that no other reply of this session has."""
        return self._new_key()

    def _queue(self, reply: Reply) -> None:
        if reply.purpose == "tools":
            self.slot.queue.insert(0, reply)
        else:
            self.slot.queue.append(reply)

    def _drop(self, reply: Reply) -> None:
        self.slot.drop(reply)
        self.aside.drop(reply)

    def _if_busy(self, reply: Reply) -> None:
        if reply.if_busy == "skip":
            self._drop(reply)
            reply.finish(ReplyOutcome("skipped"))
        elif reply.if_busy == "raise":
            self._drop(reply)
            msg = 'a response is running or the user is speaking; use if_busy="wait"'
            reply.fail(ResponseBusy(msg))

    def leave(self, reply: Reply, *, silence: bool) -> None:
        """Nobody waits for this reply any more.

        Args:
            silence: also stop what it is saying; False where a handoff lets the
                agent's last words be heard.
        """
        if reply.settled.is_set():
            return
        self._drop(reply)
        reply.unwanted = True
        connection = self._session.connection
        if reply.batch is not None and connection is not None:
            connection.withdraw(reply.batch)
            if reply.request is not None and reply.request.written_at is None:
                self._unpost(reply)
        if reply.response is not None and reply.response.running and silence:
            self._cutting.cut(reply.response)
        reply.finish(ReplyOutcome("interrupted"))
        self.advance()

    def left(self, reply: Reply, *, silence: bool) -> None:
        """The block of a streamed reply was left; what it did not take is dropped.

        Args:
            silence: as in `leave`.
        """
        self.leave(reply, silence=silence)
        response = reply.response
        if response is not None and silence:
            self._cutting.leave(response)
        elif reply.tap is not None:
            reply.tap.leave()

    def _unpost(self, reply: Reply) -> None:
        if self.slot.posted is reply:
            self.slot.posted = None
        if reply in self._out_of_band:
            self._out_of_band.remove(reply)

    # --- posting -------------------------------------------------------------

    def advance(self) -> None:
        """Post whatever may go now."""
        if self._closed:
            self.close()
        while (reply := self._next()) is not None:
            self._post(reply)
        self._session.pulse()

    def _next(self) -> Reply | None:
        connection, wanted = self._session.connection, self._session.wanted
        if connection is None or wanted is None or not connection.live:
            return None
        if connection.sent_config is None:
            return None
        self._hold_for_user()
        self._queue_owed(connection, wanted)
        return next((r for r in self.slot.queue if self._may_go(r, connection)), None)

    def _queue_owed(self, connection: Connection, wanted: Configuration) -> None:
        # Ahead of whoever waited for the user's turn: its answer serves them too.
        ahead = (r.held_for_user and r.purpose != "owed" for r in self.slot.queue)
        idle = all(ahead) and self.slot.free_for(None)
        if self.owed and idle and wanted.ready and connection.config is wanted:
            self.owed = False
            command = CreateResponse(self._new_key())
            owed = Reply(command.key, wanted, command=command, purpose="owed")
            owed.answers_user = True
            self.slot.queue.insert(0, owed)

    def _hold_for_user(self) -> None:
        """While a turn of the user's is unanswered, its answer serves whoever asks."""
        active = self.slot.active
        answered_in_vain = active is not None and active.answers_user and active.discard
        if self.owed or answered_in_vain or self._user_has_the_floor():
            for reply in self.slot.queue:
                new = reply.attempts == 0 and reply.within is None
                if new and not reply.out_of_band:
                    reply.held_for_user = True

    def _may_go(self, reply: Reply, connection: Connection) -> bool:
        config = reply.config or self._session.wanted
        if config is None or not config.ready or config.void:
            return False
        wanted = self._session.wanted
        if wanted is None or config.epoch is not wanted.epoch:
            return False
        if not (
            self._agreed(config, connection) or self._may_carry(config, connection)
        ):
            return False
        if reply.out_of_band:
            return True
        if not self.slot.free_for(reply.within):
            return False
        if self._user_has_the_floor():
            reply.held_for_user = True
            return False
        return reply.purpose == "owed" or not (self.owed and reply.held_for_user)

    @staticmethod
    def _agreed(config: Configuration, connection: Connection) -> bool:
        held = connection.config
        return held is not None and held.epoch is config.epoch

    @staticmethod
    def _may_carry(config: Configuration, connection: Connection) -> bool:
        # The first reply is the only command that may run ahead of the settlement.
        able = connection.model.capabilities.per_response_configuration
        pending = connection.sent_config
        same = pending is not None and pending.epoch is config.epoch
        return able and same and not config.verdict.is_set() and not config.carried

    def _user_has_the_floor(self) -> bool:
        if not self._session.turns_are_automatic():
            return False
        return self._session.listening.has_the_floor

    def _post(self, reply: Reply) -> None:
        connection = self._session.connection
        config = reply.config or self._session.wanted
        assert connection is not None
        assert config is not None
        self.slot.drop(reply)
        reply.config = config
        reply.carried = not self._agreed(config, connection)
        command = self._configured(reply, config, connection)
        try:
            _check_carries(command, connection.model.capabilities)
            patience = self.probing.patience(connection)
            reply.request = connection.encode(command, patience=patience, subject=reply)
        except ConversionError as error:
            self._fail(reply, error)
            return
        if reply.carried:
            config.carried = True
        if reply.out_of_band:
            self._out_of_band.append(reply)
        else:
            self.slot.posted = reply
        reply.attempts += 1
        reply.batch = connection.post([reply.request])

    @staticmethod
    def _configured(
        reply: Reply, config: Configuration, connection: Connection
    ) -> CreateResponse:
        command = reply.command
        current = config if reply.carried else (connection.sent_config or config)
        if reply.carried:
            words = (
                config.instructions
                if command.instructions is UNCHANGED
                else command.instructions
            )
            tools = config.tools if command.tools is UNCHANGED else command.tools
            command = attrs.evolve(command, instructions=words, tools=tools)
        if reply.add_instructions:
            base = current.instructions
            joined = f"{base}\n\n{reply.add_instructions}" if base else None
            command = attrs.evolve(
                command, instructions=joined or reply.add_instructions
            )
        return command

    def refused(
        self,
        connection: Connection,
        reply: Reply,
        error: ErrorReported,
        *,
        told: bool = False,
    ) -> None:
        """The server rejected a `response.create`.

        Args:
            told: whoever listens has been told of this error.
        """
        self._unpost(reply)
        if error.error_class is ErrorClass.CONFLICT and not reply.unwanted:
            if reply.if_busy == "raise":
                reply.fail(ResponseBusy(error.message, code=error.code))
                return
            if reply.purpose == "owed" and self._answers_the_user():
                # The provider answered after all, in the moment in which we asked.
                reply.finish(ReplyOutcome("superseded"))
                return
            # A response that we did not ask for is in the way: it is no error (R1).
            # Its end frees the slot; if nothing is heard of it, the deadline does.
            self.slot.requeue(reply)
            self.slot.blocked = self.slot.active is None
            self._watch(connection)
        else:
            self.owed |= reply.unwanted and reply.answers_user
            failure = ServerError(error.message, code=error.code)
            if not self._ask_again(reply, error.error_class, failure, told=told):
                self._fail(reply, failure, told=told)
            self.advance()

    def ask_anew(self, reply: Reply) -> None:
        """The server never got the `response.create`, or said nothing to it."""
        self._unpost(reply)
        if reply.unwanted:
            self.owed |= reply.answers_user
        else:
            self.slot.requeue(reply)
        self.advance()

    def taken_for_lost(self, key: str | None) -> Reply | None:
        """Return, and drop, what was to be asked for again, and is made after all."""
        reply = next((r for r in self.slot.queue if r.key == key and r.attempts), None)
        if reply is not None:
            self.slot.drop(reply)
        return reply

    def _ask_again(
        self,
        reply: Reply,
        error_class: ErrorClass | None,
        error: TrialogueError,
        *,
        told: bool = False,
    ) -> bool:
        """Nobody waits for it who could, and it may be had now: once more, and no more.

        Whoever listens is told of the first failure.
        """
        transient = error_class is ErrorClass.TRANSIENT
        nobody = reply.purpose != "program" and not reply.unwanted
        if reply.repeated or not (transient and nobody):
            return False
        reply.repeated = True
        self.slot.requeue(reply)
        if not told:
            self._tell_failure(error)
        return True

    def _answers_the_user(self) -> bool:
        active = self.slot.active
        return active is not None and active.answers_user and not active.discard

    def _fail(self, reply: Reply, error: TrialogueError, *, told: bool = False) -> None:
        reply.fail(error)
        if reply.purpose != "program" and not told:  # nobody waits
            self._tell_failure(error)

    def _tell_failure(self, error: TrialogueError) -> None:
        self._session.publish(ErrorNotice(str(error), getattr(error, "code", None)))

    def close(self) -> None:
        """The session takes no more work: nothing is asked for (again)."""
        self._closed, self.owed = True, False
        active = self.slot.active
        under_way = (self.slot.posted, None if active is None else active.reply)
        for reply in (*self.slot.queue, *under_way, *self.aside):
            if reply is not None:
                self._drop(reply)
                reply.unwanted = True
                reply.finish(ReplyOutcome("interrupted"))

    # --- what all of it rests on ---------------------------------------------

    def _foreign(self, config: Configuration | None) -> bool:
        wanted = self._session.wanted
        return wanted is None or (config or wanted).epoch is not wanted.epoch

    def _stale(self, response: Response) -> bool:
        config, wanted = response.config, self._session.wanted
        if config is None or wanted is None or config.void:
            return True
        return config.epoch is not wanted.epoch

    def _watch(self, connection: Connection) -> None:
        """A response is, or must be, running: it may not stay silent for ever."""
        deadline = connection.now() + connection.timing.reply_silence
        if connection.response_deadline != deadline:  # of all that came at once
            connection.response_deadline = deadline
            connection.wait_no_longer_than(deadline)

    @staticmethod
    def _name(response: Response) -> str | None:
        return getattr(response.owner, "name", None)

    def items_of(self, response: Response) -> tuple[Item, ...]:
        """Return the items of a response, as the record holds them."""
        record = self._session.record
        found = (record.get(item_id) for item_id in response.items)
        return tuple(item for item in found if item is not None)

    def has_begun(self, event_id: str | None) -> bool:
        """Whether the reply that this asked for is made, asked for before or again."""
        replies = [r.reply for r in self._responses.values() if r.reply is not None]
        requests = [r.request for r in replies if r.request is not None]
        return any(request.event_id == event_id for request in requests)

    def responses(self) -> Collection[Response]:
        """Return the responses that are known, the latest that ended among them."""
        return self._responses.values()

    def of_item(self, item_id: str) -> Response | None:
        """Return the response that an item belongs to."""
        return next((r for r in self._responses.values() if item_id in r.items), None)

    def cut(self, response: Response) -> None:
        """Stop a response: at the server by id, and where it is played."""
        self._cutting.cut(response)


def _check_carries(command: CreateResponse, can: Capabilities) -> None:
    """Raise `ConversionError` for what replies of this model cannot carry."""
    own = command.instructions is not UNCHANGED or command.tools is not UNCHANGED
    if own and not can.per_response_configuration:
        msg = (
            "a reply of this model cannot have instructions or tools of its own; "
            "change the session's, or add a message to the conversation"
        )
        raise ConversionError(msg)
    if command.tool_choice is not UNCHANGED and not can.per_response_tool_choice:
        msg = "a reply of this model cannot force or forbid tools: give no tool_choice"
        raise ConversionError(msg)
