"""The program on trialogue: ``python program.py URL ROW FOLDER``.

It is told what to do by lines of JSON on its standard input, says how much it has
played, and writes what it has seen to ``client.json``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.cast import (
    COMPLAINTS,
    DESK,
    FRAME_MS,
    REFUNDS,
    SLOW_SECONDS,
    THREAD_SECONDS,
)
from faults.microphone import Microphone
from faults.rows import Row, row_of
from leftovers import tasks
from trialogue import (
    Agent,
    Handoff,
    OpenAIRealtime,
    function_tool,
    open_agent_session,
)
from trialogue.audio import MemoryInput, MemoryOutput
from trialogue.events import (
    AgentEntered,
    ConnectionEnded,
    ErrorNotice,
    HandoffFailed,
    HandoffStarted,
    ToolStalled,
)

if TYPE_CHECKING:
    from trialogue.agents.session import AgentSession

__all__ = ["main"]


class Refunds(Agent):
    """Takes over, and speaks first."""

    name = "refunds"
    instructions = REFUNDS


class Complaints(Agent):
    """Nobody asks for it, but the program."""

    name = "complaints"
    instructions = COMPLAINTS


class Desk(Agent):
    """Answers, and hands over."""

    name = "desk"
    instructions = DESK

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row

    @function_tool
    async def transfer_to_refunds(self) -> Agent | Handoff:
        """Transfer to whoever gives money back."""
        if self.row.variant == "slow":
            await trio.sleep(SLOW_SECONDS)
        return Refunds()

    @function_tool
    async def transfer_to_complaints(self) -> Agent | Handoff:
        """Transfer to whoever hears complaints."""
        return Complaints()

    @function_tool
    async def look_up(self) -> str:
        """Look something up, for a long time."""
        if self.row.variant == "thread":
            await trio.to_thread.run_sync(threading.Event().wait, THREAD_SECONDS)
        else:
            await trio.sleep(THREAD_SECONDS)
        return "nothing was found"


@attrs.define(eq=False)
class Program:
    """What is noted of the session, and its microphone and loudspeaker."""

    row: Row
    microphone: Microphone
    agents: list[tuple[float, str]] = attrs.field(factory=list)
    told: list[str] = attrs.field(factory=list)
    error: str | None = None
    failed: bool = False
    asked_to_leave: float | None = None
    left: float | None = None
    source: MemoryInput = attrs.field(factory=MemoryInput)
    output: MemoryOutput = attrs.field(factory=MemoryOutput)

    async def hold(self, url: str) -> None:
        """Hold the conversation, until it is over or the program is told to leave."""
        fresh = self.row.variant == "fresh"
        model = OpenAIRealtime(
            "gpt-realtime",
            api_key="local",
            base_url=url,
            capabilities={"mutable_instructions": False} if fresh else None,
        )
        try:
            async with (
                open_agent_session(model, audio=(self.source, self.output)) as session,
                trio.open_nursery() as nursery,
            ):
                await nursery.start(self.listen, session)
                nursery.start_soon(self.speak)
                nursery.start_soon(self.show)
                nursery.start_soon(self.obey, session, nursery)
                await session.run(Desk(self.row))
                nursery.cancel_scope.cancel()
        except Exception as error:
            self.error = name_of(error)
        self.left = time.monotonic()

    async def listen(  # noqa: ASYNC114 - started in one place, with start()
        self, session: AgentSession, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Note what the program is told."""
        async with session.subscribe(buffer=100_000) as events:
            task_status.started()
            async for event in events:
                self.note(event)

    def note(self, event: object) -> None:
        """Note who is current, and what sounds like an error."""
        now = time.monotonic()
        match event:
            case AgentEntered(agent=agent) | HandoffStarted(next=agent):
                self.agents.append((now, agent))
            case HandoffFailed(previous=agent):
                self.agents.append((now, agent or ""))
                self.failed = True
        match event:
            case HandoffFailed():
                self.told.append("HandoffFailed")
            case ConnectionEnded(will_retry=True):
                self.told.append("ConnectionEnded")
            case ErrorNotice(code=code):
                self.told.append(f"ErrorNotice({code})")
            case ToolStalled():
                self.told.append("ToolStalled")

    async def speak(self) -> None:
        """Be the microphone."""
        began = trio.current_time()
        while True:
            await trio.sleep_until(
                began + self.microphone.frames * FRAME_MS / 1000 + FRAME_MS / 1000
            )
            self.source.push(self.microphone.next())

    async def show(self) -> None:
        """Say how much has been played."""
        shown = -1
        while True:
            if self.output.played != shown:
                shown = self.output.played
                print(json.dumps({"played": shown / 24_000}), flush=True)
            await trio.sleep(0.05)

    async def obey(self, session: AgentSession, nursery: trio.Nursery) -> None:
        """Do what is written."""
        print(json.dumps({"ready": True}), flush=True)
        rest = b""
        async with trio.lowlevel.FdStream(0) as stdin:
            async for data in stdin:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.do(json.loads(line), session, nursery)

    def do(
        self, order: dict[str, Any], session: AgentSession, nursery: trio.Nursery
    ) -> None:
        """Speak, hand over, or leave."""
        if "say" in order:
            self.microphone.say(order["say"])
        elif "hand over" in order:
            session.handoff_soon(Complaints())
        else:
            self.asked_to_leave = time.monotonic()
            nursery.cancel_scope.cancel()

    def report(self, tasks_left: int, folder: Path) -> None:
        """Write down what there is to know."""
        offset = time.monotonic() - trio.current_time()
        (folder / "played.pcm").write_bytes(self.output.pcm)
        report = {
            "agents": self.agents,
            "failed": self.failed,
            "told": self.told,
            "error": self.error,
            "said": self.microphone.said,
            "frames": self.microphone.frames,
            "asked_to_leave": self.asked_to_leave,
            "left": self.left,
            "tasks": tasks_left,
            "runs": [[run.time + offset, len(run.pcm)] for run in self.output.runs],
        }
        (folder / "client.json").write_text(json.dumps(report))


def name_of(error: BaseException) -> str:
    """Return the name of an error's type; of a group, those of what is in it."""
    if isinstance(error, BaseExceptionGroup):
        names = sorted({name_of(one) for one in error.exceptions})
        return f"{type(error).__name__}({', '.join(names)})"
    return type(error).__name__


async def main(url: str, row: Row, folder: Path) -> None:
    """Hold the conversation of one row, and report."""
    before = tasks()
    program = Program(row, Microphone())
    await program.hold(url)
    left = tasks() - before
    program.report(left, folder)


if __name__ == "__main__":
    trio.run(partial(main, sys.argv[1], row_of(sys.argv[2]), Path(sys.argv[3])))
