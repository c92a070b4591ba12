"""Breakages of approval (G1 to G4)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("G1", "a call whose need of approval cannot be told is run")
def doubt_approves(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._is_needed",
        "if not isinstance(needed, bool):",
        "if False:",
    )


@mutant("G1", "what a predicate does to the arguments is run")
def predicate_changes_what_is_run(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns._work",
        "approving.wait(ctx, name, opened, tool)",
        "approving.wait(ctx, name, opened, tool)\n"
        "            needs = tool.options.needs_approval\n"
        "            callable(needs) and needs(ctx, arguments)",
    )


@mutant("G1", "every call needs approval, whatever the function says")
def everything_needs_approval(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._is_needed",
        "        return needed\n",
        "        return True\n",
    )


@mutant("G1", "nobody asks the handler")
def handler_is_not_asked(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._decided",
        "if self._handler is not None:",
        "if False:",
    )


@mutant("G2", "a denied call is run")
def denial_counts_for_nothing(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Waiting.outcome",
        'if self.verdict == "approved":',
        'if self.verdict in {"approved", "denied"}:',
    )


@mutant("G2", "the model is not told why")
def reason_is_lost(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._settle",
        "waiting.verdict, waiting.reason = verdict, reason",
        "waiting.verdict = verdict",
    )


@mutant("G3", "whatever a handler returns that is true approves")
def truth_approves(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._consult",
        "if waiting.verdict is None and not isinstance(answer, bool):",
        "if False:",
    )


@mutant("G3", "the model reads what a handler has raised")
def handlers_fault_is_told(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._refused",
        '"the approval could not be obtained"',
        "str(error)",
    )


@mutant("G3", "a call waits for a handler that blocks")
def call_waits_for_the_handler(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._decided",
        "self._session.nursery.start_soon(self._consult, waiting, ctx, name=name)",
        "await self._consult(waiting, ctx)",
    )


@mutant("G3", "a handler goes on when nobody waits for it any more")
def handler_is_left_running(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._settle",
        'waiting.consulting.cancel(reason=f"the approval is settled: {verdict}")',
        "pass",
    )


@mutant("G4", "a second word changes the first")
def approvals_are_settled_twice(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._find",
        "verdict = self._settled.get(call_id)",
        "verdict = self._settled.get(call_id)\n"
        "        if verdict is not None:\n"
        "            class Anybody:\n"
        "                verdict = 'settled'\n"
        "            return Anybody()",
    )


@mutant("G4", "a late word is told that there never was such a call")
def settled_approvals_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._settle",
        "self._settled[request.call_id] = verdict",
        "pass",
    )


@mutant("G4", "an approval stays open when its agent is left")
def approvals_outlive_their_call(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving._decided",
        'self._settle(waiting, "expired" if late else "withdrawn")',
        "pass",
    )
