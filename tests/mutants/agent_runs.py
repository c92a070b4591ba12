"""Breakages of the kit that agents are tested with (M20 to M24)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("M20", "a turn is over while its tools still run")
def tools_are_not_waited_for(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.settling:_of_scope",
        "if scope.quiet:",
        "if True:",
    )


@mutant("M20", "a reply is told with the agent's own instructions, not those it had")
def prompts_are_those_of_the_first_reply(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.chronicle:Chronicle.prompt_of",
        "one.response_id == response_id",
        "one is self.model.asked[0]",
    )


@mutant("M20", "what was cut counts as heard to its end")
def cuts_are_not_told(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.chronicle:Chronicle._was_cut",
        "heard is not None or",
        "False or",
    )


@mutant("M21", "what no rule covers is answered all the same")
def anything_goes(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.scripted:ScriptedModel._unscripted",
        'raise ScriptError("\\n".join(lines))',
        'return "Anything."',
    )


@mutant("M21", "replies that nobody asked for are forgotten")
def leftovers_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.scripted:ScriptedModel.check_all_given",
        "if left:",
        "if not left:",
    )


@mutant("M21", "a script may call tools that the model has not been given")
def calls_are_not_checked(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.scripted:_check_calls",
        'call.name not in turn.tools or turn.tool_choice == "none"',
        "False",
    )


@mutant("M21", "what no turn waits for is not raised")
def nobody_watches(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.settling:Settling.watch",
        "self._model.trouble and not self._attending",
        "False",
    )


@mutant("M22", "a turn that is overdue counts as over")
def patience_is_no_bound(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.settling:Settling.until",
        "raise TurnUnfinished(self._unfinished(what, course()))",
        "return",
    )


@mutant("M22", "it is not said where a tool waits")
def the_place_is_not_told(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.settling:_where",
        'return f"; it waits in {own[0]}" if own else ""',
        'return ""',
    )


@mutant("M23", "arguments that differ are not looked at")
def any_arguments_will_do(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.happenings:_objections",
        "if call.arguments.get(name, missing) != value",
        "if name not in call.arguments",
    )


@mutant("M23", "a call that was not run counts as run")
def refused_calls_count(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.happenings:_objections",
        'return wrong if call.ran else ["it was not run", *wrong]',
        "return wrong",
    )


@mutant("M24", "the clock jumps while a thread works")
def threads_are_not_noticed(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.virtual_time:_ThreadWatch.after_task_step",
        "self._limiter.borrowed_tokens > 0",
        "False",
    )


@mutant("M24", "the clock runs on as soon as one of its holders lets go")
def one_release_is_enough(patch: Patch) -> None:
    patch.source(
        "trialogue.testing.virtual_time:_release",
        "if held.holders == 0:",
        "if held.holders >= 0:",
    )


@mutant("M25", "a tool that returns an agent hands over to nobody")
def returned_agent_is_a_result(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_runs:ToolRuns._result",
        "handoff = as_handoff(value)",
        "handoff = None",
    )
