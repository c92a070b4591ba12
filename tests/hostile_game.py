"""A hostile client, the local server's machine, a referee, and a clock by hand."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import hostile
from hostile import Binary, Event, Frame, Ref, Spoiled, Talk, Wait
from referee import Referee
from trialogue._codec import b64encode
from trialogue.dialects.openai.wire import unstructure
from trialogue.testing.machine import Hangup, Keeping, Machine, Settings
from trialogue.testing.speech import Utterances, quiet, voice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostile import Step
    from trialogue._codec import Codec
    from trialogue.testing.machine import Output
    from trialogue.testing.script import Turn

__all__ = ["Game"]

MOST_TICKS = 20_000
"""Wake-ups in one wait: a machine that is never done would go round for ever."""
AN_HOUR = 3700.0
FOR_EVER = 600.0
"""Longer than the longest response takes."""
VOICE = voice("What is the time?", 900)


class Game:
    """One hostile client, one machine, one referee."""

    def __init__(self, replies: Any, codec: Codec, **chosen: Any) -> None:
        self.now = 0.0
        self.codec = codec
        self.hangup: Hangup | None = None
        utterances = Utterances()
        utterances.add(VOICE, "What is the time?")

        def brain(turn: Turn) -> Any:
            return replies[turn.ordinal % len(replies)]

        keeping = Keeping(entries=8, turns=8, responses=8)
        self.machine = Machine(brain, utterances, Settings(**chosen), keeping=keeping)
        self.referee = Referee(lambda: len(self.machine.audio) / 48)
        self.read(self.machine.open(0.0, model="gpt-realtime-2", key="key"))

    def read(self, outputs: Sequence[Output]) -> list[dict[str, Any]]:
        """Take what the server sends as its shell would send it."""
        events = []
        for output in outputs:
            assert self.hangup is None, "something was sent behind the end"
            if isinstance(output, Hangup):
                self.hangup = output
                continue
            text = self.codec.dumps(unstructure(output))
            event = json.loads(text)
            self.referee.event(event, text)
            events.append(event)
        self.referee.compare(self.machine)
        return events

    def find(self, ref: Ref) -> str:
        known = self.referee.ids[ref.kind]
        return known[ref.number % len(known)] if known else f"no_{ref.kind}"

    def play(self, step: Step) -> None:
        match step:
            case Event(data):
                self.send(json.dumps(hostile.resolved(data, self.find)))
            case Spoiled(Event(data)):
                event = hostile.resolved(data, self.find)
                self.send(hostile.written(hostile.spoiled(event, step)))
            case Frame(text):
                self.send(text)
            case Binary():
                self.wait(0)
                over = self.hangup is not None
                events = self.read(self.machine.receive_binary(self.now))
                assert [one["type"] for one in events] == ["error"] * (not over)
            case Talk():
                self.talk(step)
            case Wait(seconds):
                self.wait(seconds)

    def send(self, text: str) -> list[dict[str, Any]]:
        """Send a frame, and return what comes of it at once."""
        self.wait(0)
        over, before = self.hangup is not None, self.machine.session
        events = self.read(self.machine.receive(text, self.now))
        assert not (over and events)
        errors = [one["error"] for one in events if one["type"] == "error"]
        if errors:
            # A refusal is all that comes of it, and says of what.
            assert len(events) == 1
            assert self.machine.session == before
            assert errors[0]["event_id"] == _event_id(text, errors[0]["code"])
            assert len(errors[0]["message"]) < 1000 + 3 * len(text)
        return events

    def talk(self, step: Talk) -> None:
        spoken = VOICE[: 48 * step.ms]
        pcm = {
            "sentence": spoken + quiet(700),
            "voice": spoken,
            "quiet": quiet(step.ms),
            "click": VOICE[: 48 * 15] + quiet(step.ms),
            "odd": spoken[1:],
        }[step.kind]
        for at in range(0, len(pcm), step.chunk):
            audio = b64encode(pcm[at : at + step.chunk])
            self.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            if step.live:
                self.wait(step.chunk / 48_000)

    def wait(self, seconds: float) -> None:
        end, ticks = self.now + seconds, 0
        while self.machine.deadline() <= end:
            self.now = max(self.now, self.machine.deadline())
            for event in self.read(self.machine.tick(self.now)):
                code = event["error"]["code"] if event["type"] == "error" else None
                assert code in {None, "session_expired"}
            assert self.machine.deadline() > self.now
            ticks += 1
            assert ticks < MOST_TICKS
        self.now = end

    def finish(self) -> None:
        """Everything comes to its end, and then the session does."""
        detection = {"audio": {"input": {"turn_detection": None}}}
        session = {"type": "realtime", **detection}  # nobody is asked after any more
        self.send(json.dumps({"type": "session.update", "session": session}))
        self.wait(FOR_EVER)
        if self.hangup is None:
            self.referee.settled()
            self.wait(AN_HOUR)
        assert self.hangup is not None
        assert self.machine.deadline() == math.inf
        assert self.machine.receive('{"type":"response.create"}', self.now) == []


def _event_id(text: str, code: str) -> str | None:
    """Return the id that an error is to name."""
    if code == "invalid_json":
        return None
    event = json.loads(text)
    event_id = event.get("event_id") if isinstance(event, dict) else None
    return event_id if isinstance(event_id, str) else None
