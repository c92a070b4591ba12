"""Breakages of the handoff and of delegation (H)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("H1", "a fresh connection is given what the context policy left out")
def fresh_connection_is_given_all(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.hosting:Hosting.activate",
        "apply_here(self.record, edited, self.tell)",
        "pass",
    )


@mutant("H1", "the output of a call goes out ahead of the new instructions")
def outputs_go_ahead(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.agreeing:Agreeing._burst",
        "requests += [connection.encode(command) for command in commands]",
        "requests[:0] = [connection.encode(command) for command in commands]",
    )


@mutant("H2", "models are told apart by identity")
def equal_models_are_others(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.configuration:must_replace",
        "config.model != held.model",
        "config.model is not held.model",
    )


@mutant("H2", "a voice that was heard is changed on the present connection")
def heard_voice_is_changed(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.configuration:must_replace",
        "update.options.voice is not UNCHANGED and assistant_audio",
        "False",
    )


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
        "trialogue.realtime.requests:Request.deadline",
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


@mutant("H8", "of the calls that a handoff finds open only the first is answered")
def other_calls_stay_open(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering.close",
        "for call in self.open:",
        "for call in self.open[:1]:",
    )


@mutant("H8", "what a sibling had found out is lost when another tool hands over")
def finished_sibling_did_not_happen(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering.close",
        "call.close(None if decision is None else decision.name)",
        "call.outcome = None; call.close(None if decision is None else decision.name)",
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
        "trialogue.agents.tool_runs:ToolRuns._result",
        "if opened.interrupted:",
        "if False:",
    )


@mutant("H11", "each agent keeps what a return to the one before it would need")
def agents_form_a_chain(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.handoff:Transition.finish",
        "self.previous = self.group = self.snapshot = self.edited = None",
        "self.group = self.snapshot = self.edited = None",
    )


@mutant("H11", "a scope that was left keeps the decision that ended it")
def left_scope_keeps_its_decision(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.running:Running.stage_one", "scope.decision = None", "pass"
    )


@mutant("H13", "a run outside of the block goes on when the block is left")
def run_survives_its_session(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.block:Block.around",
        'self._running.stop("session block left")',
        "pass",
    )


@mutant("H14", "that a handoff was agreed is not told")
def agreement_is_not_told(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.steps:Steps.settled",
        "self._publish(HandoffCompleted(transition.timings))",
        "pass",
    )


@mutant("H14", "a handoff counts as agreed when its burst was written")
def written_counts_as_agreed(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.handoff:measure",
        "acknowledged=config.acknowledged_at",
        "acknowledged=min(written)",
    )


@mutant("H14", "nobody measures for how long the user is not heard")
def deafness_is_not_measured(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.listening:Listening.paused",
        "min(self._paused_at, now)",
        "self._paused_at",
    )


@mutant("H15", "the last turns are as many items")
def turns_are_items(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.policies:LastTurns.__call__",
        "chat_ctx.last_turns(self.count)",
        "chat_ctx.truncate(self.count)",
    )


@mutant("H15", "a context made by hand replaces what was said in the meantime as well")
def made_by_hand_replaces_all(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.policies:_compared_with",
        "return attrs.evolve(made, origin=snapshot.origin, version=snapshot.version)",
        "return made if snapshot is None else attrs.evolve(made, origin=None)",
    )


@mutant("H15", "a note is left on a connection that is reused alone")
def fresh_connection_has_no_note(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.hosting:Hosting.activate",
        "for item in ending:",
        "for item in ending if reuse else ():",
    )


@mutant("H15", "a note stands in front of what the context policy puts in")
def note_goes_first(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.hosting:Hosting.activate",
        "*(CreateItem(item) for item in items),",
        "*(CreateItem(item) for item in (*ending, *items)),",
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


@mutant("H19", "a new agent that asks for nothing is left silent")
def silent_agent_stays_silent(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope._enter",
        "elif self.transition.speaks and not self.asked and not self.completed:",
        "elif False:",
    )


@mutant("H20", "handoffs go round in circles for much longer")
def circles_go_on(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.steps:Steps.commit",
        "self._without_user > MOST_WITHOUT_USER",
        "self._without_user > 2 * MOST_WITHOUT_USER",
    )


@mutant("H20", "what the user says does not count against a loop")
def user_breaks_no_loop(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.steps:Steps.user_spoke", "self._without_user = 0", "pass"
    )


@mutant("H21", "what is to be sent is not tried before the decision")
def nothing_is_tried(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.preparing:prepare", "_try(session, prepared)", "pass"
    )


@mutant("H21", "a context policy that returned nothing keeps everything")
def no_context_is_no_change(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.policies:made_ahead",
        "if not isinstance(made, ChatContext):",
        "if made is None:\n        return None\n"
        "    if not isinstance(made, ChatContext):",
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


@mutant("H22", "what the context policy had changed stays as it made it")
def policy_is_not_undone(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.restoring:undone",
        "edited = _before_policy(edited, failed.edited)",
        "pass",
    )


@mutant("H22", "the note for an agent that could not take over is found by the other")
def note_is_not_taken_back(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.restoring:undone",
        "edited = edited.remove(failed.message.id)",
        "pass",
    )


@mutant("H22", "the connection whose conversation was changed goes on being believed")
def changed_conversation_is_believed(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.restoring:undone",
        "connection.end(ConnectionLost(said))",
        "realtime.replace_connection()",
    )


@mutant("H23", "the new agent waits for what the old one's output owes")
def new_agent_waits_for_the_output(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope._enter",
        "following = await self.agent.on_enter(ctx)",
        "await self.session.changed.until("
        "lambda: not self.session.realtime.open_work['owed'])\n"
        "        following = await self.agent.on_enter(ctx)",
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
