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


TAKES_ALL = """
import inspect
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    '''As pytest-asyncio does in its automatic mode.'''
    make = fixturedef.func
    if inspect.isasyncgenfunction(make) or inspect.iscoroutinefunction(make):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fixturedef, "func", lambda **_: "made elsewhere")
            return (yield)
    return (yield)
"""


USED = """
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies
from trialogue.testing import RealtimeServer, in_virtual_time

SEEN = []


@pytest.fixture
async def watched(realtime_server):
    await trio.sleep(1)
    SEEN.append("up")
    yield realtime_server
    await trio.sleep(1)
    SEEN.append("down")


@pytest.mark.usefixtures("watched")
@in_virtual_time
async def test_a_fixture_that_is_only_used():
    assert SEEN == ["up"]


def test_it_is_torn_down():
    assert SEEN == ["up", "down"]
    SEEN.clear()


@in_virtual_time
async def test_that_fails(watched):
    assert isinstance(watched, RealtimeServer)
    assert not watched, "for its own reasons"


@in_virtual_time
async def test_that_is_skipped(watched):
    pytest.skip("for its own reasons")


def test_they_are_torn_down_too():
    assert SEEN == ["up", "down"] * 2


@settings(
    max_examples=5,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(number=strategies.integers())
@in_virtual_time
async def test_each_run_has_fixtures_of_its_own(number, watched):
    assert watched not in SEEN
    SEEN.append(watched)


@pytest.fixture
def plain(watched):
    SEEN.clear()
    yield watched
    SEEN.append("plain down")


@in_virtual_time
async def test_a_plain_one_may_build_on_it(plain):
    assert isinstance(plain, RealtimeServer)


def test_it_is_torn_down_first():
    assert SEEN == ["plain down", "down"]


@pytest.fixture
async def bounded():
    with trio.move_on_after(5):
        yield


@in_virtual_time
async def test_is_not_passed_if_a_fixture_ends_it(bounded):
    await trio.sleep_forever()


@pytest.fixture
async def broken():
    async with trio.open_nursery() as nursery:
        yield nursery


@in_virtual_time
async def test_what_runs_in_a_fixture_may_fail(broken):
    async def fail():
        raise LookupError("in the background")

    broken.start_soon(fail)
    await trio.sleep_forever()


class TestOneInstance:
    @pytest.fixture(autouse=True)
    async def prepared(self):
        self.ready = True

    @in_virtual_time
    async def test_is_that_of_the_fixtures(self):
        assert self.ready
"""


MISTAKES = """
import pytest
from trialogue.testing import in_virtual_time


def test_without_trio(wire_trace):
    pass


async def test_without_a_marker(realtime_server):
    pass


@in_virtual_time
async def test_too_late(request):
    request.getfixturevalue("realtime_server")


@in_virtual_time
def test_not_async():
    pass


@pytest.fixture
def impatient(request):
    return request.getfixturevalue("realtime_server").url


@in_virtual_time
async def test_too_early(impatient):
    pass


@pytest.mark.realtime("talk.jsonl")
@in_virtual_time
async def test_a_positional_argument(realtime_server):
    pass


@pytest.mark.trio_seed("seven")
def test_no_seed():
    pass


@pytest.mark.realtime(replay="talk.jsonl", mode="Strict")
@in_virtual_time
async def test_no_such_mode(realtime_server):
    pass


@in_virtual_time
async def test_none(realtime_server):
    assert realtime_server.live == []
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


def test_fixtures_are_those_of_pytest(pytester: pytest.Pytester) -> None:
    """Set up whoever asks, torn down whatever the test did; on the test's instance."""
    pytester.makeconftest(TAKES_ALL)
    result = run(pytester, "-p", "no:trio", "-p", "no:anyio", test_used=USED)
    result.assert_outcomes(passed=7, failed=3, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            "*AssertionError: for its own reasons",
            "*RuntimeError: a fixture has ended this test*",
            "*LookupError: in the background*",
        ]
    )


def test_a_mistake_is_told_of_and_stays_that_of_one_test(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / "talk.jsonl").write_text(
        '{"connection":0,"time":0,"direction":"out","event":{"type":"x"}}\n'
    )
    options = ("-p", "no:trio", "-p", "no:anyio", "--tb=short")
    result = run(pytester, *options, test_mistakes=MISTAKES)
    result.assert_outcomes(passed=1, failed=5, errors=3)
    needs_trio = "realtime_server, and what is built on it, needs a test that Trio runs"
    shown = result.stdout.str()
    assert shown.count(f"\n{needs_trio}") == 2
    result.stdout.fnmatch_lines_random(
        [
            "*the async fixture realtime_server cannot be set up while its test runs*",
            "*TypeError: in_virtual_time is for async functions: *`async def *",
            "*realtime_server has no url yet: it is set up when its test runs*",
            "*takes keywords alone*was given 'talk.jsonl'",
            "*takes whole numbers, and was given ('seven',)",
            "*ConfigurationError: *'Strict'*",
        ]
    )


def test_who_does_not_use_it_does_not_notice(pytester: pytest.Pytester) -> None:
    result = run(pytester, "-p", "no:trio", "-p", "no:anyio", test_aside=ASIDE)
    result.assert_outcomes(passed=1)
