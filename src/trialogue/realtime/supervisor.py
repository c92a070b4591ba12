"""The one thing that dials, and that brings every connection to what is wanted.

First connect, reconnect, fresh handoff, rotation, restart: each is the same act. A
connection is opened, its first event is read, and one batch brings it to the wanted
configuration and the conversation so far. Where that was not urgent (a rotation, a
restart, a warm standby) the connection is opened ahead of time and waits, serving
nobody, until it is needed or until nobody speaks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from trialogue.errors import ConnectionLost, ConnectRefused
from trialogue.realtime.agreeing import Agreeing, Session
from trialogue.realtime.close_codes import is_refusal
from trialogue.realtime.lifetime import Lifetime
from trialogue.realtime.notices import (
    ConnectionEnded,
    ConnectionOpened,
    OpenReason,
)
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.dialects.events import SessionStarted
    from trialogue.realtime.backoff import Backoff
    from trialogue.realtime.connection import Connection, Timing
    from trialogue.realtime.history import History
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.signal import Signal

__all__ = ["Supervisor"]

REFUSED_PAUSE = 60.0
"""Seconds before a spare connection is tried again that was refused for good."""


def _is_refused(connection: Connection) -> bool:
    error = connection.error
    return isinstance(error, ConnectRefused) or (
        error is not None and is_refusal(error.code)
    )


class Supervisor(Agreeing):
    """Owns the connections of one session.

    Attributes:
        connection: the one that serves, or served last.
        spare: one that is open, or on its way, and serves nobody yet.
        standby: whether a spare is always kept.
        opened: how many connections have served so far.
    """

    def __init__(
        self,
        session: Session,
        model: RealtimeModel,
        changed: Signal,
        timing: Timing,
        backoff: Backoff,
        jitter: Callable[[], float],
        wall: Callable[[], float],
        history: History,
        *,
        standby: bool = False,
    ) -> None:
        super().__init__(session, changed, timing, history)
        self.dialling: list[Connection] = []
        self.spare: Connection | None = None
        self.standby = standby
        self.opened = 0
        self._model = model
        self._backoff = backoff
        self._jitter = jitter
        self._wall = wall
        self._restarts = 0
        self._spare_failures = 0
        self._spare_not_before = -math.inf
        self._last_error = ConnectionLost("the connection was lost")
        self._generation = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<Supervisor opened={self.opened} current={self.connection!r}>"

    # --- the task ------------------------------------------------------------

    async def run(self) -> None:
        """Keep one connection serving until cancelled.

        Connections are siblings in this task's nursery: the old one is closed beside
        the opening of the next, never before it.
        """
        with single():
            async with trio.open_nursery() as connections:
                while not self._closed:
                    await self._wait_for_work()
                    await self._step(connections)

    async def _wait_for_work(self) -> None:
        with trio.CancelScope() as patience:

            def there_is_some() -> bool:
                patience.deadline = self._look_again_at()
                return self._has_work()

            await self._changed.until(there_is_some)

    async def _step(self, connections: trio.Nursery) -> None:
        if self._needs_connection():
            if self._spare_fits() or self._may_dial():
                await self._establish(connections)
        elif self.spare is not None and self._may_switch(self.spare):
            self._adopt(self.spare)
        elif self._spare_is_amiss():
            self._tend_spare(connections)

    def _has_work(self) -> bool:
        return (
            self._needs_connection()
            or (self.spare is not None and self._may_switch(self.spare))
            or self._spare_is_amiss()
        )

    def _look_again_at(self) -> float:
        """When there may be work that nothing else tells of."""
        now, current = trio.current_time(), self.connection
        moments = [self._spare_not_before]
        if current is not None:
            moments += [current.lifetime.due, current.lifetime.pressing]
            if self._switch_is_due():
                listening = self._session.listening
                moments += [listening.pushed_until, listening.words_until]
        if self.spare is not None:
            moments.append(self.spare.lifetime.due)
        return min((at for at in moments if at > now), default=math.inf)

    def _needs_connection(self) -> bool:
        current = self.connection
        gone = current is None or current.ended.is_set()
        return not self._closed and (gone or self._replace)

    def _wanted_model(self) -> RealtimeModel:
        return self._model if self.wanted is None else self.wanted.model

    def close(self) -> None:
        """Dial no more."""
        self._closed = True

    def progressed(self) -> None:
        """Something was achieved: failures are counted anew (C8)."""
        self._failures = 0

    # --- when one is needed at once ------------------------------------------

    def _may_dial(self) -> bool:
        """Whether the budget allows another try; if not, give up what is wanted.

        A connection that ends without progress counts as a failure, so that a server
        which accepts and drops does not keep us dialling for ever (C8).
        """
        most = self._backoff
        limit = most.attempts if self.has_connected else most.first_attempts
        if self._failures >= limit:
            self._budget_spent(self._last_error)
        return not self._closed and self._needs_connection()

    def _budget_spent(self, error: ConnectionLost) -> None:
        if self.wanted is None or not self._give_up(self.wanted, error):
            self._session.fail(error)

    async def _establish(self, connections: trio.Nursery) -> None:
        connection = self._take_spare()
        if connection is None:
            await self._pause()
            connection = self._dial(connections)
        self.dialling = [connection]
        try:
            connection = await self._first_begun(connections)
            await self._bring_up(connection)
        finally:
            given_up, self.dialling = self.dialling, []
            for other in given_up:
                if self.connection is not other:
                    other.end(ConnectionLost("given up while dialling"))
        if self.connection is not connection and self._needs_connection():
            self._attempt_failed(connection)

    def _dial(self, connections: trio.Nursery) -> Connection:
        self._generation += 1
        model = self._wanted_model()
        connection = self._session.new_connection(self._generation, model)
        connections.start_soon(connection.serve)
        return connection

    async def _first_begun(self, connections: trio.Nursery) -> Connection:
        """Return the one of those dialled that was answered first, or failed last.

        A dial may hang while the next one would get through: once one has taken long,
        a second is made beside it, and neither is given up for the other's sake.
        """
        with trio.CancelScope(deadline=self._connect_deadline()):
            with trio.move_on_after(self._hedge()):
                await self._changed.until(self._dial_is_over)
            if not self._dial_is_over():
                self.dialling.append(self._dial(connections))
                await self._changed.until(self._dial_is_over)
        begun = next((one for one in self.dialling if one.started), None)
        refused = (one for one in self.dialling if _is_refused(one))
        chosen = begun or next(refused, self.dialling[0])
        for other in self.dialling:
            if other is not chosen:
                other.end(ConnectionLost("another attempt was faster"))
        return chosen

    def _hedge(self) -> float:
        """After how long a dial hangs, going by the last one that did not."""
        if not self.has_connected or self.connection is None:
            return math.inf  # nobody knows how long it takes here
        return max(self._timing.hedge, 2 * self.connection.connect_seconds)

    def _dial_is_over(self) -> bool:
        """Whether one of those dialled has begun, or none will, or none is needed."""
        begun = any(one.started for one in self.dialling)
        ended = all(one.ended.is_set() for one in self.dialling)
        refused = any(map(_is_refused, self.dialling))
        return begun or ended or refused or not self._needs_connection()

    async def _bring_up(self, connection: Connection) -> None:
        if not connection.started:
            connection.end(ConnectionLost("the provider sent no first event in time"))
        # Between a handoff's decision and its burst the old scope is being emptied;
        # its tool outputs have to be in the record before it is replayed.
        await self._changed.until(
            lambda: (
                connection.ended.is_set() or self.wanted is None or self.wanted.ready
            )
        )
        wrong_model = self._wanted_model() != connection.model
        # NB: a handoff given up meanwhile leaves the present connection as it is; to
        # adopt this one all the same would cut what is being said there.
        usable = not connection.ended.is_set() and not wrong_model
        if usable and self._needs_connection():
            self._adopt(connection)

    def _connect_deadline(self) -> float:
        wanted = self.wanted
        agreed = wanted is None or wanted.verdict.is_set()
        budget = math.inf if agreed or wanted is None else wanted.deadline
        return min(trio.current_time() + self._timing.connect, budget)

    def _attempt_failed(self, connection: Connection) -> None:
        error = connection.error or ConnectionLost("the connection could not be used")
        if is_refusal(error.code) and not isinstance(error, ConnectRefused):
            refused = ConnectRefused(
                f"{error}; check the key and the model",
                code=error.code,
                reason=error.reason,
            )
            refused.__cause__, error = error, refused
        if isinstance(error, ConnectRefused):
            self._budget_spent(error)
        else:
            self._failures += 1
            self._last_error = error

    async def _pause(self) -> None:
        seconds = self._backoff.pause(self._failures, self._jitter)
        wanted = self.wanted
        with trio.move_on_after(seconds):
            await self._changed.until(lambda: self.wanted is not wanted)

    # --- when one will be needed ---------------------------------------------

    def ask_for_restart(self, wanted: bool) -> None:
        """Have a fresh connection take over once nobody speaks, or no longer.

        Several may ask at once: each takes back only its own wish.
        """
        self._restarts += 1 if wanted else -1
        self._changed.pulse()

    def keep_standby(self, wanted: bool) -> None:
        """Keep a spare connection open from now on, or no longer."""
        self.standby = wanted
        self._changed.pulse()

    def _switch_is_due(self) -> bool:
        current = self.connection
        aged = current is not None and current.lifetime.due <= trio.current_time()
        return self._restarts > 0 or aged

    def _spare_wanted(self) -> bool:
        """Nothing is dialled ahead while what serves is not yet agreed upon."""
        agreed = self.wanted is None or self.wanted.verdict.is_set()
        live = self.connection is not None and self.connection.live
        asked = self.standby or self._switch_is_due()
        return not self._closed and live and agreed and asked

    def _spare_is_amiss(self) -> bool:
        now = trio.current_time()
        if self.spare is None:
            return self._spare_wanted() and self._spare_not_before <= now
        return self._outlived(self.spare)

    def _outlived(self, spare: Connection) -> bool:
        old = spare.lifetime.due <= trio.current_time()
        agreed = self.wanted is None or self.wanted.verdict.is_set()
        unfit = agreed and spare.model != self._wanted_model()
        return old or unfit or not (self.standby or self._switch_is_due())

    def _tend_spare(self, connections: trio.Nursery) -> None:
        spare, self.spare = self.spare, None
        if spare is not None:
            spare.end(ConnectionLost("no longer needed in reserve"))
        if self._spare_wanted():
            self.spare = self._dial(connections)

    def _spare_fits(self) -> bool:
        return self.spare is not None and self.spare.model == self._wanted_model()

    def _take_spare(self) -> Connection | None:
        if not self._spare_fits():
            return None
        spare, self.spare = self.spare, None
        return spare

    def _spare_ended(self, spare: Connection) -> None:
        self.spare = None
        refused = _is_refused(spare)
        self._spare_failures += 1
        pause = self._backoff.pause(self._spare_failures + 1, self._jitter)
        pause = REFUSED_PAUSE if refused else pause
        self._spare_not_before = trio.current_time() + pause

    def _may_switch(self, spare: Connection) -> bool:
        """Whether the spare may take over now: it is due, and nobody is cut off."""
        current, wanted = self.connection, self.wanted
        if current is None or wanted is None or not self._switch_is_due():
            return False
        ready = spare.live and spare.model == wanted.model and wanted.verdict.is_set()
        held = current.config
        agreed = held is not None and held.epoch is wanted.epoch
        settled = agreed and not len(current.ledger) and current.drained
        return ready and settled and self._nobody_speaks(current)

    def _nobody_speaks(self, current: Connection) -> bool:
        session = self._session
        busy = session.replying.busy or session.listener.working()
        talking = session.turns_are_automatic() and session.listening.has_the_floor
        if busy or talking:
            return False
        now = trio.current_time()
        if current.lifetime.pressing <= now:
            return True
        listening = session.listening
        # A turn that is given to the next server as sound gets no words any more.
        wordless = listening.words_until > now and self._transcribes()
        mid_turn = listening.may_be_mid_turn(now, current.cursor)
        return not (session.listener.playing() or mid_turn or wordless)

    def _transcribes(self) -> bool:
        wanted = self.wanted
        return wanted is not None and wanted.options.transcription is not None

    # --- taking over ---------------------------------------------------------

    def _adopt(self, connection: Connection) -> None:
        """Let this connection serve: one batch brings it to what is wanted."""
        reason = self._why()
        warm = connection is self.spare
        self._leave_current()
        connection.view = self._session.record.open_view()
        self.connection = connection
        self._replace, self._restarts = False, 0
        self._spare_failures = 0
        if warm:
            self.spare = None
        self.opened += 1
        if self.wanted is not None:
            self._configure(connection, self.wanted)
        self._session.publish(
            ConnectionOpened(
                connection.generation,
                connection.session_id or "",
                connection.connect_seconds,
                reason,
            )
        )
        self._session.listener.connection_changed()
        self._session.replying.advance()

    def _why(self) -> OpenReason:
        current = self.connection
        if current is None:
            return "first"
        if current.ended.is_set():
            return "reconnect"
        if self._replace:
            return "handoff"
        return "restart" if self._restarts else "rotation"

    def _leave_current(self) -> None:
        current = self.connection
        if current is None:
            return
        if not current.ended.is_set():
            self._withdraw(current)
            current.retire(trio.current_time())

    def _withdraw(self, connection: Connection) -> None:
        """A connection serves no more: take back what it was about."""
        session = self._session
        session.listening.paused(trio.current_time())
        session.replying.connection_lost(connection)
        # Of one that was lost nobody knows what it heard since its last sign of life.
        lost = connection.ended.is_set()
        heard = connection.proven if lost else connection.cursor
        if session.listening.left(connection.cursor, heard):
            session.replying.owed = True
        if connection.view is not None:
            session.tell(session.record.close_view(connection.view))

    # --- beginnings and ends -------------------------------------------------

    def started(self, connection: Connection, event: SessionStarted) -> None:
        """The provider's first event: only now is it connected (C1)."""
        connection.began(event.session_id)
        connection.lifetime = Lifetime.of(
            trio.current_time(), event.expires_at, self._wall, self._timing
        )
        self.has_connected = True

    def ended(self, connection: Connection) -> None:
        """A connection ended; if it was serving, another one is dialled."""
        error = connection.error
        serving = connection is self.connection
        if connection is self.spare:
            self._spare_ended(connection)
        if serving and not connection.retired:
            self._failures += 1
            self._last_error = error or self._last_error
            self._withdraw(connection)
            self._session.listener.connection_changed()
        if connection.started:
            self._session.publish(
                ConnectionEnded(
                    connection.generation,
                    str(error),
                    None if error is None else error.code,
                    will_retry=serving and not self._closed,
                )
            )
