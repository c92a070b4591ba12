"""Breakages of the conversation's state, and of bringing a server to it (S)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


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
