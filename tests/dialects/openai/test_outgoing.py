"""What goes over the wire for each command, and how its answer is known."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Item,
    Message,
    OpaqueItem,
    TextContent,
)
from trialogue.dialects.commands import (
    AppendAudio,
    CancelResponse,
    ClearAudio,
    Command,
    CommitAudio,
    CreateItem,
    CreateResponse,
    CreateUserAudio,
    DeleteItem,
    TruncateItem,
    UpdateSession,
)
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.options import (
    NamedTool,
    NoiseReduction,
    Prompt,
    RetentionRatio,
    SemanticVAD,
    ServerVAD,
    SessionOptions,
    Transcription,
)
from trialogue.errors import ConfigurationError, ConversionError
from trialogue.tools.spec import ToolSpec

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
LONG = "call_from_another_vendor_" + "x" * 200


def frame(command: Command, dialect: OpenAIDialect | None = None) -> dict[str, Any]:
    encoded = (dialect or OpenAIDialect()).encode(command, event_id="e1")
    data: dict[str, Any] = json.loads(encoded.text)
    return data


def session(options: SessionOptions) -> dict[str, Any]:
    data: dict[str, Any] = frame(UpdateSession(options=options))["session"]
    return data


def item(value: Item) -> dict[str, Any]:
    data: dict[str, Any] = frame(CreateItem(value))["item"]
    return data


class TestAnswers:
    @pytest.mark.parametrize(
        ("command", "answer"),
        [
            (UpdateSession(instructions="Hi"), ("configured", None)),
            (
                CreateItem(Message("i", "user", (TextContent("a"),))),
                ("item", "i"),
            ),
            (CreateUserAudio("i", b"\0\0"), ("item", "i")),
            (DeleteItem("i"), ("deleted", "i")),
            (TruncateItem("i", 20), ("truncated", "i")),
            (CommitAudio(), ("committed", None)),
            (ClearAudio(), ("cleared", None)),
            (CreateResponse(key="k"), ("response", "k")),
            (CancelResponse("r"), None),
        ],
    )
    def test_each_command_says_how_its_answer_is_known(
        self, command: Command, answer: object
    ) -> None:
        encoded = OpenAIDialect().encode(command, event_id="e1")
        assert encoded.answer == answer
        assert json.loads(encoded.text)["event_id"] == "e1"

    def test_audio_goes_without_an_id_and_is_not_answered(self) -> None:
        encoded = OpenAIDialect().encode(AppendAudio(b"\1\2"), event_id="e1")
        assert encoded.answer is None
        assert encoded.text == '{"type":"input_audio_buffer.append","audio":"AQI="}'

    def test_the_answer_of_a_long_id_is_the_callers_own(self) -> None:
        command = CreateItem(FunctionCallOutput(LONG, "c", "done"))
        encoded = OpenAIDialect().encode(command, event_id="e1")
        assert encoded.answer == ("item", LONG)
        assert LONG not in encoded.text


class TestSession:
    def test_only_what_is_given_goes_over_the_wire(self) -> None:
        assert frame(UpdateSession()) == {
            "type": "session.update",
            "event_id": "e1",
            "session": {"type": "realtime"},
        }

    def test_instructions_tools_and_options_change_in_one_update(self) -> None:
        data = frame(
            UpdateSession(
                instructions="",
                tools=(
                    ToolSpec("weather", "Tells it.", SCHEMA),
                    ToolSpec("bye", "", {}),
                ),
                options=SessionOptions(voice="marin", tool_choice=NamedTool("bye")),
            )
        )
        assert data["session"] == {
            "type": "realtime",
            "instructions": "",
            "tools": [
                {
                    "type": "function",
                    "name": "weather",
                    "description": "Tells it.",
                    "parameters": SCHEMA,
                },
                {"type": "function", "name": "bye", "parameters": {}},
            ],
            "tool_choice": {"type": "function", "name": "bye"},
            "audio": {"output": {"voice": "marin"}},
        }

    def test_no_tools_clears_them(self) -> None:
        assert frame(UpdateSession(tools=()))["session"]["tools"] == []

    def test_every_option_has_its_place(self) -> None:
        options = SessionOptions(
            voice="cedar",
            speed=1.25,
            output_modalities=("text",),
            input_format="pcmu",
            output_format="pcm16",
            turn_detection=ServerVAD(silence_duration_ms=300, idle_timeout_ms=6000),
            transcription=Transcription(language="de"),
            noise_reduction=NoiseReduction("far_field"),
            tool_choice="required",
            parallel_tool_calls=False,
            max_output_tokens="inf",
            truncation=RetentionRatio(0.8),
            reasoning_effort="low",
            tracing="auto",
            prompt=Prompt("pmpt_1"),
            include=("item.input_audio_transcription.logprobs",),
        )
        assert session(options) == {
            "type": "realtime",
            "output_modalities": ["text"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "transcription": {
                        "model": "gpt-4o-mini-transcribe",
                        "language": "de",
                    },
                    "noise_reduction": {"type": "far_field"},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": 300,
                        "idle_timeout_ms": 6000,
                        "create_response": True,
                        "interrupt_response": True,
                    },
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "voice": "cedar",
                    "speed": 1.25,
                },
            },
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "reasoning": {"effort": "low"},
            "max_output_tokens": "inf",
            "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
            "tracing": "auto",
            "prompt": {"id": "pmpt_1"},
            "include": ["item.input_audio_transcription.logprobs"],
        }

    def test_none_clears_where_it_is_legal(self) -> None:
        options = SessionOptions(
            turn_detection=None,
            transcription=None,
            noise_reduction=None,
            tracing=None,
            prompt=None,
            include=None,
        )
        assert session(options) == {
            "type": "realtime",
            "audio": {
                "input": {
                    "turn_detection": None,
                    "transcription": None,
                    "noise_reduction": None,
                }
            },
            "tracing": None,
            "prompt": None,
            "include": [],
        }

    def test_semantic_detection_has_its_own_fields(self) -> None:
        data = session(SessionOptions(turn_detection=SemanticVAD(eagerness="high")))
        assert data["audio"]["input"]["turn_detection"] == {
            "type": "semantic_vad",
            "eagerness": "high",
            "create_response": True,
            "interrupt_response": True,
        }


class TestItems:
    def test_roles_have_their_kinds_of_text(self) -> None:
        kinds = {
            role: item(Message("i", role, (TextContent("words"),)))["content"]
            for role in ("system", "user", "assistant")
        }
        text = {"text": "words"}
        assert kinds == {
            "system": [{"type": "input_text", **text}],
            "user": [{"type": "input_text", **text}],
            "assistant": [{"type": "output_text", **text}],
        }

    def test_speech_is_replayed_as_its_words(self) -> None:
        spoken = Message(
            "i", "assistant", (AudioTranscribed("Good day."), AudioTranscribed("Bye."))
        )
        assert item(spoken) == {
            "type": "message",
            "id": "i",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Good day."},
                {"type": "output_text", "text": "Bye."},
            ],
        }

    @pytest.mark.parametrize(
        "content",
        [
            AudioPending("half a sen"),
            AudioUnintelligible("failed"),
            AudioTranscribed(" "),
        ],
    )
    def test_a_turn_without_words_says_so(
        self, content: AudioPending | AudioUnintelligible | AudioTranscribed
    ) -> None:
        parts = item(Message("i", "user", (content,)))["content"]
        assert parts == [{"type": "input_text", "text": "[unintelligible]"}]

    def test_images_are_data_uris_of_the_user(self) -> None:
        picture = ImageContent("data:image/png;base64,AA==", "low")
        parts = item(Message("i", "user", (picture,)))["content"]
        assert parts == [
            {"type": "input_image", "image_url": picture.url, "detail": "low"}
        ]

    def test_items_are_placed(self) -> None:
        message = Message("i", "user", (TextContent("a"),))
        assert "previous_item_id" not in frame(CreateItem(message))
        first = frame(CreateItem(message, after="root"))
        assert first["previous_item_id"] == "root"

    def test_user_audio_is_replayed_as_sound(self) -> None:
        data = frame(CreateUserAudio("i", b"\1\2\3\4", after="p"))
        assert data["previous_item_id"] == "p"
        assert data["item"] == {
            "type": "message",
            "id": "i",
            "role": "user",
            "content": [{"type": "input_audio", "audio": "AQIDBA=="}],
        }

    def test_an_approval_can_be_given(self) -> None:
        approval = OpaqueItem(
            "i", "mcp_approval_response", {"approval_request_id": "a", "approve": True}
        )
        assert item(approval) == {
            "type": "mcp_approval_response",
            "id": "i",
            "approval_request_id": "a",
            "approve": True,
        }

    @pytest.mark.behaviour("S10")
    def test_a_call_and_its_output_keep_one_id_however_long_it_was(self) -> None:
        dialect = OpenAIDialect()
        call = frame(CreateItem(FunctionCall("i1", LONG, "f", "{}")), dialect)["item"]
        # The output is often sent on another connection, after a replay.
        output = frame(CreateItem(FunctionCallOutput("i2", LONG, "7")))["item"]
        assert call["call_id"] == output["call_id"]
        assert len(call["call_id"]) <= 32
        assert (
            call["call_id"]
            != frame(CreateItem(FunctionCall("i1", LONG + "y", "f", "{}")))["item"][
                "call_id"
            ]
        )

    @pytest.mark.behaviour("S10")
    def test_short_ids_are_unchanged(self) -> None:
        exact = "c" * 32
        call = item(FunctionCall("i" * 32, exact, "f", '{"a": 1}'))
        assert call == {
            "type": "function_call",
            "id": "i" * 32,
            "call_id": exact,
            "name": "f",
            "arguments": '{"a": 1}',
        }

    @pytest.mark.behaviour("S10")
    def test_a_long_item_id_is_the_same_wherever_it_is_named(self) -> None:
        dialect = OpenAIDialect()
        message = Message(LONG, "user", (TextContent("a"),))
        wire_id = frame(CreateItem(message), dialect)["item"]["id"]
        follower = Message("i", "user", (TextContent("b"),))
        after = frame(CreateItem(follower, after=LONG), dialect)
        assert after["previous_item_id"] == wire_id
        assert frame(DeleteItem(LONG), dialect)["item_id"] == wire_id
        assert frame(TruncateItem(LONG, 5), dialect)["item_id"] == wire_id


class TestRefusals:
    @pytest.mark.behaviour("S1", "S18")
    @pytest.mark.parametrize(
        "message",
        [
            Message("i", "user", ()),
            Message("i", "assistant", (TextContent(""),)),
        ],
    )
    def test_an_empty_message_is_not_sent(self, message: Message) -> None:
        with pytest.raises(ConversionError, match="no content"):
            frame(CreateItem(message))

    @pytest.mark.behaviour("S18")
    @pytest.mark.parametrize(
        "value",
        [
            OpaqueItem("i", "mcp_list_tools", {"server_label": "x"}),
            OpaqueItem("i", "mcp_approval_response", {}),
            OpaqueItem("i", "item_reference"),
            Message("i", "assistant", (ImageContent("data:image/png;base64,AA=="),)),
            Message("i", "user", (ImageContent("https://example.org/a.png"),)),
            Message("i", "user", (TextContent("lone \ud800 surrogate"),)),
        ],
    )
    def test_what_cannot_be_converted_fails_before_anything_is_sent(
        self, value: Item
    ) -> None:
        with pytest.raises(ConversionError):
            frame(CreateItem(value))

    @pytest.mark.behaviour("S1")
    def test_an_empty_turn_of_audio_is_not_sent(self) -> None:
        with pytest.raises(ConversionError, match="no audio"):
            frame(CreateUserAudio("i", b""))

    def test_a_frame_of_audio_is_bounded(self) -> None:
        with pytest.raises(ConversionError, match="in pieces"):
            frame(AppendAudio(bytes(16 * 1024 * 1024)))

    @pytest.mark.parametrize(
        "metadata",
        [
            {"trialogue": "mine"},
            {f"k{n}": "v" for n in range(16)},
            {"k" * 65: "v"},
            {"k": "v" * 513},
        ],
        ids=["our key", "too many", "long key", "long value"],
    )
    def test_metadata_beyond_its_limits_is_refused(
        self, metadata: dict[str, str]
    ) -> None:
        with pytest.raises(ConversionError, match="metadata"):
            frame(CreateResponse(key="k", metadata=metadata))

    def test_unknown_formats_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="'opus'"):
            OpenAIDialect(input_format="opus")  # type: ignore[arg-type]


class TestResponses:
    def test_a_plain_reply_carries_its_key_alone(self) -> None:
        assert frame(CreateResponse(key="k1")) == {
            "type": "response.create",
            "event_id": "e1",
            "response": {"metadata": {"trialogue": "k1"}},
        }

    def test_everything_can_be_overridden(self) -> None:
        data = frame(
            CreateResponse(
                key="k1",
                instructions="Be brief.",
                tools=(ToolSpec("f", "", SCHEMA),),
                tool_choice="none",
                output_modalities=("text",),
                max_output_tokens=100,
                out_of_band=True,
                input=(
                    OpaqueItem("i7", "item_reference"),
                    Message("i8", "user", (TextContent("One word."),)),
                ),
                metadata={"mine": "1"},
            )
        )
        assert data["response"] == {
            "conversation": "none",
            "input": [
                {"type": "item_reference", "id": "i7"},
                {
                    "type": "message",
                    "id": "i8",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "One word."}],
                },
            ],
            "instructions": "Be brief.",
            "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
            "tool_choice": "none",
            "output_modalities": ["text"],
            "max_output_tokens": 100,
            "metadata": {"mine": "1", "trialogue": "k1"},
        }

    def test_an_empty_input_is_said(self) -> None:
        assert frame(CreateResponse(key="k", input=()))["response"]["input"] == []

    def test_a_response_is_cancelled_by_id_or_without(self) -> None:
        named = frame(CancelResponse("resp_1"))
        assert named["response_id"] == "resp_1"
        assert "response_id" not in frame(CancelResponse())


class TestTelephoneAudio:
    @pytest.mark.behaviour("A1")
    def test_the_microphone_is_transcoded(self) -> None:
        dialect = OpenAIDialect(input_format="pcmu")
        data = frame(AppendAudio(bytes(48)), dialect)
        assert base64.b64decode(data["audio"]) == b"\xff" * 8
        user = frame(CreateUserAudio("i", bytes(48)), dialect)
        assert user["item"]["content"] == [
            {"type": "input_audio", "audio": "//////////8="}
        ]

    @pytest.mark.behaviour("A2")
    def test_a_piece_too_short_for_a_sample_waits_for_the_next(self) -> None:
        dialect = OpenAIDialect(input_format="pcma")
        assert dialect.encode(AppendAudio(bytes(4)), event_id="e").text == ""
        data = frame(AppendAudio(bytes(8)), dialect)
        assert base64.b64decode(data["audio"]) == b"\xd5" * 2

    def test_clearing_the_buffer_drops_what_waits(self) -> None:
        dialect = OpenAIDialect(input_format="pcma")
        dialect.encode(AppendAudio(b"\xff\x7f"), event_id="e")
        frame(ClearAudio(), dialect)
        data = frame(AppendAudio(bytes(6)), dialect)
        assert base64.b64decode(data["audio"]) == b"\xd5"

    def test_an_update_of_the_format_holds_for_what_follows_it(self) -> None:
        dialect = OpenAIDialect()
        frame(UpdateSession(options=SessionOptions(input_format="pcmu")), dialect)
        assert (
            base64.b64decode(frame(AppendAudio(bytes(6)), dialect)["audio"]) == b"\xff"
        )
