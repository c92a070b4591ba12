"""Whatever a client sends in another dialect is answered (rules 65, 66, and 16)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialect_line import (
    BETA_SESSION,
    TOOL,
    VAD,
    Line,
    beta_conversation,
    xai_conversation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from by_hand import Event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=5,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, one in inner:
        yield from _places(one, (*path, key))


@st.composite
def _spoilt(draw: st.DrawFn, frames: list[Event]) -> Event:
    """A frame of a client with something else in some place, or one thing more."""
    frame = json.loads(json.dumps(draw(st.sampled_from(frames))))
    places = [path for path in _places(frame) if path and path != ("type",)]
    *way, last = draw(st.sampled_from(places))
    inside = frame
    for step in way:
        inside = inside[step]
    inside[last] = draw(JSON)
    if isinstance(inside, dict) and draw(st.booleans()):
        inside[draw(st.text(max_size=5))] = draw(JSON)
    return dict(frame)


def _frames(line: Line, *others: Event) -> list[Event]:
    appended = "input_audio_buffer.append"
    return [*others, *(one for one in line.sent if one["type"] != appended)]


OVERRIDES = {
    "type": "response.create",
    "response": {
        "input": [
            {"type": "item_reference", "id": "u"},
            {"type": "message", "role": "user", "content": [{"type": "input_text"}]},
        ],
        "temperature": 0.9,
        "voice": "x",
        "output_audio_format": "pcm16",
        "metadata": {"a": "b"},
    },
}
FORCED = {
    "type": "conversation.item.create",
    "item": {
        "type": "force_message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Listen."}],
    },
}
EVERYTHING = {
    "beta": {
        "type": "session.update",
        "session": {
            **BETA_SESSION,
            "temperature": 1.0,
            "tool_choice": "auto",
            "input_audio_noise_reduction": {"type": "near_field"},
            "output_audio_format": "g711_alaw",
            "max_response_output_tokens": 99,
            "tracing": None,
            "speed": 1.1,
        },
    },
    "xai": {
        "type": "session.update",
        "session": {
            "voice": "leo",
            "turn_detection": {**VAD, "threshold": 0.5},
            "tools": [{"type": "x_search", "allowed_x_handles": ["a"]}, TOOL],
            "reasoning": {"effort": "none"},
            "resumption": {"enabled": True},
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 8000},
                    "transcription": {"model": "grok-transcribe", "keyterms": ["a"]},
                },
                "output": {"format": {"type": "audio/pcmu"}, "speed": 1.0},
            },
        },
    },
}


@pytest.mark.parametrize("dialect", ["beta", "xai"])
@settings(max_examples=60)
@given(data=st.data())
def test_rules_65_66_hostile_frames_are_answered_and_nothing_breaks(
    dialect: Any, data: st.DataObject
) -> None:
    """Never crash on a client event: in other dialects neither."""
    talk = beta_conversation() if dialect == "beta" else xai_conversation()
    frames = _frames(talk, OVERRIDES, FORCED, EVERYTHING[dialect])
    line = Line(dialect)
    line.user("Hello.", id="u")
    for frame in data.draw(st.lists(_spoilt(frames), min_size=1, max_size=6)):
        line.raw(json.dumps(frame))
        line.run(data.draw(st.sampled_from([0, 0.1, 20])))
    line.run()
    ids = [event["event_id"] for event in line.seen]
    assert len(set(ids)) == len(ids)
    assert line.update()["type"] == "session.updated"
