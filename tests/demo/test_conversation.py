"""The demo's conversation, in memory and on a virtual clock: milliseconds."""

from __future__ import annotations

import wave
from array import array
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from trialogue import OpenAIRealtime
from trialogue.demo.brain import demo_brain, know_caller
from trialogue.demo.conversation import Line, converse
from trialogue.demo.speech import LINES, caller_pcm, clip
from trialogue.testing import RealtimeServer, open_realtime_server

if TYPE_CHECKING:
    from pathlib import Path


async def converse_in_memory(
    server: RealtimeServer,
    *,
    muted: tuple[str, ...] = (),
    recording: Path | None = None,
) -> list[Line]:
    """Hold the conversation with a server that serves already."""
    model = OpenAIRealtime(
        "gpt-realtime",
        voice="marin",
        api_key="local",
        base_url="ws://localhost/v1/realtime",
        connect=server.connect,
    )
    lines: list[Line] = []
    await converse(model, lines.append, muted=muted, recording=recording)
    return lines


async def told(*muted: str, recording: Path | None = None) -> list[Line]:
    """The lines of a whole conversation."""
    async with open_realtime_server(demo_brain()) as server:
        know_caller(server.utterances)
        return await converse_in_memory(server, muted=muted, recording=recording)


def said(lines: list[Line], who: str) -> list[str]:
    return [line.text for line in lines if line.who == who]


def text(*names: str) -> list[str]:
    return [LINES[name].text for name in names]


async def test_the_caller_is_taken_to_the_weather_and_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Every sentence was recognised, and every recorded line said, by its speaker."""
    lines = await told()

    assert said(lines, "caller") == text("caller_weather", "caller_city", "caller_back")
    assert said(lines, "Kelly") == text(
        "kelly_greeting", "kelly_transfer", "kelly_goodbye"
    )
    assert said(lines, "Sunny") == text(
        "sunny_greeting", "sunny_which_city", "sunny_answer", "sunny_transfer"
    )


@pytest.mark.behaviour("H14")
async def test_tools_and_handoffs_are_told_with_their_timings(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lines = await told()
    tools, handoffs = said(lines, "tool"), said(lines, "handoff")

    assert [tool.split(" [")[0] for tool in tools] == [
        "transfer_to_weather() -> transferred to Sunny",
        'lookup_weather(location="Lima") -> It is sunny in Lima today.',
        "transfer_to_greeter() -> transferred to Kelly",
    ]
    assert [handoff.split(":")[0] for handoff in handoffs] == [
        "Kelly -> Sunny, same session",
        "Sunny -> Kelly, same session",
    ]
    assert all("agreed after" in one and "first audio after" in one for one in handoffs)
    assert [line.at for line in lines] == sorted(line.at for line in lines)


async def test_it_ends_by_itself_when_everything_was_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Half a minute of caller, and what was being said then."""
    began = trio.current_time()
    await told()

    assert 24 < trio.current_time() - began < 32


@pytest.mark.parametrize(
    ("muted", "never"),
    [
        ("caller_city", ("lookup_weather", "Lima")),
        ("caller_back", ("transfer_to_greeter", "again")),
    ],
)
async def test_muting_a_sentence_changes_the_conversation(
    autojump_clock: trio.testing.MockClock, muted: str, never: tuple[str, ...]
) -> None:
    """What is not in the audio is not heard, and nobody acts on it."""
    lines = await told(muted)

    everything = "\n".join(str(line) for line in lines)
    assert LINES[muted].text not in said(lines, "caller")
    assert not [word for word in never if word in everything]
    assert said(lines, "handoff")


async def test_the_recording_has_the_caller_left_and_the_agents_right(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Both sides stand where they were heard."""
    path = tmp_path / "conversation.wav"
    await told(recording=path)

    with wave.open(str(path)) as recording:
        assert recording.getnchannels() == 2
        assert recording.getframerate() == 24_000
        both = array("h", recording.readframes(recording.getnframes()))
    left, right = both[::2], both[1::2]
    caller = array("h", caller_pcm())
    assert left[: len(caller)] == caller
    greeting = len(clip("kelly_greeting")) // 2
    assert any(right[:greeting])
    # The caller speaks for the first time four seconds in; Kelly has finished by then.
    assert not any(right[3 * 24_000 : 4 * 24_000])


async def test_what_is_played_was_made_under_the_agent_who_says_it(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Decoded from the recording: Kelly's, then Sunny's, then Kelly's instructions."""
    path = tmp_path / "conversation.wav"
    async with open_realtime_server(demo_brain()) as server:
        know_caller(server.utterances)
        await converse_in_memory(server, recording=path)
        with wave.open(str(path)) as recording:
            both = array("h", recording.readframes(recording.getnframes()))
        heard = server.heard(both[1::2].tobytes())
    names = [instructions[8:13] for _, instructions, _ in heard]
    turns = [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]

    assert turns == ["Kelly", "Sunny", "Kelly"]
