"""A conversation that is watched: who was meant to speak, who spoke, whose tools ran.

Kelly hands over to Sunny. Both speak, and both have a tool of the same name, which the
model calls with the name of whoever it believes to be, so that a word or a call under
the wrong configuration shows. Every handoff is judged by `Watch.check`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import trio

from stage import Stage, on_stage
from trialogue import Agent, Handoff, RunContext, function_tool
from trialogue.agents.events import AgentEntered, HandoffFailed, HandoffStarted
from trialogue.conversation.items import FunctionCallOutput
from trialogue.realtime.notices import ReplyStarted
from trialogue.testing import Call, Network, Say, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from trialogue.testing import Fault
    from trialogue.testing.connection import Connection, LogEntry

__all__ = [
    "ONE_WAY",
    "Kelly",
    "Sunny",
    "Watch",
    "asks_for",
    "brain",
    "for_sunny",
    "say",
    "until",
    "watched",
]

ONE_WAY = 0.02
"""Seconds to the server."""
TOLERANCE = 0.0101
"""Seconds: one frame of watermark may straddle a moment."""


class Watched(Agent):
    """An agent that notes what it does."""

    async def on_enter(self, ctx: RunContext) -> None:
        ctx.userdata.entered.append(who(str(self.instructions)))
        await self.begin(ctx)

    async def begin(self, ctx: RunContext) -> None:
        """What it does first."""

    @function_tool
    async def look(self, ctx: RunContext, made_by: str) -> str:
        """Look around."""
        ctx.userdata.ran.append((who(str(self.instructions)), made_by))
        return "clear sky"


class Sunny(Watched):
    """Speaks first, and looks around while doing so."""

    instructions: Any = "You are Sunny, a weather specialist."

    async def begin(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Introduce yourself.")


class Kelly(Watched):
    """Hands over when the model calls its tool."""

    instructions: Any = "You are Kelly, a friendly greeter."
    policy: Any = "keep"

    @function_tool
    async def transfer(self, ctx: RunContext) -> Handoff:
        """Transfer to the weather specialist."""
        return Handoff(Sunny(), context=self.policy)


async def until(predicate: Any, seconds: float = 60.0) -> None:
    """Wait, in virtual time, until something is true; fail after a while."""
    with trio.fail_after(seconds):
        while not predicate():  # noqa: ASYNC110 - on a mock clock
            await trio.sleep(0.02)


def who(instructions: str) -> str:
    """Return the agent that instructions make of the model."""
    return "Sunny" if "Sunny" in instructions else "Kelly"


def brain(turn: Turn) -> Any:
    """Transfer when asked to; look when asked to, and at an introduction."""
    name = who(turn.instructions)
    asked = turn.user_text if turn.output is None else ""
    if "transfer" in asked and name == "Kelly":
        return [Say("One moment please."), Call("transfer")]
    if "look" in asked or ("Introduce" in (turn.override or "")):
        return [Say(f"{name} looks."), Call("look", {"made_by": name})]
    return Say(f"{name} speaking.")


def for_sunny(event: Mapping[str, Any]) -> bool:
    """Whether an update, its echo, or a reply's own configuration makes a Sunny."""
    inside = event.get("session") or event.get("response") or {}
    return "Sunny" in (inside.get("instructions") or "")


def asks_for(kind: str) -> Any:
    """Whether an item of this kind is created or announced."""
    return lambda event: event["item"]["type"] == kind


@attrs.define(eq=False)
class Watch:
    """What is known of the conversation; also its `userdata`.

    Attributes:
        entered: whose `on_enter` began, in order.
        ran: (whose tool ran, under whose configuration it was called), in order.
        told: the events, with the time of each.
        speakers: the response that the n-th watermarked item belongs to.
        raised: what `run` raised.
    """

    entered: list[str] = attrs.field(factory=list)
    ran: list[tuple[str, str]] = attrs.field(factory=list)
    told: list[tuple[float, Any]] = attrs.field(factory=list)
    speakers: list[str] = attrs.field(factory=list)
    raised: BaseException | None = None
    over: trio.Event = attrs.field(factory=trio.Event)
    _stage: Stage | None = None

    @property
    def stage(self) -> Stage:
        assert self._stage is not None
        return self._stage

    @property
    def session(self) -> Any:
        return self.stage.session

    @property
    def connections(self) -> list[Connection]:
        return self.stage.server.connections

    def of(self, kind: type[Any]) -> list[tuple[float, Any]]:
        """Return the events of a kind, with their times."""
        return [(at, event) for at, event in self.told if isinstance(event, kind)]

    def sent(self, kind: str) -> list[LogEntry]:
        """Return what the client sent of a type, on any connection."""
        return [entry for one in self.connections for entry in one.find(kind, "in")]

    def outputs(self) -> list[str]:
        """Return what the calls of the conversation were answered with."""
        items = self.session.chat_ctx
        return [i.output for i in items if isinstance(i, FunctionCallOutput)]

    def heard(self) -> list[tuple[float, str, str]]:
        """Return (when, response, who) of each 10 ms that was played, in order."""
        frames = []
        for run in self.stage.output.runs:
            for mark, instructions, _ in self.stage.server.heard(run.pcm):
                at = run.time + mark.position / 24_000
                frames.append((at, self.speakers[mark.item], who(instructions)))
        return frames

    def noted(self, connection: Connection, entries: Any) -> None:
        """The server made something: which response does the next mark belong to?"""
        for entry in entries:
            part = entry.event.get("part") or {}
            if entry.type == "response.content_part.added" and part["type"] == "audio":
                self.speakers.append(entry.event["response_id"])

    # --- the verdict -----------------------------------------------------------

    def check(self) -> None:
        """Nothing was said, and no tool ran, under the wrong configuration.

        Each response that was heard belongs to whoever was wanted when it began. What
        an agent had said before it handed over is heard to its end; what was said by
        one whose handoff failed is not heard any more.
        """
        wanted, epoch = "Kelly", 0
        began: dict[str, tuple[str, int]] = {}
        gone: list[tuple[float, int]] = []
        for at, event in self.told:
            if isinstance(event, HandoffStarted):
                wanted, epoch = event.next, epoch + 1
            elif isinstance(event, HandoffFailed):
                gone.append((at, epoch))
                wanted, epoch = event.previous or "", epoch + 1
            elif isinstance(event, ReplyStarted):
                began[event.response_id] = (wanted, epoch)
        for at, response, speaker in self.heard():
            assert response in began, f"{speaker} was heard at {at}, and never began"
            meant, spoken_in = began[response]
            assert speaker == meant, f"{speaker} was heard at {at} instead of {meant}"
            for failed, lost in gone:
                late = spoken_in == lost and at > failed + TOLERANCE
                assert not late, f"{speaker} was heard at {at}, after it had failed"
        assert all(runner == made_by for runner, made_by in self.ran), self.ran
        assert len(self.entered) == len(set(self.entered)), self.entered
        assert self.stage.server.protocol_errors == []

    def silence_after(self, moment: float) -> float:
        """Return the longest time without a sound after a moment, up to the last."""
        times = [moment, *(at for at, _, _ in self.heard() if at >= moment)]
        return max(b - a for a, b in pairwise(times))

    # --- what the test does ----------------------------------------------------

    async def quiet(self) -> None:
        """Wait until nothing is asked for, said, or played any more."""
        await until(lambda: self.over.is_set() or self._is_quiet())
        await self.session.wait_for_playout()
        await until(lambda: self.over.is_set() or self._is_quiet())

    def _is_quiet(self) -> bool:
        """Whether nothing is under way, a return after a failed handoff included."""
        entries = len(self.of(HandoffStarted)) + len(self.of(HandoffFailed)) + 1
        realtime = self.session.realtime
        here = len(self.of(AgentEntered)) == entries
        return here and realtime.settled and realtime.replying.slot.idle


async def say(watch: Watch, text: str) -> None:
    """Write something as the user, and have it answered."""
    realtime = watch.session.realtime
    report = await realtime.update_chat_ctx(realtime.chat_ctx.add_message("user", text))
    assert report.ok
    await watch.session.generate_reply()


@asynccontextmanager
async def watched(
    *faults: Fault,
    fresh: bool = False,
    think: Any = brain,
    first: Agent | None = None,
    capabilities: Mapping[str, bool] | None = None,
    one_way: float = ONE_WAY,
    seconds: float = 120,
    **session: Any,
) -> AsyncIterator[Watch]:
    """Hold a conversation with Kelly, bounded; end it behind the block."""
    watch = Watch()
    server = {
        "faults": faults,
        "network": Network(one_way=one_way),
        "on_entry": watch.noted,
    }
    fixed = {"mutable_instructions": False} if fresh else {}
    flags = {**(capabilities or {}), **fixed}
    with trio.fail_after(seconds):
        async with (
            on_stage(
                think,
                server=server,
                model={"capabilities": flags},
                userdata=watch,
                **session,
            ) as watch._stage,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(_listen, watch)
            nursery.start_soon(_run, watch, first or Kelly())
            await until(lambda: watch.session.realtime.settled)
            yield watch
            watch.session.end()
            await watch.over.wait()
            nursery.cancel_scope.cancel()


async def _run(watch: Watch, first: Agent) -> None:
    try:
        await watch.session.run(first)
    except Exception as error:
        watch.raised = error
    finally:
        watch.over.set()


async def _listen(  # noqa: ASYNC114 - started in one place, with start()
    watch: Watch, task_status: trio.TaskStatus[None]
) -> None:
    async with watch.session.subscribe(buffer=100_000) as subscription:
        task_status.started()
        async for event in subscription:
            watch.told.append((trio.current_time(), event))
