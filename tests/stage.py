"""A stage for conversations in memory: server, session and loudspeaker, virtual time.

Used by the tests of sessions and agents. Everything runs under MockClock with autojump;
nothing here knows private state.
"""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trialogue import Agent, Handoff, OpenAIRealtime, RunContext, function_tool
from trialogue.agents.opening import open_agent_session
from trialogue.agents.session import AgentSession
from trialogue.audio import MemoryInput, MemoryOutput
from trialogue.realtime.opening import open_session
from trialogue.testing import RealtimeServer, Turn, quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialogue.realtime.session import RealtimeSession
    from trialogue.testing import Brain, LogEntry

__all__ = [
    "KELLY",
    "SUNNY",
    "Greeter",
    "Line",
    "Prompted",
    "Stage",
    "Weather",
    "collecting",
    "model_of",
    "on_stage",
    "outputs",
    "prompted",
    "realtime_stage",
    "running",
    "speak",
    "transferring_brain",
    "until",
]

PROMPT = "Use your tools."
KELLY = "You are Kelly, a friendly greeter."
SUNNY = "You are Sunny, a weather specialist."


class Weather(Agent):
    """Speaks first, then answers."""

    instructions = SUNNY

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Introduce yourself.")

    @function_tool
    async def lookup_weather(self, ctx: RunContext, location: str) -> str:
        """Look up the weather."""
        return f"It is sunny in {location}."

    @function_tool
    async def transfer_to_greeter(self, ctx: RunContext) -> Agent:
        """Transfer back to the greeter."""
        return Greeter()


class Greeter(Agent):
    """Waits for the user, and hands over when the model calls its tool."""

    instructions = KELLY

    @function_tool
    async def transfer_to_weather(self, ctx: RunContext) -> Agent | Handoff:
        """Transfer to the weather specialist."""
        return Weather()


def transferring_brain(turn: Turn) -> Any:
    """Kelly transfers when asked about the weather; everybody else just talks."""
    from trialogue.testing import Call, Say

    asked = "weather" in turn.user_text.lower() or "transfer" in turn.user_text.lower()
    if "Kelly" in turn.instructions and asked and turn.output is None:
        return [Say("One moment."), Call("transfer_to_weather")]
    if "Sunny" in turn.instructions and "back" in turn.user_text and not turn.output:
        return [Call("transfer_to_greeter")]
    name = "Sunny" if "Sunny" in turn.instructions else "Kelly"
    return Say(f"{name} speaking.")


def model_of(server: RealtimeServer, **options: Any) -> OpenAIRealtime:
    """Return a model that is served by this server, in memory."""
    usual: dict[str, Any] = {
        "api_key": "sk-test-key",
        "base_url": "ws://localhost/v1/realtime",
        "connect": server.connect,
    }
    return OpenAIRealtime("gpt-realtime", **(usual | options))


@attrs.define(eq=False)
class Stage:
    """What a test sees: the server, the session, the microphone, the loudspeaker."""

    server: RealtimeServer
    session: AgentSession
    output: MemoryOutput
    microphone: MemoryInput | None
    events: list[Any]

    def heard(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return (instructions, tool names) of each 10 ms that was played, in order."""
        return [
            (instructions, tools)
            for _, instructions, tools in self.server.heard(self.output.pcm)
        ]

    def heard_under(self) -> list[str]:
        """Return the instructions of what was played, without repeats in a row."""
        order: list[str] = []
        for instructions, _ in self.heard():
            if not order or order[-1] != instructions:
                order.append(instructions)
        return order

    def sent(self, kind: str | None = None, connection: int = -1) -> list[LogEntry]:
        """Return what the client sent on a connection (audio aside), in order."""
        entries = self.server.connections[connection].entries
        return [
            entry
            for entry in entries
            if entry.direction == "in"
            and entry.type != "input_audio_buffer.append"
            and kind in (None, entry.type)
        ]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def collecting(
    session: AgentSession | RealtimeSession,
) -> AsyncIterator[list[Any]]:
    """Collect every event of a session."""
    events: list[Any] = []

    async def collect(  # noqa: ASYNC114 - started in one place, with start()
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with session.subscribe(buffer=100_000) as subscription:
            task_status.started()
            async for event in subscription:
                events.append(event)  # noqa: PERF401 - readable while it grows

    async with trio.open_nursery() as nursery:
        await nursery.start(collect)
        yield events
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def on_stage(
    brain: Brain = transferring_brain,
    *,
    microphone: bool = False,
    server: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **session: Any,
) -> AsyncIterator[Stage]:
    """Serve, and open an agent session on the server."""
    async with RealtimeServer(brain, **(server or {})).serving() as serving:
        output = MemoryOutput()
        source = MemoryInput() if microphone else None
        async with open_agent_session(
            model_of(serving, **(model or {})), audio=(source, output), **session
        ) as agents:
            stage = Stage(serving, agents, output, source, [])
            async with collecting(agents) as stage.events:
                yield stage


@asynccontextmanager
async def realtime_stage(
    brain: Brain = transferring_brain,
    *,
    server: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **session: Any,
) -> AsyncIterator[tuple[RealtimeServer, RealtimeSession]]:
    """Serve, and open a realtime session without agents on the server."""
    async with (
        RealtimeServer(brain, **(server or {})).serving() as serving,
        open_session(model_of(serving, **(model or {})), **session) as realtime,
    ):
        yield serving, realtime


async def speak(microphone: MemoryInput, pcm: bytes, silence_ms: int = 1000) -> None:
    """Say something into the microphone at real-time pace, then be silent."""
    pcm += quiet(silence_ms)
    began = trio.current_time()
    for at in range(0, len(pcm), 960):
        await microphone.send(pcm[at : at + 960])
        await trio.sleep_until(began + (at + 960) / 48_000)


class Line:
    """A telephone line into a microphone: words at planned moments, else silence.

    `run` carries it at real-time pace, 20 ms at a time, for as long as the test lasts.
    """

    def __init__(self, microphone: MemoryInput) -> None:
        self._microphone = microphone
        self._began = trio.current_time()
        self._sound = bytearray()

    def say(self, pcm: bytes, at: float | None = None) -> float:
        """Plan words to begin at a moment (now by default); return when they end."""
        at = trio.current_time() if at is None else at
        first = round((at - self._began) * 24_000) * 2
        missing = first + len(pcm) - len(self._sound)
        self._sound += bytes(max(0, missing))
        self._sound[first : first + len(pcm)] = pcm
        return at + len(pcm) / 48_000

    async def run(self) -> None:
        """Carry the line until cancelled."""
        for frame in itertools.count():
            await trio.sleep_until(self._began + (frame + 1) * 0.02)
            pcm = bytes(self._sound[frame * 960 : frame * 960 + 960])
            self._microphone.push(pcm.ljust(960, b"\0"))


async def until(predicate: Any, seconds: float = 60.0) -> None:
    """Wait, in virtual time, until something is true; fail after a while."""
    with trio.fail_after(seconds):
        # The predicate may be about anything, the server's log for one.
        while not predicate():  # noqa: ASYNC110 - nothing tells when it changes
            await trio.sleep(0.005)


@asynccontextmanager
async def running(
    stage: Stage, agent: Agent, seconds: float = 120.0
) -> AsyncIterator[None]:
    """Run an agent beside the block; then end the conversation and wait for it."""
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, agent)
            yield
            stage.session.end()


class Prompted(Agent):
    """Asks for one reply when it enters; what it is given is up to the brain."""

    instructions = "You are Kelly, and you have tools."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions=PROMPT)


def prompted(*parts: Any, then: str = "Done.") -> Brain:
    """Reply to the prompt of `Prompted` with these parts, to all else with words."""

    def brain(turn: Turn) -> Any:
        return list(parts) if turn.override and PROMPT in turn.override else then

    return brain


def outputs(stage: Stage, connection: int = -1) -> list[tuple[str, str]]:
    """Return (call id, output) of every call that the client answered, in order."""
    sent = stage.sent("conversation.item.create", connection)
    items = [entry.event["item"] for entry in sent]
    return [
        (item["call_id"], item["output"])
        for item in items
        if item["type"] == "function_call_output"
    ]
