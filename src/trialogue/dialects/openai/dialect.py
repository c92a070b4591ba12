"""The OpenAI dialect: neutral commands in, Realtime frames out; and back."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, final

import attrs

from trialogue._codec import not_too_deep, read
from trialogue.dialects.commands import (
    AppendAudio,
    ClearAudio,
    Command,
    CreateUserAudio,
    UpdateSession,
)
from trialogue.dialects.dialect import Encoded
from trialogue.dialects.openai._audio import AudioFormats
from trialogue.dialects.openai._ids import Ids
from trialogue.dialects.openai._incoming import Incoming
from trialogue.dialects.openai._outgoing import check_size, client_event
from trialogue.dialects.openai.wire.codec import (
    decode_server_event,
    encode_append,
    encode_event,
    structure_server_event,
)
from trialogue.dialects.openai.wire.server_events import (
    ConversationItemAdded,
    ResponseOutputAudioDelta,
)
from trialogue.dialects.options import UNCHANGED
from trialogue.errors import ConversionError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.dialects.events import Event
    from trialogue.dialects.openai.wire import ServerEvent
    from trialogue.dialects.options import AudioFormat

__all__ = ["OpenAIDialect"]

AUDIO_DELTA: Final = ResponseOutputAudioDelta.type
REMEMBERED = 16
"""Announcements by which a repeated one is known."""


@final
class OpenAIDialect:
    """OpenAI's Realtime protocol (general availability) on one connection.

    Args:
        input_format: what the provider expects in the input buffer. The microphone is
            PCM16 24 kHz; it is transcoded if this is anything else.
        output_format: what the provider sends as audio; events always hold PCM16.

    Both follow the formats that an update asks for, or that `session.updated` echoes.
    Ids longer than the provider's 32 characters are shortened on the wire and are the
    caller's own again in every event.
    """

    def __init__(
        self,
        *,
        input_format: AudioFormat = "pcm16",
        output_format: AudioFormat = "pcm16",
    ) -> None:
        self._ids = Ids()
        self._audio = AudioFormats(input_format, output_format)
        self._incoming = Incoming(self._ids, self._audio)
        self._told: OrderedDict[str, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<OpenAIDialect {self._audio!r} {self._incoming!r}>"

    def encode(self, command: Command, *, event_id: str) -> Encoded:
        """Turn a command into a frame; `event_id` goes along on all but audio.

        A piece of audio too short to give one sample in the provider's format gives no
        frame, and is sent with the next one.

        Raises:
            ConversionError: the command has no form in this protocol: a message without
                content, an item of a kind that only the provider makes, metadata beyond
                its limits, text that is not Unicode.
        """
        if isinstance(command, AppendAudio):
            return self._append(command.pcm)
        command = self._transcoded(command)
        event, answer = client_event(command, self._ids, event_id)
        try:
            text = encode_event(event)
        except ValueError:
            raise ConversionError(
                f"{event.type} cannot be written as JSON: it holds a number or a "
                "character that JSON has no form for"
            ) from None
        self._note(command)
        return Encoded(text, answer)

    def _append(self, pcm: bytes) -> Encoded:
        """Write what is sent fifty times a second, without a detour."""
        audio = self._audio.appended(pcm)
        check_size(audio)
        return Encoded(encode_append(audio) if audio else "")

    def _transcoded(self, command: Command) -> Command:
        match command:
            case CreateUserAudio(pcm=pcm):
                return attrs.evolve(command, pcm=self._audio.message(pcm))
            case _:
                return command

    def _note(self, command: Command) -> None:
        match command:
            case UpdateSession(options=options):
                if options.input_format is not UNCHANGED:
                    self._audio.source_is(options.input_format)
            case ClearAudio():
                self._audio.cleared()

    def decode(self, text: str) -> Sequence[Event]:
        """Turn a frame into neutral events, in order; unknown ones pass as raw.

        An item that is announced twice by the same frame is announced once.

        Raises:
            ProtocolError: the frame is not JSON, or lacks what its type requires. The
                error names the place and never quotes the frame.
        """
        try:
            data = read(text)
            if data.__class__ is dict and data.get("type") == AUDIO_DELTA:
                audio = self._incoming.audio(data)
                if audio is not None:
                    return (audio,)
            not_too_deep(data, text)
        except ValueError:
            raise ProtocolError("the frame is not valid JSON") from None
        if not isinstance(data, dict):
            raise ProtocolError("the frame is not a JSON object")
        event = structure_server_event(data)
        if isinstance(event, ConversationItemAdded) and self._was_told(event, text):
            return ()
        return self._incoming.translate(event, data)

    def _was_told(self, event: ConversationItemAdded, text: str) -> bool:
        """Whether this very frame came before: what it announced may be another now."""
        event_id = event.event_id if isinstance(event.event_id, str) else ""
        known = self._told.get(event_id) == hash(text)
        if event_id:
            self._told[event_id] = hash(text)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return known

    def parse(self, text: str) -> ServerEvent:
        """Return a frame as one of the classes of `wire.server_events`.

        Raises:
            ProtocolError: as `decode`.
        """
        return decode_server_event(text)
