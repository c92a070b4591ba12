"""Breakages of the user's turns (U)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


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
        "given = [i for i in left if self._was_given(connection, i)]",
        "given = []",
    )


@mutant("U3", "a reply that crosses the user's first words is heard over them")
def crossing_reply_is_heard(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.responding:Responding._talks_over_the_user",
        "return speaking and not response.out_of_band",
        "return False",
    )
