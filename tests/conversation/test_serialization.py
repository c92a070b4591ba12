"""Contexts as JSON: round trip, and errors that name the place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from conversation.building import call, output, spoken, text
from conversation.generated import CONTEXTS
from trialogue.conversation import ChatContext, OpaqueItem, Record
from trialogue.errors import ConfigurationError


@given(CONTEXTS)
def test_every_context_comes_back_from_json_as_it_was(context: ChatContext) -> None:
    assert ChatContext.from_json(context.to_json()) == context
    assert ChatContext.from_json(context.to_json().encode()) == context
    assert ChatContext.from_dict(context.to_dict()) == context


def test_a_loaded_context_is_one_made_by_hand() -> None:
    record = Record()
    record.add_local(text("a"))
    loaded = ChatContext.from_json(record.snapshot().to_json())
    assert loaded.version == 0
    assert loaded.origin is None


def test_the_format_names_itself_and_leaves_out_defaults() -> None:
    assert ChatContext((spoken("u", "hi"), call("c", "1"))).to_dict() == {
        "format": "trialogue.chat_context",
        "version": 1,
        "items": [
            {
                "kind": "message",
                "id": "u",
                "role": "user",
                "content": [{"kind": "audio_transcribed", "transcript": "hi"}],
            },
            {
                "kind": "function_call",
                "id": "c",
                "call_id": "1",
                "name": "look_up",
                "arguments": "{}",
            },
        ],
    }


def _data(**item: Any) -> dict[str, Any]:
    return {"format": "trialogue.chat_context", "version": 1, "items": [item]}


MESSAGE = {"kind": "message", "id": "m", "role": "user", "content": []}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ([], "the top level: expected an object, found list"),
        ({}, "format: expected 'trialogue.chat_context', found null"),
        ({"format": "trialogue.chat_context", "version": 2}, "version: 2 is not"),
        ({"format": "trialogue.chat_context", "version": 1}, "items: expected a list"),
        (_data(), r"items\[0\]\.kind: expected one of message, function_call"),
        (_data(kind="joke"), r"items\[0\]\.kind: expected one of"),
        (_data(kind=[]), r"items\[0\]\.kind: expected one of"),
        (_data(**MESSAGE, mood=1), r"items\[0\]\.mood: a message has no such field"),
        (_data(kind="message"), r"items\[0\]\.id: missing"),
        (_data(**{**MESSAGE, "role": "tool"}), r"items\[0\]\.role: expected 'system'"),
        (
            _data(**{**MESSAGE, "id": 7}),
            r"items\[0\]\.id: expected a string, found int",
        ),
        (_data(**{**MESSAGE, "content": {}}), r"items\[0\]\.content: expected a list"),
        (
            _data(**{**MESSAGE, "content": ["hello"]}),
            r"items\[0\]\.content\[0\]: expected an object, found str",
        ),
        (
            _data(**{**MESSAGE, "content": [{"kind": "text", "text": None}]}),
            r"items\[0\]\.content\[0\]\.text: expected a string, found null",
        ),
        (
            _data(**MESSAGE, heard_ms=True),
            r"items\[0\]\.heard_ms: expected a whole number or null, found bool",
        ),
        (
            _data(kind="opaque", id="x", type="y", data=[]),
            r"items\[0\]\.data: expected an object, found list",
        ),
    ],
    ids=range(16),
)
def test_bad_data_is_refused_by_its_place(data: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        ChatContext.from_json(json.dumps(data))


@pytest.mark.parametrize(
    "content", ["{", "[" * 100_000, b"\xff\xfe\x00"], ids=["cut", "deep", "binary"]
)
def test_what_is_not_json_is_refused(content: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match="not JSON"):
        ChatContext.from_json(content)


def test_the_text_of_a_conversation_is_not_in_the_error() -> None:
    bad = _data(**{**MESSAGE, "id": ["my secret"]})
    with pytest.raises(ConfigurationError) as caught:
        ChatContext.from_dict(bad)
    assert "secret" not in str(caught.value)


def test_two_items_of_one_id_are_refused_on_loading() -> None:
    data = _data(**MESSAGE)
    data["items"] *= 2
    with pytest.raises(ConfigurationError, match=r"items\[1\]\.id: 'm' stands twice"):
        ChatContext.from_dict(data)


@pytest.mark.parametrize(
    "value", [object(), float("nan"), {1, 2}], ids=["object", "nan", "set"]
)
def test_an_opaque_item_that_json_cannot_hold_is_refused(value: object) -> None:
    context = ChatContext((output("o", "1"), OpaqueItem("x", "mcp", {"v": value})))
    with pytest.raises(ConfigurationError, match=r"items\[1\]\.data: not something"):
        context.to_json()
