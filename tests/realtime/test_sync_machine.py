"""Whatever happens to a conversation, its record is in the end what the server holds.

Forty conversations are told, always the same ones, so that a change is judged by what
it changed. `TRIALOGUE_SYNC_EXAMPLES` tells that many others. One that fails is printed
as a `Plan`, to be pasted into test_sync_found.py.
"""

from __future__ import annotations

import os
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncing import Act, Edit, Pass, Plan, tell
from wire import ANSWERS, REQUESTS, Fault

CHOSEN = os.environ.get("TRIALOGUE_SYNC_EXAMPLES")
EXAMPLES = int(CHOSEN or "40")
MOST_STEPS = 60


def _literals(kind: type, field: str) -> tuple[str, ...]:
    """What a field of a step may say, read from its type."""
    return get_args(get_type_hints(kind)[field])


def _acts() -> st.SearchStrategy[Any]:
    return st.builds(Act, st.sampled_from(_literals(Act, "what")))


def _edits() -> st.SearchStrategy[Any]:
    return st.builds(
        Edit,
        st.sampled_from(_literals(Edit, "how")),
        at=st.integers(0, 7),
        to=st.integers(0, 7),
        stale=st.booleans(),
        patience=st.sampled_from([5.0, 0.05, 30.0]),
    )


def _passes() -> st.SearchStrategy[Any]:
    return st.builds(Pass, st.sampled_from([0.03, 0.2, 0.7, 2.0, 10.0]))


def _faults() -> st.SearchStrategy[Any]:
    refused = st.builds(
        Fault,
        st.sampled_from(["lose", "reject", "quote", "mute", "cut", "cut_after"]),
        st.sampled_from(REQUESTS),
    )
    astray = st.builds(
        Fault,
        st.sampled_from(["swallow", "late", "twice", "cut", "cut_after"]),
        st.sampled_from(ANSWERS),
    )
    return refused | astray


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Conversations of up to 60 steps, on a calm wire or one that reorders.

    The length is drawn first, for a list left to itself is nearly always short.
    """
    least = draw(st.sampled_from([0, 10, 25, 40]))
    step = st.one_of(_acts(), _acts(), _edits(), _edits(), _passes(), _faults())
    steps = draw(st.lists(step, min_size=least, max_size=MOST_STEPS))
    return Plan(tuple(steps), draw(st.integers(0, 2**16)))


@pytest.mark.behaviour("S11", "S14", "S15", "S22")
@settings(max_examples=EXAMPLES, print_blob=False, derandomize=CHOSEN is None)
@given(plan=plans())
def test_the_record_equals_what_the_server_holds_once_it_is_quiet(plan: Plan) -> None:
    """Nothing is owed then, nothing took effect twice, and every report was true."""
    assert tell(plan).problems == []
