"""Breakages of tools (T)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("T1", "calls that a handoff leaves open are not answered")
def open_calls_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering.close",
        "decision.outputs += outputs",
        "pass",
    )


@mutant("T1", "a call with wrong arguments holds up its siblings' answers")
def wrong_arguments_are_not_answered(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns.start",
        "opened.settle(BadArguments(str(error)))",
        "pass",
    )


@mutant("T3", "the calls of an interrupted response are not answered")
def interrupted_results_are_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering.response_done",
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


@mutant("T2", "the model reads the text of an internal exception")
def exceptions_are_told(patch: Patch) -> None:
    patch.source(
        "trialogue.tools.outcome:_sentence",
        'case Crashed():\n            return "the tool failed with an internal error"',
        'case Crashed(error=error):\n            return f"the tool failed: {error}"',
    )


@mutant("T2", "nobody is told that a tool has a fault")
def faults_are_kept_secret(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns._crashed",
        "self._session.publish(",
        "str(",
    )


@mutant("T2", "a tool that fails while it is stopped takes its agent along")
def failure_in_a_finally_ends_the_run(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns._run",
        "with capturing(lambda error: self._raised(opened, error)), opened.scope:\n"
        "                await self._work(opened, tool, ctx, arguments)",
        "with opened.scope:\n"
        "              try:\n"
        "                await self._work(opened, tool, ctx, arguments)\n"
        "              except Exception as error:\n"
        "                self._raised(opened, error)",
    )


@mutant("T4", "outputs go back in the opposite order")
def outputs_are_turned_round(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering._answer_group",
        "for call in group.calls if",
        "for call in reversed(group.calls) if",
    )


@mutant("T4", "the reply is asked for by the first call alone")
def first_call_decides_on_the_reply(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.calls:CallGroup.wants_reply",
        "any(call.wants_reply for call in self.calls)",
        "self.calls[0].wants_reply",
    )


@mutant("T5", "nothing is heard while a tool works")
def tools_silence_the_voice(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.playing:Stage.audio",
        "self._playout.push(key, item_id, pcm)",
        "self.working() or self._playout.push(key, item_id, pcm)",
    )


@mutant("T5", "the user cannot stop the voice while a tool works")
def tools_keep_the_voice_going(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.playing:Stage.cut",
        "        if response is None:",
        "        if self.working():\n"
        "            return []\n"
        "        if response is None:",
    )


@mutant("T6", "a handoff begins a new row of steps")
def handoff_resets_the_steps(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.scope:AgentScope.decide",
        "self.handed_over = True",
        "self.session.step_limit.reset()",
    )


@mutant("T6", "steps beyond the limit are run")
def steps_are_not_limited(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns.start",
        "if group.beyond:",
        "if False:",
    )


@mutant("T6", "a model that has reached the limit may call again and again")
def limit_is_told_for_ever(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering._answer_group",
        "reply = False  # it was told, and calls on all the same",
        "pass",
    )


@mutant("T6", "the steps of a whole conversation are counted")
def steps_are_never_reset(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.step_limit:StepLimit.reset", "self._taken = 0", "pass"
    )


@mutant("T6", "words that a tool has said end the row")
def tools_words_reset_the_steps(patch: Patch) -> None:
    patch.source("trialogue.agents.step_limit:StepLimit.ended", " or asked_by_tool", "")


@mutant("T7", "a tool's own timeout is not kept")
def timeouts_are_ignored(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.calls:OpenCall.begin",
        "self.allow(spare if seconds is None else seconds)",
        "self.allow(spare)",
    )


@mutant("T7", "a tool that names no timeout may never end")
def session_sets_no_limit(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_settings:ToolSettings.limit",
        "return math.inf if self.tool_timeout is None else self.tool_timeout",
        "return math.inf",
    )


@mutant("T7", "a call waits for its tool, although that does not end")
def calls_wait_for_ever(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.calls:OpenCall.allow",
        "self.expect_end(self.timer.deadline + STALLED)",
        "pass",
    )


@mutant("T7", "a handoff waits for a tool that does not end")
def handoffs_wait_for_ever(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.attending:Attendant._attend",
        "if not self._scope.waits_for_delegate(opened):",
        "if False:",
    )


@mutant("H3", "an agent is left while its tools run on")
def tools_run_on(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.attending:Attendant._attend",
        'opened.scope.cancel(reason="the agent is left")',
        "pass",
    )


@mutant("T7", "a tool that gets less time while others run is not looked at sooner")
def tools_are_not_looked_at_sooner(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.attending:Attendant.expect",
        "self._wait.deadline = by",
        "pass",
    )


@mutant("T7", "the time in which a tool delegates counts against the session's limit")
def conversations_are_timed(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.calls:OpenCall.conversing",
        "        self.allow(math.inf)\n",
        "",
    )


@mutant("T8", "a detached tool ends with its agent")
def detached_tools_end_with_their_agent(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns.start",
        'opened.detached = tool.options.on_handoff == "detach"',
        "opened.detached = False",
    )


@mutant("T8", "the result of a detached tool is nowhere to be read")
def notes_are_lost(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering._finished",
        "if opened.noted:",
        "if False:",
    )


@mutant("T8", "every note has the agent speak")
def notes_are_always_spoken_of(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering._finished",
        "reply=held and opened.wants_reply",
        "reply=held",
    )


@mutant("T9", "a tool that has something said waits for its own turn to end")
def tools_wait_for_their_turn(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns._run",
        "current_turn.set(group.turn)",
        "current_turn.set(None)",
    )


@mutant("T9", "a conversation that was ended waits for the tool that ended it")
def end_waits_for_tools(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.ending:Ending._is_over",
        "return silent\n",
        "return silent and self._quiet(scope)\n",
    )


@mutant("T9", "a tool that waits for a handoff of its own agent waits for ever")
def tools_wait_for_their_own_handoff(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.handing_over:HandingOver.hand_over",
        "if inside is not None and inside.encloses(trio.lowlevel.current_task()):",
        "if False:",
    )


@mutant("T10", "a call is run while it waits for approval")
def calls_are_run_unapproved(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns.start",
        "tool.options.needs_approval is False and not waits",
        "True",
    )


@mutant("T10", "a call waits for approval for ever")
def approvals_never_expire(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.approving:Approving.wait",
        "trio.move_on_after(self._timeout)",
        "trio.move_on_after(1e9)",
    )


@mutant("T10", "a handoff lets a detached call wait on for its approval")
def handoff_leaves_approvals_open(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.answering:Answering.withdraw",
        "if call.started_at is None and call.running:",
        "if False:",
    )


@mutant("T10", "a tool's own time runs while it waits for approval")
def time_runs_unapproved(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns._work",
        "            refusal = await approving.wait(ctx, name, opened, tool)\n",
        "            seconds = tool.options.timeout or 1e9\n"
        "            opened.timer.deadline = trio.current_time() + seconds\n"
        "            with opened.timer:\n"
        "                refusal = await approving.wait(ctx, name, opened, tool)\n",
    )
