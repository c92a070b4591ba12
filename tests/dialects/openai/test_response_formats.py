"""Each response is decoded in its own format, as a stream of its own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from trialogue.dialects import events as ev
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.openai.g711 import Decoder

DATA = bytes(range(0, 250, 7))


def read(dialect: OpenAIDialect, kind: str, **fields: Any) -> list[Any]:
    text = json.dumps({"type": kind, "event_id": "e", **fields})
    return list(dialect.decode(text))


def begin(dialect: OpenAIDialect, response_id: str, kind: str | None = None) -> None:
    audio = {} if kind is None else {"audio": {"output": {"format": {"type": kind}}}}
    response = {"id": response_id, "status": "in_progress", **audio}
    read(dialect, "response.created", response=response)


def end(dialect: OpenAIDialect, response_id: str) -> None:
    response = {"id": response_id, "status": "completed", "output": []}
    read(dialect, "response.done", response=response)


def hear(dialect: OpenAIDialect, response_id: str, item: str, data: bytes) -> bytes:
    delta = base64.b64encode(data).decode()
    (event,) = read(
        dialect,
        "response.output_audio.delta",
        response_id=response_id,
        item_id=item,
        delta=delta,
    )
    assert isinstance(event, ev.OutputAudio)
    return event.pcm


@pytest.mark.behaviour("A1", "R10")
def test_two_responses_at_once_do_not_disturb_each_other() -> None:
    """One beside the conversation; their pieces come in turn."""
    dialect = OpenAIDialect(output_format="pcmu")
    begin(dialect, "r1", "audio/pcmu")
    begin(dialect, "r2", "audio/pcma")
    heard = {"r1": b"", "r2": b""}
    for at in range(0, len(DATA), 5):
        for response_id in heard:
            piece = DATA[at : at + 5]
            heard[response_id] += hear(dialect, response_id, "i" + response_id, piece)
    assert heard == {"r1": Decoder("pcmu").feed(DATA), "r2": Decoder("pcma").feed(DATA)}


@pytest.mark.behaviour("A1")
def test_format_is_the_one_that_the_response_shows_or_else_the_sessions() -> None:
    dialect = OpenAIDialect(output_format="pcmu")
    shown: list[tuple[str | None, Any]] = [
        ("audio/pcm", DATA),
        ("audio/pcma", Decoder("pcma").feed(DATA)),
        ("audio/opus", Decoder("pcmu").feed(DATA)),
        (None, Decoder("pcmu").feed(DATA)),
    ]
    for number, (kind, pcm) in enumerate(shown):
        begin(dialect, f"r{number}", kind)
        assert hear(dialect, f"r{number}", "i", DATA) == pcm
        end(dialect, f"r{number}")
    assert hear(dialect, "never-begun", "i", DATA) == Decoder("pcmu").feed(DATA)


@pytest.mark.behaviour("A1")
def test_response_that_runs_keeps_its_format_when_the_session_changes() -> None:
    dialect = OpenAIDialect()
    begin(dialect, "r1")
    audio = {"output": {"format": {"type": "audio/pcmu"}}}
    read(dialect, "session.updated", session={"audio": audio})
    assert hear(dialect, "r1", "i", DATA) == DATA
    end(dialect, "r1")
    begin(dialect, "r2")
    assert hear(dialect, "r2", "i", DATA) == Decoder("pcmu").feed(DATA)


def test_each_item_of_a_response_begins_anew() -> None:
    dialect = OpenAIDialect(output_format="pcma")
    begin(dialect, "r")
    assert hear(dialect, "r", "i", DATA) == hear(dialect, "r", "j", DATA)


# --- the older name of an item's events -----------------------------------------------


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        ("completed", [ev.ItemAdded, ev.ItemDone]),
        ("in_progress", [ev.ItemAdded]),
    ],
)
def test_item_created_is_added_and_done_unless_it_is_still_being_made(
    status: str, kinds: list[type]
) -> None:
    """One event where newer servers send two: it acknowledges an item all the same."""
    item = {
        "id": "i",
        "type": "message",
        "role": "user",
        "status": status,
        "content": [{"type": "input_text", "text": "a"}],
    }
    dialect = OpenAIDialect()
    events = read(dialect, "conversation.item.created", item=item, previous_item_id="h")
    assert [type(event) for event in events] == kinds
    assert events[0].answers == ("item", "i")
    assert all(
        (event.previous_item_id, event.item.id) == ("h", "i") for event in events
    )
    unnamed = {key: value for key, value in item.items() if key != "id"}
    (raw,) = read(dialect, "conversation.item.created", item=unnamed)
    assert isinstance(raw, ev.UnknownEvent)
