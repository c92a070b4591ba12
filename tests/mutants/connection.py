"""Breakages of connections (C)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("C1", "a close that refuses the session is taken for a drop")
def refusing_close_is_retried(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor._attempt_failed",
        "is_refusal(error.code)",
        "False",
    )


@mutant("C1", "every refused upgrade is tried again")
def refused_upgrade_is_retried(patch: Patch) -> None:
    patch.source("trialogue.realtime.upgrade:refusal", "status >= 500", "status >= 400")


@mutant("C2", "words that the lost server had not reported are not sent again")
def words_not_yet_noticed_are_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.listening:Listening._open_from",
        "self._sent_to - LOOKBACK",
        "self._sent_to",
    )
    patch.source(
        "trialogue.realtime.listening:Listening.left",
        "self._sent_to = max(self._sent_to, heard or 0)",
        "self._sent_to = sent_to",
    )


@mutant("C3", "words that were just beginning are left with the old connection")
def beginning_is_left_behind(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.listening:Listening._open_from",
        "self._sent_to - LOOKBACK",
        "self._sent_to",
    )


@mutant("C2", "a fresh connection is told nothing of the conversation")
def conversation_is_not_replayed(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.agreeing:Agreeing._configure",
        "requests += encode_replay(self._session, connection, self._history)",
        "pass",
    )


@mutant("C2", "the conversation is replayed ahead of the configuration")
def conversation_comes_first(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.agreeing:Agreeing._configure",
        "requests += encode_replay(self._session, connection, self._history)",
        "requests[:0] = encode_replay(self._session, connection, self._history)",
    )


@mutant("C2", "what waited when the connection was lost waits on")
def lost_requests_wait_on(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.end", "self.ledger.lose()", "pass"
    )


@mutant("C2", "a lost server is dialled without a pause")
def dialled_without_a_pause(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.backoff:Backoff.pause", "if failures <= 1:", "if True:"
    )


@mutant("C3", "nothing is dialled before the limit has come")
def nothing_is_dialled_ahead(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor._spare_wanted",
        "asked = self.standby or self._switch_is_due()",
        "asked = self.standby",
    )


@mutant("C3", "a connection is replaced although somebody speaks")
def rotation_cuts_who_speaks(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor._nobody_speaks",
        "if busy or talking:",
        "if False:",
    )


@mutant("C3", "the moment to replace a connection passes unnoticed")
def limit_is_not_looked_at(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor._look_again_at",
        "moments += [current.lifetime.due, current.lifetime.pressing]",
        "pass",
    )


@mutant("C4", "the buffer of an outage has no bound")
def outage_has_no_bound(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.input_ring:InputRing.trim", "if excess <= 0:", "if True:"
    )


@mutant("C4", "what an outage costs is not counted")
def dropped_audio_is_not_counted(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.input_ring:InputRing.trim", "self.dropped += lost", "pass"
    )


@mutant("C4", "nobody hears that audio was dropped")
def dropped_audio_is_not_told(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.session:RealtimeSession.push_audio", "if lost:", "if False:"
    )


@mutant("C5", "a missing pong is waited for no longer, and forgotten")
def missing_pong_is_forgotten(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.heartbeat",
        "if patience.cancelled_caught:",
        "if False:",
    )


@mutant("C6", "a farewell may take as long as connecting")
def farewell_takes_its_time(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.serve",
        "close_timeout=self.timing.close",
        "close_timeout=self.timing.connect",
    )


@mutant("C7", "a session that failed takes work")
def failed_session_takes_work(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.session:RealtimeSession.check_open",
        "if self.over:",
        "if self.over and self.failure is None:",
    )


@mutant("C7", "a dead session swallows audio")
def dead_session_swallows_audio(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.session:RealtimeSession.push_audio",
        "self.check_open()",
        "pass",
    )


@mutant("C7", "a dead session never answers who asks for a reply")
def dead_session_never_replies(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.session:RealtimeSession.reply",
        "self.check_open()",
        "await trio.lowlevel.checkpoint()",
    )


@mutant("C8", "connecting counts as progress")
def connecting_is_progress(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor.started",
        "self.has_connected = True",
        "self.has_connected, self._failures = True, 0",
    )


@mutant("C8", "progress does not restore the budget")
def progress_restores_nothing(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor.progressed",
        "self._failures = 0",
        "pass",
    )


@mutant("C9", "an unknown event is dropped by its dialect")
def unknown_event_is_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._incoming:Incoming.translate",
        "return (ours.UnknownEvent(type=event.type, data=data),)",
        "return ()",
    )


@mutant("C9", "an unknown event is not handed on")
def unknown_event_is_not_handed_on(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._current",
        "self._session.publish(RawEvent(kind, data))",
        "pass",
    )


@mutant("C9", "an event of an unknown type is malformed")
def unknown_event_is_malformed(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai.wire.codec:structure_server_event",
        "return UnknownServerEvent(type=kind, data=data)",
        'raise ProtocolError("unknown type", detail="$.type")',
    )


@mutant("C10", "a malformed frame ends its connection")
def malformed_frame_ends_the_connection(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection._take_in",
        "handler.malformed(self, error)",
        "self.end(ConnectionLost(str(error)))",
    )


@mutant("C10", "the text of a malformed frame is quoted")
def malformed_frame_is_quoted(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai.dialect:OpenAIDialect.decode",
        '"the frame is not valid JSON"',
        'f"the frame is not valid JSON: {text}"',
    )


@mutant("C11", "a caller that gives up cuts the frame that is being written")
def withdrawing_cuts_the_frame(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection._write_batch",
        "await link.send(*frames)",
        "self._sending = trio.CancelScope()\n"
        "            with self._sending: await link.send(*frames)",
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
        "await link.send(*frames)",
        "for r in batch.requests:\n"
        "                if r.frame and (r.waited or r.subject != 'waited'):\n"
        "                    await link.send(r.frame)",
    )


@mutant("C12", "a batch that was withdrawn leaves all the same")
def withdrawn_batch_leaves(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.connection:Connection.withdraw",
        "self._control.remove(batch)",
        "pass",
    )


@mutant("C13", "a farewell is waited for without a bound")
def farewell_has_no_bound(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.services:open_services",
        "trio.move_on_after(allowance, shield=True)",
        "trio.CancelScope(shield=True)",
    )


@mutant("C13", "a session that failed leaves its block without a word")
def failure_is_not_raised(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.opening:running_session",
        "if session.failure is not None:",
        "if False:",
    )


@mutant("C4", "what was said to a server that had died counts as heard")
def dead_server_has_heard_everything(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.supervisor:Supervisor._withdraw",
        "connection.proven if lost else connection.cursor",
        "connection.cursor",
    )
