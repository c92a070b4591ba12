"""The plugin of trialogue for pytest: a local realtime server, and schedules by seed.

Pytest loads it wherever trialogue is installed. It does nothing until a test asks for
one of its fixtures, a marker or the option, and imports nothing of trialogue before
that. It needs no plugin for Trio, and works with pytest-trio and with anyio's.
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Generator,
        Mapping,
        Sequence,
    )
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
    from trialogue.testing.deferred import Deferred

_RUNS_ITSELF = "_trialogue_runs_itself"
"""As in `trialogue.testing.deferred`, which is not imported for the sake of a name."""

_ASYNCIO = "_force_asyncio_fixture"
"""The attribute of a fixture that is meant for pytest-asyncio, and for it alone."""
_NEEDS_TRIO = (
    "realtime_server, and what is built on it, needs a test that Trio runs: put "
    "@in_virtual_time of trialogue.testing on an `async def`, or mark it for "
    'pytest-trio, or for anyio\'s plugin with "trio" as the anyio_backend'
)

_deferred: pytest.StashKey[list[Deferred]] = pytest.StashKey()
_under_way: pytest.StashKey[bool] = pytest.StashKey()

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
    import trio

    from trialogue.testing import open_realtime_server, replay

    if not trio.lowlevel.in_trio_run():
        pytest.fail(_NEEDS_TRIO, pytrace=False)
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
        if marker.args:
            what = ", ".join(map(repr, marker.args))
            pytest.fail(
                f"@pytest.mark.realtime takes keywords alone, as in "
                f"realtime(replay=FILE), and was given {what}",
                pytrace=False,
            )
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
    # Afresh, for a test may be run again.
    item.stash[_deferred] = []
    item.stash[_under_way] = False
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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: Any
) -> Generator[None, object, object]:
    """Leave async fixtures of tests under `in_virtual_time` to these tests.

    Outermost, so that no plugin for another framework takes them for its own.
    """
    arguments = _to_defer(fixturedef, request)
    if arguments is None:
        return (yield from _explained(fixturedef))
    if request.node.stash.get(_under_way, False):
        _refuse(
            fixturedef,
            f"the async fixture {fixturedef.argname} cannot be set up while its test "
            "runs: name it among the test's arguments",
        )
    from trialogue.testing.deferred import Deferred

    make = _bound(fixturedef.func, request.instance)
    deferred = Deferred(make, arguments, sees_failure=make.__module__ == __name__)
    request.node.stash.setdefault(_deferred, []).append(deferred)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixturedef, "func", lambda **_: deferred)
        return (yield)


def _to_defer(
    fixturedef: pytest.FixtureDef[Any], request: Any
) -> Mapping[str, Any] | None:
    """Return the arguments of a fixture that is to wait for its test's run."""
    if request.scope != "function":
        return None
    test = getattr(request.node, "obj", None)
    inner = getattr(getattr(test, "hypothesis", None), "inner_test", test)
    if not getattr(inner, _RUNS_ITSELF, False):
        return None
    make = fixturedef.func
    waits = inspect.isasyncgenfunction(make) or inspect.iscoroutinefunction(make)
    if getattr(make, _ASYNCIO, False):
        return None
    arguments = {name: request.getfixturevalue(name) for name in fixturedef.argnames}
    if waits:
        return arguments
    deferred = request.node.stash.get(_deferred, ())
    needs = any(value is one for value in arguments.values() for one in deferred)
    return arguments if needs else None


def _bound(make: Any, instance: object) -> Any:
    """Return the fixture's function; a method of the test's class, as one of this test.

    Pytest makes an instance of the class for each test, and has bound it to another.
    """
    if inspect.ismethod(make) and isinstance(instance, type(make.__self__)):
        return make.__func__.__get__(instance)
    return make


def _explained(
    fixturedef: pytest.FixtureDef[Any],
) -> Generator[None, object, object]:
    """Let others set it up; if nobody does, say what the test lacks."""
    try:
        return (yield)
    except pytest.fail.Exception:
        ours = getattr(fixturedef.func, "__module__", None) == __name__
        if not ours or fixturedef.cached_result is not None:
            raise
    _refuse(fixturedef, _NEEDS_TRIO)


def _refuse(fixturedef: pytest.FixtureDef[Any], why: str) -> NoReturn:
    """Fail, and leave a result: the failure.

    Pytest 9 takes a fixture without one for one that is torn down already, and fails at
    it in each test that is to come, without a word.
    """
    try:
        pytest.fail(why, pytrace=False)
    except pytest.fail.Exception as error:
        fixturedef.cached_result = (None, None, (error, error.__traceback__))
        raise


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
    if marker is None:
        return given
    if not marker.args or not all(isinstance(one, int) for one in marker.args):
        pytest.fail(
            f"@pytest.mark.trio_seed takes whole numbers, and was given {marker.args}",
            pytrace=False,
        )
    return int(marker.args[0]) if given is None else given


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
    """Let the seed decide, and the test know the fixtures that wait for it."""
    item.stash[_under_way] = True
    with ExitStack() as stack:
        waiting = item.stash.get(_deferred, [])
        if waiting:
            from trialogue.testing.deferred import awaited

            stack.enter_context(awaited(waiting))
        seed = _seed(item)
        if seed is not None:
            from trialogue.testing.scheduling import seeded

            stack.enter_context(seeded(seed))
        return (yield)
