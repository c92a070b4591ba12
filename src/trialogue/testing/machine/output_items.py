"""The items of a response while they are being made (protocol §7.3).

Each knows its events of beginning and end; how far it got stands in the `Held` item.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from trialogue.dialects.openai.wire import server_events as wire
from trialogue.dialects.openai.wire.items import (
    Audio,
    FunctionCall,
    Message,
    OutputAudio,
    OutputText,
    Text,
)
from trialogue.testing import watermark
from trialogue.testing.machine.conversation import BYTES_PER_MS, Held
from trialogue.testing.machine.formats import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.testing.machine.host import Host
    from trialogue.testing.script import Call, Say

__all__ = ["CallItem", "Ending", "OutputItem", "SpokenItem", "WrittenItem"]

Ending: TypeAlias = Literal["completed", "incomplete"]
#: Small and odd, so that deltas split JSON tokens and escapes.
_CHUNK: Final = 7


class OutputItem(ABC):
    """One output item; `pieces` makes it bit by bit, `end` closes it at any point."""

    def __init__(self, host: Host, response_id: str, index: int, own: bool) -> None:
        self._host = host
        self._in_conversation = own
        self._ids: dict[str, Any] = {"response_id": response_id, "output_index": index}
        self.held = Held(None)

    def _begin(self, item: Any) -> None:
        self.held.item = item
        self._place = {**self._ids, "item_id": self.held.id}
        self._part = {**self._place, "content_index": 0}
        self._host.emit(wire.ResponseOutputItemAdded, **self._ids, item=item)
        if self._in_conversation:
            previous = self._host.conversation.append(self.held)
            self._host.emit(
                wire.ConversationItemAdded, item=item, previous_item_id=previous
            )

    def _finish(self, status: Ending) -> None:
        self.held.item = item = attrs.evolve(self.held.item, status=status)
        if self._in_conversation and not self.held.deleted:
            self._host.emit(
                wire.ConversationItemDone,
                item=item,
                previous_item_id=self._host.conversation.previous(self.held),
            )
        self._host.emit(wire.ResponseOutputItemDone, **self._ids, item=item)

    @abstractmethod
    def pieces(self) -> Iterator[tuple[float, int]]:
        """Make the item; yields (ms until the next piece, tokens of this one)."""

    @abstractmethod
    def end(self, status: Ending) -> None:
        """Close what is open of it, as complete or not."""


class CallItem(OutputItem):
    """A function call."""

    def __init__(
        self, host: Host, response_id: str, index: int, own: bool, call: Call
    ) -> None:
        super().__init__(host, response_id, index, own)
        self._arguments = call.arguments
        self._call_id = call.call_id or host.ids.new("call")
        self._begin(
            FunctionCall(
                id=host.ids.new("item"),
                object="realtime.item",
                status="in_progress",
                name=call.name,
                call_id=self._call_id,
                arguments="",
            )
        )

    def pieces(self) -> Iterator[tuple[float, int]]:
        """See `OutputItem.pieces`."""
        for start in range(0, len(self._arguments), _CHUNK):
            delta = self._arguments[start : start + _CHUNK]
            arguments = self.held.item.arguments + delta
            self.held.item = attrs.evolve(self.held.item, arguments=arguments)
            self._host.emit(
                wire.ResponseFunctionCallArgumentsDelta,
                **self._place,
                call_id=self._call_id,
                delta=delta,
            )
            yield self._host.settings.pace.text_ms, 2

    def end(self, status: Ending) -> None:
        """See `OutputItem.end`."""
        item = self.held.item
        self._host.emit(
            wire.ResponseFunctionCallArgumentsDone,
            **self._place,
            call_id=self._call_id,
            name=item.name,
            arguments=item.arguments,
        )
        self._finish(status)


class _MessageItem(OutputItem):
    def __init__(self, host: Host, response_id: str, index: int, own: bool) -> None:
        super().__init__(host, response_id, index, own)
        self._said = ""
        self._begin(
            Message(
                id=host.ids.new("item"),
                object="realtime.item",
                status="in_progress",
                role="assistant",
                content=(),
            )
        )

    def _hold(self, part: Any) -> None:
        # A truncated item has lost its text for good (§9.3).
        if self.held.cut_ms is None:
            self.held.item = attrs.evolve(self.held.item, content=(part,))

    def _emit_delta(self, cls: Any, delta: str) -> None:
        extra = {"obfuscation": "x" * (len(delta) % 5)}
        if self._host.settings.oddities and len(delta) % 2:
            extra["mood"] = "calm"
        self._host.emit_with(extra, cls, **self._part, delta=delta)


class WrittenItem(_MessageItem):
    """A message in text."""

    def __init__(
        self, host: Host, response_id: str, index: int, own: bool, say: Say
    ) -> None:
        super().__init__(host, response_id, index, own)
        self._text = say.text
        host.emit(wire.ResponseContentPartAdded, **self._part, part=Text(""))
        self._hold(OutputText(""))

    def pieces(self) -> Iterator[tuple[float, int]]:
        """See `OutputItem.pieces`."""
        for word in _words(self._text):
            self._said += word
            self._hold(OutputText(self._said))
            self._emit_delta(wire.ResponseOutputTextDelta, word)
            yield self._host.settings.pace.text_ms, 1

    def end(self, status: Ending) -> None:
        """See `OutputItem.end`."""
        emit = self._host.emit
        emit(wire.ResponseOutputTextDone, **self._part, text=self._said)
        emit(wire.ResponseContentPartDone, **self._part, part=Text(self._said))
        self._finish(status)


class SpokenItem(_MessageItem):
    """A message in audio, marked with the configuration it is made under."""

    def __init__(
        self,
        host: Host,
        response_id: str,
        index: int,
        own: bool,
        say: Say,
        mark: str,
        audio_format: Any,
    ) -> None:
        super().__init__(host, response_id, index, own)
        self._text = say.text
        self._format = audio_format
        sound = say.audio
        if sound is None:
            sound = watermark.tone(say.length_ms * BYTES_PER_MS // 2)
        self._sound = watermark.embed(sound, mark, item=host.next_mark())
        self.held.sound, self.held.made = self._sound, 0
        host.emit(
            wire.ResponseContentPartAdded, **self._part, part=Audio(transcript="")
        )
        self._hold(OutputAudio(transcript=""))
        host.conversation.ever_spoke |= own

    def _cuts(self) -> list[tuple[int, int]]:
        """Return where each delta begins and ends, in bytes of PCM."""
        lengths = self._host.settings.pace.delta_ms
        cuts: list[tuple[int, int]] = []
        at = 0
        while at < len(self._sound):
            size = lengths[len(cuts) % len(lengths)] * BYTES_PER_MS
            cuts.append((at, min(at + size, len(self._sound))))
            at += size
        return cuts

    def pieces(self) -> Iterator[tuple[float, int]]:
        """See `OutputItem.pieces`; the transcript leads."""
        words, cuts = _words(self._text), self._cuts()
        burst = self._host.settings.pace.burst
        spoken = 0
        for number, (start, end) in enumerate(cuts, 1):
            upto = -(-len(words) * number // len(cuts))
            self._tell("".join(words[spoken:upto]))
            spoken = upto
            self._sounds(start, end)
            ms = (end - start) / BYTES_PER_MS
            yield ms / burst, int(ms // 50) + 1
        self._tell("".join(words[spoken:]))

    def _tell(self, delta: str) -> None:
        if delta:
            self._said += delta
            self._hold(OutputAudio(transcript=self._said))
            self._emit_delta(wire.ResponseOutputAudioTranscriptDelta, delta)

    def _sounds(self, start: int, end: int) -> None:
        if self.held.cut_ms is None:
            self.held.made = end
        data = encoded(self._sound[start:end], self._format)
        self._host.emit(wire.ResponseOutputAudioDelta, **self._part, delta=data)

    def end(self, status: Ending) -> None:
        """See `OutputItem.end`."""
        held, emit, said = self.held, self._host.emit, self._said
        held.sound = held.sound[: held.made]  # what was not said is not remembered
        emit(wire.ResponseOutputAudioDone, **self._part)
        emit(wire.ResponseOutputAudioTranscriptDone, **self._part, transcript=said)
        part = Audio(transcript=said)
        emit(wire.ResponseContentPartDone, **self._part, part=part)
        self._finish(status)


def _words(text: str) -> list[str]:
    """Return the words with the spaces before them; joined they are the text."""
    words = text.split(" ")
    return [*words[:1], *(" " + word for word in words[1:])] if text else []
