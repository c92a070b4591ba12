"""The events that the neutral server sends, shaped as the Realtime API shapes them.

Standard library only. The shapes are those of the published types, since one of the
clients validates against them.
"""

from __future__ import annotations

import base64
import json
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "SESSION",
    "Numbered",
    "audio_delta",
    "call_of",
    "message_of",
    "reply_with_call",
    "reply_with_text",
    "response_of",
    "speech_begins",
    "speech_ends",
    "text_of",
]

SESSION: dict[str, Any] = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_neutral",
    "model": "gpt-realtime",
    "output_modalities": ["audio"],
    "instructions": "You are helpful.",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 200,
                "idle_timeout_ms": None,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "marin",
            "speed": 1.0,
        },
    },
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "truncation": "auto",
    "tracing": None,
    "prompt": None,
    "include": None,
}
NO_DETAILS = {"text_tokens": 5, "audio_tokens": 0}
USAGE = {
    "total_tokens": 8,
    "input_tokens": 5,
    "output_tokens": 3,
    "input_token_details": {
        **NO_DETAILS,
        "image_tokens": 0,
        "cached_tokens": 0,
        "cached_tokens_details": {**NO_DETAILS, "text_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {**NO_DETAILS, "text_tokens": 3},
}
TRANSCRIPT = "It was the best of times."


class Numbered:
    """Makes ids, each once."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):012}"


def text_of(event: Mapping[str, Any], new_id: Numbered) -> bytes:
    """Return an event as JSON, with an id."""
    return json.dumps({**event, "event_id": new_id("event")}).encode()


def call_of(name: str, new_id: Numbered) -> dict[str, Any]:
    """Return a function call that is complete."""
    return {
        "id": new_id("item"),
        "object": "realtime.item",
        "type": "function_call",
        "status": "completed",
        "name": name,
        "call_id": new_id("call"),
        "arguments": "{}",
    }


def message_of(part: Mapping[str, Any], new_id: Numbered) -> dict[str, Any]:
    """Return an assistant's message that is complete."""
    return {
        "id": new_id("item"),
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def response_of(
    asked: Mapping[str, Any], modality: str, new_id: Numbered
) -> dict[str, Any]:
    """Return a response that has begun. It has the metadata that it was asked with."""
    return {
        "object": "realtime.response",
        "id": new_id("resp"),
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "conversation_id": "conv_neutral",
        "output_modalities": [modality],
        "max_output_tokens": "inf",
        "audio": {"output": SESSION["audio"]["output"]},
        "usage": None,
        "metadata": asked.get("metadata"),
    }


def _done(response: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    ended = {**response, "status": "completed", "output": [item], "usage": USAGE}
    return {"type": "response.done", "response": ended}


def _item_begins(
    response: Mapping[str, Any], item: Mapping[str, Any], previous: str | None
) -> Iterator[dict[str, Any]]:
    empty: dict[str, Any] = (
        {"arguments": ""} if "arguments" in item else {"content": []}
    )
    begun = {**item, "status": "in_progress", **empty}
    yield {"type": "response.created", "response": response}
    yield {
        "type": "response.output_item.added",
        "response_id": response["id"],
        "output_index": 0,
        "item": begun,
    }
    yield {
        "type": "conversation.item.added",
        "item": begun,
        "previous_item_id": previous,
    }


def _item_ends(
    response: Mapping[str, Any], item: Mapping[str, Any], previous: str | None
) -> Iterator[dict[str, Any]]:
    yield {
        "type": "conversation.item.done",
        "item": item,
        "previous_item_id": previous,
    }
    yield {
        "type": "response.output_item.done",
        "response_id": response["id"],
        "output_index": 0,
        "item": item,
    }
    yield _done(response, item)


def reply_with_call(
    response: Mapping[str, Any], item: Mapping[str, Any], previous: str | None
) -> Iterator[dict[str, Any]]:
    """A reply that is one function call, from created to done."""
    where = {
        "response_id": response["id"],
        "item_id": item["id"],
        "output_index": 0,
        "call_id": item["call_id"],
    }
    kind = "response.function_call_arguments"
    yield from _item_begins(response, item, previous)
    yield {"type": f"{kind}.delta", **where, "delta": "{}"}
    yield {"type": f"{kind}.done", **where, "arguments": "{}", "name": item["name"]}
    yield from _item_ends(response, item, previous)


def _where(response: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "response_id": response["id"],
        "item_id": item["id"],
        "output_index": 0,
        "content_index": 0,
    }


def reply_with_text(
    response: Mapping[str, Any], item: Mapping[str, Any], previous: str | None
) -> Iterator[dict[str, Any]]:
    """A reply in writing, from created to done."""
    where, text = _where(response, item), item["content"][0]["text"]
    part = {"type": "text", "text": ""}
    yield from _item_begins(response, item, previous)
    yield {"type": "response.content_part.added", **where, "part": part}
    yield {"type": "response.output_text.delta", **where, "delta": text}
    yield {"type": "response.output_text.done", **where, "text": text}
    part = {"type": "text", "text": text}
    yield {"type": "response.content_part.done", **where, "part": part}
    yield from _item_ends(response, item, previous)


def speech_begins(
    response: Mapping[str, Any], item: Mapping[str, Any], previous: str | None
) -> Iterator[dict[str, Any]]:
    """A spoken reply, up to its first sound."""
    where = _where(response, item)
    part = {"type": "audio", "transcript": ""}
    kind = "response.output_audio_transcript.delta"
    yield from _item_begins(response, item, previous)
    yield {"type": "response.content_part.added", **where, "part": part}
    yield {"type": kind, **where, "delta": TRANSCRIPT}


def audio_delta(
    response: Mapping[str, Any], item: Mapping[str, Any], pcm: bytes
) -> dict[str, Any]:
    """A piece of a spoken reply."""
    audio = base64.b64encode(pcm).decode()
    kind = "response.output_audio.delta"
    return {"type": kind, **_where(response, item), "delta": audio}


def speech_ends(
    response: Mapping[str, Any], item: Mapping[str, Any], previous: str | None
) -> Iterator[dict[str, Any]]:
    """A spoken reply, behind its last sound."""
    where = _where(response, item)
    kind = "response.output_audio_transcript.done"
    part = {"type": "audio", "transcript": TRANSCRIPT}
    yield {"type": "response.output_audio.done", **where}
    yield {"type": kind, **where, "transcript": TRANSCRIPT}
    yield {"type": "response.content_part.done", **where, "part": part}
    yield from _item_ends(response, item, previous)
