"""One connection as it runs: a stream, a delay line each way, the machine between.

Four tasks: one reads frames into the inbound line, one takes them out when they have
arrived and runs the machine, one writes what has come out of the outbound line, and one
pings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import trio

from trialogue._codec import dumps, loads
from trialogue.dialects.openai.wire import unstructure
from trialogue.realtime.unwrapping import single
from trialogue.testing.connection import Connection, LogEntry, elided
from trialogue.testing.faults import (
    Action,
    Close,
    Cut,
    Delay,
    Drop,
    Duplicate,
    FaultPlan,
    Hold,
    Reject,
    Silence,
    Stall,
)
from trialogue.testing.machine import Hangup, Output
from trialogue.testing.network import DelayLine, Network
from trialogue.testing.websocket import (
    Binary,
    Closed,
    Frame,
    Malformed,
    Pinged,
    Ponged,
    ServerSocket,
    Text,
)

__all__ = ["Peer"]

PING_SECONDS: Final = 20.0
PROTOCOL_ERROR: Final = 1002
_SLACK: Final = 1.0
"""Seconds for which what is due is left to the task that writes."""
GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006


@attrs.frozen
class _Arriving:
    """A frame on its way in; `again` means that its faults have happened."""

    frame: Frame
    again: bool = False


@attrs.frozen
class _Send:
    """A text on its way out, or its first bytes."""

    text: str
    bytes: int | None = None


@attrs.frozen
class _Pong:
    payload: bytes


@attrs.frozen
class _Ping:
    payload: bytes


@attrs.frozen
class _Accept:
    subprotocol: str | None


class _CutHere:
    """The connection drops when this arrives."""


_Leaving: TypeAlias = _Accept | _Send | _Pong | _Ping | Hangup | _CutHere


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
    """

    connection: Connection
    socket: ServerSocket
    network: Network
    plan: FaultPlan
    on_step: Callable[[Connection, Sequence[LogEntry]], None]
    close_timeout: float
    _inbound: DelayLine[_Arriving] = attrs.field(factory=DelayLine, init=False)
    _outbound: DelayLine[_Leaving] = attrs.field(factory=DelayLine, init=False)
    _accepted: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _room: trio.Event = attrs.field(factory=trio.Event, init=False)
    _thinks_at: float = attrs.field(default=math.inf, init=False)
    _writes_at: float = attrs.field(default=-math.inf, init=False)
    _read_again: float = attrs.field(default=0.0, init=False)
    _silent: Silence | None = attrs.field(default=None, init=False)
    _ending: bool = attrs.field(default=False, init=False)
    _held_out: list[_Held] = attrs.field(factory=list, init=False)
    _held_in: list[_Held] = attrs.field(factory=list, init=False)
    _logged: list[LogEntry] = attrs.field(factory=list, init=False)

    def __repr__(self) -> str:
        return f"<Peer {self.connection!r} in={len(self._inbound)}>"

    async def run(self, greeting: Sequence[Output], subprotocol: str | None) -> None:
        """Serve until the connection ends, however it does.

        The answer to the upgrade and the greeting travel together.
        """
        try:
            with self._scope:
                self._leave(_Accept(subprotocol))
                self._emit(greeting)
                with single():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._read)
                        nursery.start_soon(self._think)
                        nursery.start_soon(self._write)
                        nursery.start_soon(self._ping)
        finally:
            self._ended(ABNORMAL)
            self.connection.closed = trio.current_time()

    def goodbye(self) -> None:
        """The server goes away: close after what is under way."""
        self._hang_up(GOING_AWAY, "the server is going away")

    def _ended(self, code: int, reason: str = "") -> None:
        connection = self.connection
        if connection.close_code is None:
            connection.close_code, connection.close_reason = code, reason

    # Reading

    async def _read(self) -> None:
        await self._accepted.wait()
        while True:
            await self._stalled()
            frame = await self.socket.receive()
            await self._stalled()
            if self._is_near():
                self._arrived(_Arriving(frame))
                self._stepped()
            else:
                due = trio.current_time() + self.network.one_way
                self._inbound.put(_Arriving(frame), due)
            if isinstance(frame, (Closed, Malformed)):
                return
            while self._inbound.full:
                self._room = trio.Event()
                await self._room.wait()

    async def _stalled(self) -> None:
        if self._read_again and self._read_again > trio.current_time():
            await trio.sleep_until(self._read_again)

    def _is_near(self) -> bool:
        """Whether a frame has arrived as soon as it is read, and is alone.

        Then it need not wake the task that thinks. Of many at once each is a turn of
        that task's, so that a client cannot have the server to itself.
        """
        return not (self.network.one_way or len(self._inbound) or self.socket.unread)

    async def _ping(self) -> None:
        payload = self.connection.index.to_bytes(4, "big")
        while True:
            await trio.sleep(PING_SECONDS)
            if self._silent is None:
                self._leave(_Ping(payload))

    # Thinking

    async def _think(self) -> None:
        machine = self.connection.machine
        while True:
            self._thinks_at = machine.deadline() + _SLACK
            await self._inbound.wait(self._thinks_at)
            arriving = self._inbound.take()
            if not self._room.is_set():
                self._room.set()
            if arriving is not None:
                self._arrived(arriving)
            self._tick()

    def _tick(self) -> None:
        machine, now = self.connection.machine, trio.current_time()
        if machine.deadline() <= now:
            self._emit(machine.tick(now))
        self._stepped()

    def _stepped(self) -> None:
        deadline = self.connection.machine.deadline()
        if deadline < self._writes_at:
            self._outbound.wake()
        if deadline + _SLACK < self._thinks_at:
            self._inbound.wake()
        if self._logged:
            logged, self._logged = self._logged, []
            self.on_step(self.connection, logged)

    def _arrived(self, arriving: _Arriving) -> None:
        match arriving.frame:
            case Text(text):
                self._process(text, again=arriving.again)
            case Binary():
                machine = self.connection.machine
                self._emit(machine.receive_binary(trio.current_time()))
            case Pinged(payload):
                if self._silent is None or self._silent.pongs:
                    self._leave(_Pong(payload))
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
        self._leave(Hangup(code, reason))

    def _process(self, text: str, *, again: bool) -> None:
        event = _event(text)
        actions: list[Action] = []
        if not again:
            actions = self.plan.at_frame(event, self.connection.index)
        note = " ".join(type(action).__name__.lower() for action in actions)
        self._log("in", event, note)
        if self._all(self._before_processing, actions, text):
            repeats = 1 + any(isinstance(action, Duplicate) for action in actions)
            for _ in range(repeats):
                now = trio.current_time()
                self._emit(self.connection.machine.receive(text, now, event or None))
            for action in actions:
                self._afterwards(action)
        if not again:
            self._release(self._held_in, self._redo)

    def _all(
        self, act: Callable[[Action, str], bool], actions: list[Action], text: str
    ) -> bool:
        """Let everything go wrong that is to; True if the frame itself goes on."""
        stopped = [act(action, text) for action in actions]
        return not any(stopped)

    def _redo(self, text: str) -> None:
        self._inbound.put(_Arriving(Text(text), again=True), trio.current_time())

    def _before_processing(self, action: Action, text: str) -> bool:
        """Let it go wrong before the request is processed; True if it is not to be."""
        now = trio.current_time()
        match action:
            case Drop():
                return True
            case Delay(seconds):
                self._inbound.put(_Arriving(Text(text), again=True), now + seconds)
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
            case Cut(before=True):
                self._scope.cancel()
                return True
            case Silence(before=True):
                self._silent = action
        return False

    def _afterwards(self, action: Action) -> None:
        """Let it go wrong behind the frame."""
        match action:
            case Close(code, reason, before=False):
                self._hang_up(code, reason)
            case Cut(before=False):
                self._leave(_CutHere())
                self._ending = True
            case Silence(before=False):
                self._silent = action
            case Stall(seconds):
                self._read_again = trio.current_time() + seconds

    # Answering

    def _emit(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Hangup):
                self._hang_up(output.code, output.reason)
            else:
                self._answer(unstructure(output))

    def _answer(self, event: Mapping[str, Any]) -> None:
        actions = self.plan.at_frame(event, self.connection.index)
        if not (actions or self._held_out or self._silent or self._ending):
            self._log("out", event, "")
            self._leave(_Send(dumps(event)))
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
                self._leave(_Send(text))
            for action in actions:
                self._afterwards(action)
        self._release(self._held_out, lambda held: self._leave(_Send(held)))

    def _before_sending(self, action: Action, text: str) -> bool:
        """Let it go wrong before the answer is sent; True if it is not to be."""
        match action:
            case Drop():
                return True
            case Delay(seconds):
                self._leave(_Send(text), seconds)
                return True
            case Hold(frames):
                self._held_out.append(_Held(frames + 1, text))
                return True
            case Reject(code, message, _):
                machine = self.connection.machine
                self._emit(machine.reject(code, message, None, trio.current_time()))
                return True
            case Close(code, reason, before=True):
                self._hang_up(code, reason)
                return True
            case Cut(before=True, after_bytes=count):
                self._leave(_Send(text, count))
                self._leave(_CutHere())
                self._ending = True
                return True
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
            self._leave(Hangup(code, reason))

    def _leave(self, item: _Leaving, later: float = 0.0) -> None:
        if self._outbound.full:
            self.connection.protocol_errors.append("the client does not read")
            self._scope.cancel()
            return
        due = trio.current_time() + self.network.one_way + later
        self._outbound.put(item, due)

    def _log(self, direction: Any, event: Mapping[str, Any], note: str) -> None:
        entry = LogEntry(trio.current_time(), direction, elided(event), note)
        self.connection.note(entry)
        self._logged.append(entry)

    # Writing

    async def _write(self) -> None:
        while True:
            item = self._outbound.take()
            match item:
                case None:
                    # It ticks as well, so as not to be woken to write what comes of it;
                    # `_think` does where this task is held up by a slow client.
                    self._writes_at = self.connection.machine.deadline()
                    await self._outbound.wait(self._writes_at)
                    self._writes_at = -math.inf
                    self._tick()
                case _Accept(subprotocol):
                    await self.socket.accept(subprotocol)
                    self._accepted.set()
                case _Send(text, None):
                    await self.socket.send_text(text, *self._rest_of_texts())
                case _Send(text, int(count)):
                    await self.socket.send_part(text, count)
                case _Pong(payload):
                    await self.socket.send_pong(payload)
                case _Ping(payload):
                    await self.socket.send_ping(payload)
                case Hangup(code, reason):
                    await self._farewell(code, reason)
                case _CutHere():
                    self._scope.cancel()

    def _rest_of_texts(self) -> Iterator[str]:
        """Take what else leaves now and is text, so that it travels in one piece."""
        while (
            isinstance(first := self._outbound.first(), _Send) and first.bytes is None
        ):
            self._outbound.take()
            yield first.text

    async def _farewell(self, code: int, reason: str) -> None:
        """Send a close frame; the connection ends with its answer, or without."""
        first = self.socket.open
        await self.socket.send_close(
            code, reason.encode()[:120].decode("utf-8", "ignore")
        )
        if first:
            await trio.sleep(self.close_timeout)
        self._scope.cancel()


def _event(text: str) -> dict[str, Any]:
    """Return the JSON object, or an empty one: the machine will refuse the text."""
    try:
        event = loads(text)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
