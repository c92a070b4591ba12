"""What an agent session writes to the log: who takes over, and what went wrong (X1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.agents.events import (
    AgentEntered,
    ApprovalRequested,
    ApprovalSettled,
    DelegationEnded,
    DelegationStarted,
    GuardrailTripped,
    HandoffCompleted,
    HandoffDiscarded,
    HandoffFailed,
    HandoffStarted,
    ToolStalled,
)

if TYPE_CHECKING:
    from trialogue.realtime.logbook import SessionLog

__all__ = ["note"]


def note(log: SessionLog, event: object) -> None:
    """Write a line about an event of the agents, if it deserves one."""
    match event:
        case AgentEntered(agent, previous):
            log.info("agent %s is current, after %s", agent, previous)
        case HandoffStarted(previous, following, why_fresh):
            over = "the present connection" if why_fresh is None else "a fresh one"
            log.info("handoff %s -> %s decided, over %s", previous, following, over)
        case HandoffCompleted(timings):
            agreed = timings.acknowledged
            seconds = None if agreed is None else round(agreed - timings.committed, 3)
            text = "handoff %s -> %s agreed after %s s"
            log.info(text, timings.previous, timings.next, seconds)
        case HandoffFailed(previous, following):
            log.warning("handoff %s -> %s failed", previous, following)
        case HandoffDiscarded(following):
            log.warning("a handoff to %s came too late and was discarded", following)
        case GuardrailTripped(guardrail, place):
            log.warning("the guardrail %s of %s tripped", guardrail, place)
        case DelegationStarted(agent, to):
            log.info("agent %s delegates to %s", agent, to)
        case DelegationEnded(agent, to, outcome):
            log.info("agent %s is current again, after %s: %s", agent, to, outcome)
        case ApprovalRequested(agent, tool, call_id):
            log.info("%s of agent %s waits for approval: %s", tool, agent, call_id)
        case ApprovalSettled(_, tool, call_id, outcome):
            log.info("%s: %s, %s", tool, outcome, call_id)
        case ToolStalled(agent, tool, _, stack):
            where = stack[-1] if stack else "no frame"
            text = "tool %s of agent %s was stopped and does not end: it is at %s"
            log.warning(text, tool, agent, where)
        case _:
            pass
