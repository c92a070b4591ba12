"""Tool sets: opened once per session, shared, closed at its end; what can go wrong."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import Prompted, on_stage, outputs, prompted, running, until
from trialogue import (
    Agent,
    AnyTool,
    ConfigurationError,
    RunContext,
    SessionClosed,
    ToolSet,
    ToolSetError,
    function_tool,
    tool_set,
)
from trialogue.events import HandoffStarted, ReplyEnded, ToolFailed, ToolSetFailed
from trialogue.testing import Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

    from stage import Stage


class Shelf(ToolSet):
    """Writes down when it is opened and closed, and by which task."""

    def __init__(
        self,
        name: str,
        log: list[str],
        *,
        tools: tuple[str, ...] = ("look_up",),
        opens: float = 0.0,
        closes: float = 0.0,
        open_timeout: float = 10.0,
    ) -> None:
        self.name = name
        self.log = log
        self.opens = opens
        self.closes = closes
        self.open_timeout = open_timeout
        self.broken = False
        self.breaks = trio.Event()
        self.tasks: list[object] = []
        self.tools = [self.tool(tool) for tool in tools]

    def tool(self, name: str) -> AnyTool:
        async def look_up(title: str = "") -> str:
            """Look up a book."""
            await trio.sleep(0.1)
            return f"{self.name} has {title or 'books'}"

        return function_tool(name=name)(look_up)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[list[AnyTool]]:
        await trio.sleep(self.opens)
        if self.broken:
            msg = "the shelf is on fire"
            raise OSError(msg)
        self.tasks.append(trio.lowlevel.current_task())
        self.log.append(f"{self.name} opened")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            yield self.tools
            await trio.sleep(self.closes)
            nursery.cancel_scope.cancel()
        self.tasks.append(trio.lowlevel.current_task())
        self.log.append(f"{self.name} closed")

    async def _watch(self) -> None:
        await self.breaks.wait()
        msg = "the shelf fell down"
        raise OSError(msg)


class Reader(Prompted):
    """Has tool sets, and hands over to whom it is given."""

    def __init__(
        self, *sets: object, then: Callable[[], Agent] | None = None, name: str = ""
    ) -> None:
        super().__init__(tools=list(sets), name=name or None)
        self.then = then

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer."""
        assert self.then is not None
        return self.then()


class Clerk(Agent):
    """Says nothing by itself."""

    instructions = "You are the clerk."

    def __init__(self, *sets: object) -> None:
        super().__init__(tools=list(sets))


def replies(stage: Stage) -> int:
    return len(stage.of(ReplyEnded))


def tools_sent(stage: Stage) -> list[list[str]]:
    """The names of the tools in each update, in order."""
    sessions = [entry.event["session"] for entry in stage.sent("session.update")]
    return [[t["name"] for t in s["tools"]] for s in sessions if "tools" in s]


# --- one opening per session -------------------------------------------------------


@pytest.mark.behaviour("G20")
async def test_a_set_is_opened_once_for_all_the_agents_that_list_it(
    autojump_clock: MockClock,
) -> None:
    """Five handoffs there and back; one opening, one closing, both in one task."""
    log: list[str] = []
    shelf = Shelf("shelf", log)
    async with on_stage(prompted(Call("look_up"), then="Yes.")) as stage:
        async with running(stage, Reader(shelf)):
            await until(lambda: outputs(stage))
            for _ in range(4):
                await stage.session.handoff(Clerk(shelf))
            await stage.session.handoff(Reader(shelf))
            await until(lambda: len(outputs(stage)) == 2)
            assert log == ["shelf opened"]
        assert log == ["shelf opened"]  # until the block is left
    assert log == ["shelf opened", "shelf closed"]
    assert shelf.tasks[0] is shelf.tasks[1]
    assert [text for _, text in outputs(stage)] == ["shelf has books"] * 2
    assert all("look_up" in names for names in tools_sent(stage))


@pytest.mark.behaviour("G20")
async def test_sets_are_closed_latest_first_when_nobody_uses_them_any_more(
    autojump_clock: MockClock,
) -> None:
    """The agent's hook and a task of the session end before the first is closed."""
    log: list[str] = []
    first, second = Shelf("first", log), Shelf("second", log, tools=("find",))

    class Sleeper(Clerk):
        async def on_enter(self, ctx: RunContext) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.3)
                log.append("agent ended")

    async def use() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.3)
            log.append("task ended")

    async with on_stage() as stage, running(stage, Clerk(first)):
        await until(lambda: stage.session.agent is not None)
        await stage.session.handoff(Sleeper(first, second))
        stage.session.nursery.start_soon(use)
    assert log == [
        *("first opened", "second opened", "agent ended", "task ended"),
        *("second closed", "first closed"),
    ]


@pytest.mark.behaviour("G20")
async def test_the_sets_of_one_agent_are_opened_side_by_side(
    autojump_clock: MockClock,
) -> None:
    """Three that take two seconds each take two."""
    log: list[str] = []
    shelves = [Shelf(f"s{n}", log, tools=(f"t{n}",), opens=2.0) for n in range(3)]
    async with on_stage() as stage:
        began = trio.current_time()
        async with running(stage, Clerk(*shelves)):
            await until(lambda: stage.session.agent is not None)
            assert trio.current_time() - began < 2.1
            assert tools_sent(stage)[-1] == ["t0", "t1", "t2"]


@pytest.mark.behaviour("G20")
async def test_sets_that_are_made_alike_are_one(
    autojump_clock: MockClock,
) -> None:
    """A decorated function makes equal sets of equal arguments."""
    opened: list[str] = []

    @tool_set
    async def library(city: str) -> AsyncIterator[list[AnyTool]]:
        opened.append(city)

        @function_tool(name=f"look_up_{city}")
        async def look_up() -> str:
            """Look up."""
            return city

        yield [look_up]
        opened.append(f"{city} closed")

    async with on_stage() as stage, running(stage, Clerk(library("oslo"))):
        await until(lambda: stage.session.agent is not None)
        await stage.session.handoff(Clerk(library("oslo"), library("bergen")))
        assert opened == ["oslo", "bergen"]
        assert tools_sent(stage)[-1] == ["look_up_oslo", "look_up_bergen"]
    assert opened[2:] == ["bergen closed", "oslo closed"]


@pytest.mark.behaviour("G20")
async def test_each_session_opens_a_set_for_itself(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    shelf = Shelf("shelf", log)
    for _ in range(2):
        async with on_stage() as stage, running(stage, Clerk(shelf)):
            await until(lambda stage=stage: stage.session.agent is not None)
    assert log == ["shelf opened", "shelf closed"] * 2


@pytest.mark.behaviour("G20")
async def test_a_set_can_be_opened_ahead(
    autojump_clock: MockClock,
) -> None:
    """Then a handoff does not wait for it."""
    log: list[str] = []
    shelf = Shelf("shelf", log, opens=5.0)
    async with on_stage() as stage:
        (tool,) = await stage.session.open_tool_set(shelf)
        assert (tool.name, log) == ("look_up", ["shelf opened"])
        async with running(stage, Clerk()):
            await until(lambda: stage.session.agent is not None)
            began = trio.current_time()
            await stage.session.handoff(Clerk(shelf))
            assert trio.current_time() - began < 1
    with pytest.raises(SessionClosed):
        await stage.session.open_tool_set(shelf)


@pytest.mark.behaviour("G20")
async def test_sets_are_closed_also_when_the_block_raises_and_when_it_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="mine")):
        async with on_stage() as stage:
            await stage.session.open_tool_set(Shelf("raised", log, closes=0.5))
            raise KeyError("mine")
    with trio.move_on_after(3):
        async with on_stage() as stage:
            await stage.session.open_tool_set(Shelf("cancelled", log, closes=0.5))
            await trio.sleep_forever()
    assert log == [
        *("raised opened", "raised closed"),
        *("cancelled opened", "cancelled closed"),
    ]


# --- what cannot be opened ---------------------------------------------------------


@pytest.mark.behaviour("G21")
@pytest.mark.parametrize("how", ["raises", "hangs", "lies", "clashes"])
async def test_a_set_that_cannot_be_opened_fails_the_handoff_and_nothing_else(
    autojump_clock: MockClock, how: str
) -> None:
    """The old agent is as it was, nothing was sent but the output; then it works."""
    log: list[str] = []
    shelf = Shelf("shelf", log, open_timeout=3.0, tools=("look_up",))
    shelf.broken = how == "raises"
    shelf.opens = 60.0 if how == "hangs" else 0.0
    good = [*shelf.tools]
    if how == "lies":
        shelf.tools[:] = ["look_up"]  # type: ignore[list-item]
    if how == "clashes":
        shelf.tools[:] = [shelf.tool("transfer")]
    reader = Reader(then=lambda: Reader(shelf, name="next"))
    async with (
        on_stage(prompted(Call("transfer"))) as stage,
        running(stage, reader),
    ):
        await until(lambda: replies(stage) == 2)
        assert stage.session.agent is reader
        assert not stage.of(HandoffStarted)
        assert len(tools_sent(stage)) == 1
        ((_, output),) = outputs(stage)
        assert output == "handoff failed: the agent could not be prepared"
        (failed,) = stage.of(ToolFailed)
        expected = {"raises": ToolSetError, "hangs": ToolSetError}
        assert type(failed.error) is expected.get(how, ConfigurationError)
        shelf.broken, shelf.opens, shelf.tools[:] = False, 0.0, good
        await stage.session.handoff(Clerk(shelf))
        assert tools_sent(stage)[-1] == ["look_up"]


@pytest.mark.behaviour("G21")
async def test_the_error_of_a_set_that_cannot_be_opened_names_it_and_has_the_cause(
    autojump_clock: MockClock,
) -> None:
    shelf = Shelf("shelf", [], open_timeout=3.0)
    shelf.broken = True
    async with on_stage() as stage:
        with pytest.raises(ToolSetError, match="'shelf' could not be opened") as caught:
            await stage.session.run(Clerk(shelf))
        assert caught.value.tool_set == "shelf"
        assert isinstance(caught.value.__cause__, OSError)
        assert not stage.sent("response.create")
        shelf.broken, shelf.opens = False, 60.0
        began = trio.current_time()
        with (
            trio.fail_after(30),
            pytest.raises(ToolSetError, match="did not open within 3 s"),
        ):
            await stage.session.run(Clerk(shelf))
        assert trio.current_time() - began == pytest.approx(3.0)


@pytest.mark.behaviour("G21")
async def test_whoever_gives_up_waiting_for_a_set_does_not_stop_its_opening(
    autojump_clock: MockClock,
) -> None:
    """The other one who waits has it, and it was opened once."""
    log: list[str] = []
    shelf = Shelf("shelf", log, opens=5.0)
    async with on_stage() as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.session.open_tool_set, shelf)
        with trio.move_on_after(1) as impatient:
            await stage.session.open_tool_set(shelf)
        assert impatient.cancelled_caught
        assert await stage.session.open_tool_set(shelf)
    assert log == ["shelf opened", "shelf closed"]


@pytest.mark.behaviour("G21")
async def test_two_sets_with_a_tool_of_one_name_are_refused(
    autojump_clock: MockClock,
) -> None:
    one, other = Shelf("one", []), Shelf("other", [])
    async with on_stage() as stage:
        with pytest.raises(ConfigurationError, match=r"called 'look_up'.*set 'other'"):
            await stage.session.run(Clerk(one, other))


async def test_sets_without_end_are_refused(
    autojump_clock: MockClock,
) -> None:
    """An agent that makes a new set each time it is made would fill the session."""
    log: list[str] = []
    async with on_stage() as stage:
        for number in range(64):
            await stage.session.open_tool_set(Shelf(f"s{number}", log))
        with pytest.raises(ConfigurationError, match="make a set once"):
            await stage.session.open_tool_set(Shelf("one more", log))
    assert len(log) == 2 * 64


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        (lambda made, shelf: [made], r"call it to make one: tools=\[made\(\)\]"),
        (lambda made, shelf: shelf, "tools is a list of tools"),
        (lambda made, shelf: [shelf.open], "is not a tool"),
    ],
)
async def test_what_is_given_in_place_of_a_set_is_refused(
    autojump_clock: MockClock, tools: Any, words: str
) -> None:
    @tool_set(name="made")
    async def made() -> AsyncIterator[list[AnyTool]]:
        yield []

    agent = Agent("Be brief.", tools=tools(made, Shelf("shelf", [])))
    async with on_stage() as stage:
        with pytest.raises(ConfigurationError, match=words):
            await stage.session.run(agent)


# --- what breaks while it is open --------------------------------------------------


@pytest.mark.behaviour("G22")
async def test_a_set_that_breaks_is_announced_and_opened_anew_for_the_next_agent(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The conversation goes on; the traceback is in the log."""
    log: list[str] = []
    shelf, other = Shelf("shelf", log), Shelf("other", log, tools=("find",))
    async with on_stage(prompted(Call("look_up"))) as stage:
        reader = Reader(shelf, other)
        async with running(stage, reader):
            await until(lambda: replies(stage) == 2)
            with caplog.at_level(logging.ERROR, logger="trialogue"):
                shelf.breaks.set()
                await until(lambda: stage.of(ToolSetFailed))
            assert stage.session.agent is reader
            (event,) = stage.of(ToolSetFailed)
            assert event.tool_set == "shelf"
            assert "the shelf fell down" in str(event.error.exceptions)
            assert "the shelf fell down" in caplog.text
            shelf.breaks = trio.Event()
            await stage.session.handoff(Reader(shelf, other))
            await until(lambda: replies(stage) == 4)
    assert sorted(log[:2]) == ["other opened", "shelf opened"]
    assert log[2:] == ["shelf opened", "shelf closed", "other closed"]


@pytest.mark.behaviour("G22")
async def test_a_set_that_does_not_close_is_cut_and_the_others_have_their_time(
    autojump_clock: MockClock,
) -> None:
    """All in the close deadline, two seconds."""
    log: list[str] = []
    async with on_stage() as stage:
        await stage.session.open_tool_set(Shelf("slow", log, closes=0.5))
        await stage.session.open_tool_set(Shelf("stuck", log, closes=600))
        await stage.session.open_tool_set(Shelf("quick", log, closes=0.1))
        began = trio.current_time()
    assert trio.current_time() - began <= 2.1
    assert log[3:] == ["quick closed", "slow closed"]


@pytest.mark.behaviour("G22")
async def test_what_closing_a_set_raises_is_raised_when_all_are_closed(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    @tool_set
    async def torn() -> AsyncIterator[list[AnyTool]]:
        yield []
        raise OSError("torn")

    async def close_both() -> None:
        async with on_stage() as stage:
            await stage.session.open_tool_set(Shelf("shelf", log))
            await stage.session.open_tool_set(torn())

    with pytest.raises(OSError, match="torn"):
        await close_both()
    assert log == ["shelf opened", "shelf closed"]


@pytest.mark.behaviour("G22")
async def test_the_session_ends_while_a_set_is_being_opened(
    autojump_clock: MockClock,
) -> None:
    """The opening is cancelled, and whoever waits for it is told."""
    log: list[str] = []
    caught: list[Exception] = []
    shelf = Shelf("shelf", log, opens=8.0)

    async def wait(session: Any) -> None:
        try:
            await session.open_tool_set(shelf)
        except SessionClosed as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        async with on_stage() as stage:
            # Whoever waits there is outside of the session.
            nursery.start_soon(wait, stage.session)  # noqa: ASYNC111
            await trio.sleep(1)
            began = trio.current_time()
        assert trio.current_time() - began < 1
    assert len(caught) == 1
    assert log == []


@pytest.mark.behaviour("G20", "G22")
async def test_at_whatever_moment_a_session_is_cancelled_no_set_is_left_open(
    autojump_clock: MockClock,
) -> None:
    """Sixty moments, in openings, handoffs and closings; leaving is bounded."""
    ended: list[str] = []

    @tool_set
    async def slow(name: str) -> AsyncIterator[list[AnyTool]]:
        await trio.sleep(0.2)
        ended.append(f"+{name}")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield []
                await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
        finally:
            ended.append(f"-{name}")

    async def talk() -> None:
        async with on_stage() as stage, trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.run, Clerk(slow("a")))
            await until(lambda: stage.session.agent is not None)
            await stage.session.handoff(Clerk(slow("a"), slow("b")))
            await stage.session.handoff(Clerk(slow("b"), slow("c")))
            stage.session.end(now=True)

    opened: list[str] = []
    for moment in range(60):
        ended.clear()
        with trio.move_on_after(moment * 0.03) as scope:
            await talk()
        assert trio.current_time() - scope.deadline < 2.5
        opened = [name for name in ended if name.startswith("+")]
        assert sorted(ended) == sorted([*opened, *(f"-{n[1:]}" for n in opened)])
    assert opened == ["+a", "+b", "+c"]


# --- tools that come and go --------------------------------------------------------


@pytest.mark.behaviour("G27")
async def test_a_list_that_changes_counts_for_the_next_agent(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A tool that came in under a name that is taken is left out, and logged."""
    shelf = Shelf("shelf", [])
    async with (
        on_stage(prompted(Call("look_up"))) as stage,
        running(stage, Reader(shelf)),
    ):
        await until(lambda: replies(stage) == 2)
        shelf.tools.append(shelf.tool("find"))
        shelf.tools.append(shelf.tool("transfer"))
        await stage.session.handoff(Reader(shelf))
        assert tools_sent(stage)[-1] == ["transfer", "look_up", "find"]
    assert "tool transfer, which set shelf has now" in caplog.text
