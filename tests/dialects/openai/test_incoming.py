"""What a provider's frames mean in neutral terms."""

from __future__ import annotations

import base64
import contextlib
import json
from array import array
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.openai.wire_values import JSON
from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Message,
    OpaqueItem,
    TextContent,
)
from trialogue.dialects import events as ev
from trialogue.dialects.commands import CreateItem, DeleteItem
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.openai._ids import shortened
from trialogue.dialects.openai.wire import SERVER_EVENTS
from trialogue.dialects.options import UNCHANGED
from trialogue.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.dialects.options import AudioFormat

LONG = "item_from_another_vendor_" + "x" * 40


def decode(
    kind: str, dialect: OpenAIDialect | None = None, **fields: Any
) -> Sequence[ev.Event]:
    text = json.dumps({"type": kind, "event_id": "event_1", **fields})
    return (dialect or OpenAIDialect()).decode(text)


def one(kind: str, dialect: OpenAIDialect | None = None, **fields: Any) -> ev.Event:
    (event,) = decode(kind, dialect, **fields)
    return event


def message(**fields: Any) -> dict[str, Any]:
    base = {"id": "i1", "type": "message", "role": "user", "content": []}
    return base | fields


def call(**fields: Any) -> dict[str, Any]:
    base = {
        "id": "f1",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "get_time",
        "arguments": '{"city":"Lima"}',
    }
    return base | fields


READY = FunctionCall("f1", "call_1", "get_time", '{"city":"Lima"}')


class TestSession:
    def test_the_first_event_starts_the_session(self) -> None:
        session = {"id": "sess_1", "expires_at": 1790003600, "model": "gpt-realtime"}
        assert one("session.created", session=session) == ev.SessionStarted(
            "sess_1", 1790003600, "gpt-realtime"
        )
        assert one("session.created", session={}) == ev.SessionStarted("")

    def test_an_update_is_echoed(self) -> None:
        tools = [
            {"type": "function", "name": "a", "parameters": {}},
            {"type": "mcp", "server_label": "remote"},
            {"type": "function", "name": "b"},
        ]
        event = one("session.updated", session={"instructions": "", "tools": tools})
        assert event == ev.Configured(instructions="", tool_names=("a", "b"))
        assert event.answers == ("configured", None)

    def test_what_is_not_echoed_is_not_compared(self) -> None:
        event = one("session.updated", session={"type": "realtime"})
        assert event == ev.Configured(UNCHANGED, UNCHANGED)

    def test_limits_pass(self) -> None:
        limits = [{"name": "tokens", "limit": 1, "remaining": 0, "reset_seconds": 0.5}]
        event = one("rate_limits.updated", rate_limits=limits)
        assert event == ev.RateLimits((ev.RateLimit("tokens", 1, 0, 0.5),))


class TestItems:
    def test_items_are_added_and_done(self) -> None:
        parts = [{"type": "input_text", "text": "Hello"}]
        item = Message("i1", "user", (TextContent("Hello"),))
        fields: dict[str, Any] = {
            "item": message(content=parts),
            "previous_item_id": "i0",
        }
        assert one("conversation.item.added", **fields) == ev.ItemAdded(item, "i0")
        assert one("conversation.item.done", **fields) == ev.ItemDone(item, "i0")

    @pytest.mark.parametrize(
        ("fields", "known"),
        [
            ({"previous_item_id": None}, True),
            ({}, False),
            ({"previous_item_id": ""}, False),
        ],
        ids=["null", "absent", "empty"],
    )
    def test_first_and_unknown_are_told_apart(
        self, fields: dict[str, Any], known: bool
    ) -> None:
        event = one("conversation.item.added", item=message(), **fields)
        assert isinstance(event, ev.ItemAdded)
        assert (event.previous_item_id, event.previous_known) == (None, known)

    @pytest.mark.parametrize(
        ("item", "content"),
        [
            (message(content=[{"type": "input_audio"}]), AudioPending()),
            (
                message(content=[{"type": "input_audio", "transcript": None}]),
                AudioPending(),
            ),
            (
                message(content=[{"type": "input_audio", "transcript": "Hi"}]),
                AudioTranscribed("Hi"),
            ),
            (
                message(
                    role="assistant",
                    status="in_progress",
                    content=[{"type": "output_audio", "transcript": "It is"}],
                ),
                AudioPending("It is"),
            ),
            (
                message(
                    role="assistant",
                    status="incomplete",
                    content=[{"type": "output_audio", "transcript": "It is"}],
                ),
                AudioTranscribed("It is"),
            ),
            (
                message(
                    role="assistant", content=[{"type": "audio", "transcript": "Yes"}]
                ),
                AudioTranscribed("Yes"),
            ),
            (
                message(role="assistant", content=[{"type": "text", "text": "Yes"}]),
                TextContent("Yes"),
            ),
            (
                message(content=[{"type": "input_image", "image_url": "data:x"}]),
                ImageContent("data:x"),
            ),
            (message(content=[{"type": "rune", "text": "ᚠ"}]), TextContent("ᚠ")),
        ],
    )
    def test_the_state_of_content_is_its_type(self, item: Any, content: object) -> None:
        event = one("conversation.item.done", item=item)
        assert isinstance(event, ev.ItemDone)
        assert isinstance(event.item, Message)
        assert event.item.content == (content,)

    def test_audio_that_lost_its_transcript_is_unintelligible(self) -> None:
        item = message(role="assistant", content=[{"type": "output_audio"}])
        event = one("conversation.item.done", item=item)
        assert isinstance(event, ev.ItemDone)
        assert isinstance(event.item, Message)
        assert isinstance(event.item.content[0], AudioUnintelligible)

    def test_calls_and_outputs(self) -> None:
        event = one("conversation.item.done", item=call())
        assert event == ev.ItemDone(READY, previous_known=False)
        output = {
            "id": "o1",
            "type": "function_call_output",
            "call_id": "call_1",
            "output": "",
        }
        event = one("conversation.item.done", item=output)
        assert event == ev.ItemDone(
            FunctionCallOutput("o1", "call_1", ""), previous_known=False
        )

    @pytest.mark.behaviour("C9")
    @pytest.mark.parametrize(
        "item",
        [
            {"id": "x", "type": "hologram", "light": 3},
            {"id": "x", "type": "mcp_list_tools", "server_label": "s", "tools": []},
            {"id": "x", "type": "message", "role": "narrator", "content": []},
        ],
    )
    def test_items_of_other_kinds_are_kept_whole(self, item: dict[str, Any]) -> None:
        event = one("conversation.item.added", item=item)
        assert isinstance(event, ev.ItemAdded)
        assert event.item == OpaqueItem("x", item["type"], item)

    @pytest.mark.parametrize(
        "kind",
        [
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.retrieved",
            "response.output_item.added",
            "response.output_item.done",
        ],
    )
    def test_an_item_without_an_id_passes_raw(self, kind: str) -> None:
        event = one(kind, response_id="r", item={"type": "hologram"})
        assert isinstance(event, ev.UnknownEvent)
        assert event.data["item"] == {"type": "hologram"}

    def test_the_rest_of_the_life_of_an_item(self) -> None:
        retrieved = one("conversation.item.retrieved", item=message(new=1))
        assert retrieved == ev.ItemRetrieved(Message("i1", "user", ()), message(new=1))
        assert one("conversation.item.deleted", item_id="i1") == ev.ItemDeleted("i1")
        assert one(
            "conversation.item.truncated", item_id="i1", content_index=0, audio_end_ms=7
        ) == ev.ItemTruncated("i1", 7)

    @pytest.mark.behaviour("S10")
    def test_a_shortened_id_is_the_callers_own_again(self) -> None:
        dialect = OpenAIDialect()
        output = FunctionCallOutput(LONG, LONG + "call", "ok")
        sent = json.loads(dialect.encode(CreateItem(output), event_id="e").text)["item"]
        added = one(
            "conversation.item.added", dialect, item=sent, previous_item_id=sent["id"]
        )
        assert added == ev.ItemAdded(output, LONG)
        assert added.answers == ("item", LONG)
        deleted = one("conversation.item.deleted", dialect, item_id=sent["id"])
        assert deleted == ev.ItemDeleted(LONG)
        error = {
            "code": "item_create_duplicate_item_id",
            "message": f"Error adding item: an item with id '{sent['id']}' exists.",
        }
        reported = one("error", dialect, error=error)
        assert isinstance(reported, ev.ErrorReported)
        assert reported.refs == (LONG,)


class TestUserTurns:
    def test_voice_and_buffer(self) -> None:
        buffer = "input_audio_buffer"
        assert one(
            f"{buffer}.speech_started", item_id="u", audio_start_ms=5
        ) == ev.SpeechStarted("u", 5)
        assert one(
            f"{buffer}.speech_stopped", item_id="u", audio_end_ms=9
        ) == ev.SpeechStopped("u", 9)
        assert one(
            f"{buffer}.committed", item_id="u", previous_item_id="p"
        ) == ev.AudioCommitted("u", "p")
        assert one(f"{buffer}.committed", item_id="u") == ev.AudioCommitted("u")
        assert one(f"{buffer}.cleared") == ev.AudioCleared()

    def test_transcripts(self) -> None:
        head = "conversation.item.input_audio_transcription."
        assert one(f"{head}delta", item_id="u", delta="Sto") == ev.TranscriptDelta(
            "u", "Sto"
        )
        assert decode(f"{head}delta", item_id="u", delta=None) == ()
        usage = {"type": "duration", "seconds": 2}
        assert one(
            f"{head}completed", item_id="u", transcript="Stop.", usage=usage
        ) == ev.TranscriptDone("u", "Stop.", usage=usage)
        assert one(
            f"{head}failed", item_id="u", content_index=1, error={"message": "noise"}
        ) == ev.TranscriptFailed("u", "noise", content_index=1)
        assert one(f"{head}failed", item_id="u") == ev.TranscriptFailed("u")


class TestResponses:
    def test_our_key_is_known_again_and_is_not_the_programs(self) -> None:
        metadata = {"trialogue": "k1", "mine": "1"}
        event = one(
            "response.created",
            response={"id": "r", "metadata": metadata, "conversation_id": "conv"},
        )
        assert event == ev.ResponseCreated("r", key="k1", metadata={"mine": "1"})
        assert event.answers == ("response", "k1")

    def test_a_response_of_turn_detection_has_no_key(self) -> None:
        event = one("response.created", response={"id": "r", "metadata": None})
        assert event == ev.ResponseCreated("r")
        assert event.answers is None

    def test_only_null_says_out_of_band(self) -> None:
        event = one("response.created", response={"id": "r", "conversation_id": None})
        assert isinstance(event, ev.ResponseCreated)
        assert event.out_of_band

    @pytest.mark.behaviour("R7")
    def test_an_end_without_anything_is_an_end(self) -> None:
        """Without details, without usage, and without a beginning."""
        assert one("response.done", response={"id": "r"}) == ev.ResponseDone(
            "r", "completed"
        )

    @pytest.mark.behaviour("R7")
    def test_an_end_without_an_id_ends_the_one_that_runs(self) -> None:
        dialect = OpenAIDialect()
        assert isinstance(one("response.done", dialect, response={}), ev.UnknownEvent)
        ours = {"id": "r", "metadata": {"trialogue": "k"}}
        one("response.created", dialect, response=ours)
        assert one("response.done", dialect, response={}) == ev.ResponseDone(
            "r", "completed", key="k"
        )
        assert isinstance(one("response.created", response={}), ev.UnknownEvent)

    @pytest.mark.parametrize(
        ("status", "details", "expected"),
        [
            (
                "cancelled",
                {"type": "cancelled", "reason": "turn_detected"},
                ev.ResponseDone("r", "cancelled", reason="turn_detected"),
            ),
            (
                "incomplete",
                {"type": "incomplete", "reason": "max_output_tokens"},
                ev.ResponseDone("r", "incomplete", reason="max_output_tokens"),
            ),
            ("completed", None, ev.ResponseDone("r", "completed")),
            (
                "postponed",
                {"type": "failed"},
                ev.ResponseDone("r", "failed", error_class=ev.ErrorClass.TRANSIENT),
            ),
            (
                "failed",
                {
                    "type": "failed",
                    "error": {
                        "type": "invalid_request_error",
                        "code": "insufficient_quota",
                        "message": "You exceeded your quota.",
                    },
                },
                ev.ResponseDone(
                    "r",
                    "failed",
                    error_code="insufficient_quota",
                    error_message="You exceeded your quota.",
                    error_class=ev.ErrorClass.TERMINAL,
                ),
            ),
        ],
    )
    def test_how_it_ended(
        self, status: str, details: object, expected: ev.ResponseDone
    ) -> None:
        response = {"id": "r", "status": status, "status_details": details}
        assert one("response.done", response=response) == expected

    def test_usage_is_told_by_modality(self) -> None:
        usage = {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 13,
                "image_tokens": 2,
                "cached_tokens": 64,
                "cached_tokens_details": {
                    "text_tokens": 60,
                    "audio_tokens": 3,
                    "image_tokens": 1,
                },
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        }
        event = one(
            "response.done", response={"id": "r", "status": "cancelled", "usage": usage}
        )
        assert isinstance(event, ev.ResponseDone)
        assert event.usage == ev.Usage(
            input_tokens=132,
            output_tokens=121,
            input_text_tokens=119,
            input_audio_tokens=13,
            input_image_tokens=2,
            cached_tokens=64,
            cached_text_tokens=60,
            cached_audio_tokens=3,
            cached_image_tokens=1,
            output_text_tokens=30,
            output_audio_tokens=91,
        )
        bare = one("response.done", response={"id": "r", "usage": {"input_tokens": 3}})
        assert isinstance(bare, ev.ResponseDone)
        assert bare.usage == ev.Usage(input_tokens=3)

    def test_words_and_sound(self) -> None:
        r: dict[str, Any] = {"response_id": "r", "item_id": "i", "content_index": 1}
        assert one("response.output_text.delta", delta="a", **r) == ev.OutputText(
            "r", "i", "a", 1
        )
        assert one("response.output_text.done", text="ab", **r) == ev.OutputTextEnded(
            "r", "i", "ab", 1
        )
        spoken = "response.output_audio_transcript"
        assert one(f"{spoken}.delta", delta="a", **r) == ev.OutputText(
            "r", "i", "a", 1, spoken=True
        )
        assert one(f"{spoken}.done", transcript="ab", **r) == ev.OutputTextEnded(
            "r", "i", "ab", 1, spoken=True
        )
        assert one("response.output_audio.delta", delta="AQI=", **r) == ev.OutputAudio(
            "r", "i", b"\1\2", 1
        )
        assert one("response.output_audio.done", **r) == ev.OutputAudioEnded(
            "r", "i", 1
        )

    def test_what_others_repeat_says_nothing(self) -> None:
        r: dict[str, Any] = {"response_id": "r", "item_id": "i", "output_index": 0}
        part = {"type": "audio", "transcript": ""}
        assert decode("response.content_part.added", part=part, **r) == ()
        assert decode("response.content_part.done", part=part, **r) == ()
        arguments = "response.function_call_arguments"
        assert decode(f"{arguments}.delta", delta="{", **r) == ()
        assert decode(f"{arguments}.done", arguments="{}", **r) == ()


class TestCalls:
    @pytest.mark.behaviour("R11")
    def test_a_call_is_ready_when_its_item_is_completed(self) -> None:
        assert decode(
            "response.output_item.done", response_id="r", output_index=1, item=call()
        ) == (ev.OutputItemDone("r", READY, 1), ev.CallReady("r", READY, 1))

    @pytest.mark.behaviour("R11")
    @pytest.mark.parametrize("status", ["incomplete", "in_progress", None])
    def test_a_call_that_is_not_completed_is_never_ready(
        self, status: str | None
    ) -> None:
        dialect = OpenAIDialect()
        one("response.created", dialect, response={"id": "r"})
        cut = call(status=status, arguments='{"city":"Li')
        ended = {"id": "r", "status": "incomplete", "output": [cut]}
        events = [
            *decode("response.output_item.done", dialect, response_id="r", item=cut),
            *decode("response.done", dialect, response=ended),
        ]
        assert not [event for event in events if isinstance(event, ev.CallReady)]

    @pytest.mark.behaviour("R11")
    def test_arguments_alone_make_no_call(self) -> None:
        assert not decode(
            "response.function_call_arguments.done",
            response_id="r",
            item_id="f1",
            call_id="call_1",
            name="get_time",
            arguments="{}",
        )

    @pytest.mark.behaviour("R12")
    def test_calls_that_were_not_announced_come_with_the_end_in_their_order(
        self,
    ) -> None:
        dialect = OpenAIDialect()
        one("response.created", dialect, response={"id": "r"})
        known = call(id="f0", call_id="call_0")
        decode(
            "response.output_item.done",
            dialect,
            response_id="r",
            output_index=1,
            item=known,
        )
        late = [call(), call(id="f2", call_id="call_2")]
        output = [message(role="assistant"), known, *late]
        events = decode(
            "response.done",
            dialect,
            response={"id": "r", "status": "completed", "output": output},
        )
        *calls, done = events
        assert [
            (ready.call.id, ready.output_index)
            for ready in calls
            if isinstance(ready, ev.CallReady)
        ] == [("f1", 2), ("f2", 3)]
        assert len(calls) == 2
        assert isinstance(done, ev.ResponseDone)
        assert [item.id for item in done.items] == ["i1", "f0", "f1", "f2"]

    def test_a_call_without_status_is_ready_when_its_response_completed(self) -> None:
        dialect = OpenAIDialect()
        one("response.created", dialect, response={"id": "r"})
        bare = call(status=None)
        done = decode("response.output_item.done", dialect, response_id="r", item=bare)
        assert len(done) == 1
        ready, _ = decode(
            "response.done",
            dialect,
            response={"id": "r", "status": "completed", "output": [bare]},
        )
        assert ready == ev.CallReady("r", READY)

    @pytest.mark.parametrize("status", ["cancelled", "failed"])
    def test_the_end_of_a_broken_response_brings_no_calls(self, status: str) -> None:
        dialect = OpenAIDialect()
        one("response.created", dialect, response={"id": "r"})
        ended = {"id": "r", "status": status, "output": [call()]}
        events = decode("response.done", dialect, response=ended)
        assert [type(event) for event in events] == [ev.ResponseDone]

    def test_a_call_without_a_call_id_is_known_by_its_item(self) -> None:
        (_, ready) = decode(
            "response.output_item.done", response_id="r", item=call(call_id=None)
        )
        assert isinstance(ready, ev.CallReady)
        assert ready.call.call_id == "f1"


class TestTelephoneAudio:
    @pytest.mark.behaviour("A1")
    def test_speech_is_always_pcm(self) -> None:
        dialect = OpenAIDialect(output_format="pcmu")
        event = self.heard(dialect, b"\xff\x80")
        assert array("h", event.pcm).tolist() == [0, 0, 0, 10708, 21416, 32124]

    def test_pieces_of_one_item_join_and_items_do_not(self) -> None:
        dialect = OpenAIDialect(output_format="pcma")
        self.heard(dialect, b"\xaa")
        joined = array("h", self.heard(dialect, b"\xd5").pcm)
        assert joined[0] > joined[1] > joined[2] == 8
        assert array("h", self.heard(dialect, b"\xd5", "j").pcm).tolist() == [8, 8, 8]

    def test_the_format_that_is_echoed_is_the_one_that_holds(self) -> None:
        dialect = OpenAIDialect()
        audio = {
            "input": {"format": {"type": "audio/pcmu"}},
            "output": {"format": {"type": "audio/pcmu"}},
        }
        one("session.updated", dialect, session={"audio": audio})
        assert len(self.heard(dialect, b"\xff").pcm) == 6
        unknown = {"output": {"format": {"type": "audio/opus"}}}
        one("session.updated", dialect, session={"audio": unknown})
        assert len(self.heard(dialect, b"\xff").pcm) == 6

    def heard(
        self, dialect: OpenAIDialect, data: bytes, item_id: str = "i"
    ) -> ev.OutputAudio:
        event = one(
            "response.output_audio.delta",
            dialect,
            response_id="r",
            item_id=item_id,
            delta=base64.b64encode(data).decode(),
        )
        assert isinstance(event, ev.OutputAudio)
        return event


class TestWhatIsNotKnown:
    @pytest.mark.behaviour("C9")
    @pytest.mark.parametrize(
        ("kind", "fields"),
        [
            ("response.telepathy", {"thoughts": []}),
            ("ping", {}),
            ("conversation.created", {"conversation": {"id": "c"}}),
            ("mcp_list_tools.failed", {"item_id": "i"}),
        ],
    )
    def test_events_without_a_neutral_form_can_be_seen_raw(
        self, kind: str, fields: dict[str, Any]
    ) -> None:
        data = {"type": kind, "event_id": "event_1", **fields}
        assert one(kind, **fields) == ev.UnknownEvent(kind, data)

    @pytest.mark.behaviour("C10")
    def test_a_malformed_frame_does_not_spoil_the_next(self) -> None:
        dialect = OpenAIDialect()
        for text in ("", "nonsense", "[]", '{"type":1}', '{"type":"response.done"}'):
            with pytest.raises(ProtocolError) as caught:
                dialect.decode(text)
            assert "nonsense" not in str(caught.value)
        assert one("input_audio_buffer.cleared", dialect) == ev.AudioCleared()

    @pytest.mark.behaviour("C9", "C10")
    @settings(deadline=None)  # the first frame of a kind makes its converter
    @given(
        kind=st.sampled_from(list(SERVER_EVENTS)),
        fields=st.dictionaries(
            st.sampled_from(["item", "item_id", "response", "response_id", "session"])
            | st.sampled_from(["delta", "error", "rate_limits", "part", "transcript"]),
            JSON,
        ),
    )
    def test_no_frame_raises_anything_but_a_protocol_error(
        self, kind: str, fields: dict[str, Any]
    ) -> None:
        with contextlib.suppress(ProtocolError):
            decode(kind, **fields)


# --- the short way for sound ------------------------------------------------------

SOUND = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 2,
    "delta": base64.b64encode(bytes(range(96))).decode(),
}


def outcome_of(text: str) -> object:
    """What a frame means, or how it is refused."""
    try:
        return OpenAIDialect().decode(text)
    except ProtocolError as error:
        return str(error), error.detail


def long_way(monkeypatch: pytest.MonkeyPatch, text: str) -> object:
    """The same, by way of the wire's classes."""
    with monkeypatch.context() as patch:
        patch.setattr("trialogue.dialects.openai.dialect.AUDIO_DELTA", "no type")
        return outcome_of(text)


@pytest.mark.parametrize("field", SOUND)
@pytest.mark.parametrize(
    "value", [None, "", "!", "QUJD", "QUI", 7, 1.0, 1.5, True, [], {"a": 1}, [[[]]]]
)
def test_sound_out_of_order_is_read_or_refused_as_by_way_of_the_classes(
    monkeypatch: pytest.MonkeyPatch, field: str, value: object
) -> None:
    text = json.dumps(SOUND | {field: value})
    assert outcome_of(text) == long_way(monkeypatch, text)


@pytest.mark.parametrize("field", SOUND)
def test_sound_that_lacks_a_field_is_read_or_refused_as_by_way_of_the_classes(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    text = json.dumps({key: value for key, value in SOUND.items() if key != field})
    assert outcome_of(text) == long_way(monkeypatch, text)


@pytest.mark.parametrize("sink", ["pcm16", "pcmu"])
def test_sound_is_the_same_both_ways(
    monkeypatch: pytest.MonkeyPatch, sink: AudioFormat
) -> None:
    """In any format, under an id that was shortened, beside fields nobody knows."""
    short, long = OpenAIDialect(output_format=sink), OpenAIDialect(output_format=sink)
    text = json.dumps(SOUND | {"item_id": shortened(LONG), "obfuscation": "x"})
    for dialect in (short, long):
        dialect.encode(DeleteItem(LONG), event_id="1")
    (heard,) = short.decode(text)
    with monkeypatch.context() as patch:
        patch.setattr("trialogue.dialects.openai.dialect.AUDIO_DELTA", "no type")
        assert long.decode(text) == (heard,)
    assert isinstance(heard, ev.OutputAudio)
    assert heard.item_id == LONG
    assert heard.pcm
