"""A provider in memory: the local server's state machine behind a wire that misbehaves.

No WebSocket: a `Wire` is a link, its other end a `Machine`, and between them a
scheduler that delays frames, lets those overtake each other that real servers send in
any order, drops connections, and does what a `Fault` says.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import trio

from trialogue import OpenAIRealtime
from trialogue._codec import dumps, loads
from trialogue.dialects.dialect import Capabilities
from trialogue.dialects.openai.wire import unstructure
from trialogue.dialects.options import SessionOptions
from trialogue.errors import ConnectionLost
from trialogue.realtime.services import open_services
from trialogue.testing.machine import Hangup, Machine, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from trialogue.dialects.dialect import Dialect
    from trialogue.testing import Brain
    from trialogue.testing.machine import Output
    from trialogue.testing.speech import Transcriber

__all__ = ["ANSWERS", "REQUESTS", "Fault", "Provider", "Wire", "WiredModel"]

REQUESTS: Final = (
    "conversation.item.create",
    "conversation.item.delete",
    "conversation.item.truncate",
    "session.update",
    "response.create",
    "response.cancel",
)
ANSWERS: Final = (
    "conversation.item",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.deleted",
    "session.updated",
    "response.created",
    "response.done",
    "response.output_item.done",
    "input_audio_buffer.committed",
    "input_audio_buffer.speech_started",
    "conversation.item.input_audio_transcription.completed",
    "error",
)
"""What can go wrong on the way back. "conversation.item" is both announcements."""
ANNOUNCEMENTS: Final = ("conversation.item.added", "conversation.item.done")
CHANGES: Final = ("conversation.item.create", "conversation.item.delete")


@attrs.frozen
class Fault:
    """What happens to the next frame of a kind.

    "lose" a request, or "reject" it: naming it, quoting its item, or saying nothing
    ("mute"). "swallow" an answer, or bring it "late", or "twice". "cut" the connection
    before the frame is processed, or sent; "cut_after" behind it.
    """

    what: Literal[
        "lose", "reject", "quote", "mute", "swallow", "late", "twice", "cut",
        "cut_after",
    ]  # fmt: skip
    kind: str

    def fits(self, event: dict[str, Any]) -> bool:
        kind = str(event.get("type"))
        if self.kind == "conversation.item":
            return kind in ANNOUNCEMENTS
        return kind == self.kind


@attrs.define(eq=False)
class Entry:
    """A frame as the server's logic saw it, and what a fault made of it."""

    direction: Literal["in", "out"]
    event: dict[str, Any]
    fault: str = ""
    time: float = attrs.field(factory=trio.current_time)


class Provider:
    """All connections of one run, their faults and their schedule."""

    def __init__(
        self,
        brain: Brain,
        transcriber: Transcriber,
        settings: Settings,
        *,
        seed: int,
        most_connections: int = 3,
    ) -> None:
        self.wires: list[Wire] = []
        self.faults: list[Fault] = []
        self.random = random.Random(seed)
        self.calm = seed == 0
        self._most = most_connections
        self._parts = brain, transcriber, settings

    def dial(self) -> Wire:
        brain, transcriber, settings = self._parts
        number = len(self.wires)
        machine = Machine(brain, transcriber, settings, index=number)
        self.wires.append(Wire(self, number, machine))
        return self.wires[-1]

    def fault_for(self, event: dict[str, Any]) -> str:
        """Return, once, what happens to this frame."""
        for fault in self.faults:
            if fault.fits(event):
                if fault.what.startswith("cut") and not self.may_cut:
                    continue
                if fault.kind != "conversation.item" or event["type"].endswith("done"):
                    self.faults.remove(fault)
                return fault.what
        return ""

    @property
    def may_cut(self) -> bool:
        return len(self.wires) < self._most

    @property
    def last(self) -> Wire:
        return self.wires[-1]

    def lag(self, most: float) -> float:
        return 0.01 if self.calm else self.random.uniform(0.001, most)


class Wire:
    """One connection: the client's link, the server's machine, the frames between.

    Attributes:
        log: every frame, in the order in which the server's logic saw them.
        ever: ids of all items that this server ever held.
    """

    def __init__(self, provider: Provider, number: int, machine: Machine) -> None:
        self.number = number
        self.machine = machine
        self.log: list[Entry] = []
        self.gone = False
        self.ever: set[str] = set()
        self.native: set[str] = set()
        self._provider = provider
        self._in: list[tuple[float, int, str]] = []
        self._out: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._lanes: dict[str, float] = {}
        self._late: set[int] = set()
        self._arrived, self._due = trio.Event(), trio.Event()

    # --- the link ------------------------------------------------------------

    async def send(self, *texts: str) -> None:
        for text in texts:
            await trio.lowlevel.checkpoint()
            self._check()
            due = self._after("in", self._provider.lag(0.1))
            heapq.heappush(self._in, (due, next(self._numbers), text))
            self._due.set()

    async def receive_many(self) -> list[str]:
        return [await self.receive()]

    async def receive(self) -> str:
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            now = trio.current_time()
            if self._out and self._out[0][0] <= now:
                return heapq.heappop(self._out)[2]
            self._arrived = trio.Event()
            with trio.CancelScope(deadline=self._out[0][0] if self._out else math.inf):
                await self._arrived.wait()

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check()

    def _check(self) -> None:
        if self.gone:
            raise ConnectionLost("the wire was cut")

    def report(self, code: str) -> None:
        """The server tells of an error that nothing asked for."""
        now = trio.current_time()
        self._emit(self.machine.reject(code, "No more.", None, now))
        self._due.set()

    def cut(self) -> None:
        """The connection is gone, and all that is on its way."""
        self.gone = True
        self._arrived.set()
        self._due.set()

    # --- the server ----------------------------------------------------------

    async def serve(self) -> None:
        now = trio.current_time()
        self._emit(self.machine.open(now, model="gpt-realtime", key="key"))
        while not self.gone:
            following = self._in[0][0] if self._in else math.inf
            self._due = trio.Event()
            deadline = min(following, self.machine.deadline())
            with trio.CancelScope(deadline=deadline):
                await self._due.wait()
            now = trio.current_time()
            self._emit(self.machine.tick(now))
            while self._in and self._in[0][0] <= now and not self.gone:
                self._process(heapq.heappop(self._in)[2])

    def _process(self, text: str) -> None:
        event, now = loads(text), trio.current_time()
        fault = self._provider.fault_for(event)
        self.log.append(Entry("in", event, fault))
        if fault == "cut":
            self.cut()
        elif fault in {"reject", "quote", "mute"}:
            self._emit(self._refusal(fault, event))
        elif fault not in {"lose", "swallow"}:
            if event["type"] in CHANGES:
                self._catch_up()
            for _ in range(1 + (fault == "twice")):
                self._emit(self.machine.receive(text, now))
            if fault == "cut_after":
                self.cut()

    def _refusal(self, how: str, event: dict[str, Any]) -> list[Output]:
        item = event.get("item_id") or event.get("item", {}).get("id")
        about = f" (with id '{item}')" if item and how == "quote" else ""
        message = f"The server had an error{about}."
        name = event.get("event_id") if how == "reject" else None
        now = trio.current_time()
        return self.machine.reject("server_error", message, name, now)

    def _emit(self, outputs: Sequence[Output]) -> None:
        self._look()
        for output in outputs:
            if isinstance(output, Hangup):
                self.cut()
                return
            event: dict[str, Any] = unstructure(output)
            fault = self._provider.fault_for(event)
            self.log.append(Entry("out", event, fault))
            if fault == "cut":
                self.cut()
            if self.gone:
                return
            for _ in range((fault not in {"swallow", "lose"}) + (fault == "twice")):
                self._answer(event, late=1.5 if fault == "late" else 0.0)
            if fault == "cut_after":
                self.cut()

    def _look(self) -> None:
        for held in self.machine.conversation:
            self.ever.add(held.id)

    def _answer(self, event: dict[str, Any], late: float) -> None:
        lag = self._provider.lag(0.1)
        lane = self._lane(event)
        number = next(self._numbers)
        if late:
            due = trio.current_time() + lag + late
            if str(event["type"]) in ANNOUNCEMENTS:
                self._late.add(number)
        elif lane == "main":
            due = self._after("main", lag)
        elif lane == "response":
            # It may fall behind the answers to requests, and never overtakes them.
            floor = self._lanes.get("main", 0.0)
            due = self._after("response", self._provider.lag(0.2), floor)
        elif lane == "barrier":
            floor = self._lanes.get("response", 0.0)
            due = self._lanes["response"] = self._after("main", lag, floor)
        else:
            due = self._after(lane, self._provider.lag(2.0))
        heapq.heappush(self._out, (due, number, dumps(event)))
        self._arrived.set()

    def _catch_up(self) -> None:
        """No server changes its items before it has told of those that it has."""
        for at, (due, number, text) in enumerate(self._out):
            if number in self._late:
                self._out[at] = (min(due, self._after("main", 0.0)), number, text)
        self._late.clear()
        heapq.heapify(self._out)
        self._arrived.set()

    @staticmethod
    def _lane(event: dict[str, Any]) -> str:
        kind = str(event["type"])
        if "transcription" in kind:
            return str(event["item_id"])
        if kind.startswith("response."):
            return "response"
        if kind in {"session.updated", "error"}:
            return "barrier"
        return kind if kind.startswith("rate_limits") else "main"

    def _after(self, lane: str, lag: float, floor: float = 0.0) -> float:
        due = max(trio.current_time() + lag, self._lanes.get(lane, 0.0), floor)
        self._lanes[lane] = due
        return due


@attrs.frozen
class WiredModel:
    """OpenAI's dialect over wires of a provider in memory."""

    provider: Provider
    options: SessionOptions = attrs.field(factory=lambda: OpenAIRealtime().options)
    capabilities: Capabilities = attrs.field(factory=Capabilities)
    name: str = "gpt-realtime"

    def dialect(self) -> Dialect:
        return OpenAIRealtime().dialect()

    @asynccontextmanager
    async def open_link(
        self,
        *,
        connect_timeout: float,
        close_timeout: float,
        drain: Callable[[], Awaitable[None]] | None = None,
        max_message_size: int = 16 * 2**20,
    ) -> AsyncIterator[tuple[Any, trio.Nursery]]:
        wire = self.provider.dial()

        async def farewell() -> None:
            if drain is not None and not wire.gone:
                await drain()

        try:
            async with open_services(farewell, allowance=close_timeout) as service:
                service.start_soon(wire.serve)
                yield wire, service
        finally:
            wire.cut()
