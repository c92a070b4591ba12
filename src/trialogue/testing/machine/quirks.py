"""The ways in which xAI's servers differ from the protocol they follow (§15)."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["XAIQuirks"]


@attrs.frozen(kw_only=True)
class XAIQuirks:
    """What a server with `Settings(dialect="xai")` does as xAI's servers do, or may do.

    All of it is on, for a client has to bear all of it; each can be switched off. Off
    means: as OpenAI's servers do it.

    Attributes:
        flat_session: `voice` and `turn_detection` are fields of the session itself, not
            of its `audio`.
        conversation_created: it follows `session.created`.
        ping_seconds: between two application events `ping`; None sends none.
        updated_transcripts: partial transcripts are `...transcription.updated`, each
            with the whole text so far, and only where the model is `grok-transcribe`.
        repeated_completed: a transcript is `completed` once with the status
            `in_progress`, before it is.
        item_done: False never sends `conversation.item.done`.
        duplicate_added: a function call is `added` a second time when it is whole.
        unannounced_previous: the first item comes after one that was never announced.
        empty_deleted_id: `conversation.item.deleted` does not say which.
        interrupted_done: False sends no `response.done` for a response that the user
            interrupted; the next `response.created` implies it.
        usage_outside: the usage stands beside the response in `response.done`.
        text_names: "alternate" calls the text of every second response
            `response.text.*`, as the beta did.
        own_codes: errors have no code that OpenAI's servers use: it is null, and the
            message has to do.
    """

    flat_session: bool = True
    conversation_created: bool = True
    ping_seconds: float | None = 15.0
    updated_transcripts: bool = True
    repeated_completed: bool = True
    item_done: bool = False
    duplicate_added: bool = True
    unannounced_previous: bool = True
    empty_deleted_id: bool = True
    interrupted_done: bool = False
    usage_outside: bool = True
    text_names: Literal["alternate", "output_text"] = "alternate"
    own_codes: bool = True

    @classmethod
    def none(cls) -> XAIQuirks:
        """All of them off: xAI's voices, ranges and tools, and OpenAI's manner."""
        return cls(
            flat_session=False,
            conversation_created=False,
            ping_seconds=None,
            updated_transcripts=False,
            repeated_completed=False,
            item_done=True,
            duplicate_added=False,
            unannounced_previous=False,
            empty_deleted_id=False,
            interrupted_done=True,
            usage_outside=False,
            text_names="output_text",
            own_codes=False,
        )
