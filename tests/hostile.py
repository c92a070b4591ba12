"""What a client may send that means no good: sequences of steps, for Hypothesis.

A step is a client event, valid or spoiled in one place, a frame that is no event, some
audio, or a while in which nothing comes. Ids of what the server made are `Ref`s: which
of the things it has told of is known only when the step is taken.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
from hypothesis import strategies as st

from hostile_values import DEPTHS, JUNK, NOISE
from trialogue.testing.script import Call, Fail, Pause, Say, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "Binary",
    "Event",
    "Frame",
    "Ref",
    "Spoiled",
    "Step",
    "Talk",
    "Wait",
    "replies",
    "resolved",
    "spoiled",
    "step",
    "steps",
    "written",
]


@attrs.frozen
class Ref:
    """The id of something that the server told of, counted round its number."""

    kind: Literal["item", "spoken", "call", "response", "event", "session"]
    number: int


@attrs.frozen
class Event:
    """A client event that the protocol allows; whether it can be done is another thing.

    Attributes:
        data: the JSON object, with `Ref`s.
    """

    data: dict[str, Any]


@attrs.frozen
class Spoiled:
    """An event with one value replaced, removed or added.

    Attributes:
        event: as it was.
        place: which of its places, counted round.
        how: what happens there.
        junk: what is put there.
    """

    event: Event
    place: int
    how: Literal["replace", "remove", "add", "rename"]
    junk: Any


@attrs.frozen
class Frame:
    """Any text at all."""

    text: str = attrs.field(repr=lambda text: f"{text[:80]!r} ({len(text)})")


@attrs.frozen
class Binary:
    """A binary frame."""


@attrs.frozen
class Talk:
    """Audio, in chunks, at the pace of speech or all at once."""

    kind: Literal["sentence", "voice", "quiet", "click", "odd"]
    ms: int
    chunk: int
    live: bool


@attrs.frozen
class Wait:
    """Nothing comes for that many seconds."""

    seconds: float


Step: TypeAlias = Event | Spoiled | Frame | Binary | Talk | Wait

# --- events ---------------------------------------------------------------

_event_ids = st.sampled_from(
    ["e1", "e2", "", "x" * 512, "x" * 513, "é" * 300, Ref("event", 0), Ref("item", 0)]
)
_items = st.builds(Ref, st.just("item"), st.integers(0, 9)) | st.sampled_from(
    [
        *("mine", "yours", "x" * 32, "root", ""),
        Ref("response", 0),
        Ref("call", 0),
        Ref("session", 0),
    ]
)
_calls = st.builds(Ref, st.just("call"), st.integers(0, 3)) | st.sampled_from(
    ["call_1", "x" * 32, Ref("item", 0)]
)
_responses = st.builds(Ref, st.just("response"), st.integers(0, 5)) | st.sampled_from(
    ["resp_none", "", Ref("item", 0)]
)
_texts = st.sampled_from(
    ["", "Hi.", "Tell me a story.", "é\0😀", '{"a": 1}', "x " * 500]
)


def _object(**optional: Any) -> Any:
    """Return a strategy of objects with any of these keys, each with one of these."""
    each = {
        key: value if isinstance(value, st.SearchStrategy) else st.sampled_from(value)
        for key, value in optional.items()
    }
    return st.fixed_dictionaries({}, optional=each)


def _typed(kind: str, /, **optional: Any) -> Any:
    return _object(**optional).map(lambda value: {"type": kind, **value})


_VADS: list[Any] = [
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "idle_timeout_ms": 5000, "silence_duration_ms": 0},
    {"type": "server_vad", "interrupt_response": False, "prefix_padding_ms": 0},
    {"type": "server_vad", "create_response": False, "threshold": 0},
    {"type": "server_vad", "threshold": 1, "prefix_padding_ms": 60_000},
    {"type": "semantic_vad", "eagerness": "high"},
    {"type": "semantic_vad", "create_response": None, "interrupt_response": False},
]
_FORMATS = [
    {"type": "audio/pcm", "rate": 24000},
    {"type": "audio/pcm"},
    {"type": "audio/pcmu"},
    {"type": "audio/pcma"},
]
_TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
_TOOLS: list[Any] = [
    [],
    [_TOOL],
    [_TOOL, {"type": "function", "name": "find"}],
    [{"type": "mcp", "server_label": "s", "server_url": "https://localhost"}],
]
_CHOICES: list[Any] = [
    *("auto", "none", "required", {"type": "function", "name": "look"}),
    {"type": "mcp", "server_label": "s"},
]

_RATIO = {"type": "retention_ratio", "retention_ratio": 0.5}

_session = _object(
    instructions=["", "Be brief.", "Be long. " * 50],
    output_modalities=[["text"], ["audio"]],
    tools=_TOOLS,
    tool_choice=_CHOICES,
    max_output_tokens=["inf", 1, 7, 4096],
    reasoning=[None, {"effort": "low"}],
    truncation=["auto", "disabled", _RATIO],
    tracing=[None, "auto", {"workflow_name": "w", "metadata": {"a": [1]}}],
    prompt=[None, {"id": "p", "variables": {"a": "b"}}],
    include=[None, ["item.input_audio_transcription.logprobs"]],
    audio=_object(
        input=_object(
            format=_FORMATS,
            transcription=[None, {"model": "whisper-1"}],
            noise_reduction=[None, {"type": "near_field"}],
            turn_detection=_VADS,
        ),
        output=_object(
            format=_FORMATS, voice=["marin", "ash", {"id": "v"}], speed=[0.25, 1, 1.5]
        ),
    ),
).map(lambda session: {"type": "realtime", **session})  # fmt: skip

_SOUND = "AAABAP7/" * 700
_PARTS: dict[str, list[Any]] = {
    "system": [{"type": "input_text", "text": "Mind this."}],
    "user": [
        {"type": "input_text", "text": "Hi."},
        {"type": "input_audio", "audio": _SOUND},
        {"type": "input_audio", "audio": "AA==", "transcript": None},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
    ],
    "assistant": [
        {"type": "output_text", "text": "Hello."},
        {"type": "text", "text": "Hello."},
        {"type": "output_audio", "audio": _SOUND},
    ],
}


@st.composite
def _messages(draw: Any) -> dict[str, Any]:
    role = draw(st.sampled_from(["user", "user", "assistant", "system"]))
    content = draw(st.lists(st.sampled_from(_PARTS[role]), max_size=2))
    given = draw(_object(id=_items, status=["completed", "incomplete", "in_progress"]))
    return {"type": "message", "role": role, "content": content, **given}


_FOREIGN: list[dict[str, Any]] = [
    {"type": "mcp_list_tools", "server_label": "s", "tools": []},
    {"type": "mcp_call", "server_label": "s", "name": "n", "arguments": "{}"},
    {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
]
_mcp = st.sampled_from(_FOREIGN).flatmap(
    lambda item: _items.map(lambda item_id: {"id": item_id, **item})
)
_given_items = st.one_of(
    _messages(),
    _messages(),
    _typed("function_call", id=_items, call_id=_calls).map(
        lambda item: {"name": "look", "arguments": "{}", **item}
    ),
    st.builds(
        lambda call_id, item: {"call_id": call_id, "output": "It is two.", **item},
        _calls,
        _typed("function_call_output", id=_items),
    ),
    _mcp,
    _items.map(lambda item_id: {"type": "item_reference", "id": item_id}),
)
_response = _object(
    conversation=["auto", "none", "none"],
    input=st.lists(_given_items, max_size=2),
    instructions=[None, "", "Say no more."],
    tools=_TOOLS,
    tool_choice=_CHOICES,
    output_modalities=[["text"], ["audio"]],
    max_output_tokens=["inf", 1, 30],
    metadata=[None, {}, {"a": "b"}, {str(n): "x" * 512 for n in range(16)}],
    audio=[{"output": {"format": _FORMATS[2], "voice": "marin"}}],
)


def _event(kind: str, **fields: Any) -> Any:
    wanted = st.fixed_dictionaries(fields, optional={"event_id": _event_ids})
    return wanted.map(lambda event: Event({"type": kind, **event}))


_create = _event("response.create") | _event("response.create", response=_response)
_insert = st.one_of(
    _event("conversation.item.create", item=_given_items),
    _event(
        "conversation.item.create",
        item=_given_items,
        previous_item_id=_items | st.none(),
    ),
)
_events = st.one_of(
    _event("session.update", session=_session),
    _event("input_audio_buffer.append", audio=st.sampled_from(["", "AA==", _SOUND])),
    _event("input_audio_buffer.commit"),
    _event("input_audio_buffer.clear"),
    _insert,
    _insert,
    _event("conversation.item.retrieve", item_id=_items),
    _event(
        "conversation.item.truncate",
        item_id=st.builds(Ref, st.just("spoken"), st.integers(0, 3)) | _items,
        content_index=st.sampled_from([0, 0, 0, 1, -1, 2**70]),
        audio_end_ms=st.sampled_from([0, 1, 40, 100, 5000, -1, 2**70]),
    ),
    _event("conversation.item.delete", item_id=_items),
    _create,
    _create,
    _event("response.cancel"),
    _event("response.cancel", response_id=_responses),
    _event("output_audio_buffer.clear"),
)
_spoiled = st.builds(
    Spoiled,
    _events,
    st.integers(0, 60),
    st.sampled_from(["replace", "replace", "remove", "add", "rename"]),
    st.sampled_from(JUNK),
)
_talk = st.builds(
    Talk,
    st.sampled_from(["sentence", "sentence", "voice", "quiet", "click", "odd"]),
    st.sampled_from([30, 100, 400, 900]),
    st.sampled_from([4800, 960, 961, 30_000]),
    st.booleans(),
)
_wait = st.builds(Wait, st.sampled_from([0, 0.001, 0.05, 0.2, 1, 6, 40]))
_frames = st.sampled_from(NOISE).map(Frame) | st.text(max_size=20).map(Frame)
step = st.one_of(
    *([_events] * 6),
    _spoiled,
    _spoiled,
    _talk,
    _talk,
    _wait,
    _wait,
    _frames | st.just(Binary()),
)
# Of every length alike: lists by themselves are mostly short.
steps = st.integers(1, 40).flatmap(lambda n: st.lists(step, min_size=n, max_size=n))
"""Sequences of what one client does."""

_SOUNDS = [None, b"", b"\0", bytes(4799), b"\x01\x20" * 5000]
_replies = st.one_of(
    st.builds(Say, _texts, st.sampled_from(_SOUNDS), st.sampled_from([None, 0, 700])),
    st.builds(Call, st.sampled_from(["look", ""]), st.sampled_from(["", "{}", "é\0"])),
    st.sampled_from([Pause(0.0), Pause(0.5), Pause(70.0), Fail("server_busy")]),
    st.sampled_from([Stop(), Stop("max_output_tokens")]),
)  # fmt: skip
_reply: Any = st.lists(_replies, min_size=1, max_size=3) | st.just([])
replies = st.lists(_reply, min_size=1, max_size=3)
"""What a model says, response by response, over and over."""


# --- taking them ------------------------------------------------------------


def written(data: dict[str, Any]) -> str:
    """Return the event as a frame, and what is no JSON as `json` does."""
    text = json.dumps(data)
    for word, depth in DEPTHS.items():
        text = text.replace(json.dumps(word), "[" * depth + "]" * depth)
    return text


def resolved(value: Any, find: Callable[[Ref], str]) -> Any:
    """Return the value with what its `Ref`s stand for."""
    match value:
        case Ref():
            return find(value)
        case dict():
            return {key: resolved(inner, find) for key, inner in value.items()}
        case list():
            return [resolved(inner, find) for inner in value]
    return value


def spoiled(data: dict[str, Any], step: Spoiled) -> dict[str, Any]:
    """Return the event with its one fault."""
    copy: dict[str, Any] = json.loads(json.dumps(data))
    places = list(_places(copy))
    holder, key = places[step.place % len(places)]
    match step.how:
        case "replace":
            holder[key] = step.junk
        case "remove":
            del holder[key]
        case "add" if isinstance(holder, dict):
            holder["surprise"] = step.junk
        case "add":
            holder.append(step.junk)
        case "rename" if isinstance(holder, dict):
            holder[f"{key}\0"] = holder.pop(key)
    return copy


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
