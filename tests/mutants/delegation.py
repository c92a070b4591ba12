"""Breakages of delegation (H12, and H13 while one is under way)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("H12", "the parent's configuration does not come back")
def parent_is_not_restored(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating._suspended",
        "self._bring_back(delegation, held, turn)",
        "realtime.replying.let_go(held, None)",
    )


@mutant("H12", "the parent comes back as it was prepared, without its own edits")
def parents_edits_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating._bring_back",
        "owner=parent, epoch=object()",
        "owner=parent, epoch=object(), "
        "instructions=parent.transition.prepared.instructions",
    )


@mutant("H12", "two delegations run at once")
def delegations_do_not_take_turns(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating.delegate",
        "await parent.turnstile.acquire()",
        "parent.turnstile = trio.StrictFIFOLock(); await parent.turnstile.acquire()",
    )


@mutant("H12", "the value is lost on its way")
def value_is_lost(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegation:complete",
        "delegation.value, delegation.completed_at = value,",
        "delegation.value, delegation.completed_at = None,",
    )


@mutant("H12", "a handoff by the child ends the delegation")
def handoff_ends_the_delegation(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating._carry_out",
        "while transition is not None:",
        "if transition is not None:",
    )


@mutant("H12", "the answers to the parent's other tools are given while it is away")
def suspended_agent_answers(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering._move_on",
        "self._scope.leaving or self._scope.suspended or group.answered",
        "self._scope.leaving or group.answered",
    )


@mutant("H12", "what the parent wants to say while it is away is dropped")
def suspended_agents_wishes_are_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating._suspended",
        "realtime.replying.hold_back(held)",
        "pass",
    )


@mutant("H12", "a call stays open at a model that takes no open call")
def call_is_left_open(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating._carry_out",
        "if not all(model.capabilities.open_calls for model in models):",
        "if False:",
    )


@mutant("H12", "the conversation is sent anew when the parent comes back")
def conversation_is_made_anew(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating._bring_back",
        "fresh = why_fresh(realtime, config, None) is not None",
        "fresh = True",
    )


@mutant("H12", "what the parent hands over to while it is away is forgotten")
def suspended_agents_handoff_is_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope.hand_over",
        "self.transition.settled.is_set() and not self.suspended",
        "self.transition.settled.is_set()",
    )


@mutant("H12", "a caller that is cancelled does not get its agent back")
def cancelled_caller_stays_away(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating._suspended",
        "if self._goes_on(parent):",
        "if error is None and self._goes_on(parent):",
    )


@mutant("H13", "a child waits for the end of the conversation in its parent's place")
def child_ends_alone(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.ending:Ending.ask",
        "self._session.scope.root.patience",
        "self._session.scope.patience",
    )


@mutant("H13", "a parent that delegates keeps a conversation alive that is over")
def waiting_parent_is_never_quiet(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope.quiet",
        "all(c in self._delegating for c in self.calls.open)",
        "not self.calls.open",
    )


@mutant("H13", "the calls of a child that ends with its caller are not answered")
def childs_calls_are_not_answered(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.delegating:Delegating._suspended",
        "leave_outputs(realtime, delegation.outputs)",
        "pass",
    )
