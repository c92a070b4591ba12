"""The local server keeps the rules of items (protocol §16.42-49)."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import attrs
import pytest

from by_hand import PLAIN, Event, Talk, refusal, types
from trialogue._codec import b64encode
from trialogue.testing.machine import Pace
from trialogue.testing.script import Call, Say
from trialogue.testing.speech import quiet, voice

BOTH = ["conversation.item.added", "conversation.item.done"]
CALL = {"type": "function_call", "name": "f", "arguments": "{}"}
USER = {"type": "message", "role": "user"}


def message(role: str, *parts: Event, **fields: Any) -> Event:
    return {"type": "message", "role": role, "content": list(parts), **fields}


def write(text: str = "x") -> Event:
    return {"type": "input_text", "text": text}


def create(talk: Talk, item: Event, **fields: Any) -> list[Event]:
    return talk.say("conversation.item.create", item=item, **fields)


def spoken(ms: int = 1000, **options: Any) -> tuple[Talk, str]:
    """A connection on which the model has said something, and the id of that."""
    talk = Talk(lambda turn: Say("one two three", ms=ms), **options)
    talk.say("response.create")
    talk.run()
    return talk, talk.order()[0]


def truncate(talk: Talk, item_id: str, end: int, index: int = 0) -> list[Event]:
    return talk.say(
        "conversation.item.truncate",
        item_id=item_id,
        content_index=index,
        audio_end_ms=end,
    )


def test_rule_42_a_created_item_is_added_and_done_where_it_stands() -> None:
    """`create` -> `added` + `done` with correct `previous_item_id`; generate the id if
    absent, keep the client's if present.
    """
    talk = Talk()
    items = [
        message("user", write("hello")),
        message("system", write("be kind"), id="mine"),
        message("assistant", {"type": "output_text", "text": "hi"}, id=""),
        {**CALL, "call_id": "call_1", "id": "fc"},
        {"type": "function_call_output", "call_id": "call_1", "output": ""},
    ]
    previous = None
    for item in items:
        added, done = create(talk, item, event_id="c1")
        assert types([added, done]) == BOTH
        assert added["item"] == done["item"]
        shown = added["item"]
        wanted = {**item, "object": "realtime.item", "status": "completed"}
        assert shown == {**wanted, "id": item.get("id") or shown["id"]}
        assert added["previous_item_id"] == done["previous_item_id"] == previous
        assert item.get("id") or shown["id"].startswith("item_")
        assert added["event_id"] != done["event_id"] != "c1"
        previous = shown["id"]
    assert len(set(talk.order())) == len(items)
    assert talk.run() == []


@pytest.mark.parametrize(
    ("where", "order"),
    [
        ({}, ["a", "b", "new"]),
        ({"previous_item_id": None}, ["a", "b", "new"]),
        ({"previous_item_id": ""}, ["a", "b", "new"]),
        ({"previous_item_id": "root"}, ["new", "a", "b"]),
        ({"previous_item_id": "a"}, ["a", "new", "b"]),
        ({"previous_item_id": "b"}, ["a", "b", "new"]),
    ],
)
def test_rule_43_an_item_goes_where_its_previous_one_says(
    where: Event, order: list[str]
) -> None:
    """`root`, `null`/absent/`""`, known id. Its successor is not told again."""
    talk = Talk()
    for name in "ab":
        create(talk, message("user", write(), id=name))
    events = create(talk, message("user", write(), id="new"), **where)
    assert [event["item"]["id"] for event in events] == ["new", "new"]
    before = [None, *order][order.index("new")]
    assert {event["previous_item_id"] for event in events} == {before}
    assert talk.order() == order


def test_rule_43_after_an_unknown_item_nothing_is_added() -> None:
    """Unknown id (error, not added)."""
    talk = Talk()
    create(talk, message("user", write(), id="a"))
    events = create(talk, message("user", write(), id="b"), previous_item_id="no")
    refused = refusal(events)
    assert refused["code"] == "item_create_invalid_previous_item_id"
    assert refused["message"] == (
        "Error adding item: the previous item with id 'no' does not exist."
    )
    assert talk.order() == ["a"]


def test_rule_44_an_id_exists_once() -> None:
    """Duplicate id -> `item_create_duplicate_item_id`."""
    talk, item_id = spoken()
    for again in (item_id, item_id):
        refused = refusal(create(talk, message("user", write(), id=again)))
        assert refused["code"] == "item_create_duplicate_item_id"
        assert refused["message"] == (
            f"Error adding item: an item with id '{item_id}' already exists."
        )
        assert refused["param"] is None
    assert talk.order() == [item_id]
    talk.say("conversation.item.delete", item_id=item_id)
    assert types(create(talk, message("user", write(), id=item_id))) == BOTH


def test_rule_44_an_old_server_appends_it_anyway() -> None:
    """Switch for the old "append anyway" behaviour."""
    talk = Talk(settings=attrs.evolve(PLAIN, duplicate_items="append"))
    create(talk, message("user", write("one"), id="a"))
    added, _ = create(talk, message("user", write("two"), id="a"))
    assert added["previous_item_id"] == added["item"]["id"] == "a"
    assert talk.order() == ["a", "a"]


AUDIO = {"type": "input_audio", "audio": b64encode(quiet(100))}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (message("assistant", {"type": "output_audio", "transcript": "x"}), "[0].type"),
        (message("assistant", AUDIO), "[0].type"),
        (message("assistant", write()), "[0].type"),
        (message("system", write(), AUDIO), "[1].type"),
        (message("system", IMAGE), "[0].type"),
        (message("system", {"type": "output_text", "text": "x"}), "[0].type"),
        (message("user", {"type": "output_text", "text": "x"}), "[0].type"),
        (message("user", {"type": "smell", "text": "x"}), "[0].type"),
        (
            message("user", {**IMAGE, "image_url": "http://x.test/a.png"}),
            "[0].image_url",
        ),
        (
            message("user", {**IMAGE, "image_url": "https://x.test/a.png"}),
            "[0].image_url",
        ),
        (
            message("user", {**IMAGE, "image_url": "data:image/gif;base64,AAAA"}),
            "[0].image_url",
        ),
        (message("user", {**IMAGE, "image_url": "data:text/html,x"}), "[0].image_url"),
        ({"type": "dance"}, "type"),
        ({"type": "item_reference", "id": "a"}, "type"),
    ],
)
def test_rule_45_what_a_client_may_not_create_is_refused(
    item: Event, param: str
) -> None:
    """Reject assistant `output_audio`/`input_audio` content, system items with
    non-text, http image URLs, unknown item types.
    """
    talk = Talk()
    create(talk, message("user", write(), id="a"))
    refused = refusal(create(talk, item, event_id="c1"))
    path = f"item.content{param}" if param.startswith("[") else f"item.{param}"
    assert (refused["code"], refused["param"]) == ("invalid_value", path)
    assert refused["event_id"] == "c1"
    assert talk.order() == ["a"]
    # The same is refused where a response brings its own context.
    if item["type"] != "item_reference":
        events = talk.say("response.create", response={"input": [item]})
        assert refusal(events)["param"] == path.replace("item", "response.input[0]", 1)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_rule_45_images_of_the_two_kinds_are_taken(kind: str) -> None:
    """A data URI of a PNG or JPEG is fine, and so is audio of the user's."""
    image = {"type": "input_image", "image_url": f"data:image/{kind};base64,AAAA"}
    assert types(create(Talk(), message("user", image, AUDIO, write()))) == BOTH


def test_rule_46_an_output_needs_its_call_and_starts_nothing() -> None:
    """`function_call_output` for unknown `call_id` -> error (switchable); never
    auto-responds.
    """
    output = {"type": "function_call_output", "call_id": "call_x", "output": "1"}
    talk = Talk(lambda turn: Call("f", call_id="call_x"))
    refused = refusal(create(talk, output))
    assert refused["code"] == "invalid_tool_call_id"
    assert "call_x" in refused["message"]
    talk.say("response.create")
    talk.run()
    assert types(create(talk, output) + talk.run(300)) == BOTH
    talk.say("conversation.item.delete", item_id=talk.order()[0])
    assert refusal(create(talk, output))["code"] == "invalid_tool_call_id"
    lenient = Talk(settings=attrs.evolve(PLAIN, unknown_calls="accept"))
    assert types(create(lenient, output) + lenient.run(300)) == BOTH


def test_rule_47_audio_is_in_retrieved_and_nowhere_else() -> None:
    """`retrieve` includes audio; `added`/`done`/`response.done` never do."""
    talk, said = spoken(ms=500)
    heard = voice("hello", 500)
    part = {"type": "input_audio", "audio": b64encode(heard), "transcript": "hello"}
    create(talk, message("user", part, id="brought"))
    talk.update(audio={"input": {"turn_detection": None}})
    talk.append(heard)
    [committed, *_] = talk.say("input_audio_buffer.commit")
    reference = {"type": "item_reference", "id": "brought"}
    talk.say("response.create", response={"input": [reference, message("user", part)]})
    talk.run()
    assert all(
        '"audio":' not in json.dumps(event.get("item", {})) for event in talk.seen
    )
    assert all(
        "audio" not in part
        for event in talk.seen
        if event["type"] == "response.done"
        for item in event["response"]["output"]
        for part in item["content"]
    )
    deltas = [
        b64decode(event["delta"])
        for event in talk.seen
        if event["type"] == "response.output_audio.delta" and event["item_id"] == said
    ]
    for item_id, transcript, audio in (
        (said, "one two three", b"".join(deltas)),
        ("brought", "hello", heard),
        (committed["item_id"], None, heard),
    ):
        [event] = talk.say("conversation.item.retrieve", item_id=item_id)
        assert event["type"] == "conversation.item.retrieved"
        [shown] = event["item"]["content"]
        assert b64decode(shown["audio"]) == audio
        assert shown["transcript"] == transcript


def test_rule_48_a_deleted_item_is_unlinked_and_its_id_is_gone() -> None:
    """`delete` unlinks, later operations on the id fail."""
    talk, spoke = spoken()
    for name in "bc":
        create(talk, message("user", write(), id=name))
    assert types(talk.say("conversation.item.delete", item_id="b")) == [
        "conversation.item.deleted"
    ]
    added, _ = create(talk, message("user", write(), id="d"), previous_item_id=spoke)
    assert added["previous_item_id"] == spoke
    assert talk.order() == [spoke, "d", "c"]
    [deleted] = talk.say("conversation.item.delete", item_id=spoke)
    assert deleted["item_id"] == spoke
    for events, code, verb in (
        (truncate(talk, spoke, 0), "item_truncate_invalid_item_id", "truncating"),
        (
            talk.say("conversation.item.retrieve", item_id=spoke),
            "item_retrieve_invalid_item_id",
            "retrieving",
        ),
        (
            talk.say("conversation.item.delete", item_id=spoke),
            "item_delete_invalid_item_id",
            "deleting",
        ),
    ):
        refused = refusal(events)
        assert refused["code"] == code
        assert refused["message"] == (
            f"Error {verb} item: the item with id '{spoke}' does not exist."
        )
    after = create(talk, message("user", write()), previous_item_id=spoke)
    assert refusal(after)["code"] == "item_create_invalid_previous_item_id"
    reference = [{"type": "item_reference", "id": spoke}]
    assert refusal(talk.say("response.create", response={"input": reference}))
    added, _ = create(
        talk, message("user", write(), id="first"), previous_item_id="root"
    )
    assert added["previous_item_id"] is None


@pytest.mark.parametrize(
    "reply", [Say("some words", ms=3000), Call("f", {"x": "y" * 99})]
)
def test_rule_48_deleting_what_is_being_made_silences_its_item_done(
    reply: Any,
) -> None:
    """Deleting the item being streamed suppresses its later `done`."""
    pace = Pace(text_ms=50)
    talk = Talk(
        lambda turn: [reply, Say("more")], settings=attrs.evolve(PLAIN, pace=pace)
    )
    talk.say("response.create")
    talk.run(0.1)
    [making] = talk.order()
    talk.say("conversation.item.delete", item_id=making)
    events = talk.run()
    done = [e for e in events if e["type"] == "conversation.item.done"]
    [after] = talk.order()
    assert [event["item"]["id"] for event in done] == [after]
    assert done[0]["previous_item_id"] is None
    ended = [
        e["item"]["id"] for e in events if e["type"] == "response.output_item.done"
    ]
    assert ended == [making, after]
    assert events[-2]["type"] == "response.done"


def test_rule_49_what_cannot_be_truncated_is_refused() -> None:
    """`truncate`: unknown id, non-assistant/no audio, and too-long errors."""
    talk, item_id = spoken(ms=1000)
    unknown = refusal(truncate(talk, "nobody", 0))
    assert unknown["code"] == "item_truncate_invalid_item_id"
    create(talk, message("user", AUDIO, id="user"))
    create(talk, message("assistant", {"type": "output_text", "text": "x"}, id="text"))
    create(talk, {**CALL, "id": "call"})
    for other, index in (("user", 0), ("text", 0), ("call", 0), (item_id, 1)):
        refused = refusal(truncate(talk, other, 0, index))
        assert refused["message"] == "Only model output audio messages can be truncated"
    beyond = refusal(truncate(talk, item_id, 1001))
    assert beyond["message"] == "Audio content of 1000ms is already shorter than 1001ms"
    assert refusal(truncate(talk, item_id, -1))["param"] == "audio_end_ms"
    [event] = talk.say("conversation.item.retrieve", item_id=item_id)
    assert event["item"]["content"][0]["transcript"] == "one two three"
    assert len(b64decode(event["item"]["content"][0]["audio"])) == 1000 * 48


@pytest.mark.parametrize("end", [1000, 400])
def test_rule_49_truncation_cuts_the_audio_and_wipes_the_transcript(end: int) -> None:
    """Success wipes the transcript, keeps ms <= length."""
    talk, item_id = spoken(ms=1000)
    [truncated] = truncate(talk, item_id, end)
    assert truncated["type"] == "conversation.item.truncated"
    assert (truncated["item_id"], truncated["content_index"]) == (item_id, 0)
    assert truncated["audio_end_ms"] == end
    [event] = talk.say("conversation.item.retrieve", item_id=item_id)
    [part] = event["item"]["content"]
    assert not part.get("transcript")
    assert len(b64decode(part["audio"])) == end * 48
    assert refusal(truncate(talk, item_id, end + 1))["message"].startswith(
        f"Audio content of {end}ms is already shorter"
    )
    assert talk.run() == []


def test_rule_49_what_is_still_being_said_can_be_truncated() -> None:
    """Truncating an item still being generated is allowed once audio exists."""
    pace = Pace(think_ms=10, burst=1, delta_ms=(100,))
    talk = Talk(
        lambda turn: Say("one two three", ms=1000),
        settings=attrs.evolve(PLAIN, pace=pace),
    )
    talk.say("response.create")
    refused = refusal(truncate(talk, "nobody", 0))
    assert refused["code"] == "item_truncate_invalid_item_id"
    talk.run(0.32)
    [item_id] = talk.order()
    assert types(truncate(talk, item_id, 200)) == ["conversation.item.truncated"]
    talk.run()
    [event] = talk.say("conversation.item.retrieve", item_id=item_id)
    [part] = event["item"]["content"]
    assert len(b64decode(part["audio"])) == 200 * 48
    assert not part.get("transcript")
