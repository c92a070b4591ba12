"""A drain: no new conversations, and an end to those that are held."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from stage import model_of, until
from trialogue import (
    Agent,
    ConfigurationError,
    ConnectRefused,
    Drain,
    DrainReport,
    DrainStarted,
    RunContext,
    Timing,
    open_agent_session,
)
from trialogue.audio import MemoryInput, MemoryOutput
from trialogue.testing import (
    RealtimeServer,
    Say,
    refuse_upgrade,
    silent_connect,
    stall,
)
from trialogue.testing.scheduling import CancelAtStep, seeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue import AgentSession

CLOSE = Timing().close
SHORT = Say("Goodbye, and thank you for calling.", ms=4000)
LONG = Say("Let me tell you a long story, from its very beginning.", ms=60_000)


class Talking(Agent):
    """Says one thing, and then waits for the user."""

    instructions = "You are Kelly."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply()


class House:
    """A process with conversations; each has its loudspeaker and says how it ended."""

    def __init__(self, server: RealtimeServer, nursery: trio.Nursery) -> None:
        self.drain = Drain()
        self.ends: list[str] = []
        self.outputs: list[MemoryOutput] = []
        self._server = server
        self._nursery = nursery

    async def call(  # noqa: ASYNC114 - started in one place, with start()
        self,
        body: Callable[[AgentSession], Any] | None = None,
        *,
        task_status: trio.TaskStatus[AgentSession] = trio.TASK_STATUS_IGNORED,
        **settings: Any,
    ) -> None:
        """Hold one conversation, with an agent that talks unless a body is given."""
        output = MemoryOutput()
        self.outputs.append(output)
        try:
            async with open_agent_session(
                model_of(self._server),
                audio=(None, output),
                drain=self.drain,
                **settings,
            ) as session:
                task_status.started(session)
                await (session.run(Talking()) if body is None else body(session))
                self.ends.append("ended")
            self.ends.append("left")
        except DrainStarted:
            self.ends.append("refused")

    async def open(self, *args: Any, **settings: Any) -> AgentSession:
        """Begin a conversation in the background; return its session."""
        call = partial(self.call, *args, **settings)
        session: AgentSession = await self._nursery.start(call)
        return session


async def talking(session: AgentSession) -> None:
    await until(lambda: session.realtime.replying.slot.active is not None)


async def test_running_conversations_end_and_their_speech_plays_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody is cut off: each caller hears the sentence that was begun to its end."""
    async with (
        RealtimeServer(lambda turn: SHORT).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        sessions = [await house.open() for _ in range(3)]
        assert house.drain.sessions == tuple(sessions)
        for session in sessions:
            await talking(session)
        report = await house.drain.aclose(30)

    assert report.clean
    assert report.ended == tuple(s.realtime.id for s in sessions)
    assert not any(s.cut_short for s in sessions)
    assert report.seconds < 6
    assert house.ends.count("left") == 3
    assert [output.played for output in house.outputs] == [4 * 24_000] * 3
    assert house.drain.sessions == ()


@pytest.mark.parametrize("waits", ["speech", "program"])
async def test_what_has_not_ended_is_cut_at_the_deadline(
    autojump_clock: trio.testing.MockClock, waits: str
) -> None:
    """Its block is left as from a cancel scope, and what follows the block is run."""

    async def waiting(session: AgentSession) -> None:
        await session.run(Talking())
        await trio.sleep_forever()

    async with (
        RealtimeServer(lambda turn: LONG).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        session = await house.open(waiting if waits == "program" else None)
        await talking(session)
        report = await house.drain.aclose(5)

    assert report.ended == ()
    assert report.cut == (session.realtime.id,)
    assert session.cut_short
    assert not report.clean
    assert 5 <= report.seconds <= 5 + CLOSE
    assert house.ends == ["left"]
    assert 4 < house.outputs[0].played / 24_000 < 5.1


async def test_a_deadline_holds_though_the_server_has_stopped_reading(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The farewell is waited for as long as `Timing.close` says, and no longer."""
    faults = [stall(after="response.create")]
    async with (
        RealtimeServer(lambda turn: LONG, faults=faults).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        await house.open(timing=Timing(close=1.0))
        await until(lambda: server.live[0].find("response.create"))
        report = await house.drain.aclose(2)

    assert report.seconds <= 3 + 0.1
    assert report.stuck == ()


async def test_a_drain_that_was_started_refuses_before_anything_is_dialled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Those that are open go on; the devices of the refused one are closed."""
    async with (
        RealtimeServer(lambda turn: SHORT).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        session = await house.open()
        states = [house.drain.started]
        for _ in range(2):
            house.drain.start()
            states.append(house.drain.started)
        assert states == [False, True, True]
        await house.call()
        assert house.ends == ["refused"]
        assert server.dials == 1
        with pytest.raises(trio.ClosedResourceError):
            await house.outputs[1].drain()
        assert (await session.generate_reply()).outcome == "completed"
        report = await house.drain.aclose()

    assert report.ended == (session.realtime.id,)


async def test_a_session_that_is_still_dialling_is_refused(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its block never begins, and the drain does not wait for the provider.

    That is no failure, and the log does not call it one.
    """
    caplog.set_level("INFO", logger="trialogue")
    server = RealtimeServer(lambda turn: SHORT, faults=[silent_connect()])
    async with server.serving(), trio.open_nursery() as nursery:
        house = House(server, nursery)
        nursery.start_soon(house.call)
        await trio.sleep(1)
        assert house.drain.sessions == ()
        report = await house.drain.aclose()

    assert house.ends == ["refused"]
    assert report.seconds <= CLOSE
    assert [r.levelname for r in caplog.records if "refused" in r.message] == ["INFO"]
    assert "failed" not in caplog.text


async def test_conversations_may_come_to_an_end_of_their_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Within the grace nobody asks them to; after it they are asked."""
    second: list[str] = []

    async def two_replies(session: AgentSession) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run, Agent("You are Kelly."))
            await until(lambda: session.agent is not None)
            await session.generate_reply()
            await session.wait_for_playout()
            second.append((await session.generate_reply()).outcome)
            session.end()

    async with (
        RealtimeServer(lambda turn: SHORT).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        patient = await house.open(two_replies)
        idle = await house.open()
        await talking(patient)
        report = await house.drain.aclose(60, grace=20)

    assert second == ["completed"]
    assert set(report.ended) == {patient.realtime.id, idle.realtime.id}
    assert 20 <= report.seconds < 21  # the other one waits for its user until then


async def test_a_session_that_refuses_to_end_is_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With the place at which its code is; the others have ended meanwhile."""

    async def stubborn(session: AgentSession) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    async with (
        RealtimeServer(lambda turn: SHORT).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        refuses = await house.open(stubborn)
        await house.open()
        began = trio.current_time()
        report = await house.drain.aclose(10)
        assert trio.current_time() - began <= 10 + CLOSE + 2
        nursery.cancel_scope.cancel()

    assert len(report.ended) == 1
    [stuck] = report.stuck
    assert stuck.session_id == refuses.realtime.id
    assert any("stubborn" in frame for frame in stuck.tasks[0].stack)
    assert f"[{refuses.realtime.id}] was cut by a drain" in caplog.text


async def test_a_task_that_refuses_to_end_is_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One that the program started in the session, beside the agents."""

    async def polishing() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async def body(session: AgentSession) -> None:
        session.nursery.start_soon(polishing)

    async with (
        RealtimeServer(lambda turn: SHORT).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        await house.open(body)
        report = await house.drain.aclose(1)

    names = [task.name for task in report.stuck[0].tasks]
    assert any("polishing" in name for name in names)


async def test_a_drain_whose_caller_gives_up_can_be_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It stays started; several may wait for the end at once."""
    async with (
        RealtimeServer(lambda turn: LONG).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        session = await house.open()
        await talking(session)
        with trio.move_on_after(1) as patience:
            await house.drain.aclose(30)
        assert patience.cancelled_caught
        assert house.drain.started
        assert house.drain.sessions == (session,)
        reports: list[DrainReport] = []

        async def wait(seconds: float) -> None:
            reports.append(await house.drain.aclose(seconds))

        async with trio.open_nursery() as waiting:
            waiting.start_soon(wait, 5)
            waiting.start_soon(wait, 20)

    assert [len(r.cut) + len(r.ended) for r in reports] == [1, 1]
    assert all(r.seconds < 6 + CLOSE for r in reports)
    assert house.ends == ["left"]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 10, 30, 100, 300, 600, 900])
def test_a_drain_cancelled_at_any_step_leaves_nothing_behind(step: int) -> None:
    """Whatever it had asked for by then, the sessions end with what holds them."""

    async def main() -> None:
        async with RealtimeServer(lambda turn: SHORT).serving() as server:
            async with trio.open_nursery() as nursery:
                house = House(server, nursery)
                for _ in range(2):
                    await house.open()
                with trio.CancelScope() as scope, CancelAtStep(step, scope) as sweep:
                    await house.drain.aclose(3)
                assert sweep.fired == scope.cancelled_caught
                assert house.drain.started
                report = await house.drain.aclose(3)
                assert report.stuck == ()
            assert house.drain.sessions == ()
            assert house.ends.count("left") == 2

    with seeded(step):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_fifty_conversations_are_drained_at_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that speak briefly end; those that tell stories are cut, all together."""
    caplog.set_level(logging.INFO, logger="trialogue.agents")

    def brain(turn: Any) -> Any:
        return Say("A long story.", ms=9000) if turn.connection % 2 else Say("Bye.")

    async with (
        RealtimeServer(brain).serving() as server,
        trio.open_nursery() as nursery,
    ):
        house = House(server, nursery)
        for _ in range(50):
            await talking(await house.open())
        report = await house.drain.aclose(3)

    assert len(report.ended) == 25
    assert len(report.cut) == 25
    assert report.seconds <= 3 + CLOSE
    assert house.ends.count("left") == 50
    assert "25 sessions ended, 25 were cut, 0 are stuck" in caplog.text


async def test_a_drain_of_nothing_is_done_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with trio.testing.assert_checkpoints():
        report = await Drain().aclose()

    assert report == DrainReport((), (), (), 0.0)


@pytest.mark.parametrize(("seconds", "grace"), [(1, 2), (5, -1), (-1, 0)])
async def test_a_grace_beyond_the_deadline_is_refused(
    seconds: float, grace: float
) -> None:
    """Nothing was started by it."""
    drain = Drain()

    with pytest.raises(ConfigurationError, match="grace"):
        await drain.aclose(seconds, grace=grace)
    assert not drain.started


async def test_devices_of_a_session_that_could_not_be_opened_are_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The session owns them from the moment it is given them."""
    server = RealtimeServer(faults=[refuse_upgrade(401)])
    source, output = MemoryInput(), MemoryOutput()
    async with server.serving():
        with pytest.raises(ConnectRefused):
            async with open_agent_session(model_of(server), audio=(source, output)):
                raise AssertionError("it was refused")

    with pytest.raises(trio.ClosedResourceError):
        await output.drain()
    with pytest.raises(trio.ClosedResourceError):
        await source.receive()
