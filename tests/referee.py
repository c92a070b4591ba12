"""Watches all that the local server sends on one connection, and knows the rules.

It is told every event in order, keeps the conversation as a client would, by what it
is told alone, and objects to what no server may do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from published import SERVER_MODELS, strangers

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.testing.machine import Machine

__all__ = ["ODDITIES", "UNPUBLISHED", "Referee"]

ODDITIES = {"response.mood.updated"}
"""What `Settings.oddities` sends on purpose."""
UNPUBLISHED = {
    # What sessions show; the published class is that of a request.
    "$.session.id",
    "$.session.object",
    "$.session.expires_at",
    # Padding that the real server adds to deltas.
    "$.obfuscation",
    # What `Settings.oddities` adds to deltas.
    "$.mood",
}
DELTAS = {
    "response.output_text": "text",
    "response.output_audio_transcript": "transcript",
    "response.function_call_arguments": "arguments",
}
"""What comes in pieces, and what the whole is called in the event of its end."""


@attrs.define(eq=False)
class _OutputItem:
    """One item of a response, as far as it was told of."""

    id: str
    type: str
    part: str | None = None  # the type of its content part
    part_done: bool = False
    pieces: dict[str, str] = attrs.field(factory=dict)
    ended: set[str] = attrs.field(factory=set)
    done: dict[str, Any] | None = None


@attrs.define(eq=False)
class _Response:
    """One response, as far as it was told of."""

    id: str
    own: bool
    metadata: Any
    items: list[_OutputItem] = attrs.field(factory=list)
    done: dict[str, Any] | None = None


class Referee:
    """Keeps what a client knows; `event` raises AssertionError where a rule is broken.

    Args:
        position_ms: returns how much audio was sent.

    Attributes:
        order: the ids of the conversation, by what was told.
        ids: of everything ever told of, by kind, for who wants to refer to them.
    """

    def __init__(self, position_ms: Callable[[], float]) -> None:
        self.order: list[str] = []
        self.ids: dict[str, list[str]] = {
            kind: []
            for kind in ("item", "spoken", "call", "response", "event", "session")
        }
        self._seen: set[str] = set()
        self._responses: dict[str, _Response] = {}
        self._unfinished: set[str] = set()  # items added that are not done
        self._transcribed: set[str] = set()
        self._speech: str | None = None
        self._speech_ms = 0  # no later position of speech may lie before it
        self._committed: tuple[str, str | None] | None = None
        self._detection: Any = None
        self._kept: str | None = None
        self._position_ms = position_ms

    @property
    def active(self) -> list[_Response]:
        """The responses that are not done, in the conversation or beside it."""
        return [one for one in self._responses.values() if one.done is None]

    def event(self, event: dict[str, Any], text: str) -> None:
        """Take note of an event."""
        kind, event_id = event["type"], event["event_id"]
        assert event_id.startswith("event_")
        assert event_id not in self._seen
        self._seen.add(event_id)
        self.ids["event"].append(event_id)
        if kind not in ODDITIES:
            model = SERVER_MODELS[kind].model_validate_json(text, strict=True)
            assert not {*strangers(model)} - UNPUBLISHED
        name = kind.replace(".", "_")
        getattr(self, f"_{name}", self._else)(event)

    def _else(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        base, _, what = kind.rpartition(".")
        if base == "response.output_audio":
            self._of(event, "audio")
            if what == "done":
                self._once(event, base)
        elif base in DELTAS:
            self._piece(event, base, what)
        else:
            assert kind in {
                *ODDITIES,
                *("error", "rate_limits.updated"),
                *("conversation.item.retrieved", "conversation.item.truncated"),
                "input_audio_buffer.timeout_triggered",
                "conversation.item.input_audio_transcription.delta",
            }

    # --- the session and its audio ------------------------------------------

    def _session_created(self, event: dict[str, Any]) -> None:
        assert len(self._seen) == 1
        self.ids["session"].append(event["session"]["id"])
        self._detection = event["session"]["audio"]["input"]["turn_detection"]

    def _session_updated(self, event: dict[str, Any]) -> None:
        detection = event["session"]["audio"]["input"]["turn_detection"]
        if detection != self._detection:
            # An open turn may be given up, or end as the new one has it.
            self._detection, self._kept = detection, self._speech or self._kept
            self._speech = None

    def _input_audio_buffer_cleared(self, event: dict[str, Any]) -> None:
        self._speech = None

    def _input_audio_buffer_speech_started(self, event: dict[str, Any]) -> None:
        assert self._speech is None
        assert self._speech_ms <= event["audio_start_ms"] <= self._position_ms()
        assert event["item_id"] not in self.ids["item"]
        self._speech_ms = event["audio_start_ms"]
        self._speech = event["item_id"]

    def _input_audio_buffer_speech_stopped(self, event: dict[str, Any]) -> None:
        assert event["item_id"] == (self._speech or self._kept)
        self._speech, self._kept = event["item_id"], None
        assert self._speech_ms <= event["audio_end_ms"] <= self._position_ms()
        self._speech_ms = event["audio_end_ms"]

    def _input_audio_buffer_committed(self, event: dict[str, Any]) -> None:
        assert event["item_id"] not in self.ids["item"]
        assert self._speech in {None, event["item_id"]}
        self._committed = event["item_id"], event["previous_item_id"]
        self._speech = None

    def _conversation_item_input_audio_transcription_completed(
        self, event: dict[str, Any]
    ) -> None:
        item_id, usage = event["item_id"], event["usage"]
        assert item_id in self.ids["item"]
        assert item_id not in self._transcribed
        self._transcribed.add(item_id)
        if usage["type"] == "duration":  # as whisper-1 is billed
            # Of an idle timeout it may be none; never more than there was.
            assert 0 <= usage["seconds"] <= self._position_ms() / 1000
        else:
            both = usage["input_tokens"] + usage["output_tokens"]
            assert usage["total_tokens"] == both

    # --- the conversation ---------------------------------------------------

    def _conversation_item_added(self, event: dict[str, Any]) -> None:
        item, previous = event["item"], event["previous_item_id"]
        assert item["id"] not in self.order
        if self._committed is not None:
            assert (item["id"], previous) == self._committed
            self._committed = None
        at = 0 if previous is None else self.order.index(previous) + 1
        self.order.insert(at, item["id"])
        self._unfinished.add(item["id"])
        self.ids["item"].append(item["id"])
        if "call_id" in item:
            self.ids["call"].append(item["call_id"])

    def _conversation_item_done(self, event: dict[str, Any]) -> None:
        item_id = event["item"]["id"]
        at = self.order.index(item_id)
        assert event["previous_item_id"] == (self.order[at - 1] if at else None)
        self._unfinished.remove(item_id)
        status = event["item"].get("status")
        mcp = event["item"]["type"].startswith("mcp_")
        assert status in ({None} if mcp else {"completed", "incomplete"})
        assert all(not part.get("audio") for part in event["item"].get("content", ()))

    def _conversation_item_deleted(self, event: dict[str, Any]) -> None:
        self.order.remove(event["item_id"])
        self._unfinished.discard(event["item_id"])

    # --- responses ----------------------------------------------------------

    def _response_created(self, event: dict[str, Any]) -> None:
        shown = event["response"]
        own = shown["conversation_id"] is not None
        assert shown["id"] not in self._responses
        assert (shown["status"], shown["output"]) == ("in_progress", [])
        assert shown["usage"] is None
        assert not (own and any(one.own for one in self.active))
        self._responses[shown["id"]] = _Response(shown["id"], own, shown["metadata"])
        self.ids["response"].append(shown["id"])

    def _live(self, event: dict[str, Any]) -> _Response:
        response = self._responses[event["response_id"]]
        assert response.done is None
        return response

    def _response_output_item_added(self, event: dict[str, Any]) -> None:
        response, item = self._live(event), event["item"]
        assert event["output_index"] == len(response.items)
        assert all(one.done is not None for one in response.items)
        assert item["status"] == "in_progress"
        assert not item.get("content")
        assert not item.get("arguments")
        response.items.append(_OutputItem(item["id"], item["type"]))
        if not response.own:
            self.ids["item"].append(item["id"])

    def _of(self, event: dict[str, Any], part: str | None) -> _OutputItem:
        """Return the open item that an event is about, with its open part."""
        item: _OutputItem = self._live(event).items[event["output_index"]]
        assert (item.id, item.done) == (event["item_id"], None)
        assert (item.part, item.part_done) == (part, False)
        assert event.get("content_index", 0) == 0
        return item

    def _response_content_part_added(self, event: dict[str, Any]) -> None:
        item = self._of(event, None)
        assert item.type == "message"
        item.part = event["part"]["type"]
        if item.part == "audio":
            self.ids["spoken"].append(item.id)

    def _piece(self, event: dict[str, Any], base: str, what: str) -> None:
        part = {"text": "text", "transcript": "audio"}.get(DELTAS[base])
        item = self._of(event, part)
        if what == "delta":
            assert base not in item.ended
            item.pieces[base] = item.pieces.get(base, "") + event["delta"]
        else:
            self._once(event, base)
            assert event[DELTAS[base]] == item.pieces.get(base, "")

    def _once(self, event: dict[str, Any], base: str) -> None:
        item = self._live(event).items[event["output_index"]]
        assert base not in item.ended
        item.ended.add(base)

    def _response_content_part_done(self, event: dict[str, Any]) -> None:
        item = self._of(event, event["part"]["type"])
        spoken = {"response.output_audio", "response.output_audio_transcript"}
        assert item.ended == (
            spoken if item.part == "audio" else {"response.output_text"}
        )
        (whole,) = (text for key, text in event["part"].items() if key != "type")
        assert whole == "".join(item.pieces.values())
        item.part_done = True

    def _response_output_item_done(self, event: dict[str, Any]) -> None:
        response, shown = self._live(event), event["item"]
        item = response.items[event["output_index"]]
        assert (item.id, item.done) == (shown["id"], None)
        if item.type == "message":
            assert item.part_done
        else:
            assert item.ended == {"response.function_call_arguments"}
            assert shown["arguments"] == "".join(item.pieces.values())
        assert item.id not in self._unfinished
        assert shown["status"] in {"completed", "incomplete"}
        item.done = shown

    def _response_done(self, event: dict[str, Any]) -> None:
        shown = event["response"]
        response = self._responses[shown["id"]]
        assert response.done is None
        assert shown["metadata"] == response.metadata
        assert shown["status"] in {"completed", "cancelled", "incomplete", "failed"}
        assert (shown["status_details"] is None) == (shown["status"] == "completed")
        assert [item["id"] for item in shown["output"]] == [
            item.id for item in response.items
        ]
        assert all(item.done is not None for item in response.items)
        left = [
            one["status"] for one in shown["output"] if one["status"] != "completed"
        ]
        assert left in ([], ["incomplete"])
        assert not (left and shown["status"] == "completed")
        _check_usage(shown["usage"])
        response.done = shown

    # --- as a whole ---------------------------------------------------------

    def compare(self, machine: Machine) -> None:
        """Hold what was told against what is."""
        assert [held.id for held in machine.conversation] == self.order
        assert self._committed is None

    def settled(self) -> None:
        """Nothing is left open, after all the time in the world."""
        assert self.active == []
        assert self._unfinished == set()


def _check_usage(usage: dict[str, Any]) -> None:
    read, made = usage["input_token_details"], usage["output_token_details"]
    kinds = ("text_tokens", "audio_tokens", "image_tokens")
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens"] == sum(read[kind] for kind in kinds)
    assert usage["output_tokens"] == made["text_tokens"] + made["audio_tokens"]
    cached = read["cached_tokens_details"]
    assert read["cached_tokens"] == sum(cached[kind] for kind in kinds)
    assert all(read[kind] >= cached[kind] >= 0 for kind in kinds)
    assert min(made.values()) >= 0
