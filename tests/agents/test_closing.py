"""Leaving a session: at any moment, by any way, within the close deadline."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from stage import Prompted, Weather, model_of, prompted, until

from trialogue import (
    Agent,
    AgentSession,
    Handoff,
    RunContext,
    ServerError,
    SessionClosed,
    Timing,
    function_tool,
    open_agent_session,
)
from trialogue.audio import MemoryOutput
from trialogue.testing import (
    Call,
    Network,
    RealtimeServer,
    Say,
    cut,
    late,
    reject,
    silence,
    silent_connect,
    stall,
    swallow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLOSE = Timing().close
SOON = 0.05
"""Seconds that may pass beside the deadline itself, in virtual time."""


class Resting(Agent):
    """Does nothing for ever when it enters."""

    instructions = "You are resting."
    began = True

    async def on_enter(self, ctx: RunContext) -> None:
        await trio.sleep_forever()


class Busy(Prompted):
    """Has tools that never end, and hands over."""

    began = False

    @function_tool
    async def work(self, ctx: RunContext) -> str:
        """Work for ever."""
        self.began = True
        await trio.sleep_forever()
        return ""

    @function_tool(on_handoff="finish")
    async def finish(self, ctx: RunContext) -> str:
        """Work for ever, and ask for the time to finish."""
        self.began = True
        await trio.sleep_forever()
        return ""

    @function_tool(on_handoff="detach")
    async def detach(self, ctx: RunContext) -> str:
        """Work for ever, whoever is current."""
        self.began = True
        await trio.sleep_forever()
        return ""

    @function_tool
    async def talk(self, ctx: RunContext) -> str:
        """Have a reply made, and wait for it."""
        self.began = True
        await ctx.session.generate_reply(instructions="Go on.")
        return ""

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer."""
        return Weather()

    @function_tool
    async def transfer_fresh(self, ctx: RunContext) -> Handoff:
        """Transfer with an empty conversation."""
        return Handoff(Weather(), context="fresh")


def saw(kind: type[Any]) -> Callable[[Any], bool]:
    return lambda stage: bool(stage.of(kind))


LONG = Say("I talk and talk. " * 20)


@attrs.define(eq=False)
class Scene:
    """What is under way when the session is left."""

    agent: type[Agent]
    ready: Callable[[RealtimeServer, AgentSession, Any], object]
    parts: tuple[Any, ...] = (LONG,)
    then: str = "Well, well. " * 20
    faults: tuple[Any, ...] = ()
    fixed: bool = False


def began(_: RealtimeServer, __: AgentSession, agent: Any) -> object:
    return agent.began


def on_air(server: RealtimeServer, _: AgentSession, __: Any) -> object:
    return server.live and server.live[0].responses


def weather_entered(_: RealtimeServer, session: AgentSession, __: Any) -> object:
    return isinstance(session.agent, Weather)


def dialled_again(server: RealtimeServer, _: AgentSession, __: Any) -> object:
    return server.dials == 2


SCENES = {
    "on_enter": Scene(Resting, lambda _, s, __: s.realtime.settled),
    "a reply": Scene(Busy, on_air),
    "a tool": Scene(Busy, began, (Call("work"),)),
    "a detached tool": Scene(
        Busy, weather_entered, (Call("detach"), Call("transfer"))
    ),
    "a tool that talks": Scene(Busy, began, (Call("talk"),)),
    "a late acknowledgement": Scene(
        Busy,
        lambda server, _, __: server.live[0].find("session.update"),
        faults=(late("session.updated", seconds=60),),
    ),
    "a handoff": Scene(
        Busy,
        weather_entered,
        (Call("transfer"),),
        faults=(swallow("session.updated", nth=2),),
    ),
    "a handoff that waits for a tool": Scene(
        Busy, began, (Call("finish"), Call("transfer"))
    ),
    "a fresh handoff": Scene(
        Busy,
        dialled_again,
        (Call("transfer_fresh"),),
        faults=(silent_connect(skip=1),),
        fixed=True,
    ),
    "a dial": Scene(
        Busy,
        dialled_again,
        faults=(cut(after="response.created"), silent_connect(9, skip=1)),
    ),
    "a pause between dials": Scene(
        Busy,
        lambda server, _, __: len(server.connections) == 2 and not server.live,
        faults=(cut(after="response.created"), cut(before="session.created", nth=2)),
    ),
}


class Left(Exception):
    """What a program might raise in its block."""


@pytest.mark.behaviour("H13")
@pytest.mark.parametrize("way", ["leave", "raise", "cancel", "end", "outside"])
@pytest.mark.parametrize("scene", SCENES)
async def test_whatever_is_under_way_ends_within_the_close_deadline(
    autojump_clock: trio.testing.MockClock, scene: str, way: str
) -> None:
    """No deadlock, nothing left behind; measured from the decision to leave."""
    took, session, server = await left_after(SCENES[scene], way)
    assert took <= CLOSE + SOON
    assert not any(session.realtime.open_work.values())
    assert session.agent is None
    assert not server.live
    assert not server.protocol_errors


async def left_after(
    scene: Scene, way: str, *more: Any
) -> tuple[float, AgentSession, RealtimeServer]:
    """Play a scene up to its moment, leave, and return how long leaving took."""
    brain = prompted(*scene.parts, then=scene.then)
    network = Network(one_way=0.05)
    with trio.fail_after(100):
        async with RealtimeServer(
            brain, network=network, faults=(*scene.faults, *more)
        ).serving() as server:
            took, session = await leaving(server, scene, way)
            await trio.sleep(5)
            return took, session, server


async def leaving(
    server: RealtimeServer, scene: Scene, way: str
) -> tuple[float, AgentSession]:
    agent = scene.agent()
    flags = {"mutable_chat_context": not scene.fixed}
    model = model_of(server, capabilities=flags)
    left_at = 0.0
    with trio.CancelScope() as host, expected(way):
        async with trio.open_nursery() as outside:
            async with open_agent_session(
                model, audio=(None, MemoryOutput())
            ) as session, trio.open_nursery() as inside:
                nursery = outside if way == "outside" else inside
                nursery.start_soon(session.run, agent)
                await until(lambda: scene.ready(server, session, agent))
                await trio.sleep(0.5)
                left_at = trio.current_time()
                leave(way, inside, host, session)
    return trio.current_time() - left_at, session


def leave(
    way: str, inside: trio.Nursery, host: trio.CancelScope, session: AgentSession
) -> None:
    if way == "leave":
        inside.cancel_scope.cancel()
    elif way == "raise":
        raise Left
    elif way == "cancel":
        host.cancel()
    elif way == "end":
        session.end(now=True)


@contextmanager
def expected(way: str) -> Iterator[None]:
    """A group of the program's own nurseries comes out, with its exception alone."""
    if way != "raise":
        yield
        return
    with pytest.raises(ExceptionGroup) as caught:
        yield
    leaf: BaseException = caught.value
    while isinstance(leaf, ExceptionGroup):
        (leaf,) = leaf.exceptions
    assert type(leaf) is Left
