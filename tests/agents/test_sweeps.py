"""Sweeps: a conversation with a cancellation, a fault, or both, at any moment.

`TRIALOGUE_SWEEP_SEEDS` says how many seeds of each kind are run (500).
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from sweep_plans import plan
from sweeping import Plan, Variant, tell
from trialogue.testing import close, cut, duplicate, late, reject, silence, swallow

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = int(os.environ.get("TRIALOGUE_SWEEP_SEEDS", "500"))
CHUNKS = 5


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What is there already need not be looked at by the collection after each run."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def failures(kind: str, chunk: int) -> dict[int, list[str]]:
    return {
        seed: problems
        for seed in range(chunk, SEEDS, CHUNKS)
        if (problems := tell(plan(kind, seed)).problems)
    }


@pytest.mark.behaviour("H13")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_session_may_be_cancelled_at_any_step(chunk: int) -> None:
    """No deadlock, no leak, closed in time, one output for each call."""
    assert failures("cancel", chunk) == {}


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_conversation_outlives_any_one_fault(chunk: int) -> None:
    """No hang, no surprise; the user is answered, and by the agent that is asked."""
    assert failures("fault", chunk) == {}


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_session_may_be_cancelled_at_any_step_after_any_one_fault(chunk: int) -> None:
    """What holds for each holds for both at once."""
    assert failures("both", chunk) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_gives_the_same_run_every_time(seed: int) -> None:
    """The same tasks in the same order, and the same frames each way."""
    first, second = (tell(plan("both", seed)) for _ in range(2))
    assert first.steps == second.steps
    assert first.entries == second.entries
    assert first.output.pcm == second.output.pcm


ONCE_FAILED = {
    "a handoff is decided, and cancelled before its burst": Plan(
        32, Variant(), step=388
    ),
    "the same, at a distance": Plan(23, Variant(one_way=0.03), step=1067),
    "the connection is cut while a call is being written": Plan(
        97, Variant(), fault=cut(after="response.function_call_arguments.delta", nth=2)
    ),
    "the connection is cut inside a call's last word": Plan(
        73,
        Variant(),
        fault=cut(before="response.function_call_arguments.done", after_bytes=7),
    ),
    "a call is complete, and its connection closed before it may run": Plan(
        52,
        Variant(one_way=0.03, spoken=True),
        fault=close(1011, after="conversation.item.done", nth=3),
    ),
    "the new agent's first reply is announced twice": Plan(
        236, Variant(one_way=0.03), fault=duplicate("response.created", nth=2)
    ),
    "the rejection of an output names nothing": Plan(
        746,
        Variant(one_way=0.03),
        fault=reject(
            "conversation.item.create", code="invalid_value", null_id=True, nth=2
        ),
    ),
    "an output is rejected for what it says": Plan(
        747,
        Variant(),
        fault=reject("conversation.item.create", code="invalid_value", nth=2),
    ),
    "the rejection of a call that is replayed names nothing": Plan(
        103,
        Variant(fresh=True),
        fault=reject(
            "conversation.item.create", code="invalid_value", null_id=True, nth=14
        ),
    ),
    "a session is cancelled while a response gives way to the next agent's": Plan(
        284, Variant(spoken=True, slow=0.86), step=3710
    ),
    "a response never ends, and another begins before its call is answered": Plan(
        2286, Variant(spoken=True, slow=0.8), fault=swallow("response.done")
    ),
    "the deletion of a call is rejected": Plan(
        926,
        Variant(policy="fresh"),
        fault=reject("conversation.item.delete", code=None, null_id=True, nth=7),
    ),
    "an item is announced after it was deleted": Plan(
        1117,
        Variant(policy="fresh"),
        fault=late("conversation.item.added", seconds=0.02, nth=7),
    ),
    "a session is closed while its second connection says nothing": Plan(
        312,
        Variant(fresh=True, one_way=0.03),
        step=704,
        fault=swallow("session.created", nth=2),
    ),
    "a client leaves a server that is about to cut": Plan(
        761,
        Variant(fresh=True, one_way=0.03),
        step=1004,
        fault=cut(before="response.content_part.done", nth=3),
    ),
    "the server falls silent when the user speaks, but for its socket": Plan(
        624,
        Variant(policy="fresh", spoken=True),
        fault=silence(before="input_audio_buffer.speech_started", pongs=False),
    ),
}


@pytest.mark.parametrize("planned", ONCE_FAILED.values(), ids=ONCE_FAILED.keys())
def test_what_a_sweep_once_found_stays_found(planned: Plan) -> None:
    """Runs that broke a rule, as they were."""
    assert tell(planned).problems == []
