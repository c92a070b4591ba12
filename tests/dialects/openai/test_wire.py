"""Wire events: nothing is lost on the way to text and back, and failures are clear."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialects.openai.wire_values import values_of
from trialogue._codec import dumps
from trialogue.dialects.openai.wire import (
    CLIENT_EVENTS,
    SERVER_EVENTS,
    UNSET,
    ClientEvent,
    Raw,
    ServerEvent,
    UnknownClientEvent,
    UnknownServerEvent,
    WireError,
    check_client_event,
    decode_client_event,
    decode_server_event,
    encode_event,
    items,
    session,
    unstructure,
)
from trialogue.dialects.openai.wire import client_events as client
from trialogue.dialects.openai.wire import server_events as server
from trialogue.errors import ProtocolError

EXAMPLES = (Path(__file__).parent / "examples.jsonl").read_text("utf-8").splitlines()

FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def decode(text: str) -> ClientEvent | ServerEvent:
    if json.loads(text)["type"] in CLIENT_EVENTS:
        return decode_client_event(text)
    return decode_server_event(text)


class TestThereAndBack:
    @pytest.mark.parametrize("cls", SERVER_EVENTS.values(), ids=SERVER_EVENTS)
    @FEW
    @given(data=st.data())
    def test_every_server_event(self, cls: Any, data: st.DataObject) -> None:
        event = data.draw(values_of(cls))
        assert decode_server_event(encode_event(event)) == event

    @pytest.mark.parametrize("cls", CLIENT_EVENTS.values(), ids=CLIENT_EVENTS)
    @FEW
    @given(data=st.data())
    def test_every_client_event(self, cls: Any, data: st.DataObject) -> None:
        event = data.draw(values_of(cls, known_only=True))
        text = encode_event(event)
        assert decode_client_event(text) == event
        assert check_client_event(json.loads(text)) == []

    @pytest.mark.parametrize("text", EXAMPLES)
    def test_every_documented_example(self, text: str) -> None:
        event = decode(text)
        assert event.type == json.loads(text)["type"]
        assert not isinstance(event, UnknownServerEvent | UnknownClientEvent)
        assert json.loads(encode_event(event)) == json.loads(text)

    @given(
        audio=st.binary(), event_id=st.text(st.characters(codec="utf-8")) | st.none()
    )
    def test_the_quick_way_of_writing_audio_is_no_other_way(
        self, audio: bytes, event_id: str | None
    ) -> None:
        event = client.InputAudioBufferAppend(audio=audio, event_id=event_id or UNSET)
        assert encode_event(event) == dumps(unstructure(event))

    def test_absent_null_and_empty_stay_three_things(self) -> None:
        patch = session.SessionPatch(
            type="realtime", instructions="", tracing=None, tools=()
        )
        text = encode_event(client.SessionUpdate(session=patch))
        assert json.loads(text)["session"] == {
            "type": "realtime",
            "instructions": "",
            "tools": [],
            "tracing": None,
        }

    def test_every_optional_field_is_absent_by_default_or_always_written(self) -> None:
        """A default of None or "" would turn an absent key into a statement."""
        for cls in [*SERVER_EVENTS.values(), *CLIENT_EVENTS.values()]:
            for field in attrs.fields(cls):
                assert field.default in (attrs.NOTHING, UNSET, 0), (cls, field.name)


class TestTolerance:
    @pytest.mark.behaviour("C9")
    def test_an_unknown_event_keeps_all_it_came_with(self) -> None:
        data = {
            "type": "response.telepathy",
            "event_id": "e",
            "thoughts": [1, {"a": 2}],
        }
        event = decode_server_event(json.dumps(data))
        assert event == UnknownServerEvent(type="response.telepathy", data=data)
        assert json.loads(encode_event(event)) == data

    @pytest.mark.behaviour("C9")
    def test_unknown_fields_are_passed_over_at_every_depth(self) -> None:
        event = decode_server_event(
            '{"type":"conversation.item.added","event_id":"e","new":1,"item":{"new":{},'
            '"type":"message","id":"i","role":"user","content":[{"type":"input_text",'
            '"text":"hi","new":[]}]}}'
        )
        assert event == server.ConversationItemAdded(
            event_id="e",
            item=items.Message(id="i", role="user", content=(items.InputText("hi"),)),
        )

    @pytest.mark.behaviour("C9")
    def test_unknown_items_parts_and_tools_stay_raw(self) -> None:
        item = {"type": "hologram", "id": "h", "light": 3}
        event = decode_server_event(
            json.dumps({"type": "conversation.item.added", "item": item})
        )
        assert event == server.ConversationItemAdded(item=Raw(item))
        tool = {"type": "x_search", "allowed_x_handles": ["a"]}
        event = decode_server_event(
            json.dumps({"type": "session.updated", "session": {"tools": [tool]}})
        )
        assert event == server.SessionUpdated(
            session=session.Session(tools=(Raw(tool),))
        )

    def test_what_is_not_set_may_be_shown_as_null(self) -> None:
        """Other servers than OpenAI's do so, and the published types let them."""
        text = json.dumps(
            {
                "type": "session.created",
                "event_id": "event_1",
                "session": {
                    "type": "realtime",
                    "model": None,
                    "tools": None,
                    "audio": {"input": {"format": None}, "output": None},
                },
            }
        )
        event = decode_server_event(text)
        assert event == server.SessionCreated(
            event_id="event_1",
            session=session.Session(
                type="realtime", audio=session.AudioConfig(input=session.AudioInput())
            ),
        )

    def test_what_has_to_be_there_may_not_be_null(self) -> None:
        with pytest.raises(ProtocolError, match=r"wrong type @ \$\.item_id"):
            decode_server_event(
                '{"type": "conversation.item.deleted", "event_id": "", "item_id": null}'
            )

    def test_a_client_may_not_clear_with_null_what_cannot_be_cleared(self) -> None:
        update = {
            "type": "session.update",
            "session": {"type": "realtime", "instructions": None},
        }
        [error] = check_client_event(update)
        assert error.param == "session.instructions"

    @pytest.mark.parametrize(
        "voice", ["marin", {"id": "voice_1"}, None], ids=["name", "object", "null"]
    )
    def test_a_voice_may_have_any_shape(self, voice: object) -> None:
        data = {
            "type": "session.created",
            "session": {"audio": {"output": {"voice": voice}}},
        }
        assert json.loads(encode_event(decode_server_event(json.dumps(data)))) == data

    @pytest.mark.behaviour("R7")
    def test_a_response_needs_no_field_at_all(self) -> None:
        for kind in ("response.created", "response.done"):
            event = decode_server_event(json.dumps({"type": kind, "response": {}}))
            assert isinstance(event, server.ResponseCreated | server.ResponseDone)
            assert event.response.usage is UNSET

    def test_new_enum_values_pass(self) -> None:
        event = decode_server_event(
            '{"type":"response.done","response":{"status":"postponed"}}'
        )
        assert isinstance(event, server.ResponseDone)
        assert event.response.status == "postponed"  # type: ignore[comparison-overlap]

    @pytest.mark.parametrize(
        ("short", "cls"), [("text", items.Text), ("audio", items.Audio)]
    )
    def test_short_names_of_parts_are_known(self, short: str, cls: type) -> None:
        event = decode_server_event(
            json.dumps(
                {
                    "type": "response.content_part.added",
                    "response_id": "r",
                    "item_id": "i",
                    "part": {"type": short},
                }
            )
        )
        assert isinstance(event, server.ResponseContentPartAdded)
        assert isinstance(event.part, cls)

    def test_milliseconds_may_come_as_whole_floats(self) -> None:
        event = decode_server_event(
            '{"type":"input_audio_buffer.speech_started","audio_start_ms":840.0}'
        )
        assert event == server.InputAudioBufferSpeechStarted(audio_start_ms=840)


class TestWhatServersGetWrong:
    @pytest.mark.behaviour("C10", "X1")
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("not json sk-secret", "The frame is not valid JSON."),
            ('["sk-secret"]', "The frame is not a JSON object."),
            ('{"say":"sk-secret"}', "a server event has no type"),
            (
                '{"type":"conversation.item.deleted","sk":"sk-secret"}',
                "conversation.item.deleted: required field missing @ $.item_id",
            ),
            (
                '{"type":"conversation.item.added","item":{"type":"message","role":'
                '"user","content":"sk-secret"}}',
                "conversation.item.added: value of the wrong type @ $.item.content",
            ),
            (
                '{"type":"conversation.item.added","item":{"type":"message","role":'
                '"user","content":[{"type":"input_text","text":["sk-secret"]}]}}',
                "conversation.item.added: value of the wrong type"
                " @ $.item.content[0].text",
            ),
            (
                '{"type":"response.output_audio.delta","response_id":"r","item_id":"i",'
                '"delta":"sk-secret"}',
                "response.output_audio.delta: value not allowed @ $.delta",
            ),
            (
                '{"type":"conversation.item.deleted","item_id":null}',
                "conversation.item.deleted: value of the wrong type @ $.item_id",
            ),
        ],
    )
    def test_the_error_names_the_place_and_never_the_text(
        self, text: str, message: str
    ) -> None:
        with pytest.raises(ProtocolError) as caught:
            decode_server_event(text)
        assert str(caught.value) == message
        assert "secret" not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__

    @pytest.mark.parametrize("value", ["7", 2.5, True, None, [], {}])
    def test_numbers_are_not_made_of_other_things(self, value: object) -> None:
        frame = {"type": "input_audio_buffer.speech_started", "audio_start_ms": value}
        with pytest.raises(ProtocolError, match=r"wrong type @ \$\.audio_start_ms"):
            decode_server_event(json.dumps(frame))

    @given(text=st.text() | st.from_type(type(None)).map(str))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        with pytest.raises(ProtocolError):
            decode_server_event(text + "}")


class TestWhatClientsGetWrong:
    @pytest.mark.parametrize(
        ("frame", "code", "param"),
        [
            (
                {
                    "type": "session.update",
                    "session": {"type": "realtime", "voice": "x"},
                },
                "unknown_parameter",
                "session.voice",
            ),
            (
                {
                    "type": "session.update",
                    "session": {"type": "realtime", "audio": {"input": {"foo": 1}}},
                },
                "unknown_parameter",
                "session.audio.input.foo",
            ),
            (
                {
                    "type": "session.update",
                    "session": {
                        "type": "realtime",
                        "tools": [{"type": "function", "name": "f", "strict": True}],
                    },
                },
                "unknown_parameter",
                "session.tools[0].strict",
            ),
            (
                {"type": "session.update", "session": {}},
                "missing_required_parameter",
                "session.type",
            ),
            (
                {"type": "session.update"},
                "missing_required_parameter",
                "session",
            ),
            (
                {"type": "conversation.item.create", "item": {"role": "user"}},
                "missing_required_parameter",
                "item.type",
            ),
            (
                {"type": "conversation.item.delete"},
                "missing_required_parameter",
                "item_id",
            ),
            (
                {"type": "input_audio_buffer.append"},
                "missing_required_parameter",
                "audio",
            ),
            (
                {"type": "input_audio_buffer.append", "audio": "no*base64"},
                "invalid_value",
                "audio",
            ),
            (
                {
                    "type": "session.update",
                    "session": {"type": "realtime", "instructions": 3},
                },
                "invalid_type",
                "session.instructions",
            ),
            (
                {
                    "type": "session.update",
                    "session": {
                        "type": "realtime",
                        "audio": {"input": {"turn_detection": {"type": "psychic"}}},
                    },
                },
                "invalid_value",
                "session.audio.input.turn_detection.type",
            ),
            (
                {"type": "response.create", "response": {"conversation": "both"}},
                "invalid_value",
                "response.conversation",
            ),
            (
                {"type": "response.create", "response": {"metadata": {"n": 1}}},
                "invalid_type",
                "response.metadata",
            ),
            ({"type": "make.tea"}, "invalid_value", "type"),
            ({"type": 7}, "invalid_type", "type"),
            ({}, "invalid_event", "type"),
        ],
    )
    def test_each_fault_has_its_code_and_path(
        self, frame: dict[str, Any], code: str, param: str
    ) -> None:
        (error,) = check_client_event({**frame, "event_id": "c9"})
        assert (error.code, error.param, error.event_id) == (code, param, "c9")

    def test_decoding_raises_the_first_fault_unknown_keys_before_others(self) -> None:
        frame = {"type": "session.update", "session": {"instructions": 1, "speed": 2}}
        with pytest.raises(WireError) as caught:
            decode_client_event(json.dumps(frame))
        assert caught.value.message == "Unknown parameter: 'session.speed'."
        assert [error.code for error in check_client_event(frame)] == [
            "unknown_parameter",
            "missing_required_parameter",
            "invalid_type",
        ]

    def test_messages_are_those_of_the_real_server(self) -> None:
        (missing,) = check_client_event({"type": "session.update", "session": {}})
        assert missing.message == "Missing required parameter: 'session.type'."
        frame = {"type": "conversation.item.delete", "item_id": 5}
        (wrong,) = check_client_event(frame)
        assert wrong.message == (
            "Invalid type for 'item_id': expected a string, but got an integer instead."
        )

    @pytest.mark.parametrize(
        ("text", "code"), [("{", "invalid_json"), ("[]", "invalid_event")]
    )
    def test_a_frame_that_is_no_object(self, text: str, code: str) -> None:
        with pytest.raises(WireError) as caught:
            decode_client_event(text)
        assert caught.value.code == code

    def test_an_unknown_event_decodes_raw_so_that_a_server_can_refuse_it(self) -> None:
        event = decode_client_event('{"type":"make.tea","sugar":2}')
        assert event == UnknownClientEvent("make.tea", {"type": "make.tea", "sugar": 2})

    def test_numbers_may_be_whole_where_fractions_are_allowed(self) -> None:
        frame = {
            "type": "session.update",
            "session": {"type": "realtime", "audio": {"output": {"speed": 1}}},
        }
        assert check_client_event(frame) == []


@pytest.mark.behaviour("X1")
def test_no_repr_shows_credentials() -> None:
    """Credentials of remote tools travel in the session, and sessions are logged."""
    frame = {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "tools": [
                {
                    "type": "mcp",
                    "server_label": "crm",
                    "server_url": "https://u:secret@crm.test",
                    "authorization": "secret",
                    "headers": {"x-key": "secret"},
                }
            ],
        },
    }
    event = decode_client_event(json.dumps(frame))
    assert "crm" in repr(event)
    assert "secret" not in repr(event)
    assert "secret" not in repr(Raw({"type": "mcp2", "authorization": "secret"}))
