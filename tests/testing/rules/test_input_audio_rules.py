"""The local server keeps the rules of input audio and turns (protocol §16.24-37)."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import attrs
import pytest

from by_hand import PLAIN, Event, Talk, refusal, types
from trialogue._codec import b64encode
from trialogue.testing.machine import Pace
from trialogue.testing.script import Say
from trialogue.testing.speech import quiet, voice

MANUAL = {"audio": {"input": {"turn_detection": None}}}
SPEECH = "input_audio_buffer.speech_"
COMMITTED = [
    "input_audio_buffer.committed",
    *(f"conversation.item.{w}" for w in ("added", "done")),
]


def append(talk: Talk, audio: bytes | str) -> list[Event]:
    text = b64encode(audio) if isinstance(audio, bytes) else audio
    return talk.say("input_audio_buffer.append", audio=text)


def vad(talk: Talk, kind: str = "server_vad", **options: Any) -> list[Event]:
    detection = {"type": kind, **options}
    return talk.update(audio={"input": {"turn_detection": detection}})


def only(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["type"] == kind]


def retrieved(talk: Talk, item_id: str) -> bytes:
    """Return the audio of an item, as the server gives it back."""
    [event] = talk.say("conversation.item.retrieve", item_id=item_id)
    return b64decode(event["item"]["content"][0]["audio"])


@pytest.mark.parametrize(
    "audio",
    ["not base64!", "AAA", "AAAA=", "AA\nAA", "AA-_", " AAAA", 7, None],
    ids=repr,
)
def test_rule_24_audio_is_strict_base64(audio: Any) -> None:
    """`append`: strict base64; bad base64 -> `invalid_value`, param `audio`.

    What is refused leaves the buffer as it was.
    """
    talk = Talk()
    talk.update(**MANUAL)
    append(talk, quiet(100))
    refused = refusal(append(talk, audio))
    expected = "invalid_value" if isinstance(audio, str) else "invalid_type"
    assert (refused["code"], refused["param"]) == (expected, "audio")
    [committed, *_] = talk.say("input_audio_buffer.commit")
    assert retrieved(talk, committed["item_id"]) == quiet(100)


@pytest.mark.parametrize(
    ("kind", "per_ms"), [("audio/pcm", 48), ("audio/pcmu", 8), ("audio/pcma", 8)]
)
def test_rule_24_audio_is_decoded_by_its_format_and_not_acknowledged(
    kind: str, per_ms: int
) -> None:
    """`append`: decode per format, no acknowledgement.

    100 ms are enough to commit, one sample less is not.
    """
    talk = Talk()
    form = {"type": kind, "rate": 24000} if kind == "audio/pcm" else {"type": kind}
    talk.update(audio={"input": {"turn_detection": None, "format": form}})
    sample = 2 if kind == "audio/pcm" else 1
    assert append(talk, b"\x55" * (100 * per_ms - sample)) == []
    assert refusal(talk.say("input_audio_buffer.commit"))["code"] == (
        "input_audio_buffer_commit_empty"
    )
    assert append(talk, b"\x55" * sample) + talk.run() == []
    [committed, *_] = talk.say("input_audio_buffer.commit")
    assert retrieved(talk, committed["item_id"]) == b"\x55" * 100 * per_ms


def test_rule_24_fifteen_mebibytes_at_once_are_the_most() -> None:
    """`append`: > 15 MiB -> error."""
    talk = Talk()
    talk.update(**MANUAL)
    assert append(talk, bytes(15 * 2**20)) == []
    refused = refusal(append(talk, bytes(15 * 2**20 + 1)))
    assert (refused["code"], refused["param"]) == ("invalid_value", "audio")


def test_rule_25_the_clock_counts_the_samples_of_the_whole_session() -> None:
    """Keep a session-long sample clock for `audio_start_ms`/`audio_end_ms`.

    Neither wall time, nor a commit, nor a clear, nor another format or detection moves
    it.
    """
    talk = Talk()
    vad(talk, prefix_padding_ms=0)
    talk.run(100)
    append(talk, quiet(500) + voice("one", 400) + quiet(300))
    append(talk, quiet(300))
    talk.say("input_audio_buffer.clear")
    append(talk, quiet(200))
    talk.say("input_audio_buffer.commit")
    talk.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
    talk.update(**MANUAL)
    append(talk, b"\xff" * 8 * 100)
    vad(talk, prefix_padding_ms=0)
    append(talk, b"\xff" * 8 * 300)
    append(talk, b"\x00" * 8 * 400 + b"\xff" * 8 * 300)
    started = only(talk.seen, f"{SPEECH}started")
    stopped = only(talk.seen, f"{SPEECH}stopped")
    assert [event["audio_start_ms"] for event in started] == [500, 2100]
    assert [event["audio_end_ms"] for event in stopped] == [1100, 2700]


@pytest.mark.parametrize("ms", [0, 1, 99.5])
def test_rule_26_less_than_100_ms_are_not_committed(ms: float) -> None:
    """`commit` with < 100 ms -> `input_audio_buffer_commit_empty`, measured ms in text.

    What was there stays.
    """
    talk = Talk()
    talk.update(**MANUAL)
    append(talk, bytes(int(ms * 48)))
    refused = refusal(talk.say("input_audio_buffer.commit", event_id="c1"))
    assert (refused["code"], refused["event_id"]) == (
        "input_audio_buffer_commit_empty",
        "c1",
    )
    assert refused["message"] == (
        "Error committing input audio buffer: buffer too small. Expected at least "
        f"100ms of audio, but buffer only has {ms:.2f}ms of audio."
    )
    append(talk, bytes(4800 - int(ms * 48)))
    assert types(talk.say("input_audio_buffer.commit")) == COMMITTED


def test_rule_27_a_commit_makes_an_item_and_nothing_else() -> None:
    """`commit` -> `committed`, `item.added`, `item.done`; emptied; no response."""
    talk = Talk()
    talk.text("before", "u0")
    append(talk, quiet(250))  # with detection on, too: nobody spoke
    events = talk.say("input_audio_buffer.commit") + talk.run()
    assert types(events) == COMMITTED
    committed, added, done = events
    assert {e["previous_item_id"] for e in events} == {"u0"}
    assert committed["item_id"] == added["item"]["id"]
    assert added["item"] == done["item"]
    assert (added["item"]["role"], added["item"]["status"]) == ("user", "completed")
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    again = refusal(talk.say("input_audio_buffer.commit"))
    assert "only has 0.00ms" in again["message"]


def test_rule_28_a_clear_is_answered_and_drops_the_open_turn() -> None:
    """`clear` -> `cleared`; drops speech state."""
    talk = Talk()
    [started] = append(talk, voice("never mind", 500))
    [cleared] = talk.say("input_audio_buffer.clear")
    assert cleared["type"] == "input_audio_buffer.cleared"
    assert cleared["event_id"]
    assert append(talk, quiet(1000)) == []  # no end of what was dropped
    talk.say("input_audio_buffer.clear")
    refused = refusal(talk.say("input_audio_buffer.commit"))
    assert "only has 0.00ms" in refused["message"]
    again, *_ = append(talk, voice("again", 500) + quiet(500))
    assert again["type"] == f"{SPEECH}started"
    assert again["item_id"] != started["item_id"]


def test_rule_29_a_turn_starts_once_and_keeps_its_id_to_the_commit() -> None:
    """VAD: `speech_started` (once per turn, item id reserved), `speech_stopped`, auto
    commit using that same id.
    """
    talk = Talk()
    vad(talk, create_response=False)
    long = voice("a", 700) + quiet(190) + voice("b", 700) + quiet(200)
    events = talk.append(quiet(300) + long)
    assert types(events) == [f"{SPEECH}started", f"{SPEECH}stopped", *COMMITTED]
    item_id = events[0]["item_id"]
    assert {e.get("item_id") or e["item"]["id"] for e in events} == {item_id}
    second = talk.append(long)
    assert second[0]["item_id"] != item_id
    assert second[2]["previous_item_id"] == item_id
    assert append(talk, quiet(5000)) == []


def test_rule_29_a_click_is_no_turn() -> None:
    """VAD (energy based): too short, or too low, is not speech."""
    talk = Talk()
    assert talk.append(quiet(100) + voice("click", 20) + quiet(300)) == []
    faint = b"\x00\x01" * 2400 + quiet(300)
    vad(talk, threshold=1)
    assert talk.append(faint) == []
    vad(talk, threshold=0)
    assert types(talk.append(faint))[0] == f"{SPEECH}started"


@pytest.mark.parametrize(("padding", "silence"), [(0, 200), (300, 500), (120, 1000)])
def test_rule_30_padding_and_silence_show_in_the_times_and_in_the_audio(
    padding: int, silence: int
) -> None:
    """Prefix padding and silence reflected in the ms values and in retrieved audio."""
    talk = Talk()
    vad(talk, prefix_padding_ms=padding, silence_duration_ms=silence)
    line = quiet(700) + voice("hello", 400) + quiet(1500)
    events = talk.append(line)
    started, stopped = events[:2]
    assert started["audio_start_ms"] == 700 - padding
    assert stopped["audio_end_ms"] == 1100 + silence
    turn = line[started["audio_start_ms"] * 48 : stopped["audio_end_ms"] * 48]
    assert retrieved(talk, started["item_id"]) == turn


def test_rule_30_a_turn_does_not_reach_back_into_the_one_before() -> None:
    """The padding of a turn ends where the turn before it did."""
    talk = Talk()
    vad(talk, prefix_padding_ms=500, create_response=False)
    talk.append(quiet(100) + voice("one", 300) + quiet(250))
    talk.append(voice("two", 300) + quiet(250))
    first, second = only(talk.seen, f"{SPEECH}started")
    [end, _] = [e["audio_end_ms"] for e in only(talk.seen, f"{SPEECH}stopped")]
    assert (first["audio_start_ms"], second["audio_start_ms"]) == (0, end)


def test_rule_31_a_commit_in_an_open_turn_takes_its_id_and_ends_it() -> None:
    """Manual commit while VAD speech is open uses the reserved id and suppresses
    `speech_stopped`.
    """
    talk = Talk()
    [started] = append(talk, quiet(400) + voice("go", 500))
    events = talk.say("input_audio_buffer.commit")
    assert types(events) == COMMITTED
    assert events[0]["item_id"] == started["item_id"]
    assert append(talk, quiet(800)) + talk.run() == []
    assert retrieved(talk, started["item_id"]) == quiet(300) + voice("go", 500)


def test_rule_32_the_answer_follows_the_events_of_the_user_s_item() -> None:
    """VAD commit with `create_response` starts a response after the user's item."""
    talk = Talk()
    events = talk.append(voice("hello", 300) + quiet(200))
    assert types(events)[1:6] == [f"{SPEECH}stopped", *COMMITTED, "response.created"]
    assert only(events, "response.created")[0]["response"]["metadata"] is None
    silent = Talk()
    vad(silent, create_response=False)
    events = silent.append(voice("hello", 300) + quiet(200)) + silent.run()
    assert types(events) == [f"{SPEECH}started", f"{SPEECH}stopped", *COMMITTED]


@pytest.mark.parametrize("create", [True, False])
def test_rule_33_speech_cancels_the_response_of_the_conversation_only(
    create: bool,
) -> None:
    """`interrupt_response`: at `speech_started` cancel the default-conversation
    response with reason `turn_detected`; out-of-band ones continue.
    """
    talk = Talk(lambda turn: Say("a long story", ms=60_000))
    vad(talk, create_response=create)
    [own] = talk.say("response.create")
    [aside] = talk.say(
        "response.create", response={"conversation": "none", "input": []}
    )
    talk.run(1)
    events = append(talk, voice("stop", 200))
    assert events[0]["type"] == f"{SPEECH}started"
    [done] = [e["response"] for e in only(events, "response.done")]
    assert done["id"] == own["response"]["id"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert [item["status"] for item in done["output"]] == ["incomplete"]
    talk.run()
    ended = {
        e["response"]["id"]: e["response"] for e in only(talk.seen, "response.done")
    }
    assert ended[aside["response"]["id"]]["status"] == "completed"


def test_rule_33_without_the_flag_the_response_goes_on() -> None:
    """`interrupt_response` false: speech cancels nothing."""
    talk = Talk(lambda turn: Say("a long story", ms=60_000))
    vad(talk, interrupt_response=False, create_response=False)
    talk.say("response.create")
    talk.run(1)
    talk.append(voice("stop", 200) + quiet(200))
    talk.run()
    [done] = only(talk.seen, "response.done")
    assert done["response"]["status"] == "completed"


@pytest.mark.parametrize(("when_busy", "answers"), [("skip", 0), ("queue", 1)])
def test_rule_34_a_turn_during_a_response_is_skipped_or_waits(
    when_busy: Any, answers: int
) -> None:
    """`create_response` true while a response is running and interrupt false -> skip
    or queue; scriptable.
    """
    talk = Talk(
        lambda turn: Say("long", ms=20_000),
        settings=attrs.evolve(PLAIN, when_busy=when_busy),
    )
    vad(talk, interrupt_response=False)
    talk.say("response.create")
    talk.run(0.5)
    events = talk.append(voice("hello", 300) + quiet(300))
    assert {f"{SPEECH}stopped", *COMMITTED} <= set(types(events))
    assert not {"response.created", "response.done"} & set(types(events))
    later = talk.run()
    kinds = [e["type"] for e in later if e["type"].startswith("response.")]
    assert kinds.count("response.created") == answers
    if answers:
        assert kinds.index("response.done") < kinds.index("response.created")


def test_rule_35_semantic_detection_takes_its_time_by_eagerness() -> None:
    """semantic_vad: same events, timing by eagerness."""
    ends: dict[str, int] = {}
    for eagerness in ("low", "medium", "auto", "high"):
        talk = Talk()
        vad(talk, "semantic_vad", eagerness=eagerness)
        events = talk.append(quiet(500) + voice("well", 400) + quiet(8000))
        assert types(events)[:6] == [
            f"{SPEECH}started",
            f"{SPEECH}stopped",
            *COMMITTED,
            "response.created",
        ]
        assert len({e["item_id"] for e in events[:3]}) == 1
        ends[eagerness] = events[1]["audio_end_ms"]
    assert ends["low"] > ends["medium"] == ends["auto"] > ends["high"] > 900


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", 0.5),
        ("prefix_padding_ms", 300),
        ("silence_duration_ms", 500),
        ("idle_timeout_ms", 6000),
    ],
)
def test_rule_35_semantic_detection_has_no_keys_of_server_vad(
    key: str, value: float
) -> None:
    """semantic_vad: rejects server_vad-only keys."""
    talk = Talk()
    refused = refusal(vad(talk, "semantic_vad", **{key: value}))
    path = f"session.audio.input.turn_detection.{key}"
    assert (refused["code"], refused["param"]) == ("unknown_parameter", path)
    [updated] = talk.update()
    shown = updated["session"]["audio"]["input"]["turn_detection"]
    assert shown["type"] == "server_vad"


IDLE = "input_audio_buffer.timeout_triggered"


def line(talk: Talk, seconds: float) -> list[Event]:
    """A line that is open, and nobody speaks."""
    return talk.append(quiet(round(seconds * 1000)), 9600)


def test_rule_36_after_a_while_of_silence_the_server_goes_on() -> None:
    """Idle timeout: armed after a response, for the length of its audio and the
    timeout; `timeout_triggered` -> `committed` (silent audio) -> item -> a response.
    """
    settings = attrs.evolve(PLAIN, pace=Pace(think_ms=0, burst=1e6))
    talk = Talk(lambda turn: Say("Hello.", ms=2000), settings=settings)
    vad(talk, idle_timeout_ms=5000)
    line(talk, 6)  # not before there was a response
    assert only(talk.seen, IDLE) == []
    talk.say("response.create")
    talk.run(0.001)
    assert only(line(talk, 6.8), IDLE) == []
    events = line(talk, 0.4)
    assert types(events)[:5] == [IDLE, *COMMITTED, "response.created"]
    timeout, committed = events[:2]
    assert timeout["item_id"] == committed["item_id"]
    # The silence after what was said had been played, not what came before.
    length = timeout["audio_end_ms"] - timeout["audio_start_ms"]
    assert length == pytest.approx(5000, abs=250)
    assert 12_800 <= timeout["audio_end_ms"] <= 13_200
    assert retrieved(talk, committed["item_id"]) == quiet(length)


def test_rule_36_speech_stops_the_waiting() -> None:
    """Idle timeout: "if no speech"; and none is armed without the option."""
    waiting = {"idle_timeout_ms": 5000, "create_response": False}
    nothing: Event = {}
    for options in (waiting, nothing):
        talk = Talk(lambda turn: Say("Hello.", ms=300))
        vad(talk, **options)
        talk.say("response.create")
        line(talk, 3)
        if options:
            talk.append(voice("wait", 300) + quiet(300))
        line(talk, 10)
        assert only(talk.seen, IDLE) == []


def test_rule_37_detection_turned_off_in_a_turn_keeps_the_buffer() -> None:
    """Changing turn_detection to null mid-turn keeps the buffer."""
    talk = Talk()
    append(talk, quiet(200) + voice("keep me", 500))
    assert types(talk.update(**MANUAL)) == ["session.updated"]
    assert append(talk, quiet(600)) == []
    events = talk.say("input_audio_buffer.commit") + talk.run()
    assert types(events) == COMMITTED
    audio = retrieved(talk, events[0]["item_id"])
    assert audio == quiet(200) + voice("keep me", 500) + quiet(600)


def test_rule_37_a_turn_ends_by_the_detection_as_it_is_then() -> None:
    """Changing the detection's times mid-turn keeps the turn, and its id."""
    talk = Talk()
    [started] = append(talk, voice("hello", 500))
    vad(talk, silence_duration_ms=700)
    stopped, *_ = append(talk, quiet(1000))
    assert stopped["item_id"] == started["item_id"]
    assert stopped["audio_end_ms"] == 1200


@pytest.mark.parametrize("flag", ["create_response", "interrupt_response"])
def test_rule_37_a_flag_changed_in_a_turn_leaves_the_turn_open(flag: str) -> None:
    """What a turn causes may change while it is open; where it ends does not."""
    talk = Talk()
    [started] = append(talk, voice("hello", 500))
    changed: Event = {flag: False}
    vad(talk, **changed)
    events = append(talk, voice("there", 300) + quiet(300))
    assert types(events)[:4] == [f"{SPEECH}stopped", *COMMITTED]
    assert events[0]["item_id"] == started["item_id"]
    created = only(events, "response.created")
    assert len(created) == (flag != "create_response")


@pytest.mark.parametrize("size", [333, 960, 20_000])
def test_rule_29_turns_do_not_depend_on_how_the_audio_is_cut(size: int) -> None:
    """The samples decide, not the frames they come in, odd sizes included."""
    talk = Talk()
    vad(talk, create_response=False)
    audio = quiet(310) + voice("one", 305) + quiet(333) + voice("two", 250) + quiet(300)
    for start in range(0, len(audio), size):
        append(talk, audio[start : start + size])
    started = only(talk.seen, f"{SPEECH}started")
    assert [event["audio_start_ms"] for event in started] == [10, 820]
