"""A connection of the local server's state machine, by hand: no I/O, no clock."""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

from trialogue._codec import b64encode
from trialogue.dialects.openai.wire import unstructure
from trialogue.testing.machine import Hangup, Machine, Settings

__all__ = ["PLAIN", "Event", "Talk", "error", "types"]

Event: TypeAlias = dict[str, Any]
PLAIN: Final = Settings(oddities=False, wall=lambda: 1_000_000.0)


class Talk:
    """One connection by hand, on a clock that only moves when told to."""

    def __init__(self, brain: Any = lambda turn: "Hi.", **options: Any) -> None:
        options.setdefault("settings", PLAIN)
        self.now = 0.0
        self.machine = Machine(brain, **options)
        self.seen: list[Event] = []
        self.hangup: Hangup | None = None
        self._take(self.machine.open(0.0, model="gpt-realtime", key="key"))

    def _take(self, outputs: Any) -> list[Event]:
        events: list[Event] = []
        for output in outputs:
            if isinstance(output, Hangup):
                self.hangup = output
            else:
                events.append(json.loads(json.dumps(unstructure(output))))
        self.seen += events
        return events

    def say(self, kind: str, **fields: Any) -> list[Event]:
        return self.raw(json.dumps({"type": kind, **fields}))

    def raw(self, text: str) -> list[Event]:
        return self._take(self.machine.receive(text, self.now))

    def run(self, seconds: float = 60.0) -> list[Event]:
        """Let time pass, and return what is sent meanwhile."""
        events: list[Event] = []
        end = self.now + seconds
        while self.machine.deadline() <= end:
            self.now = self.machine.deadline()
            events += self._take(self.machine.tick(self.now))
        self.now = end
        return events

    def update(self, **session: Any) -> list[Event]:
        return self.say("session.update", session={"type": "realtime", **session})

    def item(self, previous: str | None = None, **item: Any) -> list[Event]:
        where = {"previous_item_id": previous} if previous is not None else {}
        return self.say("conversation.item.create", item=item, **where)

    def text(self, text: str, item_id: str, previous: str | None = None) -> list[Event]:
        content = [{"type": "input_text", "text": text}]
        return self.item(
            previous, type="message", role="user", id=item_id, content=content
        )

    def speak(self, pcm: bytes, chunk: int = 960) -> list[Event]:
        """Append audio at the pace of speech."""
        events: list[Event] = []
        for start in range(0, len(pcm), chunk):
            audio = b64encode(pcm[start : start + chunk])
            events += self.say("input_audio_buffer.append", audio=audio)
            events += self.run(chunk / 48000)
        return events

    def order(self) -> list[str]:
        return [held.id for held in self.machine.conversation]


def types(events: list[Event]) -> list[str]:
    """Return the types, with runs of deltas as one."""
    names: list[str] = []
    for event in events:
        if not (event["type"].endswith(".delta") and event["type"] in names):
            names.append(event["type"])
    return names


def error(events: list[Event]) -> Event:
    assert types(events) == ["error"]
    found: Event = events[0]["error"]
    return found
