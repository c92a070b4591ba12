"""Breakages of guardrails (G)."""

from __future__ import annotations

from quality.mutation import Patch, mutant

GUARDING = "trialogue.agents.guarding:Guarding"


@mutant("G10", "what came during a check is never looked at")
def text_during_a_check_is_unseen(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.debouncing:Watch.checked",
        "return self._next()",
        "return None",
    )


@mutant("G10", "checks of one message pile up")
def checks_pile_up(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.debouncing:Watch._next",
        "if self._busy or not self._due():",
        "if not self._due():",
    )


@mutant("G10", "the end of a sentence is not looked at")
def sentences_do_not_end(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.debouncing:Watch._due",
        "return self._sentence_ends and bool(_SENTENCE_END.search(self.text, seen))",
        "return bool(seen) and not _SENTENCE_END",
    )


@mutant("G10", "the last words of a message are not looked at")
def last_words_are_unseen(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.debouncing:Watch._due", "if self._ended:", "if False:"
    )


@mutant("G10", "a message is held against the one before it")
def messages_are_mixed_up(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._watching",
        "said.watches.setdefault((item_id, g), _watch_of(g))",
        'said.watches.setdefault(("", g), _watch_of(g))',
    )


@mutant("G10", "what is out of band is guarded, so that a check checks itself")
def checks_check_themselves(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._watching",
        "scope is None or response.out_of_band",
        "scope is None",
    )


@mutant("G11", "a trip stops the sound, and lets the server go on")
def tripped_reply_is_not_cancelled(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._stop",
        "self._session.realtime.replying.cut(response)",
        "self._session.playout.interrupt()",
    )


@mutant("G11", "a reply that is complete plays on after a trip")
def complete_reply_plays_on(patch: Patch) -> None:
    patch.source(f"{GUARDING}._stop", "response.running or playing", "response.running")


@mutant("G11", "the calls that a stopped reply still makes are run")
def calls_of_a_stopped_reply_are_run(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering.dispatch",
        "if self._session.guarding.stopped(response):",
        "if False:",
    )


@mutant("G11", "the event does not know what was heard")
def event_knows_nothing_of_what_was_heard(patch: Patch) -> None:
    patch.source(f"{GUARDING}.tripped", "listener.heard_ms(response)", "0")


@mutant("G11", "a guardrail that only watches cuts all the same")
def watching_cuts(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}.tripped", "if response is not None and trip.cut:", "if response:"
    )


@mutant("G12", "a check that overruns its time has passed")
def overrun_is_a_pass(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.checking:check",
        "if trip is None and within.cancel_called:",
        "if False:",
    )


@mutant("G12", "a check that raises has passed")
def raising_is_a_pass(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.checking:check", "if error is not None:", "if False:"
    )


@mutant("G12", "what is no answer counts as a pass")
def any_answer_is_a_pass(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.checking:_a_trip",
        "if found is None or isinstance(found, Trip):\n        return found",
        "if True:\n        return found if isinstance(found, Trip) else None",
    )


@mutant("G12", "what a guardrail raised is not logged")
def failed_guardrail_is_silent(patch: Patch) -> None:
    patch.source("trialogue.agents.checking:_log", "exc_info=error", "exc_info=None")


@mutant("G13", "the calls of a reply bring their own words beside the trip's")
def two_replies_follow_a_trip(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}.tripped", "if follows and response is not None:", "if False:"
    )


@mutant("G13", "other words wait for the tools of the reply that they replace")
def other_words_wait_for_tools(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.following:follow",
        "turn if beside else None",
        "None if beside else None",
    )


@mutant("G13", "an agent takes over from itself")
def agent_takes_over_from_itself(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.following:_hand_over",
        "if not goes_on or session.running.runs(handoff.agent):",
        "if not goes_on:",
    )


@mutant("G13", "every guardrail that trips on a turn acts")
def every_trip_on_a_turn_acts(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._check_turn",
        "if tripped is None or turn.tripped:",
        "if tripped is None:",
    )


@mutant("G13", "the checks of a reply that was cut go on, and trip as well")
def checks_outlive_the_cut(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.guarding:Said.stop",
        "self.stopped = True",
        "self.checks = set()",
    )


@mutant("G13", "apologies follow one another without end")
def apologies_without_end(patch: Patch) -> None:
    patch.source(f"{GUARDING}.may_say", "self._said_instead < MOST", "True")


@mutant("G13", "an agent follows the end of the conversation")
def an_agent_follows_the_end(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.following:follow", "or session.ending.asked", "or False"
    )


@mutant("G13", "an apology follows the answer to what the user said next")
def excuse_comes_too_late(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.following:_say",
        "if session.guarding.latest_turn != turn:",
        "if False:",
    )


@mutant("G14", "the checks of what an agent said end with the agent")
def checks_end_with_the_agent(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._look",
        "self._session.block.start_if_open(",
        "response.owner.nursery.start_soon(",
    )


@mutant("G14", "an agent that has handed over does so again")
def trip_hands_over_again(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.following:follow",
        "goes_on = not (scope.ends or scope.leaving or session.ending.asked)",
        "goes_on = not session.ending.asked",
    )


@mutant("G15", "a reply that begins after the trip is heard")
def later_answer_is_heard(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._stop_answers",
        "self._refused = turn.item_id, scope.agent",
        "self._refused = None",
    )


@mutant("G15", "replies that were asked for and have not begun are made")
def waiting_replies_are_made(patch: Patch) -> None:
    patch.source(f"{GUARDING}._stop_answers", "self._take_back()", "pass")


@mutant("G15", "the reply to a later turn is cut with the tripped one's")
def later_turn_is_cut(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._stop_answers",
        "latest = turn.item_id not in self._turns or turn.item_id == self.latest_turn",
        "latest = True",
    )


@mutant("G15", "the outputs of a stopped reply's calls are spoken of")
def stopped_replys_calls_are_spoken_of(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._stop_answers",
        "self._of(response).replaced = True",
        "pass",
    )


@mutant("G15", "what is written is not checked")
def messages_are_not_checked(patch: Patch) -> None:
    patch.source(f"{GUARDING}.user_turn", "if written:", "if False:")


@mutant("G15", "only the provider's own answer is a reply to a turn")
def programs_replies_are_no_answers(patch: Patch) -> None:
    patch.source(
        f"{GUARDING}._stop_answers",
        "latest and response.created_at >= turn.at and not response.out_of_band",
        "False",
    )


@mutant("G16", "a call is run while its arguments are still checked")
def call_is_run_unchecked(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.guarded_calls:GuardedCall.may_run",
        "if not guardrails:",
        "if True:",
    )


@mutant("G16", "an output is settled before it is checked")
def output_is_sent_unchecked(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.guarded_calls:GuardedCall.settle",
        "text = render(outcome, max_bytes=most)",
        "text = render(outcome, max_bytes=most); self._opened.settle(outcome)",
    )


@mutant("G16", "a tool's own refusal is not checked")
def tool_error_is_not_checked(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns._result",
        "if not isinstance(meant, ToolError):",
        "if meant:",
    )


@mutant("G16", "a guardrail of one tool is asked about all")
def guardrail_of_one_tool_is_asked_about_all(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.guardrails:Guardrail.concerns",
        "self.tools is None or tool in self.tools",
        "True",
    )


@mutant("G16", "the model is told what the program was told")
def reason_is_told_the_model(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.guarded_calls:GuardedCall.may_run",
        'Blocked("call", tripped.trip.refusal)',
        'Blocked("call", tripped.trip.reason)',
    )


@mutant(
    "G17", "a tool that had finished when its check was cancelled is told as stopped"
)
def finished_tool_is_told_as_stopped(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.calls:OpenCall.close",
        'self.held is not None and self.held.what == "result"',
        "False",
    )


@mutant("G17", "what a check raises while it is cancelled ends the session")
def careless_check_ends_the_session(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.checking:check",
        "if not isinstance(rest, ExceptionGroup):",
        "if not isinstance(rest, ExceptionGroup) or cancelled:",
    )
