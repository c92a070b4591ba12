"""The local server, so many milliseconds away, with a clock for handoffs.

A handoff begins when the `response.done` of a response that calls a tool leaves the
server, and ends when the first audio of the next response does, on whatever connection.
Both are stamped in the server, before the way there and after the way back. One line of
JSON tells of each: how many milliseconds it took, and what the client sent meanwhile.

Run as a program: `python distant.py ONE_WAY_MS`. It prints its port first.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trialogue.demo.server_log import makes_call
from trialogue.testing import Call, Network, Pace, RealtimeServer, Say, Settings, Turn
from trialogue.testing.serve import collecting_rarely

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.testing import Connection, LogEntry

PACE = Pace(think_ms=0, burst=1000, delta_ms=(100,), text_ms=0, rate_limits_ms=None)


def brain(turn: Turn) -> Any:
    """Hand over when told to, and say something when not."""
    if turn.override is not None and "Hand over" in turn.override:
        return Call("hand_over")
    return Say("Here I am.", ms=200)


class Clock:
    """Looks at each frame that the server takes or sends."""

    def __init__(self) -> None:
        self._began = 0.0
        self._sent: list[str] = []
        self._connections: set[int] = set()

    def look(self, connection: Connection, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            if entry.direction == "out" and makes_call(entry.event):
                self._began, self._sent = entry.time, []
                self._connections = {connection.index}
            elif not self._began:
                continue
            elif entry.direction == "in":
                self._sent.append(entry.type)
                self._connections.add(connection.index)
            elif entry.type == "response.output_audio.delta":
                self._tell(entry.time)

    def _tell(self, now: float) -> None:
        seen = {
            "ms": (now - self._began) * 1000,
            "sent": self._sent,
            "connections": len(self._connections),
        }
        self._began = 0.0
        print(json.dumps(seen), flush=True)


async def main(one_way_ms: float) -> None:
    server = RealtimeServer(
        brain,
        network=Network(one_way=one_way_ms / 1000),
        settings=Settings(pace=PACE, oddities=False),
        on_entry=Clock().look,
    )
    async with server.serving():
        await server.listen()
        print(server.port, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    with collecting_rarely():
        trio.run(partial(main, float(sys.argv[1])))
