"""Breakages of the records of conversations, and of their pages (M)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("M1", "what left the conversation is not in its record")
def forgets_what_left(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:Recorder._items",
        "if trace.left is not None]",
        "if False]",
    )


@mutant("M1", "a turn stands where the session was told of it")
def turns_begin_when_noticed(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:Recorder._voice",
        "began=min(turn.began, max(at, before))",
        "began=turn.began",
    )


@mutant("M1", "the steps of a handoff are on another clock than everything else")
def handoffs_on_another_clock(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recorded:_handoff_timed", "record.since(value)", "value"
    )


@mutant("M1", "speech that was cut counts as heard to its end")
def cut_speech_is_whole(patch: Patch) -> None:
    patch.source("trialogue.agents.recording:Recorder.speech_ended", "if cut:", "if 0:")


@mutant("M1", "who asked for an answer is not current again once it is there")
def delegating_agent_stays_away(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recorded:_delegation_ended",
        "record.agent_entered(event.agent, at, previous=event.to)",
        "pass",
    )


@mutant("M1", "a detached tool has no end")
def detached_tools_never_end(patch: Patch) -> None:
    patch.source("trialogue.agents.recorded:_tool_noted", "ended=at", "ended=None")


@mutant("M2", "what was being said already counts as the answer")
def old_speech_is_the_answer(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:Recorder.speech_began",
        "reply.began >= turn.ended",
        "True",
    )


@mutant("M2", "a reply time begins when the session knows of the turn's end")
def reply_time_from_the_notice(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:Recorder._voice",
        "ended=max(turn.began, at)",
        "ended=turn.noticed_end",
    )


@mutant("M2", "a later answer takes the place of the first one")
def last_answer_counts(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:Recorder.speech_began",
        "turn.ended is None or turn.answered is not None",
        "turn.ended is None",
    )


@mutant("M3", "a report needs Trio's clock after the end, too")
def report_needs_the_clock(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.session:AgentSession.report",
        "self._final or self._now()",
        "self._now()",
    )


@mutant("M3", "a value of another type is taken from a file")
def any_type_is_read(patch: Patch) -> None:
    patch.source(
        "trialogue.records.loading:_exact", "if not isinstance(value, kind):", "if 0:"
    )


@mutant("M3", "a session that was cancelled counts as failed")
def cancelled_is_failed(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:recorded",
        '"cancelled" if problem is None else "failed"',
        '"failed"',
    )


@mutant("M4", "a list grows for as long as the conversation lasts")
def lists_grow(patch: Patch) -> None:
    patch.source(
        "trialogue.records.shelf:Shelf.put",
        "if len(self._records) > self._most:",
        "if False:",
    )


@mutant("M4", "items are remembered for as long as the conversation lasts")
def items_grow(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:Recorder.item_added",
        "if len(self._traces) > ITEMS:",
        "if False:",
    )


@mutant("M4", "texts of any length are kept")
def long_texts_are_kept(patch: Patch) -> None:
    patch.source(
        "trialogue.records.wording:_cut",
        "if len(text) <= MOST and not more:",
        "if True:",
    )


@mutant("M5", "what was said is markup in the page")
def words_are_markup(patch: Patch) -> None:
    patch.source(
        "trialogue.records.markup:escaped",
        "html.escape(str(text).translate(_STRANGE))",
        "str(text).translate(_STRANGE)",
    )


@mutant("M5", "control characters are obeyed")
def control_characters_are_obeyed(patch: Patch) -> None:
    patch.source(
        "trialogue.records.markup:escaped", "str(text).translate(_STRANGE)", "str(text)"
    )


@mutant("M5", "the page may fetch what it likes")
def page_has_no_policy(patch: Patch) -> None:
    patch.source(
        "trialogue.records.page:_policy", "default-src 'none'; ", "default-src *; "
    )


@mutant("M6", "a bar ends where it begins")
def bars_have_no_length(patch: Patch) -> None:
    patch.source(
        "trialogue.records.timeline:_lane",
        'data_ended=f"{bar.ended:.10g}"',
        'data_ended=f"{bar.began:.10g}"',
    )


@mutant("M6", "tools have no lane")
def tools_have_no_lane(patch: Patch) -> None:
    patch.source(
        "trialogue.records.lanes:lanes_of", "bars=tuple(_tools(report))", "bars=()"
    )


@mutant("M6", "labels cover one another")
def labels_cover_one_another(patch: Patch) -> None:
    patch.source(
        "trialogue.records.strips:_row",
        "all(end <= taken[0] or begin >= taken[1] for begin, end in row)",
        "True",
    )


@mutant("M6", "silence takes as much room as talk")
def silence_takes_room(patch: Patch) -> None:
    patch.source(
        "trialogue.records.strips:strips",
        "sorted({int(max(0.0, moment) // length) for moment in moments})",
        "range(int(min(total, 1e5) // length) + 1)",
    )


@mutant("M7", "the conversation to begin with is not given to the server")
def begins_with_nothing(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.core:SessionCore.__init__",
        "self.record.add_local(item)",
        "pass",
    )


@mutant("M7", "of a saved conversation calls and their outputs are lost")
def saved_without_calls(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.serialization:load",
        "for at, item in enumerate(items))",
        'for at, item in enumerate(items) if item.get("kind") == "message")',
    )


@mutant("M8", "an event without a line is not in the record")
def unknown_events_are_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:Recorder.observe",
        "TABLE.get(type(event), unknown)",
        "TABLE.get(type(event))",
    )


@mutant("X1", "the names in a report are not looked at for keys")
def names_may_hold_keys(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.recording:_clean",
        "(clean := kept(value)) != value",
        "(clean := value) != value",
    )


@mutant("X1", "a report shows the password that a tool was given")
def passwords_are_recorded(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.redaction:names_a_secret",
        "if len(name) <= _USUAL:\n        return _is_secret(name)\n",
        "return False\n",
    )
