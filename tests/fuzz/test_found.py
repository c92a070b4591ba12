"""What hostile clients found: each sequence small, with what has to come of it."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from hostile_game import VOICE, Game
from trialogue._codec import FAST, STDLIB, Codec, b64encode
from trialogue.testing.machine.agenda import Entry
from trialogue.testing.script import Pause
from trialogue.testing.speech import quiet

VARIABLE = {"type": "input_text", "text": "Hello."}


def opened(codec: Codec = FAST) -> Game:
    return Game([["Hello."]], codec)


def errors(events: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [
        (event["error"]["code"], event["error"]["param"])
        for event in events
        if event["type"] == "error"
    ]


def send(game: Game, kind: str, **fields: Any) -> list[dict[str, Any]]:
    return game.send(json.dumps({"type": kind, **fields}))


def update(game: Game, **session: Any) -> list[dict[str, Any]]:
    return send(game, "session.update", session={"type": "realtime", **session})


def insert(game: Game, **item: Any) -> list[dict[str, Any]]:
    return send(game, "conversation.item.create", item=item)


def mcp_tool(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "mcp", "server_label": "s", **fields}]}


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"reasoning": {"effort": "immense"}}, "reasoning.effort"),
        ({"include": ["everything"]}, "include[0]"),
        (
            {"truncation": {"type": "retention_ratio", "retention_ratio": 1.1}},
            "truncation.retention_ratio",
        ),
        ({"prompt": {"id": "p", "variables": {"a": [1]}}}, "prompt.variables.a"),
        (mcp_tool(allowed_tools=7), "tools[0].allowed_tools"),
        (mcp_tool(allowed_tools={"tool_names": 7}), "tools[0].allowed_tools"),
        (mcp_tool(require_approval="sometimes"), "tools[0].require_approval"),
        (mcp_tool(require_approval={"always": 7}), "tools[0].require_approval"),
    ],
)
def test_what_the_protocol_does_not_know_is_refused(
    session: dict[str, Any], param: str
) -> None:
    """It would be shown to the client again, in a session that no client can read."""
    assert errors(update(opened(), **session)) == [
        ("invalid_value", f"session.{param}")
    ]


@pytest.mark.parametrize(
    "session",
    [
        {"reasoning": {"effort": "xhigh"}},
        {"prompt": {"id": "p", "variables": {"a": VARIABLE, "b": "c"}}},
        mcp_tool(allowed_tools=["a"], require_approval="never"),
        mcp_tool(
            allowed_tools={"tool_names": ["a"], "read_only": True},
            require_approval={"always": {"tool_names": ["a"]}, "never": {}},
        ),
        mcp_tool(allowed_tools=None, require_approval=None),
    ],
)  # fmt: skip
def test_what_it_does_know_is_taken(session: dict[str, Any]) -> None:
    (event,) = update(opened(), **session)

    assert event["type"] == "session.updated"


@pytest.mark.parametrize("name", ["voice", "speed"])
def test_a_voice_that_is_null_is_refused(name: str) -> None:
    """There is no way to speak without one."""
    found = errors(update(opened(), audio={"output": {name: None}}))

    assert found == [("invalid_type", f"session.audio.output.{name}")]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (
            {"type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "a"}]},
            "item.tools[0]",
        ),
        (
            {
                "type": "mcp_call",
                "server_label": "s",
                "name": "n",
                "arguments": "{}",
                "error": {"type": "http_error", "code": "x"},
            },
            "item.error",
        ),
    ],
)
def test_an_item_of_a_tool_server_has_its_shape(
    item: dict[str, Any], param: str
) -> None:
    game = opened()

    assert errors(insert(game, **item)) == [("invalid_value", param)]
    assert len(game.machine.conversation) == 0


def test_an_item_of_a_tool_server_is_shown_as_published() -> None:
    """Neither `object` nor `status`; the list of tools is there, if empty."""
    added, _ = insert(
        opened(), type="mcp_list_tools", server_label="s", status="completed"
    )

    assert added["item"].keys() == {"id", "type", "server_label", "tools"}
    assert added["item"]["tools"] == []


def test_text_of_an_assistant_is_shown_under_its_long_name() -> None:
    content = [{"type": "text", "text": "Hello."}]
    added, _ = insert(opened(), type="message", role="assistant", content=content)

    assert added["item"]["content"] == [{"type": "output_text", "text": "Hello."}]


@pytest.mark.parametrize("codec", [FAST, STDLIB], ids=["fast", "stdlib"])
def test_schemas_may_be_nested_as_deep_as_answers_can(codec: Codec) -> None:
    """A frame that is nested deeper is no JSON; neither kills the connection."""
    game = opened(codec)
    update(game, **mcp_tool())
    text = (
        '{"type":"session.update","session":{"type":"realtime","tools":[{"type":'
        '"function","name":"f","parameters":{"a":%s}}]}}'
    )
    taken = game.send(text % ("[" * 150 + "]" * 150))
    refused = game.send(text % ("[" * 900 + "]" * 900))

    assert taken[0]["type"] == "session.updated"
    assert errors(refused) == [("invalid_json", None)]


def test_turn_detection_begins_on_a_whole_sample() -> None:
    """Audio that was cut within a sample does not shift what is heard later.

    And no turn is told to lie where no audio came yet.
    """
    game = opened()
    update(game, audio={"input": {"turn_detection": None}})
    send(game, "input_audio_buffer.append", audio=b64encode(bytes(48 * 7 + 1)))
    detection = {"type": "server_vad", "prefix_padding_ms": 0}
    update(game, audio={"input": {"turn_detection": detection}})
    rest = bytes(48 * 3 - 1)
    sound = rest + quiet(20) + VOICE[: 48 * 500] + quiet(200)
    events = send(game, "input_audio_buffer.append", audio=b64encode(sound))

    assert [
        event.get("audio_start_ms", event.get("audio_end_ms")) for event in events[:2]
    ] == [30, 730]


def test_who_asks_and_cancels_again_and_again_leaves_nothing() -> None:
    """What was planned for a response is not kept until it would have been due."""
    game = Game([[Pause(3600.0)]], FAST, max_duration=1800.0)

    def held() -> int:
        gc.collect()
        return sum(isinstance(one, Entry) for one in gc.get_objects())

    before = held()
    for _ in range(300):
        send(game, "response.create")
        game.wait(1)
        send(game, "response.cancel")

    assert held() - before < 40
