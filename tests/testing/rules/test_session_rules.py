"""Rules 17 to 23, 67 and 68 of a faithful server: the session's configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from by_hand import MODEL, PLAIN, Event, Talk, dialled, post, refusal
from published import SERVER_MODELS, strangers
from trialogue._codec import b64encode
from trialogue.testing import (
    Say,
    Settings,
    Utterances,
    open_realtime_server,
    quiet,
    voice,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

TOOL = {"type": "function", "name": "look"}
SERVER_VAD = {"type": "server_vad", "threshold": 0.25, "silence_duration_ms": 700}


def turn_detection(**fields: Any) -> Event:
    vad = {"type": "server_vad", **fields}
    return {"audio": {"input": {"turn_detection": vad}}}


def test_rule_17_audio_is_patched_and_all_else_replaced() -> None:
    """`session.update` is a deep patch for `audio.*`, replacement elsewhere; reply with
    the full session.
    """
    talk = Talk()
    expected = talk.seen[0]["session"]
    input_, output = expected["audio"]["input"], expected["audio"]["output"]

    assert talk.updated() == expected

    whisper = {"model": "whisper-1", "language": "en"}
    session = talk.updated(
        audio={"input": {"transcription": whisper, "turn_detection": SERVER_VAD}}
    )
    input_["transcription"] = {**whisper, "prompt": None}
    input_["turn_detection"] |= SERVER_VAD
    assert session == expected

    # Neighbours stay, and a leaf is replaced as a unit: what it does not say is as new.
    session = talk.updated(
        audio={
            "input": {
                "transcription": {"model": "gpt-4o-transcribe"},
                "turn_detection": {"type": "server_vad", "threshold": 0.75},
            },
            "output": {"speed": 1.25},
        }
    )
    input_["transcription"] = {"model": "gpt-4o-transcribe", "language": None,
                               "prompt": None}  # fmt: skip
    input_["turn_detection"] |= {"threshold": 0.75, "silence_duration_ms": 200}
    output["speed"] = 1.25
    assert session == expected

    session = talk.updated(audio={"output": {"format": {"type": "audio/pcmu"}}})
    output["format"] = {"type": "audio/pcmu"}
    assert session == expected

    look = {**TOOL, "description": "Look.", "parameters": {"type": "object"}}
    talk.updated(tools=[look, {**TOOL, "name": "listen"}], tracing={"group_id": "1"})
    session = talk.updated(
        tools=[TOOL],
        tool_choice={"type": "function", "name": "look"},
        truncation={"type": "retention_ratio", "retention_ratio": 0.5},
        max_output_tokens=7,
        instructions="Be brief.",
        output_modalities=["text"],
    )
    assert session == expected | {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "look"},
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
        "max_output_tokens": 7,
        "instructions": "Be brief.",
        "output_modalities": ["text"],
        "tracing": {"group_id": "1"},
    }


def test_rule_17_noise_reduction_keeps_a_strength_that_is_not_said() -> None:
    """`session.update` is a deep patch for `audio.*` (…); §3.1."""
    talk = Talk()
    near = {"type": "near_field", "strength": 0.5}
    talk.updated(audio={"input": {"noise_reduction": near}})
    far = {"type": "far_field"}
    session = talk.updated(audio={"input": {"noise_reduction": far}})
    assert session["audio"]["input"]["noise_reduction"] == {**near, **far}


def test_rule_18_null_is_stored_and_empty_clears() -> None:
    """`null` turn_detection/transcription/noise_reduction stored as null; `""` and `[]`
    clear.
    """
    talk = Talk()
    talk.updated(
        instructions="x",
        tools=[TOOL],
        prompt={"id": "pmpt_1"},
        audio={
            "input": {
                "transcription": {"model": "whisper-1"},
                "noise_reduction": {"type": "far_field"},
            }
        },
    )
    nulls = dict.fromkeys(("turn_detection", "transcription", "noise_reduction"))
    talk.updated(instructions="", tools=[], prompt=None, audio={"input": nulls})
    session = talk.updated()
    assert nulls.items() <= session["audio"]["input"].items()
    assert (session["instructions"], session["tools"]) == ("", [])
    assert session["prompt"] is None


@pytest.mark.parametrize(
    ("patch", "param"),
    [
        ({"instructions": None}, "session.instructions"),
        ({"tools": None}, "session.tools"),
        ({"output_modalities": None}, "session.output_modalities"),
        ({"max_output_tokens": None}, "session.max_output_tokens"),
        ({"truncation": None}, "session.truncation"),
        ({"audio": {"output": {"voice": None}}}, "session.audio.output.voice"),
        ({"audio": {"output": {"speed": None}}}, "session.audio.output.speed"),
        ({"audio": {"input": {"format": None}}}, "session.audio.input.format"),
        ({"audio": None}, "session.audio"),
    ],
)
def test_rule_18_null_is_refused_where_it_clears_nothing(
    patch: Event, param: str
) -> None:
    """`null` (…) stored as null: where null is legal (§3.2)."""
    talk = Talk()
    before = talk.session()
    error = refusal(talk.update(**patch))
    assert (error["code"], error["param"]) == ("invalid_type", param)
    assert "null" in error["message"]
    assert talk.session() == before


def test_rule_19_the_voice_is_fixed_once_it_was_heard() -> None:
    """Voice change after assistant audio → `cannot_update_voice`, whole update
    dropped; same voice accepted.
    """
    talk = Talk()
    talk.updated(output_modalities=["text"])
    talk.respond()
    ash, coral = ({"audio": {"output": {"voice": name}}} for name in ("ash", "coral"))
    talk.updated(output_modalities=["audio"], **ash)  # a text is not spoken
    talk.respond()
    before = talk.session()
    error = refusal(talk.update(instructions="x", **coral))
    assert error["code"] == "cannot_update_voice"
    assert error["message"] == (
        "Cannot update a conversation's voice if assistant audio is present."
    )
    assert error["param"] in (None, "session.audio.output.voice")
    assert talk.session() == before
    assert talk.updated(instructions="y", **ash)["instructions"] == "y"


@pytest.mark.parametrize("other", ["gpt-realtime-mini", ""])
def test_rule_20_the_model_never_changes(other: str) -> None:
    """Model never changes. Type switch rejected."""
    talk = Talk()
    error = refusal(talk.update(instructions="x", model=other))
    assert error["param"] == "session.model"
    session = talk.updated(model=MODEL)
    assert (session["model"], session["instructions"]) == (MODEL, PLAIN.instructions)


@pytest.mark.parametrize(
    ("intent", "own", "other"),
    [
        (None, "realtime", "transcription"),
        ("transcription", "transcription", "realtime"),
    ],
)
def test_rule_20_nor_does_the_type(intent: str | None, own: str, other: str) -> None:
    """Model never changes. Type switch rejected."""
    talk = Talk(intent=intent)
    before = talk.session()
    error = refusal(talk.say("session.update", session={"type": other}))
    assert (error["code"], error["param"]) == ("invalid_value", "session.type")
    assert f"{other} session update" in error["message"]
    assert f"{own} session" in error["message"]
    assert talk.session() == before
    [updated] = talk.say("session.update", session={"type": own})
    assert updated["session"] == before


RANGES: list[tuple[Any, list[Any], list[Any], str]] = [
    (
        lambda value: {"audio": {"output": {"speed": value}}},
        [0.25, 1, 1.5],
        [0.24, 1.51, 0],
        "session.audio.output.speed",
    ),
    (
        lambda value: {"max_output_tokens": value},
        [1, 4096, "inf"],
        [0, 4097, -1, "infinite"],
        "session.max_output_tokens",
    ),
    (
        lambda value: turn_detection(idle_timeout_ms=value),
        [5000, 30000, None],
        [4999, 30001, 0],
        "session.audio.input.turn_detection.idle_timeout_ms",
    ),
    (
        lambda value: turn_detection(threshold=value),
        [0, 0.5, 1],
        [-0.01, 1.01],
        "session.audio.input.turn_detection.threshold",
    ),
    (
        lambda value: {"output_modalities": value},
        [["audio"], ["text"]],
        [[], ["audio", "text"], ["text", "audio"], ["text", "text"]],
        "session.output_modalities",
    ),
    (
        lambda value: {
            "truncation": {"type": "retention_ratio", "retention_ratio": value}
        },
        [0, 0.5, 1],
        [-0.1, 1.1],
        "session.truncation.retention_ratio",
    ),
]


@pytest.mark.parametrize(("patch", "good", "bad", "param"), RANGES)
def test_rule_21_values_have_ranges(
    patch: Any, good: list[Any], bad: list[Any], param: str
) -> None:
    """Ranges: speed 0.25-1.5, max_output_tokens 1-4096/"inf", idle_timeout 5000-30000,
    threshold 0-1, modalities exactly one → `invalid_value`.
    """
    talk = Talk()
    for value in good:
        talk.updated(**patch(value))
    before = talk.session()
    for value in bad:
        error = refusal(talk.update(instructions="changed", **patch(value)))
        assert (error["code"], error["param"]) == ("invalid_value", param), value
        assert talk.session() == before


@pytest.mark.parametrize(
    ("response", "param"),
    [
        ({"max_output_tokens": 0}, "response.max_output_tokens"),
        ({"max_output_tokens": 4097}, "response.max_output_tokens"),
        ({"output_modalities": []}, "response.output_modalities"),
        ({"output_modalities": ["text", "audio"]}, "response.output_modalities"),
    ],
)
def test_rule_21_in_responses_too(response: Event, param: str) -> None:
    """Ranges: (…) max_output_tokens 1-4096/"inf", (…) modalities exactly one (…)."""
    error = refusal(Talk().say("response.create", response=response))
    assert (error["code"], error["param"]) == ("invalid_value", param)


@pytest.mark.parametrize(
    ("model", "settings", "reasons"),
    [
        ("gpt-realtime", {}, False),
        ("gpt-realtime-mini-2025-12-15", {}, False),
        ("gpt-realtime-2025-08-28", {}, False),
        ("gpt-realtime-1.5", {}, False),
        ("gpt-realtime-2", {}, True),
        ("gpt-realtime-2.1-mini", {}, True),
        ("gpt-realtime-2", {"reasoning": False}, False),
        ("gpt-realtime", {"reasoning": True}, True),
        ("my-realtime", {"reasoning": lambda name: name == "my-realtime"}, True),
    ],
)
def test_rule_22_only_a_model_that_reasons_is_told_how_hard(
    model: str, settings: Any, reasons: bool
) -> None:
    """`reasoning` on a model flagged non-reasoning → `invalid_value`."""
    talk = Talk(model=model, settings=attrs.evolve(PLAIN, **settings))
    wishes: list[Event] = [
        {"reasoning": {"effort": "high"}},
        {"parallel_tool_calls": True},
    ]
    for wish in wishes:
        [name] = wish
        if reasons:
            assert talk.updated(**wish)[name] == wish[name]
            assert talk.respond(**wish)["status"] == "completed"
            continue
        before = talk.session()
        for place, events in (
            ("session", talk.update(instructions="x", **wish)),
            ("response", talk.say("response.create", response=wish)),
        ):
            error = refusal(events)
            assert error["code"] == "invalid_value"
            assert error["param"] == f"{place}.{name}"
            assert "Unsupported option for this model" in error["message"]
        assert talk.session() == before


def test_rule_23_an_update_is_for_the_next_response() -> None:
    """Updates during a response apply to the next response."""
    turns = []

    def brain(turn: Any) -> Say:
        turns.append((turn.instructions, turn.tools))
        return Say(turn.instructions, ms=500)

    talk = Talk(brain)
    talk.updated(instructions="one", max_output_tokens=100)
    talk.say("response.create")
    talk.run(0.06)
    talk.updated(
        instructions="two",
        tools=[TOOL],
        max_output_tokens=200,
        output_modalities=["text"],
        audio={"output": {"format": {"type": "audio/pcmu"}}},
    )
    [first] = [e["response"] for e in talk.run() if e["type"] == "response.done"]
    second = talk.respond()
    assert turns == [("one", ()), ("two", ("look",))]
    shown = [
        (
            response["max_output_tokens"],
            response["output_modalities"],
            response["audio"]["output"]["format"]["type"],
            response["output"][0]["content"][0]["type"],
        )
        for response in (first, second)
    ]
    assert shown == [
        (100, ["audio"], "audio/pcm", "output_audio"),
        (200, ["text"], "audio/pcmu", "output_text"),
    ]


def test_rule_23_the_speed_waits_for_the_end() -> None:
    """Updates during a response apply to the next response; `speed` may not change
    mid-response (§3.2).
    """
    talk = Talk()
    talk.say("response.create")
    fast = {"audio": {"output": {"speed": 1.5}}}
    error = refusal(talk.update(**fast))
    assert error["param"] == "session.audio.output.speed"
    talk.run()
    assert talk.updated(**fast)["audio"]["output"]["speed"] == 1.5


# --- transcription sessions -----------------------------------------------------------

WHISPER = {"model": "whisper-1"}


def transcribing(**options: Any) -> Talk:
    """A transcription session that is told what to transcribe with."""
    talk = Talk(intent="transcription", model=None, **options)
    session = {"type": "transcription", "audio": {"input": {"transcription": WHISPER}}}
    [updated] = talk.say("session.update", session=session)
    assert updated["type"] == "session.updated"
    return talk


def test_rule_67_a_transcription_session_shows_its_own_fields() -> None:
    """Transcription session: (…) fields `id, expires_at, include, audio.input.{…}`
    only (§12.1).
    """
    session = transcribing().session()
    assert session.pop("id").startswith("sess_")
    assert session == {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "expires_at": 1_003_600,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {**WHISPER, "language": None, "prompt": None},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 200,
                },
            }
        },
    }


def test_rule_67_it_is_shown_as_the_published_types_have_it() -> None:
    """Transcription session (§12.1), held against the `openai` package."""
    [updated] = [e for e in transcribing().seen if e["type"] == "session.updated"]
    model = SERVER_MODELS["session.updated"]
    read = model.model_validate_json(json.dumps(updated), strict=True)
    assert not {*strangers(read)} - {
        # What sessions show; the published class is that of a request.
        "$.session.id",
        "$.session.object",
        "$.session.expires_at",
    }


def test_rule_67_turns_are_transcribed_and_never_answered() -> None:
    """Transcription session: no responses (…). Cycle: `committed`, `item.added`,
    `item.done`, delta*n, `completed`.
    """
    said = Utterances()
    talk = transcribing(transcriber=said)
    events = talk.append(quiet(300) + said.say("good morning", 600) + quiet(400))
    kinds = [event["type"] for event in events + talk.run(100)]
    spoken = "conversation.item.input_audio_transcription"
    assert kinds == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{spoken}.delta",  # the one of whisper-1 has all the words
        f"{spoken}.completed",
    ]
    assert talk.seen[-1]["transcript"] == "good morning"


@pytest.mark.parametrize("kind", ["response.create", "response.cancel"])
def test_rule_67_a_response_cannot_be_asked_for(kind: str) -> None:
    """Transcription session: no responses, `response.create` → error."""
    talk = transcribing()
    error = refusal(talk.say(kind, event_id="mine"))
    assert (error["code"], error["param"]) == ("invalid_value", "type")
    assert error["event_id"] == "mine"
    assert "'session.update'" in error["message"]
    assert "'response.create'" not in error["message"]
    assert talk.run() == []


def test_rule_67_whatever_a_vad_would_like_to_answer_it_does_not() -> None:
    """Transcription session: no responses. Its echoed `turn_detection` has no
    `create_response/interrupt_response/idle_timeout_ms` (§12.1).
    """
    said = Utterances()
    talk = transcribing(transcriber=said)
    flags = {"create_response": True, "interrupt_response": True}
    for vad in (
        {"type": "server_vad", "idle_timeout_ms": 5000, **flags},
        {"type": "semantic_vad", "eagerness": "high", **flags},
    ):
        session = {
            "type": "transcription",
            "audio": {"input": {"turn_detection": vad}},
        }
        [updated] = talk.say("session.update", session=session)
        shown = updated["session"]["audio"]["input"]
        assert shown["turn_detection"]["type"] == vad["type"]
        assert not {"idle_timeout_ms", *flags} & {*shown["turn_detection"]}
        assert shown["transcription"]["model"] == "whisper-1"
        events = talk.append(said.say("hello", 600) + quiet(1500)) + talk.run(100)
        assert "response.created" not in [event["type"] for event in events]
        assert talk.seen[-1]["transcript"] == "hello"


@pytest.mark.parametrize(
    ("patch", "code", "param"),
    [
        ({"instructions": "x"}, "unknown_parameter", "session.instructions"),
        ({"tools": []}, "unknown_parameter", "session.tools"),
        ({"model": "gpt-realtime"}, "unknown_parameter", "session.model"),
        ({"audio": {"output": {}}}, "unknown_parameter", "session.audio.output"),
        (
            turn_detection(threshold=2),
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {"audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}},
            "invalid_value",
            "session.audio.input.turn_detection",
        ),
    ],
)
def test_rule_67_its_updates_are_judged_by_its_own_fields(
    patch: Event, code: str, param: str
) -> None:
    """Transcription session: fields (…) only; `gpt-realtime-whisper` requires
    `turn_detection:null` (§12.1).
    """
    talk = transcribing()
    before = talk.session()
    include = ["item.input_audio_transcription.logprobs"]
    update = {"type": "transcription", "include": include}
    error = refusal(talk.say("session.update", session={**update, **patch}))
    assert (error["code"], error["param"]) == (code, param)
    assert talk.session() == before
    [updated] = talk.say("session.update", session=update)
    assert updated["session"] == {**before, "include": include}


def test_rule_67_a_stream_without_turns_is_committed_by_hand() -> None:
    """Transcription session: (…) `gpt-realtime-whisper` requires
    `turn_detection:null` (§12.1).
    """
    said = Utterances()
    talk = transcribing(transcriber=said)
    live = {"model": "gpt-realtime-whisper"}
    patch = {"turn_detection": None, "transcription": live}
    session = {"type": "transcription", "audio": {"input": patch}}
    [updated] = talk.say("session.update", session=session)
    assert updated["session"]["audio"]["input"]["turn_detection"] is None
    assert talk.append(said.say("hello", 600) + quiet(900)) == []
    talk.say("input_audio_buffer.commit")
    assert [e["type"] for e in talk.run(100)][-1].endswith("completed")
    item_id = talk.seen[-1]["item_id"]
    [retrieved] = talk.say("conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"][0]["transcript"] == "hello"


# --- client secrets -------------------------------------------------------------------


def expiry(seconds: Any) -> Event:
    return {"expires_after": {"anchor": "created_at", "seconds": seconds}}


async def test_rule_68_a_secret_lives_as_long_as_was_asked(
    autojump_clock: MockClock,
) -> None:
    """Client secrets endpoint: TTL bounds, `ek_` values (…)."""
    settings = Settings(wall=lambda: 1000.0)
    async with open_realtime_server(settings=settings) as server:
        for body, seconds in (({}, 600), (expiry(10), 10), (expiry(7200), 7200)):
            code, minted = await post(server, body)
            assert code == 200
            assert minted["value"].startswith("ek_")
            assert minted["expires_at"] == 1000 + seconds
            bearer = f"Bearer {minted['value']}"
            await trio.sleep(seconds - 0.01)
            async with dialled(server, authorization=bearer) as client:
                assert (await client.read())["type"] == "session.created"
                await trio.sleep(0.02)
                async with dialled(server, authorization=bearer) as late:
                    assert refusal([await late.read()])["code"] == "invalid_api_key"
                # What runs goes on.
                await client.send("input_audio_buffer.clear")
                assert (await client.read())["type"] == "input_audio_buffer.cleared"


async def test_rule_68_what_is_asked_is_json(autojump_clock: MockClock) -> None:
    """Client secrets endpoint: a body that could not be shown again is refused."""
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    tool = {**TOOL, "parameters": deep}
    async with open_realtime_server() as server:
        bodies: list[Any] = [{"session": {"type": "realtime", "tools": [tool]}}, []]
        for body in bodies:
            status, answer = await post(server, body)
            assert (status, answer["error"]["code"]) == (400, "invalid_json")
        assert (await post(server, {}))[0] == 200


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (expiry(9), "integer_below_min_value", "expires_after.seconds"),
        (expiry(7201), "integer_above_max_value", "expires_after.seconds"),
        (expiry(60.5), "invalid_type", "expires_after.seconds"),
        (expiry(None), "invalid_type", "expires_after.seconds"),
        ({"expires_after": {"days": 1}}, "unknown_parameter", "expires_after.days"),
        ({"expires_in": 60}, "unknown_parameter", "expires_in"),
        (
            {"session": {"type": "realtime", "model": 5}},
            "invalid_type",
            "session.model",
        ),
        (
            {"session": {"type": "realtime", "temperature": 1}},
            "unknown_parameter",
            "session.temperature",
        ),
        (
            {"session": {"type": "transcription", "instructions": "x"}},
            "unknown_parameter",
            "session.instructions",
        ),
        ({"session": {"model": MODEL}}, "missing_required_parameter", "session.type"),
        ({"session": None}, "invalid_type", "session"),
    ],
)
async def test_rule_68_what_is_asked_is_judged(
    autojump_clock: MockClock, body: Event, code: str, param: str
) -> None:
    """Client secrets endpoint: TTL bounds (…)."""
    async with open_realtime_server() as server:
        status, answer = await post(server, body)
    assert status == 400
    assert (answer["error"]["code"], answer["error"]["param"]) == (code, param)


async def test_rule_68_a_session_begins_with_what_is_attached(
    autojump_clock: MockClock,
) -> None:
    """Client secrets endpoint: (…) attached session defaults applied at connect."""
    attached = {
        "type": "realtime",
        "model": "gpt-realtime-mini",
        "instructions": "You are Kelly.",
        "tools": [TOOL],
        "audio": {"input": {"turn_detection": None}, "output": {"voice": "cedar"}},
    }
    async with open_realtime_server() as server:
        _, minted = await post(server, {"session": attached})
        bearer = f"Bearer {minted['value']}"
        for query, model in (("", "gpt-realtime-mini"), (f"?model={MODEL}", MODEL)):
            async with dialled(
                server, f"/v1/realtime{query}", authorization=bearer
            ) as client:
                session = (await client.read())["session"]
                assert session["model"] == model
                for shown in (session, minted["session"]):
                    assert shown["instructions"] == "You are Kelly."
                    assert shown["tools"] == [TOOL]
                    assert shown["audio"]["input"]["turn_detection"] is None
                    assert shown["audio"]["output"]["voice"] == "cedar"
                    assert shown["audio"]["output"]["speed"] == 1.0
                # The client may have it otherwise.
                patch = {"type": "realtime", "instructions": "You are Sunny."}
                await client.send("session.update", session=patch)
                updated = (await client.until("session.updated"))[-1]["session"]
                assert updated == session | patch
                # And the turn detection that it shows is the one that is at work.
                loud = b64encode(voice("Is anybody there?"))
                await client.send("input_audio_buffer.append", audio=loud)
                await client.send("input_audio_buffer.commit")
                assert (await client.read())["type"] == "input_audio_buffer.committed"


async def test_rule_68_a_secret_may_be_for_transcription(
    autojump_clock: MockClock,
) -> None:
    """Client secrets endpoint: (…) attached session defaults applied at connect."""
    vad = {"type": "server_vad", "silence_duration_ms": 900}
    audio = {"input": {"transcription": WHISPER, "turn_detection": vad}}
    async with open_realtime_server() as server:
        body = {"session": {"type": "transcription", "audio": audio}}
        status, minted = await post(server, body)
        assert status == 200
        bearer = f"Bearer {minted['value']}"
        async with dialled(server, "/v1/realtime", authorization=bearer) as client:
            session = (await client.read())["session"]
            assert session["object"] == "realtime.transcription_session"
            assert session["audio"]["input"]["transcription"]["model"] == "whisper-1"
            assert vad.items() <= session["audio"]["input"]["turn_detection"].items()
            assert json.dumps(session["audio"]) == json.dumps(
                minted["session"]["audio"]
            )
            await client.send("response.create")
            assert refusal([await client.read()])["code"] == "invalid_value"


async def test_rule_68_attached_settings_are_judged_again_by_the_model(
    autojump_clock: MockClock,
) -> None:
    """Client secrets endpoint: (…) attached session defaults applied at connect: to
    the model that is dialled, which may not take them.
    """
    attached = {
        "type": "realtime",
        "model": "gpt-realtime-2",
        "reasoning": {"effort": "low"},
    }
    async with open_realtime_server() as server:
        _, minted = await post(server, {"session": attached})
        bearer = f"Bearer {minted['value']}"
        async with dialled(server, authorization=bearer) as client:
            error = refusal([await client.read()])
            assert error["param"] == "session.reasoning"
            reason = "invalid_request_error.invalid_value"
            assert await client.closed() == (4000, reason)
        async with dialled(server, "/v1/realtime", authorization=bearer) as client:
            assert (await client.read())["type"] == "session.created"
