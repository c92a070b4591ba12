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
        "trialogue.realtime.replying:Replying._hold_for_user",
        "reply.held_for_user = True",
        "pass",
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
        "trialogue.realtime.replying:Replying._stale",
        "return config.epoch is not wanted.epoch",
        "return False",
    )


@mutant("H18", "whoever was answered under the old prompt is not answered again")
def stale_answer_is_not_owed(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.replying:Replying._answer_again",
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
