"""Recording a session's wire: what is in the file, and what it never costs."""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import until
from trialogue import ConfigurationError, open_session
from trialogue.realtime.redaction import without_secrets
from trialogue.testing import (
    RealtimeServer,
    RecordingError,
    Say,
    WireTrace,
    cut,
    in_virtual_time,
    load_recording,
    open_realtime_server,
    record,
)
from trialogue.testing.serve import log_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialogue import RealtimeSession

KEY = "sk-sentinel0123456789abcdef"


@asynccontextmanager
async def recorded_session(
    path: Path, *, audio: bool = True, faults: Any = (), **settings: Any
) -> AsyncIterator[tuple[RealtimeServer, RealtimeSession]]:
    async with (
        open_realtime_server(lambda turn: Say("Hello."), faults=faults) as server,
        record(path, audio=audio) as recording,
        open_session(server.model(), wire_log=recording, seed=0, **settings) as session,
    ):
        yield server, session
    assert recording.failure is None


async def ask(session: RealtimeSession) -> None:
    await session.send_message("Hi.")
    async with session.open_reply() as reply:
        assert (await reply.outcome()).text == "Hello."


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- what is in it -----------------------------------------------------------------


@in_virtual_time
async def test_every_frame_is_a_line_as_the_server_saw_it(tmp_path: Path) -> None:
    """The session has no distance to this server: the times are the same too."""
    path = tmp_path / "talk.jsonl"
    logged = tmp_path / "server.jsonl"
    with logged.open("w") as file:
        async with (
            open_realtime_server(
                lambda turn: Say("Hello."), on_entry=log_to(file)
            ) as server,
            record(path) as recording,
            open_session(server.model(), wire_log=recording) as session,
        ):
            await trio.sleep(1)
            await ask(session)
    mine, theirs = load_recording(path), load_recording(logged)

    assert recording.frames == len(lines(path)) > 20
    for direction in ("in", "out"):
        assert [
            (entry.time, entry.type)
            for entry in mine.connections[0].entries
            if entry.direction == direction
        ] == [
            (entry.time, entry.type)
            for entry in theirs.connections[0].entries
            if entry.direction == direction
        ]
    assert mine.connections[0].entries[0].type == "session.created"
    assert mine.connections[0].ended is None


@in_virtual_time
async def test_it_tells_connections_apart_and_how_one_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    async with recorded_session(path) as (server, session):
        server.inject(cut(before="conversation.item.create"))
        await session.send_message("Hi.")
        await until(lambda: len(server.connections) == 2 and server.live)
        await ask(session)
    first, second = load_recording(path).connections

    assert first.ended is not None
    assert first.ended.code is None
    assert second.ended is None
    assert WireTrace(first).sent("conversation.item.create")
    assert WireTrace(second).received("response.done")


@in_virtual_time
async def test_no_key_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    async with recorded_session(path, instructions=f"Never say {KEY} aloud.") as (
        _,
        session,
    ):
        await ask(session)

    assert KEY not in path.read_text()
    assert "Never say [key] aloud." in path.read_text()


def test_secrets_are_known_by_their_names_and_schemas_name_none() -> None:
    schema = {"type": "object", "properties": {"password": {"type": "string"}}}
    event = {
        "client_secret": {"value": "ek_1", "expires_at": 1},
        "tools": [
            {"parameters": schema},
            {"type": "mcp", "authorization": "abc", "headers": {"x": "abc"}},
        ],
        "usage": {"total_tokens": 3, "token": None},
        "said": f"It is {KEY}, I think.",
    }

    assert without_secrets(event) == {
        "client_secret": "<hidden>",
        "tools": [
            {"parameters": schema},
            {"type": "mcp", "authorization": "<hidden>", "headers": "<hidden>"},
        ],
        "usage": {"total_tokens": 3, "token": None},
        "said": "It is [key], I think.",
    }


SECRET = "abcdef0123456789ABCDEF"


@pytest.mark.parametrize(
    "event",
    [
        {"session": {"instructions": f"authorization: bearer {SECRET}"}},
        {"session": {"instructions": f"Log in with eyJhbGciOiJI.{SECRET}.{SECRET}"}},
        {"session": {"tools": [{"server_url": f"https://me:{SECRET}@host/mcp"}]}},
        {"session": {"tools": [{"server_url": f"https://host/?api_key={SECRET}"}]}},
        {"session": {"tools": [{"server_url": f"wss://host?a=1&token={SECRET}&b"}]}},
        {"session": {"tools": [{"type": "mcp", "headers": {"X-Any": SECRET}}]}},
        {"session": {"tools": [{"type": "mcp", "authorization": SECRET}]}},
        {"client_secret": {"value": SECRET}},
        {"value": f"ek_{SECRET}"},
        {"metadata": {"openai_api_key": SECRET}},
        {"metadata": {"bearerToken": SECRET}},
        {"metadata": {"Proxy-Authorization": SECRET}},
        {"metadata": {f"sk-{SECRET}": "a name"}},
        {"item": {"type": "function_call_output", "output": f"It is sk-{SECRET}."}},
        {"item": {"output": json.dumps({"n": 1, "password": SECRET})}},
        {"item": {"output": f'{{"access_token" : "{SECRET}\\"{SECRET}'}},
    ],
    ids=str,
)
async def test_a_secret_is_left_out_wherever_it_is(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    """In the frame's text too, where it is cut off and no JSON."""
    path = tmp_path / "talk.jsonl"
    text = json.dumps({"type": "x", **event})
    async with record(path) as recording:
        tap = recording.tap("a session")
        tap.note(1, ">", text)
        tap.note(1, ">", text.removesuffix("}"))

    whole, cut_off = path.read_text().splitlines()
    assert SECRET not in whole
    if "output" not in str(event):  # JSON in JSON is not looked for where it is neither
        assert SECRET not in cut_off


@pytest.mark.parametrize(
    "hostile",
    [
        {"text": "eyJ-" * 250_000},
        {"text": "https://a:" * 100_000},
        {"text": "?key" * 250_000},
        {"output": '"token":{' * 100_000},
        {"output": '"token":"\\' * 100_000},
        {"secret" * 150_000 + "\n ": "x"},
    ],
    ids=["tokens", "addresses", "queries", "objects", "escapes", "names"],
)
def test_looking_for_secrets_takes_time_in_proportion(hostile: dict[str, str]) -> None:
    """A megabyte takes milliseconds; what grows with its square takes minutes."""
    began = time.process_time()
    without_secrets(hostile)
    assert time.process_time() - began < 5


async def test_words_are_no_secrets(tmp_path: Path) -> None:
    """A token is a piece of a word here; a replay would tell another."""
    path = tmp_path / "talk.jsonl"
    words = {
        "type": "x",
        "logprobs": [{"token": "Hi", "top_logprobs": [{"token": "Ho"}]}],
        "url": "https://host/a?key_id=3&page=2#token",
        "output": 'a "token": it is 3, "password" is not said: "token", "x": "y"',
    }
    async with record(path) as recording:
        recording.tap("a session").note(1, ">", json.dumps(words))

    assert lines(path)[0]["event"] == words


@in_virtual_time
async def test_without_sound_its_length_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    async with recorded_session(path, audio=False) as (server, session):
        session.push_audio(bytes(range(48)) * 20)
        await until(lambda: server.connections[0].audio)
        await ask(session)
    trace = WireTrace(load_recording(path))

    assert trace.sent("input_audio_buffer.append")[0].event["audio"] == "<960 bytes>"
    sounds = trace.received("response.output_audio.delta")
    assert {entry.event["delta"][0] for entry in sounds} == {"<"}


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
@in_virtual_time
async def test_what_people_say_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    async with record(path):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


# --- what it never costs -------------------------------------------------------------


@in_virtual_time
async def test_a_file_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with record(tmp_path / "nowhere" / "talk.jsonl"):
            pytest.fail("unreachable")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk is always full")
@in_virtual_time
async def test_a_full_disk_ends_the_recording_and_not_the_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        open_realtime_server(lambda turn: Say("Hello.")) as server,
        record("/dev/full") as recording,
        open_session(server.model(), wire_log=recording) as session,
    ):
        await ask(session)
        await ask(session)

    assert isinstance(recording.failure, OSError)
    (told,) = [one for one in caplog.records if one.name == "trialogue.recording"]
    assert told.levelno == logging.ERROR
    assert "/dev/full" in told.getMessage()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a FIFO to hang on")
async def test_a_disk_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO that nobody reads: whoever opens it waits. The clock is the real one."""
    monkeypatch.setattr("trialogue.testing.recording._CLOSE_SECONDS", 0.2)
    path = tmp_path / "talk.jsonl"
    async with open_realtime_server(lambda turn: Say("Hello.")) as server:
        with trio.fail_after(30):
            async with record(path) as recording:
                path.unlink()
                os.mkfifo(path)
                async with open_session(server.model(), wire_log=recording) as session:
                    await ask(session)
    # Lets the thread go that still waits.
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    await trio.sleep(0.1)
    os.close(reader)

    assert isinstance(recording.failure, TimeoutError)


async def test_on_a_real_clock_a_thread_writes_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    async with (
        open_realtime_server(lambda turn: Say("Hello.", ms=300)) as server,
        record(path) as recording,
        open_session(server.model(), wire_log=recording) as session,
    ):
        await ask(session)

    assert recording.frames == len(lines(path))
    WireTrace(load_recording(path)).assert_order("response.create", "response.done")


@in_virtual_time
async def test_a_disk_that_falls_behind_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trialogue.testing.recording._MOST_WAITING", 5000)
    async with (
        open_realtime_server(lambda turn: Say("Hello.")) as server,
        record(tmp_path / "talk.jsonl") as recording,
        open_session(server.model(), wire_log=recording) as session,
    ):
        await session.send_message("Hi." * 2000)
        await ask(session)

    assert isinstance(recording.failure, BufferError)
    assert lines(recording.path)


async def test_what_is_no_json_is_there_to_be_looked_at(tmp_path: Path) -> None:
    """And ends neither the recording nor a replay of it."""
    path = tmp_path / "talk.jsonl"
    async with record(path) as recording:
        tap = recording.tap("a session")
        tap.note(4, "<", f"no JSON {KEY}")
        tap.note(4, "<", '{"type": "x", "text": "\\ud800"}')
        tap.note(4, ">", "[]")
        tap.note(4, "<", '{"type": "x", "deep": ' + "[" * 700 + "]" * 700 + "}")

    assert recording.failure is None
    assert [line["event"]["type"] for line in lines(path)] == ["", "", "", ""]
    assert KEY not in path.read_text()
    assert load_recording(path).connections[0].index == 0


@in_virtual_time
async def test_what_was_said_before_a_cancellation_is_there(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    with trio.move_on_after(5):
        async with recorded_session(path) as (_, session):
            await ask(session)
            await trio.sleep_forever()

    assert WireTrace(load_recording(path)).received("response.done")


@in_virtual_time
async def test_a_failure_of_the_block_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with record(tmp_path / "talk.jsonl"):
            raise ZeroDivisionError


@in_virtual_time
async def test_a_second_session_is_refused(tmp_path: Path) -> None:
    async with (
        open_realtime_server() as server,
        record(tmp_path / "talk.jsonl") as recording,
        open_session(server.model(), wire_log=recording),
    ):
        with pytest.raises(ConfigurationError, match="another for the next"):
            async with open_session(server.model(), wire_log=recording):
                pytest.fail("unreachable")


# --- reading it ----------------------------------------------------------------------

ENDED = '{"connection":0,"time":1,"ended":{"code":%s,"reason":%s}}'
GOOD = '{"connection":0,"time":1.0,"direction":"in","note":"","event":{"type":"x"}}'


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", None, "nothing was recorded"),
        (f"{GOOD}\n{GOOD[:40]}", 2, "without its last line"),
        (f"{GOOD}\n[]", 2, "no JSON object"),
        (f"{GOOD}\n{{}}", 2, "it has no 'connection'"),
        (GOOD.replace('"in"', '"up"'), 1, 'to be "in" or "out"'),
        (GOOD.replace("1.0", '"1"'), 1, "to be numbers"),
        (GOOD.replace("1.0", "-1"), 1, "to be numbers"),
        (GOOD.replace("1.0", "1e300"), 1, "to be numbers"),
        (GOOD.replace(":0,", ":true,"), 1, "to be numbers"),
        (GOOD.replace(":0,", ":-1,"), 1, "to be numbers"),
        (f'{GOOD}\n{{"connection":0,"time":1,"ended":4}}', 2, "its end is to be"),
        (ENDED % ('"1000"', '""'), 1, "a WebSocket close code"),
        (ENDED % ("1000.5", '""'), 1, "a WebSocket close code"),
        (ENDED % ("70000", '""'), 1, "a WebSocket close code"),
        (ENDED % ("1000", "5"), 1, "to be a text"),
        (GOOD.replace('"x"', "[" * 150 + "]" * 150), 1, "nested deeper"),
        ("[" * 100_000, 1, "not valid JSON"),
        (GOOD.replace('"x"', '"<99999999999 bytes>"'), 1, "more sound than"),
        ("\x00\x01", 1, "not valid JSON"),
    ],
)
def test_what_is_no_recording_says_where(
    tmp_path: Path, text: str, line: int | None, why: str
) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(text)

    with pytest.raises(RecordingError) as wrong:
        load_recording(path)
    assert wrong.value.line == line
    assert wrong.value.path == path
    assert why in str(wrong.value)


def test_what_is_no_text_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordingError, match=r"talk\.jsonl:1 is no line"):
        load_recording(path)


def test_only_the_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(f"{GOOD[:40]}\n{GOOD}\n")
    with pytest.raises(RecordingError) as wrong:
        load_recording(path)
    assert "last line" not in str(wrong.value)


@in_virtual_time
async def test_what_ends_a_line_may_be_said(tmp_path: Path) -> None:
    """U+2028 and U+0085 end one for Python, and not for JSON; editors leave a last."""
    said = "One.\u2028Two.\u2029Three.\x85Four."
    path = tmp_path / "talk.jsonl"
    async with recorded_session(path, instructions=said):
        await trio.sleep(1)
    with path.open("a") as file:
        file.write("\n")

    (update,) = WireTrace(load_recording(path)).sent("session.update")
    assert update.event["session"]["instructions"] == said
