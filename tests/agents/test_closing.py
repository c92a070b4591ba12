"""Leaving a session: at any moment, by any way, within the close deadline."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from stage import Prompted, Weather, model_of, prompted, until
from trialogue import (
    Agent,
    AgentSession,
    Drain,
    Handoff,
    RunContext,
    ServerError,
    SessionClosed,
    SessionOptions,
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
    from collections.abc import Iterator

CLOSE = Timing().close
SOON = 0.05
"""Seconds that may pass beside the deadline itself, in virtual time."""


class Resting(Agent):
    """Does nothing for ever when it enters."""

    instructions = "You are resting."
    began = True

    async def on_enter(self, ctx: RunContext) -> None:
        await trio.sleep_forever()


async def never() -> str:
    await trio.Event().wait()
    return "never"


class Busy(Prompted):
    """Has tools that never end, and hands over."""

    began = False

    @function_tool
    async def work(self, ctx: RunContext) -> str:
        """Work for ever."""
        self.began = True
        return await never()

    @function_tool(on_handoff="finish")
    async def finish(self, ctx: RunContext) -> str:
        """Work for ever, and ask for the time to finish."""
        self.began = True
        return await never()

    @function_tool(on_handoff="detach")
    async def detach(self, ctx: RunContext) -> str:
        """Work for ever, whoever is current."""
        self.began = True
        return await never()

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
    "a detached tool": Scene(Busy, weather_entered, (Call("detach"), Call("transfer"))),
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
@pytest.mark.parametrize("way", ["leave", "raise", "cancel", "end", "outside", "drain"])
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
    left: list[tuple[float, AgentSession]] = []
    audio, drain = (None, MemoryOutput()), Drain()
    with trio.CancelScope() as host, expected(way):
        async with (
            trio.open_nursery() as outside,
            open_agent_session(model, audio=audio, drain=drain) as session,
            trio.open_nursery() as inside,
        ):
            nursery = outside if way == "outside" else inside
            nursery.start_soon(session.run, agent)
            await until(lambda: scene.ready(server, session, agent))
            await trio.sleep(0.5)
            left.append((trio.current_time(), session))
            if way == "drain":
                outside.start_soon(drain.aclose, 0.0)
            leave(way, inside, host, session)
    ((left_at, session_left),) = left
    return trio.current_time() - left_at, session_left


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
    with pytest.RaisesGroup(Left, flatten_subgroups=True):
        yield


# --- servers that do not answer ----------------------------------------------------

DEAF = {
    "silent at the update": silence(before="session.updated"),
    "silent in a response": silence(after="response.created"),
    "silent, pings too": silence(after="response.created", pongs=False),
    "stalled at the update": stall(after="session.update"),
    "stalled in a response": stall(after="response.create"),
}


@pytest.mark.behaviour("C6", "H13")
@pytest.mark.parametrize("way", ["leave", "raise", "cancel", "end", "drain"])
@pytest.mark.parametrize("fault", DEAF)
async def test_leaving_a_server_that_never_answers_takes_at_most_the_close_deadline(
    autojump_clock: trio.testing.MockClock, fault: str, way: str
) -> None:
    """Whether it has fallen silent or has stopped reading."""
    scene = Scene(Busy, lambda _, s, __: s.realtime.connection is not None)
    took, session, _ = await left_after(scene, way, DEAF[fault])
    assert took <= CLOSE + SOON
    assert not any(session.realtime.open_work.values())


@pytest.mark.behaviour("C6")
@pytest.mark.parametrize("close", [0.2, 1.0])
async def test_the_close_deadline_is_the_programs_to_set(
    autojump_clock: trio.testing.MockClock, close: float
) -> None:
    """A server that never answers the close costs exactly what was allowed."""
    faults = [stall(after="session.update")]
    with trio.fail_after(60):
        async with RealtimeServer(faults=faults).serving() as server:
            timing = Timing(close=close)
            async with open_agent_session(model_of(server), timing=timing) as session:
                with trio.move_on_after(0.5):
                    await session.run(Busy())
                left_at = trio.current_time()
            took = trio.current_time() - left_at
    assert took == pytest.approx(close, abs=SOON)


@pytest.mark.behaviour("C6")
@pytest.mark.parametrize("way", ["leave", "cancel"])
async def test_user_code_that_refuses_to_be_cancelled_is_named(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    way: str,
) -> None:
    """Nobody can end it; the log says which task of which agent is waited for."""

    class Stubborn(Agent):
        instructions = "You are stubborn."
        began = True

        async def on_enter(self, ctx: RunContext) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(10)

    scene = Scene(Stubborn, lambda _, s, __: s.realtime.settled)
    took, _, _ = await left_after(scene, way)
    assert 9 < took < 10 + CLOSE
    assert "Stubborn.on_enter of agent Stubborn" in caplog.text


# --- what is over refuses work -----------------------------------------------------

WORK: dict[str, Callable[[AgentSession], Any]] = {
    "run": lambda s: s.run(Busy()),
    "handoff": lambda s: s.handoff(Weather()),
    "handoff_soon": lambda s: s.handoff_soon(Weather()),
    "generate_reply": lambda s: s.generate_reply(),
    "push_audio": lambda s: s.push_audio(bytes(960)),
    "update_chat_ctx": lambda s: s.update_chat_ctx(s.chat_ctx),
    "update_instructions": lambda s: s.update_instructions("Be brief."),
    "nursery": lambda s: s.nursery,
    "approve": lambda s: s.approve("call"),
    "deny": lambda s: s.deny("call", "no"),
    "realtime.update_session": lambda s: s.realtime.update_session(instructions="x"),
    "realtime.update_instructions": lambda s: s.realtime.update_instructions("x"),
    "realtime.update_tools": lambda s: s.realtime.update_tools([]),
    "realtime.update_options": lambda s: s.realtime.update_options(SessionOptions()),
    "realtime.update_chat_ctx": lambda s: s.realtime.update_chat_ctx(s.chat_ctx),
    "realtime.generate_reply": lambda s: s.realtime.generate_reply(),
    "realtime.push_audio": lambda s: s.realtime.push_audio(bytes(960)),
    "realtime.commit_audio": lambda s: s.realtime.commit_audio(),
    "realtime.clear_audio": lambda s: s.realtime.clear_audio(),
    "realtime.truncate": lambda s: s.realtime.truncate("item", 100),
}
HARMLESS: dict[str, Callable[[AgentSession], Any]] = {
    "end": lambda s: s.end(),
    "end now": lambda s: s.end(now=True),
    "interrupt": lambda s: s.interrupt(),
    "wait_for_playout": lambda s: s.wait_for_playout(),
    "chat_ctx": lambda s: s.chat_ctx,
    "approvals": lambda s: s.approvals,
    "repr": repr,
}


async def performed(act: Callable[[AgentSession], Any], session: AgentSession) -> None:
    outcome = act(session)
    if inspect.isawaitable(outcome):
        await outcome


async def check_that_it_refuses_work(session: AgentSession, *but: str) -> None:
    """Everything that would be work raises, everything else returns, at once."""
    now = trio.current_time()
    for name, act in WORK.items():
        if name not in but:
            with pytest.raises(SessionClosed, match=r"closed|left"):
                await performed(act, session)
    for act in HARMLESS.values():
        await performed(act, session)
    assert trio.current_time() == now


@pytest.mark.behaviour("C7")
async def test_a_session_that_was_left_refuses_work_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Every method raises SessionClosed without waiting, and nothing is sent."""
    with trio.fail_after(60):
        async with RealtimeServer(prompted(LONG)).serving() as server:
            async with open_agent_session(model_of(server)) as session:
                with trio.move_on_after(1):
                    await session.run(Busy())
            sent = len(server.connections[0].entries)
            await check_that_it_refuses_work(session)
            await trio.sleep(5)
            assert len(server.connections[0].entries) == sent
            assert server.dials == 1


@pytest.mark.behaviour("C7", "R4")
async def test_a_session_that_died_refuses_work_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its block is cancelled; what still runs there is told, and why."""
    faults = [reject("response.create", code="insufficient_quota")]
    causes: list[BaseException | None] = []
    with trio.fail_after(60):
        async with RealtimeServer(faults=faults).serving() as server:
            with pytest.raises(ServerError, match="insufficient_quota") as caught:
                await refused_after_death(server, causes)
            assert causes == [caught.value]
            assert caught.value.code == "insufficient_quota"
            assert not caught.value.recoverable
            await trio.sleep(30)
            assert server.dials == 1


async def refused_after_death(
    server: RealtimeServer, causes: list[BaseException | None]
) -> None:
    async with open_agent_session(model_of(server)) as session:
        try:
            await session.run(Busy())
        finally:
            with trio.move_on_after(10, shield=True):
                await check_that_it_refuses_work(session, "nursery")
                with pytest.raises(SessionClosed) as refused:
                    session.push_audio(b"")
                causes.append(refused.value.__cause__)


# --- a session as a guest ----------------------------------------------------------


@pytest.mark.behaviour("C13")
async def test_a_session_in_a_hosts_nursery_is_gone_when_the_host_cancels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In the middle of a reply, and although the server has stopped reading."""
    faults = [stall(after="response.create")]

    async def converse(server: RealtimeServer) -> None:
        async with open_agent_session(model_of(server)) as session:
            await session.run(Busy())

    with trio.fail_after(60):
        async with RealtimeServer(prompted(LONG), faults=faults).serving() as server:
            async with trio.open_nursery() as host:
                host.start_soon(converse, server)
                await trio.sleep(1)
                assert server.live[0].find("response.create")
                left_at = trio.current_time()
                host.cancel_scope.cancel()
            assert trio.current_time() - left_at <= CLOSE + SOON


@pytest.mark.behaviour("C13")
@pytest.mark.parametrize("end", ["quota", "bug"])
async def test_of_two_sessions_one_may_fail_without_the_other_noticing(
    autojump_clock: trio.testing.MockClock, end: str
) -> None:
    """One dies of its provider, or of its own agent; the other talks on."""
    faults = [reject("response.create", code="insufficient_quota")]
    raised: list[Exception] = []

    class Buggy(Prompted):
        async def on_enter(self, ctx: RunContext) -> None:
            await trio.sleep(2)
            msg = "a bug"
            raise RuntimeError(msg)

    async def failing(server: RealtimeServer) -> None:
        try:
            async with open_agent_session(model_of(server)) as session:
                await session.run(Busy() if end == "quota" else Buggy())
        except (ServerError, RuntimeError) as error:
            raised.append(error)

    with trio.fail_after(60):
        async with (
            RealtimeServer(faults=faults if end == "quota" else []).serving() as sick,
            RealtimeServer(prompted(LONG)).serving() as sound,
        ):
            output = MemoryOutput()
            async with (
                open_agent_session(model_of(sound), audio=(None, output)) as session,
                trio.open_nursery() as host,
            ):
                host.start_soon(session.run, Busy())
                host.start_soon(failing, sick)
                await until(lambda: raised)
                assert not sick.live
                outcome = await session.generate_reply()
                assert outcome.outcome == "completed"
                await session.wait_for_playout()
                assert len(output.runs) == 1
                session.end()
            assert sound.dials == 1
        assert type(raised[0]) is (ServerError if end == "quota" else RuntimeError)
