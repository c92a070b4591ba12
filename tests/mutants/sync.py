"""Breakages of the conversation's state, and of bringing a server to it (S)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("S1", "a new message without content is sent like any other")
def empty_message_is_sent(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.diff:_sendable",
        "has_content(item) or",
        "has_content(item) or item.id not in before or",
    )


@mutant("S1", "an empty text stands on the wire as a part without words")
def empty_text_is_a_part(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._items_out:_parts",
        "if text:",
        "if text is not None:",
    )


@mutant("S2", "an empty message that the server has is taken for a dropped one")
def empty_message_is_deleted(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.diff:_sendable",
        "item.id in before and not has_content(before[item.id])",
        "False",
    )


@mutant("S3", "a message without words is not worth a deletion")
def wordless_audio_stays(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.diff:diff",
        "deleted=tuple(i for i in before if i not in present)",
        "deleted=tuple("
        "i for i in before if i not in present and getattr(before[i], 'text', 'x'))",
    )


@mutant("S4", "a context made by hand is added to the history")
def history_is_added_to(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.record:Record.base_of",
        "return self.snapshot()",
        "return ChatContext()",
    )


@mutant("S4", "the context of another conversation is compared with its own past")
def other_history_is_an_edit(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.record:Record.base_of",
        "edited.origin is None or edited.origin.source is not self._identity",
        "edited.origin is None",
    )


@mutant("S5", "an error that only quotes the item's id is nobody's")
def quoted_ids_are_not_looked_for(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.blaming:at_fault",
        "_first(seen, lambda r: names(r) in error.refs and _fits(r, error))",
        "None",
    )


@mutant("S5", "a rejected request waits for its deadline all the same")
def rejection_does_not_settle(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger.rejected",
        "self.settle(request, state, error)",
        "request.error = error",
    )


@mutant("S6", "what comes later changes an outcome that was told")
def outcome_changes(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.requests:Request.settle",
        "if self.state is RequestState.PENDING:",
        "if True:",
    )


@mutant("S7", "an error about what nobody waits for any more is dropped")
def late_error_is_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._left_behind",
        "self._session.publish(notice)",
        "pass",
    )


@mutant("S7", "an error that is about no request is dropped")
def unclaimed_error_is_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._unclaimed",
        "self._session.publish(ErrorNotice(event.message, event.code, event.event_id))",
        "pass",
    )


@mutant("S8", "a rejected delete takes the create of the replacement with it")
def rejected_delete_rejects_the_create(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger._block",
        "entry.blocked = True",
        "self.settle(entry, RequestState.REJECTED)",
    )


@mutant("S8", "the item that could not be deleted passes for its replacement")
def undeleted_item_is_its_replacement(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger.rejected",
        "if isinstance(request.command, DeleteItem) and not good:",
        "if False:",
    )


@mutant("S9", "a fatal code that answers an item is like any other")
def fatal_code_on_an_item_is_survived(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._error",
        "elif terminal:",
        "elif terminal and request is None:",
    )


@mutant("S9", "the session ends without a word to whoever waits for the item")
def waiter_of_the_fatal_item_is_not_told(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake._error",
        "request = connection.ledger.rejected(event)",
        "request = None if event.error_class is ErrorClass.TERMINAL"
        " else connection.ledger.rejected(event)",
    )


@mutant("S10", "an output names its call by the id that was too long")
def output_keeps_the_long_id(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._items_out:item_out",
        "call_id=ids.out(item.call_id),\n                output=item.output",
        "call_id=item.call_id,\n                output=item.output",
    )


@mutant("S10", "an id of just the length that is allowed is shortened")
def longest_id_is_shortened(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._ids:shortened",
        "len(identifier) <= MAX_ID_LENGTH",
        "len(identifier) < MAX_ID_LENGTH",
    )


@mutant("S10", "a shortened id does not find its way back")
def shortened_id_comes_back_short(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._ids:Ids.back",
        "return self._ours.get(identifier, identifier)",
        "return identifier",
    )


@mutant("S11", "whoever gives up takes the request off the table")
def leaving_strikes_the_request_off(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger.expect",
        "request.waited = False",
        "request.waited = False; self._owed.pop(request.event_id, None)",
    )


@mutant("S12", "an item that is there already was refused")
def duplicate_is_a_failure(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.ledger:Ledger.rejected",
        "error.error_class in _AS_ASKED",
        "error.error_class is ErrorClass.BENIGN",
    )


@mutant("S13", "an item behind nothing that is known is dropped")
def item_without_an_anchor_is_lost(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.places:Places._guess",
        "view.order.append(item_id)",
        "return",
    )


@mutant("S13", "nobody hears that an anchor was unknown")
def unknown_anchor_is_not_told(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.intake:Intake.tell",
        "publish(UnknownAnchorNotice(warning.item_id, warning.previous_item_id))",
        "pass",
    )


@mutant("S14", "an edit is compared with the conversation as it is by now")
def edit_is_compared_with_now(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.record:Record.base_of",
        "return ChatContext(edited.origin.items, edited.version, edited.origin)",
        "return self.snapshot()",
    )


@mutant("S15", "the final words are added to the interim ones")
def final_words_are_added(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.parts:transcribed",
        "return AudioTranscribed(text, ms)",
        "return AudioTranscribed(getattr(part, 'transcript_so_far', '') + text, ms)",
    )


@mutant("S15", "words that come before their item are lost")
def early_words_are_lost(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.entries:Entries.learn",
        "if not self.is_gone(item_id):",
        "if False:",
    )


@mutant("S16", "what was refused only for its predecessor is not sent again")
def followers_are_not_sent_again(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.updating:Updating.track",
        "if not again or not connection.live:",
        "if True:",
    )


@mutant("S17", "an edit does not know of what another has under way")
def edits_in_flight_do_not_count(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.merge:merge",
        "(i in view or record.is_local(i))",
        "i in view",
    )


@mutant("S17", "an edit builds on what another is taking out")
def edit_builds_on_what_leaves(patch: Patch) -> None:
    patch.source("trialogue.conversation.merge:merge", "i not in view.leaving", "True")


@mutant("S18", "what comes before the item that cannot be converted is sent")
def update_is_sent_in_part(patch: Patch) -> None:
    patch.source(
        "trialogue.realtime.updating:Updating._encode_update",
        """            connection.encode(command, subject="waited")
            for command in sync.commands(self._session.listening.sound_of)
""",
        """            request
            for command in sync.commands(self._session.listening.sound_of)
            for request in [connection.encode(command, subject="waited")]
            if connection.post([request])
""",
    )


@mutant("S18", "a picture that the provider would have to fetch is sent")
def picture_elsewhere_is_sent(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._items_out:_image",
        'if not image.url.startswith("data:"):',
        "if not image.url:",
    )


@mutant("S19", "a call whose output was taken out stays alone")
def call_stays_without_its_output(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.diff:_whole_pairs",
        "answered(before) - answered(items)",
        "set[str]()",
    )


@mutant("S19", "a call moves without its output")
def call_moves_alone(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.diff:_moved",
        "isinstance(item, FunctionCallOutput) and item.call_id in travelling",
        "False",
    )


@mutant("S20", "an item whose status changed counts as another")
def status_is_a_change(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.equivalence:same_meaning",
        "return _essence(one) == _essence(other)",
        "return one == other",
    )


@mutant("S20", "audio is another once its length is known")
def duration_is_a_change(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.equivalence:_part_changed",
        "AudioTranscribed(transcript=new):\n            return old != new\n"
        "        case AudioTranscribed(transcript=old), TextContent",
        "AudioTranscribed(transcript=new):\n"
        "            return old != new or before != after\n"
        "        case AudioTranscribed(transcript=old), TextContent",
    )


@mutant("S21", "of a reordered conversation only one item stays where it is")
def everything_else_moves(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.subsequence:heaviest_increasing",
        "(heaviest + weight, index)",
        "(weight, index)",
    )


@mutant("S21", "what was spoken moves as readily as what was typed")
def speech_moves_readily(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.diff:_weights",
        "one + speech * is_spoken(item) + isinstance(item, FunctionCall)",
        "one + isinstance(item, FunctionCall)",
    )


@mutant("S22", "a part that the item does not have raises")
def unknown_part_raises(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.entries:Entries.learn",
        "if 0 <= content_index < len(content):",
        "if content_index <= len(content):",
    )


@mutant("S22", "an item that no neighbour is known of has no place")
def item_without_neighbours_is_lost(patch: Patch) -> None:
    patch.source(
        "trialogue.conversation.places:Places.align",
        "else:\n            self.order.append(item_id)",
        "else:\n            pass",
    )


@mutant("S18", "a value out of the provider's range is sent all the same")
def out_of_range_is_sent(patch: Patch) -> None:
    patch.source(
        "trialogue.dialects.openai._ranges:_within",
        "not low <= value <= high",
        "False",
    )
