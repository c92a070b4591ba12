"""The guardrails of tools: before a tool runs, and before its output is sent.

They run in the call's own task, so that whatever ends the call ends them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from trialogue._codec import loads
from trialogue.agents.checking import check_all
from trialogue.agents.run_context import current_turn
from trialogue.agents.stalling import STALLED
from trialogue.tools import failure, render
from trialogue.tools.outcome import Blocked, Failed, Returned

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.agents.calls import OpenCall
    from trialogue.agents.checking import Tripped
    from trialogue.agents.guardrails import Guardrail, Place
    from trialogue.agents.run_context import RunContext
    from trialogue.agents.scope import AgentScope
    from trialogue.tools import ToolOutcome

__all__ = ["GuardedCall", "guarded_before", "unchecked"]


class GuardedCall:
    """One call, between the guardrails of the agent that it was made under."""

    def __init__(self, scope: AgentScope, opened: OpenCall, ctx: RunContext) -> None:
        self._scope = scope
        self._opened = opened
        self._ctx = ctx

    async def may_run(self) -> bool:
        """Whether its tool may be run; else the call's outcome is settled.

        Not a checkpoint if nothing is to be checked.
        """
        guardrails = self._meant("tool_input")
        if not guardrails:
            return True
        written = self._opened.call.arguments
        tripped = await self._checked(
            guardrails,
            lambda: loads(written) if written.strip() else {},
            Blocked("call"),
        )
        if tripped is None:
            return not self._opened.over  # it may have been given up meanwhile
        self._opened.settle(Blocked("call", tripped.trip.refusal))
        self._trip(tripped, "tool_input", written)
        return False

    async def settle(self, outcome: Returned | Failed) -> None:
        """Settle the outcome, or that it is withheld.

        Not a checkpoint if nothing is to be checked. A tool that has finished is told
        of as such also if the check is cancelled; what it gave is then withheld.
        """
        limits = self._scope.session.realtime.limits
        most = limits.max_output_bytes
        guardrails = self._meant("tool_output")
        if not guardrails or failure(outcome, max_bytes=most) is not None:
            self._opened.settle(outcome)  # what is told of a failure is our own text
            return
        text = render(outcome, max_bytes=most)
        tripped = await self._checked(guardrails, lambda: text, Blocked("result"))
        if tripped is None:
            self._opened.settle(outcome)
            return
        self._opened.settle(Blocked("result", tripped.trip.refusal))
        self._trip(tripped, "tool_output", text)

    async def _checked(
        self, guardrails: list[Guardrail], what: Callable[[], Any], held: Blocked
    ) -> Tripped | None:
        """Check, for as long as the slowest may take and a moment more."""
        opened, slowest = self._opened, max(g.timeout for g in guardrails)
        opened.held = held
        opened.expect_end(trio.current_time() + slowest + STALLED)
        tripped = await check_all(guardrails, self._ctx, what)
        opened.held = None
        opened.expect_end(math.inf)
        return tripped

    def _meant(self, place: Place) -> list[Guardrail]:
        return _meant(self._scope, self._opened, place)

    def _trip(self, tripped: Tripped, place: Place, text: str) -> None:
        guarding, turn = self._scope.session.guarding, current_turn.get()
        response = None if turn is None else turn.response
        call_id = self._opened.call.call_id
        guarding.tripped(self._scope, tripped, place, text, response, call_id=call_id)


def guarded_before(scope: AgentScope, opened: OpenCall) -> bool:
    """Whether a call is checked before its tool runs."""
    return bool(_meant(scope, opened, "tool_input"))


def unchecked(
    scope: AgentScope, opened: OpenCall, outcome: Returned | Failed
) -> ToolOutcome:
    """Return an outcome that cannot be checked any more: withheld, if it should be."""
    return Blocked("result") if _meant(scope, opened, "tool_output") else outcome


def _meant(scope: AgentScope, opened: OpenCall, place: Place) -> list[Guardrail]:
    name = opened.call.name
    return [g for g in scope.guardrails if g.place == place and g.concerns(name)]
