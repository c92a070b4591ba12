"""Every bound on sizes, in one place, and how what exceeds one is met (X3).

What the program wants to send beyond a bound is refused before anything is sent. What
the provider sends beyond one is cut, and says so; its record stays bounded. Nothing
here waits or knows Trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from trialogue._codec import dumps
from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    FunctionCall,
    FunctionCallOutput,
    Message,
    OpaqueItem,
    TextContent,
)
from trialogue.dialects.commands import CreateItem, CreateResponse, UpdateSession
from trialogue.dialects.options import UNCHANGED, Unchanged
from trialogue.errors import ConfigurationError, ConversionError
from trialogue.tools.arguments import MAX_ARGUMENT_BYTES
from trialogue.tools.outcome import MAX_OUTPUT_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.conversation.items import Content, Item
    from trialogue.dialects.commands import Command
    from trialogue.tools.spec import ToolSpec

__all__ = ["CUT", "Limits"]

CUT = " [cut]"
"""Stands at the end of a text that was too long. JSON that ends so is not JSON."""


@attrs.frozen(kw_only=True)
class Limits:
    """How large things may become in one session. A value: share it between sessions.

    Attributes:
        max_message_chars: characters of one WebSocket message, either way. A longer one
            from the provider ends the connection with close code 1009, and the next is
            dialled within the budget of `Backoff`; a longer one of ours is a
            `ConversionError`. The text of providers is nearly all ASCII, so that this
            is its bytes as well.
        audio_seconds: microphone audio held while no connection takes it; beyond it the
            oldest is dropped, counted and announced (`AudioDropped`). It bounds one
            `push_audio` too.
        max_item_chars: the words of one item: texts, transcripts, arguments of a call,
            an output. A longer one of ours is a `ConversionError`; of a longer one of
            the provider's the beginning is kept, ending in " [cut]".
        max_argument_bytes: the arguments of a call by the model, in bytes of UTF-8. A
            call with longer ones is never run; it is answered with an error that names
            the bound.
        max_output_bytes: the output of a call, in bytes of UTF-8. A longer result is
            not sent; the model is told that it was too long, and `ToolFailed` is
            published. Other texts for the model are cut, ending in " [cut]".
        max_instruction_chars: the instructions of a session or a reply.
        max_tools: how many tools a session or a reply has.
        outbox_frames: control frames that wait to be written; with more than that the
            peer has stopped reading, and the connection ends. The batch that a new
            connection begins with does not count: it is as long as what is replayed.
            Any other counts as half of them at most: an edit may be as long as the
            conversation.
        subscriber_events: events that a subscriber may leave unread, unless it names
            its own `buffer`.

    Raises:
        ConfigurationError: a bound is not positive, or two do not go together.
    """

    max_message_chars: int = 16 * 2**20
    audio_seconds: float = 30.0
    max_item_chars: int = 256 * 1024
    max_argument_bytes: int = MAX_ARGUMENT_BYTES
    max_output_bytes: int = MAX_OUTPUT_BYTES
    max_instruction_chars: int = 256 * 1024
    max_tools: int = 128
    outbox_frames: int = 1024
    subscriber_events: int = 256

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            if not value > 0:
                msg = f"Limits({name}={value!r}): a bound has to be positive"
                raise ConfigurationError(msg)
        # An output, and a call whose arguments were cut, are items like any other.
        inner = max(self.max_output_bytes, self.max_argument_bytes + len(CUT))
        if inner > self.max_item_chars:
            msg = (
                f"Limits: max_item_chars is {self.max_item_chars}, but an output or a "
                f"call's arguments may have {inner}; raise the one or lower the other"
            )
            raise ConfigurationError(msg)

    # --- what the program sends ----------------------------------------------

    def check(self, command: Command) -> None:
        """Refuse a command that is too large.

        Raises:
            ConversionError: it is; the message names the bound, not the content.
        """
        match command:
            case CreateItem(item=item):
                self.check_item(item)
            case UpdateSession(instructions=instructions, tools=tools):
                self._check_setup(instructions, tools)
            case CreateResponse(instructions=instructions, tools=tools, input=items):
                self._check_setup(instructions, tools)
                for item in () if items is UNCHANGED else items:
                    self.check_item(item)
            case _:
                pass

    def check_item(self, item: Item) -> None:
        """Refuse an item whose words are too many.

        Raises:
            ConversionError: they are.
        """
        size = _size(item)
        if size > self.max_item_chars:
            msg = (
                f"item {item.id} has {size} characters, at most {self.max_item_chars} "
                "can be sent: shorten it, or raise Limits.max_item_chars"
            )
            raise ConversionError(msg)

    def check_frame(self, text: str) -> None:
        """Refuse a frame that is longer than a message may be.

        Raises:
            ConversionError: it is.
        """
        if len(text) > self.max_message_chars:
            msg = (
                f"a message of {len(text)} characters was not sent, at most "
                f"{self.max_message_chars} can be (Limits.max_message_chars)"
            )
            raise ConversionError(msg)

    def _check_setup(
        self,
        instructions: str | Unchanged,
        tools: Sequence[ToolSpec] | Unchanged,
    ) -> None:
        words = "" if instructions is UNCHANGED else instructions
        if len(words) > self.max_instruction_chars:
            msg = (
                f"the instructions have {len(words)} characters, at most "
                f"{self.max_instruction_chars} can be sent: shorten them, or raise "
                "Limits.max_instruction_chars"
            )
            raise ConversionError(msg)
        given = () if tools is UNCHANGED else tools
        if len(given) > self.max_tools:
            msg = (
                f"{len(given)} tools were given, at most {self.max_tools} can be: give "
                "fewer, or raise Limits.max_tools"
            )
            raise ConversionError(msg)

    # --- what the provider sends ---------------------------------------------

    def cut(self, text: str) -> str:
        """Return the text, or the beginning of one that is too long."""
        return _cut(text, self.max_item_chars)

    def cut_call(self, call: FunctionCall) -> FunctionCall:
        """Return the call, or one whose arguments are still too long to be run."""
        if len(call.arguments) <= self.max_argument_bytes:
            return call
        kept = call.arguments[: self.max_argument_bytes] + CUT
        return attrs.evolve(call, arguments=kept)

    def cut_item(self, item: Item) -> Item:
        """Return the item, or what is kept of one whose words are too many."""
        if isinstance(item, FunctionCall):
            return self.cut_call(item)
        if _size(item) <= self.max_item_chars:
            return item
        match item:
            case Message():
                return attrs.evolve(item, content=self._cut_content(item.content))
            case FunctionCallOutput():
                return attrs.evolve(item, output=self.cut(item.output))
            case OpaqueItem():
                return attrs.evolve(item, data={})

    def _cut_content(self, content: Sequence[Content]) -> tuple[Content, ...]:
        room = self.max_item_chars
        kept: list[Content] = []
        for part in content:
            name = _WORDS.get(type(part))
            if name is not None:
                words = _cut(getattr(part, name), room)
                room -= len(words)
                changes: dict[str, Any] = {name: words}
                kept.append(attrs.evolve(part, **changes))
            else:
                kept.append(part)
        return tuple(kept)


_WORDS = {
    TextContent: "text",
    AudioTranscribed: "transcript",
    AudioPending: "transcript_so_far",
    AudioUnintelligible: "reason",
}
"""Where each kind of content has its words; an image has none."""


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return text[: max(0, most - len(CUT))] + CUT[: max(0, most)]


def _size(item: Item) -> int:
    match item:
        case Message(content=content):
            named = ((part, _WORDS.get(type(part))) for part in content)
            return sum(len(getattr(part, name)) for part, name in named if name)
        case FunctionCall(arguments=arguments):
            return len(arguments)
        case FunctionCallOutput(output=output):
            return len(output)
        case OpaqueItem(data=data):
            return len(dumps(data))
