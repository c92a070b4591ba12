"""Breakages of responses and errors (R)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("R1", "a conflict with a response that nobody asked for fails the caller")
def conflict_fails_the_caller(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.asking:Asking.refused",
        "error.error_class is ErrorClass.CONFLICT and not reply.unwanted",
        "False",
    )


@mutant("R1", "whoever wants to be told of a conflict is queued like others")
def conflict_is_never_raised(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.asking:Asking.refused",
        'if reply.if_busy == "raise":',
        "if False:",
    )


@mutant("R1", "every rejection is queued again")
def every_rejection_is_queued_again(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.asking:Asking.refused",
        "error.error_class is ErrorClass.CONFLICT and",
        "True and",
    )


@mutant("R2", "an error that names an unknown event is held against what waits")
def unknown_event_is_blamed_on_others(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.blaming:at_fault",
        "if error.event_id is not None:",
        "if error.event_id in {r.event_id for r in owed}:",
    )


@mutant("R3", "a harmless race is told to everyone")
def races_are_told(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._unclaimed",
        "event.error_class is ErrorClass.BENIGN or empty",
        "empty",
    )


@mutant("R3", "deleting what is gone already is a failure")
def deleting_the_gone_fails(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger.rejected",
        "error.error_class in _AS_ASKED",
        "error.error_class is ErrorClass.DUPLICATE",
    )


@mutant("R3", "an empty commit is never an error")
def empty_commit_passes(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.commanding:Commanding.commit_audio",
        "if error is not None and not self._session.turns_are_automatic():",
        "if error is not None and error.code is None:",
    )


@mutant("R3", "an empty commit is an error under turn detection as well")
def empty_commit_is_always_an_error(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.commanding:Commanding.commit_audio",
        "if error is not None and not self._session.turns_are_automatic():",
        "if error is not None:",
    )


@mutant("R4", "a response that fails for good leaves the session as it is")
def fatal_response_is_survived(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding._failed",
        "event.error_class is ErrorClass.TERMINAL",
        "False",
    )


@mutant("R4", "every failed response ends the session")
def passing_failure_ends_the_session(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding._failed",
        "event.error_class is ErrorClass.TERMINAL",
        "event.error_class is not None",
    )


@mutant("R4", "a passing error ends the session")
def passing_error_ends_the_session(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._error",
        "event.error_class is ErrorClass.TERMINAL",
        "event.error_class in {ErrorClass.TERMINAL, ErrorClass.TRANSIENT}",
    )


@mutant("R4", "a session that has failed goes on dialling")
def failed_session_dials_on(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._error",
        "session.fail(",
        "connection.end(",
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


@mutant("R7", "an end without details is not understood")
def end_without_details_crashes(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._responses:Responses._ended",
        "response.status_details or wire.StatusDetails()",
        "response.status_details",
    )


@mutant("R7", "an end without usage is not understood")
def end_without_usage_crashes(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._responses:usage_in",
        "if not usage:",
        "if usage is False:",
    )


@mutant("R7", "a response that was never announced is nobody's")
def unannounced_response_is_nobodys(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding.done",
        "if response.reply is None and event.key is not None:",
        "if False:",
    )


@mutant("R8", "instructions of a reply take the place of the session's")
def own_instructions_replace(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.asking:Asking._configured",
        "instructions=joined or reply.add_instructions",
        "instructions=reply.add_instructions",
    )


@mutant("R8", "instructions that should stand alone are added all the same")
def replacing_instructions_are_added(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.wishes:wish_for",
        "None if replace else instructions",
        "instructions",
    )


@mutant("R9", "a failed reply ends like any other")
def failed_reply_does_not_raise(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding._settle",
        'event.status == "failed" and not response.discard',
        "False",
    )


@mutant("R9", "an interrupted reply does not say what was heard")
def interrupted_reply_says_nothing(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.replies:Response.result",
        "heard_ms=self.heard_ms",
        "heard_ms=None",
    )


@mutant("R9", "a reply that was cut passes for a complete one")
def cut_reply_is_complete(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.replies:Response._outcome",
        "if self.cut or self.discard:",
        "if self.discard:",
    )


@mutant("R10", "a reply is asked for while another one runs")
def replies_overlap(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.replies:ResponseSlot.free_for",
        "or self.active is not None",
        "",
    )


@mutant("R10", "a reply is asked for while another one has not begun")
def replies_are_asked_for_at_once(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.replies:ResponseSlot.free_for",
        "self.posted is not None or",
        "",
    )


@mutant("R10", "a reply out of band waits for the conversation's own")
def out_of_band_waits(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.asking:Asking._may_go",
        "if reply.out_of_band:",
        "if False:",
    )


@mutant("R11", "a call is run although its item was cut off")
def incomplete_call_is_run(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._items_in:is_completed_call",
        'item.status == "completed"',
        "item.status is not None",
    )


@mutant("R12", "calls that come with the end come in the wrong order")
def late_calls_are_reversed(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._responses:Responses._late_calls",
        "return [call for call in ready if call is not None]",
        "return [call for call in ready if call is not None][::-1]",
    )


@mutant("R12", "the newest item of a response stands first")
def newest_item_stands_first(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding.output_item",
        "response.items.append(event.item.id)",
        "response.items.insert(0, event.item.id)",
    )


@mutant("R13", "cancelled responses cost nothing")
def cancelled_responses_cost_nothing(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding.done",
        "if event.usage is not None:",
        'if event.usage is not None and event.status != "cancelled":',
    )


@mutant("R13", "cached tokens are not counted")
def cached_tokens_are_not_counted(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._responses:usage_in",
        "*_tokens(spent.cached_tokens)",
        "0",
    )


@mutant("R13", "audio is counted as text")
def audio_is_counted_as_text(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._responses:usage_in",
        "*_tokens(made.text_tokens, made.audio_tokens)",
        "*_tokens(made.audio_tokens, made.text_tokens)",
    )


@mutant("R13", "a response that was cancelled is not told of")
def cancelled_response_is_not_told_of(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding.done",
        "self._session.meter.response_done(",
        "response.cut or self._session.meter.response_done(",
    )
