"""What the connections of a session are to agree with, and what they answer.

`wanted` is the configuration that should be; `good` is what last was agreed. Where
`wanted` is refused for good, or its time is up, `good` comes back: the session lives.
Which connection is asked is the supervisor's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from trialogue.conversation.items import (
    ImageContent,
    Item,
    Message,
    TextContent,
)
from trialogue.dialects.events import (
    Configured,
    ErrorClass,
    ErrorReported,
)
from trialogue.errors import (
    ConnectionLost,
    ServerError,
    TrialogueError,
)
from trialogue.realtime.configuration import (
    Configuration,
    is_empty,
    speed_of,
    update_for,
)
from trialogue.realtime.replaying import encode_replay
from trialogue.realtime.requests import Request, RequestState

if TYPE_CHECKING:
    from trialogue.conversation.changes import Change
    from trialogue.conversation.record import Record
    from trialogue.dialects.commands import (
        Command,
        UpdateSession,
    )
    from trialogue.realtime.connection import Connection, Timing
    from trialogue.realtime.history import History
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.listening import Listening
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.replying import Replying
    from trialogue.realtime.signal import Signal

__all__ = ["Agreeing", "Session"]

REFUSALS = 2
"""Fresh attempts at a configuration that servers refuse for a reason that may pass."""


class Session(Protocol):
    """What the supervisor needs of the session."""

    record: Record
    listening: Listening
    listener: Listener
    replying: Replying

    def publish(self, event: object) -> None: ...

    def tell(self, change: Change) -> None: ...

    def fail(self, error: TrialogueError) -> None: ...

    def new_connection(self, generation: int, model: RealtimeModel) -> Connection: ...

    def turns_are_automatic(self) -> bool: ...


def _is_spoken_turn(item: Item) -> bool:
    written = TextContent | ImageContent
    return (
        isinstance(item, Message)
        and item.role == "user"
        and not all(isinstance(part, written) for part in item.content)
    )


def _refusal(error: ErrorReported) -> ConnectionLost:
    return ConnectionLost(f"the update was rejected: {error.code or error.message}")


class Agreeing:
    """The configurations of one session, and the answers to them."""

    def __init__(
        self, session: Session, changed: Signal, timing: Timing, history: History
    ) -> None:
        self.wanted: Configuration | None = None
        self.good: Configuration | None = None
        self.connection: Connection | None = None
        self.has_connected = False
        self._session = session
        self._changed = changed
        self._timing = timing
        self._history = history
        self._replace = False
        self._failures = 0

    # --- what a connection is brought to -------------------------------------

    def _configure(self, connection: Connection, config: Configuration) -> None:
        update = update_for(config, None)
        requests = [
            connection.encode(update, patience=self._timing.update, subject=config)
        ]
        requests += encode_replay(self._session, connection, self._history)
        config.requests = requests
        connection.post(requests)
        self._sent(connection, config)
        self._session.replying.owed |= self._user_waits()

    def _user_waits(self) -> bool:
        """After a change of connection somebody may owe the user an answer.

        Only where turn detection would have answered: what the program wrote, or
        committed by hand, is answered when it asks for that.
        """
        items = self._session.record.items
        spoken = bool(items) and _is_spoken_turn(items[-1])
        listening = self._session.listening
        # An edit may have put a turn behind its answer.
        served = (listening.sent_by_program, listening.answered_turn)
        newest = listening.last_turn
        if spoken and (items[-1].id in served or items[-1].id != (newest or "")):
            return False
        nobody = not self._session.listener.working()
        answers = self._session.turns_are_automatic()
        return self.has_connected and spoken and nobody and answers

    def _sent(self, connection: Connection, config: Configuration) -> None:
        connection.sent_config = config
        self._session.listening.manual = config.options.turn_detection is None
        if not connection.model.capabilities.acknowledges_updates:
            self._agreed(connection, config)

    # --- a change of what is wanted ------------------------------------------

    def commit(self, config: Configuration, *, fresh: bool) -> None:
        """From here on this is wanted: the epoch changes now, the burst follows."""
        self.wanted = config
        self._replace = fresh
        if fresh and self.connection is not None:
            # The turn that is open goes to the new connection from its start.
            self.connection.muted = True
            self._session.listening.paused(trio.current_time())
        elif self.connection is not None and self.connection.muted:
            # A fresh one was decided on, and is needed no more.
            self._unmute(self.connection)
        self._session.replying.epoch_changed()
        self._changed.pulse()

    @property
    def replacing(self) -> bool:
        """Whether a fresh connection is to take over from the present one."""
        return self._replace

    def replace(self) -> None:
        """Have a fresh connection take over from the present one."""
        self._replace = True
        self._changed.pulse()

    def activate(
        self, config: Configuration, commands: tuple[Command, ...] = ()
    ) -> None:
        """Send one batch that makes `config` true, with `commands` in it.

        Where no connection serves, or a fresh one is on its way, nothing is sent:
        bringing it up does the same. The requests are kept on the configuration.
        """
        if self.wanted is not config:
            self.commit(config, fresh=self._replace)
        config.ready = True
        connection = self.connection
        if connection is not None and connection.live and not self._replace:
            if connection.sent_config is None:
                self._configure(connection, config)
            else:
                self._burst(connection, config, commands)
        self._changed.pulse()
        self._session.replying.advance()

    def _burst(
        self,
        connection: Connection,
        config: Configuration,
        commands: tuple[Command, ...],
    ) -> None:
        requests: list[Request] = []
        held = connection.sent_config
        update = self._update_from(connection, config)
        nothing = is_empty(update)
        if not nothing:
            patience = self._timing.update
            requests.append(
                connection.encode(update, patience=patience, subject=config)
            )
        requests += [connection.encode(command) for command in commands]
        config.requests = requests
        connection.post(requests)
        settled = connection.config is held
        self._sent(connection, config)
        if nothing and settled:
            self._agreed(connection, config)
        elif nothing:
            # What is still to be answered for `held` answers for its equal.
            for request in connection.ledger:
                if request.subject is held:
                    request.subject = config

    @staticmethod
    def _update_from(connection: Connection, config: Configuration) -> UpdateSession:
        """What differs; everything, after an update that was never answered."""
        held = connection.sent_config
        sure = held is not None and not held.unanswered
        return update_for(config, held, first=connection.config is None, sure=sure)

    def amend(
        self, connection: Connection, config: Configuration, requests: list[Request]
    ) -> list[Request]:
        """Send an edit of the present configuration, with `requests` behind it.

        It is wanted from now on; if the server rejects it, what it had comes back.
        """
        update = self._update_from(connection, config)
        if is_empty(update):
            # It is wanted already; nobody would ever agree to it under another name.
            connection.post(requests)
            return requests
        patience = self._timing.answer
        first = connection.encode(update, patience=patience, subject=config)
        requests = [first, *requests]
        connection.post(requests)
        config.base, self.wanted = self.wanted, config
        self._sent(connection, config)
        return requests

    def take_back(self, connection: Connection, config: Configuration) -> None:
        """An edit never left: what was wanted before is wanted again (C12)."""
        before = config.base
        if before is None or not connection.live:
            return
        if self.wanted is config:
            self.wanted = before
        if connection.sent_config is config:
            connection.sent_config = before
        self._changed.pulse()

    def repeat_update(self, connection: Connection, config: Configuration) -> None:
        """The server went past an update without a word: say it in full once more."""
        owed = [r for r in connection.ledger if r.subject is config]
        if len(owed) == 1 and connection.live and connection.sent_config is config:
            # NB: the formats are said again only if nothing was ever agreed here: it
            # may have been the first update that was lost, and they with it.
            agreed = connection.config
            if speed_of(config) != speed_of(agreed):
                # It is fixed while a response runs, as one does now: the deadline of
                # the update brings a fresh connection.
                return
            update = update_for(config, agreed, first=agreed is None, sure=False)
            patience = self._timing.update
            request = connection.encode(update, patience=patience, subject=config)
            connection.post([request])

    def give_up(self, config: Configuration, error: TrialogueError) -> None:
        """Its time is up: what was agreed before comes back."""
        self._give_up(config, error)

    def _give_up(self, config: Configuration, error: TrialogueError) -> bool:
        """Fail a configuration; True if the session can go on with another."""
        if config.verdict.is_set():
            return False
        config.fail(error)
        self._session.replying.config_failed(config)
        if self.good is None:
            return False
        if self.wanted is config:
            self.wanted = self.good
        self._replace = False
        self._failures = 0
        connection = self.connection
        if connection is not None:
            self._unmute(connection)
        if connection is not None and connection.sent_config is config:
            # The server may or may not have taken it: a fresh one is certain.
            connection.end(ConnectionLost("the update was not answered"))
        self._changed.pulse()
        return True

    def _unmute(self, connection: Connection) -> None:
        """It is given the microphone after all."""
        connection.muted = False
        if connection.live:
            self._session.listening.unpaused(trio.current_time())
        connection.wake()

    # --- answers -------------------------------------------------------------

    def configured(self, connection: Connection, event: Configured) -> None:
        """An update was accepted: find out which one, by comparing the echo."""
        written = [r for r in connection.ledger if r.written_at is not None]
        owed = [r for r in written if r.answer == event.answers]
        match = next((r for r in owed if self._is_echo(r, event)), None)
        if match is None:
            if owed:
                said = "the server confirmed a configuration that was not asked for"
                connection.end(ConnectionLost(said))
            else:
                connection.ledger.late_answers += 1
                self._say_again(connection, event)
            return
        for request in owed:
            if request is match:
                break
            connection.ledger.settle(request, RequestState.UNANSWERED)
        connection.ledger.settle(match, RequestState.ACKNOWLEDGED)
        for request in owed:
            if request.subject is match.subject and match.subject is not None:
                connection.ledger.settle(request, RequestState.IMPLIED)
        if isinstance(match.subject, Configuration):
            self._agreed(connection, match.subject)

    def _say_again(self, connection: Connection, event: Configured) -> None:
        """It took an update that was believed refused: what it should hold goes again.

        An error that names nothing may have been blamed on the update, or an answer
        may come so late that another configuration has been agreed since.
        """
        sent = connection.sent_config
        if sent is None or sent.matches(event) or not connection.live:
            return
        agreed = connection.config
        update = update_for(sent, agreed, first=agreed is None, sure=False)
        patience = self._timing.update
        connection.post([connection.encode(update, patience=patience, subject=sent)])

    @staticmethod
    def _is_echo(request: Request, event: Configured) -> bool:
        subject = request.subject
        return not isinstance(subject, Configuration) or subject.matches(event)

    def _agreed(self, connection: Connection, config: Configuration) -> None:
        connection.config = config
        config.accept()
        if self.wanted is not None and config.epoch is self.wanted.epoch:
            self.good = config
        if connection.cursor is None:
            listening = self._session.listening
            connection.cursor = listening.fresh_start()
            listening.resumed(trio.current_time())
        connection.wake()
        self._session.replying.advance()

    def update_refused(
        self, connection: Connection, request: Request, error: ErrorReported
    ) -> None:
        """The server rejected an update, in the reader's own step (core rule 14)."""
        config = request.subject
        if not isinstance(config, Configuration):
            return
        if config.verdict.is_set():
            if connection.config is None:
                # Agreed elsewhere, refused here: this connection will never serve.
                connection.end(_refusal(error))
            return
        self._forget_sent(connection, config)
        permanent = error.error_class is ErrorClass.PERMANENT
        config.refusals += 1
        if permanent or config.amends or config.refusals >= REFUSALS:
            refusal = ServerError(error.message, code=error.code)
            lived = self._give_up(config, refusal)
            if connection.config is None:
                # This connection never had anything agreed; only a new one has.
                connection.end(ConnectionLost("its configuration was rejected"))
            if not lived and self.good is None:
                self._session.fail(refusal)
        else:
            connection.end(_refusal(error))

    def _forget_sent(self, connection: Connection, refused: Configuration) -> None:
        """The server does not hold it, nor does what was sent behind it build on it."""
        held = connection.config
        if connection.sent_config is refused or held is None or not refused.amends:
            connection.sent_config = held
            return
        later = {id(r.subject): r.subject for r in connection.ledger}
        for config in later.values():
            if isinstance(config, Configuration) and config.epoch is refused.epoch:
                config.leave_out(refused, held)
