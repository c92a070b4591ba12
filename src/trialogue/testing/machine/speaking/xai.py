"""xAI's manner: the same protocol, with peculiarities (protocol §15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import attrs

from trialogue._codec import b64decode, b64encode
from trialogue.dialects.openai.wire import (
    UNSET,
    WireError,
    unstructure,
)
from trialogue.dialects.openai.wire import client_events as ask
from trialogue.dialects.openai.wire.items import (
    FunctionCall,
    FunctionCallOutput,
    Message,
)
from trialogue.testing.machine.parsing import parse
from trialogue.testing.machine.speaking import xai_words as words
from trialogue.testing.machine.speaking.openai import own, retold
from trialogue.testing.machine.speaking.rates import OWN_RATE, Rate
from trialogue.testing.machine.speaking.xai_events import (
    FLAT_EVENTS,
    NESTED_EVENTS,
    FlatSessionUpdate,
    ForceMessage,
    NestedSessionUpdate,
    XAIItemCreate,
    XAIResponseCreate,
)
from trialogue.testing.machine.speaking.xai_requests import (
    at_own_rate,
    forced_line,
    rate_of,
    response_params,
    session_patch,
)
from trialogue.testing.machine.speaking.xai_transcripts import Transcripts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from trialogue.testing.machine.host import Host
    from trialogue.testing.machine.outputs import Output, Refusal
    from trialogue.testing.script import Turn

__all__ = ["XAI"]

B = TypeVar("B", bound="Callable[[Turn], Any]")

_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."


class XAI:
    """Says everything as xAI does, as far as `XAIQuirks` says.

    What a session has and the machine does not know is kept here: the tools that the
    server runs, resumption, reasoning, the transcription as it was asked for, sampling
    rates.

    Args:
        host: the connection's.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._quirks = host.settings.xai
        self._kept: dict[str, Any] = {
            "tools": None,
            "resumption": None,
            "reasoning": {"effort": "high"},
            "transcription": None,
            "input_rate": OWN_RATE,
            "output_rate": OWN_RATE,
        }
        self._asked: dict[str, Any] = {}
        self._forced: str | None = None
        self._heard = Rate(OWN_RATE, OWN_RATE)
        self._said: dict[str, Rate] = {}
        self._transcripts = Transcripts(self._quirks)
        self._responses = 0
        self._short: set[str] = set()

    # Requests

    def read(
        self, text: str, supported: Collection[str], data: dict[str, Any] | None = None
    ) -> Any:
        """See `Speaking`."""
        self._asked, self._forced = {}, None
        flat = self._quirks.flat_session
        try:
            events = FLAT_EVENTS if flat else NESTED_EVENTS
            event = parse(text, supported, events, data)
            return own(self._as_asked, event)
        except WireError as wrong:
            if self._quirks.own_codes:
                wrong.code = None
            raise

    def _as_asked(self, event: Any) -> Any:
        match event:
            case FlatSessionUpdate() | NestedSessionUpdate():
                patch = session_patch(event.session)
                self._asked = _kept(event.session)
                return ask.SessionUpdate(event_id=event.event_id, session=patch)
            case XAIItemCreate(item=ForceMessage(content=content)):
                self._forced = forced_line(content)
                return ask.ResponseCreate(event_id=event.event_id)
            case XAIItemCreate(
                item=(Message() | FunctionCall() | FunctionCallOutput()) as item
            ):
                return ask.ConversationItemCreate(
                    event_id=event.event_id,
                    previous_item_id=event.previous_item_id,
                    item=at_own_rate(item, self._kept["input_rate"]),
                )
            case XAIResponseCreate(response=params):
                overrides = response_params(params) if params else UNSET
                return ask.ResponseCreate(event_id=event.event_id, response=overrides)
            case ask.InputAudioBufferAppend(audio=audio):
                return attrs.evolve(event, audio=self._heard(audio))
        return event

    def reworded(self, refusal: Refusal) -> Refusal:
        """See `Speaking`."""
        self._asked, self._forced = {}, None
        flat, own_code = self._quirks.flat_session, self._quirks.own_codes
        return words.refusal(refusal, flat=flat, own_code=own_code)

    def brain(self, brain: B) -> B:
        """See `Speaking`."""

        def forced_or(turn: Turn) -> Any:
            line, self._forced = self._forced, None
            return brain(turn) if line is None else line

        return cast("B", forced_or)

    # Answers

    def told(self, outputs: list[Output]) -> list[Output]:
        """See `Speaking`."""
        return retold(outputs, self._as_said)

    def _as_said(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind: str = event["type"]
        if kind.startswith("session."):
            yield from self._session(event)
        elif kind.startswith(_TRANSCRIPTION):
            for one in self._transcripts.told(event, self._kept["transcription"]):
                yield self._with_id(one)
        elif kind.startswith(("conversation.", "input_audio_buffer.")):
            yield from self._conversation(event)
        elif kind.startswith("response."):
            yield from self._response(event)
        else:
            yield event

    def _session(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._kept |= self._asked
        if "input_rate" in self._asked:
            self._heard = Rate(self._kept["input_rate"], OWN_RATE)
        self._asked = {}
        flat = self._quirks.flat_session
        shown = words.session(event["session"], self._kept, flat=flat)
        yield {**event, "session": shown}
        if event["type"] == "session.created":
            if self._quirks.conversation_created:
                yield self._new("conversation.created", conversation=self._its_name())
            self._ping_later()

    def _its_name(self) -> dict[str, str]:
        return {"id": self._host.conversation.id, "object": "realtime.conversation"}

    def _conversation(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        first = event.get("previous_item_id", "") is None
        if first and self._quirks.unannounced_previous:
            # One that the client never hears of, and the same each time.
            never = self._host.conversation.id.replace("conv_", "item_")
            event = {**event, "previous_item_id": never}
        match event:
            case {"type": "conversation.item.done", "item": {"type": kind}}:
                if kind == "function_call" and self._quirks.duplicate_added:
                    again = {**event, "type": "conversation.item.added"}
                    yield self._with_id({**again, "event_id": None})
                if self._quirks.item_done:
                    yield event
            case {"type": "conversation.item.retrieved", "item": item}:
                yield {**event, "item": words.item(item, self._kept)}
            case {"type": "conversation.item.deleted"}:
                empty = {"item_id": ""} if self._quirks.empty_deleted_id else {}
                yield {**event, **empty}
            case _:
                yield event

    def _response(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        match event["type"]:
            case "response.created":
                self._begin(event["response"])
                yield self._with_response(event)
            case "response.done":
                event = self._with_response(event)
                self._short.discard(event["response"]["id"])
                del self._said[event["response"]["id"]]
                if self._quirks.interrupted_done or not _interrupted(event):
                    yield self._with_usage(event)
            case "response.output_audio.delta":
                said = self._said[event["response_id"]]
                if said.target != OWN_RATE:
                    event["delta"] = b64encode(said(b64decode(event["delta"])))
                yield event
            case "response.output_text.delta" | "response.output_text.done" as kind:
                if event["response_id"] in self._short:
                    event["type"] = kind.replace("output_text", "text")
                yield event
            case _:
                yield event

    def _begin(self, response: dict[str, Any]) -> None:
        """A response has the format that the session had when it began."""
        pcm = response["audio"]["output"]["format"]["type"] == "audio/pcm"
        rate = self._kept["output_rate"] if pcm else OWN_RATE
        self._said[response["id"]] = Rate(OWN_RATE, rate)
        self._responses += 1
        if self._responses % 2 == 0 and self._quirks.text_names == "alternate":
            self._short.add(response["id"])

    def _with_response(self, event: dict[str, Any]) -> dict[str, Any]:
        rate = self._said[event["response"]["id"]].target
        flat = self._quirks.flat_session
        shown = words.response(event["response"], rate=rate, flat=flat)
        return {**event, "response": shown}

    def _with_usage(self, event: dict[str, Any]) -> dict[str, Any]:
        if not self._quirks.usage_outside:
            return event
        response = dict(event["response"])
        return {**event, "usage": response.pop("usage"), "response": response}

    def _new(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "event_id": self._host.ids.new("event"), **fields}

    def _with_id(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event, with an id where it is one more than the machine sent."""
        return event if event["event_id"] else self._new(**_renamed(event))

    def _ping_later(self) -> None:
        seconds = self._quirks.ping_seconds
        if seconds is not None:
            self._host.after(seconds * 1000, self._ping)

    def _ping(self) -> None:
        self._host.emit_raw("ping")
        self._ping_later()


def _renamed(event: dict[str, Any]) -> dict[str, Any]:
    rest = {name: event[name] for name in event if name not in ("type", "event_id")}
    return {"kind": event["type"], **rest}


def _interrupted(event: dict[str, Any]) -> bool:
    details = event["response"]["status_details"]
    return bool(details) and details.get("reason") == "turn_detected"


def _kept(patch: Any) -> dict[str, Any]:
    """Return what a patch changes and the machine does not know."""
    changes: dict[str, Any] = {
        name: unstructure(getattr(patch, name))
        for name in ("tools", "resumption", "reasoning")
        if getattr(patch, name) is not UNSET
    }
    audio = patch.audio
    for name in ("input", "output"):
        side = getattr(audio, name) if audio else UNSET
        if side and side.format:
            changes[f"{name}_rate"] = rate_of(side.format)
        transcription = getattr(side, "transcription", UNSET)
        if transcription is not UNSET:
            changes["transcription"] = unstructure(transcription)
    return changes
