"""The local server keeps the rules of responses (protocol §16.50-64)."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from by_hand import PLAIN, Event, Talk, refusal, types
from trialogue._codec import b64encode
from trialogue.dialects.openai.wire import SERVER_EVENTS
from trialogue.testing.machine import Pace, Settings
from trialogue.testing.script import Call, Fail, Pause, Say, Stop, Turn
from trialogue.testing.speech import Utterances, quiet, voice

if TYPE_CHECKING:
    from collections.abc import Iterable

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
BEGIN = ["response.output_item.added", "conversation.item.added"]
END = ["conversation.item.done", "response.output_item.done"]
SPOKEN = [
    *BEGIN,
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    *END,
]
WRITTEN = [
    *BEGIN,
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    *END,
]
CALLED = [
    *BEGIN,
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    *END,
]


def respond(talk: Talk, **response: Any) -> list[Event]:
    return talk.say("response.create", response=response)


def whole(talk: Talk, **response: Any) -> list[Event]:
    """Ask for a response, and return all of it, without what follows."""
    events = respond(talk, **response) + talk.run()
    return [event for event in events if event["type"] != "rate_limits.updated"]


def only(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["type"] == kind]


def ended(events: list[Event]) -> Event:
    """Return the response of the only `response.done`."""
    [done] = only(events, "response.done")
    response: Event = done["response"]
    return response


def rungs(events: list[Event]) -> list[str]:
    """Return the types in order, of each item the runs of deltas as one."""
    names: list[str] = []
    since: set[str] = set()
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            since.clear()
        if not (kind.endswith(".delta") and kind in since):
            names.append(kind)
        since.add(kind)
    return names


def test_rule_50_a_conversation_has_one_response_at_a_time() -> None:
    """One active default-conversation response; second `response.create` ->
    `conversation_already_has_active_response`, nothing else.
    """
    talk = Talk(lambda turn: Say("a story", ms=3000))
    [created] = respond(talk)
    first = created["response"]["id"]
    requests: list[Event] = [{}, {"conversation": "auto"}, {"input": []}]
    for again in requests:
        refused = refusal(talk.say("response.create", response=again, event_id="c2"))
        assert refused["code"] == "conversation_already_has_active_response"
        assert refused["event_id"] == "c2"
        assert refused["message"] == (
            f"Conversation already has an active response in progress: {first}. "
            "Wait until the response is finished before creating a new one."
        )
    assert ended(talk.run())["id"] == first
    assert types(respond(talk)) == ["response.created"]


def test_rule_51_responses_beside_the_conversation_leave_it_alone() -> None:
    """Parallel out-of-band responses with `conversation_id:null`, no
    `conversation.item.*`.
    """
    talk = Talk(lambda turn: [Say("aside", ms=2000), Call("look")])
    talk.text("hello", "u1")
    before = len(talk.seen)
    beside = [
        respond(talk, conversation="none", metadata={"n": str(n)})[0] for n in range(3)
    ]
    [own] = respond(talk)
    assert own["response"]["conversation_id"].startswith("conv_")
    ids = {event["response"]["id"] for event in beside}
    assert len(ids) == 3
    talk.run()
    events = talk.seen[before:]
    for event in only(events, "response.created") + only(events, "response.done"):
        if event["response"]["id"] in ids:
            assert event["response"]["conversation_id"] is None
    done = {e["response"]["id"]: e["response"] for e in only(events, "response.done")}
    assert {done[i]["metadata"]["n"] for i in ids} == {"0", "1", "2"}
    assert {response["status"] for response in done.values()} == {"completed"}
    told = [e for e in events if e["type"].startswith("conversation.item.")]
    mine = [item["id"] for item in done[own["response"]["id"]]["output"]]
    assert {event["item"]["id"] for event in told} == {*mine}
    assert talk.order() == ["u1", *mine]
    # Nor did they speak in it: but its own response did, and its voice is fixed.
    fresh = Talk()
    whole(fresh, conversation="none")
    changed = fresh.update(audio={"output": {"voice": "ash"}})
    assert types(changed) == ["session.updated"]


def test_rule_52_the_events_of_a_response_come_in_order() -> None:
    """Event order exactly as §7.3; short part names in content_part, long names in
    items; `output_index`, `content_index` right.
    """
    talk = Talk(lambda turn: [Say("It is two.", ms=900), Call("look", {"at": 1})])
    events = respond(talk) + talk.run()
    assert rungs(events) == [
        "response.created",
        *SPOKEN,
        *CALLED,
        "response.done",
        "rate_limits.updated",
    ]
    response_id = events[0]["response"]["id"]
    inside = [e for e in events if "output_index" in e]
    assert {e["response_id"] for e in inside} == {response_id}
    added = only(events, "response.output_item.added")
    message, call = [event["item"]["id"] for event in added]
    for event in inside:
        item_id = event.get("item_id") or event["item"]["id"]
        assert event["output_index"] == [message, call].index(item_id)
        if "part" in event or (".output_" in event["type"] and "item" not in event):
            assert event["content_index"] == 0
        if "function_call" in event["type"]:
            assert "content_index" not in event
    assert added[0]["item"]["content"] == []
    assert added[1]["item"]["arguments"] == ""
    for event in added + only(events, "conversation.item.added"):
        assert event["item"]["status"] == "in_progress"
    for kind in ("response.output_item.done", "conversation.item.done"):
        assert [e["item"] for e in only(events, kind)] == ended(events)["output"]
    previous = [e["previous_item_id"] for e in only(events, "conversation.item.added")]
    assert previous == [None, message]
    begun, closed = [event["part"] for event in inside if "part" in event]
    assert begun == {"type": "audio", "transcript": ""}
    assert closed == {"type": "audio", "transcript": "It is two."}
    content = ended(events)["output"][0]["content"]
    assert content == [{"type": "output_audio", "transcript": "It is two."}]
    told = only(events, "response.output_audio_transcript.delta")
    assert "".join(event["delta"] for event in told) == "It is two."
    [done] = only(events, "response.output_audio_transcript.done")
    assert done["transcript"] == "It is two."


def test_rule_53_created_is_empty_and_done_is_whole() -> None:
    """`response.created` with empty output and null usage; `response.done` always, with
    all output items, usage, echoed metadata.
    """
    talk = Talk(lambda turn: [Say("one"), Call("look"), Say("two")])
    metadata = {"k" * 64: "v" * 512, "b": ""}
    created, *_, done = whole(talk, metadata=metadata)
    first, last = created["response"], done["response"]
    assert (created["type"], done["type"]) == ("response.created", "response.done")
    assert (first["status"], first["status_details"]) == ("in_progress", None)
    assert (first["output"], first["usage"]) == ([], None)
    assert first["metadata"] == last["metadata"] == metadata
    assert first["object"] == last["object"] == "realtime.response"
    assert (last["status"], last["status_details"]) == ("completed", None)
    assert [item["id"] for item in last["output"]] == talk.order()
    assert [item["status"] for item in last["output"]] == ["completed"] * 3
    assert last["usage"]["total_tokens"] > 0
    for same in ("id", "conversation_id", "output_modalities", "max_output_tokens"):
        assert first[same] == last[same]
    assert last["audio"]["output"]["voice"] == "marin"
    created, *_, done = whole(talk)
    assert created["response"]["metadata"] is done["response"]["metadata"] is None


@pytest.mark.parametrize(
    "metadata",
    [{str(n): "" for n in range(17)}, {"k" * 65: ""}, {"k": "v" * 513}, {"k": 1}],
    ids=["pairs", "key", "value", "type"],
)
def test_rule_53_metadata_has_limits(metadata: Any) -> None:
    """`metadata`: at most 16 pairs, keys of 64, string values of 512 characters."""
    refused = refusal(respond(Talk(), metadata=metadata))
    assert refused["code"] in ("invalid_value", "invalid_type")
    assert refused["param"].startswith("response.metadata")


def test_rule_54_overrides_hold_for_their_response_and_are_recorded() -> None:
    """`instructions`, `tools`, `tool_choice`, `output_modalities`, `max_output_tokens`,
    `voice`, `input` overrides recorded so tests can assert them; session unchanged
    afterwards.
    """
    turns: list[Turn] = []

    def brain(turn: Turn) -> Any:
        turns.append(turn)
        return "Yes."

    talk = Talk(brain)
    talk.update(instructions="Be Kelly.", tools=[TOOL])
    talk.text("hello", "u1")
    talk.text("and more", "u2")
    [before] = talk.update()
    written = {"type": "message", "role": "user", "id": "w"}
    content = [{"type": "input_text", "text": "translate"}]
    shown = ended(
        whole(
            talk,
            instructions="Speak Latin.",
            tools=[{"type": "function", "name": "own"}],
            tool_choice={"type": "function", "name": "own"},
            output_modalities=["text"],
            max_output_tokens=99,
            audio={"output": {"voice": "ash", "format": {"type": "audio/pcmu"}}},
            input=[
                {"type": "item_reference", "id": "u1"},
                {**written, "content": content},
            ],
        )
    )
    assert shown["output_modalities"] == ["text"]
    assert shown["max_output_tokens"] == 99
    assert shown["audio"]["output"] == {
        "format": {"type": "audio/pcmu"},
        "voice": "ash",
    }
    assert shown["conversation_id"] is not None
    assert talk.order() == ["u1", "u2", shown["output"][0]["id"]]
    [record] = talk.machine.responses
    assert (record.instructions, record.override) == ("Speak Latin.",) * 2
    assert (record.tools, record.tool_choice) == (("own",), "own")
    assert (record.modality, record.voice) == ("text", "ash")
    assert (record.max_output_tokens, record.input) == (99, ("u1", "w"))
    assert turns[0].said == (("user", "hello"), ("user", "translate"))
    [after] = talk.update()
    assert after["session"] == before["session"]
    plain = ended(whole(talk))
    assert plain["output_modalities"] == ["audio"]
    assert plain["max_output_tokens"] == "inf"
    assert (turns[1].instructions, turns[1].override) == ("Be Kelly.", None)
    assert (turns[1].tools, turns[1].tool_choice) == (("look",), "auto")
    assert len(turns[1].said) == 3
    whole(talk, instructions="", tools=[], input=[])
    assert (turns[2].instructions, turns[2].tools, turns[2].said) == ("", (), ())


def test_rule_54_no_other_voice_once_the_model_has_spoken() -> None:
    """A voice override counts as a voice change in the conversation, not beside it."""
    talk = Talk()
    whole(talk)
    own = {"audio": {"output": {"voice": "ash"}}}
    assert refusal(respond(talk, **own))["code"] == "cannot_update_voice"
    beside = ended(whole(talk, conversation="none", **own))
    assert beside["audio"]["output"]["voice"] == "ash"
    same = ended(whole(talk, audio={"output": {"voice": "marin"}}))
    assert same["status"] == "completed"


def test_rule_55_a_reference_is_resolved_or_refused() -> None:
    """`item_reference` resolved or error: then no response is made."""
    turns: list[Turn] = []

    def brain(turn: Turn) -> Any:
        turns.append(turn)
        return "Yes."

    talk = Talk(brain)
    talk.text("hello", "u1")
    given = [{"type": "item_reference", "id": name} for name in ("u1", "nobody")]
    refused = refusal(
        talk.say("response.create", response={"input": given}, event_id="c1")
    )
    assert (refused["code"], refused["param"]) == (
        "invalid_value",
        "response.input[1].id",
    )
    assert "'nobody'" in refused["message"]
    assert refused["event_id"] == "c1"
    assert (talk.run(), turns) == ([], [])
    assert ended(whole(talk, input=given[:1]))["status"] == "completed"
    assert turns[0].said == (("user", "hello"),)


def text_of(thing: Event) -> str:
    """Return the text of an event, an item or a part, or "" if it is of none."""
    if thing["type"] == "response.output_audio.delta":
        return ""
    names = ("text", "transcript", "arguments", "delta")
    return next((thing[name] for name in names if thing.get(name)), "")


def test_rule_55_a_context_of_its_own_is_read_like_the_conversation() -> None:
    """Items of `input` get ids, their audio is heard, and none of them is kept."""
    said = Utterances()
    audio = {"type": "input_audio", "audio": b64encode(said.say("good day", 1000))}
    heard = {"type": "message", "role": "user", "content": [audio]}
    talk = Talk(lambda turn: f"You said {turn.user_text}.", transcriber=said)
    done = ended(whole(talk, input=[heard], conversation="none"))
    assert done["output"][0]["content"][0]["transcript"] == "You said good day."
    assert done["usage"]["input_token_details"]["audio_tokens"] == 10
    [record] = talk.machine.responses
    assert record.input is not None
    [item_id] = record.input
    assert item_id.startswith("item_")
    assert talk.order() == []


TAILS: list[tuple[Any, Event, list[str]]] = [
    (Say("a b c d e f", ms=9000), {}, SPOKEN[5:]),
    (Say("a b c d e f" * 9), {"output_modalities": ["text"]}, WRITTEN[4:]),
    (Call("look", {"at": "x" * 500}), {}, CALLED[3:]),
]


@pytest.mark.parametrize(("reply", "response", "tail"), TAILS)
def test_rule_56_a_cancel_closes_what_is_open(
    reply: Any, response: Event, tail: list[str]
) -> None:
    """Cancel: close open parts with `.done`s, items `incomplete`, `response.done`
    cancelled/client_cancelled.
    """
    settings = attrs.evolve(PLAIN, pace=Pace(text_ms=50))
    talk = Talk(lambda turn: [Call("look"), reply, Call("look")], settings=settings)
    [created] = respond(talk, **response)
    talk.run(0.4)
    events = talk.say("response.cancel", response_id=created["response"]["id"])
    assert types(events) == [*tail, "response.done"]
    done = ended(events)
    assert done["id"] == created["response"]["id"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert [item["status"] for item in done["output"]] == ["completed", "incomplete"]
    assert events[-2]["item"] == events[-3]["item"] == done["output"][1]
    # What was said so far is in the tail, in the item, and stays in the conversation.
    cut = done["output"][1]
    said = "".join(
        event["delta"]
        for event in talk.seen
        if event.get("item_id") == cut["id"] and "delta" in event and text_of(event)
    )
    assert said
    told = {text_of(event) for event in events[:-2] if text_of(event)}
    assert told == {said} == {text_of(cut) or text_of(cut["content"][0])}
    assert talk.order() == [item["id"] for item in done["output"]]
    assert types(talk.run()) == ["rate_limits.updated"]
    assert types(respond(talk)) == ["response.created"]


def test_rule_56_what_does_not_run_cannot_be_cancelled() -> None:
    """Wrong or no target -> `response_cancel_not_active`; one beside needs its id."""

    def refused(**target: str) -> None:
        wrong = refusal(talk.say("response.cancel", **target))
        assert wrong["code"] == "response_cancel_not_active"
        assert wrong["message"].startswith(
            "Cancellation failed: no active response found"
        )

    talk = Talk(lambda turn: Say("a story", ms=9000))
    refused()
    [beside] = respond(talk, conversation="none")
    refused()
    refused(response_id="resp_other")
    [own] = respond(talk)
    refused(response_id="resp_other")
    ids = [event["response"]["id"] for event in (beside, own)]
    assert ended(talk.say("response.cancel"))["id"] == ids[1]
    refused(response_id=ids[1])
    assert ended(talk.say("response.cancel", response_id=ids[0]))["id"] == ids[0]
    refused(response_id=ids[0])


def test_rule_56_deltas_under_way_come_before_the_tail() -> None:
    """The slot is free only after `response.done`; a second cancel finds nothing."""
    settings = attrs.evolve(PLAIN, pace=Pace(cancel_ms=100, burst=1, delta_ms=(20,)))
    talk = Talk(lambda turn: Say("a story", ms=9000), settings=settings)
    respond(talk)
    talk.run(0.2)
    assert talk.say("response.cancel") == []
    again = refusal(talk.say("response.cancel"))
    assert again["code"] == "response_cancel_not_active"
    busy = refusal(respond(talk))
    assert busy["code"] == "conversation_already_has_active_response"
    events = talk.run(0.12)
    assert events[0]["type"] == "response.output_audio.delta"
    assert events[-1]["type"] == "response.done"
    assert types(respond(talk)) == ["response.created"]


def test_rule_57_audio_is_paced_in_deltas_of_many_sizes() -> None:
    """Audio deltas: paced by script (burst faster than realtime by default), sizes
    vary, total ms known for truncation.
    """
    talk = Talk(lambda turn: Say("a story", ms=4000))
    respond(talk)
    sizes: list[int] = []
    begin = talk.now
    for _ in range(4000):
        deltas = only(talk.run(0.001), "response.output_audio.delta")
        sizes += [len(b64decode(event["delta"])) for event in deltas]
        if sum(sizes) == 4000 * 48:
            break
    assert len(set(sizes)) > 3
    assert 0.1 < talk.now - begin < 1
    talk.run()
    [item_id] = talk.order()
    cut = {"item_id": item_id, "content_index": 0}
    beyond = talk.say("conversation.item.truncate", audio_end_ms=4001, **cut)
    assert refusal(beyond)["message"].startswith("Audio content of 4000ms")
    slow = Talk(
        lambda turn: Say("a story", ms=4000),
        settings=attrs.evolve(PLAIN, pace=Pace(burst=1, think_ms=500, delta_ms=(250,))),
    )
    respond(slow)
    assert only(slow.run(0.49), "response.output_audio.delta") == []
    assert len(only(slow.run(2.02), "response.output_audio.delta")) == 9


def test_rule_57_audio_is_in_the_format_of_the_session() -> None:
    """Each delta is audio of `audio.output.format`."""
    talk = Talk(lambda turn: Say("a story", ms=990))
    talk.update(audio={"output": {"format": {"type": "audio/pcmu"}}})
    deltas = only(whole(talk), "response.output_audio.delta")
    assert sum(len(b64decode(event["delta"])) for event in deltas) == 990 * 8
    raw = only(
        whole(talk, audio={"output": {"format": {"type": "audio/pcm", "rate": 24000}}}),
        "response.output_audio.delta",
    )
    assert sum(len(b64decode(event["delta"])) for event in raw) == 990 * 48


ARGUMENTS: Event = {
    "city": 'Li"ma \\ Zürich\n',
    "list": [True, None, 12345.678, {"deep": {}}],
}


def test_rule_58_arguments_come_in_pieces_that_are_no_json() -> None:
    """Function calls: deltas that split inside JSON tokens/escapes; `arguments` in done
    = concatenation; status completed. `function_call_arguments.done` has `name`.
    """
    pieces: set[str] = set()
    for shift in range(7):
        given = {"x" * shift: 0, **ARGUMENTS}
        talk = Talk(lambda turn, given=given: Call("look", given))
        events = whole(talk)
        deltas = [
            e["delta"] for e in only(events, "response.function_call_arguments.delta")
        ]
        [done] = only(events, "response.function_call_arguments.done")
        [item] = ended(events)["output"]
        assert done["arguments"] == "".join(deltas) == item["arguments"]
        assert json.loads(done["arguments"]) == given
        assert done["name"] == item["name"] == "look"
        calls = {e["call_id"] for e in events if "call_id" in e} | {item["call_id"]}
        assert len(calls) == 1
        assert item["status"] == "completed"
        text = done["arguments"]
        at = 0
        for delta in deltas[:-1]:
            at += len(delta)
            pieces.add(text[max(at - 6, 0) : at + 1])
    assert any(piece[-2] == "\\" for piece in pieces), "split in an escape"
    assert any(piece[-2:].isdigit() for piece in pieces), "split in a number"
    assert any("\\u" in piece[-6:-1] for piece in pieces), "split in a code point"
    assert any(piece[-2:].isalpha() for piece in pieces), "split in a word"


def test_rule_58_the_call_s_item_is_there_before_its_arguments() -> None:
    """`conversation.item.added` comes for model items too, before the arguments."""
    talk = Talk(lambda turn: Call("look", {"at": 1}))
    kinds = [event["type"] for event in whole(talk)]
    assert kinds.index("conversation.item.added") < kinds.index(
        "response.function_call_arguments.delta"
    )


@pytest.mark.parametrize(
    ("reply", "response", "ladder"),
    [
        (Say("Hi there."), {"output_modalities": ["text"]}, WRITTEN),
        ([Say("Wait."), Call("look")], {}, SPOKEN + CALLED),
        ([Call("look"), Call("look", {"at": 2})], {}, CALLED * 2),
        (Call("look"), {}, CALLED),
        ([], {}, []),
        (Pause(1), {}, []),
    ],
    ids=["text", "message and call", "two calls", "tool only", "empty", "pause"],
)
def test_rule_59_a_response_may_hold_many_things(
    reply: Any, response: Event, ladder: list[str]
) -> None:
    """Text modality path; message + function call; two function calls; tool only; empty
    output.
    """
    events = whole(Talk(lambda turn: reply), **response)
    assert rungs(events) == ["response.created", *ladder, "response.done"]
    done = ended(events)
    assert (done["status"], done["status_details"]) == ("completed", None)
    items = ladder.count("response.output_item.added")
    assert len({item["id"] for item in done["output"]}) == items
    calls = [item["call_id"] for item in done["output"] if "call_id" in item]
    assert len(set(calls)) == len(calls) == (ladder.count(CALLED[3]))
    if response:
        parts = [event["part"] for event in events if "part" in event]
        assert parts == [{"type": "text", "text": t} for t in ("", "Hi there.")]
        assert done["output"][0]["content"] == [
            {"type": "output_text", "text": "Hi there."}
        ]


@pytest.mark.parametrize(
    ("reply", "limit", "tail"),
    [
        (Say("a b c d", ms=5000), {}, SPOKEN[5:]),
        (Say("a b c d e f"), {"output_modalities": ["text"]}, WRITTEN[4:]),
        (Call("look", {"at": "x" * 99}), {}, CALLED[3:]),
    ],
)
def test_rule_59_a_token_limit_leaves_it_incomplete(
    reply: Any, limit: Event, tail: list[str]
) -> None:
    """Max tokens (`incomplete`): the item is, too, and its arguments are no JSON."""
    events = whole(Talk(lambda turn: reply), max_output_tokens=4, **limit)
    assert types(events)[-len(tail) - 1 :] == [*tail, "response.done"]
    done = ended(events)
    assert done["status"] == "incomplete"
    assert done["status_details"] == {
        "type": "incomplete",
        "reason": "max_output_tokens",
    }
    [item] = done["output"]
    assert item["status"] == "incomplete"
    if item["type"] == "function_call":
        with pytest.raises(ValueError, match="Unterminated"):
            json.loads(item["arguments"])


def test_rule_59_a_filter_leaves_it_incomplete() -> None:
    """Content filter."""
    done = ended(whole(Talk(lambda turn: [Say("Well."), Stop("content_filter")])))
    assert done["status"] == "incomplete"
    assert done["status_details"] == {"type": "incomplete", "reason": "content_filter"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("rate_limit_exceeded", "rate_limit_error"),
        ("insufficient_quota", "insufficient_quota"),
        ("server_error", "server_error"),
    ],
)
@pytest.mark.parametrize("before", [[], [Say("Well.")]])
def test_rule_59_a_response_fails_with_a_code_and_no_error_event(
    code: str, kind: str, before: list[Any]
) -> None:
    """`failed` with error codes (rate limit, quota, server); usage all zeros."""
    reply = [*before, Fail(code, "Try again in 3s.", kind)]
    events = whole(Talk(lambda turn: reply))
    done = ended(events)
    assert done["status"] == "failed"
    assert done["status_details"] == {
        "type": "failed",
        "error": {"type": kind, "code": code, "message": "Try again in 3s."},
    }
    assert len(done["output"]) == len(before)
    assert only(events, "error") == []
    assert set(numbers(done["usage"])) == {0}


def numbers(value: Any) -> Iterable[int]:
    """Return every number in it."""
    if isinstance(value, dict):
        return [n for one in value.values() for n in numbers(one)]
    return [value]


@pytest.mark.parametrize("delay", [None, 40, 500])
def test_rule_60_rate_limits_follow_the_response(delay: float | None) -> None:
    """`rate_limits.updated` after `response.done`, delayed, and optional."""
    pace = Pace(rate_limits_ms=delay)
    talk = Talk(lambda turn: Say("Hi."), settings=attrs.evolve(PLAIN, pace=pace))
    respond(talk)
    while not (seen := talk.run(0.01)) or seen[-1]["type"] != "response.done":
        pass
    if delay is None:
        assert talk.run(600) == []
        return
    assert talk.run(delay / 1000 - 0.011) == []
    [limits] = talk.run(0.03)
    assert limits["type"] == "rate_limits.updated"
    [tokens] = limits["rate_limits"]
    assert tokens.keys() == {"name", "limit", "remaining", "reset_seconds"}
    assert tokens["name"] == "tokens"
    assert tokens["remaining"] <= tokens["limit"]


def test_rule_61_there_are_things_that_no_client_knows() -> None:
    """`obfuscation` and one made-up extra field on some deltas, one made-up event type:
    to test tolerance.
    """
    talk = Talk(
        lambda turn: [Say("one two three four five"), Call("look")],
        settings=Settings(wall=lambda: 0.0),
    )
    events = whole(talk) + whole(talk, output_modalities=["text"])
    unknown = {event["type"] for event in events} - {*SERVER_EVENTS}
    assert unknown == {"response.mood.updated"}
    texts = (
        "response.output_text.delta",
        "response.output_audio_transcript.delta",
    )
    deltas = [event for event in events if event["type"] in texts]
    assert {event["type"] for event in deltas} == {*texts}
    assert all(isinstance(event["obfuscation"], str) for event in deltas)
    assert len({event["obfuscation"] for event in deltas}) > 1
    strange = Counter("mood" in event for event in deltas)
    assert strange[True] > 0
    assert strange[False] > 0
    # And none of it where it is not wanted.
    plain = whole(Talk(lambda turn: Say("one two three four five")))
    assert not any("mood" in event or "mood" in event["type"] for event in plain)


def test_rule_62_the_numbers_of_tokens_fit_together() -> None:
    """Usage numbers consistent: totals add up, cached within input, transcript text
    tokens + audio tokens.
    """
    talk = Talk(
        lambda turn: [Say("some words to say", ms=1000), Call("look", {"a": 1})]
    )
    talk.update(instructions="Be brief. " * 80, tools=[TOOL])
    for _ in range(3):
        talk.text("x" * 300, "")
        whole(talk)
    talk.say(
        "conversation.item.create",
        item={
            "type": "message",
            "role": "user",
            "content": [
                {
                    "type": "input_audio",
                    "audio": b64encode(quiet(2000)),
                    "transcript": "z" * 999,
                }
            ],
        },
    )
    whole(talk)
    spent = [event["response"]["usage"] for event in only(talk.seen, "response.done")]
    for usage in spent:
        read, made = usage["input_token_details"], usage["output_token_details"]
        cached = read["cached_tokens_details"]
        kinds = ("text_tokens", "audio_tokens", "image_tokens")
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens"] == sum(read[kind] for kind in kinds)
        assert usage["output_tokens"] == made["text_tokens"] + made["audio_tokens"]
        assert read["cached_tokens"] == sum(cached[kind] for kind in kinds)
        assert all(cached[kind] <= read[kind] for kind in kinds)
        assert made["audio_tokens"] == 20  # one per 50 ms
        assert made["text_tokens"] >= len("some words to say") // 4
    assert spent[0]["input_token_details"]["cached_tokens"] == 0
    assert spent[1]["input_token_details"]["cached_tokens"] > 0
    reads = [usage["input_token_details"] for usage in spent]
    assert reads[1]["text_tokens"] > reads[0]["text_tokens"] + 300 // 4
    # Of what the user says the model reads the audio, one token per 100 ms, and never
    # the transcript.
    growth = [reads[n + 1]["audio_tokens"] - reads[n]["audio_tokens"] for n in (1, 2)]
    assert growth == [20, 40]
    assert reads[3]["text_tokens"] < reads[2]["text_tokens"] + 100


def test_rule_63_the_client_owns_the_playback() -> None:
    """`output_audio_buffer.*` never sent; `output_audio_buffer.clear` refused."""
    talk = Talk(lambda turn: Say("a story", ms=5000))
    respond(talk)
    talk.run(1)
    refused = refusal(talk.say("output_audio_buffer.clear", event_id="c1"))
    assert (refused["code"], refused["param"]) == ("invalid_value", "type")
    assert refused["event_id"] == "c1"
    # As for any other type that is not taken here: those that are, are listed.
    assert "'response.cancel'" in refused["message"]
    assert "'output_audio_buffer.clear'" not in refused["message"]
    talk.append(voice("stop", 300) + quiet(300))
    talk.run()
    assert not any("output_audio_buffer" in event["type"] for event in talk.seen)


def test_rule_34_an_answer_that_waits_does_not_talk_over_the_user() -> None:
    """Whoever speaks again is answered then, and once, for all that was said."""
    settings = attrs.evolve(PLAIN, when_busy="queue", pace=Pace(burst=1))
    long = Say("A long story.", ms=20_000)
    said = Utterances()
    asked: list[str] = []

    def brain(turn: Turn) -> Say:
        asked.append(turn.user_text)
        return long

    talk = Talk(brain, transcriber=said, settings=settings)
    talk.append(said.say("one", 500))
    talk.say("response.create")
    talk.append(quiet(400))
    spoken = types(talk.append(said.say("two", 300)))
    assert "response.done" in spoken
    assert "response.created" not in spoken
    talk.append(quiet(400))
    talk.run()
    assert asked == ["", "two"]
