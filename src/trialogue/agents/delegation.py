"""One delegation: who waits for a value, and the agent that may give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from trialogue.agents.events import DelegationEnded, DelegationTimings
from trialogue.agents.results import fits, result_text
from trialogue.errors import DelegationError
from trialogue.realtime.unwrapping import only_cancelled

if TYPE_CHECKING:
    from trialogue.agents.scope import AgentScope
    from trialogue.conversation.items import FunctionCall, Item
    from trialogue.realtime.configuration import Configuration

__all__ = ["Delegation", "complete", "end_of"]


@attrs.define(eq=False)
class Delegation:
    """What one call of `delegate` waits for, whichever agent comes to give it.

    Attributes:
        parent: the scope in which it is waited for.
        expected: the type of the value, as the first agent declares it.
        requested, began: when it was asked for, and when its turn came (Trio's clock).
        completed_at: when the value was given; None as long as it is not.
        config: that of the first agent.
        outputs: of the calls that the last agent left open, in call order.
    """

    parent: AgentScope = attrs.field(repr=False)
    expected: Any
    requested: float
    began: float = attrs.field(factory=trio.current_time)
    value: Any = attrs.field(default=None, repr=False)
    completed_at: float | None = None
    config: Configuration | None = attrs.field(default=None, repr=False)
    outputs: list[Item] = attrs.field(factory=list, repr=False)

    @property
    def completed(self) -> bool:
        return self.completed_at is not None


def end_of(
    delegation: Delegation, last: str, error: BaseException | None
) -> DelegationEnded:
    """Return the event that tells of its end.

    Args:
        last: who was current at the end.
        error: what the caller is given, if no value.
    """
    config = delegation.config
    timings = DelegationTimings(
        delegation.requested,
        delegation.began,
        ended=trio.current_time(),
        acknowledged=None if config is None else config.acknowledged_at,
        completed=delegation.completed_at,
    )
    outcome: Literal["completed", "failed", "cancelled"] = "completed"
    if error is not None:
        outcome = "cancelled" if only_cancelled(error) else "failed"
    return DelegationEnded(delegation.parent.name, last, outcome, timings)


def complete(scope: AgentScope | None, call: FunctionCall | None, value: Any) -> None:
    """See `RunContext.complete`.

    Raises:
        DelegationError: nobody waits for a value, or not for this one.
    """
    if scope is None or scope.closed:
        msg = (
            "complete() came when its agent was no longer current; call it in on_enter "
            "or in a tool, before that returns"
        )
        raise DelegationError(msg)
    delegation = scope.delegation
    if delegation is None:
        msg = (
            f"{scope.name} was not delegated to, so nobody waits for its value; begin "
            "it with session.delegate(agent), or use session.end() or a handoff"
        )
        raise DelegationError(msg)
    _check(scope, delegation, value)
    delegation.value, delegation.completed_at = value, trio.current_time()
    scope.complete(call)


def _check(scope: AgentScope, delegation: Delegation, value: Any) -> None:
    if delegation.completed:
        msg = f"{scope.name} has completed already; complete() is called once"
        raise DelegationError(msg)
    if scope.decision is not None:
        msg = (
            f"{scope.name} has handed over to {scope.decision.name}, which is to "
            "complete in its place"
        )
        raise DelegationError(msg)
    if scope.leaving:
        msg = f"{scope.name} is being left; its value comes too late"
        raise DelegationError(msg)
    if not fits(value, delegation.expected):
        wanted = result_text(delegation.expected)
        msg = (
            f"{scope.name} is to complete with {wanted}, not with a value of type "
            f"{type(value).__qualname__}; give another value, or declare the agent "
            "as Agent[...] of what it gives"
        )
        raise DelegationError(msg)
