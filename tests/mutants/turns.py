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
        "return speaking and response.interruptible and not response.out_of_band",
        "return False",
    )


@mutant("U1", "a turn stands where its item was announced, not where it began")
def turns_stand_where_they_ended(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.record:Record.speech_started",
        "self._places.reserve(view, item_id)",
        "pass",
    )


@mutant("U2", "an interim transcript is told as the final one")
def interim_transcripts_are_final(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._transcript",
        "final=False",
        "final=True",
    )


@mutant("U3", "a position past the audio that has come is sent")
def position_past_the_audio(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.cutting:Cutting._heard",
        "min(item.heard_ms, item.received_ms)",
        "item.received_ms + 40",
    )


@mutant("U4", "speech that may not be interrupted is cut like any other")
def uninterruptible_speech_is_cut(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.playing:Stage.cut",
        "() if force else self._kept",
        "()",
    )


@mutant("U4", "speech that may not be interrupted is cancelled at the server")
def uninterruptible_speech_is_cancelled(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.replying:Replying._stop_speaking",
        "(force or active.interruptible)",
        "True",
    )


@mutant("U4", "uninterruptible speech is promised where the provider interrupts")
def promise_that_cannot_be_kept(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.hosting:Hosting._ask",
        "if not wish.allow_interruptions:",
        "if False:",
    )


@mutant("U4", "the user's voice stops nothing where the client has to see to it")
def client_barge_in_is_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._speech",
        "session.replying.stop_for_voice()",
        "pass",
    )


@mutant("U5", "the deadline for the user is not restarted by what is written")
def writing_restarts_no_deadline(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.playing:Stage.user_turn",
        "self._session.presence.acted()",
        "pass",
    )


@mutant("U5", "the deadline for the user runs while the agent speaks")
def deadline_runs_under_speech(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.states:States._watch",
        'self.user != "listening" or self.agent != "listening"',
        'self.user != "listening"',
    )


@mutant("U5", "an agent that is heard as fast as it is made thinks in between")
def thinking_between_words(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.presence:Presence._is_about_to_go_on",
        'self.agent == "speaking"',
        "False",
    )


@mutant("U5", "the agent is silent as soon as the loudspeaker has run dry")
def dry_loudspeaker_ends_the_speech(patch: Patch) -> None:
    patch.source(
        "trialogue.audio.playout:Playout.speaking",
        "item.started_at is not None and not item.over",
        "item.started_at is not None and item.played < item.received",
    )


@mutant("U5", "an agent goes from one state to any other")
def every_state_follows_every_other(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.states:States._agent",
        "AGENT_TRANSITIONS.get((old, event), old)",
        '{"HEARD": "speaking", "WORKS": "thinking"}.get(event.name, "listening")',
    )


@mutant("U6", "what was said before the button was pressed is in the turn")
def turn_begins_with_residue(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.user_turns:UserTurns.start",
        "self._realtime.listening.uncommitted",
        "False",
    )


@mutant("U6", "a muted microphone is listened to between two turns")
def muted_microphone_is_heard(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.user_turns:UserTurns.from_microphone",
        "self.open or not self.muted",
        "True",
    )


@mutant("U6", "a turn ends where the commit is sent, not where it was asked for")
def commit_takes_what_follows(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.commanding:Commanding._about_audio",
        "connection.post([request], after_audio=upto)",
        "connection.post([request], after_audio=upto + 24_000)",
    )


@mutant("U6", "a turn whose connection was lost is not committed on the next one")
def lost_turn_is_not_committed_again(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.user_turns:UserTurns._commit",
        "report.requests[0].state in PASSED_BY and",
        "False and",
    )
