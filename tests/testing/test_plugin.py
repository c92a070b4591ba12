"""The plugin for pytest, in projects of their own, each in a process of its own."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import trio

from trialogue import open_session
from trialogue.testing import (
    Say,
    in_virtual_time,
    open_realtime_server,
    record,
)

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]

INSTALLED = any(one.name == "trialogue" for one in entry_points(group="pytest11"))
"""Where it is, pytest loads it by itself; from a mere checkout it is told to."""

PROJECT = """
import pytest
import trio
from trialogue import Agent, open_session
from trialogue.testing import Say, Settings, in_virtual_time, lose


@pytest.fixture
def realtime_brain():
    return lambda turn: Say("Hello.")


async def talk(agent_session):
    async with agent_session() as session, trio.open_nursery() as nursery:
        nursery.start_soon(session.run, Agent("You are Kelly.", name="Kelly"))
        await trio.sleep(3000)
        await session.send_message("Hi.")
        reply = await session.generate_reply()
        assert reply.text == "Hello."
        session.end()


{decorator}
async def test_an_agent_answers(realtime_server, agent_session, wire_trace):
    await talk(agent_session)
    assert len(realtime_server.connections) == 1
    wire_trace.assert_no_error()
    wire_trace.assert_order("session.created", "session.update", "response.create")


@pytest.mark.realtime(faults=[lose("conversation.item.create")], settings=None)
{decorator}
async def test_a_marker_makes_things_go_wrong(realtime_server, wire_trace):
    async with open_session(realtime_server.model()) as session:
        with trio.move_on_after(1):
            await session.send_message("Hi.")
    with pytest.raises(AssertionError, match="what went over the wire"):
        wire_trace.assert_acknowledged("conversation.item.create")


@pytest.mark.realtime(settings=Settings(instructions="The closer one."))
class TestMarkers:
    {decorator}
    async def test_of_a_class_count_too(self, realtime_server):
        assert realtime_server.settings.instructions == "The closer one."

    @pytest.mark.realtime(seed=3)
    {decorator}
    async def test_add_up(self, realtime_server):
        assert realtime_server.settings.instructions == "The closer one."


class TestOverriding:
    @pytest.fixture
    def realtime_settings(self):
        return Settings(voice="cedar")

    {decorator}
    async def test_a_fixture_of_ones_own(self, realtime_server, realtime_settings):
        assert realtime_server.settings is realtime_settings


@pytest.fixture
async def greeting(agent_session):
    async with agent_session() as session:
        yield session


{decorator}
async def test_async_fixtures_may_build_on_it(greeting, realtime_server):
    assert len(realtime_server.live) == 1
"""


CLOCKS = """
import pytest
import trio
import trio.testing


@pytest.mark.trio
async def test_the_clock_jumps(realtime_server):
    assert isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)


@pytest.mark.realtime(virtual_time=False)
@pytest.mark.trio
async def test_it_is_the_real_one_on_request(realtime_server):
    assert not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)


@pytest.mark.trio
async def test_ones_own_is_left_alone(realtime_server, mock_clock):
    assert trio.lowlevel.current_clock() is mock_clock


@pytest.mark.trio
async def test_other_tests_are_left_alone():
    assert not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)


@pytest.fixture
def anyio_backend():
    return "trio"


class TestAnyio:
    pytestmark = pytest.mark.anyio

    async def test_with_the_plugin_of_anyio(self, agent_session, wire_trace):
        async with agent_session() as session:
            assert wire_trace.received("session.created")
"""


SEEDS = """
import pytest
import trio
from trialogue.testing import in_virtual_time


async def order():
    said = []

    async def talk(number):
        for _ in range(5):
            await trio.lowlevel.checkpoint()
            said.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(talk, number)
    return said


{decorator}
@pytest.mark.trio_seed(1, 2, 3)
async def test_several(trio_seed):
    print("several", trio_seed, await order())


{decorator}
@pytest.mark.trio_seed(2)
async def test_one():
    print("one 2", await order())


{decorator}
async def test_any(trio_seed):
    print("any", trio_seed)
"""


REPLAYED = """
import pytest
from trialogue import open_session
from trialogue.testing import in_virtual_time

pytestmark = pytest.mark.realtime(replay="talk.jsonl")


@pytest.mark.trio
async def test_the_same(realtime_server):
    async with open_session(realtime_server.model(), instructions="Be brief."):
        pass


@in_virtual_time
async def test_the_same_without_a_plugin(realtime_server):
    async with open_session(realtime_server.model(), instructions="Be brief."):
        pass


@pytest.mark.trio
async def test_another(realtime_server):
    async with open_session(realtime_server.model(), instructions="Be long."):
        pass


@pytest.mark.realtime(mode="lenient")
@pytest.mark.trio
async def test_another_leniently(realtime_server):
    async with open_session(realtime_server.model(), instructions="Be long."):
        pass
"""


ASIDE = """
import sys

def test_nothing_is_imported_and_nothing_is_autouse(request):
    assert "pytest_trialogue" in sys.modules
    assert not [name for name in sys.modules if name.startswith("trialogue")]
    assert not [name for name in request.fixturenames if "realtime" in name]
"""


def run(pytester: pytest.Pytester, *options: str, **files: str) -> pytest.RunResult:
    pytester.makepyfile(**files)
    loading = [] if INSTALLED else ["-p", "pytest_trialogue"]
    strict = ["--strict-markers", "-W", "error", "-p", "no:cacheprovider"]
    return pytester.runpytest_subprocess(*loading, *strict, "-sv", *options)


def printed(result: pytest.RunResult, what: str) -> list[str]:
    """The orders of tasks that were printed, by what is printed before them."""
    found = [line.partition(what)[2] for line in result.outlines if what in line]
    return [order.partition("]")[0] for order in found]


def test_it_works_with_pytest_trio_and_the_plugin_of_anyio(
    pytester: pytest.Pytester,
) -> None:
    """In virtual time, without a clock among the arguments: 3000 s would be noticed.

    All in one run, for it takes its time to start.
    """

    @in_virtual_time
    async def make() -> None:
        async with (
            open_realtime_server(lambda turn: Say("Hello.")) as server,
            record(pytester.path / "talk.jsonl") as recording,
            open_session(server.model(), instructions="Be brief.", wire_log=recording),
        ):
            await trio.sleep(1)

    make()
    trio_mark = "@pytest.mark.trio"
    result = run(
        pytester,
        test_project=PROJECT.replace("{decorator}", trio_mark),
        test_clocks=CLOCKS,
        test_seeds=SEEDS.replace("{decorator}", trio_mark),
        test_replayed=REPLAYED,
    )

    result.assert_outcomes(passed=6 + 5 + 5 + 3, failed=1)
    result.stdout.fnmatch_lines(
        ["*session.instructions: expected 'Be brief.', got 'Be long.'*"]
    )
    result.stdout.fnmatch_lines(["*test_several[[]seed1[]]*", "*any None*"])
    orders = [printed(result, f"several {seed} [")[0] for seed in (1, 2, 3)]
    assert len(set(orders)) == 3
    assert printed(result, "one 2 [") == [orders[1]]


def test_it_works_without_a_plugin_for_trio(pytester: pytest.Pytester) -> None:
    """And with one schedule for all tests."""
    result = run(
        pytester,
        *("-p", "no:trio", "-p", "no:anyio", "--trio-seed", "7"),
        test_project=PROJECT.replace("{decorator}", "@in_virtual_time"),
        test_seeds=SEEDS.replace("{decorator}", "@in_virtual_time"),
    )

    result.assert_outcomes(passed=6 + 3)
    result.stdout.fnmatch_lines(["trio seed: 7", "*several 7*", "*any 7*"])


def test_who_does_not_use_it_does_not_notice(pytester: pytest.Pytester) -> None:
    result = run(pytester, "-p", "no:trio", "-p", "no:anyio", test_aside=ASIDE)
    result.assert_outcomes(passed=1)
