"""Breakages of tools (T)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("T1", "calls that a handoff leaves open are not answered")
def open_calls_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering.close",
        "decision.outputs += outputs",
        "pass",
    )


@mutant("T1", "a call with wrong arguments holds up its siblings' answers")
def wrong_arguments_are_not_answered(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns.start",
        "opened.settle(BadArguments(str(error)))",
        "pass",
    )


@mutant("T3", "the calls of an interrupted response are not answered")
def interrupted_results_are_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering.response_done",
        "if group is not None:",
        "if group is not None and not response.cut:",
    )


@mutant("T11", "a call that comes after the commit is left without an answer")
def late_call_is_not_answered(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.playing:Stage.call_refused",
        "self._session.realtime.add_items([output])",
        "pass",
    )
