"""Breakages of responses and errors (R)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("R5", "a response whose caller has left is let run")
def unwanted_response_runs(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding._begin",
        "(reply is not None and reply.unwanted)",
        "False",
    )


@mutant("R6", "a response that is cancelled at once is heard until it ends")
def cancelled_response_is_heard(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding._discard",
        "response.discard = True",
        "pass",
    )


@mutant("R11", "a call is run although its item was cut off")
def incomplete_call_is_run(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._items_in:is_completed_call",
        'item.status == "completed"',
        "item.status is not None",
    )
