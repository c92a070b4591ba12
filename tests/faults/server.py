"""The local server for one row: ``python server.py ROW FOLDER``.

It prints JSON lines: where it listens, and each step of the handoff as it is reached.
When its standard input ends, it writes what it has seen to ``server.json``, and ends.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.aim import Aim
from faults.cast import MICROPHONE, SENTENCES, known_by, who
from faults.relay import Relay
from faults.rows import Row, row_of
from trialogue.testing import (
    Call,
    Network,
    Pace,
    RealtimeServer,
    Say,
    Settings,
    Utterances,
    decode,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trialogue.testing import Connection, LogEntry, Turn

__all__ = ["main"]

ONE_WAY: Final = 0.02
"""Seconds to the server."""
SMALL: Final = 4096
"""Bytes of receive buffer: a client soon feels a server that does not read."""
PACE: Final = Pace(burst=4, delta_ms=(40, 60, 100, 100), rate_limits_ms=None)
GREETING_MS: Final = 1000
ANSWER_MS: Final = 400


@attrs.define(eq=False)
class Model:
    """What the model says, and to which sentence of the caller's it does."""

    row: Row
    aim: Aim
    server: RealtimeServer | None = None
    said: list[dict[str, Any]] = attrs.field(factory=list)

    def __call__(self, turn: Turn) -> Any:
        """Reply to a turn."""
        agent = who(turn.instructions)
        heard = {words: name for name, words in SENTENCES.items()}
        found = (name for words, name in heard.items() if words in turn.user_text)
        sentence = next(found, None)
        calls = self._calls(turn) if agent == "desk" and sentence == "money" else []
        self.said.append(
            {
                "response": turn.response_id,
                "answers": None if calls else sentence,
                "agent": agent,
                "connection": turn.connection,
            }
        )
        if calls:
            self._begin(turn)
            return calls
        if sentence == "money":
            return Say(f"This is {agent}. How can I help?", ms=GREETING_MS)
        return Say(f"{agent} heard: {sentence}", ms=ANSWER_MS)

    def _calls(self, turn: Turn) -> list[Call]:
        """Return the calls that hand over; what was asked for once is not again."""
        if turn.output is not None or self.aim.calling is not None:
            return []
        names = ["transfer_to_refunds"]
        if self.row.variant in ("sibling", "thread"):
            names.insert(0, "look_up")
        if self.row.variant == "two":
            names.append("transfer_to_complaints")
        return [Call(name) for name in names]

    def _begin(self, turn: Turn) -> None:
        self.aim.calling = turn.response_id
        assert self.server is not None
        # The response that calls was looked at already: the next one may fail.
        self.server.inject(*self.row.faults(self.aim))


@attrs.define(eq=False)
class Watcher:
    """Notes every frame, and tells of the steps of the handoff."""

    aim: Aim
    relay: Relay
    outage: float
    frames: list[tuple[float, int, str, str, str]] = attrs.field(factory=list)
    marks: list[str] = attrs.field(factory=list)

    def __call__(self, connection: Connection, entries: Sequence[LogEntry]) -> None:
        """Take note of what a connection has received and sent."""
        now = time.monotonic()
        for entry in entries:
            frame = (now, connection.index, entry.direction, entry.type, entry.note)
            if entry.type != "input_audio_buffer.append":
                self.frames.append(frame)
            part = entry.event.get("part") or {}
            if entry.type == "response.content_part.added" and part["type"] == "audio":
                self.marks.append(entry.event["response_id"])
            step = self.aim.step(entry)
            if step is not None:
                say(step=step, time=now)
            dropped = "cut" in entry.note or (step == "call" and self.outage < 0)
            if dropped and self.outage:
                self.relay.pause(abs(self.outage))


def say(**what: Any) -> None:
    """Print a JSON line."""
    print(json.dumps(what), flush=True)


async def main(row: Row, folder: Path) -> None:
    """Serve until the standard input ends."""
    utterances = Utterances()
    for sentence, words in SENTENCES.items():
        utterances.add(known_by(sentence), words)
    aim, relay = Aim(), Relay()
    model = Model(row, aim)
    # Where no fault drops a connection, the outage begins with the call.
    drops = row.group == "outage"
    watcher = Watcher(aim, relay, row.outage if drops else -row.outage)
    offset = time.monotonic() - trio.current_time()
    server = RealtimeServer(
        model,
        network=Network(one_way=ONE_WAY, connect_round_trips=2),
        settings=Settings(pace=PACE, oddities=False),
        utterances=utterances,
        on_entry=watcher,
    )
    model.server = server
    async with server.serving():
        await server.listen(receive_buffer=SMALL)
        async with trio.open_nursery() as nursery:
            url = server.url
            if row.outage:
                port = await nursery.start(relay.run, server.port)
                url = url.replace(str(server.port), str(port))
            say(url=url)
            async with trio.lowlevel.FdStream(0) as stdin:
                async for _ in stdin:
                    pass
            report = _report(server, model, watcher, offset)
            nursery.cancel_scope.cancel()
    (folder / "server.json").write_text(json.dumps(report))


def _report(
    server: RealtimeServer, model: Model, watcher: Watcher, offset: float
) -> dict[str, Any]:
    records = {
        record.id: record for one in server.connections for record in one.responses
    }
    return {
        "connections": [_connection(one) for one in server.connections],
        "dials": server.dials,
        "responses": [
            said
            | {
                "created": records[said["response"]].created + offset,
                "status": records[said["response"]].status,
            }
            for said in model.said
            if said["response"] in records
        ],
        "marks": watcher.marks,
        "prompts": {mark: who(text) for mark, (text, _) in server.watermarks.items()},
        "steps": watcher.aim.reached,
        "errors": server.protocol_errors,
        "frames": watcher.frames,
    }


def _connection(connection: Connection) -> dict[str, Any]:
    return {
        "heard": _numbers(connection.audio),
        "turns": [
            {"text": turn.text, "heard": _numbers(turn.pcm)}
            for turn in connection.committed
        ],
        "users": [
            held.text
            for held in connection.conversation
            if held.item.type == "message" and held.item.role == "user"
        ],
        "close": connection.close_code,
    }


def _numbers(pcm: bytes) -> list[list[int]]:
    """Return which marks of the microphone are in a sound: the ends of each run."""
    return runs(mark.seq for mark in decode(pcm) if mark.config == MICROPHONE)


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """Return [first, last] of each run of numbers that follow each other."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


if __name__ == "__main__":
    trio.run(partial(main, row_of(sys.argv[1]), Path(sys.argv[2])))
