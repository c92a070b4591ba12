"""Cue sheets: the user's turns, and what they are answered, by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from by_hand import PLAIN, Client, Event, Talk, dialled
from trialogue._codec import b64encode
from trialogue.errors import ConfigurationError
from trialogue.testing import (
    Call,
    Cue,
    CueSheet,
    Pace,
    Say,
    Settings,
    Turn,
    open_realtime_server,
    quiet,
    voice,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

SHEET = CueSheet.of(
    Cue(200, 905, "What is the weather?", reply="It is sunny."),
    Cue(2000, 2600, "And in Lima?", reply=Call("look", {"city": "Lima"})),
    Cue(4000, 4500, "Thank you."),
)
LINE = bytes(range(256)) * 48 * 24  # 6144 ms that a VAD makes nothing sensible of
SETTINGS = Settings(oddities=False, pace=Pace(think_ms=1, burst=1000))


def brain(turn: Turn) -> str:
    return f"The brain heard {turn.user_text!r}, then {turn.output!r}."


def short(events: list[Event], *kinds: str) -> list[tuple[str, Any]]:
    """What the turns of a connection were, on the wire."""
    keys: dict[str, Callable[[Event], Any]] = {
        "speech_started": lambda event: event["audio_start_ms"],
        "speech_stopped": lambda event: event["audio_end_ms"],
        "transcription.completed": lambda event: event["transcript"],
        "response.done": lambda event: event["response"]["status"],
    }
    return [
        (kind, show(event))
        for event in events
        for kind, show in keys.items()
        if event["type"].endswith(kind)
    ]


@pytest.mark.parametrize("chunk", [960, 962, 96_002, len(LINE)])
@pytest.mark.parametrize("line", [LINE, bytes(len(LINE))], ids=["noise", "silence"])
def test_turns_are_where_the_sheet_has_them_whatever_is_heard(
    chunk: int, line: bytes
) -> None:
    """However it is cut, to the millisecond, and with exactly that audio."""
    talk = Talk(transcriber=SHEET, sheet=SHEET)
    whisper = {"model": "whisper-1"}
    talk.updated(audio={"input": {"transcription": whisper}})
    events = talk.append(line, chunk) + talk.run()
    positions = [entry for entry in short(events) if entry[0].startswith("speech")]
    assert positions == [
        ("speech_started", 200),
        ("speech_stopped", 905),
        ("speech_started", 2000),
        ("speech_stopped", 2600),
        ("speech_started", 4000),
        ("speech_stopped", 4500),
    ]
    for turn, cue in zip(talk.machine.committed, SHEET.cues, strict=True):
        assert (turn.start_ms, turn.end_ms, turn.by) == (
            cue.start_ms,
            cue.end_ms,
            "vad",
        )
        assert turn.text == cue.text
        assert turn.pcm == line[cue.start_ms * 48 : cue.end_ms * 48]
    heard = [shown for kind, shown in short(events) if kind.endswith("completed")]
    assert heard == [cue.text for cue in SHEET.cues]


def test_a_detector_shows_where_it_is() -> None:
    detector = SHEET.detector(lambda: 1000.0)
    assert len(detector.feed(b"")) == 2
    assert repr(detector) == "<CueDetector at cue 1 of 3>"


def test_a_turn_is_decided_at_its_sample_and_not_before() -> None:
    talk = Talk(transcriber=SHEET, sheet=SHEET)
    assert talk.append(bytes(200 * 48 - 2)) == []
    assert [e["type"][-14:] for e in talk.append(bytes(2))] == ["speech_started"]
    assert talk.append(bytes(705 * 48 - 2)) == []
    assert "input_audio_buffer.speech_stopped" in [
        event["type"] for event in talk.append(bytes(2))
    ]


async def answers(client: Client, line: bytes) -> list[Event]:
    """Send audio in real time, and return the output of each response it gets."""
    found: list[Event] = []

    async def listen() -> None:
        while True:
            done = (await client.until("response.done"))[-1]["response"]
            assert done["status"] == "completed"
            found.extend(done["output"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for at in range(0, len(line), 4800):
            audio = b64encode(line[at : at + 4800])
            await client.send("input_audio_buffer.append", audio=audio)
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    return found


def said(item: Event) -> str:
    text: str = item["content"][0]["transcript"]
    return text


async def test_a_cue_has_its_reply_and_the_brain_has_the_rest(
    autojump_clock: MockClock,
) -> None:
    async with (
        open_realtime_server(brain, cues=SHEET, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        await client.read()
        found = await answers(client, LINE[: 3000 * 48])
        assert said(found[0]) == "It is sunny."
        assert (found[1]["name"], found[1]["arguments"]) == ("look", '{"city": "Lima"}')
        # What comes of it is not the user's turn any more, nor is a typed message.
        output = {
            "type": "function_call_output",
            "call_id": found[1]["call_id"],
            "output": "rain",
        }
        typed = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Really?"}],
        }
        for item, answer in (
            (output, "The brain heard 'And in Lima?', then 'rain'."),
            (typed, "The brain heard 'Really?', then None."),
        ):
            await client.send("conversation.item.create", item=item)
            await client.send("response.create")
            done = (await client.until("response.done"))[-1]["response"]
            assert said(done["output"][0]) == answer
        aside = {"conversation": "none"}
        await client.send("response.create", response=aside)
        done = (await client.until("response.done"))[-1]["response"]
        assert said(done["output"][0]).startswith("The brain")
        [thanks] = await answers(client, LINE[3000 * 48 :])
        assert said(thanks) == "The brain heard 'Thank you.', then None."


async def test_every_connection_begins_the_sheet_anew(
    autojump_clock: MockClock,
) -> None:
    async with open_realtime_server(brain, cues=SHEET, settings=SETTINGS) as server:
        for _ in range(2):
            async with dialled(server) as client:
                await client.read()
                [item] = await answers(client, LINE[: 1000 * 48])
                assert said(item) == "It is sunny."


async def test_a_cue_is_answered_by_a_function_or_a_coroutine(
    autojump_clock: MockClock,
) -> None:
    async def slowly(turn: Turn) -> str:
        await trio.sleep(0.5)
        return f"Hm. {turn.user_text}"

    sheet = CueSheet.of(
        Cue(100, 300, "One", reply=lambda turn: Say(f"{turn.user_text}!")),
        Cue(1000, 1200, "Two", reply=slowly),
    )
    async with (
        open_realtime_server(brain, cues=sheet, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        await client.read()
        found = await answers(client, LINE[: 3000 * 48])
    assert [said(item) for item in found] == ["One!", "Hm. Two"]


async def test_without_turn_detection_the_client_commits(
    autojump_clock: MockClock,
) -> None:
    async with (
        open_realtime_server(brain, cues=SHEET, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        audio = {"input": {"turn_detection": None}}
        session = {"type": "realtime", "audio": audio}
        await client.send("session.update", session=session)
        await client.until("session.updated")
        assert await answers(client, LINE[: 1000 * 48]) == []
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        done = (await client.until("response.done"))[-1]["response"]
        assert said(done["output"][0]) == "It is sunny."
        [turn] = server.connections[0].committed
        assert (turn.text, turn.end_ms) == ("What is the weather?", 1000)


async def test_cues_without_a_sheet_are_answered_where_the_voice_is(
    autojump_clock: MockClock,
) -> None:
    """A list of cues leaves the turns to the VAD."""
    line = quiet(300) + voice("whatever", 600) + quiet(600)
    cues = [Cue(300, 900, "Hello?", reply="Hello.")]
    async with (
        open_realtime_server(brain, cues=cues, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        await client.read()
        [item] = await answers(client, line)
        assert said(item) == "Hello."
        [turn] = server.connections[0].committed
        assert (turn.start_ms, turn.end_ms, turn.text) == (0, 1100, "Hello?")


def test_a_cue_interrupts_what_is_being_said() -> None:
    long = Say("A long story.", ms=60_000)
    settings = attrs.evolve(PLAIN, pace=Pace(burst=1))
    talk = Talk(lambda turn: long, sheet=SHEET, settings=settings)
    events = talk.append(bytes(2000 * 48))
    assert ("response.done", "cancelled") in short(events)
    assert ("speech_started", 2000) in short(events)


def test_a_turn_that_the_client_ends_is_over() -> None:
    """By a commit or a clear in the middle of its cue; the next is found as ever."""
    for end in ("commit", "clear"):
        talk = Talk(transcriber=SHEET, sheet=SHEET)
        [started] = talk.append(bytes(600 * 48))
        [first, *_] = talk.say(f"input_audio_buffer.{end}")
        if end == "commit":
            assert first["item_id"] == started["item_id"]
        talk.append(bytes(500 * 48))
        assert talk.say("input_audio_buffer.clear")  # between two cues: of no effect
        events = talk.append(bytes(1400 * 48))
        assert short(events) == [("speech_started", 2000)]


def test_turn_detection_that_is_put_off_gives_up_the_open_cue() -> None:
    """And finds the next that begins once it is on again."""
    talk = Talk(transcriber=SHEET, sheet=SHEET)
    talk.append(bytes(603 * 48))
    for vad in (None, {"type": "server_vad"}):
        talk.updated(audio={"input": {"turn_detection": vad}})
    events = talk.append(bytes(2100 * 48)) + talk.run()
    kinds = [entry for entry in short(events) if entry[0].startswith("speech")]
    assert kinds == [("speech_started", 2000), ("speech_stopped", 2600)]


@pytest.mark.parametrize("rate", [24_000, 8_000])
def test_positions_may_be_samples(rate: int) -> None:
    """Of the client's own format: 8 kHz with G.711."""
    sheet = CueSheet.of(Cue.at_samples(rate, rate * 2, "Hello", rate=rate))
    talk = Talk(transcriber=sheet, sheet=sheet)
    format_ = {"type": "audio/pcmu"} if rate == 8_000 else {"type": "audio/pcm"}
    talk.updated(audio={"input": {"format": format_}})
    one_second = bytes(8000 if rate == 8_000 else 48_000)
    assert short(talk.append(one_second, len(one_second))) == [("speech_started", 1000)]
    assert short(talk.append(one_second, len(one_second)))[0] == (
        "speech_stopped",
        2000,
    )


def test_samples_between_milliseconds_are_rounded_outwards() -> None:
    cue = Cue.at_samples(31, 65, "x", reply="y")
    assert (cue.start_ms, cue.end_ms, cue.reply) == (1, 3, "y")
    with pytest.raises(ValueError, match="samples per second"):
        Cue.at_samples(0, 1, "x", rate=0)


@pytest.mark.parametrize(
    ("cues", "match"),
    [
        ((Cue(100, 100, "x"),), "begins at 0 ms or later"),
        ((Cue(-1, 100, "x"),), "begins at 0 ms or later"),
        ((Cue(0, 100, "x"), Cue(99, 200, "y")), "follow one another"),
        ((Cue(200, 300, "x"), Cue(0, 100, "y")), "follow one another"),
    ],
)
def test_a_sheet_that_cannot_be_followed_is_refused(
    cues: tuple[Cue, ...], match: str
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        CueSheet(cues)


@pytest.mark.parametrize("what", ["speech", "item"])
async def test_a_turn_without_a_cue_is_left_to_the_brain(
    autojump_clock: MockClock, what: str
) -> None:
    """Also behind one that had a cue: a reply is for its own turn alone."""
    cues = [Cue(300, 900, "Hello?", reply="Hello.")]
    line = quiet(300) + voice("whatever", 600) + quiet(600)
    async with (
        open_realtime_server(brain, cues=cues, settings=SETTINGS) as server,
        dialled(server) as client,
    ):
        await client.read()
        assert [said(item) for item in await answers(client, line)] == ["Hello."]
        if what == "speech":
            [item] = await answers(client, quiet(600) + line)
        else:
            part = {"type": "input_audio", "audio": b64encode(line)}
            sound = {"type": "message", "role": "user", "content": [part]}
            await client.send("conversation.item.create", item=sound)
            await client.send("response.create")
            done = (await client.until("response.done"))[-1]["response"]
            [item] = done["output"]
        assert said(item) == "The brain heard '', then None."
