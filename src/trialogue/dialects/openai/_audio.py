"""The audio formats of one connection: PCM16 24 kHz on our side, anything on theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, final, get_args

from trialogue.dialects.openai._configuration import format_name
from trialogue.dialects.openai.g711 import Decoder, Encoder
from trialogue.dialects.options import AudioFormat
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from trialogue.dialects.openai.wire.response import Response
    from trialogue.dialects.openai.wire.session import Session

__all__ = ["AudioFormats"]


@final
class AudioFormats:
    """Transcodes both directions; the formats follow what the session says they are."""

    def __init__(self, source: AudioFormat, sink: AudioFormat) -> None:
        for name in (source, sink):
            if name not in get_args(AudioFormat):
                raise ConfigurationError(
                    f"unknown audio format {name!r}: one of {get_args(AudioFormat)} "
                    "was expected"
                )
        self._source: AudioFormat = source
        self._sink: AudioFormat = sink
        self._encoder = _encoder(source)
        self._sinks: dict[str, AudioFormat] = {}
        self._decoders: dict[str, tuple[tuple[str, AudioFormat], Decoder]] = {}

    def __repr__(self) -> str:
        return f"<AudioFormats in={self._source} out={self._sink}>"

    def source_is(self, name: AudioFormat) -> None:
        """Note the format that the input buffer takes from now on."""
        if name != self._source:
            self._source = name
            self._encoder = _encoder(name)

    def session_is(self, session: Session) -> None:
        """Note the formats that the server echoes; an unknown one changes nothing."""
        audio = session.audio
        if not audio:
            return
        if audio.input and (source := format_name(audio.input.format)):
            self.source_is(source)
        if audio.output and (sink := format_name(audio.output.format)):
            self._sink = sink

    def appended(self, pcm: bytes) -> bytes:
        """Return a piece of the microphone as the input buffer takes it."""
        return pcm if self._encoder is None else self._encoder.feed(pcm)

    def cleared(self) -> None:
        """Forget the tail that waits for more audio: its buffer was dropped."""
        if self._encoder is not None:
            self._encoder.reset()

    def message(self, pcm: bytes) -> bytes:
        """Return a whole turn as the content of a message takes it."""
        encoder = _encoder(self._source)
        return pcm if encoder is None else encoder.feed(pcm)

    def began(self, response_id: str, response: Response) -> None:
        """Note the format of a response: what it echoes, else the session's.

        It keeps the format that it began with, whatever the session's becomes.
        """
        output = response.audio.output if response.audio else None
        said = format_name(output.format) if output else None
        self._sinks[response_id] = said or self._sink

    def ended(self, response_id: str) -> None:
        """Forget a response."""
        self._sinks.pop(response_id, None)
        self._decoders.pop(response_id, None)

    def held(self, data: bytes, *, by_user: bool) -> bytes:
        """Return the whole audio of an item as PCM16 24 kHz, whoever said it."""
        name = self._source if by_user else self._sink
        return data if name == "pcm16" else Decoder(name).feed(data)

    def heard(self, response_id: str, item_id: str, data: bytes) -> bytes:
        """Return a piece of an item's speech as PCM16 24 kHz.

        Responses may come at once, one of them out of band: each has its own stream.
        """
        sink = self._sinks.get(response_id, self._sink)
        if sink == "pcm16":
            return data
        # What began without a word has no end either: one place for all of it.
        stream = response_id if response_id in self._sinks else ""
        decoding, decoder = self._decoders.get(stream, (None, None))
        if decoder is None or decoding != (item_id, sink):
            decoder = Decoder(sink)
            self._decoders[stream] = (item_id, sink), decoder
        return decoder.feed(data)


def _encoder(name: AudioFormat) -> Encoder | None:
    return None if name == "pcm16" else Encoder(name)
