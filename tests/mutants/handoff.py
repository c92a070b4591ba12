"""Breakages of the handoff and of delegation (H)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("H3", "the new agent enters as soon as the decision has fallen")
def enters_before_the_old_is_gone(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope._leave",
        "self.nursery.cancel_scope.cancel(reason=reason)",
        "self.session.nursery.start_soon("
        "self.decision.agent.on_enter, RunContext(self.session, self.decision.agent))"
        "; self.nursery.cancel_scope.cancel(reason=reason)",
    )


@mutant("H4", "a configuration that is refused for good is tried on a fresh connection")
def permanent_refusal_is_retried(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor.update_refused",
        "error.error_class is ErrorClass.PERMANENT",
        "False",
    )


@mutant("H4", "what an agent had said plays on when its handoff has failed")
def failed_agent_talks_on(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.replying:Replying.config_failed",
        "for response in tuple(self._responses.values()):",
        "for response in filter(None, (self.slot.active,)):",
    )


@mutant("H4", "a lost update is never said again, on this connection or another")
def unanswered_update_is_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Request.deadline",
        "return self.written_at + self.patience",
        "return float('inf')",
    )


@mutant("H5", "a fresh connection hears the user only from now on")
def fresh_connection_hears_from_now_on(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor._agreed",
        "connection.cursor = listening.fresh_start()",
        "connection.cursor = listening.ring.end",
    )


@mutant("H5", "the old connection hears the user on after the switch is decided")
def old_connection_hears_on(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor.commit",
        "self.connection.muted = True",
        "self.connection.muted = False",
    )


@mutant("H6", "an answer that was due is forgotten with its connection")
def due_answer_goes_with_its_connection(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor._withdraw",
        "session.replying.owed = True",
        "pass",
    )


@mutant("H6", "the new agent's first words pass for the answer to the user")
def first_words_pass_for_an_answer(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.asking:Asking._hold_for_user",
        "reply.held_for_user = True",
        "pass",
    )


@mutant("H6", "an answer that was asked for falls with the agent that owed it")
def owed_answer_falls_with_its_agent(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding.created",
        "owed = reply is not None and reply.answers_user",
        "owed = False",
    )


@mutant("H6", "an answer broken off by the decision counts as given")
def broken_off_answer_counts(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.replying:Replying._leave_off",
        "response.stopped = True",
        "response.stopped = False",
    )


@mutant("H7", "an error in on_enter is swallowed")
def on_enter_error_is_swallowed(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope._enter",
        "following = await self.agent.on_enter(ctx)",
        "try:\n"
        "            following = await self.agent.on_enter(ctx)\n"
        "        except Exception:\n"
        "            following = None",
    )


@mutant("H9", "of two targets the first is taken")
def first_target_wins(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.calls:CallGroup.agree",
        "if len(kinds) <= 1 and not conflicts:",
        "if kinds:",
    )


@mutant("H9", "the decision does not wait for a sibling that may hand over as well")
def siblings_are_not_waited_for(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering._wait_for_siblings",
        "lambda: not group.may_still_hand_off",
        "lambda: True",
    )


@mutant("H10", "a tool that was cancelled hands over if it returns all the same")
def cancelled_tool_hands_over(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns._work",
        "elif opened.interrupted:",
        "elif False:",
    )


@mutant("H13", "a run outside of the block goes on when the block is left")
def run_survives_its_session(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.block:Block.around",
        'self._running.stop("session block left")',
        "pass",
    )


@mutant("H17", "a handoff cuts what the old agent is saying")
def handoff_always_cuts(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.handoff:decide",
        'if handoff.speech == "cut":',
        "if True:",
    )


@mutant("H18", "a response of the old agent is not told from one of the new")
def stale_response_is_heard(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.asking:Asking._stale",
        "return config.epoch is not wanted.epoch",
        "return False",
    )


@mutant("H18", "whoever was answered under the old prompt is not answered again")
def stale_answer_is_not_owed(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding._answer_again",
        "self.owed = True",
        "pass",
    )


@mutant("H22", "the items that the context policy deleted are not brought back")
def deleted_history_stays_deleted(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.restoring:undone",
        "realtime.tell(record.restore(failed.snapshot).as_edit())",
        "pass",
    )


@mutant("H22", "the call's output goes on saying that the transfer took place")
def failed_transfer_reads_transferred(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.restoring:_truth", "output.output == transferred", "False"
    )


@mutant("H16", "the formats of a first update that was lost are not said again")
def lost_formats_are_not_said_again(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.agreeing:Agreeing.repeat_update",
        "first=agreed is None",
        "first=False",
    )


@mutant("H16", "what an update without an answer set is not taken back")
def unanswered_options_stay(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.agreeing:Agreeing._update_from",
        "update_for(config, held, ",
        "update_for(config, held if sure else None, ",
    )


@mutant("H16", "an update that is said again takes nothing back")
def repeated_update_takes_nothing_back(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.agreeing:Agreeing.repeat_update",
        "update_for(config, agreed, ",
        "update_for(config, None, ",
    )


@mutant("H16", "an option that the next agent does not set stays as it was")
def options_are_not_taken_back(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.configuration:update_for",
        "attrs.evolve(changed, **back)",
        "changed",
    )


@mutant("H14", "a handoff is measured before it is agreed")
def measured_before_it_is_agreed(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.steps:Steps.first_audio",
        "if transition.settled.is_set():",
        "if True:",
    )
