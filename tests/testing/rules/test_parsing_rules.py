"""Rules 11 to 16 of a faithful server: what it makes of frames that are wrong."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import PLAIN, Event, Talk, dialled, refusal
from trialogue._codec import FAST, STDLIB, Codec, b64encode
from trialogue.dialects.openai.wire import CLIENT_EVENTS
from trialogue.testing import Call, Say, Settings, open_realtime_server
from trialogue.testing.serve import log_to

if TYPE_CHECKING:
    from trio.testing import MockClock

TYPES = sorted({*CLIENT_EVENTS} - {"output_audio_buffer.clear"})
"""What a WebSocket takes (§5)."""


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("", "invalid_json", None),
        ('{"type": "response.cancel", "x": NaN}', "invalid_json", None),
        (r'{"type": "response.cancel", "x": "\ud800"}', "invalid_json", None),
        ("[" * 5000 + "]" * 5000, "invalid_json", None),
        ("[]", "invalid_event", None),
        ("7", "invalid_event", None),
        ("{}", "invalid_event", "type"),
        ('{"type": null}', "invalid_event", "type"),
        ('{"type": "dance"}', "invalid_value", "type"),
        ('{"type": ""}', "invalid_value", "type"),
        ('{"type": "session.created"}', "invalid_value", "type"),
        ('{"type": "output_audio_buffer.clear"}', "invalid_value", "type"),
    ],
)
def test_rule_11_what_is_no_event(frame: str, code: str, param: str | None) -> None:
    """Non-JSON → `invalid_json`; (…) no `type` → `invalid_event`; unknown type →
    `invalid_value`, param `type`, message listing supported types. Session stays open.
    """
    talk = Talk()
    error = refusal(talk.raw(frame))
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == "invalid_request_error"
    if code == "invalid_value":
        assert [kind for kind in TYPES if f"'{kind}'" not in error["message"]] == []
        assert "'output_audio_buffer.clear'" not in error["message"]
    assert talk.hangup is None
    talk.updated(instructions="still there")


async def test_rule_11_a_binary_frame(autojump_clock: MockClock) -> None:
    """(…) binary (…) → `invalid_event` (…). Session stays open."""
    async with open_realtime_server() as server, dialled(server) as client:
        await client.read()
        await client.ws.send_message(b'{"type": "input_audio_buffer.clear"}')
        error = refusal([await client.read()])
        assert (error["code"], error["event_id"]) == ("invalid_event", None)
        await client.send("input_audio_buffer.clear")
        assert (await client.read())["type"] == "input_audio_buffer.cleared"


USER = {"type": "message", "role": "user", "content": []}
UNKNOWN: list[tuple[str, Any, str]] = [
    ("session.update", {"session": {"voice": "ash"}}, "session.voice"),
    ("session.update", {"session": {"temperature": 1}}, "session.temperature"),
    ("session.update", {"session": {"id": "x"}}, "session.id"),
    ("session.update", {"session": {"expires_at": 1}}, "session.expires_at"),
    (
        "session.update",
        {"session": {"audio": {"input": {"foo": 1}}}},
        "session.audio.input.foo",
    ),
    (
        "session.update",
        {"session": {"audio": {"input": {"turn_detection": {"type": "server_vad",
         "eagerness": "low"}}}}},
        "session.audio.input.turn_detection.eagerness",
    ),
    (
        "session.update",
        {"session": {"audio": {"output": {"format": {"type": "audio/pcmu",
         "rate": 8000}}}}},
        "session.audio.output.format.rate",
    ),
    (
        "session.update",
        {"session": {"tools": [{"type": "function", "name": "f", "strict": True}]}},
        "session.tools[0].strict",
    ),
    ("response.create", {"response": {"modalities": []}}, "response.modalities"),
    (
        "response.create",
        {"response": {"audio": {"input": {"turn_detection": None}}}},
        "response.audio.input",
    ),
    (
        "response.create",
        {"response": {"audio": {"output": {"speed": 1.0}}}},
        "response.audio.output.speed",
    ),
    (
        "response.create",
        {"response": {"input": [{**USER, "mood": "calm"}]}},
        "response.input[0].mood",
    ),
    ("conversation.item.create", {"item": {**USER, "name": "x"}}, "item.name"),
    (
        "conversation.item.create",
        {"item": {**USER, "content": [{"type": "input_text", "text": "a", "x": 1}]}},
        "item.content[0].x",
    ),
    ("response.cancel", {"reason": "tired"}, "reason"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "param"), UNKNOWN)
def test_rule_12_an_unknown_key_is_named_and_nothing_is_done(
    kind: str, fields: Any, param: str
) -> None:
    """Unknown key anywhere in `session` / `response` / `item` → `unknown_parameter`
    with the dotted path; nothing applied.
    """
    talk = Talk()
    if kind == "session.update":
        fields = {
            "session": {"type": "realtime", "instructions": "x"} | {**fields["session"]}
        }
    before = talk.session()
    error = refusal(talk.say(kind, event_id="mine", **fields))
    assert (error["code"], error["param"]) == ("unknown_parameter", param)
    assert error["message"] == f"Unknown parameter: '{param}'."
    assert talk.run() == []
    assert talk.session() == before
    assert len(talk.machine.conversation) == 0


ITEM = "conversation.item"


@pytest.mark.parametrize(
    ("kind", "fields", "param"),
    [
        ("session.update", {"session": {"instructions": "x"}}, "session.type"),
        ("session.update", {}, "session"),
        (f"{ITEM}.create", {"item": {"role": "user", "content": []}}, "item.type"),
        (f"{ITEM}.create", {"item": {"type": "message", "content": []}}, "item.role"),
        (f"{ITEM}.create", {}, "item"),
        (f"{ITEM}.delete", {}, "item_id"),
        (f"{ITEM}.retrieve", {}, "item_id"),
        (f"{ITEM}.truncate", {"content_index": 0, "audio_end_ms": 0}, "item_id"),
        (f"{ITEM}.truncate", {"item_id": "x", "content_index": 0}, "audio_end_ms"),
        ("input_audio_buffer.append", {}, "audio"),
    ],
)
def test_rule_13_a_missing_key_is_named(kind: str, fields: Event, param: str) -> None:
    """Missing `session.type` → `missing_required_parameter`, param `session.type`.
    Missing `item.type`, `item_id`, `audio` likewise.
    """
    error = refusal(Talk().say(kind, **fields))
    assert (error["code"], error["param"]) == ("missing_required_parameter", param)
    assert error["message"] == f"Missing required parameter: '{param}'."


AT_FAULT: list[tuple[str, Event]] = [
    ("dance", {}),
    ("session.update", {"session": {}}),
    ("session.update", {"session": {"type": "realtime", "max_output_tokens": 0}}),
    (f"{ITEM}.delete", {"item_id": "nobody"}),
    ("response.cancel", {}),
    ("input_audio_buffer.commit", {}),
    ("input_audio_buffer.append", {"audio": "!"}),
]


@pytest.mark.parametrize(("kind", "fields"), AT_FAULT)
def test_rule_14_an_error_names_the_event_at_fault(kind: str, fields: Event) -> None:
    """Echo the client `event_id` in `error.event_id` by default; a script switch must
    send null (real servers do both).
    """
    for echo, named in ((True, "mine"), (False, None)):
        talk = Talk(settings=attrs.evolve(PLAIN, echo_event_id=echo))
        error = refusal(talk.say(kind, event_id="mine", **fields))
        assert error["event_id"] == named
    assert refusal(Talk().say(kind, **fields))["event_id"] is None


CALL = {"type": "function_call", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "output": "x"}


@pytest.mark.parametrize(
    ("kind", "fields", "param", "limit"),
    [
        ("input_audio_buffer.clear", lambda text: {"event_id": text}, "event_id", 512),
        (f"{ITEM}.create", lambda text: {"item": {**USER, "id": text}}, "item.id", 32),
        (
            f"{ITEM}.create",
            lambda text: {"item": {**CALL, "call_id": text}},
            "item.call_id",
            32,
        ),
        (
            f"{ITEM}.create",
            lambda text: {"item": {**OUTPUT, "call_id": text}},
            "item.call_id",
            32,
        ),
        (
            "response.create",
            lambda text: {"response": {"input": [{**CALL, "call_id": text}]}},
            "response.input[0].call_id",
            32,
        ),
    ],
    ids=["event", "item", "call", "output", "input"],
)
def test_rule_15_ids_have_a_length(
    kind: str, fields: Any, param: str, limit: int
) -> None:
    """`event_id` > 512 or `call_id`/item id > 32 chars → `string_above_max_length`."""
    talk = Talk(settings=attrs.evolve(PLAIN, unknown_calls="accept"))
    error = refusal(talk.say(kind, **fields("x" * (limit + 1))))
    assert (error["code"], error["param"]) == ("string_above_max_length", param)
    assert f"maximum length {limit}" in error["message"]
    assert len(talk.machine.conversation) == 0
    assert "error" not in [e["type"] for e in talk.say(kind, **fields("x" * limit))]


KNOWN: list[Event] = [
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": "Be brief.",
            "output_modalities": ["text"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "whisper-1"},
                    "noise_reduction": {"type": "near_field", "strength": 0.5},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "idle_timeout_ms": 5000,
                        "silence_duration_ms": 100,
                    },
                },
                "output": {"voice": {"id": "voice_1"}, "speed": 1.25},
            },
            "tools": [
                {"type": "function", "name": "f", "parameters": {"type": "object"}},
                {"type": "mcp", "server_label": "x", "server_url": "https://x"},
            ],
            "tool_choice": {"type": "function", "name": "f"},
            "max_output_tokens": 40,
            "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
            "tracing": {"workflow_name": "x", "metadata": {"a": 1}},
            "prompt": {"id": "pmpt_1", "variables": {"a": "b"}},
            "include": ["item.input_audio_transcription.logprobs"],
        },
    },
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "input": [
                {"type": "item_reference", "id": "a"},
                {**USER, "content": [{"type": "input_text", "text": "x"}]},
            ],
            "audio": {"output": {"voice": "ash", "format": {"type": "audio/pcmu"}}},
            "metadata": {"a": "b"},
            "max_output_tokens": 4,
            "tool_choice": "none",
        },
    },
    {"type": "response.create"},
    {"type": "response.cancel", "response_id": "resp_1"},
    {"type": "response.cancel"},
    {
        "type": f"{ITEM}.create",
        "previous_item_id": "root",
        "item": {
            "id": "a",
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "x"},
                {"type": "input_audio", "audio": b64encode(b"\1\2" * 4800)},
                {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
            ],
        },
    },
    {"type": f"{ITEM}.create", "item": {**CALL, "id": "c", "call_id": "call_1"}},
    {"type": f"{ITEM}.create", "item": {**OUTPUT, "call_id": "call_1"}},
    {
        "type": f"{ITEM}.truncate",
        "item_id": "a",
        "content_index": 0,
        "audio_end_ms": 100,
    },
    {"type": f"{ITEM}.retrieve", "item_id": "a"},
    {"type": f"{ITEM}.delete", "item_id": "a"},
    {"type": "input_audio_buffer.append", "audio": b64encode(b"\x40\x40" * 9600)},
    {"type": "input_audio_buffer.append", "audio": b64encode(b"\x40" * 33)},
    {"type": "input_audio_buffer.append", "audio": b64encode(bytes(38400))},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "output_audio_buffer.clear"},
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**25),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from([[], {}, [None], {"type": "x"}, [[]], "root", "\ud800", 1e400]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value but the event's type."""
    found = [] if path in ((), ("type",)) else [path]
    inner = {} if not isinstance(value, (dict, list)) else value
    keys = inner.items() if isinstance(inner, dict) else enumerate(inner)
    for key, one in keys:
        found += places(one, (*path, key))
    return found


@st.composite
def frames(draw: st.DrawFn) -> str:
    """A good event, most often; or one with a wrong value or a key too few."""
    event = json.loads(json.dumps(draw(st.sampled_from(KNOWN))))
    spots = places(event)
    change = draw(st.integers(0, 3)) if spots else 0
    if change:
        *way, last = draw(st.sampled_from(spots))
        holder = event
        for key in way:
            holder = holder[key]
        if change > 1:
            holder[last] = draw(ODD)
        else:
            del holder[last]
    return json.dumps(event)


@given(
    st.lists(st.one_of(frames(), frames(), st.text(max_size=9)), max_size=20),
    st.floats(0, 1),
)
def test_rule_16_no_event_in_any_order_makes_it_crash(
    texts: list[str], pause: float
) -> None:
    """Never crash on a client event arriving in any order."""
    talk = Talk(lambda turn: [Say("x", ms=300), Call("f")], settings=Settings())
    for text in texts:
        for event in talk.raw(text) + talk.run(pause):
            STDLIB.dumps(event)
    talk.run(100)
    kinds = [event["type"] for event in talk.seen]
    assert kinds.count("response.created") == kinds.count("response.done")
    assert talk.hangup is None
    talk.say("response.cancel")
    assert talk.seen[-1]["type"] == "error"


def test_rule_16_what_is_nested_deeply_is_refused_or_shown() -> None:
    """Never crash on a client event (…)."""
    for depth in (50, 250, 900, 1010):
        parameters = '{"a":' * depth + "1" + "}" * depth
        tool = f'{{"type":"function","name":"f","parameters":{parameters}}}'
        session = f'{{"type":"realtime","tools":[{tool}]}}'
        [event] = Talk().raw(f'{{"type":"session.update","session":{session}}}')
        assert event["type"] == ("session.updated" if depth == 50 else "error")


DEEP = f'{{"type":"input_audio_buffer.clear","x":{"[" * 900}{"]" * 900}}}'
HALF = r'{"type":"input_audio_buffer.clear","x":"\ud83d"}'


@pytest.mark.parametrize("frame", [DEEP, HALF], ids=["deep", "half"])
@pytest.mark.parametrize("codec", [STDLIB, FAST], ids=["stdlib", "fast"])
async def test_rule_16_what_could_not_be_written_is_not_read(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    codec: Codec,
    frame: str,
) -> None:
    """Never crash on a client event (…): nor does the log of a server, whatever reads
    JSON for it.
    """
    monkeypatch.setattr("trialogue.testing.machine.parsing.loads", codec.loads)
    monkeypatch.setattr("trialogue.testing.peer.loads", codec.loads)
    log = io.StringIO()
    async with (
        open_realtime_server(on_entry=log_to(log)) as server,
        dialled(server) as client,
    ):
        await client.read()
        await client.ws.send_message(frame)
        assert refusal([await client.read()])["code"] == "invalid_json"
    assert "invalid_json" in log.getvalue()


async def test_rule_16_a_bad_event_harms_nobody_else(
    autojump_clock: MockClock,
) -> None:
    """Never crash on a client event (…): the server goes on, for others too."""
    async with (
        open_realtime_server() as server,
        dialled(server) as one,
        dialled(server) as other,
    ):
        await one.read()
        await other.read()
        for event in KNOWN:
            await one.ws.send_message(json.dumps(event))
            await one.ws.send_message(json.dumps(event)[:-2])
            await one.ws.send_message(json.dumps({"type": [event]}))
        await other.send("input_audio_buffer.clear")
        assert (await other.read())["type"] == "input_audio_buffer.cleared"
        await one.send("input_audio_buffer.clear")
        await one.until("input_audio_buffer.cleared")
