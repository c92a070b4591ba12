"""Breakages of tool sets and of MCP (G20 and following)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("G20", "each agent has a set opened anew")
def set_is_opened_for_each_agent(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._asked_for",
        "held.tool_set is tool_set or held.tool_set == tool_set",
        "not held.settled.is_set()",
    )


@mutant("G20", "sets are closed in the order in which they were opened")
def sets_are_closed_in_the_wrong_order(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._close_all", "held.pop()", "held.pop(0)"
    )


@mutant("G20", "sets are closed while agents still use them")
def sets_are_closed_too_early(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.block:Block.around",
        'self._running.stop("session block left")',
        'self._tool_sets.close_soon(close), self._running.stop("session block left")',
    )


@mutant("G21", "nobody waits no longer than a set may take to open")
def opening_has_no_deadline(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._hold",
        "held.scope.deadline = began + patience",
        "pass",
    )


@mutant("G21", "a set that could not be opened is not tried again")
def failed_set_is_kept(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._hold",
        "self._held.remove(held)",
        "held.settled.is_set() and self._held.remove(held)",
    )


@mutant("G22", "a set that breaks takes the session with it")
def broken_set_ends_the_session(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._hold",
        "error = raised",
        "error = raised\n            if held.settled.is_set():\n                raise",
    )


@mutant("G22", "a set that does not close holds up the end of the session")
def closing_has_no_deadline(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._close_all",
        "trio.current_time() + share",
        "trio.current_time() + 100",
    )


@mutant("G22", "what closing a set raises is only logged")
def closing_error_is_only_logged(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._broke",
        "self._errors.append(error)",
        "pass",
    )


@mutant("G27", "later agents have the tools that the set began with")
def list_is_looked_at_once(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._hold",
        "held.tools = tools",
        "held.tools = list(tools)",
    )
