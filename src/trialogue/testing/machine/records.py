"""What a connection remembers for tests to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from trialogue.testing.script import AskedBy

__all__ = ["Committed", "ResponseRecord"]


@attrs.frozen
class Committed:
    """One user turn as the server took it.

    Attributes:
        item_id: its item.
        pcm: its audio, 16 bit, 24 kHz.
        start_ms: where it begins on the connection's sample clock.
        end_ms: where it ends there.
        text: what was heard in it.
        by: who committed it.
    """

    item_id: str
    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    start_ms: int
    end_ms: int
    text: str
    by: AskedBy


@attrs.define(eq=False, kw_only=True)
class ResponseRecord:
    """One response: under which configuration it was made, and how it ended.

    Attributes:
        id: its id.
        instructions: those in force, its own or the session's.
        override: its own instructions, or None.
        tools: the names of the functions in force.
        tool_choice: as in force: "auto", "none", "required" or a name.
        modality: "audio" or "text".
        voice: the voice in force.
        max_output_tokens: as in force.
        watermark: the hash that its audio carries.
        asked_by: who began it.
        metadata: what the client attached.
        in_conversation: False for an out-of-band response.
        input: the ids of its own context, or None for the conversation's.
        created: when it began, on the server's clock.
        done: when it ended, or None.
        status: as in the protocol.
        reason: of a status that is not completed: why.
        item_ids: its output items, in order.
    """

    id: str
    instructions: str
    override: str | None
    tools: tuple[str, ...]
    tool_choice: str
    modality: Literal["audio", "text"]
    voice: str
    max_output_tokens: int | Literal["inf"]
    watermark: str
    asked_by: AskedBy
    metadata: Mapping[str, str] | None
    in_conversation: bool
    input: tuple[str, ...] | None
    created: float
    done: float | None = None
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"] = (
        "in_progress"
    )
    reason: str | None = None
    item_ids: list[str] = attrs.field(factory=list)
