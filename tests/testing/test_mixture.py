"""Faults at random: the same seed, the same faults on the same frames."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from by_hand import dialled
from trialogue.errors import ConfigurationError
from trialogue.testing import Mixture, in_virtual_time, mixture, open_realtime_server
from trialogue.testing.faults import Delay, Drop, FaultPlan, Reject

FRAMES = [
    (kind, connection, nth)
    for kind in ("session.update", "session.updated", "response.create")
    for connection in range(3)
    for nth in range(1, 200)
]


def plan(mixed: Mixture) -> dict[tuple[str, int, int], Any]:
    found = {frame: mixed.at_frame(*frame) for frame in FRAMES}
    return {frame: action for frame, action in found.items() if action is not None}


@settings(max_examples=10)
@given(st.integers(), st.randoms(use_true_random=False))
def test_the_same_seed_hits_the_same_frames_in_any_order(seed: int, rng: Any) -> None:
    """Connections that run beside one another do not change one another's faults."""
    mixed = mixture(seed, drop=0.02, late=0.02, close=0.01, reject=0.02)
    told = [
        ({"type": kind}, connection) for kind, connection, _ in FRAMES[::7]
    ]  # in an order of its own, counted as they come
    orders = []
    for _ in range(2):
        mine = list(told)
        rng.shuffle(mine)
        faults, counts = FaultPlan([mixed]), Counter[tuple[str, int]]()
        seen = {}
        for event, connection in mine:
            counts[event["type"], connection] += 1
            key = event["type"], connection, counts[event["type"], connection]
            seen[key] = faults.at_frame(event, connection)
        orders.append(seen)
    assert orders[0] == orders[1]


def test_rates_are_how_often_and_seeds_are_different() -> None:
    hits = plan(mixture(1, drop=0.1, late=0.1, seconds=3))
    kinds = Counter(type(action) for action in hits.values())
    assert set(kinds) == {Drop, Delay}
    assert all(0.07 < count / len(FRAMES) < 0.13 for count in kinds.values())
    assert max(a.seconds for a in hits.values() if isinstance(a, Delay)) <= 3
    assert hits != plan(mixture(2, drop=0.1, late=0.1, seconds=3))
    assert plan(mixture(1)) == {}


def test_a_rate_more_leaves_the_others_where_they_are() -> None:
    """The rates before it in the list, that is."""
    drops = [f for f, a in plan(mixture(1, drop=0.1)).items() if isinstance(a, Drop)]
    both = plan(mixture(1, drop=0.1, half_open=0.2))
    assert [f for f, a in both.items() if isinstance(a, Drop)] == drops


def test_only_what_is_named_is_hit() -> None:
    always = {"drop": 1.0}
    assert mixture(1, **always).at_frame("input_audio_buffer.append", 0, 1) is None  # type: ignore[arg-type]
    everything = mixture(1, spare=(), **always)  # type: ignore[arg-type]
    assert everything.at_frame("input_audio_buffer.append", 0, 1) == Drop()
    some = mixture(1, events=["error"], connections=2, **always)  # type: ignore[arg-type]
    assert some.at_frame("error", 1, 1) == Drop()
    assert some.at_frame("error", 2, 1) is None
    assert some.at_frame("session.updated", 0, 1) is None


def test_requests_are_rejected_and_answers_are_not() -> None:
    mixed = mixture(1, reject=1)
    assert isinstance(mixed.at_frame("session.update", 0, 1), Reject)
    assert mixed.at_frame("session.updated", 0, 1) is None


def test_attempts_to_connect_fail_by_their_number() -> None:
    rates = {"refuse_connect": 0.2, "refuse_upgrade": 0.2, "slow_accept": 0.2}
    mixed = mixture(5, connections=40, **rates)  # type: ignore[arg-type]
    faults = FaultPlan([mixed])
    hows = [fault and fault.how for fault in (faults.at_connect() for _ in range(60))]
    assert hows[:40] == [
        fault and fault.how for fault in map(mixed.at_connect, range(1, 41))
    ]
    assert {"refuse", "slow", None} < set(hows[:40])
    assert set(hows[40:]) == {None}


@in_virtual_time
async def test_the_server_does_to_its_frames_what_the_mixture_says() -> None:
    mixed = mixture(3, drop=0.3, events=["session.updated"])
    async with (
        open_realtime_server(faults=[mixed]) as server,
        dialled(server) as client,
    ):
        await client.read()
        for number in range(1, 31):
            await client.update(instructions=str(number))
        await client.send("response.create")
        events = await client.until("response.created")
        notes = [e.note for e in server.connections[0].find("session.updated")]
    expected = [mixed.at_frame("session.updated", 0, nth) for nth in range(1, 31)]
    assert notes == ["drop" if action else "" for action in expected]
    assert "drop" in notes
    assert [e["session"]["instructions"] for e in events[:-1]] == [
        str(number) for number, action in enumerate(expected, 1) if not action
    ]


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"drop": -0.1}, "drop is a rate from 0 to 1, not -0.1"),
        ({"drop": float("nan")}, "drop is a rate from 0 to 1"),
        ({"drip": 0.1}, "there is no rate drip; there are drop, late"),
        ({"drop": 0.6, "late": 0.6}, "come to at most 1, not 1.2"),
        ({"slow_accept": 0.6, "silent_connect": 0.6}, "come to at most 1, not 1.2"),
        ({"drop": 0.1, "seconds": -1}, "seconds is 0 or more, not -1"),
    ],
)
def test_what_is_no_rate_is_refused(rates: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        mixture(1, **rates)
