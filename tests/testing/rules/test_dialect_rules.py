"""The local server in the dialects of others, as a client sees it (rules 65, 66)."""

from __future__ import annotations

import itertools
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import Event, types
from dialect_line import (
    BETA_SESSION,
    REAL_TIME,
    TOOL,
    VAD,
    WRITTEN,
    Line,
    beta_conversation,
    xai_conversation,
)
from published import BETA_CLIENT_MODELS, BETA_SERVER_MODELS, SERVER_MODELS, strangers
from trialogue._codec import b64decode, b64encode
from trialogue.testing import Pace, Say, XAIQuirks
from trialogue.testing.machine.speaking import beta_words, xai_words
from trialogue.testing.machine.speaking.rates import Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 200,
    "create_response": True,
    "interrupt_response": True,
}


def error(events: list[Event] | Event) -> Event:
    """Return the error that is the only answer."""
    answers = [events] if isinstance(events, dict) else events
    assert types(answers) == ["error"]
    found: Event = answers[0]["error"]
    return found


def types_in(value: Any) -> Iterator[str]:
    """Yield all that stands under a `type`, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value["type"]
        for inner in value.values():
            yield from types_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from types_in(inner)


def keys_in(value: Any) -> Iterator[str]:
    """Yield the name of every field, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from keys_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_in(inner)


# --- 65: the beta ---------------------------------------------------------------------

NOT_IN_THE_TYPES = {
    # What sessions show, and the published class does not.
    "$.session.object",
    "$.session.expires_at",
    # Padding that real servers add to deltas.
    "$.obfuscation",
}


def test_rule_65_conversation_created_follows_session_created() -> None:
    """Beta dialect: `conversation.created`."""
    line = Line("beta")
    created, conversation = line.seen
    assert types(line.seen) == ["session.created", "conversation.created"]
    assert created["event_id"] != conversation["event_id"]
    assert conversation["conversation"]["object"] == "realtime.conversation"
    response = line.respond()[0]["response"]
    assert response["conversation_id"] == conversation["conversation"]["id"]


def test_rule_65_session_is_flat() -> None:
    """Beta dialect: names, flat session, `modalities`."""
    session = Line("beta").seen[0]["session"]
    assert session.pop("id").startswith("sess_")
    assert session.pop("instructions")
    assert session == {
        "object": "realtime.session",
        "model": "gpt-realtime",
        "expires_at": 1_003_600,
        "modalities": ["audio", "text"],
        "voice": "alloy",
        "speed": 1.0,
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_transcription": None,
        "input_audio_noise_reduction": None,
        "turn_detection": FULL_VAD,
        "tools": [],
        "tool_choice": "auto",
        "temperature": 0.8,
        "max_response_output_tokens": "inf",
        "tracing": None,
    }


BETA_FIELDS: dict[str, Any] = {
    "modalities": ["text"],
    "instructions": "Be brief.",
    "voice": "sage",
    "speed": 1.25,
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "g711_alaw",
    "input_audio_transcription": {
        "model": "whisper-1",
        "language": "es",
        "prompt": None,
    },
    "input_audio_noise_reduction": {"type": "near_field"},
    "turn_detection": {
        "type": "semantic_vad",
        "eagerness": "low",
        "create_response": False,
        "interrupt_response": True,
    },
    "tools": [TOOL],
    "tool_choice": {"type": "function", "name": "get_time"},
    "temperature": 1.1,
    "max_response_output_tokens": 200,
    "tracing": "auto",
}


@pytest.mark.parametrize("name", BETA_FIELDS)
def test_rule_65_every_field_of_the_flat_session_is_taken_and_shown(name: str) -> None:
    """Beta dialect: flat session. An update changes its field, and no other."""
    line = Line("beta")
    before = line.seen[0]["session"]
    updated = line.update(**{name: BETA_FIELDS[name]})
    assert updated["type"] == "session.updated"
    assert updated["session"] == {**before, name: BETA_FIELDS[name]}


@pytest.mark.parametrize("off", [None, {"type": "none"}])
def test_rule_65_turn_detection_is_switched_off(off: Any) -> None:
    """Legacy Azure: turn detection is null, or of the type "none"."""
    line = Line("beta")
    line.update(turn_detection=VAD)
    assert line.update(turn_detection=off)["session"]["turn_detection"] is None
    assert line.speak("Hello?") == []
    assert "input_audio_buffer.committed" in types(
        line.say("input_audio_buffer.commit")
    )


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        # Names of the protocol as it is now.
        ({"type": "realtime"}, "unknown_parameter", "session.type"),
        ({"audio": {"output": {}}}, "unknown_parameter", "session.audio"),
        (
            {"output_modalities": ["text"]},
            "unknown_parameter",
            "session.output_modalities",
        ),
        ({"max_output_tokens": 9}, "unknown_parameter", "session.max_output_tokens"),
        ({"truncation": "auto"}, "unknown_parameter", "session.truncation"),
        ({"reasoning": {}}, "unknown_parameter", "session.reasoning"),
        ({"prompt": {"id": "p"}}, "unknown_parameter", "session.prompt"),
        (
            {"turn_detection": {**VAD, "idle_timeout_ms": 6000}},
            "unknown_parameter",
            "session.turn_detection.idle_timeout_ms",
        ),
        (
            {"tools": [{"type": "mcp", "server_label": "s"}]},
            "invalid_value",
            "session.tools[0].type",
        ),
        # Values that are not allowed.
        (
            {"turn_detection": {**VAD, "threshold": 2}},
            "invalid_value",
            "session.turn_detection.threshold",
        ),
        (
            {"turn_detection": {**VAD, "threshold": "high"}},
            "invalid_type",
            "session.turn_detection.threshold",
        ),
        ({"turn_detection": {"type": "x"}}, "invalid_value", None),
        ({"speed": 9}, "invalid_value", "session.speed"),
        (
            {"max_response_output_tokens": 0},
            "invalid_value",
            "session.max_response_output_tokens",
        ),
        ({"input_audio_format": "pcm"}, "invalid_value", "session.input_audio_format"),
        (
            {"output_audio_format": {"type": "audio/pcm"}},
            "invalid_type",
            "session.output_audio_format",
        ),
        ({"temperature": 0.5}, "invalid_value", "session.temperature"),
        ({"temperature": 1.3}, "invalid_value", "session.temperature"),
        ({"modalities": ["audio"]}, "invalid_value", "session.modalities"),
        ({"modalities": []}, "invalid_value", "session.modalities"),
        ({"modalities": ["text", "text"]}, "invalid_value", "session.modalities"),
        ({"model": "gpt-other-realtime"}, "invalid_value", "session.model"),
    ],
)
def test_rule_65_errors_name_what_the_client_named(
    session: Event, code: str, param: str | None
) -> None:
    """Beta dialect: names. An error has the flat path, and nothing is changed."""
    line = Line("beta")
    before = line.seen[0]["session"]
    wrong = error(
        line.update(**{"instructions": "Lost.", "temperature": 0.9, **session})
    )
    assert wrong["code"] == code
    assert wrong["param"] == (param or "session.turn_detection.type")
    assert wrong["event_id"] == "mine_0"
    assert "audio.input." not in wrong["message"]
    assert "audio.output." not in wrong["message"]
    assert line.update()["session"] == before


@pytest.mark.parametrize("temperature", [0.59, 1.21, -1])
def test_rule_65_temperature_has_a_range(temperature: float) -> None:
    """Beta dialect: `temperature` is from 0.6 to 1.2; a refusal changes nothing."""
    line = Line("beta")
    line.update(temperature=1.2)
    for wrong in (
        error(line.update(temperature=temperature, voice="sage")),
        error(line.say("response.create", response={"temperature": temperature})),
    ):
        assert wrong["code"] == "invalid_value"
        assert wrong["param"].endswith(".temperature")
    session = line.update()["session"]
    assert (session["temperature"], session["voice"]) == (1.2, "alloy")


def test_rule_65_refused_temperature_is_not_that_of_the_next_response() -> None:
    """Beta dialect: names. A response's `temperature` is its own alone."""
    line = Line("beta", pace=REAL_TIME)
    line.user("Tell me a story.")
    first = line.say("response.create", response={"temperature": 0.7})
    assert first[0]["response"]["temperature"] == 0.7
    line.run(1)
    # Refused, for one is running; the user's speech brings the next one.
    error(line.say("response.create", response={"temperature": 1.1}))
    line.speak("Stop it.")
    line.run(30)
    created = [one["response"] for one in line.of("response.created")]
    done = [one["response"] for one in line.of("response.done")]
    assert [one["temperature"] for one in created] == [0.7, 0.8]
    assert [one["temperature"] for one in done] == [0.7, 0.8]


def test_rule_65_item_created_is_the_single_event_of_an_item() -> None:
    """Beta dialect: single `item.created`, in place of `added` and `done`."""
    line = beta_conversation()
    held = line.machine.conversation
    created = line.of("conversation.item.created")
    assert not line.of("conversation.item.added")
    assert not line.of("conversation.item.done")
    ids = [one["item"]["id"] for one in created]
    assert len(set(ids)) == len(ids)
    assert {item.id for item in held} < set(ids)
    # Three turns of the user, two items of the client, six of the model.
    roles = [one["item"].get("role", one["item"]["type"]) for one in created]
    assert roles.count("user") == 4
    assert roles.count("assistant") == 5
    assert roles.count("function_call") == roles.count("function_call_output") == 1
    # Each comes after the one before it, at the end as it was then.
    assert created[0]["previous_item_id"] is None
    assert [one["previous_item_id"] for one in created[1:]] == ids[:-1]
    statuses = {
        one["item"].get("role", one["item"]["type"]): one["item"]["status"]
        for one in created
    }
    assert statuses["assistant"] == statuses["function_call"] == "in_progress"
    assert statuses["user"] == statuses["function_call_output"] == "completed"


BETA_LADDER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
    "response.audio_transcript.delta",
    "response.audio.delta",
    "response.audio.done",
    "response.audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.output_item.added",
    "conversation.item.created",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]


def test_rule_65_response_climbs_the_ladder_under_the_old_names() -> None:
    """Beta dialect: names of `response.audio.*`, `response.audio_transcript.*`."""
    line = Line("beta")
    line.user("What time is it?")
    events = line.respond()
    assert types(events) == BETA_LADDER
    done = next(one for one in events if one["type"].endswith("arguments.done"))
    assert json.loads(done["arguments"]) == {"city": "Lima"}
    assert "name" not in done
    heard = b"".join(b64decode(one["delta"]) for one in line.of("response.audio.delta"))
    assert len(heard) == len("One moment.") * 60 * 48
    words = [one["delta"] for one in line.of("response.audio_transcript.delta")]
    assert "".join(words) == "One moment."
    message, call = next(e for e in events if e["type"] == "response.done")["response"][
        "output"
    ]
    assert message["content"] == [{"type": "audio", "transcript": "One moment."}]
    assert call["name"] == "get_time"


def test_rule_65_text_reply_has_the_old_names() -> None:
    """Beta dialect: names of `response.text.*`, and content of the type `text`."""
    line = Line("beta")
    events = line.respond(modalities=["text"])
    assert [kind for kind in types(events) if kind.startswith("response.text")] == [
        "response.text.delta",
        "response.text.done",
    ]
    done = line.of("response.done")[0]["response"]
    assert done["modalities"] == ["text"]
    assert done["output"][0]["content"] == [{"type": "text", "text": "Well then."}]


def test_rule_65_items_have_the_short_content_types() -> None:
    """Beta dialect: content `text` and `audio`, in items that go and that come."""
    line = Line("beta")
    line.user("Hello.", id="u")
    said = {"type": "text", "text": "Good day."}
    [created] = line.create(id="a", type="message", role="assistant", content=[said])
    assert (created["item"]["content"], created["previous_item_id"]) == ([said], "u")
    spoken = line.respond()[-2]["response"]["output"][0]["id"]
    [retrieved] = line.say("conversation.item.retrieve", item_id=spoken)
    [part] = retrieved["item"]["content"]
    assert (part["type"], part["transcript"]) == ("audio", "Well then.")
    assert len(b64decode(part["audio"])) == len("Well then.") * 60 * 48
    [cut] = line.say(
        "conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=90
    )
    assert cut["type"] == "conversation.item.truncated"


@pytest.mark.parametrize(
    ("role", "part", "param"),
    [
        ("assistant", {"type": "output_text", "text": "x"}, "item.content[0].type"),
        ("assistant", {"type": "output_audio"}, "item.content[0].type"),
        ("assistant", {"type": "audio"}, "item.content[0].type"),
        ("assistant", {"type": "input_text", "text": "x"}, "item.content[0].type"),
        ("user", {"type": "text", "text": "x"}, "item.content[0].type"),
        ("user", {"type": "input_image", "image_url": "data:"}, "item.content[0].type"),
        ("system", {"type": "input_audio"}, "item.content[0].type"),
        ("user", {"type": "input_text"}, "item.content[0].text"),
    ],
)
def test_rule_65_content_of_another_kind_is_refused(
    role: str, part: Event, param: str
) -> None:
    """Beta dialect: names. There are no pictures, and no `output_text`."""
    line = Line("beta")
    wrong = error(line.create(type="message", role=role, content=[part]))
    assert wrong["param"] == param
    assert wrong["event_id"] == "mine_0"
    told = wrong["message"].replace(f"'{part['type']}'", "")
    assert "output_" not in told
    assert "input_image" not in told
    assert not line.machine.conversation.items


def test_rule_65_response_takes_and_shows_the_flat_overrides() -> None:
    """Beta dialect: response `modalities, voice, output_audio_format, temperature`."""
    line = Line("beta", lambda turn: "One two three four five six.")
    line.user("Hello.", id="u")
    question = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Why?"}],
    }
    overrides = {
        "conversation": "none",
        "input": [{"type": "item_reference", "id": "u"}, question],
        "instructions": "Be brief.",
        "modalities": ["text", "audio"],
        "voice": "sage",
        "output_audio_format": "g711_ulaw",
        "temperature": 0.6,
        "max_response_output_tokens": 4000,
        "tools": [TOOL],
        "tool_choice": "none",
        "metadata": {"mine": "1"},
    }
    line.respond(**overrides)
    [record] = line.machine.responses
    assert record.input is not None
    assert (record.override, record.tools, record.tool_choice) == (
        "Be brief.",
        ("get_time",),
        "none",
    )
    for event in (*line.of("response.created"), *line.of("response.done")):
        shown = event["response"]
        assert shown["conversation_id"] is None
        assert shown["modalities"] == ["audio", "text"]
        assert (shown["voice"], shown["output_audio_format"]) == ("sage", "g711_ulaw")
        assert (shown["temperature"], shown["max_output_tokens"]) == (0.6, 4000)
        assert shown["metadata"] == {"mine": "1"}
        assert not {"output_modalities", "audio"} & set(shown)
    heard = b"".join(b64decode(one["delta"]) for one in line.of("response.audio.delta"))
    assert len(heard) == len("One two three four five six.") * 60 * 8


@pytest.mark.parametrize(
    ("response", "param"),
    [
        ({"output_modalities": ["text"]}, "response.output_modalities"),
        ({"audio": {}}, "response.audio"),
        ({"max_output_tokens": 5}, "response.max_output_tokens"),
        ({"max_response_output_tokens": 0}, "response.max_response_output_tokens"),
        ({"modalities": ["audio"]}, "response.modalities"),
        (
            {
                "input": [
                    {"type": "message", "role": "user", "content": [{"type": "x"}]}
                ]
            },
            "response.input[0].content[0].type",
        ),
        (
            {"input": [{"type": "item_reference", "id": "gone"}]},
            "response.input[0].id",
        ),
    ],
)
def test_rule_65_errors_of_responses_name_what_the_client_named(
    response: Event, param: str
) -> None:
    """Beta dialect: names."""
    line = Line("beta")
    assert error(line.say("response.create", response=response))["param"] == param
    assert not line.machine.responses


def test_rule_65_voice_is_fixed_once_there_was_speech() -> None:
    """Beta dialect: names. The refusal of a voice does not name the new path."""
    line = Line("beta")
    line.respond()
    assert error(line.update(voice="sage"))["code"] == "cannot_update_voice"
    assert line.update(voice="alloy")["type"] == "session.updated"


def test_rule_65_conversation_is_what_the_published_beta_types_allow() -> None:
    """Beta dialect (legacy Azure): names, flat session, `conversation.created`, single
    `item.created`, `modalities`.

    Every frame of a whole conversation is read strictly, by the beta's classes.
    """
    line = beta_conversation()
    for event in line.seen:
        model = BETA_SERVER_MODELS[event["type"]]
        read = model.model_validate_json(json.dumps(event), strict=True)
        assert not {*strangers(read)} - NOT_IN_THE_TYPES, event
    refused = line.sent[-1]
    for event in line.sent:
        model = BETA_CLIENT_MODELS[event["type"]]
        read = model.model_validate_json(json.dumps(event), strict=True)
        assert not strangers(read) or event is refused, event


def test_rule_65_conversation_has_no_name_of_today() -> None:
    """No event, part or field that came with the protocol as it is now."""
    line = beta_conversation()
    new_events = set(SERVER_MODELS) - set(BETA_SERVER_MODELS)
    assert {"conversation.item.added", "response.output_audio.delta"} < new_events
    names = {name for event in line.seen for name in types_in(event)}
    assert not names & {*new_events, "output_text", "output_audio", "realtime"}
    assert not {name for name in names if name.startswith("audio/")}
    keys = {name for event in line.seen for name in keys_in(event)}
    new_keys = {"output_modalities", "idle_timeout_ms", "truncation", "image_tokens"}
    assert not keys & {*new_keys, "rate", "reasoning", "include"}
    # And each old one was there.
    assert {"text", "audio", "input_audio", "server_vad"} < names
    assert {"modalities", "temperature", "max_response_output_tokens"} < keys
    assert {kind.rpartition(".")[0] for kind in types(line.seen)} > {
        "response.text",
        "response.audio",
        "response.audio_transcript",
    }


def test_rule_65_every_event_has_an_id_of_its_own() -> None:
    """Beta dialect: the events that it adds have ids as well, and runs are alike."""
    line = beta_conversation()
    ids = [event["event_id"] for event in line.seen]
    assert len(set(ids)) == len(ids)
    again = Line("beta", pace=REAL_TIME)
    again.converse(BETA_SESSION, {"modalities": ["text"]})
    assert again.seen == line.seen


# --- 66: xAI --------------------------------------------------------------------------

TRANSCRIPTION = "conversation.item.input_audio_transcription"


@cache
def plain_conversation() -> Line:
    """The same, with every peculiarity switched off."""
    line = Line("xai", pace=REAL_TIME, xai=XAIQuirks.none())
    heard = {"transcription": {"model": "grok-transcribe"}, "turn_detection": VAD}
    said = {"voice": "Rex"}
    session = {"instructions": "Be brief.", "tools": [TOOL]}
    line.converse({**session, "audio": {"input": heard, "output": said}}, WRITTEN)
    return line


def quirk(**switch: Any) -> XAIQuirks:
    """One peculiarity, and no other."""
    return attrs.evolve(XAIQuirks.none(), **switch)


def test_rule_66_voice_and_turn_detection_are_top_level() -> None:
    """xAI dialect switches: top-level voice."""
    line = Line("xai")
    session = line.seen[0]["session"]
    assert session["voice"] == "eve"
    assert session["turn_detection"]["type"] == "server_vad"
    assert set(session["audio"]["input"]) == {"format", "transcription"}
    assert set(session["audio"]["output"]) == {"format", "speed"}
    updated = line.update(voice="leo", turn_detection=None)["session"]
    assert updated == {**session, "voice": "leo", "turn_detection": None}
    created = line.respond()[0]["response"]
    assert created["voice"] == "leo"
    assert "voice" not in created["audio"]["output"]


def test_rule_66_voice_and_turn_detection_may_be_where_openai_has_them() -> None:
    """xAI dialect switches: top-level voice, switched off."""
    line = Line("xai", xai=quirk())
    audio = line.seen[0]["session"]["audio"]
    assert (audio["output"]["voice"], audio["output"]["speed"]) == ("eve", 1.0)
    assert audio["input"]["turn_detection"]["type"] == "server_vad"
    updated = line.update(
        audio={"input": {"turn_detection": None}, "output": {"voice": "leo"}}
    )["session"]
    assert updated["audio"]["output"]["voice"] == "leo"
    assert updated["audio"]["input"]["turn_detection"] is None
    assert error(line.update(voice="ara"))["param"] == "session.voice"
    vad = {"type": "server_vad", "threshold": 0.95}
    assert error(line.update(audio={"input": {"turn_detection": vad}}))["param"] == (
        "session.audio.input.turn_detection.threshold"
    )


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"audio": {"output": {"voice": "leo"}}}, "session.audio.output.voice"),
        (
            {"audio": {"input": {"turn_detection": None}}},
            "session.audio.input.turn_detection",
        ),
        (
            {"turn_detection": {"type": "semantic_vad"}},
            "session.turn_detection.type",
        ),
        (
            {"turn_detection": {"type": "server_vad", "threshold": 0.05}},
            "session.turn_detection.threshold",
        ),
        (
            {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 1}},
            "session.turn_detection.idle_timeout_ms",
        ),
        ({"audio": {"output": {"speed": 0.5}}}, "session.audio.output.speed"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 22050}}}},
            "session.audio.input.format.rate",
        ),
        (
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 0}}}},
            "session.audio.output.format.rate",
        ),
        ({"tools": [{"type": "code_interpreter"}]}, "session.tools[0].type"),
        ({"reasoning": {"effort": "low"}}, "session.reasoning.effort"),
        ({"temperature": 1}, "session.temperature"),
        ({"model": "grok-voice-other"}, "session.model"),
    ],
)
def test_rule_66_errors_name_what_the_client_named(session: Event, param: str) -> None:
    """xAI dialect: its ranges, its kinds; an error has its path, and no code."""
    line = Line("xai")
    before = line.seen[0]["session"]
    wrong = error(line.update(instructions="Lost.", **session))
    assert (wrong["param"], wrong["code"]) == (param, None)
    assert wrong["event_id"] == "mine_0"
    assert line.update()["session"] == before


def test_rule_66_session_takes_what_only_xai_has() -> None:
    """xAI dialect: server-run tools, resumption, reasoning, case-insensitive voices."""
    line = Line("xai")
    tools = [
        {"type": "web_search"},
        TOOL,
        {"type": "x_search", "allowed_x_handles": ["xai"]},
        {"type": "file_search", "vector_store_ids": ["c"], "max_num_results": 3},
    ]
    given = {
        "tools": tools,
        "resumption": {"enabled": True},
        "reasoning": {"effort": "none"},
        "voice": "ARA",
        "audio": {
            "input": {"transcription": {"language_hint": "es", "keyterms": ["Lima"]}},
            "output": {"speed": 0.7},
        },
    }
    session = line.update(**given)["session"]
    assert session["voice"] == "ara"
    assert session["audio"]["input"]["transcription"] == {
        "language_hint": "es",
        "keyterms": ["Lima"],
    }
    for name in ("tools", "resumption", "reasoning"):
        assert session[name] == given[name]
    line.respond()
    assert line.machine.responses[0].tools == ("get_time",)
    assert line.update(voice="eve", tools=[])["type"] == "error"
    assert line.update()["session"] == session
    custom = Line("xai").update(voice="My-Voice_7")["session"]["voice"]
    assert custom == "My-Voice_7"


def test_rule_66_conversation_created_follows_session_created() -> None:
    """xAI dialect switches: `conversation.created`."""
    line = Line("xai")
    assert types(line.seen) == ["session.created", "conversation.created"]
    response = line.respond()[0]["response"]
    assert response["conversation_id"] == line.seen[1]["conversation"]["id"]
    assert types(Line("xai", xai=quirk()).seen) == ["session.created"]


def test_rule_66_transcripts_are_updated_with_all_the_text_so_far() -> None:
    """xAI dialect switches: `.updated` transcripts; `completed` more than once."""
    line = xai_conversation()
    assert not line.of(f"{TRANSCRIPTION}.delta")
    question = line.of("conversation.item.added")[0]["item"]["id"]
    updated = [
        one for one in line.of(f"{TRANSCRIPTION}.updated") if one["item_id"] == question
    ]
    texts = [one["transcript"] for one in updated]
    assert texts == ["What time is", "What time is it in Lima?"]
    assert not [one for one in updated if "delta" in one]
    completed = line.of(f"{TRANSCRIPTION}.completed")[:2]
    assert [one["status"] for one in completed] == ["in_progress", "completed"]
    assert [one["item_id"] for one in completed] == [question] * 2
    assert completed[1]["transcript"] == "What time is it in Lima?"
    assert completed[1]["transcript"].startswith(completed[0]["transcript"])


def test_rule_66_partial_transcripts_need_their_model() -> None:
    """xAI: `.updated` is sent where the model is `grok-transcribe` alone."""
    line = Line("xai")
    line.update(audio={"input": {"transcription": {"language_hint": "en"}}})
    line.speak("Hello, is anybody there?")
    line.run()
    assert not line.of(f"{TRANSCRIPTION}.updated")
    assert not line.of(f"{TRANSCRIPTION}.delta")
    assert line.of(f"{TRANSCRIPTION}.completed")[-1]["transcript"] == (
        "Hello, is anybody there?"
    )


def test_rule_66_transcripts_may_be_told_as_openai_does() -> None:
    """xAI dialect switches: `.updated` transcripts, switched off."""
    line = plain_conversation()
    assert not line.of(f"{TRANSCRIPTION}.updated")
    assert len(line.of(f"{TRANSCRIPTION}.delta")) == 6
    completed = line.of(f"{TRANSCRIPTION}.completed")
    assert len(completed) == 3
    assert not [one for one in completed if "status" in one]


def test_rule_66_interrupted_response_is_never_done() -> None:
    """xAI dialect switches: missing `response.done`."""
    line, whole = xai_conversation(), plain_conversation()
    interrupted = line.machine.responses[3]
    assert (interrupted.status, interrupted.reason) == ("cancelled", "turn_detected")
    created = [one["response"]["id"] for one in line.of("response.created")]
    done = [one["response"]["id"] for one in line.of("response.done")]
    assert interrupted.id in created
    assert done == [one for one in created if one != interrupted.id]
    assert len(whole.of("response.created")) == len(whole.of("response.done")) == 5


def test_rule_66_response_that_the_client_cancels_is_done() -> None:
    """xAI dialect switches: only what the user interrupts is left open."""
    line = Line("xai", pace=REAL_TIME)
    line.user("Tell me a story.")
    line.say("response.create")
    line.run(1)
    events = line.say("response.cancel")
    assert events[-1]["response"]["status_details"]["reason"] == "client_cancelled"


def test_rule_66_ping_comes_again_and_again() -> None:
    """xAI dialect switches: `ping`."""
    line = Line("xai")
    assert types(line.run(60)) == ["ping"] * 4
    assert len({one["event_id"] for one in line.of("ping")}) == 4
    often = Line("xai", xai=quirk(ping_seconds=1.0))
    assert len(often.run(10.5)) == 10
    assert Line("xai", xai=quirk()).run(600) == []


def test_rule_66_function_call_is_added_twice() -> None:
    """xAI dialect switches: duplicate `added`; no `conversation.item.done`."""
    line, whole = xai_conversation(), plain_conversation()
    assert not line.of("conversation.item.done")
    calls = [
        one
        for one in line.of("conversation.item.added")
        if one["item"]["type"] == "function_call"
    ]
    first, second = calls
    assert first["item"]["id"] == second["item"]["id"]
    assert first["event_id"] != second["event_id"]
    assert (first["item"]["arguments"], first["item"]["status"]) == ("", "in_progress")
    assert json.loads(second["item"]["arguments"]) == {"city": "Lima"}
    assert second["item"]["status"] == "completed"
    others = [one["item"]["id"] for one in line.of("conversation.item.added")]
    others.remove(first["item"]["id"])
    assert len(set(others)) == len(others)
    added = [one["item"]["id"] for one in whole.of("conversation.item.added")]
    assert len(set(added)) == len(added)
    assert len(whole.of("conversation.item.done")) == len(added)


def test_rule_66_deleted_item_is_not_named() -> None:
    """xAI dialect switches: empty deleted id."""
    for quirks, shown in ((XAIQuirks(), ""), (quirk(), "u")):
        line = Line("xai", xai=quirks)
        line.user("Hello.", id="u")
        [deleted] = line.say("conversation.item.delete", item_id="u")
        assert (deleted["type"], deleted["item_id"]) == (
            "conversation.item.deleted",
            shown,
        )
        assert not line.machine.conversation.items


def test_rule_66_first_item_comes_after_one_that_was_never_announced() -> None:
    """xAI: `previous_item_id` may name an item never announced; a switch."""
    line, whole = xai_conversation(), plain_conversation()
    first, *rest = line.of("conversation.item.added")
    announced = {one["item"]["id"] for one in (first, *rest)}
    assert first["previous_item_id"] not in announced
    assert {one["previous_item_id"] for one in rest} <= announced
    committed = line.of("input_audio_buffer.committed")[0]
    assert committed["previous_item_id"] == first["previous_item_id"]
    assert whole.of("conversation.item.added")[0]["previous_item_id"] is None


def test_rule_66_usage_stands_outside_of_the_response() -> None:
    """xAI: `response.done.usage` may be at event top level; a switch."""
    for event in xai_conversation().of("response.done"):
        assert "usage" not in event["response"]
        assert event["usage"]["total_tokens"] > 0
    for event in plain_conversation().of("response.done"):
        assert "usage" not in event
        assert event["response"]["usage"]["total_tokens"] > 0


def test_rule_66_text_deltas_occur_under_both_names() -> None:
    """xAI: `response.text.delta` and `response.output_text.delta` both occur."""
    line = Line("xai")
    for _ in range(3):
        line.respond(modalities=["text"])
    for end in ("delta", "done"):
        names = [
            event["type"]
            for event in line.seen
            if event["type"].endswith(f"text.{end}")
            and event.get("delta", "Well") != "then."
        ]
        assert [name.removeprefix("response.") for name in dict.fromkeys(names)] == [
            f"output_text.{end}",
            f"text.{end}",
        ]
    short = {one["response_id"] for one in line.of("response.text.done")}
    assert short == {line.machine.responses[1].id}
    plain = Line("xai", xai=quirk())
    for _ in range(2):
        plain.respond(modalities=["text"])
    assert not plain.of("response.text.delta")


def test_rule_66_errors_have_to_be_known_by_their_text() -> None:
    """xAI: codes differ from OpenAI's; match the message text; a switch."""
    line = Line("xai", pace=REAL_TIME)
    assert "no active response" in error(line.say("response.cancel"))["message"]
    line.user("Tell me a story.")
    line.say("response.create")
    line.run(1)
    wrong = error(line.say("response.create"))
    assert "already has an active response" in wrong["message"]
    assert {one["error"]["code"] for one in line.of("error")} == {None}
    plain = Line("xai", xai=quirk())
    assert error(plain.say("response.cancel"))["code"] == "response_cancel_not_active"
    assert error(plain.update(x=1))["code"] == "unknown_parameter"


@pytest.mark.parametrize(
    "name", ["tools", "tool_choice", "output_modalities", "audio", "conversation"]
)
def test_rule_66_responses_override_little(name: str) -> None:
    """xAI: response overrides: only `modalities`, `instructions`."""
    line = Line("xai")
    wrong = error(line.say("response.create", response={name: "auto"}))
    assert wrong["param"] == f"response.{name}"
    line.respond(instructions="Be brief.", metadata={"mine": "1"}, **WRITTEN)
    [record] = line.machine.responses
    assert (record.override, record.modality) == ("Be brief.", "text")
    assert line.of("response.done")[0]["response"]["metadata"] == {"mine": "1"}


def test_rule_66_modalities_are_at_least_one() -> None:
    """xAI: response overrides `modalities`, of which sound prevails."""
    line = Line("xai")
    wrong = error(line.say("response.create", response={"modalities": []}))
    assert (wrong["param"], wrong["event_id"]) == ("response.modalities", "mine_0")
    line.respond(modalities=["text", "audio"])
    assert [one.modality for one in line.machine.responses] == ["audio"]


def test_rule_66_telephone_audio_is_taken_as_ever() -> None:
    """xAI: plus pcmu/pcma."""
    line = Line("xai", lambda turn: Say("Good day.", ms=1000))
    law = {"format": {"type": "audio/pcmu"}}
    session = line.update(audio={"input": law, "output": law})["session"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    line.respond()
    deltas = line.of("response.output_audio.delta")
    assert sum(len(b64decode(one["delta"])) for one in deltas) == 8000


def test_rule_66_forced_message_is_spoken_as_it_is() -> None:
    """xAI: `force_message` speaks verbatim, without `response.create`."""
    line = Line("xai")
    forced = {
        "type": "force_message",
        "role": "assistant",
        "interruptible": True,
        "content": [{"type": "output_text", "text": "This call is recorded."}],
    }
    events = line.create(**forced)
    assert events[0]["type"] == "response.created"
    # One at a time; and what was refused is not spoken later.
    other = [{"type": "output_text", "text": "Never said."}]
    error(line.create(**{**forced, "content": other}))
    line.run()
    line.respond()
    said = [
        one["transcript"] for one in line.of("response.output_audio_transcript.done")
    ]
    assert said == ["This call is recorded.", "Well then."]
    shown = line.of("response.done")[0]["response"]
    assert shown["metadata"] is None
    held = [item.text for item in line.machine.conversation]
    assert held == ["This call is recorded.", "Well then."]


@pytest.mark.parametrize("rate", [8000, 16000, 21050, 32000, 44100, 48000])
def test_rule_66_pcm_has_other_rates(rate: int) -> None:
    """xAI: PCM rates from 8000 to 48000, for what goes and for what comes."""
    pcm = {"format": {"type": "audio/pcm", "rate": rate}}
    line = Line("xai", lambda turn: Say("Good day.", ms=1000))
    session = line.update(turn_detection=None, audio={"input": pcm, "output": pcm})
    audio = session["session"]["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == pcm["format"]
    second = b64encode(bytes(rate * 2))
    line.say("input_audio_buffer.append", audio=second)
    line.say("input_audio_buffer.commit")
    [turn] = line.machine.committed
    assert len(turn.pcm) == 48000
    line.respond()
    deltas = line.of("response.output_audio.delta")
    heard = b"".join(b64decode(one["delta"]) for one in deltas)
    assert len(heard) == rate * 2
    done = line.of("response.done")[0]["response"]
    assert done["audio"]["output"]["format"] == pcm["format"]


def test_rule_66_items_hold_audio_at_the_rates_of_the_session() -> None:
    """xAI: PCM rates, for the sound of items that are created and retrieved."""
    line = Line("xai", lambda turn: Say("Good day.", ms=1000))
    said = {"format": {"type": "audio/pcm", "rate": 8000}}
    line.update(
        audio={
            "input": said,
            "output": {"format": {"type": "audio/pcm", "rate": 16000}},
        }
    )
    sound = b64encode(bytes(range(250)) * 64)  # a second
    part = {"type": "input_audio", "audio": sound}
    line.create(id="u", type="message", role="user", content=[part])
    held = line.machine.conversation.find("u")
    assert held is not None
    assert len(held.pcm) == 48000
    [user] = line.say("conversation.item.retrieve", item_id="u")
    assert user["item"]["content"][0]["audio"] == sound
    line.user("In writing.", id="written")
    [written] = line.say("conversation.item.retrieve", item_id="written")
    assert written["item"]["content"] == [{"type": "input_text", "text": "In writing."}]
    line.respond()
    spoken = line.machine.responses[0].item_ids[0]
    [answer] = line.say("conversation.item.retrieve", item_id=spoken)
    assert len(b64decode(answer["item"]["content"][0]["audio"])) == 32000
    line.create(type="function_call", name="f", arguments="{}", id="c", call_id="c1")
    [call] = line.say("conversation.item.retrieve", item_id="c")
    assert call["item"]["name"] == "f"


@given(
    rates=st.tuples(*[st.sampled_from([8000, 21050, 24000, 44100, 48000])] * 2),
    pcm=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_rule_66_rate_does_not_depend_on_how_the_stream_is_cut(
    rates: tuple[int, int], pcm: bytes, cuts: list[int]
) -> None:
    """xAI: PCM rates. Nothing is lost or gained, whatever the pieces."""
    pcm = pcm[: len(pcm) // 2 * 2]
    whole = Rate(*rates)(pcm)
    places = [0, *sorted(min(cut, len(pcm)) for cut in cuts), len(pcm)]
    piecewise = Rate(*rates)
    pieces = [piecewise(pcm[start:end]) for start, end in itertools.pairwise(places)]
    assert b"".join(pieces) == whole
    source, target = rates
    assert abs(len(whole) / 2 - len(pcm) / 2 * target / source) < 1


@pytest.mark.parametrize(
    "talk", [xai_conversation, plain_conversation], ids=["all", "none"]
)
def test_rule_66_conversation_has_the_names_of_its_switches(
    talk: Callable[[], Line],
) -> None:
    """xAI dialect switches: top-level voice, `conversation.created`, `.updated`
    transcripts, missing `response.done`, `ping`, duplicate `added`, empty deleted id.

    A whole conversation shows all that is switched on, and nothing that is off.
    """
    line = talk()
    own = {
        "conversation.created",
        "ping",
        f"{TRANSCRIPTION}.updated",
    }
    others = {"conversation.item.done", f"{TRANSCRIPTION}.delta"}
    shown = set(types(line.seen))
    if talk is plain_conversation:
        own, others = others, own
    assert own <= shown
    assert not others & shown
    # Nothing of the beta's, in either.
    assert not shown & (set(BETA_SERVER_MODELS) - set(SERVER_MODELS))
    keys = {name for event in line.seen for name in keys_in(event)}
    assert not keys & {"modalities", "temperature", "input_audio_format"}
    ids = [event["event_id"] for event in line.seen]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("dialect", ["openai", "azure"])
def test_rules_65_66_conversation_has_no_name_of_other_dialects(dialect: Any) -> None:
    """The same conversation as OpenAI and Azure's v1 surface have it."""
    line = Line(dialect, pace=REAL_TIME)
    heard = {"transcription": {"model": "whisper-1"}, "turn_detection": VAD}
    session = {"type": "realtime", "instructions": "Be brief.", "tools": [TOOL]}
    line.converse(
        {**session, "audio": {"input": heard, "output": {"voice": "cedar"}}},
        {"output_modalities": ["text"]},
    )
    assert set(types(line.seen)) <= set(SERVER_MODELS) - {
        "conversation.created",
        "conversation.item.created",
    }
    keys = {name for event in line.seen for name in keys_in(event)}
    assert not keys & {"modalities", "temperature", "input_audio_format", "resumption"}


def test_rule_66_what_the_client_does_not_see_is_as_ever() -> None:
    """xAI dialect switches: they are words alone. The conversations are the same."""
    held = [
        [(item.item.type, item.text) for item in talk().machine.conversation]
        for talk in (xai_conversation, plain_conversation, beta_conversation)
    ]
    assert held[0] == held[1] == held[2]


def test_rules_65_66_session_that_says_nothing_is_shown_with_what_it_has() -> None:
    """A session without output has no voice in any dialect."""
    heard = {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": None}
    shown = {"object": "realtime.transcription_session", "audio": {"input": heard}}
    assert beta_words.session(shown, 0.8) == {
        "object": "realtime.transcription_session",
        "input_audio_format": "pcm16",
        "turn_detection": None,
        "temperature": 0.8,
    }
    kept = {"tools": None, "transcription": None, "input_rate": 8000}
    rest = {"output_rate": 8000, "reasoning": None, "resumption": None}
    flat = xai_words.session(shown, kept | rest, flat=True)
    assert flat["audio"]["output"] == {}
    assert flat["audio"]["input"]["format"]["rate"] == 8000
    assert "voice" not in flat


@pytest.mark.parametrize("dialect", ["openai", "azure", "beta", "xai"])
def test_pace_of_a_dialect_is_that_of_the_machine(dialect: Any) -> None:
    """Rules 65 and 66: a dialect costs no time, and expires as the others do."""
    line = Line(dialect, max_duration=100.0, xai=quirk(), pace=Pace(think_ms=500))
    line.say("response.create")
    assert line.run(0.4) == []
    assert line.run(0.1) != []
    line.run(100)
    assert line.of("error")[0]["error"]["code"] == "session_expired"
    assert line.hangup is not None
    assert (line.hangup.code, line.now) == (1001, 100.5)


@pytest.mark.parametrize(
    ("begun", "later"),
    [
        ({"type": "audio/pcmu"}, {"type": "audio/pcm", "rate": 8000}),
        ({"type": "audio/pcm", "rate": 8000}, {"type": "audio/pcmu"}),
        ({"type": "audio/pcm", "rate": 8000}, {"type": "audio/pcm", "rate": 48000}),
    ],
)
def test_rule_66_response_keeps_the_format_that_it_was_begun_in(
    begun: Event, later: Event
) -> None:
    """xAI: PCM rates, changed while a response is spoken."""
    line = Line("xai", lambda turn: Say("Good day.", ms=1000), pace=REAL_TIME)
    line.update(audio={"output": {"format": begun}})
    line.say("response.create")
    line.run(0.5)
    line.update(audio={"output": {"format": later}})
    line.run()
    heard = b"".join(
        b64decode(one["delta"]) for one in line.of("response.output_audio.delta")
    )
    assert len(heard) == 8000 * (2 if "rate" in begun else 1)
    done = line.of("response.done")[0]["response"]
    assert done["audio"]["output"]["format"] == begun
    line.respond()
    done = line.of("response.done")[1]["response"]
    assert done["audio"]["output"]["format"] == later


def test_rule_66_errors_of_the_connection_have_no_code_either() -> None:
    """xAI: codes differ from OpenAI's."""
    refused = Line("xai", keys=frozenset())
    assert refused.hangup is not None
    assert error(refused.seen)["code"] is None
    line = Line("xai", max_duration=100)
    line.read(line.machine.receive_binary(line.now))
    line.run(200)
    assert [one["error"]["code"] for one in line.of("error")] == [None, None]
    assert line.hangup is not None
