"""The seam between the neutral session and one provider's protocol.

A dialect is sans-IO: commands in, frames out; frames in, neutral events out. One
instance serves one connection, so it may keep what its correlation needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from trialogue.dialects.events import AnswerKey, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.dialects.commands import Command

__all__ = ["AnswerKey", "Capabilities", "Dialect", "Encoded"]


@attrs.frozen
class Capabilities:
    """What a model can do. Each can be overridden on the model.

    Attributes:
        mutable_instructions, mutable_tools, mutable_chat_context: can be changed
            mid-session; where False, a handoff that changes it goes fresh.
        mutable_options: options can be changed mid-session (a voice only until the
            conversation holds assistant audio, whatever this says).
        per_response_configuration: `response.create` can carry instructions and tools.
        per_response_tool_choice: a reply can force or forbid tools.
        message_truncation: a spoken item can be cut at what was heard.
        auto_tool_reply_generation: the provider answers tool outputs by itself.
        acknowledges_updates: updates and items are answered; where False a request is
            settled when its frame was written.
        ordered: answers come in the order of the requests.
        open_calls: a response can be made while an earlier call has no output yet;
            where False, a call that delegates is answered "in progress" meanwhile.
    """

    mutable_instructions: bool = True
    mutable_tools: bool = True
    mutable_chat_context: bool = True
    mutable_options: bool = True
    per_response_configuration: bool = True
    per_response_tool_choice: bool = True
    message_truncation: bool = True
    auto_tool_reply_generation: bool = False
    acknowledges_updates: bool = True
    ordered: bool = True
    open_calls: bool = True


@attrs.frozen
class Encoded:
    """One frame, and how its answer will be known.

    Attributes:
        text: the frame, or "" where the provider needs none for this command.
        answer: the key its answer carries, or None if success is silent.
    """

    text: str = attrs.field(repr=False)
    answer: AnswerKey | None = None


class Dialect(Protocol):
    """One provider's protocol on one connection."""

    def encode(self, command: Command, *, event_id: str) -> Encoded:
        """Turn a command into a frame.

        Raises:
            ConversionError: the command has no form in this protocol.
        """
        ...

    def decode(self, text: str) -> Sequence[Event]:
        """Turn a frame into neutral events, in order; unknown ones pass as raw.

        Raises:
            ProtocolError: the frame is not what the protocol allows (C10). The
                connection goes on; the next frame can be decoded.
        """
        ...

    def parse(self, text: str) -> Any:
        """Return a frame as the provider's own typed event; changes no state.

        Raises:
            ProtocolError: as `decode`.
        """
        ...
