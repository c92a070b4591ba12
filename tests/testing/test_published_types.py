"""Everything that the local server sends is what the published types allow."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import trialogue.testing
from by_hand import Driven, Event
from published import SERVER_MODELS, strangers
from trialogue._codec import b64encode
from trialogue.dialects.openai.wire import SERVER_EVENTS
from trialogue.testing import Call, Fail, Pace, Pause, Say, Settings, Stop, Utterances
from trialogue.testing.machine import Machine, Output
from trialogue.testing.speech import quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

ODDITIES = {"response.mood.updated"}
"""What `Settings.oddities` sends on purpose."""

UNPUBLISHED = {
    # What sessions show; the published class is that of a request.
    "$.session.id",
    "$.session.object",
    "$.session.expires_at",
    # Padding that the real server adds to deltas.
    "$.obfuscation",
    # What `Settings.oddities` adds on purpose.
    "$.mood",
}

USER = {"type": "message", "role": "user"}
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}


class Client(Driven):
    """One connection by hand; whatever is read on it is held against the types."""

    def __init__(self, brain: Any = "Hello.", **settings: Any) -> None:
        self.utterances = Utterances()
        says: Any = brain if callable(brain) else lambda turn: brain
        machine = Machine(says, self.utterances, Settings(**settings))
        super().__init__(machine, model="gpt-realtime-2")

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.seen]

    def read(self, outputs: Sequence[Output]) -> list[Event]:
        events = super().read(outputs)
        for event in events:
            if event["type"] not in ODDITIES:
                text = json.dumps(event)
                model = SERVER_MODELS[event["type"]]
                model = model.model_validate_json(text, strict=True)
                assert not {*strangers(model)} - UNPUBLISHED, text
        return events

    def say(self, kind: str, **fields: Any) -> list[Event]:
        return super().say(kind, event_id="mine", **fields)

    def speak(self, text: str, silence_ms: int = 800) -> None:
        pcm = quiet(100) + self.utterances.say(text) + quiet(silence_ms)
        self.append(pcm, 4800)

    def update(self, **session: Any) -> None:
        self.say("session.update", session={"type": "realtime", **session})

    def respond(self, **response: Any) -> None:
        self.say("response.create", response=response)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.seen if event["type"] == kind]


def spoken_turns() -> Client:
    """Speech, answered by turn detection, interrupted, transcribed; then idleness."""
    client = Client(Say("A long story. " * 8), pace=Pace(burst=1))
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    transcription = {"model": "gpt-4o-mini-transcribe"}
    client.update(
        audio={"input": {"turn_detection": vad, "transcription": transcription}}
    )
    client.speak("Tell me a story.")
    client.run(0.3)
    client.speak("Stop it.")
    client.run(40)
    assert client.of("response.done")[0]["response"]["status"] == "cancelled"
    return client


def transcribed_turns() -> Client:
    """Transcripts with log probabilities, by the second, and one that fails."""
    client = Client(unintelligible=lambda text: text == "Mumble.")
    client.update(include=["item.input_audio_transcription.logprobs"])
    for model, text in (
        ("gpt-4o-transcribe", "Hello."),
        ("gpt-4o-transcribe", "Mumble."),
        ("whisper-1", "Goodbye."),
    ):
        client.update(audio={"input": {"transcription": {"model": model}}})
        client.speak(text)
        client.run()
    name = "conversation.item.input_audio_transcription"
    assert len(client.of(f"{name}.completed")) == 2
    assert len(client.of(f"{name}.failed")) == 1
    return client


def manual_turns() -> Client:
    """Committed by hand, in telephone audio; cleared; and an empty commit."""
    client = Client()
    audio = {
        "input": {
            "turn_detection": None,
            "format": {"type": "audio/pcma"},
            "noise_reduction": {"type": "near_field", "strength": 0.5},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": {"id": "voice_1"}},
    }
    client.update(audio=audio)
    client.say("input_audio_buffer.append", audio=b64encode(bytes(8000)))
    client.say("input_audio_buffer.commit")
    client.respond()
    client.run()
    client.say("input_audio_buffer.append", audio=b64encode(bytes(8000)))
    client.say("input_audio_buffer.clear")
    client.say("input_audio_buffer.commit")
    return client


def every_option() -> Client:
    """The session with everything set, and everything cleared."""
    client = Client()
    client.update(
        instructions="Be brief.",
        tools=[
            TOOL,
            {"type": "mcp", "server_label": "s", "server_url": "https://s.test"},
        ],
        tool_choice={"type": "function", "name": "look"},
        parallel_tool_calls=False,
        reasoning={"effort": "high"},
        max_output_tokens=100,
        truncation={
            "type": "retention_ratio",
            "retention_ratio": 0.5,
            "token_limits": {"post_instructions": 5000},
        },
        tracing={"workflow_name": "w", "group_id": "g", "metadata": {"a": 1}},
        prompt={"id": "p", "version": "1", "variables": {"name": "Kelly"}},
        include=["item.input_audio_transcription.logprobs"],
        output_modalities=["text"],
        audio={
            "input": {
                "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
                "transcription": {"model": "gpt-transcribe", "keywords": ["Kelly"]},
            },
            "output": {"voice": "cedar", "speed": 0.5},
        },
    )
    client.update(
        tools=[],
        tool_choice="none",
        truncation="disabled",
        prompt=None,
        include=[],
        max_output_tokens="inf",
        audio={"input": {"transcription": None, "noise_reduction": None}},
    )
    assert len(client.of("session.updated")) == 2
    return client


def tools_and_text() -> Client:
    """Calls and their outputs, written replies, and some beside the conversation."""

    def brain(turn: Any) -> Any:
        if turn.metadata and "side" in turn.metadata:
            return Say("Aside.")
        return "Done." if turn.output else [Say("Wait."), Call("look", {"at": 1})]

    client = Client(brain)
    client.update(tools=[TOOL], tool_choice="auto")
    content = [
        {"type": "input_text", "text": "Look."},
        {"type": "input_image", "image_url": "data:image/png;base64,", "detail": "low"},
    ]
    client.say("conversation.item.create", item={**USER, "content": content})
    client.respond(metadata={"mine": "1"}, output_modalities=["text"])
    client.respond(conversation="none", input=[], metadata={"side": "1"})
    client.run()
    call = client.of("response.function_call_arguments.done")[0]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": ""}
    client.say("conversation.item.create", item=output)
    client.respond(
        instructions="Now.",
        max_output_tokens=500,
        audio={"output": {"voice": "cedar", "format": {"type": "audio/pcma"}}},
    )
    client.run()
    assert len(client.of("response.done")) == 3
    return client


def edits_and_errors() -> Client:
    """Items retrieved, truncated, deleted; and all that is refused."""
    client = Client(Say("Some words to cut."))
    client.respond()
    client.run()
    spoken = client.of("response.output_item.done")[0]["item"]["id"]
    client.say("conversation.item.retrieve", item_id=spoken)
    for end in (100, 99_999_999):
        client.say(
            "conversation.item.truncate",
            item_id=spoken,
            content_index=0,
            audio_end_ms=end,
        )
    client.say("conversation.item.delete", item_id=spoken)
    for verb in ("delete", "retrieve"):
        client.say(f"conversation.item.{verb}", item_id="gone")
    client.say("conversation.item.create", item={**USER, "content": [{"type": "?"}]})
    client.say("conversation.item.create", item={"type": "function_call_output"})
    client.say("response.cancel")
    client.say("response.create", response={"temperature": 1})
    client.say("session.update", session={"audio": {}})
    client.update(audio={"output": {"speed": 9}})
    client.say("output_audio_buffer.clear")
    client.say("no.such.event")
    client.read(client.machine.receive("{", client.now))
    client.read(client.machine.receive_binary(client.now))
    assert len(client.of("error")) >= 12
    return client


def endings() -> Client:
    """Responses that are cancelled, fail, are filtered, or run out of tokens."""
    ends = [Pause(9), Fail("server_error"), Stop(), Stop("max_output_tokens")]
    client = Client(
        lambda turn: [Say("Well."), ends[turn.ordinal]], pace=Pace(cancel_ms=20)
    )
    for _ in ends:
        client.respond()
        client.respond()  # one at a time
        client.run(2)
        client.say("response.cancel")
        client.run(30)
    statuses = [event["response"]["status"] for event in client.of("response.done")]
    assert statuses == ["cancelled", "failed", "incomplete", "incomplete"]
    return client


def expiry() -> Client:
    """The session gets too old."""
    client = Client(max_duration=10.0)
    client.run(11)
    assert client.hangup is not None
    return client


TALKS = [
    spoken_turns,
    transcribed_turns,
    manual_turns,
    every_option,
    tools_and_text,
    edits_and_errors,
    endings,
    expiry,
]


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.__name__)
def test_local_server_sends_what_the_published_types_allow_and_nothing_more(
    talk: Any,
) -> None:
    """Every event is read strictly as it comes, by the class of its type."""
    assert seen_in(talk)[0] == "session.created"


@cache
def seen_in(talk: Any) -> list[str]:
    """Hold the conversation once."""
    types: list[str] = talk().types
    return types


def test_these_conversations_hold_every_event_that_the_local_server_can_send() -> None:
    """What it can send is what its source names."""
    names = {cls.__name__: kind for kind, cls in SERVER_EVENTS.items()}
    sendable = {names[name] for name in _names_in_the_server() if name in names}
    assert {"error", "response.done", "rate_limits.updated"} <= sendable
    seen = {kind for talk in TALKS for kind in seen_in(talk)}
    assert seen == sendable | ODDITIES


def _names_in_the_server() -> set[str]:
    folder = Path(trialogue.testing.__file__).parent / "machine"
    trees = [ast.parse(path.read_text("utf-8")) for path in folder.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return attributes | {node.id for node in nodes if isinstance(node, ast.Name)}
