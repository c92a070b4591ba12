"""A conversation of hours: nothing is lost, nothing is left, nothing grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from soaking import Soak, growth

if TYPE_CHECKING:
    import trio

MOST_GROWTH = 48
"""Objects of one class, more at the end than after a quarter of the run: less than one
for every tenth turn of a short run."""
BOUNDED_LATER = {
    "Item": 256,
    "Rechunker": 256,
    "HandoffTimings": 1000,
    # The record of the conversation: a thousand of each kind, and where items are.
    "ItemTrace": 4000,
    "ItemRecord": 4000,
    "TurnRecord": 1000,
    "AgentRecord": 1000,
    "SpeechRecord": 1000,
    "ReplyRecord": 1000,
    "Usage": 1000,
    "ToolRecord": 1000,
    "HandoffRecord": 1000,
    "ConnectionRecord": 1000,
    "NoteRecord": 2000,
}
"""Memories with a bound of their own, which a quarter of a short run does not fill."""
REQUESTS = 600
"""Requests of the replay that brought up the connection which serves: as many as it
had items, for as long as its configuration is in force or remembered."""
PEAK_GROWTH_MB = 64.0
"""Of a process in which a day of sound would be four gigabytes."""


@pytest.mark.behaviour("C2", "C3", "C4", "H5")
async def test_a_conversation_of_hours_is_as_good_at_its_end_as_at_its_beginning(
    autojump_clock: trio.testing.MockClock,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Through drops, handoffs and the end of every session, turn by turn."""
    hours = float(pytestconfig.getoption("--soak-hours") or 0)
    if not hours or pytestconfig.getoption("--mutant"):
        pytest.skip("the soak was left out: --soak-hours 0")
    soak = Soak(hours, seed=1)
    try:
        await soak.run()
    finally:
        with capsys.disabled():
            print(f"\n{soak.summary()}")  # so that a reader of CI sees what ran
    assert soak.problems == []
    assert soak.ear.damaged == []
    assert soak.errors["session_expired"] == 0
    if hours >= 2:
        assert soak.handoffs >= 90 * hours
        assert soak.counts["reconnect"] >= 10
        # The second part of each two hours is a calm one, longer than a life.
        assert soak.counts["rotation"] >= int(hours / 2)
        _assert_flat(soak)


def _assert_flat(soak: Soak) -> None:
    early, final = soak.live
    allowed = {**BOUNDED_LATER, "Request": REQUESTS}
    grown = {
        kind: more
        for kind, more in growth(early, final).items()
        if more > allowed.get(kind, MOST_GROWTH)
    }
    assert grown == {}
    assert soak.peak_mb[1] - soak.peak_mb[0] < PEAK_GROWTH_MB
