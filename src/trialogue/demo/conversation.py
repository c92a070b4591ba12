"""The demo's conversation: a recorded caller, two agents, and a line for each thing."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import trio

from trialogue import open_agent_session
from trialogue.agents.events import (
    AgentTranscript,
    HandoffCompleted,
    HandoffFailed,
    HandoffMeasured,
    HandoffTimings,
    ToolFinished,
    ToolStarted,
)
from trialogue.audio import SAMPLE_WIDTH, MemoryOutput, PcmInput
from trialogue.demo.agents import Greeter
from trialogue.demo.recording import write_record, write_stereo
from trialogue.demo.speech import caller_pcm
from trialogue.realtime.notices import ConnectionEnded, ReplyEnded, UserTranscript
from trialogue.realtime.unwrapping import single

if TYPE_CHECKING:
    from pathlib import Path

    from trialogue import AgentSession, RealtimeModel
    from trialogue.realtime.broadcast import Subscription

__all__ = ["Line", "converse"]

_KINDS = (
    AgentTranscript,
    ConnectionEnded,
    HandoffCompleted,
    HandoffFailed,
    HandoffMeasured,
    ReplyEnded,
    ToolFinished,
    ToolStarted,
    UserTranscript,
)


@attrs.frozen
class Line:
    """One thing that happened.

    Attributes:
        at: seconds since the conversation began.
        who: "caller", an agent's name, "tool", "handoff" or "session".
        text: what was said, or what happened.
    """

    at: float
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.at:5.1f} s  {self.who:<8} {self.text}"


Tell: TypeAlias = Callable[[Line], None]


async def converse(
    model: RealtimeModel,
    tell: Tell,
    *,
    muted: Collection[str] = (),
    recording: Path | None = None,
    record: Path | None = None,
) -> None:
    """Hold the conversation to its end; about half a minute on a real clock.

    Args:
        model: whom the agents are played by.
        tell: is given each line when it happens.
        muted: clips of the caller that are silent, see `caller_pcm`.
        recording: a stereo WAV file to write, caller left and agents right, also if the
            conversation was cut short.
        record: a file for the conversation's record: a page, or JSON if its name ends
            in ".json"; also if the conversation was cut short.

    Raises:
        ConfigurationError: a file cannot be written; nothing was sent.
        TrialogueError: the session failed.
    """
    pcm = caller_pcm(muted)
    caller, agents = PcmInput(pcm), MemoryOutput()
    if recording is not None:
        write_stereo(recording, b"", None, agents)  # find out now whether it can be
    if record is not None:
        write_record(record, None)
    session: AgentSession[None] | None = None
    narrator = _Narrator(tell, trio.current_time())
    try:
        with single():
            async with (
                open_agent_session(model, audio=(caller, agents)) as session,
                session.subscribe(*_KINDS) as events,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(narrator.follow, events)
                await session.run(Greeter())
                nursery.cancel_scope.cancel()
                narrator.catch_up(events)
    finally:
        if record is not None and session is not None:
            write_record(record, session.report())
        if recording is not None:
            said = pcm[: caller.position * SAMPLE_WIDTH]
            write_stereo(recording, said, caller.started_at, agents)


class _Narrator:
    """Makes lines of events."""

    def __init__(self, tell: Tell, began: float) -> None:
        self._tell = tell
        self._began = began
        self._speaker = ""
        self._item: str | None = None
        self._words = ""
        self._calls: dict[str, tuple[float, str]] = {}

    async def follow(self, events: Subscription[Any]) -> None:
        async for event in events:
            self._hear(event)

    def catch_up(self, events: Subscription[Any]) -> None:
        """Tell what has happened and was not told yet."""
        while True:
            try:
                self._hear(events.receive_nowait())
            except trio.WouldBlock:
                return

    def _say(self, who: str, text: str) -> None:
        self._tell(Line(trio.current_time() - self._began, who, text))

    def _hear(self, event: object) -> None:
        match event:
            case UserTranscript(text=text, final=True):
                self._say("caller", text or "[unintelligible]")
            case AgentTranscript():
                self._collect(event)
            case ReplyEnded(outcome=outcome, agent=agent):
                self._flush()
                if outcome.outcome not in ("completed", "superseded"):
                    self._say(agent or "session", f"[{outcome.outcome}]")
            case ToolStarted():
                self._flush()
                now = trio.current_time()
                self._calls[event.call_id] = (now, _arguments(event.arguments))
            case ToolFinished():
                self._finished(event)
            case HandoffCompleted(timings=timings) | HandoffMeasured(timings=timings):
                if None not in (timings.acknowledged, timings.first_audio):
                    self._say("handoff", _handoff(timings))
            case HandoffFailed(message=message):
                self._say("handoff", message)
            case ConnectionEnded(will_retry=True, message=message):
                self._say("session", f"the connection was lost: {message}")

    def _collect(self, event: AgentTranscript) -> None:
        if event.item_id != self._item:
            self._flush()
        self._item = event.item_id
        self._speaker = event.agent or "agent"
        self._words += event.text

    def _flush(self) -> None:
        words, self._words, self._item = self._words.strip(), "", None
        if words:
            self._say(self._speaker, words)

    def _finished(self, event: ToolFinished) -> None:
        self._flush()
        now = trio.current_time()
        started, arguments = self._calls.pop(event.call_id, (now, ""))
        took = (now - started) * 1000
        call = f"{event.tool}({arguments}) -> {event.output}"
        self._say("tool", f"{call} [{took:.1f} ms]")


def _arguments(text: str) -> str:
    try:
        given = json.loads(text or "{}")
    except ValueError:
        return text
    if not isinstance(given, dict):
        return text
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in given.items())


def _handoff(timings: HandoffTimings) -> str:
    def since_decided(moment: float | None) -> float:
        return 0.0 if moment is None else (moment - timings.committed) * 1000

    way = "same session" if timings.reused else "fresh connection"
    return (
        f"{timings.previous} -> {timings.next}, {way}: "
        f"agreed after {since_decided(timings.acknowledged):.1f} ms, "
        f"first audio after {since_decided(timings.first_audio):.1f} ms"
    )
