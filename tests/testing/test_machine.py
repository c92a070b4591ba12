"""The local server's state machine: frames and times in, frames out, no I/O."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from by_hand import PLAIN, Event, Talk, refusal, types
from trialogue._codec import b64encode
from trialogue.dialects.openai.wire import CLIENT_EVENTS
from trialogue.testing.machine import Hangup, Pace
from trialogue.testing.script import Call, Fail, Pause, Say, Stop, Turn
from trialogue.testing.speech import Cue, Cues, Utterances, quiet


def test_the_first_event_shows_the_whole_session() -> None:
    session = Talk().seen[0]["session"]
    assert session["expires_at"] == 1_003_600
    assert session["model"] == "gpt-realtime"
    vad = session["audio"]["input"]["turn_detection"]
    assert (vad["type"], vad["silence_duration_ms"]) == ("server_vad", 200)
    for cleared in ("tracing", "prompt", "include", "reasoning"):
        assert session[cleared] is None
    assert session["audio"]["input"]["transcription"] is None


LADDER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]


def test_a_message_and_a_call_climb_the_ladder_in_order() -> None:
    """The order of protocol §7.3, with ids and indices that fit together."""
    call = Call("get_time", {"city": 'Li"ma', "x": [1, 2]})
    talk = Talk(lambda turn: (Say("It is two.", ms=400), call))
    talk.update(tools=[{"type": "function", "name": "get_time"}])
    events = talk.say("response.create", response={"metadata": {"req": "1"}})
    events += talk.run()
    assert types(events) == LADDER
    created, done = events[0]["response"], events[-2]["response"]
    assert (created["status"], created["output"], created["usage"]) == (
        "in_progress",
        [],
        None,
    )
    assert created["metadata"] == done["metadata"] == {"req": "1"}
    assert done["status"] == "completed"
    message, made = done["output"]
    assert message["content"] == [{"type": "output_audio", "transcript": "It is two."}]
    deltas = [e["delta"] for e in events if e["type"].endswith("arguments.delta")]
    assert json.loads("".join(deltas)) == json.loads(made["arguments"])
    assert len(deltas) > 2
    added = [e for e in events if e["type"] == "conversation.item.added"]
    assert [e["previous_item_id"] for e in added] == [None, message["id"]]
    ids = [event["event_id"] for event in talk.seen]
    assert len(set(ids)) == len(ids)


def test_first_audio_comes_after_thinking_and_faster_than_it_plays() -> None:
    pace = Pace(think_ms=200, burst=10, delta_ms=(100,))
    settings = attrs.evolve(PLAIN, pace=pace)
    talk = Talk(lambda turn: Say("x", ms=1000), settings=settings)
    talk.say("response.create")
    assert "response.output_audio.delta" not in types(talk.run(0.199))
    assert "response.output_audio.delta" in types(talk.run(0.002))
    assert "response.done" not in types(talk.run(0.09))
    assert "response.done" in types(talk.run(0.02))


def test_a_written_reply_has_the_short_part_names() -> None:
    talk = Talk()
    events = talk.say("response.create", response={"output_modalities": ["text"]})
    events += talk.run()
    parts = [event["part"] for event in events if "part" in event]
    assert parts == [{"type": "text", "text": ""}, {"type": "text", "text": "Hi."}]
    assert events[-2]["response"]["output"][0]["content"][0]["type"] == "output_text"
    assert talk.machine.session.output_modalities == ("audio",)


def test_a_spoken_turn_is_committed_under_its_reserved_id_and_answered() -> None:
    """The order of protocol §7.4; the transcript comes when it comes."""
    said = Utterances()
    talk = Talk(lambda turn: f"You said {turn.user_text}", transcriber=said)
    talk.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    events = talk.append(quiet(500) + said.say("good morning", 600) + quiet(400))
    events += talk.run()
    assert types(events)[:6] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    item_id = events[0]["item_id"]
    assert (events[0]["audio_start_ms"], events[1]["audio_end_ms"]) == (200, 1300)
    assert {event["item_id"] for event in events[:3]} == {item_id}
    assert events[3]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    [completed] = [e for e in events if e["type"].endswith("transcription.completed")]
    assert (completed["item_id"], completed["transcript"]) == (item_id, "good morning")
    [turn] = talk.machine.committed
    assert (turn.start_ms, turn.end_ms, turn.by) == (200, 1300, "vad")
    done = next(e for e in events if e["type"] == "response.done")["response"]
    assert done["metadata"] is None
    assert done["output"][0]["content"][0]["transcript"] == "You said good morning"
    [retrieved] = talk.say("conversation.item.retrieve", item_id=item_id)
    assert len(retrieved["item"]["content"][0]["audio"]) > 40_000


def test_transcripts_of_two_turns_may_come_in_the_wrong_order() -> None:
    said = Utterances()
    settings = attrs.evolve(PLAIN, pace=Pace(transcript_ms=(5000, 10)))
    talk = Talk(transcriber=said, settings=settings)
    talk.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    both = quiet(300) + said.say("one") + quiet(400) + said.say("two") + quiet(400)
    events = talk.append(both) + talk.run()
    completed = [e for e in events if e["type"].endswith("transcription.completed")]
    assert [event["transcript"] for event in completed] == ["two", "one"]


def test_speech_interrupts_the_reply_and_leaves_what_is_beside_it() -> None:
    said = Utterances()
    talk = Talk(lambda turn: Say("a long story", ms=60_000), transcriber=said)
    talk.say("response.create")
    [aside] = talk.say(
        "response.create", response={"conversation": "none", "input": []}
    )
    talk.run(1)
    events = talk.append(said.say("stop", 200))
    kinds = [e["type"] for e in events]
    begun = kinds.index("input_audio_buffer.speech_started")
    assert kinds[begun + 1 : begun + 7] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    [done] = [e["response"] for e in events if e["type"] == "response.done"]
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["status"] == "incomplete"
    later = talk.run()
    assert aside["response"]["id"] in [
        e["response"]["id"] for e in later if e["type"] == "response.done"
    ]


@pytest.mark.parametrize(("when_busy", "count"), [("skip", 1), ("queue", 2)])
def test_a_turn_without_interruption_is_skipped_or_waits(
    when_busy: Any, count: int
) -> None:
    said = Utterances()
    settings = attrs.evolve(PLAIN, when_busy=when_busy)
    talk = Talk(
        lambda turn: Say("long", ms=50_000), transcriber=said, settings=settings
    )
    vad = {"type": "server_vad", "interrupt_response": False}
    talk.update(audio={"input": {"turn_detection": vad}})
    talk.say("response.create")
    talk.append(said.say("hello", 300) + quiet(400))
    talk.run()
    assert [record.status for record in talk.machine.responses] == ["completed"] * count


def test_a_manual_commit_makes_an_item_and_no_response() -> None:
    talk = Talk()
    talk.update(audio={"input": {"turn_detection": None}})
    assert talk.append(b"\x11\x22" * 2399) == []
    refused = refusal(talk.say("input_audio_buffer.commit"))
    assert refused["code"] == "input_audio_buffer_commit_empty"
    assert "only has 99.96ms" in refused["message"]
    talk.append(bytes(4800))
    assert types(talk.say("input_audio_buffer.commit") + talk.run()) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert talk.machine.committed[0].pcm == b"\x11\x22" * 2399 + bytes(4800)


def test_a_manual_commit_in_an_open_turn_uses_its_id_and_ends_it() -> None:
    said = Utterances()
    talk = Talk(transcriber=said)
    [started] = talk.append(said.say("go", 500))
    committed, *_ = talk.say("input_audio_buffer.commit")
    assert committed["item_id"] == started["item_id"]
    assert "input_audio_buffer.speech_stopped" not in types(talk.append(quiet(600)))


def test_clearing_drops_the_turn_and_not_the_clock() -> None:
    said = Utterances()
    talk = Talk(transcriber=said)
    talk.append(said.say("never mind", 500))
    assert types(talk.say("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    events = talk.append(quiet(500) + said.say("again", 500))
    assert events[-1]["audio_start_ms"] == 700


def test_turning_detection_off_in_mid_turn_keeps_the_buffer() -> None:
    said = Utterances()
    talk = Talk(transcriber=said)
    talk.append(said.say("keep me", 500))
    talk.update(audio={"input": {"turn_detection": None}})
    talk.append(quiet(500))
    talk.say("input_audio_buffer.commit")
    assert talk.machine.committed[0].text == "keep me"


def test_nobody_speaks_and_the_server_does() -> None:
    talk = Talk(lambda turn: Say(turn.asked_by, ms=1000))
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    talk.update(audio={"input": {"turn_detection": vad}})
    talk.say("response.create")
    events = talk.run(6.1)
    assert "input_audio_buffer.timeout_triggered" not in types(events)
    events = talk.run(0.5)
    assert types(events)[:3] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
    ]
    assert talk.machine.responses[-1].asked_by == "idle"


def test_cues_give_transcripts_by_position() -> None:
    cues = Cues((Cue(200, 900, "by the clock"),))
    talk = Talk(lambda turn: turn.user_text, transcriber=cues)
    talk.append(quiet(200) + Utterances().say("whatever", 700) + quiet(300))
    assert talk.machine.committed[0].text == "by the clock"


def test_one_response_at_a_time_and_out_of_band_ones_beside_it() -> None:
    talk = Talk()
    first = talk.say("response.create")[0]["response"]
    refused = refusal(talk.say("response.create", event_id="c2"))
    assert refused["code"] == "conversation_already_has_active_response"
    assert refused["event_id"] == "c2"
    assert first["id"] in refused["message"]
    aside = talk.say("response.create", response={"conversation": "none"})
    assert aside[0]["response"]["conversation_id"] is None
    events = talk.run()
    done = [e["response"] for e in events if e["type"] == "response.done"]
    assert {response["status"] for response in done} == {"completed"}
    assert len(talk.order()) == 1


def test_cancelling_closes_what_is_open_and_frees_the_slot() -> None:
    talk = Talk(lambda turn: Say("a b c d e f g h", ms=5000))
    talk.say("response.create")
    talk.run(0.2)
    refused = refusal(talk.say("response.cancel", response_id="resp_other"))
    assert refused["code"] == "response_cancel_not_active"
    events = talk.say("response.cancel")
    assert types(events) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    response = events[-1]["response"]
    assert response["status_details"]["reason"] == "client_cancelled"
    assert response["output"][0]["status"] == "incomplete"
    assert response["usage"]["output_token_details"]["audio_tokens"] > 0
    assert refusal(talk.say("response.cancel"))["code"] == "response_cancel_not_active"
    assert types(talk.say("response.create")) == ["response.created"]


@pytest.mark.parametrize(
    ("parts", "status", "details"),
    [
        ((Fail("rate_limit_exceeded"),), "failed", None),
        ((Say("x"), Stop()), "incomplete", "content_filter"),
        ((Pause(1),), "completed", None),
        ((), "completed", None),
    ],
)
def test_a_response_can_end_in_many_ways(
    parts: Any, status: str, details: str | None
) -> None:
    talk = Talk(lambda turn: parts)
    talk.say("response.create")
    done = next(e for e in talk.run() if e["type"] == "response.done")["response"]
    assert done["status"] == status
    if status == "failed":
        assert done["status_details"]["error"]["code"] == "rate_limit_exceeded"
        assert done["usage"]["total_tokens"] == 0
    if details:
        assert done["status_details"]["reason"] == details


def test_a_token_limit_leaves_arguments_cut_and_the_item_incomplete() -> None:
    talk = Talk(lambda turn: Call("f", {"text": "x" * 200}))
    talk.say("response.create", response={"max_output_tokens": 4})
    done = next(e for e in talk.run() if e["type"] == "response.done")["response"]
    assert done["status_details"]["reason"] == "max_output_tokens"
    [item] = done["output"]
    assert item["status"] == "incomplete"
    with pytest.raises(ValueError, match=r"Unterminated|delimiter"):
        json.loads(item["arguments"])


def test_overrides_hold_for_one_response_only() -> None:
    turns: list[Turn] = []

    def brain(turn: Turn) -> str:
        turns.append(turn)
        return "ok"

    talk = Talk(brain)
    talk.update(instructions="You are Kelly.")
    talk.text("hello", "u1")
    talk.say(
        "response.create",
        response={
            "instructions": "Speak Latin.",
            "tools": [{"type": "function", "name": "f"}],
            "tool_choice": "none",
            "input": [{"type": "item_reference", "id": "u1"}],
        },
    )
    talk.run()
    talk.say("response.create")
    talk.run()
    assert (turns[0].instructions, turns[0].tools) == ("Speak Latin.", ("f",))
    assert (turns[0].tool_choice, turns[0].said) == ("none", (("user", "hello"),))
    assert (turns[1].instructions, turns[1].override) == ("You are Kelly.", None)
    first, second = talk.machine.responses
    assert first.watermark != second.watermark
    refused = talk.say(
        "response.create", response={"input": [{"type": "item_reference", "id": "no"}]}
    )
    assert refusal(refused)["param"] == "response.input[0].id"


def test_usage_adds_up() -> None:
    talk = Talk(lambda turn: Say("some words", ms=1000))
    for _ in range(3):
        talk.text("x" * 300, "")
        talk.say("response.create")
        talk.run()
    for event in talk.seen:
        if event["type"] != "response.done":
            continue
        usage = event["response"]["usage"]
        read, made = usage["input_token_details"], usage["output_token_details"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens"] == read["text_tokens"] + read["audio_tokens"]
        assert usage["output_tokens"] == made["text_tokens"] + made["audio_tokens"]
        assert read["cached_tokens"] <= usage["input_tokens"]
        assert made["audio_tokens"] == 20


def test_items_stand_where_they_were_put() -> None:
    talk = Talk()
    added, done = talk.text("b", "b")
    assert (added["type"], done["type"]) == (
        "conversation.item.added",
        "conversation.item.done",
    )
    assert added["previous_item_id"] is None
    assert added["item"]["status"] == "completed"
    talk.text("a", "a", "root")
    assert talk.text("c", "c", "b")[0]["previous_item_id"] == "b"
    talk.text("d", "d", "")
    assert talk.order() == ["a", "b", "c", "d"]
    missing = refusal(talk.text("e", "e", "nobody"))
    assert "previous item with id 'nobody' does not exist" in missing["message"]
    assert talk.order() == ["a", "b", "c", "d"]


def test_an_id_exists_once_unless_the_server_is_an_old_one() -> None:
    talk = Talk()
    talk.text("a", "a")
    assert refusal(talk.text("a", "a"))["code"] == "item_create_duplicate_item_id"
    old = Talk(settings=attrs.evolve(PLAIN, duplicate_items="append"))
    old.text("a", "a")
    assert old.text("a", "a")[0]["previous_item_id"] == "a"


def test_a_deleted_item_is_gone() -> None:
    talk = Talk()
    talk.text("a", "a")
    [deleted] = talk.say("conversation.item.delete", item_id="a")
    assert deleted["item_id"] == "a"
    for kind, code in (
        ("delete", "item_delete_invalid_item_id"),
        ("retrieve", "item_retrieve_invalid_item_id"),
    ):
        events = talk.say(f"conversation.item.{kind}", item_id="a")
        assert refusal(events)["code"] == code


def test_deleting_what_is_being_said_silences_its_item_done() -> None:
    talk = Talk(lambda turn: Say("words", ms=3000))
    talk.say("response.create")
    talk.run(0.1)
    talk.say("conversation.item.delete", item_id=talk.order()[0])
    events = talk.run()
    assert "conversation.item.done" not in types(events)
    assert "response.done" in types(events)


def test_truncation_wipes_the_transcript_and_keeps_what_was_heard() -> None:
    talk = Talk(lambda turn: Say("a b c", ms=1000))
    talk.say("response.create")
    talk.run()
    [item_id] = talk.order()
    where = {"item_id": item_id, "content_index": 0}
    beyond = talk.say("conversation.item.truncate", audio_end_ms=1001, **where)
    text = "Audio content of 1000ms is already shorter than 1001ms"
    assert refusal(beyond)["message"] == text
    [truncated] = talk.say("conversation.item.truncate", audio_end_ms=400, **where)
    assert truncated["audio_end_ms"] == 400
    [held] = talk.machine.conversation
    assert (len(held.pcm), held.text) == (400 * 48, "")
    talk.text("x", "u")
    wrong = talk.say(
        "conversation.item.truncate", item_id="u", content_index=0, audio_end_ms=0
    )
    assert "Only model output audio" in refusal(wrong)["message"]


def test_an_output_needs_its_call() -> None:
    talk = Talk()
    output = {"type": "function_call_output", "call_id": "c", "output": ""}
    assert refusal(talk.create(**output))["code"] == "invalid_tool_call_id"
    talk.create(type="function_call", call_id="c", name="f", arguments="{}")
    assert types(talk.create(**output) + talk.run()) == [
        "conversation.item.added",
        "conversation.item.done",
    ]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"type": "dance"}, "invalid_value"),
        ({"id": "x"}, "missing_required_parameter"),
        (
            {"type": "message", "role": "user", "content": [], "extra": 1},
            "unknown_parameter",
        ),
        (
            {"type": "message", "role": "user", "content": [], "id": "x" * 33},
            "string_above_max_length",
        ),
        (
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_audio", "transcript": "x"}],
            },
            "invalid_value",
        ),
        (
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_image", "image_url": "http://x/y.png"}],
            },
            "invalid_value",
        ),
    ],
)
def test_items_that_a_client_may_not_create(item: Event, code: str) -> None:
    talk = Talk()
    assert refusal(talk.say("conversation.item.create", item=item))["code"] == code
    assert talk.order() == []


@pytest.mark.parametrize(
    ("patch", "code", "param"),
    [
        ({"voice": "ash"}, "unknown_parameter", "session.voice"),
        ({"max_output_tokens": 5000}, "invalid_value", "session.max_output_tokens"),
        (
            {"audio": {"output": {"speed": 2}}},
            "invalid_value",
            "session.audio.output.speed",
        ),
        (
            {"output_modalities": ["text", "audio"]},
            "invalid_value",
            "session.output_modalities",
        ),
        ({"model": "gpt-realtime-9"}, "invalid_value", "session.model"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        (
            {
                "audio": {
                    "input": {
                        "turn_detection": {"type": "semantic_vad", "threshold": 0.5}
                    }
                }
            },
            "unknown_parameter",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {
                "audio": {
                    "input": {"turn_detection": {"type": "server_vad", "threshold": 2}}
                }
            },
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
    ],
)
def test_one_bad_key_refuses_the_whole_update(
    patch: Event, code: str, param: str
) -> None:
    talk = Talk()
    before = talk.machine.session
    refused = refusal(talk.update(**{"instructions": "changed", **patch}))
    assert (refused["code"], refused["param"]) == (code, param)
    assert talk.machine.session == before


def test_a_patch_changes_what_it_names_and_null_clears() -> None:
    talk = Talk()
    talk.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    vad = {"type": "server_vad", "silence_duration_ms": 700}
    [updated] = talk.update(audio={"input": {"turn_detection": vad}}, instructions="")
    session = updated["session"]
    assert session["instructions"] == ""
    given = session["audio"]["input"]
    assert given["transcription"]["model"] == "whisper-1"
    assert given["turn_detection"]["silence_duration_ms"] == 700
    assert given["turn_detection"]["prefix_padding_ms"] == 300
    [updated] = talk.update(audio={"input": {"transcription": None}})
    assert updated["session"]["audio"]["input"]["transcription"] is None
    assert updated["session"]["audio"]["output"]["voice"] == "marin"


def test_the_voice_is_fixed_once_it_was_heard() -> None:
    talk = Talk()
    talk.update(audio={"output": {"voice": "ash"}})
    talk.say("response.create")
    talk.run()
    refused = refusal(
        talk.update(audio={"output": {"voice": "coral"}}, instructions="x")
    )
    assert refused["code"] == "cannot_update_voice"
    assert types(talk.update(audio={"output": {"voice": "ash"}})) == ["session.updated"]
    own = {"audio": {"output": {"voice": "coral"}}}
    assert refusal(talk.say("response.create", response=own))["code"] == (
        "cannot_update_voice"
    )


def test_an_update_during_a_response_is_for_the_next() -> None:
    talk = Talk(lambda turn: turn.instructions)
    talk.update(instructions="one")
    talk.say("response.create")
    talk.update(instructions="two")
    talk.run()
    talk.say("response.create")
    talk.run()
    assert [held.text for held in talk.machine.conversation] == ["one", "two"]


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("[]", "invalid_event", None),
        ("{}", "invalid_event", "type"),
        ('{"type":"dance"}', "invalid_value", "type"),
        ('{"type":"output_audio_buffer.clear"}', "invalid_value", "type"),
        (
            '{"type":"session.update","session":{}}',
            "missing_required_parameter",
            "session.type",
        ),
        (
            '{"type":"input_audio_buffer.append","audio":"!"}',
            "invalid_value",
            "audio",
        ),
        (
            json.dumps({"type": "response.cancel", "event_id": "x" * 513}),
            "string_above_max_length",
            "event_id",
        ),
    ],
)
def test_bad_frames_are_errors_and_the_session_goes_on(
    frame: str, code: str, param: str | None
) -> None:
    talk = Talk()
    refused = refusal(talk.raw(frame))
    assert (refused["code"], refused["param"]) == (code, param)
    assert types(talk.update()) == ["session.updated"]


def test_errors_name_the_event_at_fault_unless_told_not_to() -> None:
    for echo, named in ((True, "mine"), (False, None)):
        talk = Talk(settings=attrs.evolve(PLAIN, echo_event_id=echo))
        events = talk.say("conversation.item.delete", item_id="x", event_id="mine")
        assert refusal(events)["event_id"] == named


def test_a_session_expires_with_the_text_of_its_error() -> None:
    talk = Talk()
    events = talk.run(3601)
    refused = refusal(events)
    assert refused["code"] == "session_expired"
    assert talk.hangup == Hangup(1001, refused["message"])
    assert talk.update() == []


def test_g711_is_heard_and_spoken() -> None:
    talk = Talk(lambda turn: Say("x", ms=1000))
    talk.update(
        audio={
            "input": {"format": {"type": "audio/pcmu"}, "turn_detection": None},
            "output": {"format": {"type": "audio/pcma"}},
        }
    )
    talk.say("input_audio_buffer.append", audio=b64encode(b"\xff" * 8000))
    talk.say("input_audio_buffer.commit")
    assert talk.machine.committed[0].end_ms == 1000
    talk.say("response.create")
    deltas = [
        e["delta"] for e in talk.run() if e["type"].endswith("output_audio.delta")
    ]
    assert sum(len(delta) * 3 // 4 for delta in deltas) == pytest.approx(8000, abs=20)


def test_the_same_seed_gives_the_same_frames() -> None:
    def frames(seed: int) -> list[Event]:
        talk = Talk(seed=seed)
        talk.say("response.create")
        talk.run()
        return talk.seen

    assert frames(1) == frames(1)
    assert frames(1) != frames(2)


FRAME = st.one_of(
    st.builds(
        lambda kind, rest: json.dumps({**rest, "type": kind}),
        st.sampled_from(sorted(CLIENT_EVENTS)),
        st.fixed_dictionaries(
            {},
            optional={
                "item_id": st.sampled_from(["a", "b", "u1"]),
                "audio": st.just(b64encode(b"\x40\x40" * 4800)),
                "content_index": st.integers(0, 1),
                "audio_end_ms": st.integers(-5, 500),
                "response": st.just({"instructions": "x"}),
                "response_id": st.just("resp_x"),
                "session": st.just({"type": "realtime", "instructions": "y"}),
                "item": st.just(
                    {"type": "message", "role": "user", "id": "a", "content": []}
                ),
            },
        ),
    ),
    st.text(max_size=10),
)


@given(st.lists(FRAME, max_size=25), st.floats(0, 1))
def test_no_order_of_events_makes_it_raise(frames: list[str], pause: float) -> None:
    """Whatever comes, in any order: at most errors, and every response ends."""
    talk = Talk(lambda turn: (Say("x", ms=500), Call("f")))
    for frame in frames:
        talk.raw(frame)
        talk.run(pause)
    talk.run()
    created = [e for e in talk.seen if e["type"] == "response.created"]
    done = [e for e in talk.seen if e["type"] == "response.done"]
    assert len(created) == len(done)
