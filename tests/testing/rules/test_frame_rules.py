"""The local server's frames: every one has its id, and a script repeats them."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import Any

import trio
import trio.testing
from trio_websocket import WebSocketConnection, wrap_client_stream

from trialogue._codec import b64encode
from trialogue.testing import (
    Call,
    Network,
    Pace,
    RealtimeServer,
    Say,
    Settings,
    Turn,
    Utterances,
)
from trialogue.testing.speech import quiet

Frames = list[tuple[float, str]]
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}


class Caller:
    """A client by hand that keeps each frame as it came, and when it did."""

    def __init__(self, ws: WebSocketConnection) -> None:
        self._ws = ws
        self.frames: Frames = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self._ws.send_message(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            text = str(await self._ws.get_message())
            self.frames.append((trio.current_time(), text))
            event: dict[str, Any] = json.loads(text)
            if event["type"] == kind:
                return event

    async def speak(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), 4800):
            audio = b64encode(pcm[start : start + 4800])
            await self.send("input_audio_buffer.append", audio=audio)
            await trio.sleep(0.1)


def brain(turn: Turn) -> Any:
    if turn.metadata:
        return "Beside."
    if turn.output is not None:
        return Say(f"It is {turn.output}.", ms=2000)
    return [Say("One moment.", ms=1000), Call("look", {"at": turn.user_text})]


async def converse(caller: Caller, said: Utterances) -> None:
    """Everything a conversation holds: speech, tools, cuts, text, errors, silence."""
    await caller.until("session.created")
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    transcription = {"model": "gpt-4o-transcribe"}
    audio = {"input": {"turn_detection": detection, "transcription": transcription}}
    session = {"type": "realtime", "tools": [TOOL], "audio": audio}
    await caller.send("session.update", session=session)
    await caller.send("no.such.event", event_id="c1")
    await caller.speak(said.say("what is there") + quiet(300))
    call = await caller.until("response.function_call_arguments.done")
    await caller.until("response.done")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "x"}
    await caller.send("conversation.item.create", item=output)
    await caller.send("response.create")
    spoken = await caller.until("response.output_item.added")
    await caller.until("response.output_audio.delta")
    await caller.speak(said.say("stop it") + quiet(300))
    cut = {"item_id": spoken["item"]["id"], "content_index": 0, "audio_end_ms": 40}
    await caller.send("conversation.item.truncate", **cut)
    aside = {"conversation": "none", "metadata": {"a": "b"}}
    await caller.send(
        "response.create", response={**aside, "output_modalities": ["text"]}
    )
    await caller.send("response.create")
    await caller.send("response.cancel")
    await caller.until("input_audio_buffer.timeout_triggered")
    await caller.send("input_audio_buffer.clear")
    await caller.until("input_audio_buffer.cleared")


async def held() -> Frames:
    """Hold the conversation with a server of its own, and return its frames."""
    said = Utterances()
    settings = Settings(wall=lambda: 1_000_000.0, pace=Pace(cancel_ms=30))
    server = RealtimeServer(
        brain, utterances=said, settings=settings, network=Network(one_way=0.04), seed=7
    )
    async with server.serving(), trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery,
            await server.connect(),  # type: ignore[arg-type]
            "localhost",
            "/v1/realtime?model=gpt-realtime",
            extra_headers=[(b"authorization", b"Bearer key")],
        )
        caller = Caller(ws)
        await converse(caller, said)
        nursery.cancel_scope.cancel()
    return caller.frames


def run() -> Frames:
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(partial(held), clock=clock)


def test_the_same_script_gives_the_same_frames_at_the_same_times() -> None:
    """Two runs of one conversation, byte for byte: ids, order, pace, sound."""
    first, second = run(), run()
    assert first == second
    kinds = {json.loads(text)["type"] for _, text in first}
    assert {
        "error",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.truncated",
        "response.output_text.done",
        "rate_limits.updated",
    } <= kinds


def test_every_frame_has_an_id_of_its_own() -> None:
    """Every event has an `event_id`: known ones, unknown ones, errors."""
    events = [json.loads(text) for _, text in run()]
    ids = Counter(event["event_id"] for event in events)
    assert set(ids.values()) == {1}
    assert all(name.startswith("event_") and len(name) == 27 for name in ids)
