"""A connection by hand to a server of any dialect, on a clock that moves when told."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from by_hand import MODEL, Driven, Event
from trialogue.testing import Call, Pace, Say, Settings, Turn, Utterances, quiet
from trialogue.testing.machine import Machine

__all__ = [
    "BETA_SESSION",
    "REAL_TIME",
    "TOOL",
    "VAD",
    "WRITTEN",
    "XAI_SESSION",
    "Line",
    "beta_conversation",
    "talkative",
    "xai_conversation",
]

TOOL = {"type": "function", "name": "get_time", "parameters": {"type": "object"}}
VAD = {"type": "server_vad", "silence_duration_ms": 500}
REAL_TIME = Pace(burst=1)
"""Of a server that can be interrupted."""
MODELS = {"xai": "grok-voice-latest"}


def talkative(turn: Turn) -> Any:
    """Call the tool, tell its output, tell a story, or say something short."""
    if turn.output is not None:
        return f"It is {turn.output}."
    if "time" in turn.user_text:
        return [Say("One moment."), Call("get_time", {"city": "Lima"})]
    if "story" in turn.user_text:
        return Say("Once upon a time there was a very long story.", ms=6000)
    return "Well then."


class Line(Driven):
    """A connection; `sent` is all that went.

    Args:
        dialect: the server's.
        brain: of the model.
        settings: of the server.
    """

    def __init__(self, dialect: Any, brain: Any = talkative, **settings: Any) -> None:
        options = {"oddities": False, "wall": lambda: 1_000_000.0, **settings}
        self.utterances = Utterances()
        self.sent: list[Event] = []
        super().__init__(
            Machine(brain, self.utterances, Settings(dialect=dialect, **options)),
            model=MODELS.get(dialect, MODEL),
        )

    def say(self, kind: str, **fields: Any) -> list[Event]:
        event = {"type": kind, "event_id": f"mine_{len(self.sent)}", **fields}
        self.sent.append(event)
        return self.raw(json.dumps(event))

    def update(self, **session: Any) -> Event:
        """Change the session, and return the one answer."""
        [answer] = self.say("session.update", session=session)
        return answer

    def user(self, text: str, **fields: Any) -> list[Event]:
        content = [{"type": "input_text", "text": text}]
        return self.create(type="message", role="user", content=content, **fields)

    def respond(self, **response: Any) -> list[Event]:
        """Ask for a response, and return all of it."""
        return self.say("response.create", response=response) + self.run(30)

    def speak(self, text: str, silence_ms: int = 800) -> list[Event]:
        """Say something at the pace of speech."""
        pcm = quiet(100) + self.utterances.say(text) + quiet(silence_ms)
        return self.append(pcm, 4800)

    def converse(self, session: Event, write: Event) -> None:
        """Hold a whole conversation.

        The session is updated; turn detection ends a turn, in which a tool is called
        and answered; a reply is written (`write` asks for that); a story is interrupted
        and truncated; items are retrieved and deleted; and an update is refused.
        """
        self.update(**session)
        self.speak("What time is it in Lima?")
        self.run(30)
        call = self.of("response.function_call_arguments.done")[-1]["call_id"]
        self.create(type="function_call_output", call_id=call, output="two")
        self.respond()
        self.user("Write that down.", id="item_written")
        self.respond(**write)
        self.speak("Tell me a story.", silence_ms=600)
        self.run(1.5)
        self.speak("Stop it.")
        self.run(30)
        story = self.machine.responses[3].item_ids[0]
        for verb, fields in (
            ("truncate", {"content_index": 0, "audio_end_ms": 400}),
            ("retrieve", {}),
            ("delete", {}),
        ):
            self.say(f"conversation.item.{verb}", item_id=story, **fields)
        self.update(bogus=1)
        statuses = [record.status for record in self.machine.responses]
        assert statuses == [*["completed"] * 3, "cancelled", "completed"]
        assert [len(self.of("error")), self.seen[-1]["type"]] == [1, "error"]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.seen if event["type"] == kind]


BETA_SESSION = {
    "instructions": "Be brief.",
    "voice": "sage",
    "input_audio_transcription": {"model": "whisper-1"},
    "turn_detection": VAD,
    "tools": [TOOL],
}
XAI_SESSION = {
    "instructions": "Be brief.",
    "voice": "Rex",
    "turn_detection": VAD,
    "audio": {"input": {"transcription": {"model": "grok-transcribe"}}},
    "tools": [TOOL],
}
WRITTEN = {"modalities": ["text"]}


@cache
def beta_conversation() -> Line:
    line = Line("beta", pace=REAL_TIME)
    line.converse(BETA_SESSION, {"modalities": ["text"]})
    return line


@cache
def xai_conversation() -> Line:
    line = Line("xai", pace=REAL_TIME)
    line.converse(XAI_SESSION, WRITTEN)
    return line
