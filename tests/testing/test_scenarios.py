"""Scenario files: what they say is what a server does, and mistakes are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import dialled
from trialogue.errors import ConfigurationError
from trialogue.testing import (
    Network,
    Pace,
    Scenario,
    Settings,
    close,
    cut,
    dump_scenario,
    duplicate,
    expire,
    fail_response,
    garbage,
    half_open,
    hold,
    in_virtual_time,
    late,
    load_scenario,
    lose,
    mixture,
    open_realtime_server,
    quota,
    refuse_connect,
    refuse_upgrade,
    reject,
    silence,
    silent_connect,
    slow_accept,
    stall,
    swallow,
)
from trialogue.testing.faults import BROKEN_FRAMES
from trialogue.testing.machine.quirks import XAIQuirks
from trialogue.testing.scenarios import with_dialect
from trialogue.testing.scenarios.loading import DO

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = """\
seed = 7

[network]
one_way = 0.04
jitter = 0.01
connect_round_trips = 2

[settings]
max_duration = 900
keys = ["sk-one", "sk-two"]
when_busy = "queue"

[settings.pace]
think_ms = 10
transcript_ms = [300, 20]

[[faults]]
do = "reject"
event = "response.create"
nth = 2
code = "server_error"
onwards = true

[[faults]]
do = "close"
code = 1011
after = "session.updated"
nth = "each"

[[faults]]
do = "reject"
event = "session.update"
code = ""
message = ""

[[faults]]
do = "stall"
at = 30
side = "writes"

[[faults]]
do = "stall"
at = 40
seconds = inf

[[faults]]
do = "refuse_upgrade"
status = 503
times = 2

[mixture]
late = 0.02
seconds = 1
events = ["response.create"]
connections = 3
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "scenario.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_file_says_what_the_functions_say(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path, EVERYTHING))
    assert scenario == Scenario(
        seed=7,
        network=Network(0.04, 2, 0.01),
        settings=Settings(
            max_duration=900,
            keys=frozenset(["sk-one", "sk-two"]),
            when_busy="queue",
            pace=Pace(think_ms=10, transcript_ms=(300, 20)),
        ),
        faults=[
            reject("response.create", nth=2, onwards=True),
            close(1011, after="session.updated", nth=None),
            reject("session.update", code=None),
            stall(at=30, side="writes"),
            stall(at=40),
            refuse_upgrade(503, 2),
        ],
        mixtures=[
            mixture(7, late=0.02, seconds=1, events=["response.create"], connections=3)
        ],
    )
    assert load_scenario(written(tmp_path, "")) == Scenario()


@in_virtual_time
async def test_server_does_what_a_file_says(tmp_path: Path) -> None:
    text = '[[faults]]\ndo = "expire"\nat = 30\n[network]\none_way = 0.5\n'
    options = load_scenario(written(tmp_path, text)).options()
    async with open_realtime_server(**options) as server, dialled(server) as client:
        await client.read()
        error = (await client.read())["error"]
        assert error["code"] == "session_expired"
        assert server.connections[0].closed is None
        assert server.network.one_way == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x =", "this is no TOML: "),
        ("faults = 3", r"faults: expected tables, \[\[faults\]\] each"),
        ("fault = 3", "the file: there is no key 'fault' .*'faults'"),
        ('seed = "x"', "the file: seed: expected an integer, got a string"),
        ("network = 3", r"network: expected a table, \[network\]"),
        ("[network]\none_way = -1", r"\[network\]: one_way is a number from 0"),
        ("[network]\nlatency = 1", r"\[network\]: there is no key 'latency'"),
        ("[settings]\nwall = 1", r"\[settings\]: there is no key 'wall'"),
        (
            '[settings]\nwhen_busy = "wait"',
            r'\[settings\]: when_busy: expected one of "skip", "queue"',
        ),
        ("[settings]\npace = 3", r"settings.pace: expected a table"),
        (
            '[settings]\ndialect = "x"',
            r'dialect: expected one of "openai"',
        ),
        (
            '[settings.pace]\nburst = "x"',
            r"\[settings.pace\]: burst: expected a number, got a string",
        ),
        ('[[faults]]\nevent = "error"', r"\[\[faults\]\] 1: do: expected one of"),
        (
            '[[faults]]\ndo = "rejct"',
            r"\[\[faults\]\] 1: do: .* got 'rejct' \(did you mean 'reject'\?\)",
        ),
        (
            '[[faults]]\ndo = "cut"\nat = 1\n[[faults]]\ndo = "cut"\nnth = 1.5\nat = 1',
            r'\[\[faults\]\] 2 \(cut\): nth: expected an integer or "each", got a num',
        ),
        (
            '[[faults]]\ndo = "cut"\nat = 1\nnht = 2',
            r"\(cut\): there is no key 'nht' \(did you mean 'nth'\?\); there are",
        ),
        (
            '[[faults]]\ndo = "cut"\nat = 1\nmatch = "x"',
            r"\(cut\): there is no key 'match'",
        ),
        (
            '[[faults]]\ndo = "late"\nevent = "response.dome"\nseconds = 1',
            r"\(late\): event: there is no event 'response.dome' .*'response.done'",
        ),
        (
            '[[faults]]\ndo = "late"\nevent = "response.done"',
            r"\(late\): seconds: expected a number, got nothing",
        ),
        (
            '[[faults]]\ndo = "lose"\nevent = "session.updated"',
            r"\(lose\): event: expected a request of the client, .*'swallow'",
        ),
        (
            '[[faults]]\ndo = "swallow"\nevent = "session.update"',
            r"\(swallow\): event: expected an answer of the server, .*'lose'",
        ),
        ('[[faults]]\ndo = "cut"', r"\(cut\): give exactly one of before="),
        (
            '[[faults]]\ndo = "cut"\nafter = ""',
            r"\(cut\): give exactly one of before=",
        ),
        (
            '[[faults]]\ndo = "stall"\nat = 1\nside = "left"',
            r'\(stall\): side: expected one of "reads", "writes", "both"',
        ),
        ("[mixture]\nlate = 2", r"\[mixture\]: late is a rate from 0 to 1"),
        ("[mixture]\nlat = 0.1", r"\[mixture\]: there is no key 'lat' .*'late'"),
        ("[[mixture]]\nlate = 0\n[[mixture]]\nlate = 2", r"\[\[mixture\]\] 2: late"),
    ],
)
def test_mistake_is_named_with_file_table_and_key(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=message) as raised:
        load_scenario(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_settings_of_another_dialect_have_what_is_usual_there() -> None:
    assert with_dialect(Settings(max_duration=9), "xai") == Settings(
        dialect="xai", max_duration=9
    )


def test_dialect_with_its_quirks_is_a_setting(tmp_path: Path) -> None:
    """And the words of it name frames."""
    text = """
        [settings]
        dialect = "xai"
        reasoning = true
        [settings.xai]
        item_done = true
        [[faults]]
        do = "swallow"
        event = "response.text.delta"
        """
    scenario = load_scenario(written(tmp_path, text))
    quirks = XAIQuirks(item_done=True)
    assert scenario.settings == Settings(dialect="xai", reasoning=True, xai=quirks)
    assert scenario.faults == (swallow("response.text.delta"),)


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"seed = \xff")
    with pytest.raises(ConfigurationError, match=r"x\.toml: this is no TOML"):
        load_scenario(path)
    with pytest.raises(FileNotFoundError):
        load_scenario(tmp_path / "none.toml")


# --- there and back -------------------------------------------------------------------

REQUESTS = st.sampled_from(["session.update", "response.create"])
ANSWERS = st.sampled_from(["session.updated", "response.done", "error"])
EVENTS = REQUESTS | ANSWERS
COUNTS = st.none() | st.integers(1, 9)
SECONDS = st.floats(0, allow_nan=False)
WHICH: dict[str, Any] = {"nth": COUNTS, "connection": st.none() | st.integers(0, 3)}
TEXT = st.text(max_size=20)


def sided(make: Any, *, before: bool = True, **more: Any) -> st.SearchStrategy[Any]:
    """Calls with each of before=, after= and at=."""
    moments: list[dict[str, Any]] = [{"after": EVENTS}, {"at": SECONDS}]
    if before:
        moments.append({"before": EVENTS})
    return st.one_of(*(st.builds(make, **m, **WHICH, **more) for m in moments))


CODES = st.integers(0, 65535)
FAULTS = {
    "swallow": st.builds(swallow, ANSWERS, **WHICH),
    "lose": st.builds(lose, REQUESTS, **WHICH),
    "reject": st.builds(
        reject,
        REQUESTS,
        code=st.none() | st.text(min_size=1, max_size=9),
        message=st.none() | st.text(min_size=1),
        null_id=st.booleans(),
        onwards=st.booleans(),
        **WHICH,
    ),
    "late": st.builds(late, EVENTS, seconds=SECONDS, **WHICH),
    "hold": st.builds(hold, EVENTS, frames=st.integers(1, 9), **WHICH),
    "duplicate": st.builds(duplicate, EVENTS, **WHICH),
    "fail_response": st.builds(
        fail_response, code=TEXT, message=TEXT, error_type=TEXT, **WHICH
    ),
    "quota": st.builds(
        quota, on=st.sampled_from(["request", "response"]), nth=st.integers(1, 9)
    ),
    "cut": sided(cut)
    | st.builds(cut, before=ANSWERS, after_bytes=st.integers(0, 99), **WHICH),
    "close": sided(close, code=CODES, reason=TEXT)
    | st.builds(close, CODES, before=ANSWERS, after_bytes=st.integers(0, 99), **WHICH),
    "expire": sided(expire, message=TEXT),
    "silence": sided(silence, pongs=st.booleans()),
    "half_open": sided(half_open),
    "stall": sided(
        stall,
        before=False,
        seconds=SECONDS,
        side=st.sampled_from(["reads", "writes", "both"]),
    ),
    "garbage": sided(garbage, what=st.sampled_from(sorted(BROKEN_FRAMES))),
    "refuse_connect": st.builds(
        refuse_connect, st.integers(1, 9), skip=st.integers(0, 9)
    ),
    "refuse_upgrade": st.builds(refuse_upgrade, st.integers(400, 599)),
    "silent_connect": st.builds(silent_connect, st.integers(1, 9)),
    "slow_accept": st.builds(slow_accept, SECONDS, st.integers(1, 9)),
}
MIXTURES = st.builds(
    mixture,
    st.integers(),
    seconds=SECONDS,
    events=st.none() | st.sets(EVENTS),
    spare=st.sets(EVENTS),
    connections=st.none() | st.integers(0, 9),
    drop=st.floats(0, 0.5),
    silent_connect=st.floats(0, 1),
)
SCENARIOS = st.builds(
    Scenario,
    faults=st.lists(st.one_of(*FAULTS.values()), max_size=6),
    mixtures=st.lists(MIXTURES, max_size=2),
    network=st.builds(
        Network,
        st.floats(0, 10),
        st.floats(1, 9),
        st.floats(0, 10),
    ),
    settings=st.builds(
        Settings,
        keys=st.none() | st.frozensets(TEXT),
        dialect=st.sampled_from(["openai", "azure", "beta", "xai"]),
        xai=st.sampled_from([XAIQuirks(), XAIQuirks(ping_seconds=3)]),
        voice=TEXT,
        reasoning=st.booleans(),
        instructions=TEXT,
        max_duration=st.floats(0, allow_nan=False),
        duplicate_items=st.sampled_from(["reject", "append"]),
        pace=st.builds(
            Pace,
            think_ms=st.floats(0, 10),
            delta_ms=st.lists(st.integers(1, 100), min_size=1).map(tuple),
            transcript_ms=st.lists(st.floats(0, 9), min_size=1).map(tuple),
        ),
    ),
    seed=st.integers(),
)


def again(folder: pytest.TempPathFactory, scenario: Scenario) -> Scenario:
    path = folder.getbasetemp() / "dumped.toml"
    path.write_text(dump_scenario(scenario), encoding="utf-8")
    return load_scenario(path)


@pytest.mark.parametrize("do", DO)
@settings(max_examples=15)
@given(data=st.data())
def test_each_fault_is_dumped_and_loaded_again(
    tmp_path_factory: pytest.TempPathFactory, do: str, data: st.DataObject
) -> None:
    scenario = Scenario(faults=[data.draw(FAULTS[do])])
    assert again(tmp_path_factory, scenario) == scenario


@settings(max_examples=25)
@given(SCENARIOS)
def test_what_is_dumped_is_loaded_again(
    tmp_path_factory: pytest.TempPathFactory, scenario: Scenario
) -> None:
    assert again(tmp_path_factory, scenario) == scenario


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (Scenario(faults=[swallow("error", match=bool)]), "this fault has no form"),
        (Scenario(settings=Settings(accepts_model=bool)), "Settings.accepts_model"),
        (Scenario(settings=Settings(wall=lambda: 0.0)), "Settings.wall"),
        (
            Scenario(settings=Settings(pace=Pace(rate_limits_ms=None))),
            "Settings.pace.rate_limits_ms = None",
        ),
        (Scenario(settings=Settings(reasoning=bool)), "Settings.reasoning"),
    ],
)
def test_what_has_no_form_in_a_file_is_refused(
    scenario: Scenario, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        dump_scenario(scenario)
