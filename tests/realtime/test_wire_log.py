"""The wire log: every frame, without keys, sound and, unless asked for, words."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from stage import on_stage, outputs, prompted, realtime_stage, running, speak, until
from trialogue import (
    Agent,
    Backoff,
    ConnectionLost,
    Message,
    OpenAIRealtime,
    RunContext,
    ServerError,
    WireLog,
    function_tool,
    open_session,
)
from trialogue._codec import b64encode
from trialogue.conversation.items import ImageContent
from trialogue.realtime.redaction import MOST, redacted
from trialogue.testing import (
    Call,
    Fail,
    Say,
    Utterances,
    close,
    cut,
    quiet,
    reject,
)
from websocket_peer import Peer, playing

KEY = "sk-sentinel0123456789abcdef"
WORDS = "xylophone"
"""Stands in whatever anybody says, writes, asks for or answers."""
SOUND = b64encode(bytes(range(256)) * 40)

# --- one frame --------------------------------------------------------------------


def shape(event: Any, *, texts: bool = False) -> Any:
    return json.loads(redacted(json.dumps(event), texts=texts))


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize(
    "event",
    [
        {"type": "input_audio_buffer.append", "audio": SOUND},
        {"type": "response.output_audio.delta", "item_id": "i", "delta": SOUND},
        {"type": "response.audio.delta", "delta": SOUND},
        {
            "type": "conversation.item.retrieved",
            "item": {"content": [{"audio": SOUND}]},
        },
        {"type": "some.day", "payload": {"inline_data": {"data": SOUND}}},
        {"type": "some.day", "unheard_of": SOUND},
        {"type": "some.day", "unheard_of": [[{"x": f"words {SOUND} words"}]]},
        {"content": [{"type": "input_image", "image_url": f"data:image/png;{SOUND}"}]},
        {"content": [{"type": "input_image", "url": f"data:image/png;{SOUND}"}]},
    ],
)
def test_sound_and_pictures_are_never_shown(event: Any, texts: bool) -> None:
    """Wherever they stand, under whatever name."""
    assert SOUND[:200] not in redacted(json.dumps(event), texts=texts)


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "error": {"message": f"Incorrect API key provided: {KEY}."}},
        {"type": "error", "error": {"code": KEY, "param": KEY, "type": KEY}},
        {
            "type": "session.created",
            "session": {"client_secret": {"value": "sentinel"}},
        },
        {"tools": [{"type": "mcp", "authorization": "sentinel"}]},
        {"tools": [{"type": "mcp", "headers": {"X-Whatever": "sentinel"}}]},
        {"api_key": "sentinel", "apiKey": "sentinel", "access_token": ["sentinel"]},
        {"item": {"content": [{"text": f"My key is {KEY}, Bearer sentinel"}]}},
        {KEY: 1},
    ],
)
def test_keys_are_never_shown(event: Any, texts: bool) -> None:
    """By the name of their field, and by their looks in any text."""
    assert "sentinel" not in redacted(json.dumps(event), texts=texts)


SPOKEN = [
    {"type": "session.update", "session": {"instructions": WORDS}},
    {"tools": [{"type": "function", "name": "look", "description": WORDS}]},
    {
        "tools": [
            {"name": "look", "parameters": {"properties": {WORDS: {"type": "string"}}}}
        ]
    },
    {"type": "response.output_audio_transcript.delta", "delta": WORDS},
    {"type": "response.output_text.delta", "delta": f"<{WORDS}"},
    {"type": "response.function_call_arguments.done", "arguments": WORDS},
    {"item": {"type": "function_call_output", "output": WORDS}},
    {"item": {"type": "message", "content": [{"type": "input_text", "text": WORDS}]}},
    {"transcript": WORDS, "logprobs": [{"token": WORDS, "bytes": [120, 121]}]},
    {"response": {"metadata": {WORDS: WORDS}}},
    {"error": {"message": f"Invalid value: '{WORDS}'"}},
    {"type": "some.day", "unheard_of": {"deep": [WORDS]}},
    {"name": WORDS * 20},
]


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("event", SPOKEN)
def test_words_are_shown_by_their_length_unless_asked_for(event: Any) -> None:
    """What is not known to be a name of the protocol's own counts as words."""
    text = json.dumps(event)
    assert WORDS not in redacted(text)
    assert "120" not in redacted(text)
    assert WORDS in redacted(text, texts=True)


def test_the_shape_of_a_frame_stays_readable() -> None:
    """Types, ids, states and numbers are what a log is read for."""
    event = {
        "type": "response.done",
        "event_id": "event_1",
        "response": {
            "id": "resp_1",
            "status": "completed",
            "output": [{"id": "item_1", "content": [{"transcript": "Hello!"}]}],
            "usage": {"total_tokens": 12, "max_output_tokens": "inf"},
        },
    }
    shown = shape(event)
    assert shown["response"]["output"][0]["content"][0] == {
        "transcript": "<6 characters>"
    }
    shown["response"]["output"][0]["content"][0]["transcript"] = "Hello!"
    shown["response"]["usage"]["max_output_tokens"] = "inf"
    assert shown == event
    assert shape({"type": "a", "audio": "AAAA"})["audio"] == "<3 bytes of audio>"


@pytest.mark.behaviour("C10")
def test_what_is_not_json_is_told_by_its_length() -> None:
    """A frame that nobody can read may hold anything."""
    assert redacted(f"{WORDS} {{", texts=True) == "<11 characters that are not JSON>"


def test_a_huge_frame_is_cut() -> None:
    """A line of the log is bounded, whatever the frame."""
    assert len(redacted(json.dumps({"items": [{"type": "a"}] * 9999}))) < MOST + 50
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    assert "entries" in redacted(json.dumps(deep))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.booleans())
def test_any_json_can_be_logged(value: Any, texts: bool) -> None:
    """It is looked at in the reader's steps, where nothing may go wrong."""
    redacted(json.dumps(value), texts=texts)


# --- a conversation ---------------------------------------------------------------


def frames(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "trialogue.wire"]


async def test_every_frame_is_logged_with_direction_size_and_time(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As many as the server counted, in order, each with its session."""
    with caplog.at_level(logging.DEBUG, logger="trialogue.wire"):
        async with realtime_stage(wire_log=WireLog()) as (server, session):
            await session.generate_reply(instructions="Say hello.")
            entries = server.connections[0].entries
            shown = frames(caplog)
    assert len(shown) == len(entries)
    for direction, side in ((">", "in"), ("<", "out")):
        types = [entry.type for entry in entries if entry.direction == side]
        ours = [r for r in shown if r.trialogue_direction == direction]
        assert [json.loads(r.args[-1])["type"] for r in ours] == types
    first = shown[0]
    assert first.getMessage().startswith(f"[{session.id}] connection 1 < ")
    assert (first.trialogue_session, first.trialogue_connection) == (session.id, 1)
    assert first.trialogue_size > 100
    assert shown[-1].trialogue_time >= first.trialogue_time >= 0


async def test_without_a_wire_log_no_frame_is_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the levels: it has to be asked for."""
    with caplog.at_level(1):
        async with realtime_stage() as (_, session):
            await session.generate_reply()
    assert frames(caplog) == []


async def test_a_wire_log_has_the_logger_and_the_level_that_it_is_given(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And nothing is written below the logger's own level."""
    wire_log = WireLog(logger="mine", level=logging.INFO)
    with caplog.at_level(logging.WARNING, logger="mine"):
        async with realtime_stage(wire_log=wire_log):
            pass
    assert not [r for r in caplog.records if r.name == "mine"]
    with caplog.at_level(logging.INFO, logger="mine"):
        async with realtime_stage(wire_log=wire_log):
            pass
    assert {r.levelname for r in caplog.records if r.name == "mine"} == {"INFO"}


class Looking(Agent):
    """Everything of it has the word in it: instructions, tool, argument, output."""

    instructions = f"You know of the {WORDS}."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Use your tools.")

    @function_tool
    async def look(self, ctx: RunContext, thing: str) -> str:
        """Look for the xylophone."""
        return f"Here is the {WORDS}; the key is {KEY}"


def everything(caplog: pytest.LogCaptureFixture) -> str:
    """What handlers and formatters could ever make of the records."""
    shown = [repr(record.__dict__) + record.getMessage() for record in caplog.records]
    return caplog.text + "".join(shown)


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize("texts", [False, True])
async def test_no_key_and_no_sound_is_in_any_log_over_reconnects_and_errors(
    texts: bool,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A spoken conversation with a tool, a picture, refusals and a lost connection."""
    utterances = Utterances()
    speech = utterances.say(f"Where is the {WORDS}?", 1000)
    brain = prompted(Say(f"The {WORDS}."), Call("look", {"thing": WORDS}))
    faults = [
        cut(after="response.done", nth=3),
        reject(
            "session.update",
            connection=1,
            code="server_busy",
            message=f"Bad key {KEY} for the {WORDS}",
        ),
        close(1001, reason=f"expired: {KEY}", after="session.created", connection=2),
    ]
    options = {"faults": faults, "utterances": utterances}
    wire_log = WireLog(texts=texts)
    picture = ImageContent("data:image/png;base64," + SOUND)
    with caplog.at_level(1):
        async with on_stage(
            brain,
            microphone=True,
            server=options,
            wire_log=wire_log,
        ) as stage:
            session = stage.session
            async with running(stage, Looking()):
                await until(lambda: outputs(stage))
                session.realtime.add_items([Message("m_1", "user", (picture,))])
                assert stage.microphone is not None
                await speak(stage.microphone, speech + quiet(500))
                await until(lambda: len(stage.server.connections) == 4)
                await until(lambda: session.realtime.settled)
            shown = [everything(caplog), repr(session), repr(session.realtime)]
    heard = b64encode(stage.output.pcm[4800:5100])
    assert {r.trialogue_connection for r in frames(caplog)} == {1, 2, 3, 4}
    for text in shown:
        assert KEY not in text
        assert "sk-test-key" not in text
        assert SOUND[:100] not in text
        assert heard not in text
        assert b64encode(speech[4800:5100]) not in text
        assert (WORDS in text) is (texts and text is shown[0])


CREATED = '{"type": "session.created", "event_id": "e1", "session": {"id": "sess_1"}}'


async def _refuse(peer: Peer) -> None:
    await peer.accept()
    await peer.say(CREATED)
    await peer.close(1008, f"Incorrect API key provided: {KEY}")
    while await peer.event() is not None:
        pass


@pytest.mark.behaviour("X1")
async def test_a_key_in_the_reason_of_a_close_is_in_no_traceback(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Providers quote keys; the error that the block raises does not."""
    with caplog.at_level(1):
        error = await _lost()
    shown = "".join(traceback.format_exception(error))
    assert "Incorrect API key provided: [key]" in shown
    assert KEY not in shown + repr(error.reason) + everything(caplog)


async def _lost() -> ConnectionLost:
    async with playing(_refuse) as line:
        model = OpenAIRealtime(api_key=KEY, connect=line.connect)
        once = Backoff(attempts=1)
        with pytest.raises(ConnectionLost) as raised, trio.fail_after(100):
            async with open_session(model, backoff=once, wire_log=WireLog()):
                await trio.sleep_forever()
        return raised.value


@pytest.mark.behaviour("X1", "R4")
async def test_a_terminal_error_is_logged_without_the_key_it_quotes(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """ERROR, once, with the code."""
    quota = Fail("insufficient_quota", f"No more for {KEY}.")
    with pytest.raises(ServerError, match=r"No more for \[key\]"), caplog.at_level(1):
        await _no_more(quota)
    (failed,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "insufficient_quota" in failed.getMessage()
    assert KEY not in everything(caplog)


async def _no_more(quota: Fail) -> None:
    async with realtime_stage(lambda turn: quota, wire_log=WireLog()) as (_, session):
        await session.generate_reply()
