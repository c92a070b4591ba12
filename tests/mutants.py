"""Named breakages of the source; under each, a test of its behaviour must fail.

``nox -s mutants`` runs, for every mutant, the tests marked with its row in a pytest
process in which the source is broken so (``pytest --mutant NAME --behaviours ROW``),
and demands that one of them fails. ``nox -s mutants -- S5 H`` takes rows and groups.

To add one, write a function under ``@mutant(row, what is broken)``, named after the
breakage, that takes a :class:`quality.mutation.Patch`:

``patch.source("trialogue.module:Class.method", old, new)``
    rewrites a piece of text that stands once in that function, for everyone who
    holds the function: the way for a dropped line or a turned condition;
``patch.replace("trialogue.module:Class.method", new)``
    binds the name to another object, at that place only.

A target or a text that is not there is an error, so that no mutant outlives what it
breaks. A mutant breaks one thing, as a plausible slip would, and leaves everything
importable. A test that merely hangs under it has noticed nothing: give the test a
deadline of its own (``trio.fail_after`` on the mock clock).
"""

from __future__ import annotations

from quality.mutation import Patch, mutant

# --- the user speaks during a handoff ---------------------------------------------


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


@mutant("H17", "a handoff cuts what the old agent is saying")
def handoff_always_cuts(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.handoff:decide",
        'if handoff.speech == "cut":',
        "if True:",
    )


# --- what no other group has ------------------------------------------------------


@mutant("H3", "the new agent enters as soon as the decision has fallen")
def enters_before_the_old_is_gone(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope._leave",
        "self.nursery.cancel_scope.cancel(reason=reason)",
        "self.session.nursery.start_soon("
        "self.decision.agent.on_enter, RunContext(self.session, self.decision.agent))"
        "; self.nursery.cancel_scope.cancel(reason=reason)",
    )


@mutant("R11", "a call is run although its item was cut off")
def incomplete_call_is_run(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._items_in:is_completed_call",
        'item.status == "completed"',
        "item.status is not None",
    )


# --- tools and closing ------------------------------------------------------------


@mutant("T1", "calls that a handoff leaves open are not answered")
def open_calls_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope._close",
        "self.decision.outputs += outputs",
        "pass",
    )


@mutant("T1", "a call with wrong arguments holds up its siblings' answers")
def wrong_arguments_are_not_answered(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope._start",
        "opened.settle(BadArguments(str(error)))",
        "pass",
    )


@mutant("T3", "the calls of an interrupted response are not answered")
def interrupted_results_are_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope.response_done",
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
        "trialogue.agents.scope:AgentScope._wait_for_siblings",
        "lambda: not group.may_still_hand_off",
        "lambda: True",
    )


@mutant("H10", "a tool that was cancelled hands over if it returns all the same")
def cancelled_tool_hands_over(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope._work",
        "elif opened.interrupted:",
        "elif False:",
    )


@mutant("H13", "a run outside of the block goes on when the block is left")
def run_survives_its_session(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.session:AgentSession._open",
        'self._run.cancel(reason="session block left")',
        "pass",
    )


@mutant("C6", "a farewell may take as long as connecting")
def farewell_takes_its_time(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.serve",
        "close_timeout=self.timing.close",
        "close_timeout=self.timing.connect",
    )


# --- the session without agents ---------------------------------------------------


@mutant("S5", "an error that only quotes the item's id is nobody's")
def quoted_ids_are_not_looked_for(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger._at_fault",
        "self._first(lambda r: _names(r) in error.refs and _fits(r, error))",
        "None",
    )


@mutant("S5", "a rejected request waits for its deadline all the same")
def rejection_does_not_settle(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger.rejected",
        "self.settle(request, state, error)",
        "request.error = error",
    )


@mutant("S11", "whoever gives up takes the request off the table")
def leaving_strikes_the_request_off(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger.expect",
        "request.waited = False",
        "request.waited = False; self._owed.pop(request.event_id, None)",
    )


@mutant("S16", "what was refused only for its predecessor is not sent again")
def followers_are_not_sent_again(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.updating:Updating.track",
        "if not again or not connection.live:",
        "if True:",
    )


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


@mutant("C1", "a close that refuses the session is taken for a drop")
def refusing_close_is_retried(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor._attempt_failed",
        "error.code in REFUSING_CODES",
        "False",
    )


@mutant("C1", "every refused upgrade is tried again")
def refused_upgrade_is_retried(patch: Patch) -> None:
    patch.source("trialogue.realtime.upgrade:refusal", "status >= 500", "status >= 400")


@mutant("C11", "a caller that gives up cuts the frame that is being written")
def withdrawing_cuts_the_frame(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection._write_batch",
        "await link.send(frame)",
        "self._sending = trio.CancelScope()\n"
        "            with self._sending: await link.send(frame)",
    )
    patch.source(
        "trialogue.realtime.connection:Connection.withdraw_requests",
        "for batch in tuple(self._control):",
        "if hasattr(self, '_sending'): self._sending.cancel()\n"
        "        for batch in tuple(self._control):",
    )


@mutant("C12", "the frames of a batch whose requester has left are skipped")
def rest_of_a_batch_is_skipped(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection._write_batch",
        "for frame in frames:",
        "for frame in (r.frame for r in batch.requests if r.frame and"
        " (r.waited or r.subject != 'waited')):",
    )


@mutant("C12", "a batch that was withdrawn leaves all the same")
def withdrawn_batch_leaves(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.withdraw",
        "self._control.remove(batch)",
        "pass",
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


@mutant("H22", "the items that the context policy deleted are not brought back")
def deleted_history_stays_deleted(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.handoff:undone", "record.restore(failed.snapshot)", "pass"
    )


@mutant("H22", "the call's output goes on saying that the transfer took place")
def failed_transfer_reads_transferred(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.handoff:_truth", "output.output == transferred", "False"
    )


# --- barge-in ---------------------------------------------------------------------


@mutant("U3", "the user's voice does not stop the sound")
def voice_stops_nothing(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._speech",
        "session.replying.cut_everything()",
        "pass",
    )


@mutant("U3", "speech is truncated at what was received, not at what was heard")
def truncated_at_what_was_received(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.cutting:Cutting._heard",
        "min(item.heard_ms, item.received_ms)",
        "item.received_ms",
    )


@mutant("U3", "speech that was replayed in words is truncated as sound")
def replayed_words_are_truncated(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.cutting:Cutting.tidy",
        "if response.generation != connection.generation:",
        "if False:",
    )


@mutant("U3", "a reply that crosses the user's first words is heard over them")
def crossing_reply_is_heard(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding._talks_over_the_user",
        "return speaking and not response.out_of_band",
        "return False",
    )


@mutant("C2", "words that the lost server had not reported are not sent again")
def words_not_yet_noticed_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.listening:Listening._open_from",
        "start = self._committed_to if self.manual else self._sent_to - LOOKBACK",
        "start = self._sent_to",
    )


# --- sizes, secrets, usage --------------------------------------------------------


@mutant("X3", "an item beyond the bound is sent")
def endless_item_is_sent(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.limits:Limits.check_item",
        "size > self.max_item_chars",
        "False",
    )


@mutant("X3", "a call is run whatever the length of its arguments")
def endless_arguments_are_run(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.limits:Limits.fault_in",
        "len(arguments) <= self.max_argument_chars",
        "True",
    )


@mutant("X3", "what grows piece by piece is recorded without a bound")
def growing_text_is_not_cut(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.bounding:Bounding._delta", "if after <= room:", "if True:"
    )


@mutant("X3", "a message of the provider is read whatever its length")
def endless_message_is_read(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.serve",
        "max_message_size=self._limits.max_message_chars",
        "max_message_size=2**40",
    )


@mutant("X1", "the wire log shows what stands in a field that nobody knows")
def unknown_fields_are_shown(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.redaction:_text", "if not (texts or named):", "if False:"
    )


@mutant("X1", "the wire log hides keys by the name of their field only")
def keys_in_prose_are_shown(patch: Patch) -> None:
    patch.source("trialogue.realtime.redaction:_text", "without_keys(value)", "value")


@mutant("X1", "the reason of a close is passed on as the provider wrote it")
def close_reason_quotes_the_key(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.link:Link._lost",
        'without_keys(self.close_reason or "") or None',
        "self.close_reason",
    )


@mutant("R13", "a response that was cancelled is not told of")
def cancelled_response_is_not_counted(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding.done",
        "self._session.meter.response_done(",
        "response.cut or self._session.meter.response_done(",
    )


@mutant("R13", "what a cancelled response has cost is not added up")
def cancelled_response_costs_nothing(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding.done",
        "if event.usage is not None:",
        "if event.usage is not None and not response.cut:",
    )
