"""The second dialect, which shares nothing with OpenAI's, fits the same seam."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dialects.plain import PLAIN, PlainDialect
from trialogue.conversation.items import (
    AudioTranscribed,
    FunctionCall,
    FunctionCallOutput,
    Message,
    TextContent,
)
from trialogue.dialects import commands as cmd
from trialogue.dialects import events as ev
from trialogue.errors import ConversionError, ProtocolError
from trialogue.tools.spec import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.dialects.dialect import Dialect


def types(events: Sequence[ev.Event]) -> list[type]:
    return [type(event) for event in events]


@pytest.mark.parametrize(
    ("command", "frame"),
    [
        (
            cmd.UpdateSession(instructions="Hi", tools=(ToolSpec("f", "", {}),)),
            {"setup": {"instructions": "Hi", "tools": ["f"]}},
        ),
        (cmd.UpdateSession(), {"setup": {}}),
        (
            cmd.CreateItem(Message("i", "user", (TextContent("a"),))),
            {"say": {"role": "user", "text": "a"}},
        ),
        (cmd.CreateItem(FunctionCallOutput("i", "call-1", "7")), {"result": "7"}),
        (cmd.AppendAudio(b"\0\0"), {"audio": "AAA="}),
        (cmd.CommitAudio(), {"end_of_turn": True}),
        (cmd.CreateResponse(key="k"), {"reply": True}),
        (cmd.CancelResponse(), {"stop": True}),
    ],
)
def test_only_the_wish_for_a_reply_is_answered(
    command: cmd.Command, frame: object
) -> None:
    encoded = PlainDialect().encode(command, event_id="e")
    assert json.loads(encoded.text) == frame
    asks = isinstance(command, cmd.CreateResponse)
    assert encoded.answer == (("response", "k") if asks else None)


def test_what_needs_no_frame_gives_none() -> None:
    assert PlainDialect().encode(cmd.ClearAudio(), event_id="e").text == ""


@pytest.mark.parametrize(
    "command",
    [
        cmd.DeleteItem("i"),
        cmd.TruncateItem("i", 5),
        cmd.CreateItem(Message("i", "user", ())),
        cmd.CreateItem(FunctionCall("i", "c", "f", "{}")),
    ],
)
def test_what_has_no_form_is_refused(command: cmd.Command) -> None:
    with pytest.raises(ConversionError):
        PlainDialect().encode(command, event_id="e")


def test_a_reply_has_made_up_ids_and_our_key() -> None:
    dialect: Dialect = PlainDialect()
    dialect.encode(cmd.CreateResponse(key="k"), event_id="e")
    assert dialect.decode('{"hello":"s"}') == [ev.SessionStarted("s")]
    begun = dialect.decode('{"text":"Good "}')
    assert types(begun) == [
        ev.ResponseCreated,
        ev.OutputItemAdded,
        ev.ItemAdded,
        ev.OutputText,
    ]
    assert begun[0] == ev.ResponseCreated("response-1", key="k")
    assert dialect.decode('{"audio":"AAA="}') == [
        ev.OutputAudio("response-1", "item-1", b"\0\0")
    ]
    dialect.decode('{"text":"day."}')
    whole = Message("item-1", "assistant", (TextContent("Good day."),))
    assert dialect.decode('{"done":true}') == [
        ev.ItemDone(whole, previous_known=False),
        ev.OutputItemDone("response-1", whole),
        ev.ResponseDone("response-1", "completed", items=(whole,)),
    ]


def test_a_call_ends_what_was_being_said() -> None:
    dialect = PlainDialect()
    dialect.decode('{"text":"Wait."}')
    events = dialect.decode('{"call":{"name":"f","args":{"a":1}}}')
    assert types(events) == [
        ev.ItemDone,
        ev.OutputItemDone,
        ev.OutputItemAdded,
        ev.ItemAdded,
        ev.ItemDone,
        ev.OutputItemDone,
        ev.CallReady,
    ]
    call = FunctionCall("item-2", "call-1", "f", '{"a":1}')
    assert events[-1] == ev.CallReady("response-1", call, 1)


def test_a_stopped_reply_is_cancelled_and_its_words_are_incomplete() -> None:
    dialect = PlainDialect()
    dialect.decode('{"text":"I was say"}')
    done = dialect.decode('{"stopped":true}')[-1]
    assert isinstance(done, ev.ResponseDone)
    assert (done.status, done.items[0].status) == ("cancelled", "incomplete")


def test_the_answer_to_a_tools_result_is_nobodys() -> None:
    """The provider replies by itself, so there is no key."""
    assert PLAIN.auto_tool_reply_generation
    dialect = PlainDialect()
    dialect.encode(cmd.CreateItem(FunctionCallOutput("i", "call-1", "7")), event_id="e")
    created = dialect.decode('{"text":"Seven."}')[0]
    assert created == ev.ResponseCreated("response-1")


def test_user_turns_errors_and_the_unknown() -> None:
    dialect = PlainDialect()
    user = Message("item-1", "user", (AudioTranscribed("Hello."),))
    assert dialect.decode('{"heard":"Hello."}') == [
        ev.ItemAdded(user, previous_known=False),
        ev.ItemDone(user, previous_known=False),
    ]
    assert dialect.decode('{"error":"no"}') == [ev.ErrorReported("no")]
    assert dialect.decode('{"mood":1}') == [ev.UnknownEvent("mood", {"mood": 1})]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a":1,"b":2}'])
def test_malformed_lines_are_protocol_errors(text: str) -> None:
    with pytest.raises(ProtocolError):
        PlainDialect().decode(text)
