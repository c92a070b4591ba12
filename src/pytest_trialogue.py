"""The plugin of trialogue for pytest: a local realtime server, and schedules by seed.

Pytest loads it wherever trialogue is installed. It does nothing until a test asks for
one of its fixtures, a marker or the option, and imports nothing of trialogue before
that. It needs no plugin for Trio, and works with pytest-trio and with anyio's.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
    from contextlib import AbstractAsyncContextManager

    import trio

    from trialogue import AgentSession
    from trialogue.testing import (
        Brain,
        Fault,
        Network,
        RealtimeServer,
        Settings,
        WireTrace,
    )

_RUNS_ITSELF = "_trialogue_runs_itself"
"""As in `trialogue.testing.deferred`, which is not imported for the sake of a name."""

_MARKERS = (
    "realtime(**keywords): of the local server behind `realtime_server`, as "
    "`RealtimeServer` takes them; or replay=FILE, beside the test, with mode= and "
    "audio=. virtual_time=False leaves pytest-trio on a real clock.",
    "trio_seed(*seeds): let Trio's schedule depend on the seed alone; with several, "
    "the test is run once for each.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("trialogue").addoption(
        "--trio-seed",
        type=int,
        metavar="N",
        help="make the schedule of every Trio test that of this seed",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which schedule it is."""
    seed = config.getoption("--trio-seed")
    return None if seed is None else f"trio seed: {seed}"


# --- the server ----------------------------------------------------------------------


@pytest.fixture
def realtime_brain() -> Brain:
    """What the model of `realtime_server` says; by default it repeats the user."""
    from trialogue.testing.script import echo

    return echo


@pytest.fixture
def realtime_settings() -> Settings | None:
    """What `realtime_server` accepts, and how it differs from others."""
    return None


@pytest.fixture
def realtime_faults() -> Sequence[Fault]:
    """What goes wrong at `realtime_server`."""
    return ()


@pytest.fixture
def realtime_network() -> Network | None:
    """How far away `realtime_server` is."""
    return None


@pytest.fixture
async def realtime_server(
    request: pytest.FixtureRequest,
    realtime_brain: Brain,
    realtime_settings: Settings | None,
    realtime_faults: Sequence[Fault],
    realtime_network: Network | None,
) -> AsyncIterator[RealtimeServer]:
    """A local server in memory, running; `server.model()` is a model that dials it."""
    from trialogue.testing import open_realtime_server, replay

    keywords = _keywords(request.node)
    keywords.pop("virtual_time", None)
    recording = keywords.pop("replay", None)
    if recording is not None:
        async with replay(request.path.parent / recording, **keywords) as server:
            yield server
        return
    usual: dict[str, Any] = {
        "brain": realtime_brain,
        "settings": realtime_settings,
        "faults": realtime_faults,
        "network": realtime_network,
    }
    async with open_realtime_server(**(usual | keywords)) as server:
        yield server


def _keywords(node: pytest.Item) -> dict[str, Any]:
    """Those of every marker, of which the closest wins."""
    keywords: dict[str, Any] = {}
    for marker in node.iter_markers("realtime"):
        keywords = {**marker.kwargs, **keywords}
    return keywords


@pytest.fixture
def agent_session(
    realtime_server: RealtimeServer,
) -> Callable[..., AbstractAsyncContextManager[AgentSession[Any]]]:
    """A function that opens an agent session on `realtime_server`.

    It takes the keywords of `open_agent_session`. The `seed` is 0 unless it is given,
    so that the same test sends the same frames; a `model` may be given too.
    """
    from trialogue import open_agent_session

    def opening(
        model: Any = None, **keywords: Any
    ) -> AbstractAsyncContextManager[AgentSession[Any]]:
        dialled = realtime_server.model() if model is None else model
        keywords.setdefault("seed", 0)
        return open_agent_session(dialled, **keywords)

    return opening


@pytest.fixture
def wire_trace(realtime_server: RealtimeServer) -> WireTrace:
    """What goes over the wire of `realtime_server`, to ask and to make demands of."""
    from trialogue.testing import WireTrace

    return WireTrace(realtime_server)


# --- time ----------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let pytest-trio's tests of the server run in virtual time."""
    marker = item.get_closest_marker("trio")
    if marker is None or "realtime_server" not in getattr(item, "fixturenames", ()):
        return
    import trio

    own = {one.kwargs.get("run") for one in item.iter_markers("trio")}
    if own <= {None, trio.run} and _keywords(item).get("virtual_time", True):
        item.add_marker(pytest.mark.trio(run=_run), append=False)


def _run(
    test: Callable[[], Awaitable[Any]],
    *,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> Any:
    """As `trio.run`; the clock jumps, unless the test has one of its own."""
    import trio
    import trio.testing

    if clock is None:
        clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(test, clock=clock, instruments=instruments)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: Any) -> Any:
    """Leave async fixtures of tests under `in_virtual_time` to these tests."""
    if request.scope != "function":
        return None
    if not getattr(getattr(request.node, "obj", None), _RUNS_ITSELF, False):
        return None
    from trialogue.testing.deferred import Deferred

    make = fixturedef.func
    arguments = {name: request.getfixturevalue(name) for name in fixturedef.argnames}
    waits = inspect.isasyncgenfunction(make) or inspect.iscoroutinefunction(make)
    if not waits and not any(isinstance(v, Deferred) for v in arguments.values()):
        return None
    deferred = Deferred(make, arguments)
    fixturedef.cached_result = (deferred, fixturedef.cache_key(request), None)
    return deferred


# --- schedules -----------------------------------------------------------------------


@pytest.fixture
def trio_seed(request: pytest.FixtureRequest) -> int | None:
    """The seed of this test's schedule; None if nothing decides it."""
    return _seed(request.node)


def _seed(item: pytest.Item) -> int | None:
    params = getattr(getattr(item, "callspec", None), "params", {})
    if "trio_seed" in params:
        return int(params["trio_seed"])
    given: int | None = item.config.getoption("--trio-seed")
    marker = item.get_closest_marker("trio_seed")
    if given is None and marker is not None and marker.args:
        return int(marker.args[0])
    return given


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each of its seeds, or for the one that is asked for."""
    marker = metafunc.definition.get_closest_marker("trio_seed")
    if marker is None or len(marker.args) < 2:
        return
    given = metafunc.config.getoption("--trio-seed")
    seeds = marker.args if given is None else (given,)
    if "trio_seed" not in metafunc.fixturenames:
        metafunc.fixturenames.append("trio_seed")
    metafunc.parametrize("trio_seed", seeds, indirect=True, ids=_seed_name)


def _seed_name(seed: int) -> str:
    return f"seed{seed}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let the seed decide."""
    seed = _seed(item)
    if seed is None:
        return (yield)
    from trialogue.testing.scheduling import seeded

    with seeded(seed):
        return (yield)
