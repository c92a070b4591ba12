"""One connection as it runs: a stream, a delay line each way, the machine between.

Four tasks: one reads frames (see `Reader`), one takes them when they have arrived and
runs the machine, one writes what has left it (see `Writer`), and one pings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

import attrs
import trio

from trialogue._codec import dumps, loads
from trialogue.dialects.openai.wire import unstructure
from trialogue.realtime.unwrapping import single
from trialogue.testing.alarms import Alarms
from trialogue.testing.composing import Composer
from trialogue.testing.connection import Connection, LogEntry, elided
from trialogue.testing.faults import (
    BROKEN_FRAMES,
    Action,
    BrokenFrame,
    Close,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Expire,
    FaultPlan,
    Garbage,
    HalfOpen,
    Hold,
    Reject,
    Silence,
    Stall,
    beginning_of,
)
from trialogue.testing.machine import Hangup, Output
from trialogue.testing.network import Network
from trialogue.testing.reader import Arriving, Reader
from trialogue.testing.websocket import (
    Binary,
    Closed,
    Malformed,
    Pinged,
    Ponged,
    ServerSocket,
    Text,
)
from trialogue.testing.writer import (
    Accept,
    Bytes,
    CutHere,
    Farewell,
    Leaving,
    Part,
    Pause,
    Ping,
    Pong,
    Said,
    VanishHere,
    Writer,
)

__all__ = ["Peer"]

PING_SECONDS: Final = 20.0
PROTOCOL_ERROR: Final = 1002
GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006
_SLACK: Final = 1.0
"""Seconds for which what is due is left to the task that writes."""


@attrs.define
class _Held:
    """An answer that waits for others to go first."""

    frames: int
    text: str


@attrs.define(eq=False, repr=False)
class Peer:
    """The server's side of one live connection.

    Attributes:
        connection: what is remembered of it.
        socket: the WebSocket, open.
        network: how far away the client is.
        plan: what goes wrong.
        on_step: called after each step of the machine.
        close_timeout: seconds that a close frame of ours waits for its answer.
        composer: runs the brain where that is asynchronous.
        alarms: wake the tasks that wait for a time.
        random: of the network's jitter.
        accept_seconds: how long the answer to the upgrade takes.
    """

    connection: Connection
    socket: ServerSocket
    network: Network
    plan: FaultPlan
    on_step: Callable[[Connection, Sequence[LogEntry]], None]
    close_timeout: float
    composer: Composer
    alarms: Alarms
    random: Random = attrs.field(factory=Random)
    accept_seconds: float = 0.0
    _writer: Writer = attrs.field(init=False)
    _reader: Reader = attrs.field(init=False)
    _alive: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _gone: bool = attrs.field(default=False, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _silent: Silence | None = attrs.field(default=None, init=False)
    _ending: bool = attrs.field(default=False, init=False)
    _held_out: list[_Held] = attrs.field(factory=list, init=False)
    _held_in: list[_Held] = attrs.field(factory=list, init=False)
    _logged: list[LogEntry] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = Reader(
            self.socket,
            self.network,
            self.random,
            self._arrived_alone,
            self.alarms,
        )
        self._writer = Writer(
            self.socket,
            self.network,
            self.random,
            self.close_timeout,
            self._scope.cancel,
            self._vanish,
            self.connection.machine.deadline,
            self._tick,
            self.alarms,
        )

    def __repr__(self) -> str:
        return f"<Peer {self.connection!r} {self._reader!r} {self._writer!r}>"

    async def run(self, greeting: Sequence[Output], subprotocol: str | None) -> None:
        """Serve until the connection ends, however it does.

        The answer to the upgrade and the greeting travel together.
        """
        try:
            with self._scope:
                self._leave(Accept(subprotocol, self.accept_seconds))
                self._emit(greeting)
                with self._alive, single():
                    async with trio.open_nursery() as nursery:
                        self.composer.attach(nursery, self._reader.wake)
                        nursery.start_soon(self._reader.run, self._writer.accepted)
                        nursery.start_soon(self._think)
                        nursery.start_soon(self._writer.run)
                        nursery.start_soon(self._ping)
                # Gone, but nobody closes the socket: see `HalfOpen`.
                await trio.sleep_forever()
        finally:
            self._ended(ABNORMAL)
            self.connection.closed = trio.current_time()

    def goodbye(self) -> None:
        """The server goes away: close after what is under way."""
        if self._gone:
            self._scope.cancel()
        else:
            self._hang_up(GOING_AWAY, "the server is going away")

    def wake(self) -> None:
        """More faults were planned."""
        self._reader.wake()

    def _vanish(self) -> None:
        self._gone = True
        self._alive.cancel()

    def _ended(self, code: int, reason: str = "") -> None:
        connection = self.connection
        if connection.close_code is None:
            connection.close_code, connection.close_reason = code, reason

    async def _ping(self) -> None:
        payload = self.connection.index.to_bytes(4, "big")
        while True:
            await trio.sleep(PING_SECONDS)
            if self._silent is None:
                self._leave(Ping(payload))

    # Thinking

    async def _think(self) -> None:
        while True:
            # What is due is done by the task that writes, unless it is held up.
            due = self.connection.machine.deadline() + _SLACK
            await self._reader.wait(min(due, self._next_fault()))
            arriving = self._reader.take()
            if arriving is not None:
                self._arrived(arriving)
            if self._next_fault() <= trio.current_time():
                self._came_of_age()
            self._tick()

    def _arrived_alone(self, arriving: Arriving) -> None:
        self._arrived(arriving)
        self._stepped()

    def _tick(self) -> None:
        machine, now = self.connection.machine, trio.current_time()
        if machine.deadline() <= now:
            self._emit(machine.tick(now))
        self._stepped()

    def _stepped(self) -> None:
        deadline = self.connection.machine.deadline()
        if deadline < self._writer.waits_until:
            self._writer.wake()
        if deadline + _SLACK < self._reader.waits_until:
            self._reader.wake()
        if self._logged:
            logged, self._logged = self._logged, []
            self.on_step(self.connection, logged)

    def _next_fault(self) -> float:
        connection = self.connection
        return connection.opened + self.plan.next_age(connection.index)

    def _came_of_age(self) -> None:
        connection = self.connection
        # NB: not the difference of the two clocks, which may round below the age.
        age = self.plan.next_age(connection.index)
        for action in self.plan.at_age(age, connection.index):
            self._afterwards(action)

    def _arrived(self, arriving: Arriving) -> None:
        match arriving.frame:
            case Text(text):
                self._process(text, again=arriving.again)
            case Binary():
                machine = self.connection.machine
                self._emit(machine.receive_binary(trio.current_time()))
            case Pinged(payload):
                if self._silent is None or self._silent.pongs:
                    self._leave(Pong(payload))
            case Malformed(what):
                self.connection.protocol_errors.append(what)
                self._hang_up(PROTOCOL_ERROR, what[:100])
                self._scope.deadline = trio.current_time() + self.close_timeout
            case Closed(code, reason):
                self._peer_closed(code, reason)
            case Ponged():
                self.connection.pongs += 1

    def _peer_closed(self, code: int, reason: str) -> None:
        self._ended(code, reason)
        if code == ABNORMAL or self._ending:
            self._scope.cancel()
            return
        self._ending = True
        self._leave(Farewell(code, reason))
        # It may read nothing any more, or we may be made not to write.
        way = self.network.one_way + self.network.jitter
        self._scope.deadline = trio.current_time() + way + self.close_timeout

    def _process(self, text: str, *, again: bool) -> None:
        event = _event(text)
        actions: list[Action] = []
        if not again:
            actions = self.plan.at_frame(event, self.connection.index)
        if not (actions or self._held_in):
            self._log("in", event, "")
            self._ask(text, event)
            return
        note = " ".join(type(action).__name__.lower() for action in actions)
        self._log("in", event, note)
        if self._all(self._before_processing, actions, text):
            repeats = 1 + any(isinstance(action, Duplicate) for action in actions)
            for _ in range(repeats):
                self._ask(text, event)
            for action in actions:
                self._afterwards(action)
        if not again:
            self._release(self._held_in, self._reader.again)

    def _ask(self, text: str, event: dict[str, Any]) -> None:
        now = trio.current_time()
        self._emit(self.connection.machine.receive(text, now, event or None))

    def _all(
        self, act: Callable[[Action, str], bool], actions: list[Action], text: str
    ) -> bool:
        """Let everything go wrong that is to; True if the frame itself goes on."""
        stopped = [act(action, text) for action in actions]
        return not any(stopped)

    def _before_processing(self, action: Action, text: str) -> bool:
        """Let it go wrong before the request is processed; True if it is not to be."""
        now = trio.current_time()
        match action:
            case Drop():
                return True
            case Delay(seconds):
                self._reader.again(text, seconds)
                return True
            case Hold(frames):
                self._held_in.append(_Held(frames + 1, text))
                return True
            case Reject(code, message, null_id):
                event_id = None if null_id else _event(text).get("event_id")
                machine = self.connection.machine
                self._emit(machine.reject(code, message, event_id, now))
                return True
            case Close(code, reason, before=True):
                self._hang_up(code, reason)
                return True
            case Expire(message, before=True):
                self._expire(message)
                return True
            case Cut(before=True):
                self._scope.cancel()
                return True
            case HalfOpen(before=True):
                self._vanish()
                return True
            case Silence(before=True):
                self._silent = action
            case Garbage(what, before=True):
                self._babble(what)
        return False

    def _afterwards(self, action: Action) -> None:
        """Let it go wrong behind the frame."""
        match action:
            case Close(code, reason, before=False):
                self._hang_up(code, reason)
            case Expire(message, before=False):
                self._expire(message)
            case Cut(before=False):
                self._stop_with(CutHere())
            case HalfOpen(before=False):
                self._stop_with(VanishHere())
            case Silence(before=False):
                self._silent = action
            case Garbage(what, before=False):
                self._babble(what)
            case Stall(seconds, side):
                if side != "writes":
                    self._reader.stall(seconds)
                if side != "reads":
                    self._leave(Pause(seconds))

    def _stop_with(self, last: Leaving) -> None:
        """Write what is under way, and that; no more is answered."""
        self._leave(last)
        self._ending = True

    def _babble(self, what: BrokenFrame) -> None:
        if self._silent is None and not self._ending:
            self._leave(Bytes(BROKEN_FRAMES[what]))

    def _expire(self, message: str) -> None:
        machine, now = self.connection.machine, trio.current_time()
        for output in machine.reject("session_expired", message, None, now):
            if self._silent is None and not self._ending:
                # Not through the faults: one may wait for errors, and make more.
                event = unstructure(output)
                self._log("out", event, "")
                self._leave(Said(dumps(event)))
        self._hang_up(GOING_AWAY, message)

    # Answering

    def _emit(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Hangup) and output.code == ABNORMAL:
                self._ended(ABNORMAL)
                self._stop_with(CutHere())  # no close frame can say so
            elif isinstance(output, Hangup):
                self._hang_up(output.code, output.reason)
            else:
                self._answer(unstructure(output))

    def _answer(self, event: Mapping[str, Any]) -> None:
        actions = self.plan.at_frame(event, self.connection.index)
        if not (actions or self._held_out or self._silent or self._ending):
            self._log("out", event, "")
            self._leave(Said(dumps(event)))
            return
        note = " ".join(type(action).__name__.lower() for action in actions)
        silencing = next((one for one in actions if isinstance(one, Silence)), None)
        if silencing is not None and silencing.before:
            self._silent = silencing
        if self._silent is not None or self._ending:
            self._log("out", event, f"{note} unsent".strip())
            return
        self._log("out", event, note)
        text = dumps(event)
        if self._all(self._before_sending, actions, text):
            repeats = 1 + any(isinstance(action, Duplicate) for action in actions)
            for _ in range(repeats):
                self._leave(Said(text))
            for action in actions:
                self._afterwards(action)
        self._release(self._held_out, lambda held: self._leave(Said(held)))

    def _before_sending(self, action: Action, text: str) -> bool:
        """Let it go wrong before the answer is sent; True if it is not to be."""
        match action:
            case Drop():
                return True
            case Delay(seconds):
                self._leave(Said(text), seconds)
                return True
            case Hold(frames):
                self._held_out.append(_Held(frames + 1, text))
                return True
            case Reject(code, message, _):
                machine = self.connection.machine
                self._emit(machine.reject(code, message, None, trio.current_time()))
                return True
            case Close(code, reason, before=True, after_bytes=count):
                if count and not self._ending:
                    self._leave(Bytes(beginning_of(text, count)))
                self._hang_up(code, reason)
                return True
            case Expire(message, before=True):
                self._expire(message)
                return True
            case Cut(before=True, after_bytes=count):
                self._leave(Part(text, count))
                self._stop_with(CutHere())
                return True
            case HalfOpen(before=True):
                self._stop_with(VanishHere())
                return True
            case Garbage(what, before=True):
                self._babble(what)
        return False

    def _release(self, held: list[_Held], send: Callable[[str], None]) -> None:
        """Count a frame for those that wait, and send what has waited enough."""
        for one in list(held):
            one.frames -= 1
            if one.frames <= 0:
                held.remove(one)
                send(one.text)

    def _hang_up(self, code: int, reason: str) -> None:
        if not self._ending:
            self._ending = True
            self._ended(code, reason)
            self._leave(Farewell(code, reason))

    def _leave(self, item: Leaving, later: float = 0.0) -> None:
        if self._writer.full:
            self.connection.protocol_errors.append("the client does not read")
            self._scope.cancel()
            return
        self._writer.put(item, later)

    def _log(self, direction: Any, event: Mapping[str, Any], note: str) -> None:
        entry = LogEntry(trio.current_time(), direction, elided(event), note)
        self.connection.note(entry)
        self._logged.append(entry)


def _event(text: str) -> dict[str, Any]:
    """Return the JSON object, or an empty one: the machine will refuse the text."""
    try:
        event = loads(text)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
