"""Breakages of connections (C)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


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


@mutant("C2", "words that the lost server had not reported are not sent again")
def words_not_yet_noticed_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.listening:Listening._open_from",
        "start = self._committed_to if self.manual else self._sent_to - LOOKBACK",
        "start = self._sent_to",
    )


@mutant("C6", "a farewell may take as long as connecting")
def farewell_takes_its_time(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.serve",
        "close_timeout=self.timing.close",
        "close_timeout=self.timing.connect",
    )


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
